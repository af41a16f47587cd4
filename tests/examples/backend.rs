//! An app's backend in Rust: three calls, signed by AWS's own crate.
//!
//! ```text
//! backend start user-7                 a session: send the person to its url
//! backend complete SESSION COMPLETION USER
//!                                      who came back, for the user who is logged in
//! backend token USER_ID                a token that works
//! ```
//!
//! It reads `THREADS_AUTH_URL` (the stack's `ApiUrl`), `AWS_REGION`, and credentials from the
//! environment.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example is a program of its own: it reads its environment and the time, sends and prints"
)]

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

async fn call(method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
    let url = format!("{}{path}", std::env::var("THREADS_AUTH_URL")?.trim_end_matches('/'));
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let identity = Credentials::new(
        std::env::var("AWS_ACCESS_KEY_ID")?,
        std::env::var("AWS_SECRET_ACCESS_KEY")?,
        std::env::var("AWS_SESSION_TOKEN").ok(),
        None,
        "environment",
    )
    .into();
    let region = std::env::var("AWS_REGION")?;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&region)
        .name("execute-api")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let signable =
        SignableRequest::new(method, &url, std::iter::empty(), SignableBody::Bytes(body.as_bytes()))?;
    let (signed, _) = sign(signable, &params)?.into_parts();
    let http = threads_graph::HttpClient::new(threads_graph::HttpTimeouts::default())?;
    let mut attempts = 0;
    loop {
        let mut request = http.inner().request(method.parse()?, &url).body(body.clone());
        for (name, value) in signed.headers() {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        attempts += 1;
        if status != 503 || attempts == 5 {
            return Ok((status, serde_json::from_slice(&answer.bytes().await?)?));
        }
        let wait = answer.headers().get("retry-after").context("no Retry-After")?.to_str()?;
        tokio::time::sleep(Duration::from_secs(wait.parse()?)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let return_to = std::env::var("RETURN_TO").ok();
    let (status, answer) = match given.as_slice() {
        ["start", reference] => {
            let body = json!({"reference": reference, "return_to": return_to});
            call("POST", "/sessions", Some(body)).await?
        }
        // The user who is logged in now, from your own session: not what an address or an answer
        // says.
        ["complete", session, completion, logged_in] => {
            let body = json!({"completion": completion, "reference": logged_in});
            call("POST", &format!("/sessions/{session}/complete"), Some(body)).await?
        }
        ["token", user_id] => {
            match call("GET", &format!("/users/{user_id}/token?min_valid=3600"), None).await? {
                // The person has to come back: the answer has the session for that, but for your
                // fields.
                (409, mut answer) => {
                    let mut body = answer["reconnect"]["body"].take();
                    body["reference"] = "user-7".into();
                    body["return_to"] = return_to.into();
                    call("POST", "/sessions", Some(body)).await?
                }
                answered => answered,
            }
        }
        _ => bail!("start REFERENCE, complete SESSION COMPLETION USER, or token USER_ID"),
    };
    println!("{answer}");
    Ok(if status < 400 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
