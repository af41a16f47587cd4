//! The keys of the rows in both tables.

use std::fmt;

use threads_graph::UserId;

const DELETIONS: &str = "deletion#";
const STATES: &str = "state#";
const SESSIONS: &str = "session#";
const CONTROLS: &str = "control#";
const TOMBSTONES: &str = "tombstone#";

/// The `pk` of a row: its kind, `#`, and a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The prefix of a grant's key.
    pub const USERS: &str = "user#";

    /// Returns the key of a user's grant.
    #[must_use]
    pub fn grant(user_id: &UserId) -> Self {
        Self(format!("{}{user_id}", Self::USERS))
    }

    /// Returns the key of the row that outlives a user's grant: a tombstone, or the time of an end.
    /// Its `name` is a [keyed hash](crate::seal::Keyring::tombstone), which does not identify the
    /// user.
    #[must_use]
    pub fn tombstone(name: &str) -> Self {
        Self(format!("{TOMBSTONES}{name}"))
    }

    /// Returns the key of a deletion's record, from the hash of its confirmation code.
    #[must_use]
    pub fn deletion(code_hash: &str) -> Self {
        Self(format!("{DELETIONS}{code_hash}"))
    }

    /// Returns the key of a spent state, from its hash.
    #[must_use]
    pub fn state(hash: &str) -> Self {
        Self(format!("{STATES}{hash}"))
    }

    /// Returns the key of a connect session.
    #[must_use]
    pub fn session(id: &str) -> Self {
        Self(format!("{SESSIONS}{id}"))
    }

    /// Returns the key of the row that stores an operator's pause.
    #[must_use]
    pub fn pause() -> Self {
        Self(format!("{CONTROLS}pause"))
    }

    /// Returns the key of the row that stores the time of the last drift check.
    #[must_use]
    pub fn drift() -> Self {
        Self(format!("{CONTROLS}drift"))
    }

    /// Returns the key of the row that counts the calls to Meta.
    #[must_use]
    pub fn calls() -> Self {
        Self(format!("{CONTROLS}calls"))
    }

    /// Returns the text of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if its row is a tombstone, or the time of an end.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.0.starts_with(TOMBSTONES)
    }

    /// Returns true if its row is the record of a deletion.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.0.starts_with(DELETIONS)
    }

    /// Returns true if its row is in the table of short-lived rows. All others are in the grants
    /// table.
    #[must_use]
    pub fn is_short_lived(&self) -> bool {
        self.0.starts_with(STATES) || self.0.starts_with(SESSIONS)
    }

    /// Returns true if its row belongs to this table's operator. A restore leaves such rows out.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.0.starts_with(CONTROLS)
    }

    /// Returns the user whose grant has this key, if it is a grant's key.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.0.strip_prefix(Self::USERS)?.parse().ok()
    }
}

/// A key from a row that was read.
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
