//! What can go wrong in a call, and what it means.
//!
//! Owns the classification of Meta's answers. Refuses two things: to call a token dead on anything but Meta's documented
//! codes for it, and to carry along what an answer or a URL says in words, since either may hold a token.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::json::{Json, integer};
use crate::names;

/// The longest wait that a `Retry-After` can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// A call to Meta that did not succeed.
///
/// Its `Display` is a fixed sentence with the numbers Meta gave; its source, if any, is the transport's error with the URL
/// taken out. Neither holds a token, a secret, a code or Meta's free text.
#[derive(Debug)]
pub struct Error {
    call: Call,
    kind: ErrorKind,
    status: Option<u16>,
    code: Option<u64>,
    subcode: Option<u64>,
    trace_id: Option<String>,
    source: Option<reqwest::Error>,
}

names! {
    /// Which call it was.
    pub enum Call {
        /// [`Graph::exchange_code`](crate::Graph::exchange_code).
        ExchangeCode => "exchange_code",
        /// [`Graph::exchange_long_lived`](crate::Graph::exchange_long_lived).
        ExchangeLongLived => "exchange_long_lived",
        /// [`Graph::refresh`](crate::Graph::refresh).
        Refresh => "refresh",
        /// [`Graph::me`](crate::Graph::me).
        Me => "me",
        /// [`Graph::debug_token`](crate::Graph::debug_token).
        DebugToken => "debug_token",
        /// [`Graph::app_token`](crate::Graph::app_token).
        AppToken => "app_token",
        /// A call of [`ThreadsClient`](crate::ThreadsClient).
        Other => "other",
    }
}

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It may work a little later: a timeout, a lost connection, HTTP 5xx, Meta's codes 1 and 2 or `is_transient`, an
    /// unexpected redirect, or an answer that is not a JSON object (HTML, empty, cut short, too large).
    Transient,
    /// Too many calls: HTTP 429, or Meta's codes 4, 17, 32, 341, 613 and 368 (a temporary block).
    Throttled {
        /// How long Meta asks to wait, at most 24 hours, if it says so in seconds.
        retry_after: Option<Duration>,
    },
    /// The token is dead: Meta's codes 102 and 190. Only the person can mend it.
    NeedsReauthorization(ReauthorizationCause),
    /// The person, or Meta's app review, has not given this permission: Meta's codes 10 and 200 to 299.
    Permission,
    /// The authorization code was used already, has expired or is not one.
    CodeUnusable,
    /// The app is set up wrongly, here or in Meta's dashboard. No person can mend it by trying again.
    Configuration(ConfigurationProblem),
    /// The token is younger than 24 hours and cannot be refreshed yet. It is alive.
    TooYoung,
    /// A success that lacks what it must have. It says nothing about the token.
    Malformed,
    /// A refusal that fits nothing else. It says nothing about the token.
    Rejected,
}

names! {
    /// Why a token is dead.
    pub enum ReauthorizationCause {
        /// Subcode 463: it has expired. Subcode 493 (access to the person's data has expired) counts as this too.
        Expired => "expired",
        /// Subcode 460: the person changed the password.
        PasswordChanged => "password_changed",
        /// Subcode 458: the person removed the app.
        AppRemoved => "app_removed",
        /// Subcode 459: the person must log in at Meta and pass a checkpoint.
        Checkpoint => "checkpoint",
        /// Subcode 464: the account is not confirmed.
        Unconfirmed => "unconfirmed",
        /// Code 102 without a known subcode: the session is not valid.
        SessionInvalid => "session_invalid",
        /// Subcode 467, and code 190 with an unknown subcode or none.
        Invalid => "invalid",
    }
}

names! {
    /// What is set up wrongly.
    pub enum ConfigurationProblem {
        /// The app secret does not belong to the app id.
        WrongAppSecret => "wrong_app_secret",
        /// The app id is unknown: most often the Meta app id in place of the Threads app id.
        WrongAppId => "wrong_app_id",
        /// The redirect URI is not the registered one, not the one of the first step, or not https.
        RedirectMismatch => "redirect_mismatch",
        /// Something else, such as a tester's invitation that was not accepted.
        Other => "other",
    }
}

impl ErrorKind {
    /// A stable name of the class, such as `needs_reauthorization`, without its details: for logs, metrics and storage.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled { .. } => "throttled",
            Self::NeedsReauthorization(_) => "needs_reauthorization",
            Self::Permission => "permission",
            Self::CodeUnusable => "code_unusable",
            Self::Configuration(_) => "configuration",
            Self::TooYoung => "too_young",
            Self::Malformed => "malformed",
            Self::Rejected => "rejected",
        }
    }

    /// Whether the same call may succeed later without anybody doing anything: [`Transient`](Self::Transient),
    /// [`Throttled`](Self::Throttled), [`TooYoung`](Self::TooYoung) and [`Malformed`](Self::Malformed).
    ///
    /// An authorization code is the exception: a call that spent it may have failed only on its way back.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Transient | Self::Throttled { .. } | Self::TooYoung | Self::Malformed
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "Meta could not be reached, or answered with a passing failure",
            Self::Throttled { .. } => "Meta asks for fewer calls",
            Self::NeedsReauthorization(cause) => match cause {
                ReauthorizationCause::Expired => "the access token has expired",
                ReauthorizationCause::PasswordChanged => {
                    "the access token ended when the person changed the password"
                }
                ReauthorizationCause::AppRemoved => "the person has removed the app",
                ReauthorizationCause::Checkpoint => "the person has to pass a checkpoint at Meta first",
                ReauthorizationCause::Unconfirmed => "the person's account is not confirmed",
                ReauthorizationCause::SessionInvalid => "the person's session is not valid any more",
                ReauthorizationCause::Invalid => "the access token is not valid any more",
            },
            Self::Permission => "a permission is missing",
            Self::CodeUnusable => "the authorization code was used already, has expired or is not one",
            Self::Configuration(problem) => match problem {
                ConfigurationProblem::WrongAppSecret => "the app secret does not belong to the app id",
                ConfigurationProblem::WrongAppId => "the app id is not that of a Threads app",
                ConfigurationProblem::RedirectMismatch => {
                    "the redirect URI is not the registered one, or not the one the person was sent with"
                }
                ConfigurationProblem::Other => "the app is set up wrongly in Meta's dashboard",
            },
            Self::TooYoung => "the access token is younger than 24 hours and cannot be refreshed yet",
            Self::Malformed => "Meta's answer lacks what it must have",
            Self::Rejected => "Meta refused the request",
        })
    }
}

impl Error {
    /// What it means.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Which call it was.
    #[must_use]
    pub fn call(&self) -> Call {
        self.call
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Meta's code, if it gave one. It can have seven digits.
    #[must_use]
    pub fn code(&self) -> Option<u64> {
        self.code
    }

    /// Meta's subcode, if it gave one. It can have seven digits.
    #[must_use]
    pub fn subcode(&self) -> Option<u64> {
        self.subcode
    }

    /// Meta's `fbtrace_id`, which its support asks for. At most 32 characters of base64: no token is that short.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// No answer.
    pub(crate) fn unanswered(call: Call, error: reqwest::Error) -> Self {
        Self::new(call, ErrorKind::Transient).caused_by(error)
    }

    /// Keeps the transport's error as the source, without its URL: that of some calls holds the token and the app secret.
    pub(crate) fn caused_by(self, error: reqwest::Error) -> Self {
        Self {
            source: Some(error.without_url()),
            ..self
        }
    }

    /// An answer which is not what it must be.
    pub(crate) fn answered(call: Call, kind: ErrorKind, status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::new(call, kind)
        }
    }

    /// An answer that says what is wrong, or ought to. `sent` are the values of the request.
    pub(crate) fn from_answer(
        call: Call,
        status: u16,
        retry_after: Option<Duration>,
        body: Option<&Json>,
        sent: &[&str],
    ) -> Self {
        let said = body.map(|body| Said::read(body.value())).unwrap_or_default();
        let kind = classify(call, status, retry_after, body.is_some(), &said);
        Self {
            call,
            kind,
            status: Some(status),
            code: said.code,
            subcode: said.subcode,
            // A trace id is Meta's own; one that has to do with what was sent is an echo, and may be a secret.
            trace_id: said
                .trace_id
                .filter(|id| !sent.iter().any(|sent| sent.contains(id) || id.contains(sent)))
                .map(str::to_owned),
            source: None,
        }
    }

    fn new(call: Call, kind: ErrorKind) -> Self {
        Self {
            call,
            kind,
            status: None,
            code: None,
            subcode: None,
            trace_id: None,
            source: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.kind)?;
        let numbers = [
            ("HTTP ", self.status.map(u64::from)),
            ("code ", self.code),
            ("subcode ", self.subcode),
        ];
        let mut separator = " (";
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(f, "{separator}{name}{number}")?;
                separator = ", ";
            }
        }
        if separator == ", " {
            f.write_str(")")
        } else {
            Ok(())
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// The wait that a `Retry-After` header asks for, if it is in seconds.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    header
        .trim()
        .parse()
        .ok()
        .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// Whether a body says that something is wrong, whatever the status: a 200 may carry an error.
pub(crate) fn says_error(call: Call, body: &Value) -> bool {
    if call == Call::Other {
        // The state of a media container has an `error_message` of its own, which is data.
        return body.get("error").is_some_and(Value::is_object);
    }
    ["error", "error_message", "error_type", "error_code"]
        .iter()
        .any(|name| {
            body.get(name)
                .is_some_and(|value| !value.is_null() && *value != false)
        })
}

/// What a body says about a failure, in any of the three shapes seen:
///
/// - `{"error":{"message","type","code","error_subcode","is_transient","fbtrace_id"}}`, the Graph API's;
/// - `{"error_type","code","error_message"}`, that of the code exchange;
/// - `{"error_message","error_code"}`, that of the authorization page.
#[derive(Default)]
struct Said<'a> {
    code: Option<u64>,
    subcode: Option<u64>,
    is_transient: bool,
    message: String,
    trace_id: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn read(body: &'a Value) -> Self {
        let error = body
            .get("error")
            .filter(|error| error.is_object())
            .unwrap_or(body);
        let first = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| error.get(name).filter(|value| !value.is_null()))
        };
        Self {
            code: first(["code", "error_code"]).and_then(integer),
            subcode: first(["error_subcode", "subcode"]).and_then(integer),
            is_transient: error
                .get("is_transient")
                .is_some_and(|value| *value == true || value == "true"),
            message: first(["message", "error_message"])
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_ascii_lowercase(),
            trace_id: error.get("fbtrace_id").and_then(Value::as_str).filter(|id| {
                (1..=32).contains(&id.len())
                    && id
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte))
            }),
        }
    }

    fn mentions(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }
}

/// From the most certain sign to the least, so that a token is never called dead while something else explains the answer.
fn classify(
    call: Call,
    status: u16,
    retry_after: Option<Duration>,
    is_json: bool,
    said: &Said<'_>,
) -> ErrorKind {
    if status == 429 {
        return ErrorKind::Throttled { retry_after };
    }
    // Whatever the body of a 5xx claims, it was written by something that was failing.
    if !is_json || status >= 500 || (300..400).contains(&status) || status == 408 {
        return ErrorKind::Transient;
    }
    if matches!(said.code, Some(4 | 17 | 32 | 341 | 613 | 368)) {
        return ErrorKind::Throttled { retry_after };
    }
    if said.is_transient {
        return ErrorKind::Transient;
    }
    if matches!(said.code, Some(102 | 190))
        && let Some(cause) = said.subcode.and_then(cause)
    {
        return ErrorKind::NeedsReauthorization(cause);
    }
    if let Some(problem) = configuration_problem(call, said) {
        return ErrorKind::Configuration(problem);
    }
    // Meta documents no body for this refusal, so the words are all there is.
    if call == Call::Refresh
        && said.mentions(&[
            "24 hours",
            "24 hrs",
            "24h",
            "at least 24",
            "too young",
            "old enough",
        ])
    {
        return ErrorKind::TooYoung;
    }
    if call == Call::ExchangeCode && is_code_unusable(said) {
        return ErrorKind::CodeUnusable;
    }
    match said.code {
        Some(1 | 2) => ErrorKind::Transient,
        Some(102) => ErrorKind::NeedsReauthorization(ReauthorizationCause::SessionInvalid),
        Some(190) => ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid),
        Some(10 | 200..=299) => ErrorKind::Permission,
        _ => ErrorKind::Rejected,
    }
}

/// Source: Meta, "Handling errors"; 493 from the issue threads of Facebook clients.
fn cause(subcode: u64) -> Option<ReauthorizationCause> {
    match subcode {
        458 => Some(ReauthorizationCause::AppRemoved),
        459 => Some(ReauthorizationCause::Checkpoint),
        460 => Some(ReauthorizationCause::PasswordChanged),
        463 | 493 => Some(ReauthorizationCause::Expired),
        464 => Some(ReauthorizationCause::Unconfirmed),
        467 => Some(ReauthorizationCause::Invalid),
        _ => None,
    }
}

fn configuration_problem(call: Call, said: &Said<'_>) -> Option<ConfigurationProblem> {
    match said.code {
        // "URL blocked" and "insecure redirect": the page's own seven digits.
        Some(1_349_168 | 1_349_187 | 191) => return Some(ConfigurationProblem::RedirectMismatch),
        Some(1_349_026 | 4_476_002) => return Some(ConfigurationProblem::WrongAppId),
        Some(1_349_245) => return Some(ConfigurationProblem::Other),
        _ => {}
    }
    // The Graph API answers a wrong secret with code 1, the same as for an unknown failure, so the words come first.
    if said.mentions(&["client secret", "client_secret", "app secret"]) {
        return Some(ConfigurationProblem::WrongAppSecret);
    }
    if said.code == Some(101)
        || said.mentions(&[
            "validating application",
            "client_id",
            "client id",
            "invalid platform app",
            "no app id",
        ])
    {
        return Some(ConfigurationProblem::WrongAppId);
    }
    // Only this call sends one.
    if call == Call::ExchangeCode
        && (said.subcode == Some(36008) || said.mentions(&["redirect_uri", "redirect uri"]))
    {
        return Some(ConfigurationProblem::RedirectMismatch);
    }
    None
}

/// The first phrase is Threads' own; the others, and the subcodes, are those of Facebook Login on the same Graph API.
fn is_code_unusable(said: &Said<'_>) -> bool {
    matches!(said.subcode, Some(36007 | 36009))
        || said.mentions(&[
            "matching code was not found",
            "already used",
            "code has been used",
            "code has expired",
            "code is expired",
            "invalid authorization code",
            "invalid verification code",
            "validating verification code",
        ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(call: Call, status: u16, body: &str) -> Error {
        Error::from_answer(call, status, None, Json::parse(body.as_bytes()).as_ref(), &[])
    }

    fn envelope(code: impl Into<Value>, subcode: impl Into<Value>, message: &str) -> String {
        let (code, subcode) = (code.into(), subcode.into());
        json!({"error": {"message": message, "type": "OAuthException", "code": code, "error_subcode": subcode}})
            .to_string()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn codes_and_subcodes_are_classified() {
        use ReauthorizationCause as Cause;
        const THROTTLED: ErrorKind = ErrorKind::Throttled { retry_after: None };
        let mut table = vec![
            (1, None, ErrorKind::Transient),
            (2, None, ErrorKind::Transient),
            (3, None, ErrorKind::Rejected),
            (9, None, ErrorKind::Rejected),
            (11, None, ErrorKind::Rejected),
            (100, None, ErrorKind::Rejected),
            (100, Some(33), ErrorKind::Rejected),
            (103, None, ErrorKind::Rejected),
            (199, None, ErrorKind::Rejected),
            (300, None, ErrorKind::Rejected),
            // A subcode alone says nothing about a token.
            (100, Some(463), ErrorKind::Rejected),
            (0, Some(460), ErrorKind::Rejected),
            (10, None, ErrorKind::Permission),
            (200, None, ErrorKind::Permission),
            (299, None, ErrorKind::Permission),
            (
                101,
                None,
                ErrorKind::Configuration(ConfigurationProblem::WrongAppId),
            ),
            (
                1_349_026,
                None,
                ErrorKind::Configuration(ConfigurationProblem::WrongAppId),
            ),
            (
                4_476_002,
                None,
                ErrorKind::Configuration(ConfigurationProblem::WrongAppId),
            ),
            (
                1_349_168,
                None,
                ErrorKind::Configuration(ConfigurationProblem::RedirectMismatch),
            ),
            (
                1_349_187,
                None,
                ErrorKind::Configuration(ConfigurationProblem::RedirectMismatch),
            ),
            (
                1_349_245,
                None,
                ErrorKind::Configuration(ConfigurationProblem::Other),
            ),
            (190, None, ErrorKind::NeedsReauthorization(Cause::Invalid)),
            (190, Some(1), ErrorKind::NeedsReauthorization(Cause::Invalid)),
            // More than sixteen, and more than thirty-two bits.
            (
                190,
                Some(2_207_052),
                ErrorKind::NeedsReauthorization(Cause::Invalid),
            ),
            (
                190,
                Some(u64::MAX),
                ErrorKind::NeedsReauthorization(Cause::Invalid),
            ),
            (102, None, ErrorKind::NeedsReauthorization(Cause::SessionInvalid)),
            (u64::MAX, None, ErrorKind::Rejected),
            // 190 + 2^16, and + 2^32: not a dead token to anyone who keeps all bits.
            (65_726, None, ErrorKind::Rejected),
            (4_294_967_486, None, ErrorKind::Rejected),
        ];
        table.extend([4, 17, 32, 341, 368, 613].map(|code| (code, None, THROTTLED)));
        for code in [102, 190] {
            for (subcode, cause) in [
                (458, Cause::AppRemoved),
                (459, Cause::Checkpoint),
                (460, Cause::PasswordChanged),
                (463, Cause::Expired),
                (464, Cause::Unconfirmed),
                (467, Cause::Invalid),
                (493, Cause::Expired),
            ] {
                table.push((code, Some(subcode), ErrorKind::NeedsReauthorization(cause)));
            }
        }
        for (code, subcode, expected) in table {
            // As numbers, as strings, under a 400 and under a 200.
            for status in [200, 400, 401, 403] {
                for body in [
                    envelope(code, subcode, "Something"),
                    envelope(
                        code.to_string(),
                        subcode.map(|subcode| subcode.to_string()),
                        "Something",
                    ),
                ] {
                    let error = refused(Call::Refresh, status, &body);
                    assert_eq!(error.kind(), &expected, "{status} {body}");
                    assert_eq!((error.code(), error.subcode()), (Some(code), subcode), "{body}");
                }
                // Whatever else it says, it is passing when Meta says so, or when the server itself fails.
                let passing =
                    envelope(code, subcode, "x").replace("\"code\"", "\"is_transient\":true,\"code\"");
                let kind = *refused(Call::Refresh, status, &passing).kind();
                assert!(
                    matches!(kind, ErrorKind::Transient | ErrorKind::Throttled { .. }),
                    "{passing}"
                );
            }
            for status in [408, 500, 502, 503, 504, 599, 301, 302, 307] {
                let error = refused(Call::Refresh, status, &envelope(code, subcode, "x"));
                assert_eq!(error.kind(), &ErrorKind::Transient, "{status} {code}");
            }
            assert_eq!(
                refused(Call::Refresh, 429, &envelope(code, subcode, "x")).kind(),
                &THROTTLED
            );
        }
    }

    #[test]
    fn words_decide_where_codes_do_not() {
        use ConfigurationProblem::{RedirectMismatch, WrongAppId, WrongAppSecret};
        let all = [
            Call::ExchangeCode,
            Call::ExchangeLongLived,
            Call::Refresh,
            Call::AppToken,
        ];
        let exchange = &all[..1];
        let refresh = &all[2..3];
        for (calls, code, message, expected) in [
            (
                &all[..],
                1,
                "Error validating client secret.",
                ErrorKind::Configuration(WrongAppSecret),
            ),
            (
                &all[..],
                100,
                "Missing client_secret parameter.",
                ErrorKind::Configuration(WrongAppSecret),
            ),
            (
                &all[..],
                101,
                "Error validating application. Cannot get application info due to a system error.",
                ErrorKind::Configuration(WrongAppId),
            ),
            (
                &all[..],
                190,
                "Error validating application. Application has been deleted.",
                ErrorKind::Configuration(WrongAppId),
            ),
            (
                exchange,
                400,
                "Invalid platform app",
                ErrorKind::Configuration(WrongAppId),
            ),
            (
                exchange,
                100,
                "Error validating verification code. Please make sure your redirect_uri is identical to the one you \
                 used in the OAuth dialog request",
                ErrorKind::Configuration(RedirectMismatch),
            ),
            (refresh, 100, "redirect_uri", ErrorKind::Rejected),
            (
                exchange,
                100,
                "This authorization code has been used.",
                ErrorKind::CodeUnusable,
            ),
            (
                exchange,
                100,
                "This authorization code has expired.",
                ErrorKind::CodeUnusable,
            ),
            (
                refresh,
                100,
                "This authorization code has expired.",
                ErrorKind::Rejected,
            ),
            (
                refresh,
                10,
                "The token must be at least 24 hours old",
                ErrorKind::TooYoung,
            ),
            (
                refresh,
                190,
                "Access token is too young to be refreshed",
                ErrorKind::TooYoung,
            ),
            (
                refresh,
                1,
                "Tokens younger than 24 HOURS cannot be refreshed",
                ErrorKind::TooYoung,
            ),
            (exchange, 100, "at least 24 hours", ErrorKind::Rejected),
        ] {
            for &call in calls {
                let body = envelope(code, Value::Null, message);
                assert_eq!(refused(call, 400, &body).kind(), &expected, "{call} {body}");
            }
        }
        // Known to be dead, whatever the words.
        let dead = refused(Call::Refresh, 400, &envelope(190, 463, "expired 24 hours ago"));
        assert_eq!(
            dead.kind(),
            &ErrorKind::NeedsReauthorization(ReauthorizationCause::Expired)
        );
    }

    #[test]
    fn the_flat_shapes_are_read_too() {
        for (call, body, code, expected) in [
            (
                Call::ExchangeCode,
                r#"{"error_type":"OAuthException","code":400,"error_message":"Matching code was not found or was already used"}"#,
                Some(400),
                ErrorKind::CodeUnusable,
            ),
            (
                Call::ExchangeCode,
                r#"{"error_message":"Blocked","error_code":"1349168"}"#,
                Some(1_349_168),
                ErrorKind::Configuration(ConfigurationProblem::RedirectMismatch),
            ),
            (
                Call::Me,
                r#"{"error_message":"x","error_code":190}"#,
                Some(190),
                ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid),
            ),
            (
                Call::Me,
                r#"{"error":"invalid_token"}"#,
                None,
                ErrorKind::Rejected,
            ),
            (Call::Me, "{}", None, ErrorKind::Rejected),
            (Call::Me, r#"{"error":{"code":-190}}"#, None, ErrorKind::Rejected),
            (Call::Me, r#"{"error":{"code":190.0}}"#, None, ErrorKind::Rejected),
            (Call::Me, r#"{"error":{"code":[190]}}"#, None, ErrorKind::Rejected),
            (Call::Me, "<html>190</html>", None, ErrorKind::Transient),
            (Call::Me, "", None, ErrorKind::Transient),
            (Call::Me, "[]", None, ErrorKind::Transient),
            (Call::Me, "\"error\"", None, ErrorKind::Transient),
            (Call::Me, r#"{"error":{"code":190,"#, None, ErrorKind::Transient),
        ] {
            for status in [400, 401, 404] {
                let error = refused(call, status, body);
                assert_eq!((error.kind(), error.code()), (&expected, code), "{body}");
            }
        }
    }

    #[test]
    fn an_error_under_a_200_is_noticed() {
        for (call, body, expected) in [
            (Call::Refresh, json!({"error": {"code": 1}}), true),
            (Call::Refresh, json!({"error": "x"}), true),
            (
                Call::Refresh,
                json!({"error_message": "x", "error_code": 1}),
                true,
            ),
            (Call::Refresh, json!({"access_token": "x", "error": null}), false),
            (Call::Other, json!({"error": {"code": 1}}), true),
            (
                Call::Other,
                json!({"id": "1", "status": "ERROR", "error_message": "FAILED_DOWNLOADING"}),
                false,
            ),
        ] {
            assert_eq!(says_error(call, &body), expected, "{call} {body}");
        }
    }

    #[test]
    fn retry_after_is_in_seconds_and_bounded() {
        for (header, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86401", Some(86_400)),
            ("18446744073709551615", Some(86_400)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header), expected.map(Duration::from_secs), "{header}");
        }
        let body = Json::parse(envelope(4, Value::Null, "x").as_bytes());
        let wait = Some(Duration::from_mins(1));
        for (status, body) in [(429, None), (400, body.as_ref())] {
            let error = Error::from_answer(Call::Me, status, wait, body, &[]);
            assert_eq!(error.kind(), &ErrorKind::Throttled { retry_after: wait });
        }
    }

    #[test]
    fn the_text_is_a_fixed_sentence_with_numbers() {
        let body = r#"{"error":{"message":"<b>CANARY</b>","type":"CANARY","code":190,"error_subcode":460,
            "error_user_msg":"CANARY","fbtrace_id":"F0n/KYH+Z5K"}}"#;
        let error = refused(Call::Refresh, 400, body);
        assert_eq!(
            error.to_string(),
            "refresh: the access token ended when the person changed the password (HTTP 400, code 190, subcode 460)"
        );
        assert_eq!(error.trace_id(), Some("F0n/KYH+Z5K"));
        assert!(!format!("{error:?}").contains("CANARY"));
        assert_eq!(
            Error::new(Call::Me, ErrorKind::Malformed).to_string(),
            "me: Meta's answer lacks what it must have"
        );
    }

    #[test]
    fn a_trace_id_that_echoes_what_was_sent_is_dropped() {
        for (id, sent, expected) in [
            ("AbC", "THQVJtoken", Some("AbC")),
            ("THQVJtoken", "THQVJtoken", None),
            ("QVJto", "THQVJtoken", None),
            ("xTHQVJtokenx", "THQVJtoken", None),
            ("<script>", "a", None),
            ("a b", "c", None),
            (&"a".repeat(33), "c", None),
        ] {
            let body = Json::parse(json!({"error": {"fbtrace_id": id}}).to_string().as_bytes());
            let error = Error::from_answer(Call::Me, 400, None, body.as_ref(), &[sent]);
            assert_eq!(error.trace_id(), expected, "{id}");
        }
    }

    #[test]
    fn names_are_stable() {
        for cause in ReauthorizationCause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
        assert_eq!(
            "".parse::<ReauthorizationCause>().unwrap_err().to_string(),
            "expected one of expired, password_changed, app_removed, checkpoint, unconfirmed, session_invalid, invalid"
        );
        let kinds = [
            (ErrorKind::Transient, "transient", true),
            (ErrorKind::Throttled { retry_after: None }, "throttled", true),
            (
                ErrorKind::NeedsReauthorization(ReauthorizationCause::Expired),
                "needs_reauthorization",
                false,
            ),
            (ErrorKind::Permission, "permission", false),
            (ErrorKind::CodeUnusable, "code_unusable", false),
            (
                ErrorKind::Configuration(ConfigurationProblem::Other),
                "configuration",
                false,
            ),
            (ErrorKind::TooYoung, "too_young", true),
            (ErrorKind::Malformed, "malformed", true),
            (ErrorKind::Rejected, "rejected", false),
        ];
        for (kind, name, retryable) in kinds {
            assert_eq!((kind.as_str(), kind.is_retryable()), (name, retryable));
        }
    }
}
