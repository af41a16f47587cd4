//! Extends a long-lived token once, and prints the next step.
//!
//! ```text
//! THREADS_ACCESS_TOKEN=… cargo run --example refresh
//! ```
//!
//! `THREADS_GRAPH_URL` leads it to a sandbox instead of to Meta. The new token is not shown: an app
//! stores it in the old one's place before anything else.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example is a program of its own: it reads its environment and prints"
)]

use std::env;
use std::time::Duration;

use threads_graph::{
    AccessToken, Endpoints, Error, ErrorKind, Graph, HttpClient, HttpTimeouts, LongLivedToken,
    ReauthorizationCause,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let meta = Endpoints::default();
    let graph_url = env::var("THREADS_GRAPH_URL").unwrap_or(meta.graph.into());
    let endpoints = Endpoints::new(meta.authorize, graph_url, meta.api_version)?;
    let graph = Graph::new(HttpClient::new(HttpTimeouts::default())?, endpoints);
    let token = env::var("THREADS_ACCESS_TOKEN")?.try_into()?;
    match refresh(&graph, &token).await? {
        Next::Store(new) => println!("A new token, which lives for {:?}.", new.expires_in),
        Next::TryLater(wait) => println!("Try again in {wait:?}."),
        Next::AskThePerson(cause) => println!("The token is dead ({cause}): ask the person again."),
    }
    Ok(())
}

/// The next step with a token.
#[derive(Debug)]
pub(crate) enum Next {
    /// Store the new token, and refresh it again some weeks later.
    Store(LongLivedToken),
    /// The old token is alive or may be: try again, at the earliest after so long.
    TryLater(Duration),
    /// Only the person can help: lead them through the login again.
    AskThePerson(ReauthorizationCause),
}

/// One refresh. An error is for the app's operator: neither a login nor a retry helps.
pub(crate) async fn refresh(graph: &Graph, token: &AccessToken) -> Result<Next, Error> {
    const A_DAY: Duration = Duration::from_hours(24);
    const A_WHILE: Duration = Duration::from_mins(10);
    let error = match graph.refresh(token).await {
        Ok(new) => return Ok(Next::Store(new)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::NeedsReauthorization(cause) => Ok(Next::AskThePerson(cause)),
        ErrorKind::TooYoung => Ok(Next::TryLater(A_DAY)),
        ErrorKind::Throttled { retry_after } => Ok(Next::TryLater(retry_after.unwrap_or(A_WHILE))),
        kind if kind.is_retryable() => Ok(Next::TryLater(A_WHILE)),
        _ => Err(error),
    }
}
