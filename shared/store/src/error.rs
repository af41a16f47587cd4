//! The classification of AWS failures, for the store and the secrets.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use threads_auth_model::Inconsistency;

const DYNAMODB: &str = "DynamoDB";

threads_graph::names! {
    /// The kind of an AWS failure.
    pub enum FailureKind {
        /// AWS did not respond, or the service failed.
        Unreachable => "unreachable",
        /// There were too many requests, or another transaction used the same rows.
        Throttled => "throttled",
        /// Our credentials are not permitted to do this, or are not valid.
        Denied => "denied",
        /// The table, the secret or its key does not exist.
        Missing => "missing",
        /// AWS refused for a reason that is neither transient nor specific to this item.
        Broken => "broken",
        /// Only this item fails. Others can be processed.
        ThisItem => "this_item",
    }
}

impl FailureKind {
    /// Returns true if the same request may succeed later without any intervention.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Throttled)
    }

    /// Returns the kind of an error with AWS's `code`, in a response with this HTTP `status`.
    #[must_use]
    pub fn of(code: &str, status: u16) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
        if has(&["Validation", "ItemCollectionSize"]) {
            Self::ThisItem
        } else if has(&[
            "Throttl",
            "ThroughputExceeded",
            "LimitExceeded",
            "TransactionConflict",
            "TransactionInProgress",
        ]) || status == 429
        {
            Self::Throttled
        } else if has(&["NotFound"]) {
            Self::Missing
        } else if has(&["AccessDenied", "Unrecognized", "Signature", "ExpiredToken", "InvalidClientTokenId"])
        {
            Self::Denied
        } else if status >= 500 {
            Self::Unreachable
        } else {
            Self::Broken
        }
    }
}

/// A request that AWS did not carry out.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{service} could not {operation} ({code})")]
pub struct AwsError {
    /// The service.
    pub service: &'static str,
    /// The operation: a verb and its object.
    pub operation: Cow<'static, str>,
    /// The kind of the failure.
    pub kind: FailureKind,
    /// AWS's error code, or the reason why there was no response.
    pub code: String,
    /// The message of AWS or of the transport. It does not repeat the code.
    #[source]
    pub source: Arc<dyn StdError + Send + Sync>,
}

/// The reason why a read or write failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB did not respond, or refused.
    #[error(transparent)]
    DynamoDb(AwsError),
    /// A row is inconsistent.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistency),
}

/// The reason why a secret could not be read. Contains the secret's id, never its content.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager did not respond, or refused.
    #[error(transparent)]
    SecretsManager(AwsError),
    /// The content is malformed.
    #[error("the secret {id} is malformed: {expected}")]
    Malformed {
        /// The id of the secret.
        id: String,
        /// The expected format.
        expected: String,
    },
}

impl StoreError {
    /// Returns the error of a write of `operation` that was abandoned because other writers kept
    /// changing the row.
    #[must_use]
    pub fn busy(operation: &'static str) -> Self {
        let source: Box<dyn StdError + Send + Sync> = "the row kept changing".into();
        Self::DynamoDb(AwsError {
            service: DYNAMODB,
            operation: operation.into(),
            kind: FailureKind::Throttled,
            code: "Busy".to_owned(),
            source: source.into(),
        })
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::DynamoDb(error) => error.kind,
            Self::Inconsistent(_) => FailureKind::ThisItem,
        }
    }

    /// Returns true if the same operation may succeed later without any intervention.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind().is_transient()
    }
}

impl SecretsError {
    /// Returns true if the secret exists but has no value yet, because nobody has configured the
    /// stack. AWS uses the same code for a secret that does not exist; only its message differs.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        let Self::SecretsManager(error) = self else {
            return false;
        };
        error.kind == FailureKind::Missing && error.source.to_string().contains("secret value")
    }

    /// Returns true if the secret does not exist, or was marked for deletion, for which AWS has no
    /// code of its own.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        let Self::SecretsManager(error) = self else {
            return false;
        };
        match error.code.as_str() {
            "ResourceNotFoundException" => true,
            "InvalidRequestException" => error.source.to_string().contains("marked for deletion"),
            _ => false,
        }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::SecretsManager(error) => error.kind,
            Self::Malformed { .. } => FailureKind::Broken,
        }
    }

    /// Returns true if the same read may succeed later without any intervention.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind().is_transient()
    }
}

impl AwsError {
    /// Classifies an `error` of an `operation`.
    pub(crate) fn new<E>(
        service: &'static str,
        operation: impl Into<Cow<'static, str>>,
        error: SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (code, kind) = match &error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("unknown");
                (code, FailureKind::of(code, service.raw().status().as_u16()))
            }
            SdkError::TimeoutError(_) => ("timeout", FailureKind::Unreachable),
            SdkError::DispatchFailure(_) => ("no connection", FailureKind::Unreachable),
            SdkError::ResponseError(_) => ("no usable response", FailureKind::Unreachable),
            _ => ("unbuildable", FailureKind::Broken),
        };
        let code = code.to_owned();
        let source: Box<dyn StdError + Send + Sync> = match error {
            SdkError::ServiceError(service) => {
                let message = service.err().message().unwrap_or("no reason given");
                message.into()
            }
            error => match no_connection(&error) {
                Some(why) => why.into(),
                None => error.into_source().unwrap_or_else(|error| Box::new(error)),
            },
        };
        Self { service, operation: operation.into(), kind, code, source: source.into() }
    }
}

/// Returns the system's own message if an SDK error means that there was no connection. The SDK's
/// messages around it do not help a reader.
#[must_use]
pub fn no_connection(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let connector = causes.find(|cause| cause.is::<ConnectorError>())?;
    Some(causes.last().unwrap_or(connector).to_string())
}

/// Returns a function that turns an SDK error of `operation` into a [`StoreError`].
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> StoreError
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    move |error| StoreError::DynamoDb(AwsError::new(DYNAMODB, operation, error))
}

/// Returns a function that reports an incomplete request of `operation`. Ours are always complete.
pub(crate) fn unbuildable(
    operation: &'static str,
) -> impl Fn(aws_sdk_dynamodb::error::BuildError) -> StoreError {
    move |error| {
        StoreError::DynamoDb(AwsError {
            service: DYNAMODB,
            operation: operation.into(),
            kind: FailureKind::Broken,
            code: "unbuildable".to_owned(),
            source: Arc::new(error),
        })
    }
}

/// Returns the error of a transaction that was canceled, but not by a condition. The code of the
/// cancellation reason is more precise than the transaction's code.
pub(crate) fn canceled(
    operation: &'static str,
    error: SdkError<TransactWriteItemsError, HttpResponse>,
) -> StoreError {
    let reason = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled
            .cancellation_reasons()
            .iter()
            .filter_map(|reason| reason.code())
            .find(|code| *code != "None")
            .map(str::to_owned),
        _ => None,
    };
    let mut failure = AwsError::new(DYNAMODB, operation, error);
    if let Some(code) = reason {
        failure.kind = FailureKind::of(&code, 400);
        failure.code = code;
    }
    StoreError::DynamoDb(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_kind() {
        for (code, status, kind) in [
            ("ThrottlingException", 400, FailureKind::Throttled),
            ("ProvisionedThroughputExceededException", 400, FailureKind::Throttled),
            ("RequestLimitExceeded", 400, FailureKind::Throttled),
            ("TransactionConflictException", 400, FailureKind::Throttled),
            ("TransactionInProgressException", 400, FailureKind::Throttled),
            ("unknown", 429, FailureKind::Throttled),
            ("ResourceNotFoundException", 400, FailureKind::Missing),
            ("AccessDeniedException", 400, FailureKind::Denied),
            ("UnrecognizedClientException", 400, FailureKind::Denied),
            ("InvalidSignatureException", 400, FailureKind::Denied),
            ("ExpiredTokenException", 400, FailureKind::Denied),
            ("ValidationException", 400, FailureKind::ThisItem),
            ("ItemCollectionSizeLimitExceededException", 400, FailureKind::ThisItem),
            ("InternalServerError", 500, FailureKind::Unreachable),
            ("unknown", 503, FailureKind::Unreachable),
            ("SerializationException", 400, FailureKind::Broken),
        ] {
            assert_eq!(FailureKind::of(code, status), kind, "{code} {status}");
        }
    }
}
