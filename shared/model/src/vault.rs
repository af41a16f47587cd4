//! The vault: seals and opens tokens with the keyring, the app and the table that each token is
//! bound to.

use std::sync::Arc;

use jiff::Timestamp;
use threads_graph::{AccessToken, AppCredentials, AppId, AppSecret, UserId};

use crate::seal::{Context, Keyring, Purpose, SealError};
use crate::{Attribute, Key};

/// The sealed attributes of a grant's row, with the purpose of each.
pub const SEALED: [(Attribute, Purpose); 3] = [
    (Attribute::Token, Purpose::AccessToken),
    (Attribute::PreviousToken, Purpose::PreviousToken),
    (Attribute::PendingToken, Purpose::PendingToken),
];

/// The app, as described by its secret.
#[derive(Debug)]
pub struct App {
    /// The app's id and secret.
    pub credentials: AppCredentials,
    /// The team's connected account whose token is used to inspect other tokens: Meta documents
    /// that only a tester of the app may do so.
    pub inspector: Option<UserId>,
    /// The app's previous secret.
    pub previous: Option<PreviousSecret>,
}

/// The secret that an app had before it was reset at Meta. Requests that Meta signed with it may
/// still arrive.
#[derive(Debug)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: AppSecret,
    /// Time from which the secret is no longer accepted.
    pub until: Timestamp,
}

impl App {
    /// Returns the previous secret, while it is accepted. It verifies Meta's signatures only, and
    /// is never sent to Meta.
    #[must_use]
    pub fn previous(&self, now: Timestamp) -> Option<&AppSecret> {
        self.previous.as_ref().filter(|previous| now < previous.until).map(|previous| &previous.secret)
    }
}

/// Seals and opens the values of one app and its grants table.
#[derive(Clone)]
pub struct Vault {
    /// The app.
    pub app: Arc<App>,
    /// The keyring.
    pub keyring: Arc<Keyring>,
    /// The table in use, to which values of the [first format](crate::seal::Format::First) are
    /// bound.
    pub table: String,
}

impl Vault {
    /// Seals a token for the row of `user_id`.
    ///
    /// # Errors
    /// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
    pub fn seal(
        &self,
        purpose: Purpose,
        user_id: &UserId,
        token: &AccessToken,
    ) -> Result<Vec<u8>, SealError> {
        self.keyring.seal(&self.context(purpose, user_id), token.expose().as_bytes())
    }

    /// Opens a token of the row of `user_id`.
    ///
    /// # Errors
    /// - Returns [`SealError::Malformed`] if the value is not a sealed token.
    /// - Returns [`SealError::UnknownKey`] if the keyring does not hold its key.
    /// - Returns [`SealError::Refused`] if the value was altered, or belongs elsewhere.
    pub fn open(&self, purpose: Purpose, user_id: &UserId, sealed: &[u8]) -> Result<AccessToken, SealError> {
        let bytes = self.keyring.open(&self.context(purpose, user_id), sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SealError::Malformed)?;
        AccessToken::new(text).map_err(|_| SealError::Malformed)
    }

    /// Seals a token again as the keyring seals now. Returns `None` if it is sealed that way
    /// already.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`], and [`SealError::NoRandomness`] if the system's random
    /// number generator fails.
    pub fn reseal(
        &self,
        purpose: Purpose,
        user_id: &UserId,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        let token = self.open(purpose, user_id, sealed)?;
        if self.keyring.seals_like(sealed) {
            return Ok(None);
        }
        self.seal(purpose, user_id, &token).map(Some)
    }

    /// Returns the key of a deleted user's tombstone.
    #[must_use]
    pub fn tombstone(&self, user_id: &UserId) -> Key {
        Key::tombstone(&self.keyring.tombstone(self.app_id(), user_id))
    }

    /// Returns the confirmation code of a deletion.
    #[must_use]
    pub fn confirmation_code(&self, user_id: &UserId, requested_at: Timestamp) -> String {
        self.keyring.confirmation_code(self.app_id(), user_id, requested_at)
    }

    /// Returns the completion code of a session whose connect had this state.
    #[must_use]
    pub fn completion_code(&self, session_id: &str, state: &str) -> String {
        self.keyring.completion_code(self.app_id(), session_id, state)
    }

    /// Returns the app's id.
    #[must_use]
    pub fn app_id(&self) -> &AppId {
        &self.app.credentials.app_id
    }

    /// Returns the app's secret.
    #[must_use]
    pub fn app_secret(&self) -> &AppSecret {
        &self.app.credentials.app_secret
    }

    fn context<'a>(&'a self, purpose: Purpose, user_id: &'a UserId) -> Context<'a> {
        Context { purpose, table: &self.table, app_id: self.app_id(), subject: user_id.as_str() }
    }
}
