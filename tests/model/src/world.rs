//! The state of the model: the rows, Meta, the clock, and the progress of each worker.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use threads_auth_model::rules::{Beside, Fate};
use threads_auth_model::{Attribute as A, Cause, Grant, Key, Row, Transaction, Value};
use threads_graph::UserId;

use crate::meta::Meta;
use crate::tables::Rows;

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Index of the current instant.
    pub tick: usize,
    /// Meta.
    pub meta: Meta,
    /// The rows of both tables.
    pub rows: Rows,
    /// The workers.
    pub workers: Vec<Worker>,
    /// The failures that may still occur.
    pub left: Left,
    /// True if a lease has ended before its holder had finished.
    pub is_overtaken: bool,
    /// The broken rules.
    pub broken: Vec<&'static str>,
}

/// The failures that may still occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Workers that are killed.
    pub crashes: u8,
    /// Writes and calls to Meta whose response is lost.
    pub losses: u8,
    /// Calls to which Meta does not respond.
    pub troubles: u8,
}

/// The task of a worker, which it does once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// Refreshes what is due.
    Sweep,
    /// Needs a token that lives longer, for a caller or an operator.
    Vend,
    /// Serves a caller who reports that Meta refuses the token.
    Doubt,
    /// A person connects.
    Connect,
    /// A person connects, and the long-lived exchange fails.
    ConnectShort,
    /// The person removes the app at Threads.
    Deauthorize,
    /// The app's backend disconnects the account.
    Disconnect,
    /// The person requests deletion.
    Delete,
    /// A sweep finishes an interrupted deletion.
    FinishDeletion,
    /// An operator imports a token of the first consent.
    Import,
    /// An operator reseals the values of the row with another key.
    Reseal,
    /// The person changes their password.
    Password,
    /// Meta demands a checkpoint, which the person passes later.
    Checkpoint,
}

/// A worker: a running function, or a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its task.
    pub job: Job,
    /// Seconds by which its clock is ahead.
    pub skew: i64,
    /// Number of times that Meta still repeats its message.
    pub repeats: u8,
    /// Its next step.
    pub step: Step,
    /// End of its lease, while it works under one.
    pub leased_until: Option<i64>,
    /// Start of its person's flow.
    pub began_at: i64,
}

/// The next step of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Begins.
    Ready,
    /// Takes a lease, or reseals, after it has read this row.
    Read(Arc<Row>),
    /// Works on the row that it has leased. The flag is true if the write of a new token has been
    /// rehearsed.
    Work(Arc<Row>, bool),
    /// Carries out a verdict on the leased row. The flag is true if the row is already marked as
    /// suspected.
    Verdict(Arc<Row>, Cause, bool),
    /// Tries the token that is stored now.
    Trial(Arc<Refresh>),
    /// The person is at Meta.
    Away,
    /// The person returns with a consent.
    Back(usize),
    /// Reads the ends that refused the commit, and calls Meta.
    Ended(Arc<Committing>),
    /// Carries out an end.
    Notified(usize),
    /// Reads the consent that refused the end, and calls Meta.
    Refused(Removing),
    /// Writes.
    Write(Arc<Write>),
    /// Nothing.
    Done,
    /// Nothing: it was killed.
    Crashed,
}

/// A refresh.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refresh {
    /// The leased row.
    pub row: Arc<Row>,
    /// The token that was sent to Meta.
    pub used: usize,
    /// The token that Meta returned.
    pub new: usize,
    /// Time of the request.
    pub asked_at: Timestamp,
}

/// A consent that is being committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committing {
    /// The consent.
    pub consent: usize,
    /// Its long-lived token, if it has one.
    pub token: Option<usize>,
    /// Time at which the person returned.
    pub now: Timestamp,
    /// The ends that were resolved with Meta.
    pub seen: Option<Arc<Row>>,
    /// Time of the next call to Meta, if it did not respond.
    pub doubt: Option<Timestamp>,
    /// Number of calls to Meta.
    pub tries: u8,
    /// True if no newer consent was found.
    pub is_newest: bool,
}

/// An end that is being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Removing {
    /// The end.
    pub end: usize,
    /// Its time, as far as it is known.
    pub ended_at: Timestamp,
    /// The effect on the grant, if it is a deletion.
    pub fate: Fate,
    /// True if no later deletion request was found.
    pub is_newest: bool,
    /// Number of decisions.
    pub tries: u8,
}

/// A write that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The transaction.
    pub transaction: Transaction,
    /// The next action.
    pub then: Then,
    /// The token that only this worker has.
    pub token: Option<usize>,
}

/// The action after a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// Work on the row, if the lease was taken.
    Work,
    /// The refresh, if the row takes a new token.
    Rehearsed(Arc<Row>),
    /// A trial of the new token, or the same write beside a change that came in between.
    Refreshed(Arc<Refresh>, Beside),
    /// The same write without the lease, if that is lost.
    Completed(Arc<Row>, Timestamp),
    /// The release of the lease, if the write came too late.
    GiveBack,
    /// The verdict.
    Marked(Arc<Row>, Cause),
    /// The response to the person, or a call to Meta if an end came in the meantime.
    Connected(Arc<Committing>),
    /// The same write beside a newer consent.
    Imported(usize, bool),
    /// The record of the grant's end.
    Disconnected(usize, Timestamp),
    /// The end of the grant.
    Noted(usize, Timestamp),
    /// The response, or a look at the newer consent.
    Revoked(Removing),
    /// The same for a deletion.
    Deleted(Removing),
    /// The response to an end.
    Answer(usize),
    /// Nothing.
    Nothing,
}

impl World {
    /// Returns the grant's row.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        self.rows.get(&grant_key())
    }

    /// Returns the consent and the tokens that a row holds.
    #[must_use]
    pub fn held(&self, row: &Row) -> Held {
        let token = sealed(row, A::Token);
        let pending = sealed(row, A::PendingToken);
        let tokens: Vec<usize> = token.into_iter().chain(sealed(row, A::PreviousToken)).collect();
        let consent = token.map(|token| self.meta.tokens[token].consent);
        Held { token, tokens, pending, consent }
    }
}

/// The consent and the tokens of a row.
pub struct Held {
    /// The current token.
    pub token: Option<usize>,
    /// The current token and the one before it.
    pub tokens: Vec<usize>,
    /// The pending consent.
    pub pending: Option<usize>,
    /// The consent of the current token.
    pub consent: Option<usize>,
}

impl Held {
    /// Returns the newest consent.
    #[must_use]
    pub fn newest(&self) -> Option<usize> {
        self.consent.max(self.pending)
    }
}

/// Encodes a sealed value as its number and its key.
#[must_use]
pub fn seal(number: usize, key: u8) -> Vec<u8> {
    vec![u8::try_from(number).unwrap_or(u8::MAX), key]
}

/// Returns the number of a sealed value.
#[must_use]
pub fn opened(sealed: &[u8]) -> usize {
    sealed.first().copied().unwrap_or(u8::MAX).into()
}

/// Returns the number of the sealed value in an attribute.
#[must_use]
pub fn sealed(row: &Row, attribute: A) -> Option<usize> {
    match row.get(attribute)? {
        Value::Bytes(bytes) => Some(opened(bytes)),
        _ => None,
    }
}

/// The one user.
pub static USER: LazyLock<UserId> = LazyLock::new(|| match "17841400000000001".parse() {
    Ok(user) => user,
    Err(_) => unreachable!("digits"),
});

/// Returns the key of the user's grant.
#[must_use]
pub fn grant_key() -> Key {
    Key::grant(&USER)
}

/// Returns the key of the user's tombstone.
#[must_use]
pub fn tombstone_key() -> Key {
    Key::tombstone("nobody")
}

/// Reads the grant of a row.
#[must_use]
pub fn read(row: &Row) -> Option<Grant> {
    Grant::from_row("grants", row).ok()
}

/// Returns the timestamp of a second.
#[must_use]
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// Returns the name of a worker's lease.
#[must_use]
pub fn owner(worker: usize) -> String {
    format!("worker-{worker}")
}
