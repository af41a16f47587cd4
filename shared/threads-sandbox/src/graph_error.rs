//! Meta's error bodies: the Graph API's envelope, and the flat one of the code exchange.
//!
//! Every text here is fixed and repeats no input, because clients send secrets.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::account::AccountStatus;
use crate::bad_hours::BadAnswer;
use crate::mint;
use crate::reply::Reply;
use crate::world::{CodeFault, TokenFault};

/// An error of the Graph API before it has a trace id.
#[derive(Debug, Clone)]
pub(crate) struct GraphError {
    status: StatusCode,
    kind: &'static str,
    code: u64,
    subcode: Option<u64>,
    message: String,
    /// Absent from a bare error, and from the Threads API's own.
    is_transient: Option<bool>,
}

impl GraphError {
    /// An `OAuthException` with status 400.
    pub(crate) fn oauth(code: u64, subcode: Option<u64>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "OAuthException",
            code,
            subcode,
            message: message.into(),
            is_transient: Some(false),
        }
    }

    /// The answer of bad hours.
    pub(crate) fn of_bad_hours(answer: BadAnswer) -> Self {
        match answer {
            BadAnswer::Bare190 => Self { is_transient: None, ..Self::unparsable() },
            BadAnswer::Permission => Self::no_permission(),
            BadAnswer::ServerError => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                ..Self::oauth(1, None, "An unknown error has occurred.")
            },
            BadAnswer::Throttled => Self::throttled(),
            BadAnswer::AppBlocked => Self::oauth(200, None, "API access blocked."),
            BadAnswer::AppDeleted => {
                Self::oauth(190, None, "Error validating application. Application has been deleted.")
            }
            BadAnswer::AppUnknown => Self::wrong_app(),
        }
    }

    /// A token that was never issued.
    fn unparsable() -> Self {
        Self::oauth(190, None, "Invalid OAuth access token - Cannot parse access token")
    }

    /// A caller who may not use the operation.
    pub(crate) fn no_permission() -> Self {
        Self::oauth(10, None, "(#10) Application does not have permission for this action")
    }

    /// A caller who does not belong to the app, in the words of Facebook's Graph API.
    pub(crate) fn not_of_the_app() -> Self {
        let message = "(#100) You must provide an app access token, or a user access token that is an owner or \
                       developer of the app";
        Self::oauth(100, None, message)
    }

    /// The error of a fault, with a message that names it.
    pub(crate) fn injected(code: u64, subcode: Option<u64>, is_transient: bool, status: StatusCode) -> Self {
        let message = "An error that was injected into the sandbox.";
        Self { status, is_transient: Some(is_transient), ..Self::oauth(code, subcode, message) }
    }

    /// The app's rate limit.
    pub(crate) fn throttled() -> Self {
        let message = "(#4) Application request limit reached";
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self { status, is_transient: Some(true), ..Self::oauth(4, None, message) }
    }

    /// The right path with a wrong method, or a person who is not the token's. `name` is the
    /// path's, or a number.
    pub(crate) fn no_object(method: &str, name: &str) -> Self {
        let message = format!(
            "Unsupported {} request. Object with ID '{name}' does not exist, cannot be loaded due to missing \
             permissions, or does not support this operation",
            method.to_ascii_lowercase(),
        );
        Self { kind: "THApiException", is_transient: None, ..Self::oauth(100, Some(33), message) }
    }

    /// A path that the sandbox does not have.
    pub(crate) fn unknown_path() -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::oauth(2500, None, "Unknown path components") }
    }

    /// A body past the sandbox's limit.
    pub(crate) fn too_large() -> Self {
        let message = "The request is larger than the sandbox reads";
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::oauth(1, None, message) }
    }

    /// The app id is not the sandbox's.
    pub(crate) fn wrong_app() -> Self {
        let message = "Error validating application. Cannot get application info due to a system error.";
        Self::oauth(101, None, message)
    }

    /// The app secret is not the sandbox's. Meta answers with code 1 here, which elsewhere means
    /// "try again".
    pub(crate) fn wrong_secret() -> Self {
        Self::oauth(1, None, "Error validating client secret.")
    }

    /// No token at all.
    pub(crate) fn missing_token() -> Self {
        let message = "An active access token must be used to query information about the current user.";
        Self::oauth(2500, None, message)
    }

    /// A token of another kind than the operation takes.
    pub(crate) fn wrong_kind() -> Self {
        let message = "Session key invalid. This could be because the session key has an incorrect format, or because \
                       the user has revoked this session";
        Self::oauth(452, None, message)
    }

    /// The reason why a token does not work, at `now`.
    pub(crate) fn token(fault: TokenFault, now: Timestamp) -> Self {
        match fault {
            TokenFault::Unknown => Self::unparsable(),
            TokenFault::Expired(at) => Self::oauth(
                190,
                Some(463),
                format!(
                    "Error validating access token: Session has expired on {at}. The current time is {now}."
                ),
            ),
            TokenFault::Ended(status @ AccountStatus::Restricted) => {
                Self { kind: "THApiException", ..Self::oauth(10, status.subcode(), ended(status)) }
            }
            TokenFault::Ended(status) => Self::oauth(190, status.subcode(), ended(status)),
            TokenFault::Superseded => Self::oauth(190, Some(467), ended(AccountStatus::Invalidated)),
            TokenFault::DataAccessExpired => Self::oauth(
                10,
                None,
                "(#10) The app's access to this person's data has expired. The person has to authorize the app again.",
            ),
            TokenFault::WrongKind => Self::wrong_kind(),
            TokenFault::TooYoung => Self::oauth(
                100,
                None,
                "(#100) The access token must be at least 24 hours old to be refreshed",
            ),
        }
    }

    /// The `error` object.
    pub(crate) fn body(&self) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "code": self.code,
            "fbtrace_id": mint::trace_id(),
        });
        if let Some(is_transient) = self.is_transient {
            error["is_transient"] = is_transient.into();
        }
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        error
    }
}

const fn ended(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Active => "Error validating access token",
        AccountStatus::Revoked => {
            "Error validating access token: The user has not authorized application, or has removed it."
        }
        AccountStatus::Checkpoint => {
            "Error validating access token: You cannot access the app till you log in to www.threads.com and follow \
             the instructions given."
        }
        AccountStatus::Unconfirmed => {
            "Error validating access token: Sessions for the user are not allowed because the user is not a confirmed \
             user."
        }
        AccountStatus::PasswordChanged => {
            "Error validating access token: The session has been invalidated because the user changed their password \
             or Meta has changed the session for security reasons."
        }
        AccountStatus::Invalidated => "Error validating access token: The session has been invalidated.",
        AccountStatus::Restricted => "(#10) The account is restricted from using the API.",
    }
}

impl From<GraphError> for Reply {
    fn from(error: GraphError) -> Self {
        Self::json(error.status, &json!({ "error": error.body() }))
    }
}

/// The code exchange's responses to an unusable code: the flat body that Meta documents, and for a
/// redirect URI that differs the envelope with 100/36008. The exchange of a code has an envelope of
/// its own.
pub(crate) fn exchange_refused(message: &str) -> Reply {
    let body = json!({ "error_type": "OAuthException", "code": 400, "error_message": message });
    Reply::json(StatusCode::BAD_REQUEST, &body)
}

pub(crate) fn code_refused(fault: CodeFault) -> Reply {
    match fault {
        CodeFault::NotFound => exchange_refused("Matching code was not found or was already used"),
        CodeFault::RedirectMismatch => GraphError::oauth(
            100,
            Some(36008),
            "Error validating verification code. Please make sure your redirect_uri is identical to the one you used \
             in the OAuth dialog request",
        )
        .into(),
    }
}
