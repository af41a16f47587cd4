//! Vending: the token of one account, for the app's backend, good for as long as it needs.
//!
//! Owns when a caller gets the stored token, waits for a fresh one, or is refused with a reason. A
//! token that is due is refreshed on the spot, under the lease that sweeps take too: however many
//! callers come at once, Meta is asked once. Refuses to hand out a token that is expired, revoked
//! or known to be dead. What a caller says of a token is a reason to ask Meta, and no more.

use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use threads_auth_model::rules::LeaseReason;
use threads_auth_model::schedule::{self, Life};
use threads_auth_model::seal::{Purpose, SealError};
use threads_auth_model::{Cause, Grant, Key, Live, RevokedBy, ScopesSource, State};
use threads_auth_store::{Backoff, SecretsError, StoreError};
use threads_graph::{AccessToken, Scopes, UserId};

use super::outcome::RefreshOutcome;
use super::refresher::Refresher;
use crate::clients::Clients;
use crate::stopwatch::Stopwatch;

/// The longest that a caller may ask for, in seconds: 30 days. Meta's tokens live for 60, and are
/// refreshed when a third is left.
pub const MAX_MIN_VALID: u32 = 30 * 86_400;

/// Default `min_valid`, in seconds: long enough for one API call.
pub const DEFAULT_MIN_VALID: u32 = 300;

/// How often a caller looks who waits for a refresh that somebody else makes.
const POLL: Backoff =
    Backoff { next: Duration::from_millis(50), factor: 2, longest: Duration::from_millis(400) };

/// After this many seconds it is worth asking again, when there is nothing better to go by.
const ASK_AGAIN: i64 = 5;
const ASK_AGAIN_AT_MOST: i64 = 3_600;

/// A token that works now.
#[derive(Debug)]
pub struct Vended {
    /// Whose it is.
    pub user_id: UserId,
    /// The token.
    pub access_token: AccessToken,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The granted scopes.
    pub scopes: Scopes,
    /// Who says so.
    pub scopes_source: ScopesSource,
}

threads_graph::names! {
    /// Why it is worth asking again later.
    pub enum RetryReason {
        /// The person consented, and the long-lived token is still to come.
        Pending => "pending",
        /// The token is younger than 24 hours, so that Meta does not extend it yet, and does not
        /// live as long as it was asked for.
        TooYoung => "too_young",
        /// Meta did not extend it just now; it is tried again.
        NotRefreshed => "not_refreshed",
        /// Somebody else is refreshing it, and takes long.
        Busy => "busy",
        /// Meta has just refused it, in a way that may be Meta's own trouble. It is looked at
        /// again.
        Suspected => "suspected",
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum VendError {
    /// No account of this id is connected.
    #[error("no account of this id is connected")]
    Unknown,
    /// Only the person can bring it back, unless Meta takes the token again (`account.recovered`).
    #[error("the account needs its person again")]
    NeedsReauthorization {
        /// Why.
        cause: Cause,
        /// The scopes that were granted, and are to be asked for again.
        scopes: Scopes,
    },
    /// It was ended.
    #[error("the account was disconnected")]
    Revoked {
        /// By whom, if that is known.
        by: Option<RevokedBy>,
        /// The scopes that were granted.
        scopes: Scopes,
    },
    /// Not now.
    #[error("there is no such token right now")]
    Later {
        /// Why.
        why: RetryReason,
        /// In how many seconds to ask again.
        retry_after: u32,
    },
    /// The token does not open with the keyring.
    #[error("the token does not open")]
    Sealed(#[from] SealError),
    /// The secrets could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed, or the row does not make sense.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The SHA-256 of an access token, in hexadecimal digits: names a token to us without saying it.
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

/// A text that is no SHA-256.
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

/// How a grant stands towards what a caller needs.
enum Standing<'a> {
    /// This token will do.
    Good(&'a Live),
    /// It has to be refreshed or completed first; the token at hand would do if that fails.
    Due(LeaseReason<'a>, Option<&'a Live>),
}

/// The token of `user_id` that stays valid for `min_valid`, refreshed first if it is due or does
/// not live that long. One that is `refused`, as the caller says, is not handed out again unless
/// Meta takes it.
pub(crate) async fn vend(
    clients: &Clients,
    user_id: &UserId,
    min_valid: SignedDuration,
    refused: Option<&TokenHash>,
    now: Timestamp,
) -> Result<Vended, VendError> {
    let time = Stopwatch::start(now, clients.config.work_time());
    let refresher = Refresher::new(clients, clients.vault(now).await?, time)?;
    let find = async || clients.store.grant(user_id).await?.ok_or(VendError::Unknown);
    let is_refused = |token: &AccessToken| refused.is_some_and(|refused| *refused == TokenHash::of(token));
    let mut poll = POLL;
    let (is_vouched_for, is_unrecorded) = loop {
        let grant = find().await?;
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
        // While somebody is at it, looking will do: hundreds of writes in vain would hold up the
        // one that all wait for.
        let is_taken = grant.leased_until.is_some_and(|until| until >= now);
        let is_late = time.elapsed() >= clients.config.patience();
        // Nothing is begun for which the time may not suffice: Meta's answer would be lost with it.
        if !is_taken && !is_late {
            let attempt = refresher.one_now(&Key::grant(user_id), reason).await;
            let is_unrecorded = attempt.is_unrecorded();
            match attempt.outcome {
                RefreshOutcome::NotOurs => {}
                RefreshOutcome::Refreshed | RefreshOutcome::NotExtended | RefreshOutcome::Completed => {
                    break (true, is_unrecorded);
                }
                // Then Meta was asked about this token, and took it.
                RefreshOutcome::Checked => {
                    let is_suspected = grant.live().is_some_and(|live| live.suspicion.is_some());
                    let is_vouched_for = is_suspected || matches!(reason, LeaseReason::Doubted(_));
                    break (is_vouched_for, is_unrecorded);
                }
                _ => break (false, is_unrecorded),
            }
        }
        // Whoever is at it may make the token at hand useless, so it is handed out only if that
        // takes too long.
        if is_late {
            return at_hand.ok_or_else(|| VendError::later(RetryReason::Busy, now, now));
        }
        poll.wait(None).await;
    };
    // It was tried: what lies there now is what there is.
    let grant = find().await?;
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
    let why = match grant.state {
        State::New(_) => RetryReason::Pending,
        _ => RetryReason::NotRefreshed,
    };
    Err(VendError::later(why, again_at, now))
}

impl VendError {
    fn later(why: RetryReason, at: Timestamp, now: Timestamp) -> Self {
        let seconds = at.as_second() - now.as_second();
        let seconds = if seconds <= 0 { ASK_AGAIN } else { seconds };
        Self::Later { why, retry_after: u32::try_from(seconds.min(ASK_AGAIN_AT_MOST)).unwrap_or(0) }
    }
}

fn standing(grant: &Grant, min_valid: SignedDuration, now: Timestamp) -> Result<Standing<'_>, VendError> {
    let scopes = || grant.scopes.clone();
    // That nobody has claimed it is a sweep's business.
    let is_due = grant.due_at.is_some_and(|due| due <= now && schedule::claim_look(grant) != Some(due));
    let due_later = |why| VendError::later(why, grant.due_at.unwrap_or(now), now);
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
        // A consent is under way.
        State::New(_) | State::Final(..) | State::Appealable(..) | State::Revoked(..) if is_due => {
            return Ok(Standing::Due(LeaseReason::Due, None));
        }
        State::New(_) | State::Final(..) | State::Appealable(..) | State::Revoked(..) => {
            return Err(due_later(RetryReason::Pending));
        }
    };
    // Meta has just refused it. Not even a look that is due may hand it out meanwhile.
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
        return Err(VendError::later(RetryReason::TooYoung, old_enough, now));
    }
    // A failure was a moment ago: what puts sweeps off counts for callers too.
    if grant.failures > 0 && !is_due {
        return Err(due_later(RetryReason::NotRefreshed));
    }
    Ok(Standing::Due(LeaseReason::Expiring(live), None))
}

async fn open(refresher: &Refresher<'_>, grant: &Grant, live: &Live) -> Result<Vended, VendError> {
    let access_token = refresher.open(Purpose::AccessToken, grant, &live.token).await?;
    Ok(Vended {
        user_id: grant.user_id.clone(),
        access_token,
        expires_at: live.expires_at,
        scopes: grant.scopes.clone(),
        scopes_source: grant.scopes_source,
    })
}
