//! A grant: the consent of one Threads user, and what is held for it.
//!
//! Owns the states that a grant can be in, each with what it implies, and the ways from one to
//! another.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use threads_graph::{ErrorClass, ReauthorizationCause, Scopes, UserId};

use crate::Claim;

/// One Threads user's grant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose it is.
    pub user_id: UserId,
    /// The generation: every connect makes a new one, so that a late writer of an old one is
    /// refused.
    pub grant_id: String,
    /// Where it stands.
    pub state: State,
    /// The granted scopes, as far as `scopes_source` knows them.
    pub scopes: Scopes,
    /// Who says that these are the scopes.
    pub scopes_source: ScopesSource,
    /// When the next sweep looks at it; none when there is nothing to refresh or to appeal.
    pub due_at: Option<Timestamp>,
    /// When the current lease ends. May be in the past.
    pub leased_until: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// When the user first connected.
    pub created_at: Timestamp,
    /// When the person last consented.
    pub connected_at: Timestamp,
    /// When the flow of that consent began, if that is known.
    pub begun_at: Option<Timestamp>,
    /// When the row last changed in substance.
    pub updated_at: Timestamp,
    /// Whose it is of the app's users.
    pub claim: Claim,
    /// The connect session of the last connect, if that had one.
    pub session_id: Option<String>,
}

/// Where a grant stands. A consent whose long-lived token is still to come can lie on any state.
#[derive(Clone, Debug)]
pub enum State {
    /// The first consent: there is no long-lived token yet.
    New(Consent),
    /// The token works and is kept alive.
    Active(Live, Option<Consent>),
    /// The token is dead for good and dropped. Only the person can bring the grant back.
    Final(Cause, Option<Consent>),
    /// Meta refuses the token for a reason that may pass, so it is kept and looked at again,
    /// slowly, until its time is over. The person can bring the grant back.
    Appealable(Cause, Live, Option<Consent>),
    /// The person or the app ended it, and the tokens are destroyed.
    Revoked(Option<RevokedBy>, Option<Consent>),
}

/// A long-lived token with what is known of it.
#[derive(Clone)]
pub struct Live {
    /// The token, sealed for [`Purpose::AccessToken`](crate::seal::Purpose::AccessToken).
    pub token: Vec<u8>,
    /// The random name of this token in its row, which fences out late writers: a seal that is made
    /// anew keeps it. Rows of the first release have none.
    pub token_id: Option<String>,
    /// The token that it replaced, sealed for
    /// [`Purpose::PreviousToken`](crate::seal::Purpose::PreviousToken).
    pub previous: Option<Vec<u8>>,
    /// When Meta issued it.
    pub issued_at: Timestamp,
    /// When it expires, from Meta's `expires_in`.
    pub expires_at: Timestamp,
    /// Whether `expires_at` is only assumed, because Meta did not tell: then the token is refreshed
    /// as soon as it can be.
    pub expiry_assumed: bool,
    /// When it was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When the app loses access to the person's data, whatever the token's age, if Meta told it.
    pub data_access_expires_at: Option<Timestamp>,
    /// The last warning that the access is about to end.
    pub warning: Option<Warning>,
    /// Meta's refusal of the token that is not believed yet.
    pub suspicion: Option<Suspicion>,
    /// Meta's word for the token, against a caller who doubted it.
    pub vouch: Option<Vouch>,
}

/// A consent whose long-lived exchange has not succeeded yet.
#[derive(Clone)]
pub struct Consent {
    /// The short-lived token, sealed for
    /// [`Purpose::PendingToken`](crate::seal::Purpose::PendingToken).
    pub token: Vec<u8>,
    /// The requested scopes.
    pub scopes: Scopes,
    /// When the short-lived token expires.
    pub expires_at: Timestamp,
}

/// A refusal of Meta's that may be Meta's own trouble. A second witness has to agree before the
/// grant counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The cause for which the grant would end.
    pub cause: Cause,
    /// When Meta first refused.
    pub since: Timestamp,
}

/// Meta took a token that a caller doubted: the same doubt is answered from the row for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// Until when.
    pub until: Timestamp,
    /// How often Meta has vouched for this token. Each time the while gets longer.
    pub times: u32,
}

/// Meta's word on a grant, beside its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The scopes that the person grants now.
    pub scopes: Scopes,
    /// Who says so.
    pub source: ScopesSource,
    /// When the app loses access to the person's data.
    pub data_access_expires_at: Option<Timestamp>,
}

threads_graph::names! {
    /// Where a grant stands, by the name in the table and in answers.
    pub enum Status {
        /// The person consented, and the long-lived token is still to come.
        Pending => "pending",
        /// There is a token, and it is kept alive.
        Active => "active",
        /// The token is dead; only the person can bring the grant back, unless Meta takes the token
        /// again (`account.recovered`).
        NeedsReauthorization => "needs_reauthorization",
        /// The person or the app ended it.
        Revoked => "revoked",
    }
}

threads_graph::names! {
    /// Who says what a grant's scopes are.
    pub enum ScopesSource {
        /// Meta, when it was asked about the token.
        Granted => "granted",
        /// The request: Meta did not tell which of these the person granted.
        Requested => "requested",
    }
}

threads_graph::names! {
    /// Who ended a grant.
    pub enum RevokedBy {
        /// The person removed the app at Threads, and Meta said so.
        Threads => "threads",
        /// The app's backend disconnected the account.
        App => "app",
        /// Nobody claimed the account in time: the session that brought it was not completed.
        Unclaimed => "unclaimed",
    }
}

threads_graph::names! {
    /// What an operator has stopped.
    pub enum Pause {
        /// Every sweep: nothing is refreshed unless a caller needs it.
        Sweeps => "sweeps",
        /// Verdicts only: no grant is marked as dead on Meta's word. It is suspected instead.
        Verdicts => "verdicts",
    }
}

threads_graph::names! {
    /// Which of a grant's clocks a warning is about.
    pub enum Deadline {
        /// The token's expiry, which a refresh moves.
        Token => "token",
        /// The end of data access, which perhaps only the person moves.
        DataAccess => "data_access",
        /// The end of an account that nobody has claimed.
        Claim => "claim",
    }
}

/// Why a grant needs the person again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Meta's verdict on the token.
    Threads(ReauthorizationCause),
    /// The connect was never completed: the short-lived token expired first.
    NotCompleted,
    /// The token may live, but Meta no longer gives it the person's data: 90 days after consent,
    /// for a private profile.
    DataAccessExpired,
}

/// The kind of a grant's last failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// A call to Meta failed.
    Threads(ErrorClass),
    /// The row did not make sense.
    BrokenRow,
    /// A refresh by which the token did not live longer.
    NotExtended,
    /// A refusal of Meta's that is not believed yet.
    Suspected,
    /// The token does not open with the keyring.
    Undecryptable,
}

/// A warning that was given once: this deadline is so many days away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The deadline.
    pub of: Deadline,
    /// 14 or 3: fewer days than this are left.
    pub days: u8,
}

impl Suspicion {
    /// Whether it is at least so old at `now`.
    #[must_use]
    pub fn has_lasted(&self, least: SignedDuration, now: Timestamp) -> bool {
        now.duration_since(self.since) >= least
    }
}

impl Access {
    /// Whether data access has ended at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.data_access_expires_at.is_some_and(|end| end <= now)
    }
}

/// Without the sealed bytes.
impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} to {})", self.issued_at, self.expires_at)
    }
}

/// Without the sealed bytes.
impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consent(to {})", self.expires_at)
    }
}

impl Grant {
    /// The name of its state.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::New(_) => Status::Pending,
            State::Active(..) => Status::Active,
            State::Final(..) | State::Appealable(..) => Status::NeedsReauthorization,
            State::Revoked(..) => Status::Revoked,
        }
    }

    /// Why it needs the person again, if it does.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self.state {
            State::Final(cause, _) | State::Appealable(cause, ..) => Some(cause),
            State::New(_) | State::Active(..) | State::Revoked(..) => None,
        }
    }

    /// Its long-lived token, if one is kept.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Active(live, _) | State::Appealable(_, live, _) => Some(live),
            State::New(_) | State::Final(..) | State::Revoked(..) => None,
        }
    }

    /// The consent that waits for its long-lived token, if one does.
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

    /// Whether its scopes were granted with a long-lived token, which was not revoked since.
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
    /// The token's time is over: by Meta's word, or by our own clock.
    pub const EXPIRED: Self = Self::Threads(ReauthorizationCause::Expired);

    /// An end that may be older or newer than the consent: the token is not to be relied on.
    pub const DOUBT: Self = Self::Threads(ReauthorizationCause::Invalid);

    const OURS: [Self; 2] = [Self::NotCompleted, Self::DataAccessExpired];

    /// Every cause.
    pub fn all() -> impl Iterator<Item = Self> {
        ReauthorizationCause::ALL.into_iter().map(Self::Threads).chain(Self::OURS)
    }

    /// The name in the table, in logs and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threads(cause) => cause.as_str(),
            Self::NotCompleted => "not_completed",
            Self::DataAccessExpired => "data_access_expired",
        }
    }

    /// Whether Meta may take the same token again: it is kept then.
    #[must_use]
    pub fn is_appealable(self) -> bool {
        match self {
            Self::DataAccessExpired => true,
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

    /// Every class.
    pub fn all() -> impl Iterator<Item = Self> {
        ErrorClass::ALL.into_iter().map(Self::Threads).chain(Self::OURS)
    }

    /// The name in the table and in answers.
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
