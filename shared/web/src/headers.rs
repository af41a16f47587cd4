//! The headers of every response: security headers, the content security policy and cookies.
//! Owns the policy of everything that is no page, and the form of a page's.

use base64::prelude::{BASE64_STANDARD, Engine};
use http::Response;
use http::header::{self, HeaderName, HeaderValue};
use ring::digest;

/// The header that isolates a page from the window that opened it.
pub(crate) static OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The policy of a response that is no page, and so has no style either.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Returns the content security policy of a page with one inline `style`, whose forms are sent to
/// `form_action` only.
/// The hash is computed from the style, so the two always match. `img-src` allows the empty icon,
/// which prevents the browser's request for one. If the value were an invalid header, pages would
/// lose their style, not their protection.
#[must_use]
pub fn content_policy(style: &str, form_action: &'static str) -> HeaderValue {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; \
         base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    ))
    .unwrap_or(POLICY)
}

/// Sets the security headers of a response, and replaces existing ones of the same name.
#[must_use]
pub fn secure<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (OPENER_POLICY.clone(), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Adds `Set-Cookie` headers to a response.
#[must_use]
pub fn with_cookies(mut response: Response<String>, cookies: &[String]) -> Response<String> {
    let values = cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok());
    response.headers_mut().extend(values.map(|value| (header::SET_COOKIE, value)));
    response
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
        let mut values = response.headers().get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    pub(crate) fn assert_secure<B>(response: &Response<B>) {
        assert_guarded(response);
        assert_eq!(header(response, "cross-origin-opener-policy"), Some("same-origin"));
    }

    /// Asserts all headers except the opener policy.
    pub(crate) fn assert_guarded<B>(response: &Response<B>) {
        for (name, expected) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(header(response, name), Some(expected), "{name}");
        }
        assert!(header(response, "permissions-policy").unwrap().contains("camera=()"));
        let policy = header(response, "content-security-policy").unwrap();
        for directive in [
            "default-src 'none'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|part| part == directive), "{directive} in {policy}");
        }
        assert!(!policy.contains("unsafe"));
    }

    #[test]
    fn secure_replaces_what_is_weaker_and_keeps_the_rest() {
        let response = Response::builder()
            .header("cache-control", "public")
            .header("cache-control", "max-age=60")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .body(7_u8)
            .unwrap();
        let response = secure(response);
        assert_secure(&response);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.body(), &7);
    }
}
