//! The commands that a build without the feature `aws` lacks.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Their names.
pub(crate) const COMMANDS: [&str; 12] = [
    "configure",
    "doctor",
    "console",
    "accounts",
    "sweep",
    "pause",
    "resume",
    "keyring",
    "restore",
    "restore-secret",
    "dead-letters",
    "webhook",
];

/// Adds to an error about one of these commands how to install it. Other errors stay unchanged.
pub(crate) fn explained(error: Error, cli: &mut Command) -> Error {
    let asked = error.get(ContextKind::InvalidSubcommand);
    let Some(ContextValue::String(asked)) = asked.filter(|_| error.kind() == ErrorKind::InvalidSubcommand)
    else {
        return error;
    };
    if !COMMANDS.contains(&asked.as_str()) {
        return error;
    }
    let why = format!(
        "`{asked}` is a command for operators, and this build has none of them: \
         install it anew without `--no-default-features`"
    );
    cli.error(ErrorKind::InvalidSubcommand, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_one_hears_how_to_get_it() {
        let said = |asked: &str| {
            let mut cli = Command::new("threads-auth").subcommand(Command::new("login"));
            let error = cli.try_get_matches_from_mut(["threads-auth", asked]).unwrap_err();
            explained(error, &mut cli).render().to_string()
        };
        assert!(said("doctor").contains("without `--no-default-features`"), "{}", said("doctor"));
        assert!(said("logni").contains("unrecognized subcommand 'logni'"), "{}", said("logni"));
    }
}
