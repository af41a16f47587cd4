//! `threads-auth completions`: the completion script of a shell.

use anyhow::{Context, Result};
use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::shell::output::Output;

const BEFORE_EQUALS: &str = r#"    prev="$3"
    if [[ "${prev}" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    elif [[ "${cur}" == "=" ]]; then
        cur=""
    fi
"#;

/// Print a script that completes these commands in a shell.
#[derive(Args)]
#[command(after_help = "Examples:
  threads-auth completions bash > ~/.local/share/bash-completion/completions/threads-auth
  threads-auth completions zsh > \"${fpath[1]}/_threads-auth\"
  threads-auth completions fish > ~/.config/fish/completions/threads-auth.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,

    /// Print {"shell", "script"}
    #[arg(long)]
    json: bool,
}

impl Completions {
    pub(crate) fn run(self, mut command: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "threads-auth", &mut script);
        let mut script = String::from_utf8(script).context("the script is not text")?;
        if self.shell == Shell::Bash {
            // clap_complete spells a program's hyphen in two ways, so its function finds no
            // completion behind the first word: https://github.com/clap-rs/clap/issues/6421. In a
            // fixed version there is nothing to replace.
            script = script.replace("threads__subcmd__auth", "threads__auth");
            // Bash treats `=` as a separate word: the option is the word before it.
            script = script.replace("    prev=\"$3\"\n", BEFORE_EQUALS);
        }
        let output = Output::new(self.json);
        let shell = self.shell.to_string();
        output
            .result(&json!({"shell": shell, "script": script}), &script)
            .context("standard output is closed")
    }
}
