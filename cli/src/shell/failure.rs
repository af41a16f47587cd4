//! The kinds of the service's errors that commands distinguish.

use threads_auth::{
    FailureKind, ImportError, PersonalDataError, RemovalError, ResealError, RestoreError, SecretsError,
    StoreError, SweepError, VendError,
};
use threads_auth_store::AwsError;

/// Finds the error in these transparent variants, which the chain of causes does not contain.
macro_rules! within {
    ($cause:ident, $($error:ident :: $variant:ident),*) => {
        None$(.or_else(|| match $cause.downcast_ref() {
            Some($error::$variant(error)) => Some(error),
            _ => None,
        }))*
    };
}

/// Returns the kind of stack failure that caused an error, if one did.
pub(crate) fn failure_kind(error: &anyhow::Error) -> Option<FailureKind> {
    error.chain().find_map(|cause| {
        let store = cause.downcast_ref().or_else(|| {
            within!(
                cause,
                SweepError::Unreadable,
                RestoreError::Store,
                ResealError::Store,
                VendError::Store,
                RemovalError::Store,
                PersonalDataError::Store,
                ResealError::Store,
                ImportError::Store
            )
        });
        let secrets = cause.downcast_ref().or_else(|| {
            within!(
                cause,
                RestoreError::Secrets,
                ResealError::Secrets,
                VendError::Secrets,
                RemovalError::Secrets,
                PersonalDataError::Secrets,
                ResealError::Secrets,
                ImportError::Secrets
            )
        });
        store.map(StoreError::kind).or_else(|| secrets.map(SecretsError::kind))
    })
}

/// Returns true if the stack failed transiently: AWS did not respond, or requested a retry.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    let is_later = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(VendError::Retry { .. })));
    is_later || failure_kind(error).is_some_and(FailureKind::is_transient)
}

/// Returns the next step after a failure of the stack.
pub(crate) fn next_step(kind: FailureKind) -> Option<&'static str> {
    match kind {
        FailureKind::Missing => Some(
            "A table or a secret that this needs does not exist: `threads-auth doctor` finds out which. Deploying the stack again creates it, and so does restarting `threads-auth dev`; `threads-auth restore` brings the accounts of a backup back, and `threads-auth restore-secret` a deleted secret.",
        ),
        FailureKind::Denied => Some(
            "These credentials lack a permission: `threads-auth doctor` names it. Use other credentials, or grant it.",
        ),
        FailureKind::Unreachable => Some(
            "Check that this machine is online, and that the region and AWS_ENDPOINT_URL are right. Nothing is known to be wrong with the stack. Try again later.",
        ),
        FailureKind::Throttled => Some("Nothing is known to be wrong with the stack. Try again later."),
        FailureKind::ThisItem => Some(
            "Something else has changed the row: repair the attribute, or let its person connect again, which writes it anew.",
        ),
        FailureKind::Broken => None,
    }
}

/// Returns the Secrets Manager failure that leaves the secret's state unknown: a transient one, or
/// a missing permission.
pub(crate) fn secret_unseen(error: &SecretsError) -> Option<&AwsError> {
    match error {
        SecretsError::SecretsManager(failure)
            if error.is_transient() || failure.kind == FailureKind::Denied =>
        {
            Some(failure)
        }
        _ => None,
    }
}

/// Returns true if an AWS error code means that the caller lacks a permission.
pub(crate) fn is_denied(code: &str) -> bool {
    code.contains("Denied")
}
