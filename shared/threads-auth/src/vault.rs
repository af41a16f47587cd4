//! Sealing and opening tokens: the keyring, the app and the table that every token is bound to, at hand together.

use std::sync::Arc;

use jiff::Timestamp;
use threads_graph::{AccessToken, AppCredentials, UserId};
use zeroize::Zeroizing;

use crate::ThreadsAuth;
use crate::seal::{Context, Keyring, Purpose, SealError};
use crate::secrets::SecretsError;

/// What an operation needs of the secrets.
pub(crate) struct Vault {
    pub(crate) app: Arc<AppCredentials>,
    pub(crate) keyring: Arc<Keyring>,
    table: String,
}

impl ThreadsAuth {
    pub(crate) async fn vault(&self, now: Timestamp) -> Result<Vault, SecretsError> {
        // Both at once: a cold start waits for the slower one only.
        let (app, keyring) =
            futures_util::future::try_join(self.secrets.app(now), self.secrets.keyring(now)).await?;
        Ok(Vault {
            app,
            keyring,
            table: self.store.grants_table().to_owned(),
        })
    }
}

impl Vault {
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        user_id: &UserId,
        token: &AccessToken,
    ) -> Result<Vec<u8>, SealError> {
        self.keyring
            .seal(&self.context(purpose, user_id), token.expose().as_bytes())
    }

    pub(crate) fn open(
        &self,
        purpose: Purpose,
        user_id: &UserId,
        sealed: &[u8],
    ) -> Result<AccessToken, SealError> {
        let bytes = self.keyring.open(&self.context(purpose, user_id), sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SealError::Malformed)?;
        AccessToken::new(Zeroizing::new(text.to_owned()).as_str()).map_err(|_| SealError::Malformed)
    }

    pub(crate) fn tombstone(&self, user_id: &UserId) -> String {
        self.keyring.tombstone(&self.app.app_id, user_id)
    }

    fn context<'a>(&'a self, purpose: Purpose, user_id: &'a UserId) -> Context<'a> {
        Context {
            purpose,
            table: &self.table,
            app_id: &self.app.app_id,
            subject: user_id.as_str(),
        }
    }
}
