//! The allowlist of return addresses: exact origins and path prefixes.
//! Owns the only way to make a [`ReturnTo`]. Never repairs an address: an ambiguous one is refused.

use std::str::FromStr;

use url::{Url, form_urlencoded};

/// Maximum length of a return address, in bytes: five of them, sealed, fit into API Gateway's limit
/// of 10,240 bytes for all headers.
const MAX_LENGTH: usize = 512;

/// URL prefixes, each an origin and a path. A return address is inside if scheme, host and port are
/// equal and its path is the prefix's path or below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReturnToAllowlist(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    prefix: Url,
    /// True if the port is `*`, which is allowed on loopback only: elsewhere another port may
    /// belong to somebody else.
    any_port: bool,
}

/// An invalid entry of the allowlist, by its position.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "entry {0} is not an absolute https URL (http only on loopback) without user, query and fragment, such as https://app.example.com/threads or http://localhost:*/ (any port, on loopback only)"
)]
pub struct BadEntry(usize);

/// A return address inside the allowlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(Url);

/// Error of [`ReturnToAllowlist::check`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAllowed {
    /// The address is invalid for any allowlist.
    #[error(
        "the return address has to be an absolute https URL (http only on loopback) as a browser would write it: at most {MAX_LENGTH} characters of ASCII, none of them a space, with the host and the port in full, and without user, fragment, doubled slashes, dot segments, `;` and encoded separators in its path"
    )]
    Unusable,
    /// The address is not inside the allowlist.
    #[error("the return address is not on the allowlist")]
    Outside,
    /// The address has a reserved parameter, with which its author could forge a result of ours.
    #[error("the return address has a parameter of ours: none may be called {}", OURS.join(", "))]
    Ours,
}

/// The reserved parameters: those of the way back, and those of an error of Meta.
const OURS: [&str; 9] = [
    "session_id",
    "completion",
    "status",
    "reason",
    "error",
    "error_reason",
    "error_description",
    "error_code",
    "error_message",
];

impl FromStr for ReturnToAllowlist {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let entries = text.split([',', ' ', '\n', '\t']).filter(|entry| !entry.is_empty());
        entries
            .enumerate()
            .map(|(n, entry)| Entry::read(entry).ok_or(BadEntry(n + 1)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (url, any_port) = match authority.strip_suffix(":*") {
            // The host must have no other port, not even the scheme's or an empty one.
            Some(host) => {
                let url = plain_url(&format!("{scheme}://{host}{path}"))?;
                let is_host = url.host_str().is_some_and(|name| name.eq_ignore_ascii_case(host));
                is_host.then_some((url, true))?
            }
            None => (plain_url(text)?, false),
        };
        let is_possible = !any_port || is_loopback(&url);
        (is_possible && url.query().is_none()).then_some(Self { prefix: url, any_port })
    }

    fn contains(&self, url: &Url) -> bool {
        let Self { prefix, any_port } = self;
        let same_origin = prefix.scheme() == url.scheme()
            && prefix.host() == url.host()
            && (*any_port || prefix.port_or_known_default() == url.port_or_known_default());
        let below = url.path().strip_prefix(prefix.path().trim_end_matches('/'));
        same_origin && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl ReturnToAllowlist {
    /// Returns the number of entries.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Checks an untrusted return address.
    ///
    /// # Errors
    /// - Returns [`NotAllowed::Unusable`] if the address is not in plain form.
    /// - Returns [`NotAllowed::Outside`] if it is not inside the list.
    /// - Returns [`NotAllowed::Ours`] if it has a reserved parameter.
    pub fn check(&self, destination: &str) -> Result<ReturnTo, NotAllowed> {
        let url = plain_url(destination).ok_or(NotAllowed::Unusable)?;
        if !self.0.iter().any(|entry| entry.contains(&url)) {
            return Err(NotAllowed::Outside);
        }
        if has_ours(&url) { Err(NotAllowed::Ours) } else { Ok(ReturnTo(url)) }
    }
}

impl ReturnTo {
    /// Returns the address with `parameters` added to its query.
    #[must_use]
    pub fn with(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }

    /// Returns the address itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Returns true if a request to `url` cannot be read in transit: https, or http on loopback.
pub(crate) fn is_secure(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Parses a URL that every parser reads alike. Browsers and servers disagree over backslashes,
/// control characters, spaces, encoded separators and dots, so none of these may occur. An address
/// that parsing would normalize is refused, except for the case of the host and a missing first
/// slash.
fn plain_url(text: &str) -> Option<Url> {
    let suspicious = |c: char| {
        !c.is_ascii_graphic()
            || matches!(c, '\\' | '#' | '<' | '>' | '"' | '\'' | '`' | '{' | '}' | '|' | '^')
    };
    if text.len() > MAX_LENGTH || text.contains(suspicious) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let path = rest[authority.len()..].split('?').next()?;
    let host_is_plain = authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
        && !authority.contains("..")
        && url
            .host_str()
            .is_some_and(|host| authority.to_ascii_lowercase().starts_with(host) && !host.ends_with('.'));
    // Another parser may read a port with a zero before it as octal.
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let port_is_plain = port.is_none_or(|port| !port.starts_with('0'));
    let encoded = path.to_ascii_lowercase();
    let path_is_plain = (path.is_empty() || path == url.path())
        && !path.contains("//")
        && !["%2f", "%5c", "%2e", "%00", "%25", ";"].iter().any(|part| encoded.contains(part));
    (is_secure(&url)
        && host_is_plain
        && port_is_plain
        && path_is_plain
        && url.username().is_empty()
        && url.password().is_none())
    .then_some(url)
}

/// Returns true if any parser could find a reserved parameter in the query: some treat `;` as a
/// separator, some ignore the case, and PHP reads `session.id` and `completion[]` as reserved
/// names.
fn has_ours(url: &Url) -> bool {
    let query = url.query().unwrap_or_default().replace(';', "&");
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| {
        let name = name.split(['[', '\0']).next().unwrap_or_default().trim();
        let name = name.replace([' ', '.'], "_");
        OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ReturnToAllowlist {
        "https://app.example.com/threads, http://127.0.0.1:4000/".parse().unwrap()
    }

    #[test]
    fn accepts_what_is_inside() {
        for inside in [
            "https://app.example.com/threads",
            "https://app.example.com/threads/",
            "https://app.example.com/threads/done?user=7&x=%2F",
            "https://APP.example.com/threads/done",
            "https://app.example.com:443/threads",
            "http://127.0.0.1:4000",
            "http://127.0.0.1:4000/anything",
        ] {
            assert!(list().check(inside).is_ok(), "{inside}");
        }
    }

    /// Threat open-redirect: every hostile form of every allowed destination.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a corpus is a list")]
    fn refuses_a_corpus_of_hostile_destinations() {
        let mut corpus = Vec::new();
        let hosts = [
            "evil.example",
            "app.example.com.evil.example",
            "evilapp.example.com",
            "app.example.com@evil.example",
            "app.example.com:443@evil.example",
            "evil.example#app.example.com",
            "evil.example?app.example.com",
            "evil.example/app.example.com",
            "evil.example\\app.example.com",
            "app.example.com\\@evil.example",
            "app.example.com%2eevil.example",
            "app.example.com%00.evil.example",
            "app.example.com\0.evil.example",
            "app.example.com\t.evil.example",
            "app.example.com%20.evil.example",
            "app.example.com:444",
            "app.example.com.",
            "app..example.com",
            "app.example.co",
            "xapp.example.com",
            "app.example.com:443:80",
            "аpp.example.com",
            "app。example。com",
            "127.0.0.1",
            "127.0.0.1:4001",
            "2130706433:4000",
            "0x7f.1:4000",
            "0177.0.0.1:4000",
            "127.1:4000",
            "[::ffff:7f00:1]:4000",
            "[::1]:4000",
            "localhost:4000",
            "user@app.example.com",
            "user:pass@app.example.com",
            ":@app.example.com",
            "@app.example.com",
            "app.example.com%40evil.example",
        ];
        let paths = ["/threads", "/threads/", "/threads/done", "/threads?x=1"];
        for host in hosts {
            for path in paths {
                for scheme in ["https://", "http://", "//", "https:", "https:/", "https:///", "HTTPS:\\\\"] {
                    corpus.push(format!("{scheme}{host}{path}"));
                }
            }
        }
        let paths_outside = [
            "",
            "/",
            "/thread",
            "/threadsx",
            "/Threads",
            "/threads/../admin",
            "/threads/..",
            "/threads/./x",
            "/threads/%2e%2e/admin",
            "/threads/%2E%2E/",
            "/threads%2f..%2fadmin",
            "/threads/..%2fadmin",
            "/threads\\..\\admin",
            "/threads/%5c..",
            "/threads//evil.example",
            "//threads",
            "/./threads",
            "/x/../threads",
            "/threads/;/x",
            "/threads/%00",
            "/threads/%252e%252e/",
            "/threads/\r\nSet-Cookie:x",
            "/threads/ x",
            "/threads/\u{202e}x",
            "/threads#@evil.example",
            "/threads/<script>",
            "/threads/'x'",
            "/%74hreads",
            "?/threads",
            "#/threads",
            "/..;/threads",
        ];
        for path in paths_outside {
            corpus.push(format!("https://app.example.com{path}"));
            corpus.push(format!("https:///app.example.com{path}"));
        }
        for scheme in [
            "http",
            "ftp",
            "javascript",
            "data",
            "file",
            "blob",
            "ws",
            "wss",
            "vbscript",
            "intent",
            "about",
            "view-source:https",
        ] {
            corpus.push(format!("{scheme}://app.example.com/threads"));
            corpus.push(format!("{scheme}:app.example.com/threads"));
        }
        corpus.extend(
            [
                "",
                " ",
                "/",
                "threads",
                "/threads",
                "\\\\evil.example",
                " https://app.example.com/threads",
                "https://app.example.com/threads ",
            ]
            .map(String::from),
        );
        corpus.push(format!("https://app.example.com/threads/{}", "x".repeat(MAX_LENGTH)));
        let accepted: Vec<_> =
            corpus.iter().filter(|destination| list().check(destination).is_ok()).collect();
        println!("return_to: {} hostile destinations, {} accepted", corpus.len(), accepted.len());
        assert!(corpus.len() >= 500);
        assert!(accepted.is_empty(), "{accepted:?}");
    }

    /// The allowlist of development: any port of this machine.
    fn any_port() -> ReturnToAllowlist {
        "http://localhost:*/ http://127.0.0.1:*/app,http://[::1]:*".parse().unwrap()
    }

    #[test]
    fn any_port_of_this_machine_may_be_returned_to() {
        for inside in [
            "http://localhost:5173/done",
            "http://LOCALHOST:5173/done?x=1",
            "http://localhost",
            "http://localhost:80/",
            "http://localhost:1/",
            "http://localhost:65535/a/b",
            "http://127.0.0.1:8080/app",
            "http://127.0.0.1/app/done",
            "http://[::1]:3001/",
        ] {
            assert!(any_port().check(inside).is_ok(), "{inside}");
        }
    }

    #[test]
    fn any_port_is_of_this_machine_and_of_nothing_else() {
        let mut corpus = Vec::new();
        for authority in [
            "localhost:5173@evil.example",
            "localhost:*@evil.example",
            "localhost@evil.example:5173",
            "localhost:5173:80",
            "localhost:*",
            "localhost:",
            "localhost:99999",
            "localhost:05173",
            "localhost:0",
            "localhost:-1",
            "localhost:5173%40evil.example",
            "localhost:5173\\@evil.example",
            "localhost:5173#@evil.example",
            "localhost:5173\t.evil.example",
            "localhost.:5173",
            "localhost.evil.example:5173",
            "evil-localhost:5173",
            "evil.localhost:5173",
            "localhost%2eevil.example:5173",
            "ⓛocalhost:5173",
            "127.0.0.1.evil.example:5173",
            "127.0.0.2:5173",
            "127.1:5173",
            "2130706433:5173",
            "0x7f.0.0.1:5173",
            "0177.0.0.1:5173",
            "0.0.0.0:5173",
            "[::]:5173",
            "[::ffff:127.0.0.1]:5173",
            "[0:0:0:0:0:0:0:1]:5173",
            "[::1%25eth0]:5173",
            "[::2]:5173",
            "192.168.0.1:5173",
            "evil.example:5173",
        ] {
            for path in ["/app", "/app/done", "/app?x=1"] {
                for scheme in ["http://", "https://", "//", "http:", "http:///", "ws://"] {
                    corpus.push(format!("{scheme}{authority}{path}"));
                }
            }
        }
        // Another scheme is another origin, and a path is still a path.
        corpus.extend(
            [
                "https://localhost:5173/",
                "ftp://localhost:5173/",
                "http://127.0.0.1:5173/",
                "http://127.0.0.1:5173/application",
                "http://127.0.0.1:5173/app/../admin",
                "http://127.0.0.1:5173//app",
                "http://localhost:5173/#app",
            ]
            .map(String::from),
        );
        // URL parsers read an empty port as port 80, which is acceptable.
        corpus.retain(|destination| !destination.starts_with("http://localhost:/"));
        let accepted: Vec<_> =
            corpus.iter().filter(|destination| any_port().check(destination).is_ok()).collect();
        println!("return_to: {} hostile destinations on any port, {} accepted", corpus.len(), accepted.len());
        assert!(corpus.len() >= 500);
        assert!(accepted.is_empty(), "{accepted:?}");
    }

    #[test]
    fn no_other_host_has_any_port() {
        for entry in [
            "http://evil.example:*/",
            "https://app.example.com:*/",
            "https://app.example.com:*",
            "http://0.0.0.0:*/",
            "http://[::]:*/",
            "http://192.168.0.1:*/",
            "http://localhost.evil.example:*/",
            "http://evil.localhost:*/",
            "http://localhost.:*/",
            "http://user@localhost:*/",
            "http://localhost:*@evil.example/",
            "http://localhost:80*/",
            "http://localhost:*80/",
            "http://localhost:5173:*/",
            "http://localhost:80:*/",
            "https://localhost:443:*/",
            "http://[::1]:80:*/",
            "http://localhost::*/",
            "http://127.0.0.1::*",
            "http://localhost:**/",
            "http://localhost:*:*/",
            "http://127.1:*/",
            "http://*:*/",
            "http://*/",
            "http://*.localhost:*/",
            "https://*.example.com/",
            "http://[::1:*]/",
            "http://:*/",
            "localhost:*",
            "//localhost:*/",
            "http://localhost:*/?x=1",
            "http://localhost:*/#x",
            "http://localhost:*?x=1",
        ] {
            assert_eq!(entry.parse::<ReturnToAllowlist>(), Err(BadEntry(1)), "{entry}");
        }
    }

    #[test]
    fn a_refusal_tells_what_a_list_can_have() {
        assert_eq!(list().check("https://other.example.com/"), Err(NotAllowed::Outside));
        for unusable in ["http://app.example.com/threads", "app.example.com", "https://app.example.com/#x"] {
            assert_eq!(list().check(unusable), Err(NotAllowed::Unusable), "{unusable}");
        }
    }

    #[test]
    fn refuses_a_parameter_of_ours_however_it_is_spelled() {
        let names = [
            "completion=x",
            "%63ompletion=x",
            "a=1&Completion",
            "a=1;completion=x",
            "completion[]=x",
            "completion%5B0%5D=x",
            "completion%00=x",
            "session.id=x",
            "session+id=x",
            "%20session_id=x",
            "session_id",
            "status=connected",
            "error=access_denied",
            "error_reason=x",
        ];
        for query in names {
            for path in ["https://app.example.com/threads", "http://127.0.0.1:4000/"] {
                assert_eq!(list().check(&format!("{path}?{query}")), Err(NotAllowed::Ours), "{query}");
            }
        }
        for query in
            ["my_status=x", "completions=x", "state=x", "x=completion", "x=%26completion%3Dx", "errors=1"]
        {
            assert!(list().check(&format!("http://127.0.0.1:4000/?{query}")).is_ok(), "{query}");
        }
        assert!(list().check("http://127.0.0.1:4000/#completion=x").is_err());
        for entry in ["https://a.example/?completion=x", "https://a.example/#completion=x"] {
            assert_eq!(entry.parse::<ReturnToAllowlist>(), Err(BadEntry(1)), "{entry}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(ReturnToAllowlist::default().check("https://app.example.com/").is_err());
    }

    #[test]
    fn a_bad_entry_is_named_by_its_place() {
        assert_eq!("https://a.example, http://b.example".parse::<ReturnToAllowlist>(), Err(BadEntry(2)));
    }
}
