//! The functions' edge: requests, headers, pages, JSON, metrics, telemetry.
//!
//! A function takes a [`HttpRequest`], calls one operation of [`threads_auth::ThreadsAuth`], logs
//! its outcome once and answers.

pub mod api;
mod backend;
mod batch;
mod detour;
mod error_code;
mod failures;
pub mod headers;
mod json;
mod metrics;
mod nowhere;
pub mod pages;
mod redirect;
mod request;
mod response;
mod run;
mod standing;
pub mod telemetry;

pub use backend::{BadRequest, Call, Query, backend, no_route, object};
pub use batch::{Failed, Handled};
pub use detour::refuse_detour;
pub use error_code::ErrorCode;
pub use failures::{removal_failed, unavailable};
pub use headers::with_cookies;
pub use json::{json, json_error, json_later};
pub use lambda_http::Body;
pub use lambda_http::aws_lambda_events::apigw;
pub use metrics::{Metric, emit, previous_secret_used, secret_age};
pub use nowhere::nowhere;
pub use redirect::{redirect, redirect_back};
pub use request::{HttpRequest, NotARequest};
pub use response::answer;
pub use run::{Failure, configure, serve_event, serve_pages, serve_programs, start};
pub use standing::{ServerError, Standing};
