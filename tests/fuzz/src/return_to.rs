//! A list of return addresses, and an address.

use threads_auth::{NotAllowed, ReturnToAllowlist};
use url::{Host, Url};

use crate::text::lines;

pub(crate) fn run(data: &[u8]) {
    let Some(([list, address], _)) = lines::<2>(data) else { return };
    let fixed = "https://app.example.com/threads http://localhost:*/ http://127.0.0.1:3000/app";
    for list in [fixed, list] {
        let entries: Vec<&str> = list.split([',', ' ', '\n', '\t']).filter(|entry| !entry.is_empty()).collect();
        let Ok(allowed) = list.parse::<ReturnToAllowlist>() else { continue };
        assert_eq!(allowed.count(), entries.len());
        match allowed.check(address) {
            Ok(return_to) => {
                assert!(address.len() <= 512 && address.bytes().all(|byte| byte.is_ascii_graphic()));
                assert!(entries.iter().any(|entry| is_inside(entry, address)), "{address} is outside of {list}");
                assert_plain(address, return_to.as_str());
                assert_eq!(allowed.check(return_to.as_str()).unwrap(), return_to);
                let back = return_to.with(&[("session_id", "a b&status=connected"), ("status", "failed")]);
                let count = |name: &str| back.query_pairs().filter(|(found, _)| found == name).count();
                assert_eq!((count("session_id"), count("status"), count("completion")), (1, 1, 0), "{back}");
                let before = Url::parse(address).unwrap();
                assert_eq!((back.origin(), back.path()), (before.origin(), before.path()));
            }
            Err(error @ (NotAllowed::Unusable | NotAllowed::Outside | NotAllowed::Ours)) => {
                assert!(address.len() < 20 || !error.to_string().contains(address));
            }
        }
    }
}

/// It is its own plain form, but for the case of its host, a port that its scheme implies, and a
/// missing first slash.
fn assert_plain(address: &str, plain: &str) {
    let url = Url::parse(address).unwrap();
    let (scheme, rest) = address.split_once("://").unwrap();
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = url.host_str().unwrap();
    let (named, port) = authority.split_at(host.len());
    assert!(named.eq_ignore_ascii_case(host) && scheme.eq_ignore_ascii_case(url.scheme()), "{address}");
    let known = format!(":{}", url.port_or_known_default().unwrap());
    assert!(["", ":", &known].contains(&port), "{address}");
    let slash = if rest.starts_with('/') { "" } else { "/" };
    assert!(plain.ends_with(&format!("{slash}{rest}")), "{address} {plain}");
}

/// The rule by itself, from the texts.
fn is_inside(entry: &str, address: &str) -> bool {
    let url = Url::parse(address).unwrap();
    let is_loopback = match url.host().unwrap() {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    assert!(url.scheme() == "https" || (url.scheme() == "http" && is_loopback), "{address}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    assert!(!url.path().contains("//") && !url.path().split('/').any(|part| part == "." || part == ".."));
    let any_port = entry.split("://").nth(1).unwrap().split('/').next().unwrap().ends_with(":*");
    let prefix = Url::parse(&if any_port { entry.replacen(":*", "", 1) } else { entry.to_owned() }).unwrap();
    let is_port = any_port || prefix.port_or_known_default() == url.port_or_known_default();
    let base = prefix.path().trim_end_matches('/');
    let is_below = url.path() == base || url.path().starts_with(&format!("{base}/"));
    is_port && is_below && prefix.scheme() == url.scheme() && prefix.host() == url.host() && (!any_port || is_loopback)
}
