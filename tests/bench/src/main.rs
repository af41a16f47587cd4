//! Measures the functions as Lambda runs them: `tests/bench/run` makes the tables of
//! `docs/PERFORMANCE.md`, and `.ci/run guard` compares what is the same on each machine with
//! `.ci/guard.toml`.

mod growth;
mod guard;
mod lambda;
mod measure;
mod process;
mod root;
mod scene;
mod sweep;
mod table;
mod wire;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares the executables that ship with the committed figures.
    Guard {
        /// The committed figures.
        file: PathBuf,
        /// The folder of the executables; without one it only shows that it finds a difference.
        folder: Option<PathBuf>,
        /// Writes the figures instead.
        #[arg(long)]
        write: bool,
    },
    /// Makes a root for the stub, unless there is one.
    Root {
        /// Its folder.
        folder: PathBuf,
    },
    /// Measures executables that trust the stub's root, and prints the tables.
    Table {
        /// The folder of the root.
        root: PathBuf,
        /// The folder of the executables.
        folder: PathBuf,
        /// Number of spawns of each function; one more is dropped.
        #[arg(long, default_value_t = 25)]
        spawns: usize,
        /// Leaves out what is not named so, or is no sweep if it is `sweep`.
        #[arg(long)]
        only: Option<String>,
        /// Draws the sweeps' growth into this SVG file.
        #[arg(long)]
        growth: Option<PathBuf>,
        /// Sweeps until so many due grants are refreshed, 64 at once, and measures nothing else.
        #[arg(long, conflicts_with_all = ["only", "growth"])]
        due: Option<u64>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Guard { file, folder: None, .. } => guard::test_itself(&file),
        Command::Guard { file, folder: Some(folder), write } => {
            Box::pin(guard::guard(&folder, &file, write)).await
        }
        Command::Root { folder } => root::create(&folder),
        Command::Table { root, folder, due: Some(due), .. } => {
            Box::pin(table::due(&root, &folder, due)).await
        }
        Command::Table { root, folder, spawns, only, growth, due: None } => {
            Box::pin(table::table(&root, &folder, spawns, only.as_deref(), growth.as_deref())).await
        }
    }
}
