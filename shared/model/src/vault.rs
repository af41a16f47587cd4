//! Sealing and opening tokens: the keyring, the app and the table that every token is bound to, at
//! hand together.

use std::sync::Arc;

use jiff::Timestamp;
use threads_graph::{AccessToken, AppCredentials, AppId, AppSecret, UserId};

use crate::seal::{Context, Keyring, Purpose, SealError};
use crate::{Attribute, Key};

/// The sealed attributes of a grant's row, and for what each is sealed.
pub const SEALED: [(Attribute, Purpose); 3] = [
    (Attribute::Token, Purpose::AccessToken),
    (Attribute::PreviousToken, Purpose::PreviousToken),
    (Attribute::PendingToken, Purpose::PendingToken),
];

/// The app, as its secret names it.
#[derive(Debug)]
pub struct App {
    /// Its id and its secret.
    pub credentials: AppCredentials,
    /// The connected account of the team by whose token Meta may be asked about other tokens: Meta
    /// documents that only a tester of the app may ask.
    pub inspector: Option<UserId>,
    /// The secret that the app had before.
    pub previous: Option<PreviousSecret>,
}

/// The secret that an app had before its secret was reset at Meta. What Meta signed with it may
/// still be on its way.
#[derive(Debug)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: AppSecret,
    /// When it is not accepted any more.
    pub until: Timestamp,
}

impl App {
    /// The secret before the present one, while it is accepted: for signatures of Meta's, and for
    /// nothing that is sent to Meta.
    #[must_use]
    pub fn previous(&self, now: Timestamp) -> Option<&AppSecret> {
        self.previous.as_ref().filter(|previous| now < previous.until).map(|previous| &previous.secret)
    }
}

/// Seals and opens what belongs to one app and its table of grants.
#[derive(Clone)]
pub struct Vault {
    /// The app.
    pub app: Arc<App>,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// The table in use, to which tokens of the [first format](crate::seal::Format::First) are
    /// bound.
    pub table: String,
}

impl Vault {
    /// Seals a token for the row of `user_id`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
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
    /// When it was sealed for another place, altered, or with a key that the keyring does not hold.
    pub fn open(&self, purpose: Purpose, user_id: &UserId, sealed: &[u8]) -> Result<AccessToken, SealError> {
        let bytes = self.keyring.open(&self.context(purpose, user_id), sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SealError::Malformed)?;
        AccessToken::new(text).map_err(|_| SealError::Malformed)
    }

    /// The same token, sealed as the keyring seals now; nothing if it is so already.
    ///
    /// # Errors
    /// As [`Self::open`], and when the system has no randomness to give.
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

    /// The key of a deleted user's tombstone.
    #[must_use]
    pub fn tombstone(&self, user_id: &UserId) -> Key {
        Key::tombstone(&self.keyring.tombstone(self.app_id(), user_id))
    }

    /// The confirmation code of a deletion.
    #[must_use]
    pub fn confirmation_code(&self, user_id: &UserId, requested_at: Timestamp) -> String {
        self.keyring.confirmation_code(self.app_id(), user_id, requested_at)
    }

    /// The code by which a session is completed that was finished with this state.
    #[must_use]
    pub fn completion_code(&self, session_id: &str, state: &str) -> String {
        self.keyring.completion_code(self.app_id(), session_id, state)
    }

    /// The app's id.
    #[must_use]
    pub fn app_id(&self) -> &AppId {
        &self.app.credentials.app_id
    }

    /// The app's secret.
    #[must_use]
    pub fn app_secret(&self) -> &AppSecret {
        &self.app.credentials.app_secret
    }

    fn context<'a>(&'a self, purpose: Purpose, user_id: &'a UserId) -> Context<'a> {
        Context { purpose, table: &self.table, app_id: self.app_id(), subject: user_id.as_str() }
    }
}
