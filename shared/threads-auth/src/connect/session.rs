//! Connect sessions: the app's backend sends one of *its* users through a connect, and learns which
//! account was connected.
//! Anybody may open a session's URL, even the victim of a trick. So the account is not disclosed by
//! the session's id alone. The backend must present the completion code, which only the finishing
//! browser gets, and the `reference` of the user who is logged in. Only the user whom the session
//! belongs to can claim the account.

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;
use threads_auth_model::seal::{self, SealError, random_text};
use threads_auth_model::session::TIME_TO_COMPLETE;
use threads_auth_model::{
    Grant, InvalidReference, Session, SessionState, SessionStatus, check_reference, claiming,
};
use threads_auth_store::{CompletionOutcome, StoreError};
use threads_graph::{Scopes, UserId};

use super::error::ConnectError;
use super::return_to::NotAllowed;
use crate::clients::Clients;
use crate::language::UiLocales;

/// A backend's request for a session.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The backend's own name for its user: 1 to [`MAX_REFERENCE`] bytes.
    ///
    /// [`MAX_REFERENCE`]: threads_auth_model::MAX_REFERENCE
    pub reference: String,
    /// The requested scopes, if not the configured ones.
    pub scopes: Option<Scopes>,
    /// The app's return address, to which the completion code is added. Must be on the allowlist.
    pub return_to: String,
    /// The languages that the person prefers, if the backend knows them.
    pub ui_locales: Option<UiLocales>,
    /// The only account that may be connected.
    pub user_id: Option<UserId>,
    /// Lifetime of the session: one minute to one day.
    pub lifetime: SignedDuration,
}

/// Error of creating a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The reference is empty or too long.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The lifetime is out of range.
    #[error("a session lives from one minute to one day")]
    Lifetime,
    /// The return address is not allowed.
    #[error(transparent)]
    ReturnTo(#[from] NotAllowed),
    /// The system's random generator failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Error of redeeming a completion code.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// No session has this id.
    #[error("there is no session with this id")]
    Unknown,
    /// No account was connected in this session, or none yet.
    #[error("no account was connected in this session")]
    NotConnected(SessionStatus),
    /// The code was already redeemed.
    #[error("the session was already completed")]
    Completed,
    /// The session has expired.
    #[error("the session has expired")]
    Expired,
    /// The code belongs to another session.
    #[error("the completion code does not belong to this session")]
    WrongCode,
    /// The session belongs to another user. The code stays valid.
    #[error(
        "the session belongs to another user than the one who is logged in: nothing was linked, and the code stays valid"
    )]
    WrongReference,
    /// The account was deleted since.
    #[error("the connected account was deleted")]
    Gone,
    /// The system's random generator failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// DynamoDB failed, or a row is inconsistent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a session.
pub(crate) async fn create(
    clients: &Clients,
    new: NewSession,
    now: Timestamp,
) -> Result<Session, SessionError> {
    check_reference(&new.reference)?;
    if new.lifetime < SignedDuration::from_mins(1) || new.lifetime > SignedDuration::from_hours(24) {
        return Err(SessionError::Lifetime);
    }
    clients.config.return_to.check(&new.return_to)?;
    let session = Session {
        id: random_text::<24>()?,
        reference: new.reference,
        scopes: new.scopes,
        return_to: Some(new.return_to),
        ui_locales: new.ui_locales.map(|locales| locales.as_str().to_owned()),
        user_id: new.user_id,
        // In whole seconds, as the table stores it.
        expires_at: Timestamp::from_second(now.as_second() + new.lifetime.as_secs()).unwrap_or(now),
        failures: 0,
        state: SessionState::Open,
    };
    clients.store.create_session(&session).await?;
    Ok(session)
}

/// Returns the session with this id, if there is one.
pub(crate) async fn find(clients: &Clients, id: &str) -> Result<Option<Session>, StoreError> {
    // Other texts are not looked up: DynamoDB refuses a key that is too long, which would look like
    // an outage.
    if !is_session_id(id) {
        return Ok(None);
    }
    clients.store.session(id).await
}

/// Returns the session with this id, for a person who opens its URL.
pub(super) async fn read(clients: &Clients, id: &str) -> Result<Session, ConnectError> {
    clients.store.session(id).await?.ok_or(ConnectError::SessionUnknown)
}

/// Refuses a session that is closed or expired, or whose return address is no longer allowed.
pub(super) fn admit(clients: &Clients, session: &Session, now: Timestamp) -> Result<(), ConnectError> {
    if session.is_closed() {
        return Err(ConnectError::SessionClosed);
    }
    if session.expires_at <= now {
        return Err(ConnectError::SessionExpired);
    }
    // Without a return address nobody could complete the session. One of the first release may have
    // none, and its backend learns of the account from an event.
    if let Some(return_to) = &session.return_to {
        clients.config.return_to.check(return_to).map_err(|_| ConnectError::ReturnTo)?;
    }
    Ok(())
}

/// Redeems a completion code for the app's user `reference`, and claims the account for that user.
/// A failure before the account is known leaves the code valid. The call is idempotent for ten
/// minutes, in case its response is lost.
pub(crate) async fn complete(
    clients: &Clients,
    id: &str,
    completion: &str,
    reference: &str,
    now: Timestamp,
) -> Result<Grant, CompleteError> {
    let session = find(clients, id).await?.ok_or(CompleteError::Unknown)?;
    let redeemable = redeemable(&session, now)?;
    let hash = seal::hash(completion);
    if !bool::from(hash.as_bytes().ct_eq(redeemable.hash.as_bytes())) {
        return Err(CompleteError::WrongCode);
    }
    if session.reference != reference {
        return Err(CompleteError::WrongReference);
    }
    let grant = clients.store.grant(redeemable.user_id).await?.ok_or(CompleteError::Gone)?;
    if redeemable.is_redeemed {
        return still_owned(grant, reference);
    }
    let mut claims: Vec<_> = claiming::claim_and_settle(&grant, reference, now).into_iter().collect();
    claims.push(claiming::claim(&grant, reference, now));
    let call = random_text::<16>()?;
    match clients.store.complete_session(id, &hash, &call, &claims, now).await? {
        CompletionOutcome::Completed => Ok(grant),
        CompletionOutcome::Gone => Err(CompleteError::Gone),
        // The same call ran concurrently, or the response to the first attempt was lost.
        CompletionOutcome::NotOpen => {
            let session = find(clients, id).await?.ok_or(CompleteError::Unknown)?;
            match redeemable_again(&session, now) {
                Some(again) if again.hash == hash => {
                    let grant = clients.store.grant(again.user_id).await?.ok_or(CompleteError::Gone)?;
                    still_owned(grant, reference)
                }
                _ => Err(CompleteError::Completed),
            }
        }
    }
}

/// Returns the account to a repeated call, unless it has another owner since: the response would
/// link it to the wrong user.
fn still_owned(grant: Grant, reference: &str) -> Result<Grant, CompleteError> {
    if grant.claim.owner().is_some_and(|owner| owner.reference == reference) {
        Ok(grant)
    } else {
        Err(CompleteError::Completed)
    }
}

/// A code that can be redeemed, or was redeemed within the last ten minutes.
struct Redeemable<'a> {
    user_id: &'a UserId,
    hash: &'a str,
    is_redeemed: bool,
}

fn redeemable(session: &Session, now: Timestamp) -> Result<Redeemable<'_>, CompleteError> {
    match &session.state {
        SessionState::Completed { .. } => redeemable_again(session, now).ok_or(CompleteError::Completed),
        _ if session.expires_at <= now => Err(CompleteError::Expired),
        SessionState::Connected { user_id, completion_hash: hash } => {
            Ok(Redeemable { user_id, hash, is_redeemed: false })
        }
        SessionState::Open | SessionState::Denied(_) | SessionState::Failed(_) => {
            Err(CompleteError::NotConnected(session.state.status()))
        }
    }
}

fn redeemable_again(session: &Session, now: Timestamp) -> Option<Redeemable<'_>> {
    match &session.state {
        SessionState::Completed { user_id, completion_hash: Some(hash), at, .. }
            if now.duration_since(*at) < TIME_TO_COMPLETE =>
        {
            Some(Redeemable { user_id, hash, is_redeemed: true })
        }
        _ => None,
    }
}

/// Returns true if `text` has the form of a session's id.
pub(super) fn is_session_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
