//! The callers that an address of this machine accepts.
//!
//! Listening on loopback excludes nobody by itself: web pages reach it through the user's browser,
//! names can resolve to it, and a tunnel exposes it to the world. So each route has a [`Door`]. A
//! door is not a login: every program on the machine may call, and only [`Door::Signed`] requires
//! more.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use url::Url;

use crate::reply::Reply;

/// The callers that a route accepts. No door answers a preflight, or allows another site to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Programs with the key: loopback `Host`, no `Origin`. The service with the key checks the
    /// signature.
    Signed,
    /// This machine: loopback `Host`, no header that a proxy or a tunnel adds, and of web pages
    /// only the route's own.
    Local,
    /// A public page's own form: loopback or public `Host`, and of web pages only the route's own.
    Form,
    /// Everybody: loopback or public `Host`.
    Public,
}

/// The reason why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// There is not exactly one `Host`, or it is not one of our names.
    Host,
    /// A browser's preflight for another site.
    Preflight,
    /// It came through a proxy or a tunnel.
    Forwarded,
    /// A web page of another origin sent it.
    Foreign,
}

impl TurnedAway {
    /// The reason, for the client's developer.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Host => {
                "this address answers only to a loopback Host, such as localhost or 127.0.0.1, and where it is public to that \
                 of the public URL"
            }
            Self::Preflight => "this address does not answer to pages of other sites: there is no CORS",
            Self::Forwarded => {
                "this part answers only to this machine itself, and the request came through a proxy or a tunnel"
            }
            Self::Foreign => "this part does not answer to pages of other sites",
        }
    }
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        let body = json!({"__type": "AccessDeniedException", "error": "forbidden", "message": self.reason()});
        Reply::json(StatusCode::FORBIDDEN, &body).send()
    }
}

impl Door {
    /// Judges a request at this door. `public_host` is the name under which the
    /// listener is public.
    ///
    /// # Errors
    ///
    /// Returns [`TurnedAway`] if the request is turned away.
    pub fn check(self, parts: &Parts, public_host: Option<&str>) -> Result<(), TurnedAway> {
        let host = host(parts).ok_or(TurnedAway::Host)?;
        let is_public = || public_host.is_some_and(|public| is_same_name(public, host.host()));
        if !is_loopback(host.host()) && (matches!(self, Self::Signed | Self::Local) || !is_public()) {
            return Err(TurnedAway::Host);
        }
        let headers = &parts.headers;
        if parts.method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return Err(TurnedAway::Preflight);
        }
        if self == Self::Local && headers.keys().any(is_of_a_proxy) {
            return Err(TurnedAway::Forwarded);
        }
        let is_foreign = match self {
            Self::Signed => headers.contains_key(ORIGIN),
            Self::Local => is_foreign(&parts.method, headers, |origin| is_own(origin, &host)),
            Self::Form => is_foreign(&parts.method, headers, |origin| {
                is_own(origin, &host) || public_host.is_some_and(|public| is_own_public(origin, public))
            }),
            Self::Public => false,
        };
        if is_foreign { Err(TurnedAway::Foreign) } else { Ok(()) }
    }
}

/// The doors of one listener.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) door: fn(&Method, &str) -> Door,
    pub(crate) public_host: Option<String>,
}

impl Doors {
    /// Lets a request pass, or turns it away.
    pub(crate) async fn keep(State(doors): State<Self>, request: Request, next: Next) -> Response {
        let (parts, body) = request.into_parts();
        let door = (doors.door)(&parts.method, parts.uri.path());
        match door.check(&parts, doors.public_host.as_deref()) {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(turned_away) => turned_away.into_response(),
        }
    }
}

/// The one host that a request names: in `Host`, in its target (as `:authority` of HTTP/2 is), or
/// the same in both.
fn host(parts: &Parts) -> Option<Authority> {
    let mut named: Vec<Authority> = Vec::new();
    named.extend(parts.uri.authority().cloned());
    let mut headers = parts.headers.get_all(HOST).iter();
    if let Some(header) = headers.next() {
        named.push(header.to_str().ok()?.parse().ok()?);
    }
    let same = named.windows(2).all(|two| two[0] == two[1]);
    let host = named.pop().filter(|_| same && headers.next().is_none())?;
    // A text before an `@` is a user name, and is not allowed here.
    (!host.host().is_empty() && !host.as_str().contains('@')).then_some(host)
}

/// Returns true if a host, as a URL spells it, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    let host = without_dot(&host);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// A name may end with the dot of the DNS's root.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_same_name(one: &str, other: &str) -> bool {
    without_dot(one).eq_ignore_ascii_case(without_dot(other))
}

/// Returns true if proxies and tunnels add a header of this name to the requests that they forward.
fn is_of_a_proxy(name: &HeaderName) -> bool {
    let name = name.as_str();
    let known = [
        "via",
        "cdn-loop",
        "client-ip",
        "max-forwards",
        "proxy-connection",
        "remote-addr",
        "x-host",
        "x-request-start",
        "x-rewrite-url",
        "x-scheme",
        "x-amz-cf-id",
        "x-amzn-trace-id",
        "x-cluster-client-ip",
    ];
    let begins = [
        "akamai-",
        "cf-",
        "cloudfront-",
        "fastly-",
        "fly-",
        "incap-",
        "ngrok-",
        "tailscale-",
        "x-akamai-",
        "x-appengine-",
        "x-arr-",
        "x-azure-",
        "x-cloud-",
        "x-envoy-",
        "x-ngrok-",
        "x-original-",
        "x-proxy",
        "x-real-",
        "x-sucuri-",
        "x-vercel-",
        "x-zrok-",
    ];
    known.contains(&name)
        || begins.iter().any(|begin| name.starts_with(begin))
        || name.contains("forwarded")
        || ["-ip", "clientip", "-remote-addr", "-connecting-host"].iter().any(|end| name.ends_with(end))
}

/// Returns true if the browser reports that a page of another origin sent this.
fn is_foreign(method: &Method, headers: &HeaderMap, is_own: impl Fn(&str) -> bool) -> bool {
    let site = match headers.get("sec-fetch-site").map(|site| site.to_str()) {
        None => None,
        // A link on a page of another port leads here. Its buttons do not.
        Some(Ok("same-site")) if *method == Method::GET => None,
        Some(Ok(site @ ("none" | "same-origin"))) => Some(site),
        Some(_) => return true,
    };
    let mut origins = headers.get_all(ORIGIN).iter();
    let own = match origins.next().map(|origin| origin.to_str()) {
        None => true,
        // A page without a referrer hides its origin from its own server too.
        Some(Ok("null")) => site == Some("same-origin"),
        Some(Ok(origin)) => is_own(origin),
        Some(Err(_)) => false,
    };
    !own || origins.next().is_some()
}

/// Returns true if a page of this origin came from this host, over plain HTTP as for all listeners
/// here.
fn is_own(origin: &str, host: &Authority) -> bool {
    let (origin, own) = (Url::parse(origin), Url::parse(&format!("http://{host}")));
    matches!((origin, own), (Ok(origin), Ok(own)) if origin.origin() == own.origin())
}

/// The same through a tunnel, whose scheme and port are its own.
fn is_own_public(origin: &str, public_host: &str) -> bool {
    Url::parse(origin).is_ok_and(|url| url.host_str().is_some_and(|host| is_same_name(host, public_host)))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn parts(method: &str, target: &str, headers: Pairs<'_>) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn get(door: Door, headers: Pairs<'_>) -> Result<(), TurnedAway> {
        door.check(&parts("GET", "/", headers), Some("tunnel.example.com"))
    }

    const ALL: [Door; 4] = [Door::Signed, Door::Local, Door::Form, Door::Public];

    #[test]
    fn loopback_is_told_from_names_that_look_like_it() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.1.",
            "127.8.9.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.example",
            "evillocalhost",
            "localhost..",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "::1",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn there_is_one_host_and_it_is_ours() {
        for door in ALL {
            for host in ["localhost:3000", "localhost.", "127.0.0.1:3000", "[::1]:3000"] {
                assert_eq!(get(door, &[("host", host)]), Ok(()), "{door:?} {host}");
            }
            for host in [
                "evil.example",
                "localhost.evil.example:3000",
                "a@localhost",
                "localhost@evil.example",
                "",
                "\u{e9}",
            ] {
                assert_eq!(get(door, &[("host", host)]), Err(TurnedAway::Host), "{door:?} {host}");
            }
            assert_eq!(get(door, &[]), Err(TurnedAway::Host));
            for second in ["localhost", "evil.example"] {
                let two = get(door, &[("host", "localhost"), ("host", second)]);
                assert_eq!(two, Err(TurnedAway::Host), "{door:?}");
            }
            // HTTP/2 has the authority in the target, and so has a request to a proxy.
            for (target, header, expected) in [
                ("http://localhost:3000/", None, Ok(())),
                ("http://localhost:3000/", Some("localhost:3000"), Ok(())),
                ("http://evil.example/", None, Err(TurnedAway::Host)),
                ("http://evil.example/", Some("localhost:3000"), Err(TurnedAway::Host)),
                ("http://localhost:3000/", Some("evil.example"), Err(TurnedAway::Host)),
            ] {
                let headers: Vec<_> = header.iter().map(|host| ("host", *host)).collect();
                assert_eq!(door.check(&parts("GET", target, &headers), None), expected, "{target}");
            }
        }
        let public = [("host", "Tunnel.example.com:443")];
        assert_eq!(ALL.map(|door| get(door, &public).is_ok()), [false, false, true, true]);
    }

    #[test]
    fn what_a_tunnel_hands_on_is_not_local() {
        for header in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
            "cf-connecting-ip",
            "cf-ray",
            "true-client-ip",
            "x-client-ip",
            "x-original-host",
            "fastly-client-ip",
            "x-azure-clientip",
            "tailscale-user-login",
            "x-envoy-external-address",
        ] {
            let headers = [("host", "localhost:3000"), (header, "a.example")];
            assert_eq!(get(Door::Local, &headers), Err(TurnedAway::Forwarded), "{header}");
            for door in [Door::Signed, Door::Form, Door::Public] {
                assert_eq!(get(door, &headers), Ok(()), "{header}");
            }
        }
        let browser = [
            ("host", "localhost:3000"),
            ("accept-language", "en"),
            ("if-none-match", "x"),
            ("upgrade-insecure-requests", "1"),
            ("sec-fetch-site", "none"),
            ("x-amz-date", "x"),
        ];
        assert_eq!(get(Door::Local, &browser), Ok(()));
    }

    #[test]
    fn only_own_pages_press_buttons() {
        let here = ("host", "localhost:3000");
        let post = |door: Door, headers: Pairs<'_>| {
            let headers = [&[here], headers].concat();
            door.check(&parts("POST", "/", &headers), Some("tunnel.example.com")).is_ok()
        };
        let own = ("origin", "http://localhost:3000");
        for fine in
            [&[][..], &[own], &[own, ("sec-fetch-site", "same-origin")], &[("sec-fetch-site", "none")]]
        {
            assert!(
                post(Door::Local, fine) && post(Door::Form, fine) && post(Door::Public, fine),
                "{fine:?}"
            );
        }
        assert!(post(Door::Local, &[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        for foreign in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "http://localhost:3001")],
            &[("origin", "https://localhost:3000")],
            &[("origin", "http://127.0.0.1:3000")],
            &[("origin", "null")],
            &[("origin", "null"), ("sec-fetch-site", "cross-site")],
            &[("origin", "")],
            &[own, ("origin", "https://evil.example")],
            &[own, ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "odd")],
        ] {
            assert!(!post(Door::Local, foreign) && !post(Door::Form, foreign), "{foreign:?}");
            assert!(post(Door::Public, foreign), "{foreign:?}");
        }
        assert!(!post(Door::Signed, &[own]));
        let tunnel = [("origin", "https://tunnel.example.com")];
        assert!(post(Door::Form, &tunnel) && !post(Door::Local, &tunnel));
        // A link from a page of another port.
        assert_eq!(get(Door::Local, &[here, ("sec-fetch-site", "same-site")]), Ok(()));
        assert_eq!(get(Door::Local, &[here, ("sec-fetch-site", "cross-site")]), Err(TurnedAway::Foreign));
    }

    #[test]
    fn no_door_answers_a_preflight() {
        let headers = [
            ("host", "localhost:3000"),
            ("origin", "http://localhost:3000"),
            ("access-control-request-method", "POST"),
        ];
        for door in ALL {
            assert_eq!(door.check(&parts("OPTIONS", "/", &headers), None), Err(TurnedAway::Preflight));
        }
    }
}
