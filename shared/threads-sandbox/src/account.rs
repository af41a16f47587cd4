//! A Threads account, and its person's actions on the app's access.
//!
//! Holds no token: a token remembers the number of the account's grant that it came from, and this
//! module reports if that grant lives.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::later;

/// The time for which the app may read the profile after the person authorized it.
const DATA_ACCESS: Duration = Duration::from_hours(90 * 24);

/// The state of an account, by which the app's tokens work or fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Nothing.
    Active,
    /// The person removed the app: subcode 458.
    Revoked,
    /// The person has to log in to Threads first: subcode 459.
    Checkpoint,
    /// The person has to confirm the account first: subcode 464.
    Unconfirmed,
    /// The person changed the password: subcode 460.
    PasswordChanged,
    /// Meta ended the session: subcode 467.
    Invalidated,
    /// Meta restricted the account: its tokens are valid and are refreshed, but read nothing. Code
    /// 10, subcode 4279013.
    Restricted,
}

impl AccountStatus {
    /// The `error_subcode`, `None` while the account is fine.
    #[must_use]
    pub const fn subcode(self) -> Option<u64> {
        match self {
            Self::Active => None,
            Self::Revoked => Some(458),
            Self::Checkpoint => Some(459),
            Self::Unconfirmed => Some(464),
            Self::PasswordChanged => Some(460),
            Self::Invalidated => Some(467),
            Self::Restricted => Some(4_279_013),
        }
    }

    /// Returns true if tokens are valid, whatever they can read.
    pub(crate) const fn keeps_tokens(self) -> bool {
        matches!(self, Self::Active | Self::Restricted)
    }
}

/// A snapshot of a Threads account of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own that is so or not")]
pub struct Account {
    /// Meta's id, a whole number as text.
    pub user_id: String,
    /// The name without `@`.
    pub username: String,
    /// The profile is private, which limits the grant to 90 days.
    pub private: bool,
    /// The person is one of the app's Threads testers, whose tokens may inspect others.
    #[serde(default)]
    pub tester: bool,
    /// The tester invitation is not accepted: authorizing ends on Meta's error page with code
    /// 1349245.
    pub tester_pending: bool,
    /// A refresh returns a token that lives for 60 days. Otherwise the new token ends together with
    /// the old one.
    #[serde(default = "documented")]
    pub extends: bool,
    /// The reason why tokens do not work, if there is one.
    pub status: AccountStatus,
    /// The time when the person last pressed Allow.
    pub authorized_at: Option<Timestamp>,
    /// The end of the app's access to the profile, whatever its tokens' ages, if the profile is
    /// private then.
    pub data_access_expires_at: Option<Timestamp>,
    /// The end of each earlier grant. A token that carries generation *n* belongs to the *n*-th
    /// grant, so it is dead if this list is longer than *n*, and the list has the cause.
    pub(crate) ended_grants: Vec<AccountStatus>,
}

const fn documented() -> bool {
    true
}

impl Account {
    pub(crate) fn new(user_id: String, username: String, private: bool) -> Self {
        Self {
            user_id,
            username,
            private,
            tester: false,
            tester_pending: false,
            extends: true,
            status: AccountStatus::Active,
            authorized_at: None,
            data_access_expires_at: None,
            ended_grants: Vec::new(),
        }
    }

    /// The number of the grant that a token issued now belongs to.
    pub(crate) fn generation(&self) -> usize {
        self.ended_grants.len()
    }

    /// The state of the grant number `generation`.
    pub(crate) fn grant_status(&self, generation: usize) -> AccountStatus {
        self.ended_grants.get(generation).copied().unwrap_or(self.status)
    }

    /// The person pressed Allow. It repairs the account, but tokens of an earlier grant stay dead.
    /// After a checkpoint or a confirmation the tokens work again, because they were never ended.
    /// The person cannot end a restriction.
    pub(crate) fn authorize(&mut self, now: Timestamp) {
        match self.status {
            AccountStatus::Active | AccountStatus::Restricted => {}
            AccountStatus::Checkpoint | AccountStatus::Unconfirmed => self.status = AccountStatus::Active,
            ended => {
                self.ended_grants.push(ended);
                self.status = AccountStatus::Active;
            }
        }
        self.authorized_at = Some(now);
        self.data_access_expires_at = Some(later(now, DATA_ACCESS));
    }

    /// A refresh extends a public profile's grant. Sources disagree about private ones; the sandbox
    /// follows the stricter one, so that an app which relies on the other one fails.
    pub(crate) fn extend_data_access(&mut self, now: Timestamp) {
        if !self.private {
            self.data_access_expires_at = Some(later(now, DATA_ACCESS));
        }
    }

    /// The present end of the app's access to the data: none, if the profile is public.
    pub(crate) fn data_access_ends(&self) -> Option<Timestamp> {
        self.data_access_expires_at.filter(|_| self.private)
    }
}
