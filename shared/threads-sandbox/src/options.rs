//! The options of a sandbox, and the reasons why one does not start.
//!
//! Reads no environment and no arguments: the caller does that.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::switches::{ExchangeAnswer, Inspection};

/// Everything a sandbox needs to start.
#[derive(Clone)]
pub struct SandboxOptions {
    /// The Threads app id that clients must send, not empty.
    pub app_id: String,
    /// The Threads app secret that clients must send, not empty.
    pub app_secret: String,
    /// The clock that measures all lifetimes. Share a clone with the code under test.
    pub clock: Clock,
    /// The redirect URIs saved in the "dashboard", compared exactly. Empty: any `https` one, and
    /// `http` on loopback.
    pub redirect_uris: Vec<String>,
    /// The file in which accounts, tokens and grants survive a restart. `None`: nothing is written
    /// anywhere.
    pub state_file: Option<PathBuf>,
    /// Accounts to have from the start; those that exist already (by user id, or else by name) are
    /// not changed.
    pub accounts: Vec<NewAccount>,
    /// The callers of `debug_token`. `None`: as the state file has it, or else as Meta documents.
    pub inspection: Option<Inspection>,
    /// The answer to the exchange of a code. `None`: as the state file has it, or else as Meta
    /// documents.
    pub exchange: Option<ExchangeAnswer>,
}

impl SandboxOptions {
    /// Returns the options of a sandbox for one app that goes by the system's clock, has no
    /// accounts, writes no file, and otherwise behaves as Meta documents.
    #[must_use]
    pub fn new(app_id: impl Into<String>, app_secret: impl Into<String>) -> Self {
        Self {
            app_id: app_id.into(),
            app_secret: app_secret.into(),
            clock: Clock::system(),
            redirect_uris: Vec::new(),
            state_file: None,
            accounts: Vec::new(),
            inspection: None,
            exchange: None,
        }
    }
}

impl fmt::Debug for SandboxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxOptions")
            .field("app_id", &self.app_id)
            .field("redirect_uris", &self.redirect_uris)
            .field("state_file", &self.state_file)
            .field("accounts", &self.accounts)
            .field("inspection", &self.inspection)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

/// A Threads account to create.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// The name without `@`.
    pub username: String,
    /// A whole number below 2^64. `None`: one above 2^53 is made up, as Meta's are.
    #[serde(default)]
    pub user_id: Option<String>,
    /// A private profile's grant ends 90 days after the authorization, refreshed or not.
    #[serde(default)]
    pub private: bool,
    /// One of the app's Threads testers.
    #[serde(default)]
    pub tester: bool,
}

impl NewAccount {
    /// An account of this name and user id, with a public profile.
    #[must_use]
    pub fn new(username: impl Into<String>, user_id: impl Into<String>) -> Self {
        Self { username: username.into(), user_id: Some(user_id.into()), ..Self::default() }
    }

    /// Refuses an account that Meta could not have, so that a typing mistake does not become an
    /// account.
    pub(crate) fn check(&self) -> Result<(), String> {
        let name_fits = (1..=30).contains(&self.username.len())
            && self.username.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_');
        if !name_fits {
            return Err("username: 1 to 30 letters, digits, dots and underscores are needed".to_owned());
        }
        match &self.user_id {
            // Parsing alone would accept "+1" and "007", which would be returned in another form.
            Some(id) if id.parse::<u64>().map(|n| n.to_string()).as_ref() != Ok(id) => {
                Err("user_id: a whole number below 2^64 is needed, as a string".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The reason why a sandbox did not start. Its cause, if there is one, is the error's source.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The app id or the app secret is empty.
    #[error("the sandbox needs an app id and an app secret")]
    NoApp,
    /// One of [`SandboxOptions::accounts`] cannot exist.
    #[error("the account {username:?} cannot be created: {reason}")]
    BadAccount {
        /// The account's name, as given.
        username: String,
        /// The field that is wrong, and the values that it takes.
        reason: String,
    },
    /// The state file exists and cannot be read.
    #[error("the sandbox's state file {path:?} cannot be read")]
    ReadState {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The state file is not one that this version wrote. It is left untouched.
    #[error(
        "the sandbox's state file {path:?} is not a state of this version (line {line}, column {column}); move it away to start afresh"
    )]
    ParseState {
        /// The file.
        path: PathBuf,
        /// The line of the error. The parser's own message would quote the file, which holds
        /// secrets.
        line: usize,
        /// The column of that line.
        column: usize,
    },
    /// The state file cannot be written. Checked at the start, not at the first change.
    #[error("the sandbox's state file {path:?} cannot be written")]
    WriteState {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(username: &str, user_id: Option<&str>) -> NewAccount {
        NewAccount {
            username: username.to_owned(),
            user_id: user_id.map(str::to_owned),
            ..NewAccount::default()
        }
    }

    #[test]
    fn accounts_that_meta_could_not_have_are_refused() {
        assert_eq!(account("ada.l_1", Some("17841405793187218")).check(), Ok(()));
        for (name, id) in [
            ("", None),
            ("@ada", None),
            ("ada lovelace", None),
            (&*"a".repeat(31), None),
            ("ada", Some("")),
            ("ada", Some("007")),
            ("ada", Some("+7")),
            ("ada", Some("18446744073709551616")),
            ("ada", Some("ada")),
        ] {
            assert!(account(name, id).check().is_err(), "{name:?} {id:?}");
        }
    }

    #[test]
    fn debug_output_leaves_the_secret_out() {
        let options = SandboxOptions::new("1", "canary");
        assert!(!format!("{options:?}").contains("canary"));
    }
}
