//! AWS Signature Version 4, as API Gateway's HTTP API checks it on a route with IAM authorization,
//! and AWS's other services on every request.
//! The request is signed again with the development key, by the AWS SDK's own signing crate, and
//! both signatures must be equal. Everything that a signature covers is thereby checked by the rule
//! that made it.
//!
//! A client that passes here should pass in production. Where AWS's documentation leaves a choice,
//! the strict one is made: the payload is always signed (`UNSIGNED-PAYLOAD` is for S3), as are
//! `Host` and all `x-amz-*` headers, and a path that clients would normalize is refused. Unlike
//! AWS, any signed session token is accepted, because none is ever issued here.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE_HEADER: &str = "x-amz-date";
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const PAYLOAD_HASH_HEADER: &str = "x-amz-content-sha256";
/// The prefix of a presigned URL's own parameters.
const PARAMETER_PREFIX: &str = "X-Amz-";
/// The parts of a signature, by their names in a presigned URL after the prefix.
const PARTS: [&str; 6] = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"];

/// The maximum difference between a signature's time and ours.
const MAX_SKEW: Duration = Duration::from_mins(5);
/// The longest life of a presigned URL, in seconds.
const MAX_EXPIRES: u64 = 7 * 24 * 60 * 60;

/// The required signer, region and service.
pub(crate) struct Signer<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) secret_access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'static str,
}

/// The reason for the refusal of a signature, for the author of the client. Contains no key, token
/// or signature.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the request is not signed; sign it with AWS Signature Version 4 for the service {0}")]
    Unsigned(&'static str),
    #[error("the request is signed twice; sign either in one Authorization header or in the query")]
    SignedTwice,
    #[error("the signature's {0} is missing, repeated or malformed; in headers, Date is {DATE_HEADER}")]
    Malformed(&'static str),
    #[error("signed with another access key id than this stack's, which `threads-auth dev --json` prints")]
    AccessKey,
    #[error("signed for the region {0:?}, which is not this stack's; `threads-auth dev --json` prints that")]
    Region(String),
    #[error("signed for the service {signed:?}; it is {wanted}")]
    Service { signed: String, wanted: &'static str },
    #[error("the credential's date is not the day of {DATE_HEADER}")]
    ScopeDate,
    #[error("signed {0} s away from now, and 300 s are allowed; set the clock of the client's machine")]
    Skewed(u64),
    #[error("the presigned URL has expired; make a new one")]
    Expired,
    #[error("the header {0:?} must be signed, and is not among the signed headers")]
    NotSigned(String),
    #[error("the signed header {0:?} was not sent, or is not UTF-8")]
    NotSent(String),
    #[error("the body must be signed: {PAYLOAD_HASH_HEADER} is not its SHA-256")]
    UnsignedPayload,
    #[error("a path with empty or dot segments is signed as another path; send the normalized one")]
    Path,
    #[error("the query is not percent-encoded UTF-8")]
    Query,
    #[error(
        "the signature is not that of this request; check the secret key, and that the method, path, query, signed headers and \
         body are sent as they were signed"
    )]
    Mismatch,
}

impl Signer<'_> {
    /// Checks that the signer signed exactly this request, at about `now`, which must be the real
    /// time.
    ///
    /// The caller limits the length of the path and query: the signing crate accepts up to 64 KiB
    /// after re-encoding.
    pub(crate) fn verify(&self, parts: &Parts, body: &[u8], now: Timestamp) -> Result<(), Refused> {
        let (path, query) = target(parts)?;
        let (claim, query) = Claim::of(parts, query, self.service)?;
        let signed_at = claim.signed_at()?;
        let expires = claim.expires()?;
        self.check_scope(&claim)?;
        check_time(signed_at, expires, now)?;
        let headers = claim.headers(parts)?;

        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let mut settings = SigningSettings::default();
        // Exactly the headers that the client signed, even if the crate would omit some.
        settings.excluded_headers = None;
        if let Some(expires) = expires {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expires);
        }
        let credentials =
            Credentials::new(self.access_key_id, self.secret_access_key, None, None, "development");
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(SystemTime::try_from(signed_at).map_err(|_| Refused::Malformed("Date"))?)
            .settings(settings)
            .build()
            .map_err(|_| Refused::Mismatch)?
            .into();
        let body = SignableBody::Bytes(body);
        let request = SignableRequest::new(parts.method.as_str(), uri, headers.into_iter(), body)
            .map_err(|_| Refused::Mismatch)?;
        let signed = sign(request, &params).map_err(|_| Refused::Mismatch)?;
        let theirs = claim.part("Signature")?;
        if bool::from(signed.signature().as_bytes().ct_eq(theirs.as_bytes())) {
            Ok(())
        } else {
            Err(Refused::Mismatch)
        }
    }

    fn check_scope(&self, claim: &Claim) -> Result<(), Refused> {
        let scope: Vec<_> = claim.part("Credential")?.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return Err(Refused::Malformed("Credential"));
        };
        if access_key_id != self.access_key_id {
            Err(Refused::AccessKey)
        } else if region != self.region {
            Err(Refused::Region(region.to_owned()))
        } else if service != self.service {
            Err(Refused::Service { signed: service.to_owned(), wanted: self.service })
        } else if claim.part("Date")?.get(..8) != Some(date) {
            Err(Refused::ScopeDate)
        } else {
            Ok(())
        }
    }
}

/// Returns the path and the query, if they are unambiguous.
fn target(parts: &Parts) -> Result<(&str, &str), Refused> {
    let path = parts.uri.path();
    let segments = path.strip_prefix('/').ok_or(Refused::Path)?;
    let inner = segments.strip_suffix('/').unwrap_or(segments);
    if !segments.is_empty() && inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(Refused::Path);
    }
    let query = parts.uri.query().unwrap_or_default();
    // Decoding is lossy: invalid UTF-8 would pass for the replacement character.
    if form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}'))
    {
        return Err(Refused::Query);
    }
    Ok((path, query))
}

fn check_time(signed_at: Timestamp, expires: Option<Duration>, now: Timestamp) -> Result<(), Refused> {
    let age = now.duration_since(signed_at);
    let is_past = age.is_positive();
    let age = age.unsigned_abs();
    match expires {
        Some(expires) if is_past && age > expires => Err(Refused::Expired),
        Some(_) if is_past => Ok(()),
        _ if age > MAX_SKEW => Err(Refused::Skewed(age.as_secs())),
        _ => Ok(()),
    }
}

/// A signature's parts, as the request states them.
struct Claim {
    /// Keyed by the names in [`PARTS`].
    parts: Vec<(String, String)>,
    is_presigned: bool,
}

impl Claim {
    /// Returns the claim, and the query without it.
    fn of(parts: &Parts, query: &str, service: &'static str) -> Result<(Self, String), Refused> {
        let (in_query, rest) = split(query);
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let (parts, is_presigned) = match (headers.next(), headers.next(), in_query.is_empty()) {
            (None, _, true) => return Err(Refused::Unsigned(service)),
            (None, _, false) => (in_query, true),
            (Some(header), None, true) => (in_headers(header, &parts.headers)?, false),
            _ => return Err(Refused::SignedTwice),
        };
        Ok((Self { parts, is_presigned }, rest))
    }

    fn part(&self, name: &'static str) -> Result<&str, Refused> {
        let mut values = self.parts.iter().filter(|part| part.0 == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value),
            _ => Err(Refused::Malformed(name)),
        }
    }

    fn signed_at(&self) -> Result<Timestamp, Refused> {
        if self.part("Algorithm")? != ALGORITHM {
            return Err(Refused::Malformed("Algorithm"));
        }
        let text = self.part("Date")?;
        DateTime::strptime(DATE_FORMAT, text)
            .and_then(|date| Offset::UTC.to_timestamp(date))
            .ok()
            // Parsing accepts more than the one form that is signed.
            .filter(|date| date.strftime(DATE_FORMAT).to_string() == text)
            .ok_or(Refused::Malformed("Date"))
    }

    /// Returns the life of a presigned URL.
    fn expires(&self) -> Result<Option<Duration>, Refused> {
        if !self.is_presigned {
            return Ok(None);
        }
        self.part("Expires")?
            .parse()
            .ok()
            .filter(|seconds| (1..=MAX_EXPIRES).contains(seconds))
            .map(|seconds| Some(Duration::from_secs(seconds)))
            .ok_or(Refused::Malformed("Expires"))
    }

    /// Returns the signed headers with their values.
    fn headers<'a>(&'a self, parts: &'a Parts) -> Result<Vec<(&'a str, &'a str)>, Refused> {
        let names: Vec<_> = self.part("SignedHeaders")?.split(';').collect();
        let is_canonical = names.is_sorted_by(|a, b| a < b)
            && !names.iter().any(|name| name.contains(|c: char| c.is_ascii_uppercase()));
        if !is_canonical {
            return Err(Refused::Malformed("SignedHeaders"));
        }
        let must = parts.headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
        for name in must.chain([HOST.as_str()]) {
            if !names.contains(&name) {
                return Err(Refused::NotSigned(name.to_owned()));
            }
        }
        let mut headers = Vec::new();
        for name in names {
            let mut values = parts.headers.get_all(name).iter().peekable();
            if values.peek().is_none() {
                return Err(Refused::NotSent(name.to_owned()));
            }
            for value in values {
                let value =
                    std::str::from_utf8(value.as_bytes()).map_err(|_| Refused::NotSent(name.to_owned()))?;
                if name == PAYLOAD_HASH_HEADER && value.len() != 64 {
                    return Err(Refused::UnsignedPayload);
                }
                headers.push((name, value));
            }
        }
        Ok(headers)
    }
}

/// Returns the claim in a presigned URL's query, and the rest of the query.
fn split(query: &str) -> (Vec<(String, String)>, String) {
    let mut claim = Vec::new();
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let decoded = form_urlencoded::parse(pair.as_bytes()).next();
        let part = decoded.as_ref().and_then(|(name, value)| {
            let name = name.strip_prefix(PARAMETER_PREFIX)?;
            PARTS.contains(&name).then(|| (name.to_owned(), value.to_string()))
        });
        match part {
            Some(part) => claim.push(part),
            None => rest.push(pair),
        }
    }
    (claim, rest.join("&"))
}

/// Returns the claim in an `Authorization` header and the date's.
fn in_headers(authorization: &HeaderValue, headers: &HeaderMap) -> Result<Vec<(String, String)>, Refused> {
    let malformed = || Refused::Malformed("Authorization");
    let text = authorization.to_str().map_err(|_| malformed())?;
    let (algorithm, fields) = text.split_once(' ').ok_or_else(malformed)?;
    let mut claim = vec![("Algorithm".to_owned(), algorithm.to_owned())];
    for field in fields.split(',') {
        let (name, value) = field.trim_matches(' ').split_once('=').ok_or_else(malformed)?;
        claim.push((name.to_owned(), value.to_owned()));
    }
    for date in headers.get_all(DATE_HEADER) {
        let date = date.to_str().map_err(|_| Refused::Malformed("Date"))?;
        claim.push(("Date".to_owned(), date.to_owned()));
    }
    Ok(claim)
}

#[cfg(test)]
mod tests;
