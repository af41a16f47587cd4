//! The redirect back through a person's browser.
//!
//! Owns the strict reading of the *raw* query string. Refuses repeated parameters, a `code` beside
//! an `error`, and any byte that two parsers might read differently: frameworks commonly take the
//! first of two values, turn bad UTF-8 into U+FFFD and let NUL through, and the next layer then
//! reads a text that was not checked. Errors never contain text of the query.

use std::borrow::Cow;
use std::fmt;

use crate::names;
use crate::secret::AuthorizationCode;
use crate::state::State;

/// The longest query string that is read, in bytes.
const MAX_QUERY: usize = 8 * 1024;
/// The longest authorization code that is accepted, in bytes once decoded.
const MAX_CODE: usize = 2048;

/// The known parameters. Every other one is ignored.
const KNOWN: [&str; 7] =
    ["code", "state", "error", "error_reason", "error_description", "error_code", "error_message"];
const CODE: usize = 0;
const STATE: usize = 1;
const ERROR: usize = 2;
const ERROR_REASON: usize = 3;
const ERROR_CODE: usize = 5;

/// The fragments that Meta appends, the longer one first. A fragment stays in the browser, but some
/// encode it into the last parameter, and people paste it.
const FRAGMENTS: [&str; 2] = ["#_=_", "#_"];

/// The query that a person's browser brought back. `Debug` shows neither the code nor the state.
#[derive(Clone)]
pub enum CallbackParams {
    /// The person agreed.
    Granted {
        /// The code, for one [`Graph::exchange_code`](crate::Graph::exchange_code) within an hour.
        code: AuthorizationCode,
        /// The state that came back. Compare it with the one that was sent:
        /// [`State::matches`].
        state: State,
    },
    /// The person, or Meta for them, declined: `error=access_denied`.
    Denied {
        /// Meta's own sample shows a denial without a state, so it may be absent. A denial whose
        /// state is absent or wrong proves nothing about the person.
        state: Option<State>,
        /// The kind of denial.
        reason: DenialReason,
    },
    /// Meta failed, or refused the app: any other `error`, or an `error_code` or `error_message`
    /// without one. It does not show the person's decision.
    Failed {
        /// The state, which may be absent as in a denial.
        state: Option<State>,
        /// Meta's error code, if present. [`DialogError::from_code`](crate::DialogError::from_code)
        /// maps the known ones. The query's message can be forged, and is dropped.
        code: Option<u64>,
    },
}

impl fmt::Debug for CallbackParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Until it is spent, only the state protects a person from a forged callback.
        match self {
            Self::Granted { .. } => f.debug_struct("Granted").finish_non_exhaustive(),
            Self::Denied { reason, .. } => {
                f.debug_struct("Denied").field("reason", reason).finish_non_exhaustive()
            }
            Self::Failed { code, .. } => f.debug_struct("Failed").field("code", code).finish_non_exhaustive(),
        }
    }
}

names! {
    /// The reason why there is no grant, as fixed values: the query's own words can be forged, and
    /// are dropped.
    #[non_exhaustive]
    pub enum DenialReason {
        /// The person declined (`error=access_denied`, with `error_reason=user_denied` or without a
        /// reason).
        UserDenied => "user_denied",
        /// `error=access_denied` with another reason.
        Other => "other",
    }
}

/// The reason why a query string was refused. The texts name a parameter (or `query`), and never
/// hold its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The parameter occurs more than once, under one spelling or several.
    #[error("the parameter {0} is repeated")]
    Repeated(&'static str),
    /// The parameter is missing or empty.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// There is both a code and an error.
    #[error("there is both a code and an error")]
    Ambiguous,
    /// The parameter, or the whole query, is longer than is accepted: 8 KiB in all, 2048 bytes of
    /// code, 512 of state.
    #[error("the parameter {0} is too long")]
    TooLong(&'static str),
    /// The parameter, or the whole query, contains invalid bytes.
    #[error("the parameter {0} is malformed")]
    Malformed(&'static str),
}

/// Parses the query string of the redirect back, as sent: still percent-encoded, without its `?`.
///
/// Every known parameter (`code`, `state`, `error`, `error_reason`, `error_description`,
/// `error_code`, `error_message`) may occur once; a name that percent-decodes to one of these
/// counts as it. Unknown parameters are ignored, and `&` is the only separator: a bare `;`, `?` or
/// `#` is refused. Once decoded, `code` has at most 2048 bytes, `state` at most 512, both visible
/// ASCII. One `#_` or `#_=_` at the end of either, which Meta appends as a fragment and some
/// browsers encode, is dropped.
///
/// ```
/// use threads_graph::{CallbackError, CallbackParams, parse_callback};
///
/// let params = parse_callback("code=AQD4b&state=s3cret")?;
/// let CallbackParams::Granted { state, .. } = params else { panic!() };
/// assert_eq!(state.as_str(), "s3cret");
/// let polluted = parse_callback("code=a&c%6Fde=b&state=s").unwrap_err();
/// assert_eq!(polluted, CallbackError::Repeated("code"));
/// # Ok::<(), CallbackError>(())
/// ```
///
/// # Errors
///
/// Returns a [`CallbackError`] if the query is ambiguous, incomplete or malformed.
pub fn parse_callback(raw_query: &str) -> Result<CallbackParams, CallbackError> {
    match read(raw_query)? {
        Returned::Granted { code, state } => {
            Ok(CallbackParams::Granted { code, state: state.ok_or(CallbackError::Missing("state"))? })
        }
        Returned::Refused(params) => Ok(params),
    }
}

/// The query that came back, with or without the state that a grant needs.
enum Returned {
    Granted { code: AuthorizationCode, state: Option<State> },
    Refused(CallbackParams),
}

fn read(raw_query: &str) -> Result<Returned, CallbackError> {
    if raw_query.len() > MAX_QUERY {
        return Err(CallbackError::TooLong("query"));
    }
    // `;`, `?` and `#` are separators for some parsers, so a query that holds one can be read in
    // two ways.
    if !raw_query.bytes().all(|byte| byte.is_ascii_graphic() && !b";?#".contains(&byte)) {
        return Err(CallbackError::Malformed("query"));
    }

    let mut raw_values: [Option<&str>; KNOWN.len()] = [None; KNOWN.len()];
    for pair in raw_query.split('&').filter(|pair| !pair.is_empty()) {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        // A name that cannot be decoded might still be a known one to a more forgiving parser.
        let name = decode(raw_name).ok_or(CallbackError::Malformed("query"))?;
        if let Some(position) = KNOWN.iter().position(|known| *known == name)
            && raw_values[position].replace(raw_value).is_some()
        {
            return Err(CallbackError::Repeated(KNOWN[position]));
        }
    }

    let mut values: [Option<Cow<'_, str>>; KNOWN.len()] = Default::default();
    for (position, raw_value) in raw_values.into_iter().enumerate() {
        if let Some(raw_value) = raw_value {
            values[position] = Some(decode(raw_value).ok_or(CallbackError::Malformed(KNOWN[position]))?);
        }
    }

    let is_refused = values[ERROR..].iter().any(Option::is_some);
    let state = values[STATE].as_deref().map(without_fragment).filter(|state| !state.is_empty());
    let state = state.map(sent_state).transpose()?;
    let Some(code) = &values[CODE] else {
        if !is_refused {
            return Err(CallbackError::Missing("code"));
        }
        return Ok(Returned::Refused(if values[ERROR].as_deref() == Some("access_denied") {
            let said_no = values[ERROR_REASON].as_deref().is_none_or(|reason| reason == "user_denied");
            let reason = if said_no { DenialReason::UserDenied } else { DenialReason::Other };
            CallbackParams::Denied { state, reason }
        } else {
            let code = values[ERROR_CODE].as_deref().and_then(|code| code.parse().ok());
            CallbackParams::Failed { state, code }
        }));
    };
    if is_refused {
        return Err(CallbackError::Ambiguous);
    }
    Ok(Returned::Granted { code: authorization_code(code)?, state })
}

fn without_fragment(text: &str) -> &str {
    FRAGMENTS.iter().find_map(|fragment| text.strip_suffix(fragment)).unwrap_or(text)
}

/// The callback that a person pasted.
#[derive(Debug, Clone)]
pub enum PastedCallback {
    /// Just the code, or a URL without a state. There is nothing to compare, so the request that it
    /// answers is unknown.
    Code(AuthorizationCode),
    /// A whole URL, or its query.
    Callback(CallbackParams),
}

/// Parses the text that a person pasted from the address bar: the whole URL, its query, or just the
/// code.
///
/// White space around it is dropped, and so is one trailing `#_` or `#_=_`, which Meta appends as a
/// fragment.
///
/// # Errors
///
/// Returns a [`CallbackError`] as [`parse_callback`] does, except for a URL without a state.
pub fn parse_pasted(input: &str) -> Result<PastedCallback, CallbackError> {
    // Room for the scheme, host and path before the query.
    if input.len() > 2 * MAX_QUERY {
        return Err(CallbackError::TooLong("query"));
    }
    let input = without_fragment(input.trim());
    let is_query =
        || input.contains('&') || input.split_once('=').is_some_and(|(name, _)| KNOWN.contains(&name));
    if let Some((_, query)) = input.split_once('?') {
        pasted_query(query)
    } else if input.contains("://") {
        Err(CallbackError::Missing("code"))
    } else if is_query() {
        pasted_query(input)
    } else {
        // It was copied from an address bar, so it is still escaped; but a plain `+` was never a
        // space.
        let code = input.replace('+', "%2B");
        let code = decode(&code).ok_or(CallbackError::Malformed("code"))?;
        authorization_code(&code).map(PastedCallback::Code)
    }
}

fn pasted_query(query: &str) -> Result<PastedCallback, CallbackError> {
    Ok(match read(query)? {
        Returned::Granted { code, state: Some(state) } => {
            PastedCallback::Callback(CallbackParams::Granted { code, state })
        }
        Returned::Granted { code, state: None } => PastedCallback::Code(code),
        Returned::Refused(params) => PastedCallback::Callback(params),
    })
}

fn authorization_code(text: &str) -> Result<AuthorizationCode, CallbackError> {
    let text = without_fragment(text);
    if text.is_empty() {
        return Err(CallbackError::Missing("code"));
    }
    AuthorizationCode::new(visible("code", text, MAX_CODE)?).map_err(|_| CallbackError::Malformed("code"))
}

fn sent_state(text: &str) -> Result<State, CallbackError> {
    visible("state", text, State::MAX)?.try_into().map_err(|_| CallbackError::Malformed("state"))
}

fn visible(name: &'static str, text: &str, max: usize) -> Result<String, CallbackError> {
    if text.len() > max {
        return Err(CallbackError::TooLong(name));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CallbackError::Malformed(name));
    }
    Ok(text.to_owned())
}

/// Decodes a name or value of a form-encoded query. `None` for a broken escape, bad UTF-8 or a
/// control character.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains(['%', '+']) {
        return (!raw.chars().any(char::is_control)).then_some(raw.into());
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    let text = String::from_utf8(decoded).ok()?;
    (!text.chars().any(char::is_control)).then_some(text.into())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::CallbackError::{Ambiguous, Malformed, Missing, Repeated, TooLong};
    use super::*;
    use proptest::prelude::*;

    fn granted(query: &str) -> (String, String) {
        match parse_callback(query) {
            Ok(CallbackParams::Granted { code, state }) => {
                (code.expose().to_owned(), state.as_str().to_owned())
            }
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn a_grant_is_read() {
        for query in [
            "code=AQD4b&state=s",
            "state=s&code=AQD4b",
            "&&code=AQD4b&&state=s&",
            "c%6fd%65=AQ%444b&st%61te=%73",
            "utm_source=a&utm_source=b&code=AQD4b&x&state=s&=&Code=other&code[]=other&xcode=1&fbclid=%ff",
        ] {
            assert_eq!(granted(query), ("AQD4b".to_owned(), "s".to_owned()), "{query}");
        }
        assert_eq!(granted("code=a%2Bb%26c&state=%3D%23").0, "a+b&c");
    }

    #[test]
    fn metas_fragment_is_dropped_where_somebody_has_encoded_it() {
        for query in [
            "code=AQD4b&state=s%23_",
            "code=AQD4b&state=s%23_%3D_",
            "code=AQD4b&state=s%23_=_",
            "state=s&code=AQD4b%23_",
            "state=s&code=AQD4b%23%5F%3d%5f",
            "state=s%23_&code=AQD4b%23_%3D_",
        ] {
            assert_eq!(granted(query), ("AQD4b".to_owned(), "s".to_owned()), "{query}");
        }
        // Once, at the end, and literally.
        for (query, code, state) in [
            ("code=a%23_%23_&state=s", "a#_", "s"),
            ("code=a&state=%23_s", "a", "#_s"),
            ("code=a%23&state=s_%3D_", "a#", "s_=_"),
            ("code=a%2523_&state=s", "a%23_", "s"),
        ] {
            assert_eq!(granted(query), (code.to_owned(), state.to_owned()), "{query}");
        }
        assert_eq!(parse_callback("code=%23_&state=s").unwrap_err(), Missing("code"));
        assert_eq!(parse_callback("code=a&state=%23_%3D_").unwrap_err(), Missing("state"));
        let denied = parse_callback("error=access_denied&state=s%23_");
        assert!(
            matches!(denied, Ok(CallbackParams::Denied { state: Some(state), .. }) if state.as_str() == "s")
        );
    }

    #[test]
    fn a_denial_is_read_with_and_without_state() {
        let meta =
            "error=access_denied&error_reason=user_denied&error_description=The+user+denied+your+request";
        for (query, expected, state) in [
            (meta.to_owned(), DenialReason::UserDenied, None),
            (format!("{meta}&state=s"), DenialReason::UserDenied, Some("s")),
            ("error=access_denied&state=".to_owned(), DenialReason::UserDenied, None),
            ("error=access_denied&error_reason=other".to_owned(), DenialReason::Other, None),
            (format!("{meta}&error_code=200"), DenialReason::UserDenied, None),
        ] {
            match parse_callback(&query) {
                Ok(CallbackParams::Denied { reason, state: found }) => {
                    let found = found.as_ref().map(State::as_str);
                    assert_eq!((reason, found), (expected, state), "{query}");
                }
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_failure_of_metas_is_no_denial() {
        for (query, expected, state) in [
            ("error_code=1349168&error_message=Blocked&state=s", Some(1_349_168), Some("s")),
            ("error_message=Blocked%20%C3%A9&error_code=1349168", Some(1_349_168), None),
            ("error=server_error&state=s", None, Some("s")),
            ("error=server_error&error_code=1&error_reason=user_denied", Some(1), None),
            ("error=Access_Denied", None, None),
            ("error=%3Cscript%3Ealert(1)%3C/script%3E", None, None),
            ("error", None, None),
            ("error_description=x", None, None),
            ("error_reason=user_denied", None, None),
            ("error_code=", None, None),
            ("error_code=-1", None, None),
            ("error_code=1e3", None, None),
            ("error_code=18446744073709551616", None, None),
            ("error_code=%3Cb%3E", None, None),
        ] {
            match parse_callback(query) {
                Ok(CallbackParams::Failed { code, state: found }) => {
                    let found = found.as_ref().map(State::as_str);
                    assert_eq!((code, found), (expected, state), "{query}");
                }
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn polluted_queries_are_refused() {
        let long = |name: &str, length: usize| format!("{name}={}", "a".repeat(length));
        for (query, expected) in [
            (String::new(), Missing("code")),
            ("state=s".into(), Missing("code")),
            ("code=&state=s".into(), Missing("code")),
            ("code&state=s".into(), Missing("code")),
            ("code=a".into(), Missing("state")),
            ("code=a&state=".into(), Missing("state")),
            ("code=a&code=a&state=s".into(), Repeated("code")),
            ("code=a&state=s&code=".into(), Repeated("code")),
            ("code=a&state=s&code".into(), Repeated("code")),
            ("code=a&state=s&%63ode=b".into(), Repeated("code")),
            ("code=a&state=s&%73%74%61%74%65=t".into(), Repeated("state")),
            ("error=a&error=a".into(), Repeated("error")),
            ("error=a&error_reason=b&error_reason=c".into(), Repeated("error_reason")),
            ("error=a&error_description=b&error_description=c".into(), Repeated("error_description")),
            ("error_code=1&error_code=2".into(), Repeated("error_code")),
            ("error_message=1&error_message=2".into(), Repeated("error_message")),
            ("code=a&state=s&error=access_denied".into(), Ambiguous),
            ("code=a&state=s&error=".into(), Ambiguous),
            ("code=a&state=s&err%6Fr_code=1".into(), Ambiguous),
            ("code=a&state=s&error_message".into(), Ambiguous),
            ("code=a%00&state=s".into(), Malformed("code")),
            ("code=a%0d%0aX:y&state=s".into(), Malformed("code")),
            ("code=a+b&state=s".into(), Malformed("code")),
            ("code=%C3%A9&state=s".into(), Malformed("code")),
            ("code=%ff&state=s".into(), Malformed("code")),
            ("code=%c0%af&state=s".into(), Malformed("code")),
            ("code=a%&state=s".into(), Malformed("code")),
            ("code=a%4&state=s".into(), Malformed("code")),
            ("code=a%zz&state=s".into(), Malformed("code")),
            ("code=a%+1&state=s".into(), Malformed("code")),
            ("code=a&state=%7f".into(), Malformed("state")),
            ("error=%00".into(), Malformed("error")),
            ("error=x&error_description=%e0%80".into(), Malformed("error_description")),
            ("code=a&state=s&%zz=1".into(), Malformed("query")),
            ("code=a&state=s&co%00de=1".into(), Malformed("query")),
            ("code=a&state=s#_".into(), Malformed("query")),
            ("code=a&state=s é".into(), Malformed("query")),
            ("code=a&state=s\0".into(), Malformed("query")),
            (format!("{}&state=s", long("code", 2049)), TooLong("code")),
            (format!("code=a&{}", long("state", 513)), TooLong("state")),
            (format!("error=a&{}", long("state", 513)), TooLong("state")),
            (format!("code=a&state=s&{}", long("x", 8192)), TooLong("query")),
        ] {
            assert_eq!(parse_callback(&query).unwrap_err(), expected, "{query}");
        }
        granted(&format!("{}&{}", long("code", 2048), long("state", 512)));
    }

    #[test]
    fn debug_shows_neither_code_nor_state() {
        for query in [
            "code=CANARY&state=CANARY",
            "error=CANARY&error_description=CANARY&state=CANARY",
            "error=access_denied&error_reason=CANARY&state=CANARY",
            "error_message=CANARY&error_code=CANARY&state=CANARY",
        ] {
            let params = parse_callback(query).unwrap();
            let shown = format!("{params:?} {:?}", PastedCallback::Callback(params.clone()));
            assert!(!shown.contains("CANARY"), "{shown}");
        }
    }

    #[test]
    fn errors_never_quote_the_query() {
        for query in
            ["code=CANARY&code=CANARY", "code=CANARY%00&state=s", "error=a&error=CANARY", "CANARY%=CANARY"]
        {
            let error = parse_callback(query).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{query}");
        }
    }

    #[test]
    fn a_person_may_paste_a_url_a_query_or_a_code() {
        for input in [
            "https://app.example/callback?code=AQ-b&state=s#_",
            "https://app.example/callback?code=AQ-b&state=s#_=_",
            "https://app.example/callback/?state=s&code=AQ-b%23_%3D_",
            "  https://app.example/callback?code=AQ-b&state=s\n",
            "http://localhost:3000/?state=s&code=AQ-b",
            "?code=AQ-b&state=s#_",
            "code=AQ-b&state=s",
        ] {
            match parse_pasted(input) {
                Ok(PastedCallback::Callback(CallbackParams::Granted { code, state })) => {
                    assert_eq!((code.expose(), state.as_str()), ("AQ-b", "s"), "{input}");
                }
                other => panic!("{input}: {other:?}"),
            }
        }
        for (input, expected) in [
            ("AQ-b#_", "AQ-b"),
            ("AQ-b#_=_", "AQ-b"),
            ("AQ-b%23_", "AQ-b"),
            ("AQ-b%23_%3D_", "AQ-b"),
            (" AQ-b\r\n", "AQ-b"),
            // A URL without a state is a code.
            ("https://app.example/?code=AQ-b", "AQ-b"),
            ("https://app.example/?code=AQ-b#_=_", "AQ-b"),
            ("https://app.example/?code=AQ-b&state=", "AQ-b"),
            ("https://app.example/?code=AQ-b&state=%23_", "AQ-b"),
            ("?code=AQ-b#_", "AQ-b"),
            ("code=AQ-b", "AQ-b"),
            ("AQ+b==", "AQ+b=="),
            ("AQ%3D#_", "AQ="),
            ("AQ#_#_#_", "AQ#_"),
        ] {
            match parse_pasted(input) {
                Ok(PastedCallback::Code(code)) => assert_eq!(code.expose(), expected, "{input}"),
                other => panic!("{input}: {other:?}"),
            }
        }
        for (input, expected) in [
            ("", Missing("code")),
            ("#_", Missing("code")),
            ("#_=_", Missing("code")),
            ("https://app.example/callback", Missing("code")),
            ("https://app.example/?state=s", Missing("code")),
            ("https://app.example/?code=#_", Missing("code")),
            ("https://app.example/?code=a&error=x", Ambiguous),
            ("https://app.example/?code=a&state=s&code=b", Repeated("code")),
            ("https://app.example/?code=a&state=s#part", Malformed("query")),
            ("two words", Malformed("code")),
            ("a%00", Malformed("code")),
            (&"a".repeat(2049), TooLong("code")),
            (&"a".repeat(20_000), TooLong("query")),
        ] {
            assert_eq!(parse_pasted(input).unwrap_err(), expected, "{input}");
        }
        assert!(matches!(
            parse_pasted("https://app.example/?error=access_denied#_"),
            Ok(PastedCallback::Callback(CallbackParams::Denied { reason: DenialReason::UserDenied, .. }))
        ));
        assert!(matches!(
            parse_pasted("https://app.example/?error_code=1349168&error_message=Blocked#_"),
            Ok(PastedCallback::Callback(CallbackParams::Failed { code: Some(1_349_168), .. }))
        ));
    }

    /// Pieces that combine into edge cases much more often than random bytes do.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned),
            3 => proptest::sample::select(&KNOWN[..]).prop_map(|name| {
                format!("%{:02x}{}", name.as_bytes()[0], &name[1..])
            }),
            6 => Just("=".to_owned()),
            6 => Just("&".to_owned()),
            2 => proptest::sample::select(vec!["%", "%00", "%ff", "%3D", "%26", "+", ";", "#", "\0", "é", "%63"])
                .prop_map(str::to_owned),
            3 => "[a-zA-Z0-9]{1,4}",
            1 => any::<String>(),
        ]
    }

    /// Checked with an independent parser, the forgiving one of the `url` crate.
    fn check(query: &str) -> Result<(), TestCaseError> {
        let _ = parse_pasted(query);
        let Ok(params) = parse_callback(query) else {
            return Ok(());
        };
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let count = |name: &str| pairs.iter().filter(|(found, _)| found == name).count();
        for name in KNOWN {
            prop_assert!(count(name) <= 1, "{name} in {query:?}");
        }
        let value =
            |name: &str| pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_ref());
        let value = |name: &str| {
            value(name)
                .map(|value| value.strip_suffix("#_=_").or_else(|| value.strip_suffix("#_")).unwrap_or(value))
        };
        let is_denial = KNOWN[ERROR..].iter().any(|name| count(name) > 0);
        match params {
            CallbackParams::Granted { code, state } => {
                prop_assert!(!is_denial);
                prop_assert_eq!(value("code"), Some(code.expose()));
                prop_assert_eq!(value("state"), Some(state.as_str()));
                prop_assert!(
                    code.expose().bytes().chain(state.as_str().bytes()).all(|byte| byte.is_ascii_graphic())
                );
            }
            CallbackParams::Denied { state, .. } | CallbackParams::Failed { state, .. } => {
                prop_assert!(is_denial && count("code") == 0);
                let state = state.as_ref().map(State::as_str);
                prop_assert_eq!(value("state").filter(|state| !state.is_empty()), state);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_accepted_is_unambiguous(pieces in proptest::collection::vec(piece(), 0..16)) {
            check(&pieces.concat())?;
        }

        #[test]
        fn raw_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            check(&String::from_utf8_lossy(&bytes))?;
        }

        #[test]
        fn one_extra_known_parameter_is_always_noticed(
            extra in proptest::sample::select(&KNOWN[..]),
            at in 0..3_usize,
            value in "[a-z]{0,3}",
        ) {
            let mut pairs = vec!["code=a".to_owned(), "state=s".to_owned()];
            pairs.insert(at.min(2), format!("{extra}={value}"));
            prop_assert!(parse_callback(&pairs.join("&")).is_err());
        }
    }
}
