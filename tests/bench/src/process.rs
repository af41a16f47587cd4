//! The figures that the kernel has of a process.

use std::fs;

use anyhow::{Context, Result};

/// Returns the files of this name of all threads of a process.
fn of_threads(id: u32, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    // A thread may end meanwhile.
    tasks.filter_map(|task| fs::read_to_string(task.path().join(name)).ok()).collect()
}

/// Returns the nanoseconds that the threads of a process have run.
pub(crate) fn cpu(id: u32) -> u64 {
    let of = |file: &String| file.split(' ').next().and_then(|text| text.parse::<u64>().ok());
    of_threads(id, "schedstat").iter().filter_map(of).sum()
}

/// Returns true if no thread of a process runs. Only then is [`cpu`] exact.
pub(crate) fn is_asleep(id: u32) -> bool {
    // The state follows the name, which may contain anything.
    let is_asleep = |file: &String| file.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'));
    of_threads(id, "stat").iter().all(is_asleep)
}

/// Returns the kibibytes of memory that a process has had at most.
pub(crate) fn memory(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()).context("there is no VmHWM")?;
    Ok(kibibytes.parse()?)
}
