//! `vectors.json` holds requests of two other signers, all signed at [`AT`] with
//! [`SECRET_ACCESS_KEY`]. To regenerate it, sign the same requests with both, and record method,
//! target, headers and body:
//!
//! - botocore: replace `botocore.auth.get_current_datetime` by a function that returns [`AT`], then
//!   `SigV4Auth(Credentials(KEY, SECRET, token), "execute-api", "us-east-1")` with
//!   `.add_auth(AWSRequest(method, url, …))`, and `SigV4QueryAuth(…, expires=600)` for presigned
//!   URLs.
//! - Node: `new SignatureV4({service, region, credentials, sha256})`, then `.sign(new
//!   HttpRequest({…}), {signingDate})`, and `.presign(…, {expiresIn: 600, signingDate})`, with all
//!   other settings at their defaults.

use aws_sigv4::http_request::PercentEncodingMode;
use http::{Method, Request, Uri};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::environment::{ACCESS_KEY_ID, REGION};

const AT: &str = "2026-01-01T12:00:00Z";
const HOST_VALUE: &str = "127.0.0.1:3000";

/// The secret of `vectors.json`.
const SECRET_ACCESS_KEY: &str = "threads-auth-development-only";
const SERVICE: &str = "execute-api";

const SIGNER: Signer<'_> = Signer {
    access_key_id: ACCESS_KEY_ID,
    secret_access_key: SECRET_ACCESS_KEY,
    region: REGION,
    service: SERVICE,
};

fn at() -> Timestamp {
    AT.parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(at().as_second() + seconds).unwrap()
}

/// A request whose signature covers one `X-Note`.
fn request(method: &str, target: &str, note: &str) -> Parts {
    let request =
        Request::builder().method(method).uri(target).header("host", HOST_VALUE).header("x-note", note);
    request.body(()).unwrap().into_parts().0
}

/// A test's client, with settings that may deviate from the valid ones.
struct Client<'a> {
    key: (&'a str, &'a str),
    token: Option<&'a str>,
    region: &'a str,
    service: &'a str,
    settings: SigningSettings,
}

impl Default for Client<'_> {
    fn default() -> Self {
        Self {
            key: (ACCESS_KEY_ID, SECRET_ACCESS_KEY),
            token: None,
            region: REGION,
            service: SERVICE,
            settings: SigningSettings::default(),
        }
    }
}

impl Client<'_> {
    fn presigning(expires_in: Duration) -> Self {
        let mut client = Self::default();
        client.settings.signature_location = SignatureLocation::QueryParams;
        client.settings.expires_in = Some(expires_in);
        client
    }

    fn sign(self, parts: Parts, body: &[u8]) -> Parts {
        self.sign_as(parts, SignableBody::Bytes(body))
    }

    fn sign_as(self, parts: Parts, body: SignableBody<'_>) -> Parts {
        let token = self.token.map(str::to_owned);
        let identity = Credentials::new(self.key.0, self.key.1, token, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(at().try_into().unwrap())
            .settings(self.settings)
            .build()
            .unwrap()
            .into();
        let headers: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let uri = format!("http://{HOST_VALUE}{}", parts.uri);
        let signable = SignableRequest::new(parts.method.as_str(), uri, headers.into_iter(), body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = Request::from_parts(parts, ());
        // Signing settings for a query need a whole URL.
        *request.uri_mut() = format!("http://{HOST_VALUE}{}", request.uri()).parse().unwrap();
        instructions.apply_to_request_http1x(&mut request);
        let target = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
        *request.uri_mut() = target;
        request.into_parts().0
    }
}

/// Signs as the Rust SDK does, and verifies the result.
fn signed(method: &str, target: &str, body: &[u8]) -> Parts {
    let parts = Client::default().sign(request(method, target, "a  b"), body);
    assert_eq!(SIGNER.verify(&parts, body, at()), Ok(()), "{target}");
    parts
}

fn with_header(parts: &Parts, name: &'static str, value: &str) -> Parts {
    let mut parts = parts.clone();
    parts.headers.insert(name, value.parse().unwrap());
    parts
}

fn with_target(parts: &Parts, target: &str) -> Parts {
    let mut parts = parts.clone();
    parts.uri = target.parse().unwrap();
    parts
}

fn decoded(parts: &Parts) -> (&str, Vec<(String, String)>) {
    let query = parts.uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
    (parts.uri.path(), pairs.collect())
}

fn authorization(parts: &Parts) -> &str {
    parts.headers[AUTHORIZATION].to_str().unwrap()
}

#[derive(Deserialize)]
struct Vector {
    by: String,
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn vectors() -> Vec<(String, Parts, Vec<u8>)> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    vectors
        .into_iter()
        .map(|vector| {
            let mut request = Request::builder().method(vector.method.as_str()).uri(&vector.target);
            for (name, value) in &vector.headers {
                // Parsed as a server does.
                request = request.header(name, value.trim());
            }
            let parts = request.body(()).unwrap().into_parts().0;
            (format!("{}: {}", vector.by, vector.name), parts, vector.body.into_bytes())
        })
        .collect()
}

#[test]
fn what_botocore_and_node_sign_passes() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 20);
    for (name, parts, body) in vectors {
        assert_eq!(SIGNER.verify(&parts, &body, at()), Ok(()), "{name}");
    }
}

#[test]
fn what_botocore_and_node_sign_fails_once_changed() {
    for (name, parts, mut body) in vectors() {
        let refused = |parts: &Parts, body: &[u8]| {
            SIGNER.verify(parts, body, at()).unwrap_err();
        };
        let mut other = parts.clone();
        other.method = Method::PUT;
        refused(&other, &body);
        let separator = if parts.uri.query().is_some() { '&' } else { '?' };
        refused(&with_target(&parts, &format!("{}{separator}x=1", parts.uri)), &body);
        refused(&with_target(&parts, &format!("/x{}", parts.uri)), &body);
        refused(&with_header(&parts, "host", "auth.example.com"), &body);
        body.push(b' ');
        refused(&parts, &body);
        println!("refused with each of 5 changes: {name}");
    }
}

#[test]
fn every_changed_byte_of_an_authorization_header_is_refused() {
    let parts = signed("POST", "/sessions", b"{}");
    let text = authorization(&parts).to_owned();
    let mut tried = 0;
    for at_byte in 0..text.len() {
        for other in (b' '..=b'~').chain([b'\t']) {
            if text.as_bytes()[at_byte] == other {
                continue;
            }
            let mut bytes = text.clone().into_bytes();
            bytes[at_byte] = other;
            let changed = with_header(&parts, "authorization", std::str::from_utf8(&bytes).unwrap());
            SIGNER.verify(&changed, b"{}", at()).unwrap_err();
            tried += 1;
        }
        let cut = with_header(&parts, "authorization", &text[..at_byte]);
        SIGNER.verify(&cut, b"{}", at()).unwrap_err();
    }
    println!("{tried} changed headers and {} cut ones: none passed", text.len());
}

#[test]
fn every_changed_byte_of_a_presigned_query_is_refused() {
    let parts = Client::presigning(Duration::from_mins(10)).sign(request("GET", "/users?limit=10", ""), b"");
    assert_eq!(SIGNER.verify(&parts, b"", at()), Ok(()));
    let target = parts.uri.to_string();
    let mut tried = 0;
    for at_byte in 1..target.len() {
        for other in (b'!'..=b'~').filter(|other| *other != target.as_bytes()[at_byte]) {
            let mut bytes = target.clone().into_bytes();
            bytes[at_byte] = other;
            let Ok(uri) = Uri::try_from(bytes) else { continue };
            let mut changed = parts.clone();
            changed.uri = uri;
            // Hex digits of either case are equal.
            if decoded(&changed) != decoded(&parts) {
                let checked = SIGNER.verify(&changed, b"", at());
                assert!(checked.is_err(), "{} passed for {target}", changed.uri);
                tried += 1;
            }
        }
    }
    println!("{tried} changed URLs: none passed");
}

#[test]
fn every_changed_byte_of_path_query_body_and_header_is_refused() {
    let body = br#"{"subject":"someone"}"#;
    let target = "/users/178414?a=1&b=x%2Fy&c=%C3%A9";
    let parts = signed("POST", target, body);
    for at_byte in 1..target.len() {
        let mut bytes = target.as_bytes().to_vec();
        bytes[at_byte] = if bytes[at_byte] == b'7' { b'8' } else { b'7' };
        let changed = with_target(&parts, std::str::from_utf8(&bytes).unwrap());
        SIGNER.verify(&changed, body, at()).unwrap_err();
    }
    for at_byte in 0..body.len() {
        for bit in 0..8 {
            let mut changed = body.to_vec();
            changed[at_byte] ^= 1 << bit;
            assert_eq!(SIGNER.verify(&parts, &changed, at()), Err(Refused::Mismatch));
        }
        assert_eq!(SIGNER.verify(&parts, &body[..at_byte], at()), Err(Refused::Mismatch));
    }
    for changed in [
        with_header(&parts, "x-note", "a  c"),
        with_header(&parts, "x-note", "ab"),
        with_header(&parts, "host", "127.0.0.1:3001"),
        with_header(&parts, "x-amz-date", "20260101T120001Z"),
    ] {
        assert_eq!(SIGNER.verify(&changed, body, at()), Err(Refused::Mismatch));
    }
    let mut twice = parts.clone();
    twice.headers.append("x-note", "a b".parse().unwrap());
    assert_eq!(SIGNER.verify(&twice, body, at()), Err(Refused::Mismatch));
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let mut changed = parts.clone();
        changed.method = method;
        assert_eq!(SIGNER.verify(&changed, body, at()), Err(Refused::Mismatch));
    }
}

#[test]
fn a_signature_is_for_one_key_region_service_and_day() {
    let refused = |client: Client<'_>| {
        SIGNER.verify(&client.sign(request("GET", "/users", ""), b""), b"", at()).unwrap_err()
    };
    let secret = Client { key: (ACCESS_KEY_ID, "another secret"), ..Client::default() };
    assert_eq!(refused(secret), Refused::Mismatch);
    let key = Client { key: ("AKIAANOTHER", SECRET_ACCESS_KEY), ..Client::default() };
    assert_eq!(refused(key), Refused::AccessKey);
    let region = Client { region: "eu-west-1", ..Client::default() };
    assert_eq!(refused(region), Refused::Region("eu-west-1".to_owned()));
    let service = Client { service: "lambda", ..Client::default() };
    assert_eq!(refused(service), Refused::Service { signed: "lambda".to_owned(), wanted: SERVICE });
    // Paths are escaped twice, except for S3.
    let mut once = Client::default();
    once.settings.percent_encoding_mode = PercentEncodingMode::Single;
    let parts = once.sign(request("GET", "/users/a%20b", ""), b"");
    assert_eq!(SIGNER.verify(&parts, b"", at()), Err(Refused::Mismatch));

    let parts = signed("GET", "/users", b"");
    let moved = authorization(&parts).replace("/20260101/", "/20260102/");
    let moved = with_header(&parts, "authorization", &moved);
    assert_eq!(SIGNER.verify(&moved, b"", at()), Err(Refused::ScopeDate));
}

#[test]
fn a_signature_lives_five_minutes_either_way() {
    let parts = signed("GET", "/users", b"");
    for seconds in [-300, 0, 300] {
        assert_eq!(SIGNER.verify(&parts, b"", later(seconds)), Ok(()));
    }
    for seconds in [-301_i64, 301, 86_400] {
        let skew = Refused::Skewed(seconds.unsigned_abs());
        assert_eq!(SIGNER.verify(&parts, b"", later(seconds)), Err(skew));
    }
}

#[test]
fn a_presigned_url_lives_as_long_as_it_says() {
    let url = |seconds| {
        let client = Client::presigning(Duration::from_secs(seconds));
        client.sign(request("GET", "/users?limit=10", ""), b"")
    };
    assert_eq!(SIGNER.verify(&url(600), b"", later(600)), Ok(()));
    assert_eq!(SIGNER.verify(&url(600), b"", later(601)), Err(Refused::Expired));
    assert_eq!(SIGNER.verify(&url(600), b"", later(-300)), Ok(()));
    assert_eq!(SIGNER.verify(&url(600), b"", later(-301)), Err(Refused::Skewed(301)));
    assert_eq!(SIGNER.verify(&url(604_800), b"", at()), Ok(()));
    for seconds in [0, 604_801] {
        let malformed = Err(Refused::Malformed("Expires"));
        assert_eq!(SIGNER.verify(&url(seconds), b"", at()), malformed);
    }
}

#[test]
fn what_is_not_signed_once_is_refused() {
    let unsigned = request("GET", "/users", "");
    assert_eq!(SIGNER.verify(&unsigned, b"", at()), Err(Refused::Unsigned(SERVICE)));
    let bearer = with_header(&unsigned, "authorization", "Bearer token");
    assert_eq!(SIGNER.verify(&bearer, b"", at()), Err(Refused::Malformed("Authorization")));

    let presigned = Client::presigning(Duration::from_mins(1)).sign(request("GET", "/users", ""), b"");
    let signed = signed("GET", "/users", b"");
    let both = with_target(&signed, &presigned.uri.to_string());
    assert_eq!(SIGNER.verify(&both, b"", at()), Err(Refused::SignedTwice));
    let mut two_headers = signed.clone();
    two_headers.headers.append(AUTHORIZATION, signed.headers[AUTHORIZATION].clone());
    assert_eq!(SIGNER.verify(&two_headers, b"", at()), Err(Refused::SignedTwice));
    let mut two_dates = signed.clone();
    two_dates.headers.append(DATE_HEADER, signed.headers[DATE_HEADER].clone());
    assert_eq!(SIGNER.verify(&two_dates, b"", at()), Err(Refused::Malformed("Date")));
    let two_signatures = with_target(&presigned, &format!("{}&X-Amz-Signature=0", presigned.uri));
    assert_eq!(SIGNER.verify(&two_signatures, b"", at()), Err(Refused::Malformed("Signature")));
}

#[test]
fn host_and_all_amz_headers_must_be_signed() {
    for name in ["host", "x-amz-date", "x-amz-security-token"] {
        let mut client = Client { token: Some("a token"), ..Client::default() };
        client.settings.excluded_headers = Some(vec![name.into()]);
        let parts = client.sign(request("GET", "/users", ""), b"");
        assert_eq!(SIGNER.verify(&parts, b"", at()), Err(Refused::NotSigned(name.to_owned())));
    }
    let parts = signed("GET", "/users", b"");
    let added = with_header(&parts, "x-amz-target", "sessions");
    assert_eq!(SIGNER.verify(&added, b"", at()), Err(Refused::NotSigned("x-amz-target".to_owned())));
    let added = with_header(&parts, "user-agent", "a proxy");
    assert_eq!(SIGNER.verify(&added, b"", at()), Ok(()));
    let mut removed = parts.clone();
    removed.headers.remove("x-note");
    assert_eq!(SIGNER.verify(&removed, b"", at()), Err(Refused::NotSent("x-note".to_owned())));
    for list in ["x-amz-date;host;x-note", "Host;x-amz-date;x-note", "host;host;x-amz-date;x-note"] {
        let text = authorization(&parts).replace("host;x-amz-date;x-note", list);
        let listed = with_header(&parts, "authorization", &text);
        assert_eq!(SIGNER.verify(&listed, b"", at()), Err(Refused::Malformed("SignedHeaders")));
    }
}

#[test]
fn headers_that_others_leave_unsigned_may_be_signed() {
    let parts = with_header(&request("GET", "/users", ""), "user-agent", "aws-amplify");
    let mut client = Client::default();
    client.settings.excluded_headers = None;
    let parts = client.sign(parts, b"");
    assert_eq!(SIGNER.verify(&parts, b"", at()), Ok(()));
    let changed = with_header(&parts, "user-agent", "a proxy");
    assert_eq!(SIGNER.verify(&changed, b"", at()), Err(Refused::Mismatch));
}

#[test]
fn an_unsigned_payload_is_refused() {
    let parts = with_header(&request("POST", "/sessions", ""), PAYLOAD_HASH_HEADER, "UNSIGNED-PAYLOAD");
    let parts = Client::default().sign_as(parts, SignableBody::UnsignedPayload);
    assert_eq!(SIGNER.verify(&parts, b"{}", at()), Err(Refused::UnsignedPayload));
    let parts = Client::default().sign_as(request("POST", "/sessions", ""), SignableBody::UnsignedPayload);
    assert_eq!(SIGNER.verify(&parts, b"{}", at()), Err(Refused::Mismatch));
}

#[test]
fn a_target_has_one_meaning() {
    let refused = |target: &str| {
        let parts = Client::default().sign(request("GET", target, ""), b"");
        SIGNER.verify(&parts, b"", at()).unwrap_err()
    };
    for path in ["/users/../sessions", "/users/./1", "/users//1", "//users", "/users/.."] {
        assert_eq!(refused(path), Refused::Path, "{path}");
    }
    for query in ["a=%FF", "%C3=1", "a=%EF%BF%BD"] {
        assert_eq!(refused(&format!("/users?{query}")), Refused::Query, "{query}");
    }
    // Two spellings of one target are equal.
    let parts = signed("GET", "/users?b=2&a=x%20y&c=", b"");
    for same in ["/users?a=x+y&b=2&c", "/users?c=&a=x%20y&b=%32"] {
        assert_eq!(SIGNER.verify(&with_target(&parts, same), b"", at()), Ok(()), "{same}");
    }
}

#[test]
fn the_longest_request_that_the_gateway_takes_can_be_checked() {
    for character in ["é", "%", "+", "&"] {
        let query = character.repeat(10_240 / character.len());
        signed("GET", &format!("/users?a={query}"), b"");
        signed("GET", &format!("/users/{query}"), b"");
    }
}

proptest! {
    #[test]
    fn what_the_rust_signer_signs_passes_and_only_that(
        method in prop::sample::select(vec!["GET", "POST", "DELETE", "PATCH"]),
        segments in prop::collection::vec("\\PC{1,6}", 0..3),
        query in prop::collection::vec(("\\PC{0,4}", "\\PC{0,6}"), 0..5),
        note in "[ -~]{0,20}",
        token in prop::option::of("[!-~]{1,20}"),
        body in prop::collection::vec(any::<u8>(), 0..40),
        presign: bool,
        change in 0..5,
    ) {
        let mut url = url::Url::parse("http://127.0.0.1:3000/users").unwrap();
        url.path_segments_mut().unwrap().extend(&segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(&query);
        }
        prop_assume!(!url.as_str().contains("%EF%BF%BD"));
        let target = &url[url::Position::BeforePath..];
        let mut client = if presign { Client::presigning(Duration::from_mins(1)) } else { Client::default() };
        client.token = token.as_deref();
        let parts = client.sign(request(method, target, note.trim()), &body);
        prop_assert_eq!(SIGNER.verify(&parts, &body, at()), Ok(()), "{}", parts.uri);

        let mut changed = parts.clone();
        let mut changed_body = body.clone();
        match change {
            0 => changed.method = Method::PUT,
            1 => changed = with_target(&parts, &parts.uri.to_string().replacen("/users", "/sessions", 1)),
            2 => changed.uri = {
                let separator = if parts.uri.query().is_some() { '&' } else { '?' };
                format!("{}{separator}{}=", parts.uri, "z").parse().unwrap()
            },
            3 => changed = with_header(&parts, "x-note", &format!("{}.", note.trim())),
            _ => changed_body.push(0),
        }
        prop_assert!(SIGNER.verify(&changed, &changed_body, at()).is_err());
    }
}
