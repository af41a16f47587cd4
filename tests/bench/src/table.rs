//! The tables of `docs/PERFORMANCE.md`: each function over TLS, spawned again and again in turn
//! with the others.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::ServerConfig;
use tempfile::TempDir;

use crate::growth;
use crate::lambda::executable;
use crate::measure::{Life, instructions, life};
use crate::root;
use crate::scene::{Scene, Work};
use crate::sweep::{Swept, sweep};
use crate::wire::{Counts, Pace};

/// As a region and Meta answer.
const LATE: Pace = Pace::After { aws: Duration::from_millis(6), graph: Duration::from_millis(200) };
/// Grants in flight, and how many are due: twelve seconds of them.
const SWEEPS: [(u64, u64); 5] = [(1, 60), (4, 240), (16, 960), (64, 3_840), (256, 15_360)];
/// The works that are divided by an anchor's.
const FLOOR: &str = "empty";
const BARE: &str = "bare-302";

/// One function at one work, and what was measured of it.
struct Subject {
    work: Work,
    file: PathBuf,
    scene: Scene,
    lives: Vec<Life>,
    instructions: u64,
    in_rounds: Option<Life>,
}

/// A median with its least and greatest.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(lives: &[Life], figure: impl Fn(&Life) -> f64) -> Self {
        let mut all: Vec<f64> = lives.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        let at = |at: usize| all.get(at).copied().unwrap_or_default();
        Self { median: at(all.len() / 2), least: at(0), most: at(all.len().saturating_sub(1)) }
    }

    fn text(&self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}

/// Copies all executables at the same moment: one in an older file costs more CPU.
fn copies(folder: &Path, works: &[Work]) -> Result<TempDir> {
    let copies = tempfile::tempdir()?;
    for work in works {
        let from = executable(folder, work.function())?;
        let bytes = fs::read(&from)?;
        ensure!(
            work.is_anchor() || root::is_trusted_by(&bytes),
            "{} does not trust the stub's root: build it as `tests/bench/run` does",
            from.display()
        );
        fs::copy(&from, copies.path().join(work.function()))?;
    }
    Ok(copies)
}

/// Measures everything, or what is named so, and prints the tables.
pub(crate) async fn table(
    root: &Path,
    folder: &Path,
    spawns: usize,
    only: Option<&str>,
    picture: Option<&Path>,
) -> Result<()> {
    let tls = root::server(root)?;
    let is_wanted = |work: &Work| {
        let is_built = *work != Work::Node || executable(folder, work.function()).is_ok();
        is_built && only.is_none_or(|only| only == work.name() || work.is_anchor())
    };
    let sweeps = only.is_none_or(|only| only == "sweep");
    let mut works: Vec<Work> = Work::ALL.into_iter().filter(is_wanted).collect();
    works.extend((only == Some("sweep")).then_some(Work::Refresh));
    let copies = copies(folder, &works)?;
    let mut subjects = Vec::new();
    for &work in works.iter().filter(|_| only != Some("sweep")) {
        let file = copies.path().join(work.function());
        let scene = Box::pin(Scene::make(work)).await.with_context(|| work.name())?;
        subjects.push(Subject { work, file, scene, lives: Vec::new(), instructions: 0, in_rounds: None });
    }
    for round in 0..=spawns {
        for subject in &mut subjects {
            let life = Box::pin(life(&subject.file, &mut subject.scene, Some(&tls), LATE)).await;
            // The first round finds cold caches.
            let life = life.with_context(|| subject.work.name())?;
            subject.lives.extend((round > 0).then_some(life));
        }
    }
    for subject in subjects.iter_mut().filter(|subject| subject.work != Work::Node) {
        let Subject { file, scene, .. } = subject;
        let mut least = u64::MAX;
        for _ in 0..2 {
            least = least.min(Box::pin(instructions(file, scene, Some(&tls), 0)).await?);
        }
        let seen = Box::pin(life(file, scene, Some(&tls), Pace::InRounds)).await?;
        (subject.instructions, subject.in_rounds) = (least, Some(seen));
    }
    if !subjects.is_empty() {
        show(&processor(&subjects, spawns)?);
        show(&waiting(&subjects));
    }
    if sweeps {
        let sweeps = sweeping(&copies.path().join("refresh"), &tls, &SWEEPS).await?;
        if let Some(picture) = picture {
            fs::write(picture, growth::picture(&sweeps))?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a process")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Sweeps until so many due grants are refreshed.
pub(crate) async fn due(root: &Path, folder: &Path, count: u64) -> Result<()> {
    let copies = copies(folder, &[Work::Refresh])?;
    sweeping(&copies.path().join("refresh"), &root::server(root)?, &[(64, count)]).await?;
    Ok(())
}

/// CPU, instructions, memory and sizes.
fn processor(subjects: &[Subject], spawns: usize) -> Result<String> {
    let init = |life: &Life| milliseconds(life.init.cpu);
    let first = |life: &Life| milliseconds(life.first.cpu);
    let of = |name: &str, figure: fn(&Life) -> f64| {
        let anchor = subjects.iter().find(|subject| subject.work.name() == name);
        anchor.map(|anchor| Spread::of(&anchor.lives, figure).median)
    };
    let (floor, bare) = (of(FLOOR, init).context("no anchor")?, of(BARE, first).context("no anchor")?);
    let mut text = format!(
        "CPU in ms, median (least–most) of {spawns} spawns\n\n\
         | | init | ÷ empty | init, million instructions | first call | ÷ bare 302 | warm call | MiB | MB, zipped |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for Subject { work, file, lives, instructions, .. } in subjects {
        let (init, first) = (Spread::of(lives, init), Spread::of(lives, first));
        let warm = Spread::of(lives, |life| milliseconds(life.warm.cpu));
        let [bytes, zipped] = [fs::metadata(file)?.len(), zipped(file)?];
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        let [memory, instructions, bytes, zipped] = [
            lives.iter().map(|life| life.memory).max().unwrap_or_default() as f64 / 1024.0,
            *instructions as f64 / 1e6,
            bytes as f64 / 1e6,
            zipped as f64 / 1e6,
        ];
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {instructions:.2} | {} | {:.2} | {} | {memory:.1} | {bytes:.2}, {zipped:.2} |",
            work.name(),
            init.text(2),
            init.median / floor,
            first.text(2),
            first.median / bare,
            warm.text(2),
        );
    }
    Ok(text)
}

/// Waiting: times, connections, and calls one after the other.
fn waiting(subjects: &[Subject]) -> String {
    let mut text = "AWS answers after 6 ms, Meta after 200. In ms, median (least–most); connections, calls, \
                    and round trips one after the other (those to Meta) of init, first and warm call\n\n\
                    | | first call | warm call | connections | calls | round trips |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for Subject { work, lives, in_rounds, .. } in subjects.iter().filter(|subject| !subject.work.is_anchor())
    {
        let first = Spread::of(lives, |life| life.first.took.as_secs_f64() * 1e3);
        let warm = Spread::of(lives, |life| life.warm.took.as_secs_f64() * 1e3);
        let of = |figure: &dyn Fn(&Counts) -> String| {
            let parts = in_rounds.iter().flat_map(|life| [life.init, life.first, life.warm]);
            parts.map(|part| figure(&part.counts)).collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            work.name(),
            first.text(0),
            warm.text(0),
            of(&|counts| counts.connections.to_string()),
            of(&|counts| counts.calls.to_string()),
            of(&|counts| format!("{} ({})", counts.rounds, counts.graph_rounds)),
        );
    }
    text
}

/// Prints each sweep when it is over. Returns them with their grants in flight.
async fn sweeping(
    refresh: &Path,
    tls: &Arc<ServerConfig>,
    sizes: &[(u64, u64)],
) -> Result<Vec<(u64, Swept)>> {
    show(
        "Sweeps; the bound is that of one call in flight for each grant: in flight ÷ 200 ms\n\n\
         | in flight | due | invocations | seconds | refreshes a second | of the bound | CPU ms a token | calls a token | connections | MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|",
    );
    let mut sweeps = Vec::new();
    for &(at_once, count) in sizes {
        let swept = Box::pin(sweep(refresh, tls, at_once, count, LATE)).await?;
        let &Swept { due, invocations, took, rate, cpu, memory, connections, calls } = &swept;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let [bound, cpu, calls, memory] = [
            at_once as f64 * 5.0,
            milliseconds(cpu) / due as f64,
            calls as f64 / due as f64,
            memory as f64 / 1024.0,
        ];
        let (seconds, share) = (took.as_secs_f64(), rate / bound * 100.0);
        show(&format!(
            "| {at_once} | {due} | {invocations} | {seconds:.1} | {rate:.0} | {share:.0} % | {cpu:.2} | {calls:.1} | {connections} | {memory:.0} |"
        ));
        sweeps.push((at_once, swept));
    }
    Ok(sweeps)
}

/// Returns the size of an executable's archive, packed as `infra/package` measures it.
fn zipped(file: &Path) -> Result<u64> {
    const PACK: &str = "import io, sys, zipfile\nout = io.BytesIO()\n\
        with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as z: z.write(sys.argv[1], 'bootstrap')\n\
        print(len(out.getvalue()))";
    let output = Command::new("python3").args(["-c", PACK]).arg(file).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

#[expect(clippy::print_stdout, reason = "the program's result")]
fn show(text: &str) {
    println!("{text}");
}
