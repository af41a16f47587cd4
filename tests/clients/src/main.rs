//! Logs in at the sandbox with the `oauth2` crate, as an app in Rust would: authorize, exchange the
//! code, exchange for a long-lived token, let a day pass, refresh.
//!
//! Reads the address and the credentials from standard input, as one JSON object, and prints
//! nothing. The error is the crate's own for a response that it refuses.

use std::io::stdin;

use anyhow::{Context, Result, ensure};
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::http::Request;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse,
    RedirectUrl, Scope, TokenResponse as _, TokenUrl,
};
use serde::Deserialize;
use serde_json::json;
use ureq::Agent;
use url::Url;

/// The sandbox, the app and the person.
#[derive(Deserialize)]
struct Setting {
    url: String,
    app_id: String,
    app_secret: String,
    redirect_uri: String,
    user_id: String,
    seconds: u64,
}

fn main() -> Result<()> {
    let setting: Setting = serde_json::from_reader(stdin().lock())?;
    let Setting { url, app_id, app_secret, redirect_uri, .. } = &setting;
    let agent: Agent =
        Agent::config_builder().max_redirects(0).http_status_as_error(false).proxy(None).build().into();
    let oauth2 = BasicClient::new(ClientId::new(app_id.clone()))
        .set_client_secret(ClientSecret::new(app_secret.clone()))
        .set_auth_uri(AuthUrl::new(format!("{url}/oauth/authorize"))?)
        .set_token_uri(TokenUrl::new(format!("{url}/oauth/access_token"))?)
        .set_redirect_uri(RedirectUrl::new(redirect_uri.clone())?)
        // Its default is HTTP Basic.
        .set_auth_type(AuthType::RequestBody);

    let scope = Scope::new("threads_basic".to_owned());
    let (mut page, state) = oauth2.authorize_url(CsrfToken::new_random).add_scope(scope).url();
    // The sandbox's shortcut presses Allow.
    page.query_pairs_mut().append_pair("auto_approve", &setting.user_id);
    let sent_back = send(&agent, get(page)?)?;
    let location = sent_back.headers().get("location").context("nobody was sent back")?;
    let back: Url = location.to_str()?.parse()?;
    let told = |name| back.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    ensure!(told("state").as_ref() == Some(state.secret()), "another state came back");
    let code = AuthorizationCode::new(told("code").context("no code came back")?);

    let short = oauth2.exchange_code(code).request(&|request| send(&agent, request))?;
    let query = [
        ("grant_type", "th_exchange_token"),
        ("client_secret", app_secret),
        ("access_token", short.access_token().secret()),
    ];
    let long = token(&agent, &format!("{url}/access_token"), &query)?;
    let body = json!({ "advance_seconds": setting.seconds }).to_string().into_bytes();
    let moved = send(&agent, Request::post(format!("{url}/control/clock")).body(body)?)?;
    ensure!(moved.status().is_success(), "the clock did not move");
    let query = [("grant_type", "th_refresh_token"), ("access_token", long.access_token().secret())];
    let new = token(&agent, &format!("{url}/refresh_access_token"), &query)?;
    ensure!(new.access_token().secret() != long.access_token().secret(), "the same token came back");
    Ok(())
}

/// A call that is Threads' own, and so none of the crate's. Its answer is one that the crate reads.
fn token(agent: &Agent, url: &str, query: &[(&str, &str)]) -> Result<BasicTokenResponse> {
    let answer = send(agent, get(Url::parse_with_params(url, query)?)?)?;
    ensure!(answer.status().is_success(), "status {}", answer.status());
    Ok(serde_json::from_slice(answer.body())?)
}

fn get(url: Url) -> Result<HttpRequest> {
    Ok(Request::get(String::from(url)).body(Vec::new())?)
}

/// The crate takes any HTTP client that is a function.
fn send(agent: &Agent, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let (parts, mut body) = agent.run(request)?.into_parts();
    Ok(HttpResponse::from_parts(parts, body.read_to_vec()?))
}
