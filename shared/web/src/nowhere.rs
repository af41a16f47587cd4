//! The answer to a request that no route takes: of a path that does not exist, or of a method that
//! its path does not have.

use http::Response;

use crate::backend::no_route;
use crate::pages::{Notice, Page, respond};
use crate::request::HttpRequest;

/// The paths that programs call, by their first part.
const OF_PROGRAMS: [&str; 2] = ["sessions", "users"];

/// A page for people, and an error in JSON beneath the paths of the app's backend. Nothing is read
/// for it, so nobody has to sign.
#[must_use]
pub fn nowhere(request: &HttpRequest) -> Response<String> {
    if is_of_programs(request) { no_route() } else { respond(&Page::new(Notice::NotFound)) }
}

/// Whether a program asks, by the path.
pub(crate) fn is_of_programs(request: &HttpRequest) -> bool {
    let first = request.path.split('/').nth(1).unwrap_or_default();
    OF_PROGRAMS.contains(&first)
}
