//! Makes a year, and prints its figures: `year [PEOPLE [SEED [HOURS]]]`, by default 100,000 people,
//! seed 1, and a sweep each hour.

use std::process::ExitCode;
#[cfg(feature = "large")]
use std::time::Duration;
use std::time::Instant;

use anyhow::{Context, Result};
use year::{Extent, Settings, run};

#[cfg(feature = "large")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Step of the paused clock. The shortest time-out takes 160 of them, each at least a millisecond
/// in which nothing arrives. That is rare even on a busy machine.
#[cfg(feature = "large")]
const STEP: Duration = Duration::from_millis(50);

// All servers are in this process, so if no task is ready, each of them waits for a pause before a
// retry. The paused clock then advances.
#[cfg_attr(feature = "large", tokio::main(flavor = "current_thread", start_paused = true))]
#[cfg_attr(not(feature = "large"), tokio::main)]
async fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: &str, what: &'static str| {
        let text = arguments.next().unwrap_or_else(|| default.to_owned());
        text.parse::<u32>().with_context(|| format!("expected {what}, found {text:?}"))
    };
    let people = usize::try_from(number("100000", "the number of people")?)?;
    let seed = number("1", "a seed")?.into();
    let every = number("1", "the hours between sweeps")?.into();
    #[cfg(feature = "large")]
    tokio::spawn(slow_down());
    let began = Instant::now();
    let report = Box::pin(run(Settings { seed, people, extent: Extent::Full, every })).await?;
    report_on(&report, began);
    Ok(if report.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gives the kernel time to deliver what was sent, before each step of the clock. Otherwise a
/// moment in which nothing has arrived yet could reach a time-out.
#[cfg(feature = "large")]
async fn slow_down() {
    loop {
        // A paused clock stands still while a blocking task runs.
        _ = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await;
        tokio::time::sleep(STEP).await;
    }
}

#[expect(clippy::print_stdout, reason = "the program's result")]
fn report_on(report: &year::Report, began: Instant) {
    println!("{report}");
    for fault in report.faults() {
        println!("WRONG: {fault}");
    }
    println!("year {}: {} s", report.seed(), began.elapsed().as_secs());
}
