//! The errors of the service, as far as a command has to tell them apart. Their own types know the rest.

use threads_auth::{RestoreError, SecretsError, StoreError, SweepError, VendError};
use threads_auth_store::AwsError;

/// Whether the stack failed in a way that needs nobody: AWS did not answer, or said to come back later.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    let store = StoreError::is_transient;
    let secrets = SecretsError::is_transient;
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(store)
            || cause.downcast_ref().is_some_and(secrets)
            || match cause.downcast_ref() {
                Some(SweepError::Unreadable(error)) => store(error),
                Some(SweepError::Secrets(error)) => secrets(error),
                _ => false,
            }
            || match cause.downcast_ref() {
                Some(RestoreError::Store(error)) => store(error),
                Some(RestoreError::Secrets(error)) => secrets(error),
                None => false,
            }
            || match cause.downcast_ref() {
                Some(VendError::Store(error)) => store(error),
                Some(VendError::Secrets(error)) => secrets(error),
                Some(VendError::Later { .. }) => true,
                _ => false,
            }
    })
}

/// The failure of Secrets Manager because of which nothing is known of the secret: no answer, or not for these credentials.
pub(crate) fn secret_unseen(error: &SecretsError) -> Option<&AwsError> {
    match error {
        SecretsError::SecretsManager(failure)
            if error.is_transient() || failure.kind == threads_auth::FailureKind::Denied =>
        {
            Some(failure)
        }
        _ => None,
    }
}

/// Whether an error's code at AWS says that the caller lacks a permission.
pub(crate) fn is_denied(code: &str) -> bool {
    code.contains("Denied")
}
