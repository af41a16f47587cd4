//! The keys of the rows in both tables.

use std::fmt;

use threads_graph::UserId;

const DELETIONS: &str = "deletion#";
const STATES: &str = "state#";
const SESSIONS: &str = "session#";
const CONTROLS: &str = "control#";
const TOMBSTONES: &str = "tombstone#";

/// The `pk` of a row: its kind and what names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The keys of grants begin with this.
    pub const USERS: &str = "user#";

    /// A user's grant.
    #[must_use]
    pub fn grant(user_id: &UserId) -> Self {
        Self(format!("{}{user_id}", Self::USERS))
    }

    /// The row of a user that outlives the grant, by its [name](crate::seal::Keyring::tombstone),
    /// which names nobody: a tombstone, or the time of an end.
    #[must_use]
    pub fn tombstone(name: &str) -> Self {
        Self(format!("{TOMBSTONES}{name}"))
    }

    /// The record of a deletion, by the hash of its confirmation code.
    #[must_use]
    pub fn deletion(code_hash: &str) -> Self {
        Self(format!("{DELETIONS}{code_hash}"))
    }

    /// A spent state, by its hash.
    #[must_use]
    pub fn state(hash: &str) -> Self {
        Self(format!("{STATES}{hash}"))
    }

    /// A connect session.
    #[must_use]
    pub fn session(id: &str) -> Self {
        Self(format!("{SESSIONS}{id}"))
    }

    /// What an operator has stopped.
    #[must_use]
    pub fn pause() -> Self {
        Self(format!("{CONTROLS}pause"))
    }

    /// The last look for drift.
    #[must_use]
    pub fn drift() -> Self {
        Self(format!("{CONTROLS}drift"))
    }

    /// The count of calls to Meta.
    #[must_use]
    pub fn calls() -> Self {
        Self(format!("{CONTROLS}calls"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its row is a tombstone, or the time of an end.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.0.starts_with(TOMBSTONES)
    }

    /// Whether its row is the record of a deletion.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.0.starts_with(DELETIONS)
    }

    /// Whether its row lies in the table of short-lived rows, and not in that of grants.
    #[must_use]
    pub fn is_short_lived(&self) -> bool {
        self.0.starts_with(STATES) || self.0.starts_with(SESSIONS)
    }

    /// Whether its row is an operator's, for this table only: no backup brings it back.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.0.starts_with(CONTROLS)
    }

    /// Whose grant lies under this key, if it is a grant's.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.0.strip_prefix(Self::USERS)?.parse().ok()
    }
}

/// A key as it was read.
impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
