//! A grant: the consent of one Threads user, and the tokens that are kept for it.
//!
//! Owns the states of a grant, each with its data.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use threads_graph::{ErrorClass, ReauthorizationCause, Scopes, UserId};

use crate::{Claim, Pseudonym};

/// One Threads user's grant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The Threads user id.
    pub user_id: UserId,
    /// The generation: every connect makes a new one, so that late writes to an older one are
    /// refused.
    pub grant_id: String,
    /// The state.
    pub state: State,
    /// The granted scopes, as far as `scopes_source` knows them.
    pub scopes: Scopes,
    /// The source of the scopes.
    pub scopes_source: ScopesSource,
    /// Time at which a sweep next processes the grant; none if there is nothing to refresh or to
    /// appeal.
    pub due_at: Option<Timestamp>,
    /// End of the current lease. May be in the past.
    pub leased_until: Option<Timestamp>,
    /// Consecutive failures.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// The profile's username, if Meta reported it.
    pub username: Option<String>,
    /// The account's name in logs. Rows of older versions get one with their next token.
    pub pseudonym: Option<Pseudonym>,
    /// Time of the user's first connect.
    pub created_at: Timestamp,
    /// Time of the person's last consent.
    pub connected_at: Timestamp,
    /// Start of that consent's connect flow, if known.
    pub begun_at: Option<Timestamp>,
    /// Time of the row's last change that matters to readers.
    pub updated_at: Timestamp,
    /// The claim of an app's user on the account.
    pub claim: Claim,
    /// The connect session of the last connect, if it had one.
    pub session_id: Option<String>,
}

/// The state of a grant. Each state may also hold a consent whose long-lived exchange is pending.
#[derive(Clone, Debug)]
pub enum State {
    /// The first consent, without a long-lived token yet.
    New(Consent),
    /// The token works, and is refreshed.
    Active(Live, Option<Consent>),
    /// The token is dead and dropped. Only the person can bring the grant back.
    Final(Cause, Option<Consent>),
    /// Meta refuses the token for a reason that may pass. The token is kept and tried once a day
    /// until it expires. The person can also bring the grant back.
    Appealable(Cause, Live, Option<Consent>),
    /// The person or the app ended the grant, and the tokens are destroyed.
    Revoked(Option<RevokedBy>, Option<Consent>),
}

/// A long-lived token and its facts.
#[derive(Clone)]
pub struct Live {
    /// The token, sealed for [`Purpose::AccessToken`](crate::seal::Purpose::AccessToken).
    pub token: Vec<u8>,
    /// The token's random id in its row, which fences out late writers. Resealing the token keeps
    /// its id. Rows of the first release have none.
    pub token_id: Option<String>,
    /// The token that it replaced, sealed for
    /// [`Purpose::PreviousToken`](crate::seal::Purpose::PreviousToken).
    pub previous: Option<Vec<u8>>,
    /// Time at which Meta issued the token.
    pub issued_at: Timestamp,
    /// Expiry of the token, from Meta's `expires_in`.
    pub expires_at: Timestamp,
    /// True if `expires_at` is assumed because Meta did not report it. The token is then refreshed
    /// as early as possible.
    pub expiry_assumed: bool,
    /// Time of the last refresh.
    pub refreshed_at: Option<Timestamp>,
    /// End of the app's access to the person's data, if Meta reported it. It does not depend on the
    /// token's age.
    pub data_access_expires_at: Option<Timestamp>,
    /// The last warning of an approaching end.
    pub warning: Option<Warning>,
    /// A refusal of the token by Meta that is not confirmed yet.
    pub suspicion: Option<Suspicion>,
    /// Meta's confirmation of the token after a caller doubted it.
    pub vouch: Option<Vouch>,
    /// The write-ahead note: time since which Meta may have issued a token that is not stored. A
    /// lease sets it, and the write that settles which token is the newest removes it.
    pub asked_at: Option<Timestamp>,
}

/// A consent whose long-lived exchange is pending.
#[derive(Clone)]
pub struct Consent {
    /// The short-lived token, sealed for
    /// [`Purpose::PendingToken`](crate::seal::Purpose::PendingToken).
    pub token: Vec<u8>,
    /// The requested scopes.
    pub scopes: Scopes,
    /// Expiry of the short-lived token.
    pub expires_at: Timestamp,
}

/// A refusal that may be a failure of Meta's own. It must be confirmed before the grant counts as
/// dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The cause that the grant gets if the refusal is confirmed.
    pub cause: Cause,
    /// Time of Meta's first refusal.
    pub since: Timestamp,
}

/// Meta accepted a token that a caller doubted. Until this ends, the same doubt is answered from
/// the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// End of the confirmation's validity.
    pub until: Timestamp,
    /// Number of confirmations for this token. Each one is valid for longer than the last.
    pub times: u32,
}

/// The access that Meta reports for a grant, apart from its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The scopes that the person grants now.
    pub scopes: Scopes,
    /// The source of the scopes.
    pub source: ScopesSource,
    /// End of the app's access to the person's data.
    pub data_access_expires_at: Option<Timestamp>,
}

threads_graph::names! {
    /// The status of a grant, by its name in the table and in responses.
    pub enum Status {
        /// The person consented, and the long-lived exchange is pending.
        Pending => "pending",
        /// There is a token, and it is refreshed.
        Active => "active",
        /// The token is dead. Only the person can bring the grant back, unless Meta accepts the
        /// token again (`account.recovered`).
        NeedsReauthorization => "needs_reauthorization",
        /// The person or the app ended it.
        Revoked => "revoked",
    }
}

threads_graph::names! {
    /// The source of a grant's scopes.
    pub enum ScopesSource {
        /// Meta's inspection of the token.
        Granted => "granted",
        /// The request: Meta did not report which of these scopes the person granted.
        Requested => "requested",
    }
}

threads_graph::names! {
    /// The party that ended a grant.
    pub enum RevokedBy {
        /// The person removed the app at Threads, and Meta reported it.
        Threads => "threads",
        /// The app's backend disconnected the account.
        App => "app",
        /// Nobody claimed the account in time: the session that connected it was not completed.
        Unclaimed => "unclaimed",
    }
}

threads_graph::names! {
    /// The work that an operator has paused.
    pub enum Pause {
        /// Every sweep: tokens are refreshed only when a caller needs them.
        Sweeps => "sweeps",
        /// Verdicts only: a refusal by Meta makes a grant suspected, not dead.
        Verdicts => "verdicts",
    }
}

threads_graph::names! {
    /// The deadline that a warning is about.
    pub enum Deadline {
        /// The token's expiry, which a refresh moves.
        Token => "token",
        /// The end of data access. Only a new consent is known to extend it.
        DataAccess => "data_access",
        /// The end of an unclaimed account.
        Claim => "claim",
    }
}

/// The cause for which a grant needs the person's consent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Meta's verdict on the token.
    Threads(ReauthorizationCause),
    /// The connect was never completed: the short-lived token expired first.
    NotCompleted,
    /// The token may be valid, but Meta no longer serves the person's data: 90 days after consent,
    /// for a private profile.
    DataAccessExpired,
    /// A refresh was cut off between Meta's response and the write, and Meta refuses the token that
    /// is left.
    TokenLost,
}

/// The class of a grant's last failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// A call to Meta failed.
    Threads(ErrorClass),
    /// The row is inconsistent.
    BrokenRow,
    /// A refresh did not extend the token's life.
    NotExtended,
    /// Meta refused the token, and the refusal is not confirmed yet.
    Suspected,
    /// The keyring cannot open the token.
    Undecryptable,
}

/// A warning that was given once for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The deadline.
    pub of: Deadline,
    /// The deadline is fewer than this many days away: 14 or 3.
    pub days: u8,
}

impl Suspicion {
    /// Returns true if the suspicion is at least `least` old at `now`.
    #[must_use]
    pub fn has_lasted(&self, least: SignedDuration, now: Timestamp) -> bool {
        now.duration_since(self.since) >= least
    }
}

impl Access {
    /// Returns true if data access has ended at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.data_access_expires_at.is_some_and(|end| end <= now)
    }
}

/// Omits the sealed bytes.
impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} to {})", self.issued_at, self.expires_at)
    }
}

/// Omits the sealed bytes.
impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consent(to {})", self.expires_at)
    }
}

impl Grant {
    /// Returns the name of the state.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::New(_) => Status::Pending,
            State::Active(..) => Status::Active,
            State::Final(..) | State::Appealable(..) => Status::NeedsReauthorization,
            State::Revoked(..) => Status::Revoked,
        }
    }

    /// Returns the cause for which the grant needs the person's consent again, if it does.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self.state {
            State::Final(cause, _) | State::Appealable(cause, ..) => Some(cause),
            State::New(_) | State::Active(..) | State::Revoked(..) => None,
        }
    }

    /// Returns the long-lived token, if one is kept.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Active(live, _) | State::Appealable(_, live, _) => Some(live),
            State::New(_) | State::Final(..) | State::Revoked(..) => None,
        }
    }

    /// Returns the consent whose long-lived exchange is pending, if there is one.
    #[must_use]
    pub fn consent(&self) -> Option<&Consent> {
        match &self.state {
            State::New(consent) => Some(consent),
            State::Active(_, consent)
            | State::Final(_, consent)
            | State::Appealable(_, _, consent)
            | State::Revoked(_, consent) => consent.as_ref(),
        }
    }

    /// Returns true if the stored token is the newest that Meta can have issued, because there is
    /// no write-ahead note.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.live().is_none_or(|live| live.asked_at.is_none())
    }

    /// Returns the account's name in logs, if it has one.
    #[must_use]
    pub fn log_name(&self) -> Option<&str> {
        self.pseudonym.as_ref().map(Pseudonym::as_str)
    }

    /// Returns true if the scopes were granted with a long-lived token, and the grant was not
    /// revoked since.
    #[must_use]
    pub fn has_granted(&self) -> bool {
        match self.state {
            State::Active(..) | State::Appealable(..) => true,
            State::Final(cause, _) => cause != Cause::NotCompleted,
            State::New(_) | State::Revoked(..) => false,
        }
    }
}

impl Cause {
    /// The token has expired, by Meta's verdict or by our own clock.
    pub const EXPIRED: Self = Self::Threads(ReauthorizationCause::Expired);

    /// An end may be newer than the consent, so the token must not be relied on.
    pub const DOUBT: Self = Self::Threads(ReauthorizationCause::Invalid);

    const OURS: [Self; 3] = [Self::NotCompleted, Self::DataAccessExpired, Self::TokenLost];

    /// Returns every cause.
    pub fn all() -> impl Iterator<Item = Self> {
        ReauthorizationCause::ALL.into_iter().map(Self::Threads).chain(Self::OURS)
    }

    /// Returns the name in the table, in logs and in responses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threads(cause) => cause.as_str(),
            Self::NotCompleted => "not_completed",
            Self::DataAccessExpired => "data_access_expired",
            Self::TokenLost => "token_lost",
        }
    }

    /// Returns true if Meta may accept the same token again. The token is then kept.
    #[must_use]
    pub fn is_appealable(self) -> bool {
        match self {
            Self::DataAccessExpired | Self::TokenLost => true,
            Self::NotCompleted => false,
            Self::Threads(cause) => match cause {
                ReauthorizationCause::Invalid
                | ReauthorizationCause::SessionInvalid
                | ReauthorizationCause::Checkpoint
                | ReauthorizationCause::Unconfirmed => true,
                ReauthorizationCause::AppRemoved
                | ReauthorizationCause::PasswordChanged
                | ReauthorizationCause::Expired => false,
            },
        }
    }
}

impl FromStr for Cause {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::all().find(|cause| cause.as_str() == text).ok_or(())
    }
}

impl FailureClass {
    const OURS: [Self; 4] = [Self::BrokenRow, Self::NotExtended, Self::Suspected, Self::Undecryptable];

    /// Returns every class.
    pub fn all() -> impl Iterator<Item = Self> {
        ErrorClass::ALL.into_iter().map(Self::Threads).chain(Self::OURS)
    }

    /// Returns the name in the table and in responses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threads(class) => class.as_str(),
            Self::BrokenRow => "broken_row",
            Self::NotExtended => "not_extended",
            Self::Suspected => "suspected",
            Self::Undecryptable => "undecryptable",
        }
    }
}
