//! Logs one person in, from the first redirect to a token that lives for 60 days.
//!
//! ```text
//! THREADS_APP_ID=… THREADS_APP_SECRET=… THREADS_REDIRECT_URI=https://app.example/callback \
//!     cargo run --example login
//! ```
//!
//! `THREADS_AUTHORIZE_URL` and `THREADS_GRAPH_URL` lead it to a sandbox instead of to Meta. The
//! token is not shown: an app seals and stores it.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example is a program of its own: it reads its environment and prints"
)]

use std::env;
use std::io;

use threads_graph::{
    AppCredentials, CallbackParams, Endpoints, Graph, HttpClient, HttpTimeouts, LongLivedToken, Profile,
    RedirectUri, Scopes, State, parse_callback,
};
use url::Url;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let meta = Endpoints::default();
    let endpoints = Endpoints::new(
        env::var("THREADS_AUTHORIZE_URL").unwrap_or(meta.authorize.into()),
        env::var("THREADS_GRAPH_URL").unwrap_or(meta.graph.into()),
        meta.api_version,
    )?;
    let graph = Graph::new(HttpClient::new(HttpTimeouts::default())?, endpoints);
    let app = AppCredentials {
        app_id: env::var("THREADS_APP_ID")?.try_into()?,
        app_secret: env::var("THREADS_APP_SECRET")?.try_into()?,
    };
    let redirect_uri = env::var("THREADS_REDIRECT_URI")?.try_into()?;

    let (profile, token) = login(&graph, &app, &redirect_uri, async |url| {
        println!("Open\n\n  {url}\n\nagree, and paste the address on which the browser ends:");
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        Ok(line.trim().parse()?)
    })
    .await?;
    let days = token.expires_in.map_or(0, |life| life.as_secs() / 86_400);
    println!("{} is logged in for {days} days.", profile.username.as_deref().unwrap_or("Somebody"));
    Ok(())
}

/// One login. `visit` sends the person's browser to an address, and returns the one on which it
/// ends: in a web app, that is a redirect and the request for the callback's route.
pub(crate) async fn login(
    graph: &Graph,
    app: &AppCredentials,
    redirect_uri: &RedirectUri,
    visit: impl AsyncFnOnce(Url) -> Result<Url>,
) -> Result<(Profile, LongLivedToken)> {
    let scopes: Scopes = "publish".parse()?;
    let state = State::random()?;
    let back = visit(graph.authorization_url(&app.app_id, redirect_uri, &scopes, &state)).await?;

    let code = match parse_callback(back.query().unwrap_or_default())? {
        CallbackParams::Granted { code, state: returned } if state.matches(&returned) => code,
        CallbackParams::Granted { .. } => return Err("this answers another login".into()),
        CallbackParams::Denied { .. } => return Err("the person declined".into()),
        CallbackParams::Failed { code, .. } => return Err(format!("Meta failed: {code:?}").into()),
    };
    // The code is spent by this call, even if its response is lost.
    let short = graph.exchange_code(app, &code, redirect_uri).await?;
    let long = graph.exchange_long_lived(&app.app_secret, &short.access_token).await?;
    let profile = graph.me(&long.access_token).await?;
    Ok((profile, long))
}
