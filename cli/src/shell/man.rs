//! `threads-auth man`: the manual pages, generated from `--help`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command, ValueHint};
use clap_mangen::Man;
use serde_json::{Map, Value, json};

use crate::shell::output::Output;

/// Print the manual page, or write one for each command.
#[derive(Args)]
#[command(after_help = "Examples:
  threads-auth man | man -l -                           read it
  threads-auth man --dir ~/.local/share/man/man1        install it: then `man threads-auth-login` works")]
pub(crate) struct Manual {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,

    /// Print {"pages"}, each by its file's name; with --dir, {"files"}
    #[arg(long)]
    json: bool,
}

impl Manual {
    pub(crate) fn run(self, mut command: Command) -> Result<()> {
        command = command.disable_help_subcommand(true);
        // Gives each subcommand the name of its own page.
        command.build();
        let mut pages = Vec::new();
        collect(&command, &mut pages)?;
        let output = Output::new(self.json);
        let closed = "standard output is closed";
        let Some(folder) = self.dir else {
            let main = pages.first().map_or("", |(_, page)| page);
            let all: Map<_, _> =
                pages.iter().map(|(name, page)| (name.clone(), Value::from(page.as_str()))).collect();
            return output.result(&json!({"pages": all}), main).context(closed);
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be created", folder.display()))?;
        let mut files = Vec::new();
        for (name, page) in &pages {
            let path = folder.join(name);
            std::fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))?;
            files.push(path.display().to_string());
        }
        output.result(&json!({"files": files}), &files.join("\n")).context(closed)
    }
}

/// Returns the pages of a command and its subcommands, each with its file name.
fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> Result<()> {
    let manual = Man::new(command.clone());
    let mut page = Vec::new();
    manual.render(&mut page).context("the manual cannot be created")?;
    let page = String::from_utf8(page).context("the manual is not text")?;
    pages.push((manual.get_filename(), page));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, pages)?;
    }
    Ok(())
}
