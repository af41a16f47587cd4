//! A call that failed.
//!
//! Never contains the words of a response or a URL, since either may hold a token.

use std::fmt;
use std::time::Duration;

use crate::call::Call;
use crate::classify::Said;
use crate::error_kind::{ConfigurationProblem, ErrorKind};
use crate::json::Json;

/// A call to Meta that did not succeed.
///
/// Its `Display` is a fixed sentence with the numbers Meta gave; its source, if any, is the
/// transport's error with the URL taken out. Neither holds a token, a secret, a code or Meta's free
/// text.
#[derive(Debug)]
pub struct Error {
    call: Call,
    kind: ErrorKind,
    status: Option<u16>,
    code: Option<u64>,
    subcode: Option<u64>,
    trace_id: Option<String>,
    moved_to: Option<String>,
    source: Option<reqwest::Error>,
}

impl Error {
    /// The meaning of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The call that failed.
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

    /// Meta's `fbtrace_id`, which its support requires. At most 32 characters of base64: no token
    /// is that short.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// The host that Meta redirects to permanently, without the rest of that address, which holds
    /// the sent values.
    #[must_use]
    pub fn moved_to(&self) -> Option<&str> {
        self.moved_to.as_deref()
    }

    /// No answer.
    pub(crate) fn unanswered(call: Call, error: reqwest::Error) -> Self {
        Self::new(call, ErrorKind::Transient).caused_by(error)
    }

    /// Keeps the transport's error as the source, without its URL: that of some calls holds the
    /// token and the app secret.
    pub(crate) fn caused_by(self, error: reqwest::Error) -> Self {
        Self { source: Some(error.without_url()), ..self }
    }

    /// A response that was read and is malformed.
    pub(crate) fn answered(call: Call, kind: ErrorKind, status: u16) -> Self {
        Self { status: Some(status), ..Self::new(call, kind) }
    }

    /// A response that reports a failure, or should. `sent` are the values of the request.
    pub(crate) fn from_answer(
        call: Call,
        status: u16,
        retry_after: Option<Duration>,
        body: Option<&Json>,
        sent: &[&str],
    ) -> Self {
        let said = Said::read(body);
        Self {
            call,
            kind: said.classify(call, status, retry_after),
            status: Some(status),
            code: said.code,
            subcode: said.subcode,
            // A trace id is Meta's own; one that resembles a sent value is an echo, and may be a
            // secret.
            trace_id: said
                .trace_id
                .filter(|id| {
                    !sent.iter().any(|sent| sent.contains(id) || !sent.is_empty() && id.contains(sent))
                })
                .map(str::to_owned),
            moved_to: None,
            source: None,
        }
    }

    /// Keeps the host of the response's `Location`, if the response means that Meta has moved.
    pub(crate) fn redirected_to(self, host: Option<String>) -> Self {
        let has_moved = self.kind == ErrorKind::Configuration(ConfigurationProblem::Moved);
        Self { moved_to: host.filter(|_| has_moved), ..self }
    }

    fn new(call: Call, kind: ErrorKind) -> Self {
        Self {
            call,
            kind,
            status: None,
            code: None,
            subcode: None,
            trace_id: None,
            moved_to: None,
            source: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.kind)?;
        if let Some(host) = &self.moved_to {
            write!(f, ": it redirects to the host {host}")?;
        }
        let numbers =
            [("HTTP ", self.status.map(u64::from)), ("code ", self.code), ("subcode ", self.subcode)];
        let mut separator = " (";
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(f, "{separator}{name}{number}")?;
                separator = ", ";
            }
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_is_a_fixed_sentence_with_numbers() {
        let body = r#"{"error":{"message":"<b>CANARY</b>","type":"CANARY","code":190,"error_subcode":460,
            "error_user_msg":"CANARY","fbtrace_id":"F0n/KYH+Z5K"}}"#;
        let body = Json::parse(body.as_bytes());
        let error = Error::from_answer(Call::Refresh, 400, None, body.as_ref(), &[]);
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
    fn only_an_answer_that_moves_for_good_names_a_host() {
        for (status, expected) in [
            (301, "refresh: Meta has moved: it redirects to the host graph.example (HTTP 301)"),
            (308, "refresh: Meta has moved: it redirects to the host graph.example (HTTP 308)"),
            (302, "refresh: Meta could not be reached, or answered with a passing failure (HTTP 302)"),
        ] {
            let error = Error::from_answer(Call::Refresh, status, None, None, &[])
                .redirected_to(Some("graph.example".to_owned()));
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.moved_to().is_some(), status != 302);
        }
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
}
