//! Taking over a token that was got elsewhere: by another tool, or by an earlier version of the
//! app.
//!
//! Owns what is believed of such a token. Meta is asked whose it is, how old it is and when it
//! ends; what Meta does not tell is assumed so that nothing is lost: the token counts as new, waits
//! its 24 hours, and is refreshed then. Refuses a token that is dead, one that lives for an hour
//! only, and the account of a person who was deleted.

use jiff::{SignedDuration, Timestamp};
use threads_auth_model::rules::NewGrant;
use threads_auth_model::schedule::{self, Life};
use threads_auth_model::seal::{Purpose, SealError, random_text};
use threads_auth_model::{Access, ScopesSource};
use threads_auth_store::{SecretsError, StoreError, Taken};
use threads_graph::{AccessToken, ErrorKind, ReauthorizationCause, Scopes, UserId};

use crate::clients::Clients;
use crate::inspection::inspect;

/// A long-lived token lives longer than this; a short-lived one lives for an hour.
const LEAST_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How long a token is taken to live of which nothing is known. It is refreshed within a day and a
/// half, and then it is known.
const ASSUMED_LIFE: SignedDuration = SignedDuration::from_hours(48);

/// No token of Meta's lives longer.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(60 * 24);

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Whose token it is.
    pub user_id: UserId,
    /// Whether it was stored: not if the account is connected already, with a token that lives as
    /// long, or was disconnected since.
    pub is_new: bool,
}

/// Why a token was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Meta says that it is dead.
    #[error("Meta says that the token is dead ({})", .0.as_str())]
    Dead(ReauthorizationCause),
    /// It lives for an hour.
    #[error("it is a short-lived token; exchange it for a long-lived one first")]
    ShortLived,
    /// It is of another account than the line says.
    #[error("it is the token of another account")]
    AnotherAccount,
    /// The person had their data deleted.
    #[error("the person had their data deleted, and has not connected since")]
    Deleted,
    /// Meta could not say, or refused for another reason.
    #[error("Meta did not say whose token it is")]
    Threads(#[source] threads_graph::Error),
    /// The secrets could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl ImportError {
    /// Whether it may go better another time.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // A bare refusal too: nobody but Meta has called the token dead.
            Self::Threads(error) => {
                error.kind().is_retryable() || matches!(error.kind(), ErrorKind::NeedsReauthorization(_))
            }
            Self::Store(error) => error.is_transient(),
            Self::Secrets(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// Takes over a long-lived token.
pub(crate) async fn import(
    clients: &Clients,
    token: &AccessToken,
    user_id: Option<&UserId>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    let vault = clients.vault(now).await?;
    let profile = clients.graph.me(token).await;
    if let Err(error) = &profile
        && let ErrorKind::NeedsReauthorization(cause) = error.kind()
        && cause.is_telling()
    {
        return Err(ImportError::Dead(cause));
    }
    let info = inspect(clients, &vault, token, now).await.map(|inspected| inspected.info);
    // A refusal without a reason may be Meta's own trouble, unless a witness agrees.
    if profile.is_err() && info.as_ref().is_some_and(|info| !info.is_valid) {
        return Err(ImportError::Dead(ReauthorizationCause::Invalid));
    }
    let profile = profile.map_err(ImportError::Threads)?;
    if user_id.is_some_and(|expected| *expected != profile.id) {
        return Err(ImportError::AnotherAccount);
    }
    let times = info.as_ref().and_then(|info| Some((info.issued_at?, info.expires_at?)));
    let is_assumed = times.is_none();
    let (issued_at, expires_at) = times.unwrap_or_else(|| {
        // Without Meta's own word, the operator's, within what Meta's tokens live.
        let longest = schedule::add(now, LONGEST_LIFE.as_secs());
        let assumed = || schedule::add(now, ASSUMED_LIFE.as_secs());
        (now, expires_at.map_or_else(assumed, |ends| ends.min(longest)))
    });
    if times.is_some() && expires_at.duration_since(issued_at) < LEAST_LIFE {
        return Err(ImportError::ShortLived);
    }
    if expires_at <= now {
        return Err(ImportError::Dead(ReauthorizationCause::Expired));
    }
    let granted = info.as_ref().map(threads_graph::TokenInfo::granted).filter(|scopes| !scopes.is_empty());
    let grant = NewGrant {
        user_id: &profile.id,
        grant_id: &random_text::<16>()?,
        begun_at: None,
        sealed: vault.seal(Purpose::AccessToken, &profile.id, token)?,
        access: Access {
            source: if granted.is_some() { ScopesSource::Granted } else { ScopesSource::Requested },
            scopes: granted.unwrap_or_else(|| Scopes::requested([])),
            data_access_expires_at: info.and_then(|info| info.data_access_expires_at),
        },
        username: profile.username,
        life: Life { issued_at, expires_at, is_assumed },
    };
    let tombstone = vault.tombstone(&profile.id);
    match clients.store.import(&grant, &tombstone, now).await? {
        Taken::Deleted => Err(ImportError::Deleted),
        stored => Ok(Imported { is_new: stored == Taken::Stored, user_id: profile.id.clone() }),
    }
}
