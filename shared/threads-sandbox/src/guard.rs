//! Keeps web pages from driving the sandbox through the browser of the person who runs it.
//!
//! It is no login: whatever runs on the machine may use the control endpoint, and nothing else may.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use url::Url;

use crate::reply::Reply;

/// Lets a request pass if its `Host` is loopback (else a page could come in by DNS rebinding) and if the browser does not
/// say that another site's page sent it.
pub(crate) async fn local_only(request: Request, next: Next) -> Response {
    match refusal(request.headers()) {
        None => next.run(request).await,
        Some(reason) => Reply::json(StatusCode::FORBIDDEN, &json!({ "error": reason })).send(),
    }
}

fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host_is_local = text(HOST)
        .and_then(|host| host.parse::<Authority>().ok())
        .is_some_and(|authority| is_loopback(authority.host()));
    if !host_is_local {
        return Some(
            "this part of the sandbox answers only to a loopback Host, such as localhost or 127.0.0.1",
        );
    }
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Some("this part of the sandbox does not answer to pages of other sites");
    }
    // For browsers that do not send Sec-Fetch-Site. "null" is what our own page's form sends, since it asks for no
    // referrer; a hostile page that sends it is caught above.
    let origin_is_foreign = text(ORIGIN).is_some_and(|origin| {
        origin != "null" && !Url::parse(origin).is_ok_and(|url| url.host_str().is_some_and(is_loopback))
    });
    origin_is_foreign.then_some("this part of the sandbox does not answer to pages of other origins")
}

/// Whether a host, as a URL spells it, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_names_that_look_like_it() {
        for host in ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.8.9.1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", ""]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn foreign_hosts_sites_and_origins_are_refused() {
        let refused = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            refusal(&headers).is_some()
        };
        assert!(!refused(&[("host", "localhost:8081")]));
        assert!(!refused(&[("host", "[::1]:8081"), ("origin", "http://localhost:3000")]));
        assert!(!refused(&[("host", "127.0.0.1"), ("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(refused(&[]));
        assert!(refused(&[("host", "evil.example")]));
        assert!(refused(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]));
        assert!(refused(&[("host", "localhost"), ("origin", "https://evil.example")]));
    }
}
