//! Redirects of the connect flow.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use threads_auth::{Config, ConnectOutcome, ConnectRefusal};

use crate::headers::{OPENER_POLICY, secure, with_cookies};
use crate::pages::{Page, Reader, log, refuse, respond};
use crate::request::HttpRequest;

/// Returns a redirect of `reader` to `location` with an empty body: 302 to Threads, 303 to a clean
/// URL.
/// A location that is not a valid header value is a bug of ours and becomes
/// [`ConnectOutcome::Unavailable`]. The response lacks the opener policy of our pages: if an app
/// has opened a window for the flow, one redirect with the policy would separate the two for good.
#[must_use]
pub fn redirect(reader: &Reader<'_>, status: StatusCode, location: &str) -> Response<String> {
    let location = match HeaderValue::from_str(location) {
        // A `HeaderValue` accepts any UTF-8, but the Lambda runtime reads it with `to_str`, which
        // accepts ASCII only.
        Ok(location) if location.to_str().is_ok() => location,
        _ => return respond(&Page::new(ConnectOutcome::Unavailable), reader),
    };
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    let mut response = secure(response);
    response.headers_mut().remove(&OPENER_POLICY);
    response
}

/// Logs the error of a refused connect, and redirects the person to the app, or shows the page if
/// there is no way back.
#[must_use]
pub fn redirect_back(config: &Config, request: &HttpRequest, refused: &ConnectRefusal) -> Response<String> {
    let response = match refused.location(&config.return_to) {
        Some(location) => {
            log(request, refused);
            redirect(&Reader::of(config, request), StatusCode::SEE_OTHER, &location)
        }
        None => refuse(config, request, refused),
    };
    with_cookies(response, &refused.cookies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::tests::{assert_guarded, assert_secure, header};

    #[test]
    fn a_redirect_is_empty_and_as_secure_and_parts_no_window_from_its_opener() {
        for status in [StatusCode::FOUND, StatusCode::SEE_OTHER] {
            let response = redirect(&Reader::default(), status, "/connected?x=%0A");
            assert_eq!(response.status(), status);
            assert_eq!(header(&response, "location"), Some("/connected?x=%0A"));
            assert_eq!(response.body(), "");
            assert_guarded(&response);
            assert_eq!(header(&response, "cross-origin-opener-policy"), None);
        }
    }

    #[test]
    fn a_redirect_that_no_header_can_carry_goes_nowhere() {
        for broken in ["/a\r\nset-cookie: a=b", "/\0", "/ü"] {
            let response = redirect(&Reader::default(), StatusCode::FOUND, broken);
            assert_eq!(response.status(), 503, "{broken:?}");
            assert_eq!(header(&response, "location"), None);
            assert_secure(&response);
        }
    }
}
