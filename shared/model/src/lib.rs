//! The data that Threads Auth keeps, and the rules of its writes, as values.
//!
//! Owns grants, sessions, the schedule, events, sealing, the rows' keys and attributes, and the
//! conditions of every write. Time and randomness are arguments.
//!
//! **Architecture invariant:** no AWS, no HTTP, no clock. This crate is tested without a stack, and
//! the store sends to DynamoDB exactly the [`Change`]s that are built here.

mod attribute;
pub mod backup;
mod change;
mod claim;
pub mod claiming;
mod deletion;
mod ends;
mod error_chain;
pub mod events;
mod grant;
mod grant_row;
mod key;
mod pseudonym;
mod row;
pub mod rules;
pub mod schedule;
pub mod seal;
pub mod session;
mod session_row;
mod summary;
mod vault;

pub use attribute::Attribute;
pub use change::{Change, Condition, Part, Transaction};
pub use claim::{Claim, InvalidReference, LONGEST_REFERENCE, MAX_REFERENCE, Owner, check_reference};
pub use deletion::{DeletionRequest, Progress};
pub use ends::{Effect, Ends, doubtful_from};
pub use error_chain::error_chain;
pub use grant::{
    Access, Cause, Consent, Deadline, FailureClass, Grant, Live, Pause, RevokedBy, ScopesSource, State,
    Status, Suspicion, Vouch, Warning,
};
pub use key::Key;
pub use pseudonym::{InvalidPseudonym, Pseudonym};
pub use row::{Inconsistency, Row, Value};
pub use session::{Attempt, Session, SessionState, SessionStatus};
pub use summary::Summary;
pub use vault::{App, PreviousSecret, SEALED, Vault};
