//! Decrypts the tokens of a stack, for export and to check that they open.

use anyhow::Result;
use threads_auth_model::seal::{Purpose, SealError};
use threads_auth_model::{Grant, Vault};
use threads_graph::AccessToken;

use crate::operate::target::StackHandle;

/// Opens tokens with the keyring of a stack.
pub(crate) struct Tokens(Vault);

impl Tokens {
    pub(crate) async fn of(stack: &StackHandle) -> Result<Self> {
        Ok(Self(stack.service.vault(stack.now()).await?))
    }

    /// Decrypts the token of an account that has one.
    pub(crate) fn token(&self, grant: &Grant) -> Option<Result<AccessToken, SealError>> {
        let live = grant.live()?;
        Some(self.0.open(Purpose::AccessToken, &grant.user_id, &live.token))
    }
}
