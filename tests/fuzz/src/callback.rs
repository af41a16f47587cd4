//! The query of a callback, and what a person pastes.

use threads_graph::{CallbackParams, PastedCallback, State, parse_callback, parse_pasted};
use url::form_urlencoded;

use crate::text::assert_hides;

const KNOWN: [&str; 7] =
    ["code", "state", "error", "error_reason", "error_description", "error_code", "error_message"];

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_callback(text) {
        Ok(params) => {
            assert_unambiguous(text, &params);
            let pasted = parse_pasted(&format!("https://app.example/callback?{text}"));
            assert_eq!(said(&params), pasted.ok().as_ref().map(said_pasted).unwrap_or_default());
        }
        Err(error) => {
            for value in text.split(['&', '=']).filter(|value| !KNOWN.contains(value)) {
                assert_hides(&format!("{error} {error:?}"), value);
            }
        }
    }
    if let Ok(PastedCallback::Code(code)) = parse_pasted(text) {
        assert!(code.expose().len() <= 2_048 && code.expose().bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// Compares with the forgiving parser of the `url` crate.
fn assert_unambiguous(query: &str, params: &CallbackParams) {
    assert!(query.len() <= 8 * 1_024);
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let all = |name: &str| pairs.iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect();
    for name in KNOWN {
        let values: Vec<_> = all(name);
        assert!(values.len() <= 1, "{name} in {query}");
    }
    let value = |name: &str| {
        let values: Vec<_> = all(name);
        let value = values.first()?.as_ref();
        Some(value.strip_suffix("#_=_").or_else(|| value.strip_suffix("#_")).unwrap_or(value).to_owned())
    };
    let is_refused = KNOWN[2..].iter().any(|name| value(name).is_some());
    match params {
        CallbackParams::Granted { code, state } => {
            assert!(!is_refused);
            assert_eq!(value("code").as_deref(), Some(code.expose()));
            assert_eq!(value("state").as_deref(), Some(state.as_str()));
            let rendered = form_urlencoded::Serializer::new(String::new())
                .append_pair("state", &format!("{}#_", state.as_str()))
                .append_pair("code", &format!("{}#_=_", code.expose()))
                .finish();
            // A longest query of plain characters does not fit when all are escaped.
            if rendered.len() <= 8 * 1_024 {
                assert_eq!(said(&parse_callback(&rendered).unwrap()), said(params));
            }
        }
        CallbackParams::Denied { state, .. } | CallbackParams::Failed { state, .. } => {
            assert!(is_refused && value("code").is_none());
            let state = state.as_ref().map(State::as_str);
            assert_eq!(value("state").filter(|state| !state.is_empty()).as_deref(), state);
        }
    }
    if let Some(code) = value("code") {
        assert_hides(&format!("{params:?}"), &code);
    }
}

fn said(params: &CallbackParams) -> String {
    match params {
        CallbackParams::Granted { code, state } => format!("{} {}", code.expose(), state.as_str()),
        CallbackParams::Denied { state, reason } => format!("{:?} {reason}", state.as_ref().map(State::as_str)),
        CallbackParams::Failed { state, code } => format!("{:?} {code:?}", state.as_ref().map(State::as_str)),
    }
}

fn said_pasted(pasted: &PastedCallback) -> String {
    match pasted {
        PastedCallback::Callback(params) => said(params),
        PastedCallback::Code(code) => code.expose().to_owned(),
    }
}
