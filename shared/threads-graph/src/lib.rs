//! A client for the OAuth side of Meta's Threads API.
//!
//! Three steps lead to a token that lasts, and one keeps it alive:
//!
//! 1. send the browser to [`Graph::authorization_url`], and read what comes back with [`parse_callback`];
//! 2. [`Graph::exchange_code`] gives a token for an hour;
//! 3. [`Graph::exchange_long_lived`] gives one for about 60 days;
//! 4. [`Graph::refresh`] extends it, once it is a day old and before it ends.
//!
//! Beside them are [`verify_signed_request`] for what Meta posts when a person leaves, and [`ThreadsClient`] for calls on a
//! person's behalf.
//!
//! ```
//! use threads_graph::{
//!     AppId, CallbackParams, Endpoints, Graph, HttpClient, HttpTimeouts, RedirectUri, Scopes, parse_callback,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let graph = Graph::new(HttpClient::new(HttpTimeouts::default())?, Endpoints::default());
//! let app_id: AppId = "1234567890".parse()?;
//! let redirect_uri: RedirectUri = "https://app.example/callback".parse()?;
//! let scopes: Scopes = "publish".parse()?; // `threads_basic` is always included
//!
//! // An unguessable value, bound to this browser, and compared when it comes back.
//! let state = "6oB5xT0nGk2c";
//! let url = graph.authorization_url(&app_id, &redirect_uri, &scopes, state);
//! assert_eq!(
//!     url.as_str(),
//!     "https://threads.com/oauth/authorize?client_id=1234567890\
//!      &redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&response_type=code\
//!      &scope=threads_basic%2Cthreads_content_publish&state=6oB5xT0nGk2c",
//! );
//!
//! // The person agrees, and the browser asks for /callback?code=AQD4b&state=6oB5xT0nGk2c
//! match parse_callback("code=AQD4b&state=6oB5xT0nGk2c")? {
//!     CallbackParams::Granted { code, state: returned } => {
//!         assert_eq!(returned, state);
//!         assert_eq!(format!("{code:?}"), "AuthorizationCode(redacted)");
//!         // let short = graph.exchange_code(&app, &code, &redirect_uri).await?;
//!         // let long = graph.exchange_long_lived(&app.app_secret, &short.access_token).await?;
//!     }
//!     CallbackParams::Denied { reason, .. } => println!("no grant: {}", reason.as_str()),
//!     CallbackParams::Failed { code, .. } => println!("Meta failed: {code:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is deliberately absent: storage, retries, a clock, the environment, and any web or cloud framework. Time is an
//! argument, an address is a value, and what a failure means is in its [`ErrorKind`]: in particular, only
//! [`ErrorKind::NeedsReauthorization`] ever says that a token is dead.
//!
//! Secrets are [types](AccessToken) that cannot be printed. The URLs of some calls carry a token or the app secret, as
//! Meta wants it; no such URL is returned, logged, or kept in an [`Error`].
//!
//! Facts about Meta are from its documentation as of August 2026 and from the issue threads of other clients. Where those
//! disagree, more is accepted than any of them promises.

mod call;
mod callback;
mod classify;
mod client;
mod endpoints;
mod error;
mod error_kind;
mod graph;
mod http;
mod ids;
mod json;
mod names;
mod scope;
mod secret;
mod signed_request;
#[cfg(test)]
mod wire_tests;

pub use call::Call;
pub use callback::{
    CallbackError, CallbackParams, DenialReason, PastedCallback, parse_callback, parse_pasted,
};
pub use classify::page_moved_to;
pub use client::{Credentials, Endpoint, InvalidCredentials, ThreadsClient};
pub use endpoints::{Endpoints, InvalidEndpoints, authorization_url};
pub use error::Error;
pub use error_kind::{ConfigurationProblem, ErrorClass, ErrorKind, ReauthorizationCause};
pub use graph::{Graph, LongLivedToken, Profile, ShortLivedToken, TokenInfo};
pub use http::{HttpClient, HttpClientError, HttpTimeouts};
pub use ids::{AppId, InvalidId, InvalidRedirectUri, MediaId, RedirectUri, UserId};
pub use names::UnknownName;
pub use scope::{InvalidScopes, OtherScope, Scope, Scopes, UnknownScope};
pub use secret::{AccessToken, AppCredentials, AppSecret, AuthorizationCode, InvalidSecret, redacted};
#[doc(hidden)]
pub use serde as __serde;
pub use signed_request::{SignedRequest, SignedRequestError, verify_signed_request}; // for `names!`
