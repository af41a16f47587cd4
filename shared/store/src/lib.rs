//! The two DynamoDB tables, for grants and for short-lived rows, and the secrets.
//!
//! Owns AWS: its clients, every expression that is sent to DynamoDB, and the classification of AWS
//! failures. Each write carries the condition under which [`threads_auth_model::rules`] allows it.
//! If a response was lost, the row shows if the write succeeded. Refuses to interpret: no wall
//! clock, no keys, no token in plain text.

pub mod aws;
mod connects;
mod controls;
mod error;
mod expression;
mod grants;
mod item;
mod personal;
mod references;
mod removals;
mod retry;
mod secrets;
mod sessions;
mod table;
mod transaction;
mod transfers;

pub use connects::{ClosedSession, CommitOutcome, Connected};
pub use error::{AwsError, FailureKind, SecretsError, StoreError, no_connection};
pub use grants::{DUE_INDEX, LeaseOutcome, Page, PageRequest, QUERIES_AT_ONCE};
pub use item::{Item, row};
pub use personal::PersonalRows;
pub use references::{AssignOutcome, LookupError, REFERENCE_INDEX};
pub use retry::{Backoff, persist, repeat};
pub use secrets::{Secrets, WebhookSecretCache};
pub use sessions::CompletionOutcome;
pub use table::{Store, Table, WriteOutcome};
pub use transaction::Committed;
pub use transfers::TransferOutcome;
