//! Maps AWS's refusals and timeouts to a kind of failure and a sentence for the operator.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use threads_auth::FailureKind;
use threads_auth_model::error_chain;
use threads_auth_store::no_connection;

use crate::shell::exit::Stopped;

/// AWS's codes for credentials that are absent, invalid or expired. No permission is missing.
const UNKNOWN_CREDENTIALS: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Returns the failure of an AWS call. `work` names the call, as in "Secrets Manager did not read
/// the secret".
pub(super) fn failed<E>(error: &SdkError<E>, work: &str) -> Stopped
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match (error.code(), status) {
        (Some(code), _) if UNKNOWN_CREDENTIALS.contains(&code) => {
            let message = error.message().unwrap_or("no reason given");
            Stopped::Usage(format!(
                "AWS does not accept these credentials ({code}: {message}): they have expired, are mistyped, or this machine's clock is wrong; run `aws sso login`, or use others"
            ))
        }
        (Some(code), status) => {
            let kind = match FailureKind::of(code, status.unwrap_or_default()) {
                // Only DynamoDB has items.
                FailureKind::ThisItem => FailureKind::Broken,
                kind => kind,
            };
            let message = error.message().unwrap_or("no reason given");
            Stopped::Aws(kind, format!("{work} ({code}): {message}"))
        }
        (None, Some(status)) => {
            let kind = FailureKind::of("", status);
            Stopped::Aws(kind, format!("{work}: it answers {status}, and gives no reason"))
        }
        (None, None) => Stopped::Aws(FailureKind::Unreachable, format!("{work}: {}", silence(error))),
    }
}

/// Returns the reason why AWS did not respond.
pub(super) fn silence(error: &(dyn StdError + 'static)) -> String {
    no_connection(error).unwrap_or_else(|| error_chain(error))
}

/// Returns the error for missing or unusable credentials.
pub(super) fn no_credentials(error: &CredentialsError, profile: Option<&str>) -> Stopped {
    const PREFIX: &str = "an error occurred while loading credentials: ";
    let said = error_chain(error);
    let of_profile = profile.map_or_else(String::new, |name| format!(" --profile {name}"));
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            // The SDK lists everything that it has tried. Only a profile has a reason of its own.
            let because = said
                .lines()
                .find_map(|line| {
                    line.trim().strip_prefix("Profile: the credential provider was not enabled: ")
                })
                .map_or_else(String::new, |because| format!(" ({because})"));
            Stopped::Usage(format!(
                "there are no AWS credentials: give a --profile, run `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{because}"
            ))
        }
        _ if said.contains("SSO token") => Stopped::Usage(format!(
            "the SSO login has expired, or there was none: run `aws sso login{of_profile}`"
        )),
        CredentialsError::ProviderTimedOut(_) => Stopped::Aws(
            FailureKind::Unreachable,
            "the AWS credentials could not be fetched: no response in time".to_owned(),
        ),
        error => match no_connection(error) {
            Some(why) => Stopped::Aws(
                FailureKind::Unreachable,
                format!("the AWS credentials could not be fetched: {why}"),
            ),
            None => Stopped::Usage(format!(
                "the AWS credentials cannot be used: {}",
                said.strip_prefix(PREFIX).unwrap_or(&said)
            )),
        },
    }
}
