//! Secret values: the app secret, an access token, an authorization code.
//!
//! Owns their memory (overwritten on drop) and their shape. Refuses to be shown: there is no
//! `Display`, no `Serialize`, no `Deref` and no `==`, and `Debug` prints a placeholder.
//! [`expose`](AccessToken::expose) is the only access, for places where bytes leave the process or
//! are sealed.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use crate::ids::AppId;

/// The longest secret that is accepted, in bytes. Meta documents no bound; its tokens have 150 to
/// 400.
const MAX_SECRET: usize = 4096;

/// The reason why a text cannot be a secret. It does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Longer than 4096 bytes.
    #[error("the {0} has more than 4096 bytes")]
    TooLong(&'static str),
    /// It contains something other than visible ASCII: a space, a line end, a quote from a word
    /// processor.
    #[error("the {0} holds a space, a line end or another character that is not visible ASCII")]
    NotVisibleAscii(&'static str),
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $called:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 4096 bytes of visible ASCII, overwritten in memory when dropped.
        #[derive(Clone)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// Creates a secret from exactly this text: nothing is trimmed.
            ///
            /// # Errors
            ///
            /// Returns [`InvalidSecret`] if it is empty, longer than 4096 bytes, or not entirely
            /// visible ASCII.
            pub fn new(secret: impl Into<String>) -> Result<Self, InvalidSecret> {
                // Wrapped before the check, so that a refused secret is overwritten too.
                let secret = Zeroizing::new(secret.into());
                if secret.is_empty() {
                    return Err(InvalidSecret::Empty($called));
                }
                if secret.len() > MAX_SECRET {
                    return Err(InvalidSecret::TooLong($called));
                }
                if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(InvalidSecret::NotVisibleAscii($called));
                }
                Ok(Self(secret))
            }

            /// The secret itself. Call it only where bytes leave the process or are sealed.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidSecret;

            fn try_from(secret: String) -> Result<Self, InvalidSecret> {
                Self::new(secret)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidSecret;

            fn try_from(secret: &str) -> Result<Self, InvalidSecret> {
                Self::new(secret)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

secret!(
    /// The Threads app secret (`client_secret`). Its holder can forge Meta's messages and spend
    /// codes.
    AppSecret,
    "app secret"
);
secret!(
    /// An access token: a person's, short-lived (1 hour) or long-lived (60 days), or the app's own.
    AccessToken,
    "access token"
);
secret!(
    /// An authorization code: valid for 1 hour and for one use (Meta's documentation, 2026-08).
    AuthorizationCode,
    "authorization code"
);

/// The beginning of the app's own tokens. `TH|<app id>|<app secret>` is one, so any text with this
/// beginning may hold the secret.
const APP_TOKEN: &str = "TH|";

/// `text` without the app's tokens: each that begins with `TH|`, also percent-encoded, is replaced
/// up to the next white space or quotation mark. For text that is shown and may repeat what
/// somebody else wrote.
///
/// ```
/// assert_eq!(
///     threads_graph::redacted("'TH|123|secret' is no scope"),
///     "'TH|(redacted)' is no scope",
/// );
/// ```
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    let start = |text: &str| [APP_TOKEN, "TH%7C", "TH%7c"].iter().filter_map(|start| text.find(start)).min();
    if start(text).is_none() {
        return text.into();
    }
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = start(rest) {
        shown.push_str(&rest[..at]);
        shown.push_str("TH|(redacted)");
        rest = &rest[at..];
        rest = &rest[rest.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(rest.len())..];
    }
    shown.push_str(rest);
    shown.into()
}

/// An app's proof to Meta: its Threads app id and the secret that belongs to it.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// The Threads app id.
    pub app_id: AppId,
    /// The secret that belongs to it.
    pub app_secret: AppSecret,
}

impl AppCredentials {
    /// The app's own token, made without a call: `TH|<app id>|<app secret>`. It holds the secret.
    ///
    /// Source: Meta, "App access tokens".
    #[must_use]
    pub fn app_token(&self) -> AccessToken {
        let (id, secret) = (self.app_id.as_str(), self.app_secret.expose());
        // Allocated in full at once, because growing would leave copies.
        let mut token = Zeroizing::new(String::with_capacity(APP_TOKEN.len() + id.len() + 1 + secret.len()));
        for part in [APP_TOKEN, id, "|", secret] {
            token.push_str(part);
        }
        AccessToken(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let app = AppCredentials {
            app_id: "123".parse().unwrap(),
            app_secret: AppSecret::new("CANARY-secret").unwrap(),
        };
        let token = AccessToken::new("CANARY-token").unwrap();
        let code = AuthorizationCode::new("CANARY-code").unwrap();
        let shown = format!("{app:?} {app:#?} {token:?} {token:#?} {code:?} {code:#?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.contains("AppSecret(redacted)"), "{shown}");
        assert_eq!(token.expose(), "CANARY-token");
    }

    #[test]
    fn whatever_begins_like_an_apps_token_is_hidden() {
        for (text, expected) in [
            ("", ""),
            ("a token THQVJ and a scope", "a token THQVJ and a scope"),
            ("TH", "TH"),
            ("TH|", "TH|(redacted)"),
            ("TH|1|CANARY", "TH|(redacted)"),
            ("x=TH|1|CANARY,y=CANARY z", "x=TH|(redacted) z"),
            ("\"TH|1|CANARY\" and 'TH|CANARY'", "\"TH|(redacted)\" and 'TH|(redacted)'"),
            ("TH|TH|CANARY", "TH|(redacted)"),
            ("a\nTH|1|CANARY\nb", "a\nTH|(redacted)\nb"),
            ("?access_token=TH%7C1%7CCANARY&x", "?access_token=TH|(redacted)"),
            ("?access_token=TH%7c1%7cCANARY é", "?access_token=TH|(redacted) é"),
            ("éTH|CANARY\u{a0}é", "éTH|(redacted)\u{a0}é"),
            ("{\"t\":\"TH|1|CANARY\"}", "{\"t\":\"TH|(redacted)\"}"),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
    }

    #[test]
    fn the_app_token_is_a_token_that_shows_nothing() {
        let app = AppCredentials {
            app_id: "123".parse().unwrap(),
            app_secret: AppSecret::new("CANARY-secret").unwrap(),
        };
        let token = app.app_token();
        assert_eq!(token.expose(), "TH|123|CANARY-secret");
        assert_eq!(format!("{token:?}"), "AccessToken(redacted)");
        assert!(AccessToken::new(token.expose()).is_ok());
    }

    #[test]
    fn a_secret_is_visible_ascii_of_bounded_length() {
        assert!(AccessToken::new("~!|".repeat(1365)).is_ok());
        assert_eq!(AppSecret::new("").unwrap_err(), InvalidSecret::Empty("app secret"));
        assert_eq!(AccessToken::new("a".repeat(4097)).unwrap_err(), InvalidSecret::TooLong("access token"));
        for text in ["a b", "a\n", "\ta", "a\0", "ä", "“a”", "a\u{7f}"] {
            let error = AccessToken::new(text).unwrap_err();
            assert_eq!(error, InvalidSecret::NotVisibleAscii("access token"), "{text:?}");
        }
    }
}
