#![doc = include_str!("../README.md")]
//!
//! # What is deliberately absent
//!
//! Storage, retries, a clock, the environment, and any web or cloud framework. Time is an argument,
//! an address is a value, and the meaning of a failure is in its [`ErrorKind`].

mod call;
mod callback;
mod classify;
mod dialog;
mod endpoints;
mod error;
mod error_kind;
mod graph;
mod http;
mod ids;
mod json;
mod known_error;
mod names;
mod scope;
mod secret;
mod signed_request;
mod state;
#[cfg(test)]
mod wire_tests;

pub use call::Call;
pub use callback::{
    CallbackError, CallbackParams, DenialReason, PastedCallback, parse_callback, parse_pasted,
};
pub use dialog::{DialogError, DialogRefusal};
pub use endpoints::{Endpoints, InvalidEndpoints, authorization_url};
pub use error::Error;
pub use error_kind::{ConfigurationProblem, ErrorClass, ErrorKind, ReauthorizationCause};
pub use graph::{Graph, LongLivedToken, Profile, ShortLivedToken, TokenInfo};
pub use http::{HttpClient, HttpClientError, HttpTimeouts};
pub use ids::{AppId, InvalidId, InvalidRedirectUri, RedirectUri, UserId};
pub use known_error::{Example, KNOWN_ERRORS, KnownError};
pub use names::UnknownName;
pub use scope::{InvalidScopes, OtherScope, Scope, Scopes, UnknownScope};
pub use secret::{AccessToken, AppCredentials, AppSecret, AuthorizationCode, InvalidSecret, redacted};
#[doc(hidden)]
pub use serde as __serde; // for `names!`
pub use signed_request::{SignedRequest, SignedRequestError, verify_signed_request};
pub use state::{InvalidState, NoRandomness, State};
