//! The two DynamoDB tables: grants, and short-lived items.
//!
//! Owns every expression that is sent to DynamoDB. Each write states the condition under which it is right, and an answer that
//! was lost is recognized by reading what lies there instead. Refuses to interpret: no clock, no keys, no token in the clear.

mod expression;
mod finish;
mod grants;
mod removal;
mod sessions;
mod transfer;

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;

pub use finish::{Finish, Finished, NewPending, Outcome};
pub use grants::{
    Access, DUE_INDEX, Deferral, DueKey, DuePage, Lease, LeaseOutcome, NewGrant, Refreshed, Wanted, Written,
};
pub use removal::Deletion;
pub use sessions::{Session, SessionStatus};
pub use transfer::Taken;

use crate::grant::Inconsistency;

/// The tables, through one client.
#[derive(Clone)]
pub struct Store {
    client: aws_sdk_dynamodb::Client,
    grants: String,
    short_lived: String,
}

/// Why a read or write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB did not answer, or refused for a reason of its own.
    #[error("DynamoDB failed to {operation} ({code})")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// DynamoDB's error code, or what kept the answer away.
        code: String,
        /// The SDK's error.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A row does not make sense.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistency),
}

impl Store {
    /// The tables named `grants` and `short_lived`.
    #[must_use]
    pub fn new(client: aws_sdk_dynamodb::Client, grants: &str, short_lived: &str) -> Self {
        Self {
            client,
            grants: grants.to_owned(),
            short_lived: short_lived.to_owned(),
        }
    }

    /// The grants table's name: a part of what each token is sealed with.
    #[must_use]
    pub fn grants_table(&self) -> &str {
        &self.grants
    }
}

/// Why the `n`th item of a transaction was refused, if its condition did not hold.
fn refused<R>(error: &SdkError<TransactWriteItemsError, R>, n: usize) -> Option<&CancellationReason> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled
            .cancellation_reasons()
            .get(n)
            .filter(|reason| reason.code() == Some("ConditionalCheckFailed")),
        _ => None,
    }
}

fn unavailable<E, R>(operation: &'static str) -> impl FnOnce(SdkError<E, R>) -> StoreError
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    move |error| {
        let code = match &error {
            SdkError::ServiceError(service) => service.err().code().unwrap_or("unknown").to_owned(),
            SdkError::TimeoutError(_) => "timeout".to_owned(),
            SdkError::DispatchFailure(_) => "no connection".to_owned(),
            _ => "no usable answer".to_owned(),
        };
        StoreError::Unavailable {
            operation,
            code,
            source: Box::new(error),
        }
    }
}
