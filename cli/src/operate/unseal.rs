//! The tokens of a stack in the clear, for export and to see whether they open.

use std::sync::Arc;

use anyhow::Result;
use threads_auth::grant::Grant;
use threads_auth::seal::{Context, Keyring, Purpose, SealError};
use threads_graph::AppCredentials;
use zeroize::Zeroizing;

use crate::operate::target::Opened;

/// Opens tokens with the keyring of a stack.
pub(crate) struct Tokens {
    app: Arc<AppCredentials>,
    keyring: Arc<Keyring>,
    table: String,
}

impl Tokens {
    pub(crate) async fn of(stack: &Opened) -> Result<Self> {
        let (secrets, now) = (stack.service.secrets(), stack.now());
        Ok(Self {
            app: secrets.app(now).await?,
            keyring: secrets.keyring(now).await?,
            table: stack.service.store().grants_table().to_owned(),
        })
    }

    /// The token of an account that has one.
    pub(crate) fn token(&self, grant: &Grant) -> Option<Result<Zeroizing<String>, SealError>> {
        let token = grant.token.as_ref()?;
        let place = Context {
            purpose: Purpose::AccessToken,
            table: &self.table,
            app_id: &self.app.app_id,
            subject: grant.user_id.as_str(),
        };
        let opened = self.keyring.open(&place, &token.sealed);
        Some(opened.and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|_| SealError::Malformed)?;
            Ok(Zeroizing::new(text.to_owned()))
        }))
    }
}
