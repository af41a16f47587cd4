//! An app's backend in Rust, with `threads-auth-client`: three calls.
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
    reason = "an example is a program of its own: it reads its environment and prints"
)]

use std::env::{args, var};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use aws_credential_types::Credentials;
use serde_json::{Value, json};
use threads_auth_client::{Client, Error, NewSession};

async fn run(client: &Client, given: &[&str]) -> Result<Value> {
    let return_to = var("RETURN_TO")?;
    match given {
        ["start", reference] => {
            Ok(serde_json::to_value(client.start_session(&NewSession::new(*reference, return_to)).await?)?)
        }
        // The user who is logged in now, from your own session: not what an address or an answer
        // says.
        ["complete", session, completion, logged_in] => {
            Ok(serde_json::to_value(client.complete(&session.parse()?, completion, logged_in).await?)?)
        }
        ["token", user_id] => {
            let user_id = user_id.parse()?;
            for _ in 0..5 {
                match client.token(&user_id, Duration::from_hours(1), None).await {
                    Ok(token) => return Ok(json!({"access_token": token.access_token.expose()})),
                    // The person has to come back: here is the session for that.
                    Err(Error::ReconnectNeeded(needed)) => {
                        let new = NewSession::again(&needed, "user-7", return_to);
                        return Ok(serde_json::to_value(client.start_session(&new).await?)?);
                    }
                    Err(error) if error.is_passing() => {
                        tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(1))).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            bail!("the service has no token now")
        }
        _ => bail!("start REFERENCE, complete SESSION COMPLETION USER, or token USER_ID"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let (key, secret) = (var("AWS_ACCESS_KEY_ID")?, var("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(key, secret, var("AWS_SESSION_TOKEN").ok(), None, "environment");
    let client = Client::new(&var("THREADS_AUTH_URL")?, var("AWS_REGION")?, credentials)?;
    let given: Vec<String> = args().skip(1).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    Ok(match run(&client, &given).await {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = error.downcast_ref().and_then(Error::code).map(ToString::to_string);
            println!("{}", json!({"error": {"code": code, "message": error.to_string()}}));
            ExitCode::FAILURE
        }
    })
}
