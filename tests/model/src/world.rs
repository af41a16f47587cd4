//! A state of the model: the rows, Meta, the clock, and how far each worker is.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use threads_auth_model::rules::{Beside, Fate};
use threads_auth_model::{Attribute as A, Cause, Grant, Key, Row, Transaction, Value};
use threads_graph::UserId;

use crate::meta::Meta;
use crate::tables::Rows;

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Which of the scenario's instants it is.
    pub tick: usize,
    /// Meta.
    pub meta: Meta,
    /// Both tables.
    pub rows: Rows,
    /// The workers.
    pub workers: Vec<Worker>,
    /// What may still go wrong.
    pub left: Left,
    /// The rules that were broken.
    pub broken: Vec<&'static str>,
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Workers that are killed.
    pub crashes: u8,
    /// Writes whose answer does not arrive, and answers of Meta's that do not.
    pub losses: u8,
    /// Calls that Meta does not answer.
    pub troubles: u8,
}

/// What a worker is for. Each does it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// Refreshes what is due.
    Sweep,
    /// Needs a token that lives longer, for a caller or an operator.
    Vend,
    /// Serves a caller who says that Meta refuses the token.
    Doubt,
    /// A person connects.
    Connect,
    /// A person connects, and the second exchange fails.
    ConnectShort,
    /// The person removes the app at Threads.
    Deauthorize,
    /// The app's backend disconnects the account.
    Disconnect,
    /// The person asks to be forgotten.
    Delete,
    /// A sweep finishes what a deletion has left.
    GoOn,
    /// An operator brings a token of the first consent from elsewhere.
    Import,
    /// An operator seals what the row holds with another key.
    Reseal,
    /// The person changes their password.
    Password,
    /// Meta asks the person to pass a checkpoint, which they do some time later.
    Checkpoint,
}

/// A worker: a function that runs, or a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    /// What it is for.
    pub job: Job,
    /// By how many seconds its clock is ahead.
    pub skew: i64,
    /// How often Meta delivers its message again.
    pub repeats: u8,
    /// How far it is.
    pub step: Step,
    /// When its lease ends, while it works under one.
    pub leased_until: Option<i64>,
    /// When its person's flow began.
    pub began_at: i64,
}

/// What a worker does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Begins.
    Ready,
    /// Takes a lease, or reseals: it has read this row.
    Read(Arc<Row>),
    /// Works on the row that it has leased.
    Work(Arc<Row>),
    /// Carries a verdict on the leased row out, which perhaps has left a mark.
    Verdict(Arc<Row>, Cause, bool),
    /// Tries out the token that is stored now.
    Trial(Arc<Refresh>),
    /// The person is at Meta.
    Away,
    /// The person comes back, with a consent.
    Back(usize),
    /// Reads the ends that refuse the commit, and asks Meta.
    Ended(Arc<Committing>),
    /// Carries an end out.
    Told(usize),
    /// Reads the consent that refuses the end, and asks Meta.
    Refused(Removing),
    /// Writes.
    Write(Arc<Write>),
    /// Nothing.
    Done,
    /// Nothing: it was killed.
    Crashed,
}

/// A refresh: the row that was leased, the token that was used, the one that it gave, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refresh {
    /// The row as it was leased.
    pub row: Arc<Row>,
    /// The token that Meta was asked with.
    pub used: usize,
    /// The token that Meta gave.
    pub new: usize,
    /// When.
    pub asked_at: Timestamp,
}

/// A consent that is being committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committing {
    /// The consent.
    pub consent: usize,
    /// Its long-lived token, if that is there.
    pub token: Option<usize>,
    /// When the person came back.
    pub now: Timestamp,
    /// The ends about which Meta was asked.
    pub seen: Option<Arc<Row>>,
    /// When Meta is asked again, if it did not answer.
    pub doubt: Option<Timestamp>,
    /// How often Meta was asked.
    pub tries: u8,
    /// Whether a newer one was not met.
    pub is_newest: bool,
}

/// An end that is being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Removing {
    /// The end.
    pub end: usize,
    /// When it was, as far as is known.
    pub ended_at: Timestamp,
    /// What becomes of the grant, if the person is to be forgotten.
    pub fate: Fate,
    /// Whether a later wish was not met.
    pub is_newest: bool,
    /// How often it was decided.
    pub tries: u8,
}

/// A write that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// What is written.
    pub transaction: Transaction,
    /// What follows.
    pub then: Then,
    /// The token that nobody else knows yet.
    pub token: Option<usize>,
}

/// What follows a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// The work, if it was a lease that was got.
    Work,
    /// The trial of the new token; or the same write beside what has come meanwhile.
    Refreshed(Arc<Refresh>, Beside),
    /// The same write without the lease, if that is lost.
    Completed(Arc<Row>, Timestamp),
    /// The lease is given back, if the write came too late.
    GiveBack,
    /// The verdict.
    Marked(Arc<Row>, Cause),
    /// The person is told; or Meta is asked, if an end came meanwhile.
    Connected(Arc<Committing>),
    /// The same beside a newer consent.
    Imported(usize, bool),
    /// The note of the end of the grant.
    Disconnected(usize, Timestamp),
    /// The end of the grant.
    Noted(usize, Timestamp),
    /// The answer; or a look at what is newer.
    Revoked(Removing),
    /// The same for a deletion.
    Deleted(Removing),
    /// The answer to an end.
    Answer(usize),
    /// Nothing.
    Finish,
}

impl World {
    /// The grant's row.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        self.rows.get(&grant_key())
    }

    /// The consent and the tokens that a row holds.
    #[must_use]
    pub fn held(&self, row: &Row) -> Held {
        let token = sealed(row, A::Token);
        let pending = sealed(row, A::PendingToken);
        let tokens: Vec<usize> = token.into_iter().chain(sealed(row, A::PreviousToken)).collect();
        let consent = token.map(|token| self.meta.tokens[token].consent);
        Held { token, tokens, pending, consent }
    }
}

/// What a row holds.
pub struct Held {
    /// Its present token.
    pub token: Option<usize>,
    /// The same, and the one before it.
    pub tokens: Vec<usize>,
    /// The consent that waits.
    pub pending: Option<usize>,
    /// The consent of the token.
    pub consent: Option<usize>,
}

impl Held {
    /// The newest consent.
    #[must_use]
    pub fn newest(&self) -> Option<usize> {
        self.consent.max(self.pending)
    }
}

/// What is sealed: its number, and the key that it was sealed with.
#[must_use]
pub fn seal(number: usize, key: u8) -> Vec<u8> {
    vec![u8::try_from(number).unwrap_or(u8::MAX), key]
}

/// The number of what is sealed.
#[must_use]
pub fn opened(sealed: &[u8]) -> usize {
    sealed.first().copied().unwrap_or(u8::MAX).into()
}

/// The number of what is sealed in an attribute.
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

/// The key of their grant.
#[must_use]
pub fn grant_key() -> Key {
    Key::grant(&USER)
}

/// The key of their tombstone.
#[must_use]
pub fn tombstone_key() -> Key {
    Key::tombstone("nobody")
}

/// Reads a row.
#[must_use]
pub fn read(row: &Row) -> Option<Grant> {
    Grant::from_row("grants", row).ok()
}

/// A second as the rows have it.
#[must_use]
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// The name of a worker's lease.
#[must_use]
pub fn owner(worker: usize) -> String {
    format!("worker-{worker}")
}
