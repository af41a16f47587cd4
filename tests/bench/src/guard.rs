//! The guard: figures that are the same on each machine, compared with those that are committed.
//!
//! It takes the executables that ship, which trust no root of ours. So their calls go without TLS,
//! and each connection, which is a handshake in production, is counted instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::lambda::executable;
use crate::measure::{instructions, life};
use crate::root;
use crate::scene::{Scene, Work};
use crate::wire::Pace;

/// Growth that is no finding, in hundredths.
const SPARED: u64 = 3;
/// Number of works that are measured concurrently.
const TOGETHER: usize = 2;
/// Requests by which that of one is counted.
const REQUESTS: usize = 10;

const HEADING: &str = "\
# The figures that `.ci/run guard` compares with: instructions, bytes, connections, calls, and round
# trips that a function makes one after the other. `GUARD=--write .ci/run guard` writes them anew,
# and the reason for a larger one stands in the commit.
";

type Figures = BTreeMap<String, u64>;

/// A difference from what is committed.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Larger { figure: String, was: u64, is: u64 },
    Smaller { figure: String, was: u64, is: u64 },
    New(String),
    Gone(String),
}

impl Finding {
    /// A smaller figure is good news.
    fn is_fault(&self) -> bool {
        !matches!(self, Self::Smaller { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Larger { figure, was, is } => write!(f, "LARGER: {figure} was {was}, and is {is}"),
            Self::Smaller { figure, was, is } => {
                write!(f, "smaller: {figure} was {was}, and is {is}; please commit it")
            }
            Self::New(figure) => write!(f, "NEW: {figure} is not committed"),
            Self::Gone(figure) => write!(f, "GONE: {figure} is committed, and was not measured"),
        }
    }
}

fn compare(committed: &Figures, measured: &Figures) -> Vec<Finding> {
    let names: BTreeSet<_> = committed.keys().chain(measured.keys()).collect();
    let judge = |name: &String| {
        let figure = name.clone();
        match (committed.get(name), measured.get(name)) {
            (Some(&was), Some(&is)) if is * 100 > was * (100 + SPARED) => {
                Some(Finding::Larger { figure, was, is })
            }
            (Some(&was), Some(&is)) if is * 100 < was * (100 - SPARED) => {
                Some(Finding::Smaller { figure, was, is })
            }
            (Some(_), Some(_)) | (None, None) => None,
            (None, Some(_)) => Some(Finding::New(figure)),
            (Some(_), None) => Some(Finding::Gone(figure)),
        }
    };
    names.into_iter().filter_map(judge).collect()
}

fn parse(text: &str) -> Result<Figures> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '[']));
    let figure = |line: &str| {
        let (name, number) = line.split_once(" = ").with_context(|| format!("no figure: {line}"))?;
        Ok((name.to_owned(), number.replace('_', "").parse()?))
    };
    lines.map(figure).collect()
}

fn text(figures: &Figures) -> String {
    let mut text = HEADING.to_owned();
    let mut part = "";
    for (name, number) in figures {
        let of = name.split('.').next().unwrap_or_default();
        if of != part {
            text.push('\n');
            part = of;
        }
        // Writing into text cannot fail.
        let _ = writeln!(text, "{name} = {number}");
    }
    text
}

/// Measures the executables in `folder`, and compares with the figures in `file`, or writes them.
pub(crate) async fn guard(folder: &Path, file: &Path, writes: bool) -> Result<()> {
    let works: Vec<Work> = Work::ALL.into_iter().filter(|work| !work.is_anchor()).collect();
    let mut measured = measure(folder, &works).await?;
    if writes {
        fs::write(file, text(&measured))?;
        show(&format!("{} figures written to {}", measured.len(), file.display()));
        return Ok(());
    }
    let committed = parse(&fs::read_to_string(file)?)?;
    // A busy machine adds a poll or splits a round, and takes nothing away.
    let has_grown = |work: &Work| {
        let of = format!("{}.", work.name());
        let is_larger =
            |finding: &Finding| matches!(finding, Finding::Larger { figure, .. } if figure.starts_with(&of));
        compare(&committed, &measured).iter().any(is_larger)
    };
    let again: Vec<Work> = works.into_iter().filter(has_grown).collect();
    for (name, figure) in measure(folder, &again).await? {
        measured.entry(name).and_modify(|first| *first = figure.min(*first));
    }
    let findings = compare(&committed, &measured);
    for finding in &findings {
        show(&finding.to_string());
    }
    let faults = findings.iter().filter(|finding| finding.is_fault()).count();
    if faults > 0 {
        bail!(
            "{faults} figures differ from {}; to accept them, commit what `GUARD=--write .ci/run guard` writes, with the reason",
            file.display()
        );
    }
    show(&format!("{} figures, none larger by more than {SPARED} %", measured.len()));
    Ok(())
}

async fn measure(folder: &Path, works: &[Work]) -> Result<Figures> {
    let each = stream::iter(works).map(|work| of(folder, *work)).buffer_unordered(TOGETHER);
    let measured: Vec<Figures> = each.try_collect().await?;
    Ok(measured.into_iter().flatten().collect())
}

async fn of(folder: &Path, work: Work) -> Result<Figures> {
    let (name, begun) = (work.name(), Instant::now());
    let of = async {
        let file = executable(folder, work.function())?;
        let bytes = fs::read(&file)?;
        ensure!(!root::is_trusted_by(&bytes), "it trusts the benchmark's root and must not ship");
        let mut scene = Scene::make(work).await?;
        let mut figures = Figures::new();
        let mut add = |part: &str, what: &str, number| {
            figures.insert(format!("{name}.{part}.{what}"), number);
        };
        let life = life(&file, &mut scene, None, Pace::InRounds).await?;
        for (part, seen) in [("init", life.init), ("first", life.first), ("warm", life.warm)] {
            add(part, "calls", seen.counts.calls);
            add(part, "connections", seen.counts.connections);
            add(part, "round_trips", seen.counts.rounds);
            add(part, "round_trips_to_meta", seen.counts.graph_rounds);
        }
        // It waits for a second before each request, so that the clock decides on its paths.
        if work != Work::TokenAfterTtl {
            let init = instructions(&file, &mut scene, None, 0).await?;
            let one = instructions(&file, &mut scene, None, 1).await?;
            let more = instructions(&file, &mut scene, None, 1 + REQUESTS).await?;
            add("init", "instructions", init);
            add("warm", "instructions", more.saturating_sub(one) / REQUESTS as u64);
        }
        figures.insert(format!("{}.bytes", work.function()), bytes.len() as u64);
        show(&format!("{name}: {} s", begun.elapsed().as_secs()));
        Ok::<_, anyhow::Error>(figures)
    };
    Box::pin(of).await.with_context(|| name)
}

#[expect(clippy::print_stdout, reason = "the program's result")]
fn show(line: &str) {
    println!("{line}");
}

/// Shows that each difference is found, in the committed figures themselves.
pub(crate) fn test_itself(file: &Path) -> Result<()> {
    let committed = parse(&fs::read_to_string(file)?)?;
    ensure!(parse(&text(&committed))? == committed, "figures are not read as they are written");
    ensure!(compare(&committed, &committed).is_empty(), "no difference is a finding");
    for (figure, &was) in &committed {
        let found = |is: Option<u64>| {
            let mut changed = committed.clone();
            match is {
                Some(is) => _ = changed.insert(figure.clone(), is),
                None => _ = changed.remove(figure),
            }
            compare(&committed, &changed)
        };
        let figure = || figure.clone();
        let larger = was + was / 25 + 1;
        let expected = vec![Finding::Larger { figure: figure(), was, is: larger }];
        ensure!(found(Some(larger)) == expected, "a growth of {} is not found", figure());
        ensure!(found(Some(was + was / 50)).is_empty(), "2 % more of {} is a finding", figure());
        ensure!(found(None) == [Finding::Gone(figure())], "a lost {} is not found", figure());
        if was > 0 {
            let smaller = was - was.div_ceil(25);
            let expected = vec![Finding::Smaller { figure: figure(), was, is: smaller }];
            ensure!(found(Some(smaller)) == expected, "less of {} is not found", figure());
        }
    }
    let mut more = committed.clone();
    more.insert("new.bytes".to_owned(), 1);
    ensure!(
        compare(&committed, &more) == [Finding::New("new.bytes".to_owned())],
        "a new figure is not found"
    );
    ensure!(Finding::New(String::new()).is_fault(), "a finding is no fault");
    show(&format!("each of {} figures is missed when it grows", committed.len()));
    Ok(())
}
