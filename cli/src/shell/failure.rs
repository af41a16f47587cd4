//! The errors of the service, as far as a command has to tell them apart. Their own types know the rest.

use threads_auth::{
    FailureKind, ImportError, PersonalDataError, RemovalError, ResealError, RestoreError, SecretsError,
    StoreError, SweepError, VendError,
};
use threads_auth_store::AwsError;

/// The error in this variant of one of these types, which hide it from the chain: they have no
/// words of their own.
macro_rules! within {
    ($cause:ident, $($error:ident :: $variant:ident),*) => {
        None$(.or_else(|| match $cause.downcast_ref() {
            Some($error::$variant(error)) => Some(error),
            _ => None,
        }))*
    };
}

/// The kind of the stack's failure that an error comes from, if it comes from one.
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

/// Whether the stack failed in a way that needs nobody: AWS did not answer, or said to come back later.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    let is_later = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(VendError::Retry { .. })));
    is_later || failure_kind(error).is_some_and(FailureKind::is_transient)
}

/// The thing to do about a failure of the stack's.
pub(crate) fn next_step(kind: FailureKind) -> Option<&'static str> {
    match kind {
        FailureKind::Missing => Some(
            "A table or a secret that this needs does not exist: `threads-auth doctor` looks which. To deploy the stack again makes it, and so does starting `threads-auth dev` anew; `threads-auth restore` brings the accounts of a backup back, and `threads-auth restore-secret` a deleted secret.",
        ),
        FailureKind::Denied => Some(
            "AWS does not let these credentials do it: `threads-auth doctor` names what they lack. Give others, or the permission.",
        ),
        FailureKind::Unreachable => Some(
            "Is this machine online, and is the region right, and AWS_ENDPOINT_URL if it is set? Nothing is known to be wrong with the stack. Try again later.",
        ),
        FailureKind::Throttled => Some("Nothing is known to be wrong with the stack. Try again later."),
        FailureKind::ThisItem => Some(
            "Something else has changed the row: repair the attribute, or let its person connect again, which writes it anew.",
        ),
        FailureKind::Broken => None,
    }
}

/// The failure of Secrets Manager because of which nothing is known of the secret: no answer, or not for these credentials.
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

/// Whether an error's code at AWS says that the caller lacks a permission.
pub(crate) fn is_denied(code: &str) -> bool {
    code.contains("Denied")
}
