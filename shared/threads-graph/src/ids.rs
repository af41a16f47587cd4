//! Public identifiers: an app, a person, and the address to which a browser is sent back.
//!
//! Owns the shapes of these values; each value is valid. Accepts exact text only: nothing is
//! trimmed, normalised or guessed, because Meta compares each of them as text.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use url::{Host, Url};

/// Maximum number of digits of an identifier. Meta's have 15 to 20.
const MAX_DIGITS: usize = 32;

/// The longest redirect URI that is accepted, in bytes.
const MAX_REDIRECT_URI: usize = 2048;

/// The text is not an identifier of Meta's. The error does not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: it must be 1 to 32 ASCII digits")]
pub struct InvalidId {
    expected: &'static str,
}

/// An identifier as JSON spells it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an id as a string of digits or an integer")]
enum Given {
    Text(String),
    Number(u64),
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 32 ASCII digits, kept as text: a JSON number above 2^53 loses digits in many
        /// parsers. It is deserialized from a string or from an integer, and serialized as a
        /// string.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Given")]
        pub struct $name(String);

        impl $name {
            /// The digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                if (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { expected: $expected })
                }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number.to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<Given> for $name {
            type Error = InvalidId;

            fn try_from(given: Given) -> Result<Self, InvalidId> {
                match given {
                    Given::Text(text) => Self::try_from(text),
                    Given::Number(number) => Ok(number.into()),
                }
            }
        }
    };
}

id!(
    /// The *Threads* app id (`client_id`), which is not the Meta app id shown beside it in the
    /// dashboard.
    AppId,
    "an app id"
);
id!(
    /// A person's Threads user id, as it is seen by one app.
    UserId,
    "a user id"
);

/// The address to which Meta sends the browser back, kept as the exact text that was given.
///
/// Meta compares it character by character with the one registered in the dashboard, and again in
/// the token request, so it is never normalised. (The dashboard may itself append a `/`: register
/// and configure the same text.)
///
/// ```
/// use threads_graph::RedirectUri;
///
/// let uri: RedirectUri = "https://app.example/callback".parse()?;
/// assert!(uri.is_secure_or_loopback());
/// assert!("https://app.example/callback#part".parse::<RedirectUri>().is_err());
/// # Ok::<(), threads_graph::InvalidRedirectUri>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RedirectUri(String);

/// The reason why a text is not a redirect URI. It does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    /// Not an absolute `http://` or `https://` URL of visible ASCII with a host.
    #[error("the redirect URI must be an absolute http or https URL")]
    NotAbsoluteHttp,
    /// It has a `#` part, which OAuth 2.0 forbids (RFC 6749, section 3.1.2).
    #[error("the redirect URI must not have a fragment")]
    Fragment,
    /// It has a user name or password.
    #[error("the redirect URI must not have a user name or password")]
    UserInfo,
    /// Longer than 2048 bytes.
    #[error("the redirect URI must have at most 2048 bytes")]
    TooLong,
}

impl RedirectUri {
    /// The exact text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the code cannot be read in transit: the scheme is `https`, or the host is
    /// this machine.
    ///
    /// Meta itself accepts `https` only, and refuses `http://localhost`.
    #[must_use]
    pub fn is_secure_or_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_secure_or_loopback(&url))
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidRedirectUri;

    fn from_str(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.len() > MAX_REDIRECT_URI {
            return Err(InvalidRedirectUri::TooLong);
        }
        // A URL parser forgives white space, back slashes and missing or extra slashes. Meta
        // compares the text, so text that needs such tolerance is refused here.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(InvalidRedirectUri::NotAbsoluteHttp);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidRedirectUri::NotAbsoluteHttp)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let url = Url::parse(text).map_err(|_| InvalidRedirectUri::NotAbsoluteHttp)?;
        if !matches!(url.scheme(), "http" | "https")
            || !scheme.eq_ignore_ascii_case(url.scheme())
            || authority.is_empty()
        {
            return Err(InvalidRedirectUri::NotAbsoluteHttp);
        }
        if url.fragment().is_some() {
            return Err(InvalidRedirectUri::Fragment);
        }
        if authority.contains('@') {
            return Err(InvalidRedirectUri::UserInfo);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = InvalidRedirectUri;

    fn try_from(text: String) -> Result<Self, InvalidRedirectUri> {
        text.parse()
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RedirectUri {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `https` to anywhere, or `http` to this machine.
pub(crate) fn is_secure_or_loopback(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_above_2_to_53_is_exact_as_integer_and_as_string() {
        for id in ["17841405793187218", "9007199254740993", "18446744073709551615"] {
            let expected: UserId = id.parse().unwrap();
            assert_eq!(serde_json::from_str::<UserId>(id).unwrap(), expected);
            assert_eq!(serde_json::from_str::<UserId>(&format!("\"{id}\"")).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), format!("\"{id}\""));
            assert_eq!(expected.to_string(), id);
        }
    }

    #[test]
    fn an_id_is_1_to_32_ascii_digits() {
        assert!("1".repeat(32).parse::<AppId>().is_ok());
        for text in ["", " 1", "1 ", "-1", "+1", "1.0", "1e3", "0x1", "١٢", "1\n", "../1", &"1".repeat(33)]
        {
            assert!(text.parse::<AppId>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<UserId>(text.into()).is_err(), "{text:?}");
        }
        for json in ["-1", "1.5", "1e3", "18446744073709551616", "null", "true", "[1]", "{}"] {
            assert!(serde_json::from_str::<UserId>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_redirect_uri_keeps_its_exact_text() {
        for text in [
            "https://app.example",
            "https://app.example/",
            "HTTPS://App.Example:443/a/../b?x=%7e&y=+",
            "http://localhost:3000/callback",
            "http://[::1]:8080/",
        ] {
            let uri: RedirectUri = text.parse().unwrap();
            assert_eq!(uri.as_str(), text);
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn a_redirect_uri_is_absolute_http_without_fragment_or_user() {
        use InvalidRedirectUri::{Fragment, NotAbsoluteHttp, TooLong, UserInfo};
        let long = format!("https://app.example/{}", "a".repeat(2048));
        for (text, expected) in [
            ("", NotAbsoluteHttp),
            ("/callback", NotAbsoluteHttp),
            ("//app.example/", NotAbsoluteHttp),
            ("https:app.example", NotAbsoluteHttp),
            ("https:/app.example", NotAbsoluteHttp),
            ("https:///app.example", NotAbsoluteHttp),
            ("https://", NotAbsoluteHttp),
            ("https:\\\\app.example\\", NotAbsoluteHttp),
            ("https://app.example\\@evil.example", NotAbsoluteHttp),
            (" https://app.example/", NotAbsoluteHttp),
            ("https://app.example/\n", NotAbsoluteHttp),
            ("https://app.ex\tample/", NotAbsoluteHttp),
            ("https://bücher.example/", NotAbsoluteHttp),
            ("javascript://app.example/", NotAbsoluteHttp),
            ("data:text/html,x", NotAbsoluteHttp),
            ("custom://app.example/", NotAbsoluteHttp),
            ("https://app.example/#", Fragment),
            ("https://app.example/#_", Fragment),
            ("https://user@app.example/", UserInfo),
            ("https://:pass@app.example/", UserInfo),
            ("https://@app.example/", UserInfo),
            (&long, TooLong),
        ] {
            assert_eq!(text.parse::<RedirectUri>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn only_https_and_this_machine_are_safe() {
        for (text, expected) in [
            ("https://app.example/", true),
            ("http://localhost:3000/", true),
            ("http://127.0.0.1:8080/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]/", true),
            ("http://app.example/", false),
            ("http://localhost.evil.example/", false),
            ("http://127.0.0.1.evil.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            let uri: RedirectUri = text.parse().unwrap();
            assert_eq!(uri.is_secure_or_loopback(), expected, "{text}");
        }
    }
}
