//! A call to Meta with a token from the cache, here for the person's own profile.
//!
//! ```text
//! THREADS_GRAPH_URL=… cargo run --example post -- USER_ID
//! ```
//!
//! It reads `THREADS_AUTH_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
//! `AWS_SESSION_TOKEN` too. `THREADS_GRAPH_URL` leads it to a sandbox instead of to Meta.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example is a program of its own: it reads its environment and the time, and prints"
)]

use std::env::{args, var};
use std::error::Error;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use threads_auth_client::{Client, Error as ClientError, NewSession, Tokens, UserId, VendedToken};
use threads_graph::{AccessToken, Endpoints, ErrorKind, Graph, HttpClient, HttpTimeouts, Profile};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let user_id: UserId = args().nth(1).unwrap_or_default().parse()?;
    let (key, secret) = (var("AWS_ACCESS_KEY_ID")?, var("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(key, secret, var("AWS_SESSION_TOKEN").ok(), None, "environment");
    let client = Client::new(&var("THREADS_AUTH_URL")?, var("AWS_REGION")?, credentials)?;
    let meta = Endpoints::default();
    let graph_url = var("THREADS_GRAPH_URL").unwrap_or(meta.graph.into());
    let endpoints = Endpoints::new(meta.authorize, graph_url, meta.api_version)?;
    let graph = Graph::new(HttpClient::new(HttpTimeouts::default())?, endpoints);
    let app = App { tokens: Tokens::new(client.clone()), client, graph };
    match app.profile(&user_id, "user-7", Timestamp::now()).await? {
        Outcome::Done(profile) => println!("{} is {:?}", profile.id, profile.username),
        Outcome::AskThePerson(url) => println!("Send the person to {url}"),
        Outcome::Later(error) => println!("Later: {error}"),
    }
    Ok(())
}

/// The app, with one cache for all of its users.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) tokens: Tokens,
    pub(crate) graph: Graph,
}

/// The end of a call for a person.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Meta has answered.
    Done(Profile),
    /// Only the person can help: show them this address.
    AskThePerson(String),
    /// The account may be intact: try again later.
    Later(ClientError),
}

impl App {
    /// One call for a person of the app's user `reference`.
    pub(crate) async fn profile(
        &self,
        user_id: &UserId,
        reference: &str,
        now: Timestamp,
    ) -> Result<Outcome, Box<dyn Error>> {
        let token = match self.tokens.get(user_id, now).await {
            Ok(token) => token,
            Err(error) => return self.without_a_token(error, reference).await,
        };
        match self.graph.me(&for_meta(&token)?).await {
            // Meta's error 190. It counts only if Meta says so again to the service.
            Err(error) if matches!(error.kind(), ErrorKind::NeedsReauthorization(_)) => {
                match self.tokens.refused(user_id, &token.access_token, now).await {
                    Ok(token) => Ok(Outcome::Done(self.graph.me(&for_meta(&token)?).await?)),
                    Err(error) => self.without_a_token(error, reference).await,
                }
            }
            answer => Ok(Outcome::Done(answer?)),
        }
    }

    async fn without_a_token(&self, error: ClientError, reference: &str) -> Result<Outcome, Box<dyn Error>> {
        match error {
            ClientError::ReconnectNeeded(needed) => {
                let new = NewSession::again(&needed, reference, "http://127.0.0.1:4000/done");
                Ok(Outcome::AskThePerson(self.client.start_session(&new).await?.url))
            }
            error if error.is_passing() => Ok(Outcome::Later(error)),
            error => Err(error.into()),
        }
    }
}

fn for_meta(token: &VendedToken) -> Result<AccessToken, Box<dyn Error>> {
    Ok(token.access_token.expose().try_into()?)
}
