//! The error page that Meta shows in place of its authorization dialog.
//!
//! Owns the error codes of that page and their meaning. Refuses to guess: an unknown code has no
//! meaning, and HTML is an error page only if it has a known code.

use serde_json::Value;

use crate::error_kind::ConfigurationProblem;
use crate::json::integer;
use crate::secret::redacted;

/// Maximum length of Meta's message that is kept, in characters.
const MAX_MESSAGE: usize = 300;

/// The known error codes. Source: the issue threads of other clients, 2024 to 2026; 191 is that of
/// Facebook Login, on the same Graph API.
pub(crate) const NUMBERS: [(u64, DialogError); 6] = [
    (1_349_168, DialogError::UnlistedRedirect),
    (191, DialogError::UnlistedRedirect),
    (1_349_187, DialogError::InsecureRedirect),
    (1_349_026, DialogError::UnknownApp),
    (4_476_002, DialogError::UnknownApp),
    (1_349_245, DialogError::NotATester),
];

/// The reason why Meta's authorization dialog refuses an app or a person, by its error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialogError {
    /// 1349168 and 191, "URL blocked": the redirect URI is not among the registered ones.
    UnlistedRedirect,
    /// 1349187: the redirect URI is not `https`.
    InsecureRedirect,
    /// 1349026 and 4476002: the app id is not that of a Threads app.
    UnknownApp,
    /// 1349245: the person has not accepted the invitation to be a tester of the app.
    NotATester,
}

impl DialogError {
    /// Returns the meaning of an error code: that of an [error page](DialogRefusal::code), of
    /// [`CallbackParams::Failed`](crate::CallbackParams::Failed) or of an
    /// [`Error`](crate::Error::code).
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        NUMBERS.iter().find(|(number, _)| *number == code).map(|(_, error)| *error)
    }

    /// Returns the underlying problem of the app's setup.
    #[must_use]
    pub fn problem(self) -> ConfigurationProblem {
        match self {
            Self::UnlistedRedirect | Self::InsecureRedirect => ConfigurationProblem::RedirectMismatch,
            Self::UnknownApp => ConfigurationProblem::WrongAppId,
            Self::NotATester => ConfigurationProblem::NotATester,
        }
    }
}

/// An error page of Meta's authorization dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialogRefusal {
    /// Meta's error code. [`DialogError::from_code`] maps the known ones.
    pub code: u64,
    /// Meta's words, if the page is JSON and has some: at most 300 characters, without control
    /// characters and [without the app's tokens](redacted).
    pub message: Option<String>,
}

impl DialogRefusal {
    /// Parses the body of the authorization page. Returns `None` if it is not an error page.
    ///
    /// An error page is `{"error_message":"…","error_code":1349168}`, or HTML that holds
    /// `error_code` with a known number.
    ///
    /// ```
    /// use threads_graph::{DialogError, DialogRefusal};
    ///
    /// let page = r#"{"error_message":"URL blocked","error_code":1349168}"#;
    /// let refusal = DialogRefusal::parse(page).unwrap();
    /// assert_eq!(DialogError::from_code(refusal.code), Some(DialogError::UnlistedRedirect));
    /// assert_eq!(DialogRefusal::parse("<html>Log in with Instagram</html>"), None);
    /// ```
    #[must_use]
    pub fn parse(body: &str) -> Option<Self> {
        if let Ok(answer) = serde_json::from_str::<Value>(body.trim()) {
            let code = integer(answer.get("error_code")?)?;
            let message = answer.get("error_message").and_then(Value::as_str).map(shown);
            return Some(Self { code, message });
        }
        // HTML may write the quotation marks between them as `&#34;`, which has a number too.
        let known_after = |at: usize| {
            let near: String = body[at..].chars().take("error_code".len() + 24).collect();
            near.split(|c: char| !c.is_ascii_digit())
                .filter_map(|digits| digits.parse().ok())
                .find(|code| DialogError::from_code(*code).is_some())
        };
        body.match_indices("error_code")
            .find_map(|(at, _)| known_after(at))
            .map(|code| Self { code, message: None })
    }
}

fn shown(message: &str) -> String {
    redacted(message).chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_page_is_read_as_json_and_as_html() {
        let code = |body: &str| DialogRefusal::parse(body).map(|refusal| refusal.code);
        for (body, expected) in [
            (r#"{"error_message":"Blocked","error_code":1349168}"#, Some(1_349_168)),
            (r#" {"error_message":"Blocked","error_code":"1349187"} "#, Some(1_349_187)),
            (r#"{"error_code":17}"#, Some(17)),
            ("<html><pre>{&quot;error_code&quot;:4476002}</pre></html>", Some(4_476_002)),
            ("<script>error_code=1</script><pre>{\"error_code\": 1349245}</pre>", Some(1_349_245)),
            ("<pre>{&#34;error_code&#34;:1349168}</pre>", Some(1_349_168)),
            ("<pre>{\"error_code\":null}</pre><style>td { width:191px }</style>", None),
            ("", None),
            ("{}", None),
            ("[]", None),
            (r#"{"error_code":-1}"#, None),
            ("<html>Log in</html>", None),
            ("<html>error_code 17</html>", None),
            ("<html>1349168 error_code</html>", None),
            ("<html>error_code 99999999999999999999999</html>", None),
            ("é error_code é", None),
        ] {
            assert_eq!(code(body), expected, "{body}");
        }
    }

    #[test]
    fn its_words_are_harmless_and_short() {
        let message = |text: &str| {
            let page = serde_json::json!({"error_message": text, "error_code": 1}).to_string();
            DialogRefusal::parse(&page).unwrap().message.unwrap()
        };
        assert_eq!(message("URL blocked"), "URL blocked");
        assert_eq!(message("for TH|1|CANARY \u{1b}[31m\nmore"), "for TH|(redacted) [31mmore");
        assert_eq!(message(&"é".repeat(1000)).chars().count(), 300);
        assert_eq!(DialogRefusal::parse(r#"{"error_code":1}"#).unwrap().message, None);
    }

    #[test]
    fn each_known_number_stands_for_a_problem() {
        for (code, problem) in [
            (1_349_168, Some(ConfigurationProblem::RedirectMismatch)),
            (1_349_187, Some(ConfigurationProblem::RedirectMismatch)),
            (191, Some(ConfigurationProblem::RedirectMismatch)),
            (1_349_026, Some(ConfigurationProblem::WrongAppId)),
            (4_476_002, Some(ConfigurationProblem::WrongAppId)),
            (1_349_245, Some(ConfigurationProblem::NotATester)),
            (100, None),
        ] {
            assert_eq!(DialogError::from_code(code).map(DialogError::problem), problem, "{code}");
        }
    }
}
