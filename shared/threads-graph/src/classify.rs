//! Meta's answers to failed calls, and their meaning.
//!
//! Owns Meta's codes and phrases. Calls a token dead only by the codes that Meta documents for it.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::call::Call;
use crate::dialog::DialogError;
use crate::error_kind::{ConfigurationProblem, ErrorKind, ReauthorizationCause};
use crate::json::{Json, integer};

/// The longest accepted wait of a `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// The subcode of an account that Meta has restricted. Its token is not dead.
const ACCOUNT_RESTRICTED: u64 = 4_279_013;

/// Meta's words, in lower case, where its numbers do not tell a meaning apart.
pub(crate) mod words {
    pub(crate) const APP_BLOCKED: &[&str] = &[
        "api access blocked",
        "api access deactivated",
        "api access disabled",
        "application has been deleted",
        "application has been disabled",
    ];
    /// Of the app id that was sent; without one, of the app.
    pub(crate) const APP: &[&str] = &["validating application"];
    pub(crate) const TESTER: &[&str] = &["insufficient developer role"];
    pub(crate) const APP_SECRET: &[&str] = &["client secret", "client_secret", "app secret"];
    pub(crate) const APP_ID: &[&str] = &["client_id", "client id", "invalid platform app", "no app id"];
    pub(crate) const REDIRECT: &[&str] = &["redirect_uri", "redirect uri"];
    pub(crate) const TOO_YOUNG: &[&str] =
        &["24 hours", "24 hrs", "24h", "at least 24", "too young", "old enough"];
    /// The first is Threads' own; the others are those of Facebook Login on the same Graph API.
    pub(crate) const CODE: &[&str] = &[
        "matching code was not found",
        "already used",
        "code has been used",
        "code has expired",
        "code is expired",
        "invalid authorization code",
        "invalid verification code",
        "validating verification code",
    ];
    #[cfg(test)]
    pub(crate) const ALL: [&[&str]; 8] =
        [APP_BLOCKED, APP, TESTER, APP_SECRET, APP_ID, REDIRECT, TOO_YOUNG, CODE];
}

/// The wait of a `Retry-After` header, if it is in seconds.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// The longest host name there can be, in characters.
const MAX_HOST: usize = 253;

/// The host that a `Location` header leads to. `sent` are the values of the request: a host with
/// one of them in it, or a long part of one, is an echo, and may be a secret.
pub(crate) fn redirect_host(from: &Url, location: &str, sent: &[&str]) -> Option<String> {
    const LONG: usize = 12;
    // The host of any other scheme's URL keeps its capitals.
    let to = from.join(location).ok().filter(|to| matches!(to.scheme(), "http" | "https"))?;
    let host = to.host_str().filter(|host| (1..=MAX_HOST).contains(&host.len()))?;
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    // The host is in lower case.
    let is_echo = sent.iter().map(|sent| sent.to_ascii_lowercase()).any(|sent| {
        (sent.len() >= LONG && host.contains(&sent))
            || host.split('.').any(|label| label.len() >= LONG && sent.contains(label))
    });
    (is_host && !is_echo).then(|| host.to_owned())
}

/// The known hosts of Meta's own pages, with and without `www.`.
const PAGE_HOSTS: [&str; 2] = ["threads.com", "threads.net"];

/// The host to which Meta's authorization page redirects permanently, unless it is a known one.
pub(crate) fn page_moved_to(page: &Url, status: u16, location: Option<&str>) -> Option<String> {
    let bare = |host: &str| host.strip_prefix("www.").unwrap_or(host).to_owned();
    let host = location.filter(|_| matches!(status, 301 | 308));
    let host = redirect_host(page, host?, &[])?;
    let is_known = page.host_str().is_some_and(|own| bare(own) == bare(&host))
        || PAGE_HOSTS.contains(&bare(&host).as_str());
    (!is_known).then_some(host)
}

/// Returns true if a body reports an error, whatever the status: a 200 may carry one.
pub(crate) fn says_error(call: Call, body: &Value) -> bool {
    if call == Call::Other {
        // The state of a media container has an `error_message` of its own, which is data.
        return body.get("error").is_some_and(Value::is_object);
    }
    ["error", "error_message", "error_type", "error_code"]
        .iter()
        .any(|name| body.get(name).is_some_and(|value| !value.is_null() && *value != false))
}

/// An error in a response, in any of the three shapes seen:
///
/// - `{"error":{"message","type","code","error_subcode","is_transient","fbtrace_id"}}`, the Graph
///   API's;
/// - `{"error_type","code","error_message"}`, that of the code exchange;
/// - `{"error_message","error_code"}`, that of the authorization page.
#[derive(Default)]
pub(crate) struct Said<'a> {
    is_json: bool,
    pub(crate) code: Option<u64>,
    pub(crate) subcode: Option<u64>,
    is_transient: bool,
    message: String,
    pub(crate) trace_id: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// `None` is a body that is not a JSON object.
    pub(crate) fn read(body: Option<&'a Json>) -> Self {
        let Some(body) = body.map(Json::value) else {
            return Self::default();
        };
        let error = body.get("error").filter(|error| error.is_object()).unwrap_or(body);
        let first =
            |names: [&str; 2]| names.iter().find_map(|name| error.get(name).filter(|value| !value.is_null()));
        Self {
            is_json: true,
            code: first(["code", "error_code"]).and_then(integer),
            subcode: first(["error_subcode", "subcode"]).and_then(integer),
            is_transient: error.get("is_transient").is_some_and(|value| *value == true || value == "true"),
            message: first(["message", "error_message"])
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_ascii_lowercase(),
            trace_id: error.get("fbtrace_id").and_then(Value::as_str).filter(|id| {
                (1..=32).contains(&id.len())
                    && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte))
            }),
        }
    }

    /// Ordered from the most certain sign to the least, so that a token is never called dead while
    /// something else explains the response.
    pub(crate) fn classify(&self, call: Call, status: u16, retry_after: Option<Duration>) -> ErrorKind {
        if status == 429 {
            return ErrorKind::Throttled { retry_after };
        }
        if matches!(status, 301 | 308) {
            return ErrorKind::Configuration(ConfigurationProblem::Moved);
        }
        // The body of a 5xx comes from a failing server, and does not count.
        if !self.is_json || status >= 500 || (300..400).contains(&status) || status == 408 {
            return ErrorKind::Transient;
        }
        if matches!(self.code, Some(4 | 17 | 32 | 341 | 613 | 368)) {
            return ErrorKind::Throttled { retry_after };
        }
        if self.is_transient {
            return ErrorKind::Transient;
        }
        // A refusal of the app is not about an account, whatever the codes.
        if self.is_app_blocked(call) {
            return ErrorKind::Configuration(ConfigurationProblem::AppBlocked);
        }
        if self.subcode == Some(ACCOUNT_RESTRICTED) {
            return ErrorKind::Rejected;
        }
        if matches!(self.code, Some(102 | 190))
            && let Some(cause) = self.subcode.and_then(cause)
        {
            return ErrorKind::NeedsReauthorization(cause);
        }
        if let Some(problem) = self.configuration_problem(call) {
            return ErrorKind::Configuration(problem);
        }
        // Meta documents no body for this refusal, so only the words identify it.
        if call == Call::Refresh && self.mentions(words::TOO_YOUNG) {
            return ErrorKind::TooYoung;
        }
        if call == Call::ExchangeCode && self.is_code_unusable() {
            return ErrorKind::CodeUnusable;
        }
        match self.code {
            Some(1 | 2) => ErrorKind::Transient,
            Some(102) => ErrorKind::NeedsReauthorization(ReauthorizationCause::SessionInvalid),
            Some(190) => ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid),
            Some(10 | 200..=299) => ErrorKind::Permission,
            _ => ErrorKind::Rejected,
        }
    }

    /// A wrong app id has the same code and words in the calls that send one.
    fn is_app_blocked(&self, call: Call) -> bool {
        let sends_an_id = matches!(call, Call::ExchangeCode | Call::AppToken);
        self.mentions(words::APP_BLOCKED)
            || (!sends_an_id && (self.code == Some(101) || self.mentions(words::APP)))
    }

    fn configuration_problem(&self, call: Call) -> Option<ConfigurationProblem> {
        if let Some(error) = self.code.and_then(DialogError::from_code) {
            return Some(error.problem());
        }
        if self.mentions(words::TESTER) {
            return Some(ConfigurationProblem::NotATester);
        }
        // The Graph API answers a wrong secret with code 1, the same as for an unknown failure, so
        // the words come first.
        if self.mentions(words::APP_SECRET) {
            return Some(ConfigurationProblem::WrongAppSecret);
        }
        if self.code == Some(101) || self.mentions(words::APP) || self.mentions(words::APP_ID) {
            return Some(ConfigurationProblem::WrongAppId);
        }
        // Only this call sends one.
        if call == Call::ExchangeCode && (self.subcode == Some(36008) || self.mentions(words::REDIRECT)) {
            return Some(ConfigurationProblem::RedirectMismatch);
        }
        None
    }

    /// The subcodes are those of Facebook Login on the same Graph API.
    fn is_code_unusable(&self) -> bool {
        matches!(self.subcode, Some(36007 | 36009)) || self.mentions(words::CODE)
    }

    fn mentions(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(call: Call, status: u16, body: &str) -> (ErrorKind, Option<u64>, Option<u64>) {
        let body = Json::parse(body.as_bytes());
        let said = Said::read(body.as_ref());
        (said.classify(call, status, None), said.code, said.subcode)
    }

    fn envelope(code: impl Into<Value>, subcode: impl Into<Value>, message: &str) -> String {
        let (code, subcode) = (code.into(), subcode.into());
        json!({"error": {"message": message, "type": "OAuthException", "code": code, "error_subcode": subcode}})
            .to_string()
    }

    #[test]
    fn a_page_has_moved_if_it_leads_for_good_to_a_host_that_is_not_known() {
        let page = Url::parse("https://threads.com/oauth/authorize?client_id=1").unwrap();
        for (status, location, expected) in [
            (301, "https://login.example/oauth?x=CANARY", Some("login.example")),
            (308, "//login.example/", Some("login.example")),
            (302, "https://login.example/", None),
            (200, "https://login.example/", None),
            (301, "/oauth/authorize/", None),
            (301, "https://www.threads.com/oauth/authorize", None),
            (301, "https://www.threads.net/login", None),
            (301, "https://threads.com.example/", Some("threads.com.example")),
        ] {
            let found = page_moved_to(&page, status, Some(location));
            assert_eq!(found.as_deref(), expected, "{status} {location}");
        }
        assert_eq!(page_moved_to(&page, 301, None), None);
    }

    #[test]
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
            // A subcode alone does not condemn a token.
            (100, Some(463), ErrorKind::Rejected),
            (0, Some(460), ErrorKind::Rejected),
            (10, None, ErrorKind::Permission),
            (200, None, ErrorKind::Permission),
            (299, None, ErrorKind::Permission),
            (101, None, ErrorKind::Configuration(ConfigurationProblem::AppBlocked)),
            (1_349_026, None, ErrorKind::Configuration(ConfigurationProblem::WrongAppId)),
            (4_476_002, None, ErrorKind::Configuration(ConfigurationProblem::WrongAppId)),
            (1_349_168, None, ErrorKind::Configuration(ConfigurationProblem::RedirectMismatch)),
            (1_349_187, None, ErrorKind::Configuration(ConfigurationProblem::RedirectMismatch)),
            (1_349_245, None, ErrorKind::Configuration(ConfigurationProblem::NotATester)),
            (190, Some(4_279_013), ErrorKind::Rejected),
            (102, Some(4_279_013), ErrorKind::Rejected),
            (10, Some(4_279_013), ErrorKind::Rejected),
            (2, Some(4_279_013), ErrorKind::Rejected),
            (4_279_013, None, ErrorKind::Rejected),
            (190, None, ErrorKind::NeedsReauthorization(Cause::Invalid)),
            (190, Some(1), ErrorKind::NeedsReauthorization(Cause::Invalid)),
            // More than sixteen, and more than thirty-two bits.
            (190, Some(2_207_052), ErrorKind::NeedsReauthorization(Cause::Invalid)),
            (190, Some(u64::MAX), ErrorKind::NeedsReauthorization(Cause::Invalid)),
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
                    envelope(code.to_string(), subcode.map(|subcode| subcode.to_string()), "Something"),
                ] {
                    let (kind, read_code, read_subcode) = refused(Call::Refresh, status, &body);
                    assert_eq!(kind, expected, "{status} {body}");
                    assert_eq!((read_code, read_subcode), (Some(code), subcode), "{body}");
                }
                // An error is transient if Meta marks it so, or if the server itself fails,
                // whatever its body.
                let passing =
                    envelope(code, subcode, "x").replace("\"code\"", "\"is_transient\":true,\"code\"");
                let (kind, ..) = refused(Call::Refresh, status, &passing);
                assert!(matches!(kind, ErrorKind::Transient | ErrorKind::Throttled { .. }), "{passing}");
            }
            for status in [408, 500, 502, 503, 504, 599, 300, 302, 303, 307] {
                let (kind, ..) = refused(Call::Refresh, status, &envelope(code, subcode, "x"));
                assert_eq!(kind, ErrorKind::Transient, "{status} {code}");
            }
            for status in [301, 308] {
                for body in [&envelope(code, subcode, "x"), "", "<html>"] {
                    let (kind, ..) = refused(Call::Refresh, status, body);
                    assert_eq!(
                        kind,
                        ErrorKind::Configuration(ConfigurationProblem::Moved),
                        "{status} {code}"
                    );
                }
            }
            assert_eq!(refused(Call::Refresh, 429, &envelope(code, subcode, "x")).0, THROTTLED);
        }
    }

    #[test]
    fn words_decide_where_codes_do_not() {
        use ConfigurationProblem::{AppBlocked, NotATester, RedirectMismatch, WrongAppId, WrongAppSecret};
        let all = [Call::ExchangeCode, Call::ExchangeLongLived, Call::Refresh, Call::AppToken];
        let exchange = &all[..1];
        let refresh = &all[2..3];
        let with_id = [Call::ExchangeCode, Call::AppToken];
        let with_token = [Call::ExchangeLongLived, Call::Refresh, Call::Me, Call::DebugToken, Call::Other];
        for (calls, code, message, expected) in [
            (&all[..], 1, "Error validating client secret.", ErrorKind::Configuration(WrongAppSecret)),
            (&all[..], 100, "Missing client_secret parameter.", ErrorKind::Configuration(WrongAppSecret)),
            (
                &with_id[..],
                101,
                "Error validating application. Cannot get application info due to a system error.",
                ErrorKind::Configuration(WrongAppId),
            ),
            (
                &with_token[..],
                101,
                "Error validating application. Cannot get application info due to a system error.",
                ErrorKind::Configuration(AppBlocked),
            ),
            (&with_token[..], 190, "Error validating application.", ErrorKind::Configuration(AppBlocked)),
            (
                &all[..],
                190,
                "Error validating application. Application has been deleted.",
                ErrorKind::Configuration(AppBlocked),
            ),
            (&all[..], 200, "API access blocked.", ErrorKind::Configuration(AppBlocked)),
            (&with_token[..], 200, "(#200) API Access Blocked", ErrorKind::Configuration(AppBlocked)),
            (
                &with_token[..],
                190,
                "API access deactivated. To reactivate, go to the dashboard",
                ErrorKind::Configuration(AppBlocked),
            ),
            (&with_token[..], 200, "Permissions error", ErrorKind::Permission),
            (&all[..], 400, "Insufficient developer role", ErrorKind::Configuration(NotATester)),
            (exchange, 400, "Invalid platform app", ErrorKind::Configuration(WrongAppId)),
            (
                exchange,
                100,
                "Error validating verification code. Please make sure your redirect_uri is identical to the one you \
                 used in the OAuth dialog request",
                ErrorKind::Configuration(RedirectMismatch),
            ),
            (refresh, 100, "redirect_uri", ErrorKind::Rejected),
            (exchange, 100, "This authorization code has been used.", ErrorKind::CodeUnusable),
            (exchange, 100, "This authorization code has expired.", ErrorKind::CodeUnusable),
            (refresh, 100, "This authorization code has expired.", ErrorKind::Rejected),
            (refresh, 10, "The token must be at least 24 hours old", ErrorKind::TooYoung),
            (refresh, 190, "Access token is too young to be refreshed", ErrorKind::TooYoung),
            (refresh, 1, "Tokens younger than 24 HOURS cannot be refreshed", ErrorKind::TooYoung),
            (exchange, 100, "at least 24 hours", ErrorKind::Rejected),
        ] {
            for &call in calls {
                let body = envelope(code, Value::Null, message);
                assert_eq!(refused(call, 400, &body).0, expected, "{call} {body}");
            }
        }
        // About the app, whatever the subcode.
        for subcode in [458, 460, 463, 467] {
            let body = envelope(190, subcode, "Error validating application. Application has been deleted.");
            assert_eq!(refused(Call::Me, 400, &body).0, ErrorKind::Configuration(AppBlocked));
        }
        // Known to be dead, whatever the words.
        let dead = refused(Call::Refresh, 400, &envelope(190, 463, "expired 24 hours ago"));
        assert_eq!(dead.0, ErrorKind::NeedsReauthorization(ReauthorizationCause::Expired));
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
                r#"{"error_type":"THApiException","code":400,"error_message":"Insufficient developer role"}"#,
                Some(400),
                ErrorKind::Configuration(ConfigurationProblem::NotATester),
            ),
            (
                Call::Refresh,
                r#"{"error":{"type":"THApiException","code":190,"error_subcode":463,"message":"x"}}"#,
                Some(190),
                ErrorKind::NeedsReauthorization(ReauthorizationCause::Expired),
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
            (Call::Me, r#"{"error":"invalid_token"}"#, None, ErrorKind::Rejected),
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
                let (kind, read_code, _) = refused(call, status, body);
                assert_eq!((kind, read_code), (expected, code), "{body}");
            }
        }
    }

    #[test]
    fn an_error_under_a_200_is_noticed() {
        for (call, body, expected) in [
            (Call::Refresh, json!({"error": {"code": 1}}), true),
            (Call::Refresh, json!({"error": "x"}), true),
            (Call::Refresh, json!({"error_message": "x", "error_code": 1}), true),
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
    fn of_a_redirect_only_a_harmless_host_is_kept() {
        let from = Url::parse("https://graph.threads.net/me?access_token=THQVJsecrettoken").unwrap();
        let sent = ["THQVJsecrettoken", "th_refresh_token", "id"];
        let long = format!("https://{}/", vec!["a".repeat(60); 5].join("."));
        for (location, expected) in [
            ("https://graph.threads.com/me?access_token=THQVJsecrettoken", Some("graph.threads.com")),
            ("HTTPS://user:pass@Graph.Example:8443/x#y", Some("graph.example")),
            ("//graph.example/x", Some("graph.example")),
            ("/v2/me", Some("graph.threads.net")),
            ("", Some("graph.threads.net")),
            ("http://[2001:db8::1]/", Some("[2001:db8::1]")),
            ("https://bücher.example/", Some("xn--bcher-kva.example")),
            ("https://THQVJsecrettoken/", None),
            ("https://x.thqvjsecrettoken.example/", None),
            ("https://hqvjsecrettok.example/", None),
            ("https://athqvjsecrettokenb.example/", None),
            ("https://a!b.example/", None),
            ("https://<script>/", None),
            ("https://", None),
            ("mailto:x@example.com", None),
            ("foreign://THQVJsecrettoken/", None),
            ("foreign://graph.example/", None),
            ("data:text/html,x", None),
            (&long, None),
        ] {
            assert_eq!(redirect_host(&from, location, &sent).as_deref(), expected, "{location}");
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
            let kind = Said::read(body).classify(Call::Me, status, wait);
            assert_eq!(kind, ErrorKind::Throttled { retry_after: wait });
        }
    }
}
