//! The meaning of a failure of AWS's, for the store and for the secrets alike.

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
    /// The kind of a failure of AWS's.
    pub enum FailureKind {
        /// There was no answer, or the service failed.
        Unreachable => "unreachable",
        /// There were too many requests, or another transaction was at the same rows.
        Throttled => "throttled",
        /// We may not do this, or are not known.
        Denied => "denied",
        /// The table, the secret or its key does not exist.
        Missing => "missing",
        /// AWS refused for a reason that concerns neither this item nor the moment.
        Broken => "broken",
        /// This one item is the trouble. Others can go on.
        ThisItem => "this_item",
    }
}

impl FailureKind {
    /// Whether the same request may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Throttled)
    }

    /// The kind of an error with AWS's `code`, in an answer of this HTTP `status`.
    #[must_use]
    pub fn of(code: &str, status: u16) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
        if has(&[
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
        } else if has(&["Validation", "ItemCollectionSize"]) {
            Self::ThisItem
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
    /// The operation, as a verb and its object.
    pub operation: Cow<'static, str>,
    /// The kind of the failure.
    pub kind: FailureKind,
    /// AWS's error code, or what kept the answer away.
    pub code: String,
    /// AWS's own words, or the transport's. They do not say the code again.
    #[source]
    pub source: Arc<dyn StdError + Send + Sync>,
}

/// Why a read or write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB did not answer, or refused.
    #[error(transparent)]
    DynamoDb(AwsError),
    /// A row does not make sense.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistency),
}

/// Why a secret could not be read. Names the secret, never its content.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager did not answer, or refused.
    #[error(transparent)]
    SecretsManager(AwsError),
    /// Its content is not what it should be.
    #[error("the secret {id} is malformed: {expected}")]
    Malformed {
        /// The secret.
        id: String,
        /// The expected form.
        expected: String,
    },
}

impl StoreError {
    /// The row changed each time that the write of `operation` was decided.
    #[must_use]
    pub fn busy(operation: &'static str) -> Self {
        let source: Box<dyn StdError + Send + Sync> = "the row changes all the time".into();
        Self::DynamoDb(AwsError {
            service: DYNAMODB,
            operation: operation.into(),
            kind: FailureKind::Throttled,
            code: "Busy".to_owned(),
            source: source.into(),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::DynamoDb(error) => error.kind,
            Self::Inconsistent(_) => FailureKind::ThisItem,
        }
    }

    /// Whether the same operation may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind().is_transient()
    }
}

impl SecretsError {
    /// Whether the secret is there and has no value yet: nobody has configured the stack. AWS has
    /// one code for this and for a secret that is gone, which is another matter; its words tell.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        let Self::SecretsManager(error) = self else {
            return false;
        };
        error.kind == FailureKind::Missing && error.source.to_string().contains("secret value")
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::SecretsManager(error) => error.kind,
            Self::Malformed { .. } => FailureKind::Broken,
        }
    }

    /// Whether the same read may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind().is_transient()
    }
}

impl AwsError {
    /// The meaning of an `error` of an `operation`.
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
            SdkError::ResponseError(_) => ("no usable answer", FailureKind::Unreachable),
            _ => ("unbuildable", FailureKind::Broken),
        };
        let code = code.to_owned();
        let source: Box<dyn StdError + Send + Sync> = match error {
            SdkError::ServiceError(service) => {
                let words = service.err().message().unwrap_or("no reason given");
                words.into()
            }
            error => match no_connection(&error) {
                Some(why) => why.into(),
                None => error.into_source().unwrap_or_else(|error| Box::new(error)),
            },
        };
        Self { service, operation: operation.into(), kind, code, source: source.into() }
    }
}

/// The system's own words for why there was no connection, if an error of the SDK's comes from
/// that. The SDK's words around them are of use to nobody.
#[must_use]
pub fn no_connection(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let connector = causes.find(|cause| cause.is::<ConnectorError>())?;
    Some(causes.last().unwrap_or(connector).to_string())
}

/// DynamoDB did not carry out `operation`.
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> StoreError
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    move |error| StoreError::DynamoDb(AwsError::new(DYNAMODB, operation, error))
}

/// The request of `operation` lacks something. Ours never do.
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

/// A transaction was canceled for a reason that is no condition's: the reason's code says more than
/// the transaction's.
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
