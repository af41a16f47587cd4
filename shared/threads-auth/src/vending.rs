//! Vending: the token of one account, for the app's backend, good for as long as it needs.
//!
//! Owns when a caller gets the stored token, waits for a fresh one, or is refused with a reason. A token that is due is refreshed
//! on the spot, under the lease that sweeps take too: however many callers come at once, Meta is asked once. Refuses to hand
//! out a token that is expired, revoked or known to be dead. What a caller says of a token is a reason to ask Meta, and no more.

use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use threads_graph::{AccessToken, Scopes, UserId};
use tokio::time::Instant;

use crate::ThreadsAuth;
use crate::grant::{Cause, Grant, RevokedBy, SealedToken, Status};
use crate::refresh::{Refresher, Swept};
use crate::schedule;
use crate::seal::{Purpose, SealError};
use crate::secrets::SecretsError;
use crate::store::{DueKey, StoreError, Wanted, Written};

/// The longest that a caller may ask for, in seconds: 30 days. Meta's tokens live for 60, and are refreshed when a third is left.
pub const MAX_MIN_VALID: u32 = 30 * 86_400;

/// What a caller gets who does not say: enough to make a call with it.
pub const DEFAULT_MIN_VALID: u32 = 300;

/// How often a caller looks who waits for a refresh that somebody else makes.
const FIRST_POLL: Duration = Duration::from_millis(50);
const LAST_POLL: Duration = Duration::from_millis(400);

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
    /// What the person granted.
    pub scopes: Scopes,
}

/// Why it is worth asking again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Later {
    /// The person consented, and the long-lived token is still to come.
    Pending,
    /// The token is younger than 24 hours, so that Meta does not extend it yet, and does not live as long as it was asked for.
    TooYoung,
    /// Meta did not extend it just now; it is tried again.
    NotRefreshed,
    /// Somebody else is refreshing it, and takes long.
    Busy,
}

impl Later {
    /// A stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::TooYoung => "too_young",
            Self::NotRefreshed => "not_refreshed",
            Self::Busy => "busy",
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum VendError {
    /// No account of this id is connected.
    #[error("no account of this id is connected")]
    Unknown,
    /// Only the person can bring it back.
    #[error("the account needs its person again")]
    NeedsReauthorization {
        /// Why.
        cause: Cause,
        /// What was granted, and is to be asked for again.
        scopes: Scopes,
    },
    /// It was ended.
    #[error("the account was disconnected")]
    Revoked {
        /// By whom, if that is known.
        by: Option<RevokedBy>,
        /// What was granted.
        scopes: Scopes,
    },
    /// Not now.
    #[error("there is no such token right now")]
    Later {
        /// Why.
        why: Later,
        /// In how many seconds to ask again.
        retry_after: u32,
    },
    /// The token does not open with the keyring.
    #[error("the token does not open")]
    Sealed(#[from] SealError),
    /// The secrets are not to be had.
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
    /// This one will do.
    Good(&'a SealedToken),
    /// It has to be refreshed or completed first; what is at hand would do if that fails.
    Due(Wanted, Option<&'a SealedToken>),
}

impl ThreadsAuth {
    /// The token of `user_id` that stays valid for `min_valid`, refreshed first if it is due or does not live that long. One that is
    /// `refused`, as the caller says, is not handed out again unless Meta takes it.
    ///
    /// # Errors
    /// When there is no such token: for good, until the person comes, or for a while.
    pub async fn vend(
        &self,
        user_id: &UserId,
        min_valid: SignedDuration,
        refused: Option<&TokenHash>,
        now: Timestamp,
    ) -> Result<Vended, VendError> {
        let began = Instant::now();
        let refresher = Refresher::new(self, self.vault(now).await?, now, began, self.config.work_time())?;
        let is_refused = |grant: &Grant, token: &SealedToken| {
            refused.is_some_and(|refused| {
                open(&refresher, grant, token)
                    .is_ok_and(|vended| *refused == TokenHash::of(&vended.access_token))
            })
        };
        let mut poll = FIRST_POLL;
        let is_vouched_for = loop {
            let grant = self.store.get(user_id).await?.ok_or(VendError::Unknown)?;
            let time = refresher.time();
            let (wanted, at_hand) = match standing(&grant, min_valid, time)? {
                Standing::Good(token) if is_refused(&grant, token) => {
                    (Wanted::Doubted(token.expires_at), None)
                }
                Standing::Good(token) => return open(&refresher, &grant, token),
                Standing::Due(wanted, at_hand) => {
                    (wanted, at_hand.filter(|token| !is_refused(&grant, token)))
                }
            };
            // While somebody is at it, looking will do: hundreds of writes in vain would hold up the one that all wait for.
            let is_taken = grant.leased_until.is_some_and(|until| until >= time);
            let is_late = refresher.began.elapsed() >= self.config.request_time / 6;
            // Nothing is begun for which the time may not suffice: Meta's answer would be lost with it.
            if !is_taken && !is_late {
                match refresher.one(&DueKey::of(user_id), wanted).await {
                    Swept::NotOurs => {}
                    Swept::Refreshed | Swept::Completed => break true,
                    Swept::Checked => break matches!(wanted, Wanted::Doubted(_)),
                    _ => break false,
                }
            }
            // Whoever is at it may make the token at hand useless, so it is handed out only if that takes too long.
            if is_late {
                return match at_hand {
                    Some(token) => open(&refresher, &grant, token),
                    None => Err(VendError::later(Later::Busy, time, time)),
                };
            }
            tokio::time::sleep(poll).await;
            poll = (poll * 2).min(LAST_POLL);
        };
        // It was tried: what lies there now is what there is.
        let grant = self.store.get(user_id).await?.ok_or(VendError::Unknown)?;
        let time = refresher.time();
        let again_at = match standing(&grant, min_valid, time)? {
            Standing::Good(token) | Standing::Due(_, Some(token))
                if is_vouched_for || !is_refused(&grant, token) =>
            {
                return open(&refresher, &grant, token);
            }
            Standing::Good(_) => time,
            Standing::Due(..) => grant.due_at.unwrap_or(time),
        };
        let why = if grant.status == Status::Pending {
            Later::Pending
        } else {
            Later::NotRefreshed
        };
        Err(VendError::later(why, again_at, time))
    }

    /// Refreshes the token of one account now, due or not: for an operator who wants to see it work.
    ///
    /// # Errors
    /// As [`vend`](Self::vend).
    pub async fn refresh_now(&self, user_id: &UserId, now: Timestamp) -> Result<Swept, VendError> {
        let vault = self.vault(now).await?;
        let refresher = Refresher::new(self, vault, now, Instant::now(), self.config.work_time())?;
        let grant = self.store.get(user_id).await?.ok_or(VendError::Unknown)?;
        let wanted = match &grant.token {
            Some(token) if grant.due_at.is_none_or(|due| due > now) => Wanted::Expiring(token.expires_at),
            _ => Wanted::Due,
        };
        Ok(refresher.one(&DueKey::of(user_id), wanted).await)
    }

    /// Ends a grant for the app: the tokens are destroyed, and the person has to consent to come back. Says whether there was one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn disconnect(&self, user_id: &UserId, now: Timestamp) -> Result<bool, StoreError> {
        let written = self.store.revoke(user_id, RevokedBy::App, now, now).await?;
        if written != Written::Superseded {
            return Ok(written == Written::Stored);
        }
        // Revoked before; or the person has connected just now, by a clock that is ahead of ours.
        let Some(grant) = self.store.get(user_id).await? else {
            return Ok(false);
        };
        if grant.status != Status::Revoked || grant.pending.is_some() {
            let since = grant.connected_at.max(now);
            self.store.revoke(user_id, RevokedBy::App, since, now).await?;
        }
        Ok(true)
    }
}

impl VendError {
    fn later(why: Later, at: Timestamp, now: Timestamp) -> Self {
        let seconds = at.as_second() - now.as_second();
        let seconds = if seconds <= 0 { ASK_AGAIN } else { seconds };
        Self::Later {
            why,
            retry_after: u32::try_from(seconds.min(ASK_AGAIN_AT_MOST)).unwrap_or(0),
        }
    }
}

fn standing(grant: &Grant, min_valid: SignedDuration, now: Timestamp) -> Result<Standing<'_>, VendError> {
    let scopes = || grant.scopes.clone();
    match grant.status {
        Status::Revoked if grant.pending.is_none() || grant.due_at.is_none() => {
            let (by, scopes) = (grant.revoked_by, scopes());
            return Err(VendError::Revoked { by, scopes });
        }
        Status::NeedsReauthorization(cause) if grant.pending.is_none() || grant.due_at.is_none() => {
            let scopes = scopes();
            return Err(VendError::NeedsReauthorization { cause, scopes });
        }
        Status::Active | Status::Pending | Status::NeedsReauthorization(_) | Status::Revoked => {}
    }
    let is_due = grant.due_at.is_some_and(|due| due <= now);
    let due_later = |why| VendError::later(why, grant.due_at.unwrap_or(now), now);
    let Some(token) = grant.token.as_ref().filter(|_| grant.status == Status::Active) else {
        return if is_due {
            Ok(Standing::Due(Wanted::Due, None))
        } else {
            Err(due_later(Later::Pending))
        };
    };
    let lives = token.expires_at > schedule::add(now, min_valid.as_secs()) && token.expires_at > now;
    let ended = grant.data_access_expires_at.is_some_and(|end| end <= now);
    if lives && !ended {
        return Ok(if is_due {
            Standing::Due(Wanted::Due, Some(token))
        } else {
            Standing::Good(token)
        });
    }
    let old_enough = schedule::add(token.issued_at, schedule::MIN_AGE.as_secs());
    if now < old_enough && now < token.expires_at && !ended {
        return Err(VendError::later(Later::TooYoung, old_enough, now));
    }
    // A failure was a moment ago: what puts sweeps off counts for callers too.
    if grant.failures > 0 && !is_due && now < token.expires_at {
        return Err(due_later(Later::NotRefreshed));
    }
    Ok(Standing::Due(Wanted::Expiring(token.expires_at), None))
}

fn open(refresher: &Refresher<'_>, grant: &Grant, token: &SealedToken) -> Result<Vended, VendError> {
    let access_token = refresher
        .vault
        .open(Purpose::AccessToken, &grant.user_id, &token.sealed)?;
    Ok(Vended {
        user_id: grant.user_id.clone(),
        access_token,
        expires_at: token.expires_at,
        scopes: grant.scopes.clone(),
    })
}
