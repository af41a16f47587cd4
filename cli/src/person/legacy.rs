//! ThreadsPipe's command lines, parsed by Python's rules and rewritten for clap.
//!
//! Accepts what argparse does and clap does not, for the two commands of ThreadsPipe 0.4.5: a
//! single dash before a name of several letters (`-id 1`, `-secret=x`), a value directly behind its
//! letter (`-p.env`), unambiguous prefixes (`--app 1`, `-tok x`), options before the command's
//! name, and options of the other command. Every other command line passes unchanged.

use std::ffi::{OsStr, OsString};

use clap::Args;

use crate::shell::output::Output;

/// The commands that are parsed this way, in both spellings.
const COMMANDS: [&str; 4] = ["access_token", "access-token", "refresh_token", "refresh-token"];

/// Our name, ThreadsPipe's long name, and its short one.
const OPTIONS: [(&str, &str, &str); 9] = [
    ("--app-id", "--app_id", "-id"),
    ("--app-secret", "--app_secret", "-secret"),
    ("--auth-code", "--auth_code", "-code"),
    ("--redirect-uri", "--redirect_uri", "-r"),
    ("--access-token", "--access_token", "-token"),
    ("--auto-mode", "--auto_mode", "-auto"),
    ("--env-path", "--env_path", "-p"),
    ("--env-variable", "--env_variable", "-v"),
    (SILENT, "--silent", "-s"),
];

/// An option whose value is optional. (ThreadsPipe requires it, although its guide omits it.)
const SILENT: &str = "--silent";

/// Rewrites the arguments for clap. The first is the program's name, as always.
pub(crate) fn translate(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut options = Vec::new();
    let mut command = None;
    let mut rest = arguments.iter().skip(1).peekable();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().unwrap_or_default();
        if text == "--" {
            options.push(argument.clone());
            options.extend(rest.by_ref().cloned());
        } else if let Some((name, value)) = option(text) {
            let value = value
                .map(OsString::from)
                .or_else(|| rest.next_if(|next| is_value(name, next, command.is_some())).cloned());
            options.push(joined(name, value));
        } else if command.is_none() && !text.starts_with('-') {
            if !COMMANDS.contains(&text) {
                return arguments;
            }
            command = Some(argument);
        } else {
            options.push(argument.clone());
        }
    }
    match (arguments.first(), command) {
        (Some(program), Some(command)) => {
            let mut translated = vec![program.clone(), command.clone()];
            translated.extend(options);
            translated
        }
        _ => arguments,
    }
}

/// Returns our name of the option, and the value within the same argument.
fn option(argument: &str) -> Option<(&'static str, Option<&str>)> {
    let names =
        || OPTIONS.iter().flat_map(|(ours, long, short)| [(*ours, *ours), (*ours, *long), (*ours, *short)]);
    let exactly = |text: &str| names().find(|(_, name)| *name == text).map(|(ours, _)| ours);
    if !argument.starts_with('-') || argument.len() < 2 {
        return None;
    }
    if let Some(ours) = exactly(argument) {
        return Some((ours, None));
    }
    let (name, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    };
    if let Some(ours) = exactly(name) {
        return Some((ours, value));
    }
    let mut matches: Vec<(&'static str, Option<&str>)> =
        names().filter(|(_, full)| full.starts_with(name)).map(|(ours, _)| (ours, value)).collect();
    if !argument.starts_with("--")
        && let Some((letter, value)) = argument.split_at_checked(2)
        && let Some(ours) = exactly(letter)
    {
        matches.push((ours, Some(value)));
    }
    // Two spellings of one option are one match; two options are ambiguous, which clap reports.
    matches.dedup();
    match matches[..] {
        [only] => Some(only),
        _ => None,
    }
}

/// Returns true if the next argument is this option's value. A dash alone is one; anything else
/// that begins with a dash is not.
fn is_value(option: &str, next: &OsStr, has_command: bool) -> bool {
    let next = next.to_str().unwrap_or_default();
    let is_command = option == SILENT && !has_command && COMMANDS.contains(&next);
    !is_command && (!next.starts_with('-') || next == "-" || next.contains(' '))
}

fn joined(name: &str, value: Option<OsString>) -> OsString {
    let mut joined = OsString::from(name);
    if let Some(value) = value {
        joined.push("=");
        joined.push(value);
    }
    joined
}

/// Parses a boolean in the spellings that scripts use.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "on" | "t" => Ok(true),
        "false" | "0" | "no" | "n" | "off" | "f" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Parses the value of `--silent`, which ThreadsPipe accepts "with or without value": only a false
/// value is false.
#[expect(clippy::unnecessary_wraps, reason = "clap's parsers can fail")]
fn silent(text: &str) -> Result<bool, String> {
    Ok(boolean(text).unwrap_or(true))
}

/// The output options of the commands that ThreadsPipe has too.
#[derive(Args)]
pub(crate) struct Answer {
    /// Print neither notes nor warnings
    #[arg(long, short = 's', value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", hide_default_value = true, value_parser = silent)]
    silent: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Answer {
    pub(crate) fn output(&self) -> Output {
        Output { json: self.json, silent: self.silent }
    }
}

/// Options that ThreadsPipe's single parser accepts with either command, but one does not use.
macro_rules! unused_options {
    ($name:ident: $($field:ident $option:literal),+) => {
        #[derive(Args)]
        pub(crate) struct $name {
            $(#[arg(long, hide = true)] $field: Option<String>,)+
        }

        impl $name {
            /// Returns those that the command line has.
            pub(crate) fn given(&self) -> Vec<&'static str> {
                [$(self.$field.as_ref().map(|_| $option)),+].into_iter().flatten().collect()
            }
        }
    };
}

unused_options!(UnusedByAccessToken: access_token "--access-token", auto_mode "--auto-mode");
unused_options!(
    UnusedByRefreshToken: app_id "--app-id", app_secret "--app-secret",
    auth_code "--auth-code", redirect_uri "--redirect-uri"
);

pub(crate) fn warn_unused(output: Output, command: &str, options: &[&str]) {
    for option in options {
        output.warn(&format!("{command} does not use {option}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_argparse_reads_clap_reads() {
        for (given, expected) in [
            (
                "x access_token -id 1 -secret s -code c -r u -p .env -v T -s true",
                "x access_token --app-id=1 --app-secret=s --auth-code=c --redirect-uri=u --env-path=.env --env-variable=T --silent=true",
            ),
            (
                "x access_token --app_id=1 --app_secret s --silent",
                "x access_token --app-id=1 --app-secret=s --silent",
            ),
            (
                "x refresh_token -token=t -auto=true -p.env -vT -s",
                "x refresh_token --access-token=t --auto-mode=true --env-path=.env --env-variable=T --silent",
            ),
            (
                "x refresh_token -tok t --acc t --app_s s",
                "x refresh_token --access-token=t --access-token=t --app-secret=s",
            ),
            ("x refresh_token --silent -token t", "x refresh_token --silent --access-token=t"),
            ("x -s 1 refresh_token -token t", "x refresh_token --silent=1 --access-token=t"),
            ("x --silent refresh_token -token t", "x refresh_token --silent --access-token=t"),
            ("x refresh-token --access-token -", "x refresh-token --access-token=-"),
            ("x access_token -secret=a=b -code --json", "x access_token --app-secret=a=b --auth-code --json"),
            // A code that begins like an option is still a code if it directly follows the option's
            // name.
            ("x access_token -code=-id --json", "x access_token --auth-code=-id --json"),
            // An ambiguous prefix matches no option.
            ("x access_token --a 1 -se x", "x access_token --a 1 -se x"),
            ("x access_token -- -id 1", "x access_token -- -id 1"),
        ] {
            assert_eq!(translate(words(given)), words(expected), "{given}");
        }
    }

    #[test]
    fn other_commands_are_left_alone() {
        for line in
            ["x", "x login -p 1 --app-id 1", "x help access_token -id", "x -p .env login", "x --version"]
        {
            assert_eq!(translate(words(line)), words(line), "{line}");
        }
    }

    #[test]
    fn a_no_means_no() {
        assert_eq!(boolean("False"), Ok(false));
        assert_eq!(boolean("TRUE"), Ok(true));
        assert!(boolean("flase").is_err());
        assert_eq!(silent("anything"), Ok(true));
        assert_eq!(silent("false"), Ok(false));
    }
}
