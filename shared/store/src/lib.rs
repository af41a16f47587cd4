//! The two DynamoDB tables, of grants and of short-lived rows, and the two secrets.
//!
//! Owns AWS: its clients, every expression that is sent to DynamoDB, and what a failure of AWS's
//! means. Each write carries the condition under which [`threads_auth_model::rules`] calls it
//! right, and an answer that was lost is recognized by reading what lies there instead. Refuses to
//! interpret: no clock, no keys, no token in the clear.

pub mod aws;
mod connects;
mod controls;
mod error;
mod expression;
mod grants;
mod item;
mod personal;
mod removals;
mod retry;
mod secrets;
mod sessions;
mod table;
mod transaction;
mod transfers;

pub use connects::{ClosedSession, CommitOutcome, Connected};
pub use error::{AwsError, FailureKind, SecretsError, StoreError, no_connection};
pub use grants::{DUE_INDEX, LeaseOutcome, Page, Wanted};
pub use item::{Item, row};
pub use personal::Held;
pub use retry::{Backoff, persist, repeat};
pub use secrets::Secrets;
pub use sessions::CompletionOutcome;
pub use table::{Store, WriteOutcome};
pub use transaction::Committed;
pub use transfers::Taken;
