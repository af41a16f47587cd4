//! Builds the grant that a connect stores, from a token that Meta has just issued.

use jiff::Timestamp;
use threads_auth_model::rules::NewGrant;
use threads_auth_model::schedule::Life;
use threads_auth_model::seal::{Purpose, SealError};
use threads_auth_model::{Pseudonym, Vault};
use threads_graph::{LongLivedToken, UserId};

use crate::inspection::Inspection;

/// Builds the grant of a token that was requested at `issued_at`.
pub(crate) fn new_grant<'a>(
    vault: &Vault,
    user_id: &'a UserId,
    grant_id: &'a str,
    token: &LongLivedToken,
    inspection: Inspection,
    issued_at: Timestamp,
) -> Result<NewGrant<'a>, SealError> {
    let expires_at = inspection.expires_at;
    Ok(NewGrant {
        user_id,
        grant_id,
        begun_at: None,
        sealed: vault.seal(Purpose::AccessToken, user_id, &token.access_token)?,
        access: inspection.access,
        username: inspection.username,
        pseudonym: Pseudonym::random()?,
        life: Life::new(issued_at, token.expires_in).found(expires_at),
    })
}
