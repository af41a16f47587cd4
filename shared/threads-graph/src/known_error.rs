//! Meta's known errors, as data: `docs/ERRORS.md` is generated from them.
//!
//! Owns the texts about Meta's numbers and words. Refuses to decide: `classify.rs` does, and a test
//! compares each row with it, and each of its numbers with the rows.

use std::ops::RangeInclusive;

use crate::call::Call;
use crate::classify::words;
use crate::dialog::DialogError;
use crate::error_kind::{ConfigurationProblem, ErrorKind, ReauthorizationCause};

/// An answer of Meta's that has a meaning: by its status, or by its code and subcode, or by words
/// in its message. Of several rows that fit, the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownError {
    /// The calls that it answers; none of them for every call.
    pub calls: &'static [Call],
    /// The HTTP statuses.
    pub statuses: &'static [RangeInclusive<u16>],
    /// The codes.
    pub codes: &'static [RangeInclusive<u64>],
    /// The subcodes, one of which comes with one of the codes, if there are any.
    pub subcodes: &'static [u64],
    /// The words, in lower case, one of which is in Meta's message.
    pub words: &'static [&'static str],
    /// Other signs, in words of ours.
    pub beside: &'static str,
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The error of the authorization dialog, if it is one.
    pub dialog: Option<DialogError>,
    /// The meaning in one sentence, without a stop.
    pub meaning: &'static str,
    /// An answer of this kind.
    pub example: Example,
    /// The source of the row.
    pub source: &'static str,
}

/// An answer of Meta's to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// The call.
    pub call: Call,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'static str,
}

const HANDLING: &str = "Meta: Graph API, Handling Errors";
const LOGIN: &str = "people, of Facebook Login on the same Graph API";
const NO_SOURCE: &str = "nobody: a failing server, whatever its body";

const fn example(call: Call, status: u16, body: &'static str) -> Example {
    Example { call, status, body }
}

/// A row that no answer fits.
const NOTHING: KnownError = KnownError {
    calls: &[],
    statuses: &[],
    codes: &[],
    subcodes: &[],
    words: &[],
    beside: "",
    kind: ErrorKind::Rejected,
    dialog: None,
    meaning: "",
    example: example(Call::Other, 400, "{}"),
    source: HANDLING,
};

/// A number of the dialog's error page.
const fn dialog(
    codes: &'static [RangeInclusive<u64>],
    error: DialogError,
    meaning: &'static str,
    body: &'static str,
    source: &'static str,
) -> KnownError {
    KnownError {
        calls: &[Call::AuthorizationPage],
        codes,
        kind: ErrorKind::Configuration(match error {
            DialogError::UnlistedRedirect | DialogError::InsecureRedirect => {
                ConfigurationProblem::RedirectMismatch
            }
            DialogError::UnknownApp => ConfigurationProblem::WrongAppId,
            DialogError::NotATester => ConfigurationProblem::NotATester,
        }),
        dialog: Some(error),
        meaning,
        example: example(Call::AuthorizationPage, 400, body),
        source,
        ..NOTHING
    }
}

/// A subcode of a dead token.
const fn dead(
    subcodes: &'static [u64],
    cause: ReauthorizationCause,
    meaning: &'static str,
    body: &'static str,
) -> KnownError {
    KnownError {
        codes: &[102..=102, 190..=190],
        subcodes,
        kind: ErrorKind::NeedsReauthorization(cause),
        meaning,
        example: example(Call::Refresh, 400, body),
        ..NOTHING
    }
}

/// The errors that are known. Of several that fit an answer, the first counts.
pub const KNOWN_ERRORS: &[KnownError] = &[
    KnownError {
        statuses: &[429..=429],
        kind: ErrorKind::Throttled { retry_after: None },
        meaning: "there were too many calls; `Retry-After` may say for how long to wait",
        example: example(Call::Refresh, 429, r#"{"error":{"code":4}}"#),
        source: "Meta: Threads API, Overview, Rate limiting",
        ..NOTHING
    },
    KnownError {
        statuses: &[301..=301, 308..=308],
        kind: ErrorKind::Configuration(ConfigurationProblem::Moved),
        meaning: "the API lives at another address",
        example: example(Call::Refresh, 301, ""),
        source: "people: gitroomhq/postiz-app#1819, diwenne/openreply#28",
        ..NOTHING
    },
    KnownError {
        statuses: &[408..=408, 500..=599],
        beside: "no answer; a redirect that is not for good; HTML, nothing or half a body for JSON",
        kind: ErrorKind::Transient,
        meaning: "Meta, or something between, was failing; whatever the body says counts for nothing",
        example: example(Call::Me, 502, "<html>190</html>"),
        source: NO_SOURCE,
        ..NOTHING
    },
    KnownError {
        codes: &[4..=4, 17..=17, 32..=32, 341..=341, 613..=613],
        kind: ErrorKind::Throttled { retry_after: None },
        meaning: "there were too many calls, by the app, for the person or of the kind",
        example: example(
            Call::Me,
            400,
            r#"{"error":{"message":"(#4) Application request limit reached","type":"OAuthException","code":4}}"#,
        ),
        ..NOTHING
    },
    KnownError {
        codes: &[368..=368],
        kind: ErrorKind::Throttled { retry_after: None },
        meaning: "Meta holds something for a breach of its policies, and blocks it for a while",
        example: example(
            Call::Other,
            400,
            r#"{"error":{"message":"The action attempted has been deemed abusive","type":"OAuthException","code":368}}"#,
        ),
        ..NOTHING
    },
    KnownError {
        beside: "`is_transient` is true",
        kind: ErrorKind::Transient,
        meaning: "Meta says itself that it may pass",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"Please retry","type":"OAuthException","code":190,"is_transient":true}}"#,
        ),
        source: "people: many issue threads; Meta's SDKs read the field",
        ..NOTHING
    },
    KnownError {
        words: words::APP_BLOCKED,
        kind: ErrorKind::Configuration(ConfigurationProblem::AppBlocked),
        meaning: "Meta has blocked, disabled or deleted the app, with any code; apps came back after days",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"API access blocked.","type":"OAuthException","code":200}}"#,
        ),
        source: "people: codingbadger/instant-tokens.com#14, #28",
        ..NOTHING
    },
    KnownError {
        calls: &[Call::ExchangeLongLived, Call::Refresh, Call::Me, Call::DebugToken, Call::Other],
        codes: &[101..=101],
        words: words::APP,
        kind: ErrorKind::Configuration(ConfigurationProblem::AppBlocked),
        meaning: "Meta does not find the app that the token belongs to",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"Error validating application.","type":"OAuthException","code":101}}"#,
        ),
        source: "people: codingbadger/instant-tokens.com#28",
        ..NOTHING
    },
    KnownError {
        subcodes: &[4_279_013],
        kind: ErrorKind::Rejected,
        meaning: "Meta has restricted the account; its token is not dead, and the Threads app tells the person why",
        example: example(
            Call::Me,
            403,
            r#"{"error":{"message":"User restricted","type":"THApiException","code":10,"error_subcode":4279013}}"#,
        ),
        source: "people: gitroomhq/postiz-app, threads.provider.ts",
        ..NOTHING
    },
    dead(
        &[458],
        ReauthorizationCause::AppRemoved,
        "the person has removed the app",
        r#"{"error":{"message":"The user has not authorized application","type":"OAuthException","code":190,"error_subcode":458}}"#,
    ),
    dead(
        &[459],
        ReauthorizationCause::Checkpoint,
        "the person has to log in at Meta, which wants to know that it is them",
        r#"{"error":{"message":"The session has been invalidated because the user must pass a checkpoint","type":"OAuthException","code":190,"error_subcode":459}}"#,
    ),
    dead(
        &[460],
        ReauthorizationCause::PasswordChanged,
        "the person has changed the password, or Meta has ended the session for security",
        r#"{"error":{"message":"The session is invalid because the user has changed the password","type":"OAuthException","code":190,"error_subcode":460}}"#,
    ),
    dead(
        &[463],
        ReauthorizationCause::Expired,
        "the token has expired: nobody refreshed it in its 60 days",
        r#"{"error":{"message":"Session has expired","type":"OAuthException","code":190,"error_subcode":463}}"#,
    ),
    KnownError {
        source: LOGIN,
        ..dead(
            &[493],
            ReauthorizationCause::Expired,
            "access to the person's data has expired",
            r#"{"error":{"message":"The user's data access has expired","type":"OAuthException","code":190,"error_subcode":493}}"#,
        )
    },
    dead(
        &[464],
        ReauthorizationCause::Unconfirmed,
        "the person's account is not confirmed",
        r#"{"error":{"message":"The session is invalid because the user is not confirmed","type":"OAuthException","code":190,"error_subcode":464}}"#,
    ),
    dead(
        &[467],
        ReauthorizationCause::Invalid,
        "the token was ended, or replaced by a newer one; seen for tokens that were alive",
        r#"{"error":{"message":"Error validating access token","type":"OAuthException","code":190,"error_subcode":467}}"#,
    ),
    dialog(
        &[191..=191, 1_349_168..=1_349_168],
        DialogError::UnlistedRedirect,
        "\"URL blocked\": the redirect URI is not among those of Meta's dashboard",
        r#"{"error_message":"URL Blocked: This redirect failed because the redirect URI is not whitelisted","error_code":1349168}"#,
        "people: fbsamples/threads_api#13, #18",
    ),
    dialog(
        &[1_349_187..=1_349_187],
        DialogError::InsecureRedirect,
        "the redirect URI is not https",
        r#"{"error_message":"Insecure Login Blocked","error_code":1349187}"#,
        "people: issue threads of other clients",
    ),
    dialog(
        &[1_349_026..=1_349_026, 4_476_002..=4_476_002],
        DialogError::UnknownApp,
        "the app id is not that of a Threads app, or there is none",
        r#"{"error_message":"No app ID was provided in the request","error_code":4476002}"#,
        "people: issue threads of other clients",
    ),
    dialog(
        &[1_349_245..=1_349_245],
        DialogError::NotATester,
        "the person has not accepted the invitation to test the app",
        r#"{"error_message":"The user has not accepted the invite to test the app","error_code":1349245}"#,
        "people: fbsamples/threads_api#8",
    ),
    KnownError {
        calls: &[Call::AuthorizationPage],
        beside: "any other number, such as 1 (\"An unknown error has occurred\"), or a page without one",
        kind: ErrorKind::Configuration(ConfigurationProblem::Other),
        meaning: "Meta's dialog does not go on",
        example: example(
            Call::AuthorizationPage,
            400,
            r#"{"error_message":"An unknown error has occurred.","error_code":1}"#,
        ),
        source: "people: gitroomhq/postiz-app#406, fbsamples/threads_api#24",
        ..NOTHING
    },
    KnownError {
        words: words::TESTER,
        kind: ErrorKind::Configuration(ConfigurationProblem::NotATester),
        meaning: "the app is not published, and the person is no tester of it",
        example: example(
            Call::ExchangeCode,
            400,
            r#"{"error_type":"OAuthException","code":400,"error_message":"Insufficient developer role"}"#,
        ),
        source: "people: jsmrtn/craftagram#16",
        ..NOTHING
    },
    KnownError {
        words: words::APP_SECRET,
        kind: ErrorKind::Configuration(ConfigurationProblem::WrongAppSecret),
        meaning: "the app secret does not belong to the app id, with code 1 as a failure that passes has it",
        example: example(
            Call::ExchangeLongLived,
            400,
            r#"{"error":{"message":"Error validating client secret.","type":"OAuthException","code":1}}"#,
        ),
        source: LOGIN,
        ..NOTHING
    },
    KnownError {
        calls: &[Call::ExchangeCode, Call::AppToken],
        codes: &[101..=101],
        words: words::APP,
        kind: ErrorKind::Configuration(ConfigurationProblem::WrongAppId),
        meaning: "the app id that was sent is not that of a Threads app",
        example: example(
            Call::AppToken,
            400,
            r#"{"error":{"message":"Error validating application. Cannot get application info due to a system error.","type":"OAuthException","code":101}}"#,
        ),
        source: LOGIN,
        ..NOTHING
    },
    KnownError {
        words: words::APP_ID,
        kind: ErrorKind::Configuration(ConfigurationProblem::WrongAppId),
        meaning: "the app id is missing, or is not that of a Threads app",
        example: example(
            Call::ExchangeCode,
            400,
            r#"{"error_type":"OAuthException","code":400,"error_message":"Invalid platform app"}"#,
        ),
        source: "people, of Instagram's sibling API",
        ..NOTHING
    },
    KnownError {
        calls: &[Call::ExchangeCode],
        subcodes: &[36_008],
        words: words::REDIRECT,
        kind: ErrorKind::Configuration(ConfigurationProblem::RedirectMismatch),
        meaning: "the redirect URI is not the one that the person was sent with",
        example: example(
            Call::ExchangeCode,
            400,
            r#"{"error":{"message":"Error validating verification code. Please make sure your redirect_uri is identical","type":"OAuthException","code":100,"error_subcode":36008}}"#,
        ),
        source: LOGIN,
        ..NOTHING
    },
    KnownError {
        calls: &[Call::Refresh],
        words: words::TOO_YOUNG,
        kind: ErrorKind::TooYoung,
        meaning: "the token is younger than 24 hours",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"(#100) The access token must be at least 24 hours old","type":"OAuthException","code":100}}"#,
        ),
        source: "Meta documents the rule, and no body for it",
        ..NOTHING
    },
    KnownError {
        calls: &[Call::ExchangeCode],
        subcodes: &[36_007, 36_009],
        words: words::CODE,
        kind: ErrorKind::CodeUnusable,
        meaning: "the code was used before, is older than an hour, or is none",
        example: example(
            Call::ExchangeCode,
            400,
            r#"{"error_type":"OAuthException","code":400,"error_message":"Matching code was not found or was already used"}"#,
        ),
        source: "Meta: Threads API, Get Access Tokens; the other words: people, of Facebook Login",
        ..NOTHING
    },
    KnownError {
        codes: &[1..=2],
        kind: ErrorKind::Transient,
        meaning: "Meta, unknown error; Meta, service is down",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"An unexpected error has occurred. Please retry your request later.","type":"OAuthException","code":2}}"#,
        ),
        ..NOTHING
    },
    KnownError {
        codes: &[102..=102],
        beside: "without a subcode, or with another one",
        kind: ErrorKind::NeedsReauthorization(ReauthorizationCause::SessionInvalid),
        meaning: "the person's session is not valid any more",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"Session key invalid or no longer valid","type":"OAuthException","code":102}}"#,
        ),
        ..NOTHING
    },
    KnownError {
        codes: &[190..=190],
        beside: "without a subcode, or with another one",
        kind: ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid),
        meaning: "Meta does not take the token, and does not say why; seen for hours and days for tokens that were alive",
        example: example(
            Call::Me,
            400,
            r#"{"error":{"message":"Invalid OAuth access token - Cannot parse access token","type":"OAuthException","code":190}}"#,
        ),
        source: "Meta: Handling Errors; people: stevenschobert/instafeed.js#702, facebook/facebook-ios-sdk#192",
        ..NOTHING
    },
    KnownError {
        codes: &[10..=10, 200..=299],
        kind: ErrorKind::Permission,
        meaning: "a permission was not given, or was taken back; at `me` also the end of access to a private profile",
        example: example(
            Call::Me,
            403,
            r#"{"error":{"message":"(#10) Application does not have permission for this action","type":"OAuthException","code":10}}"#,
        ),
        ..NOTHING
    },
    KnownError {
        codes: &[452..=452],
        meaning: "a short-lived token where a long-lived one is needed, or the reverse",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"Session key invalid. This could be because the session key has an incorrect format","type":"OAuthException","code":452}}"#,
        ),
        source: "people: issue threads of other clients",
        ..NOTHING
    },
    KnownError {
        codes: &[100..=100, 2500..=2500],
        meaning: "a parameter, a path or an id is not right: a mistake of the program that calls",
        example: example(
            Call::Other,
            400,
            r#"{"error":{"message":"Unsupported get request. Object with ID '1' does not exist","type":"THApiException","code":100,"error_subcode":33}}"#,
        ),
        source: "Meta: Handling Errors; people: restfb/restfb#1502, fbsamples/threads_api#27",
        ..NOTHING
    },
    KnownError {
        beside: "a success without a field that it must have",
        kind: ErrorKind::Malformed,
        meaning: "nothing is known: neither that it failed, nor what it gave",
        example: example(Call::Refresh, 200, r#"{"token_type":"bearer","expires_in":5183944}"#),
        source: "people, of Meta's other APIs",
        ..NOTHING
    },
    KnownError {
        beside: "any other refusal",
        meaning: "a number that is not known here; it says nothing about the token",
        example: example(
            Call::Refresh,
            400,
            r#"{"error":{"message":"(#9999999) New","type":"OAuthException","code":9999999}}"#,
        ),
        source: "nobody",
        ..NOTHING
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::classify::Said;
    use crate::json::Json;

    const CALLS: [Call; 7] = [
        Call::ExchangeCode,
        Call::ExchangeLongLived,
        Call::Refresh,
        Call::Me,
        Call::DebugToken,
        Call::AppToken,
        Call::Other,
    ];

    fn kind(call: Call, code: u64, subcode: Option<u64>, message: &str) -> ErrorKind {
        let body = json!({"error": {"message": message, "code": code, "error_subcode": subcode}});
        Said::read(Json::parse(body.to_string().as_bytes()).as_ref()).classify(call, 400, None)
    }

    impl KnownError {
        /// Returns the calls whose answers this row is about. A number of the dialog may also come
        /// back from a call.
        fn of_calls(&self) -> &[Call] {
            if self.calls.is_empty() || self.dialog.is_some() { &CALLS } else { self.calls }
        }

        fn has_numbers(&self, code: u64, subcode: Option<u64>) -> bool {
            let has_code = self.codes.iter().any(|codes| codes.contains(&code));
            let has_subcode = subcode.is_some_and(|subcode| self.subcodes.contains(&subcode));
            match (self.codes.is_empty(), self.subcodes.is_empty()) {
                (true, true) => false,
                (true, false) => has_subcode,
                (false, true) => has_code,
                (false, false) => has_code && has_subcode,
            }
        }
    }

    #[test]
    fn each_row_says_what_the_classifier_decides() {
        for row in KNOWN_ERRORS {
            for &call in row.of_calls() {
                for word in row.words {
                    assert_eq!(kind(call, 0, None, &word.to_uppercase()), row.kind, "{call} {word}");
                }
                let subcodes: Vec<_> = row.subcodes.iter().copied().map(Some).collect();
                let subcodes = if subcodes.is_empty() { vec![None, Some(33)] } else { subcodes };
                let ends = row.codes.iter().flat_map(|codes| [*codes.start(), *codes.end()]);
                let codes: Vec<_> = ends.collect();
                let codes = if codes.is_empty() { vec![0, 10, 190] } else { codes };
                for subcode in subcodes {
                    for &code in codes.iter().filter(|code| row.has_numbers(**code, subcode)) {
                        assert_eq!(kind(call, code, subcode, "x"), row.kind, "{call} {code} {subcode:?}");
                    }
                }
            }
            for status in row.statuses.iter().flat_map(|statuses| [*statuses.start(), *statuses.end()]) {
                assert_eq!(Said::default().classify(Call::Refresh, status, None), row.kind, "{status}");
            }
        }
    }

    #[test]
    fn each_number_and_word_of_the_classifier_has_a_row() {
        const DIALOG: [u64; 5] = [1_349_026, 1_349_168, 1_349_187, 1_349_245, 4_476_002];
        // Each code with some subcodes, and each subcode with some codes.
        let codes = (0..=700).chain([2_500]).chain(DIALOG);
        let subcodes = (450..=500).chain(36_000..=36_010).chain([33, 4_279_013]);
        let of_codes = codes
            .flat_map(|code| [None, Some(463), Some(36_008), Some(4_279_013)].map(|subcode| (code, subcode)));
        let of_subcodes = subcodes
            .flat_map(|subcode| [0, 1, 4, 10, 100, 101, 102, 190, 200].map(|code| (code, Some(subcode))));
        let mut special = 0;
        for (code, subcode) in of_codes.chain(of_subcodes) {
            for call in CALLS {
                let kind = kind(call, code, subcode, "x");
                if kind == ErrorKind::Rejected {
                    continue;
                }
                let row = KNOWN_ERRORS
                    .iter()
                    .find(|row| row.has_numbers(code, subcode) && row.of_calls().contains(&call))
                    .unwrap_or_else(|| panic!("no row has {call} {code} {subcode:?}"));
                assert_eq!(row.kind, kind, "{call} {code} {subcode:?}");
                special += 1;
            }
        }
        assert!(special > 2_000, "{special}");
        for words in words::ALL {
            assert!(KNOWN_ERRORS.iter().any(|row| row.words == words), "{words:?}");
        }
        assert!(crate::dialog::NUMBERS.iter().all(|(code, error)| {
            KNOWN_ERRORS.iter().any(|row| row.dialog == Some(*error) && row.has_numbers(*code, None))
        }));
    }
}
