//! Vending: hands the token of one account to the app's backend, valid for the requested time.
//! Owns the decision to hand out the stored token, to refresh it first, or to refuse with a reason.
//! A due token is refreshed on request, under the same lease as in sweeps: Meta receives one call
//! however many callers there are. A token that is expired, revoked or known to be dead is never
//! handed out. A caller's report of a refused token triggers a check at Meta, and nothing else.

use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use threads_auth_model::rules::LeaseReason;
use threads_auth_model::schedule::{self, Life};
use threads_auth_model::seal::{Purpose, SealError};
use threads_auth_model::{Cause, Grant, Key, Live, Pseudonym, RevokedBy, ScopesSource, State};
use threads_auth_store::{Backoff, SecretsError, StoreError};
use threads_graph::{AccessToken, Scopes, UserId};

use super::outcome::RefreshOutcome;
use super::refresher::Refresher;
use crate::clients::{Clients, OpenError};
use crate::stopwatch::Stopwatch;

/// Maximum of `min_valid`, in seconds: 30 days. Meta's tokens live for 60 days, and are refreshed
/// when a third is left.
pub const MAX_MIN_VALID: u32 = 30 * 86_400;

/// Default `min_valid`, in seconds: long enough for one API call.
pub const DEFAULT_MIN_VALID: u32 = 300;

/// Polling of a caller that waits for a refresh by another process.
const POLL: Backoff =
    Backoff { next: Duration::from_millis(50), factor: 2, longest: Duration::from_millis(400) };

/// Default of `retry_after`, in seconds, if the row has no better estimate.
const DEFAULT_RETRY_AFTER: i64 = 5;
/// Maximum of `retry_after`, in seconds.
const MAX_RETRY_AFTER: i64 = 3_600;

/// A valid token.
#[derive(Debug)]
pub struct Vended {
    /// Id of its account.
    pub user_id: UserId,
    /// The token.
    pub access_token: AccessToken,
    /// Its expiry.
    pub expires_at: Timestamp,
    /// The granted scopes.
    pub scopes: Scopes,
    /// Source of the scopes.
    pub scopes_source: ScopesSource,
    /// Name of the account in logs.
    pub pseudonym: Option<Pseudonym>,
}

/// The refusal to vend a token.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct VendRefusal {
    /// The error.
    #[source]
    pub error: VendError,
    /// Name of the account in logs, if its row was read and has one.
    pub pseudonym: Option<Pseudonym>,
}

threads_graph::names! {
    /// Reason for retrying later.
    pub enum RetryReason {
        /// The person consented, but the long-lived exchange has not succeeded yet.
        Pending => "pending",
        /// The token expires before `min_valid`, and Meta refreshes no token younger than 24 hours.
        TooYoung => "too_young",
        /// The last refresh did not succeed. It is retried.
        NotRefreshed => "not_refreshed",
        /// Another process is refreshing the token.
        Busy => "busy",
        /// Meta has just refused the token in a way that may be its own fault. It is checked again.
        Suspected => "suspected",
    }
}

/// Error of vending a token.
#[derive(Debug, thiserror::Error)]
pub enum VendError {
    /// No account with this id is connected.
    #[error("no account with this id is connected")]
    Unknown,
    /// The person has to connect again, unless Meta accepts the token again (`account.recovered`).
    #[error("the person has to connect the account again")]
    NeedsReauthorization {
        /// The cause.
        cause: Cause,
        /// The scopes to request again.
        scopes: Scopes,
    },
    /// The account was disconnected.
    #[error("the account was disconnected")]
    Revoked {
        /// The one who disconnected it, if known.
        by: Option<RevokedBy>,
        /// The scopes that were granted.
        scopes: Scopes,
    },
    /// There is no valid token now, but may be later.
    #[error("there is no valid token right now")]
    Retry {
        /// The reason.
        reason: RetryReason,
        /// Seconds until the next request is worthwhile.
        retry_after: u32,
    },
    /// The token does not open with the keyring.
    #[error("the token does not open")]
    Sealed(#[from] SealError),
    /// The secrets could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed, or the row is inconsistent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The SHA-256 of an access token, in hexadecimal digits: identifies a token without disclosing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    fn of(token: &AccessToken) -> Self {
        let digest = digest(&SHA256, token.expose().as_bytes());
        let mut text = String::with_capacity(64);
        for byte in digest.as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }
}

/// Error of parsing a [`TokenHash`].
#[derive(Debug, thiserror::Error)]
#[error("expected a SHA-256 in 64 hexadecimal digits")]
pub struct InvalidTokenHash;

impl FromStr for TokenHash {
    type Err = InvalidTokenHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidTokenHash);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// A grant's state with regard to a caller's request.
enum Standing<'a> {
    /// This token is valid for long enough.
    Good(&'a Live),
    /// The grant has to be refreshed or completed first. The token, if any, may be handed out if
    /// that fails.
    Due(LeaseReason<'a>, Option<&'a Live>),
}

/// Returns a token of `user_id` that stays valid for `min_valid`, refreshed first if it is due or
/// expires before. A token that Meta has `refused`, by the caller's report, is not handed out again
/// unless Meta accepts it.
pub(crate) async fn vend(
    clients: &Clients,
    user_id: &UserId,
    min_valid: SignedDuration,
    refused: Option<&TokenHash>,
    now: Timestamp,
) -> Result<Vended, VendRefusal> {
    let mut pseudonym = None;
    let vended = attempt(clients, user_id, min_valid, refused, now, &mut pseudonym).await;
    vended.map_err(|error| VendRefusal { error, pseudonym })
}

/// Does the work of [`vend`]. The account's name in logs is returned even if it fails.
async fn attempt(
    clients: &Clients,
    user_id: &UserId,
    min_valid: SignedDuration,
    refused: Option<&TokenHash>,
    now: Timestamp,
    pseudonym: &mut Option<Pseudonym>,
) -> Result<Vended, VendError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let find = async || clients.store.grant(user_id).await?.ok_or(VendError::Unknown);
    // If the secrets have to be read again, the row is read at the same time. Nothing is opened
    // before both are there: a secret may have been deleted. If the secrets are slow, the row is
    // read again, because the account may have ended meanwhile.
    let (vault, found) = futures_util::future::join(Box::pin(clients.vault(now)), find()).await;
    let refresher = Refresher::new(clients, vault?, time)?;
    let is_fresh = time.elapsed() < clients.config.row_time();
    let mut grant = if is_fresh { found? } else { find().await? };
    let is_refused = |token: &AccessToken| refused.is_some_and(|refused| *refused == TokenHash::of(token));
    let mut poll = POLL;
    let (is_vouched_for, is_unrecorded) = loop {
        pseudonym.clone_from(&grant.pseudonym);
        let now = time.now();
        let open = async |live| open(&refresher, &grant, live).await;
        let (reason, at_hand) = match standing(&grant, min_valid, now)? {
            Standing::Good(live) => {
                let vended = open(live).await?;
                let is_vouched_for = live.vouch.is_some_and(|vouch| now < vouch.until);
                if is_vouched_for || !is_refused(&vended.access_token) {
                    return Ok(vended);
                }
                (LeaseReason::Doubted(live), None)
            }
            Standing::Due(reason, live) => {
                let vended = match live {
                    Some(live) => open(live).await.ok(),
                    None => None,
                };
                (reason, vended.filter(|vended| !is_refused(&vended.access_token)))
            }
        };
        // While another process holds the lease, only reads are made: hundreds of failing writes
        // would delay the one that all wait for.
        let is_taken = grant.leased_until.is_some_and(|until| until >= now);
        let is_late = time.elapsed() >= clients.config.refresh_wait();
        // Nothing is begun that may not finish in time: a token in Meta's response would be lost.
        if !is_taken && !is_late {
            let attempt = refresher.one_now(&Key::grant(user_id), reason).await;
            let is_unrecorded = attempt.is_unrecorded();
            match attempt.outcome {
                RefreshOutcome::NotOurs => {}
                RefreshOutcome::Refreshed | RefreshOutcome::NotExtended | RefreshOutcome::Completed => {
                    break (true, is_unrecorded);
                }
                // Meta has accepted this token just now.
                RefreshOutcome::Checked => {
                    let is_suspected = grant.live().is_some_and(|live| live.suspicion.is_some());
                    let is_vouched_for = is_suspected || matches!(reason, LeaseReason::Doubted(_));
                    break (is_vouched_for, is_unrecorded);
                }
                _ => break (false, is_unrecorded),
            }
        }
        // The running refresh may invalidate the stored token, so it is handed out only if the
        // refresh takes too long.
        if is_late {
            return at_hand.ok_or_else(|| VendError::retry(RetryReason::Busy, now, now));
        }
        poll.wait(None).await;
        grant = find().await?;
    };
    // After the attempt, the stored row decides.
    let grant = find().await?;
    pseudonym.clone_from(&grant.pseudonym);
    let now = time.now();
    let again_at = match standing(&grant, min_valid, now)? {
        // The row may hold the token that Meta has just refused or replaced.
        Standing::Good(_) | Standing::Due(..) if is_unrecorded => now,
        Standing::Good(live) | Standing::Due(_, Some(live)) => {
            let vended = open(&refresher, &grant, live).await?;
            if is_vouched_for || !is_refused(&vended.access_token) {
                return Ok(vended);
            }
            now
        }
        Standing::Due(_, None) => grant.due_at.unwrap_or(now),
    };
    let reason = match grant.state {
        State::New(_) => RetryReason::Pending,
        _ => RetryReason::NotRefreshed,
    };
    Err(VendError::retry(reason, again_at, now))
}

impl From<OpenError> for VendError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Sealed(error) => Self::Sealed(error),
            OpenError::Keyring(error) => Self::Secrets(error),
        }
    }
}

impl VendError {
    fn retry(reason: RetryReason, at: Timestamp, now: Timestamp) -> Self {
        let seconds = at.as_second() - now.as_second();
        let seconds = if seconds <= 0 { DEFAULT_RETRY_AFTER } else { seconds };
        Self::Retry { reason, retry_after: u32::try_from(seconds.min(MAX_RETRY_AFTER)).unwrap_or(0) }
    }
}

fn standing(grant: &Grant, min_valid: SignedDuration, now: Timestamp) -> Result<Standing<'_>, VendError> {
    let scopes = || grant.scopes.clone();
    // Only sweeps end unclaimed accounts.
    let is_due = grant.due_at.is_some_and(|due| due <= now && schedule::claim_look(grant) != Some(due));
    let due_later = |reason| VendError::retry(reason, grant.due_at.unwrap_or(now), now);
    let live = match &grant.state {
        State::Active(live, _) => live,
        State::Revoked(by, None) => {
            let (by, scopes) = (*by, scopes());
            return Err(VendError::Revoked { by, scopes });
        }
        State::Final(cause, None) | State::Appealable(cause, _, None) => {
            let (cause, scopes) = (*cause, scopes());
            return Err(VendError::NeedsReauthorization { cause, scopes });
        }
        // A consent needs its long-lived exchange.
        State::New(_) | State::Final(..) | State::Appealable(..) | State::Revoked(..) if is_due => {
            return Ok(Standing::Due(LeaseReason::Due, None));
        }
        State::New(_) | State::Final(..) | State::Appealable(..) | State::Revoked(..) => {
            return Err(due_later(RetryReason::Pending));
        }
    };
    // Meta has just refused the token. It is not handed out, not even if the check that is due
    // fails.
    if live.suspicion.is_some() {
        return if is_due {
            Ok(Standing::Due(LeaseReason::Due, None))
        } else {
            Err(due_later(RetryReason::Suspected))
        };
    }
    let lives = live.expires_at > schedule::add(now, min_valid.as_secs()) && live.expires_at > now;
    let ended = live.data_access_expires_at.is_some_and(|end| end <= now);
    if lives && !ended {
        return Ok(if is_due { Standing::Due(LeaseReason::Due, Some(live)) } else { Standing::Good(live) });
    }
    let old_enough = Life::of(live).old_enough_at();
    if now < old_enough && now < live.expires_at && !ended {
        return Err(VendError::retry(RetryReason::TooYoung, old_enough, now));
    }
    // A recent failure defers callers as it defers sweeps.
    if grant.failures > 0 && !is_due {
        return Err(due_later(RetryReason::NotRefreshed));
    }
    Ok(Standing::Due(LeaseReason::Expiring(grant, live), None))
}

async fn open(refresher: &Refresher<'_>, grant: &Grant, live: &Live) -> Result<Vended, VendError> {
    let access_token = refresher.open(Purpose::AccessToken, grant, &live.token).await?;
    Ok(Vended {
        user_id: grant.user_id.clone(),
        access_token,
        expires_at: live.expires_at,
        scopes: grant.scopes.clone(),
        scopes_source: grant.scopes_source,
        pseudonym: grant.pseudonym.clone(),
    })
}
