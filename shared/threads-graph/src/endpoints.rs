//! Meta's addresses, and the URL to which a person is sent.
//!
//! Owns the hosts, the API version and every path that is joined to them. Refuses plain `http` to
//! another machine. No URL made here carries a secret.

use url::Url;

use crate::ids::{AppId, RedirectUri, is_secure_or_loopback};
use crate::scope::Scopes;
use crate::state::State;

/// The addresses of the Threads API.
///
/// The default is Meta's: `https://threads.com/oauth/authorize`, `https://graph.threads.net` and
/// `v1.0`. Meta has moved hosts before (`threads.net`, `www.threads.net`, `graph.threads.com` all
/// appear in its own material), and tests need their own, so all three are values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The consent page, without a query.
    pub authorize: Url,
    /// The root of the API, without the version.
    pub graph: Url,
    /// The version in the path of versioned calls, such as `v1.0`. The token calls are unversioned.
    pub api_version: String,
}

/// The reason why addresses were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoints {
    /// The named address is not an absolute URL with neither query, fragment nor user name.
    #[error("the {0} address must be an absolute URL without query, fragment or user name")]
    NotAUrl(&'static str),
    /// The named address is plain `http` to another machine, or has another scheme.
    #[error("the {0} address must be https, or http to this machine")]
    NotSecure(&'static str),
    /// The version does not look like `v1.0`.
    #[error("the API version must look like v1.0")]
    Version,
}

impl Endpoints {
    /// Validates addresses given as text (or as [`Url`]s) and a version such as `v1.0`.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidEndpoints`] if an address is neither `https` nor `http` to a loopback host,
    /// has a query, fragment or user name, or the version is not `v`, digits, a dot and digits.
    pub fn new(
        authorize: impl AsRef<str>,
        graph: impl AsRef<str>,
        api_version: impl Into<String>,
    ) -> Result<Self, InvalidEndpoints> {
        let api_version = api_version.into();
        let is_number =
            |text: &str| (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !api_version
            .strip_prefix('v')
            .and_then(|version| version.split_once('.'))
            .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
        {
            return Err(InvalidEndpoints::Version);
        }
        Ok(Self {
            authorize: address("authorize", authorize.as_ref())?,
            graph: address("graph", graph.as_ref())?,
            api_version,
        })
    }

    /// An unversioned address below `graph`.
    pub(crate) fn unversioned(&self, segments: &[&str]) -> Url {
        let mut url = self.graph.clone();
        // An `http` URL always has path segments; an `Endpoints` built by hand from another scheme
        // fails when sent.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// An address below `graph` and the version.
    pub(crate) fn versioned(&self, segments: &[&str]) -> Url {
        let mut url = self.unversioned(&[&self.api_version]);
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }
}

impl Default for Endpoints {
    #[expect(clippy::expect_used, reason = "constants, and a test parses them")]
    fn default() -> Self {
        Self::new("https://threads.com/oauth/authorize", "https://graph.threads.net", "v1.0")
            .expect("Meta's addresses are valid")
    }
}

fn address(name: &'static str, text: &str) -> Result<Url, InvalidEndpoints> {
    let url = Url::parse(text).map_err(|_| InvalidEndpoints::NotAUrl(name))?;
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(InvalidEndpoints::NotAUrl(name));
    }
    if !is_secure_or_loopback(&url) {
        return Err(InvalidEndpoints::NotSecure(name));
    }
    Ok(url)
}

/// The URL to send a person's browser to, every value percent-encoded.
///
/// `state` should be [random](State::random) and bound to that browser. Meta returns it in
/// [`CallbackParams`](crate::CallbackParams).
///
/// Source: Meta, "Get access tokens and permissions", 2026-08.
#[must_use]
pub fn authorization_url(
    endpoints: &Endpoints,
    app_id: &AppId,
    redirect_uri: &RedirectUri,
    scopes: &Scopes,
    state: &State,
) -> Url {
    let mut url = endpoints.authorize.clone();
    url.query_pairs_mut()
        .clear()
        .append_pair("client_id", app_id.as_str())
        .append_pair("redirect_uri", redirect_uri.as_str())
        .append_pair("response_type", "code")
        .append_pair("scope", &scopes.to_string())
        .append_pair("state", state.as_str());
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_metas() {
        let endpoints = Endpoints::default();
        assert_eq!(endpoints.authorize.as_str(), "https://threads.com/oauth/authorize");
        assert_eq!(
            endpoints.unversioned(&["oauth", "access_token"]).as_str(),
            "https://graph.threads.net/oauth/access_token"
        );
        assert_eq!(endpoints.versioned(&["me"]).as_str(), "https://graph.threads.net/v1.0/me");
    }

    #[test]
    fn a_path_prefix_is_kept() {
        for graph in ["http://127.0.0.1:9/graph", "http://127.0.0.1:9/graph/"] {
            let endpoints = Endpoints::new("http://localhost:9/authorize", graph, "v2.13").unwrap();
            assert_eq!(endpoints.versioned(&["me"]).as_str(), "http://127.0.0.1:9/graph/v2.13/me");
            assert_eq!(
                endpoints.unversioned(&["access_token"]).as_str(),
                "http://127.0.0.1:9/graph/access_token"
            );
        }
    }

    #[test]
    fn hostile_addresses_and_versions_are_refused() {
        use InvalidEndpoints::{NotAUrl, NotSecure, Version};
        let ok = "https://graph.threads.net";
        for (graph, version, expected) in [
            ("http://graph.threads.net", "v1.0", NotSecure("graph")),
            ("ftp://graph.threads.net", "v1.0", NotSecure("graph")),
            ("http://127.0.0.1.evil.example", "v1.0", NotSecure("graph")),
            ("graph.threads.net", "v1.0", NotAUrl("graph")),
            ("https://user@graph.threads.net", "v1.0", NotAUrl("graph")),
            ("https://graph.threads.net/?x", "v1.0", NotAUrl("graph")),
            ("https://graph.threads.net/#x", "v1.0", NotAUrl("graph")),
            (ok, "1.0", Version),
            (ok, "v1", Version),
            (ok, "v1.", Version),
            (ok, "v1.0/..", Version),
            (ok, "v1.0.0", Version),
            (ok, "v1.0\n", Version),
            (ok, "", Version),
        ] {
            assert_eq!(Endpoints::new(ok, graph, version), Err(expected), "{graph} {version}");
        }
        assert_eq!(Endpoints::new("http://a.example", ok, "v1.0"), Err(NotSecure("authorize")));
    }

    #[test]
    fn hostile_values_stay_inside_their_parameter() {
        let redirect = "https://app.example/cb?a=1&client_id=2&scope=x+y%20z";
        for state in ["&client_id=9#x", "a=b&c=d", "+%", "'\"<>"] {
            let url = authorization_url(
                &Endpoints::default(),
                &"123".parse().unwrap(),
                &redirect.parse().unwrap(),
                &Scopes::all(),
                &state.parse().unwrap(),
            );
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let expected = [
                ("client_id", "123"),
                ("redirect_uri", redirect),
                ("response_type", "code"),
                ("scope", &Scopes::all().to_string()),
                ("state", state),
            ];
            assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
            assert_eq!((url.fragment(), url.host_str()), (None, Some("threads.com")));
        }
    }
}
