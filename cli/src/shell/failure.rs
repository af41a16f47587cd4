//! The errors of the service, as far as a command has to tell them apart: whether one passes by
//! itself, and whether it is about credentials. No other file looks into errors of the store and of
//! the secrets.

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use threads_auth::refresh::SweepError;
use threads_auth::restore::RestoreError;
use threads_auth::secrets::SecretsError;
use threads_auth::store::StoreError;
use threads_auth::vending::VendError;

/// DynamoDB's codes with one of these words are about the caller or the table, and do not pass.
const LASTING: [&str; 7] = [
    "NotFound",
    "Denied",
    "Validation",
    "Unrecognized",
    "Invalid",
    "Signature",
    "Expired",
];

/// Whether a failure needs nobody: AWS did not answer, or said to come back later.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(store_may_pass)
            || cause.downcast_ref().is_some_and(secrets_may_pass)
            || matches!(cause.downcast_ref(), Some(SweepError::Unreadable))
            || match cause.downcast_ref() {
                Some(RestoreError::Store(error)) => store_may_pass(error),
                Some(RestoreError::Secrets(error)) => secrets_may_pass(error),
                None => false,
            }
            || match cause.downcast_ref() {
                Some(VendError::Store(error)) => store_may_pass(error),
                Some(VendError::Secrets(error)) => secrets_may_pass(error),
                Some(VendError::Later { .. }) => true,
                _ => false,
            }
    })
}

fn secrets_may_pass(error: &SecretsError) -> bool {
    matches!(error, SecretsError::Unreachable { .. })
}

fn store_may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable { code, .. } => !LASTING.iter().any(|word| code.contains(word)),
        StoreError::Inconsistent(_) => false,
    }
}

/// The code with which the store refuses these credentials, if that is the error.
pub(crate) fn store_denied(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::Unavailable { code, .. } if is_denied(code) => Some(code),
        _ => None,
    }
}

/// Why nothing is known of a secret: there was no answer, or none for these credentials.
pub(crate) fn secret_unseen(error: &SecretsError) -> Option<&SdkError<GetSecretValueError>> {
    match error {
        SecretsError::Unreachable { source, .. } => Some(source),
        SecretsError::Unreadable { source, .. } if source.code().is_some_and(is_denied) => Some(source),
        _ => None,
    }
}

/// Whether an error's code at AWS says that the caller lacks a permission.
pub(crate) fn is_denied(code: &str) -> bool {
    code.contains("Denied")
}
