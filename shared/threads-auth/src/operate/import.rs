//! Import of a token that another tool or an earlier version of the app has obtained.
//! Owns the trust in such a token. Meta returns its account, age and expiry. Without them the safe
//! values are assumed: the token counts as new, and is refreshed after 24 hours. A dead or
//! short-lived token is refused, and so is the account of a person who was deleted.

use jiff::{SignedDuration, Timestamp};
use threads_auth_model::rules::NewGrant;
use threads_auth_model::schedule::{self, Life};
use threads_auth_model::seal::{Purpose, SealError, random_text};
use threads_auth_model::{
    Access, Attribute, Claim, Condition, InvalidReference, Pseudonym, ScopesSource, Status, check_reference,
    claiming,
};
use threads_auth_store::{SecretsError, StoreError, TransferOutcome, WriteOutcome};
use threads_graph::{AccessToken, ErrorKind, ReauthorizationCause, Scopes, UserId};

use crate::clients::Clients;
use crate::inspection::inspect;

/// The shortest life of a long-lived token. A short-lived one lives for an hour.
const LEAST_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Assumed life of a token of unknown expiry. It is refreshed within a day and a half, which makes
/// its expiry known.
const ASSUMED_LIFE: SignedDuration = SignedDuration::from_hours(48);

/// The longest life of a token of Meta.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(60 * 24);

/// A token that was obtained elsewhere, with what is known of it there.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// The token.
    pub token: &'a AccessToken,
    /// Id of the expected account.
    pub user_id: Option<&'a UserId>,
    /// The expiry to assume if Meta does not return one.
    pub expires_at: Option<Timestamp>,
    /// The backend's own name for the user whose account it is, at most 128 bytes.
    pub reference: Option<&'a str>,
}

impl<'a> Import<'a> {
    /// Returns the import of a token of which nothing else is known.
    #[must_use]
    pub fn of(token: &'a AccessToken) -> Self {
        Self { token, user_id: None, expires_at: None, reference: None }
    }
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Id of the token's account.
    pub user_id: UserId,
    /// True if the token was stored. False if the account has a token that lives as long, or was
    /// disconnected since.
    pub is_new: bool,
}

/// Error of importing a token.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Meta refuses the token.
    #[error("Meta refuses the token ({})", .0.as_str())]
    Dead(ReauthorizationCause),
    /// The token is short-lived.
    #[error("the token is short-lived; exchange it for a long-lived one first")]
    ShortLived,
    /// The token belongs to another account than expected.
    #[error("the token belongs to another account")]
    AnotherAccount,
    /// The person had their data deleted.
    #[error("the person had their data deleted, and has not connected since")]
    Deleted,
    /// The reference is empty or too long.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The account was connected here, and is another user's.
    #[error("the account was connected here already, for another reference")]
    AnotherReference,
    /// The call that identifies the account failed.
    #[error("Meta did not identify the token's account")]
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
    /// Returns true if another try may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // This includes a refusal without a cause, which may be Meta's own fault.
            Self::Threads(error) => {
                error.kind().is_retryable() || matches!(error.kind(), ErrorKind::NeedsReauthorization(_))
            }
            Self::Store(error) => error.is_transient(),
            Self::Secrets(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// Imports a long-lived token, and gives its account to the user whom the app calls `reference`.
pub(crate) async fn import(
    clients: &Clients,
    import: Import<'_>,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    import.reference.map(check_reference).transpose()?;
    let imported = take_over(clients, import, now).await?;
    if let Some(reference) = import.reference {
        refer(clients, &imported.user_id, reference, now).await?;
    }
    Ok(imported)
}

/// Claims an imported account, unless it is claimed already: the app's own claim takes precedence.
async fn refer(
    clients: &Clients,
    user_id: &UserId,
    reference: &str,
    now: Timestamp,
) -> Result<(), ImportError> {
    loop {
        let grant = clients.store.grant(user_id).await?;
        // A disconnected account has no owner, and the open session of an unclaimed one decides its
        // owner.
        let Some(grant) = grant.filter(|grant| grant.status() == Status::Active) else { return Ok(()) };
        match &grant.claim {
            Claim::Claimed(Some(owner)) if owner.reference == reference => return Ok(()),
            Claim::Claimed(None) => {}
            Claim::Claimed(Some(_)) | Claim::Unclaimed { .. } => return Err(ImportError::AnotherReference),
        }
        let mut change = claiming::claim(&grant, reference, now);
        // The condition that nobody has claimed it, and that no session has connected it, since the
        // read.
        for attribute in [Attribute::Reference, Attribute::UnclaimedUntil] {
            change.when = change.when.and(Condition::Absent(attribute));
        }
        if clients.store.write(&change).await? != WriteOutcome::Superseded {
            return Ok(());
        }
    }
}

async fn take_over(
    clients: &Clients,
    Import { token, user_id, expires_at, .. }: Import<'_>,
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
    // A refusal without a cause may be Meta's own fault, unless a witness agrees.
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
        // Without a response of Meta the operator's expiry counts, up to the longest life.
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
        pseudonym: Pseudonym::random()?,
        life: Life { issued_at, expires_at, is_assumed },
    };
    let tombstone = vault.tombstone(&profile.id);
    match clients.store.import(&grant, &tombstone, now).await? {
        TransferOutcome::Deleted => Err(ImportError::Deleted),
        stored => Ok(Imported { is_new: stored == TransferOutcome::Stored, user_id: profile.id.clone() }),
    }
}
