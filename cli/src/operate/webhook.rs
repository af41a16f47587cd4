//! `threads-auth webhook`: the secret that signs the events which a stack posts.
//!
//! Owns its rotation: for a limited time both secrets sign, so that the receiver can change its
//! own. Prints the secret only on request, and only on standard output.

use anyhow::{Context, Result};
use aws_sdk_secretsmanager::Client;
use clap::{Args, Subcommand};
use jiff::SignedDuration;
use serde_json::json;
use threads_auth_model::webhook::WebhookSecret;

use crate::operate::secrets::{self, value};
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{later, usage};
use crate::shell::interrupt::Interrupt;

/// Show or rotate the secret that signs webhooks.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth webhook secret --local
  threads-auth webhook rotate --profile prod

A stack posts its events if it was deployed with WebhookUrl, and `threads-auth dev` with --webhook. What could not be delivered is among the dead letters: `threads-auth dead-letters replay` posts it again. Each of them takes --json.

{TARGETS}"))]
pub(crate) struct WebhookCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Secret(Secret),
    Rotate(Rotate),
}

/// Print the secret with which the receiver verifies, for it alone.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth webhook secret --local
  threads-auth webhook secret --profile prod | your-secret-store put THREADS_WEBHOOK_SECRET -

It has the form that the libraries of Standard Webhooks take: whsec_ and base64. It needs secretsmanager:GetSecretValue on the secret, and kms:Decrypt through Secrets Manager.

{TARGETS}"))]
struct Secret {
    #[command(flatten)]
    target: StackArgs,
}

/// Make a new secret. The present one signs beside it for a day, in which the receiver changes.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth webhook rotate --profile prod
  threads-auth webhook rotate --hours 72 --profile prod
  threads-auth webhook rotate --compromised --profile prod
                                      after a leak: the present one signs no more

Functions take it up within five minutes. Each delivery then has two signatures, and a receiver that knows either secret goes on. `threads-auth webhook secret` prints the new one. If somebody else rotates it at the same moment, one of the two ends with the exit code 4.

{TARGETS}"))]
struct Rotate {
    /// Hours for which the present secret goes on signing
    #[arg(long, value_name = "N", default_value_t = 24, conflicts_with = "compromised",
        value_parser = clap::value_parser!(u16).range(1..=720))]
    hours: u16,

    /// The present secret has leaked: it signs no more, and a receiver that knows only it refuses
    /// everything until it has the new one
    #[arg(long)]
    compromised: bool,

    #[command(flatten)]
    target: StackArgs,
}

impl WebhookCommand {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        match self.command {
            Command::Secret(command) => command.run(env).await,
            Command::Rotate(command) => command.run(env).await,
        }
    }
}

impl Secret {
    async fn run(self, env: &Env) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(env)).await?;
        let (client, id) = (stack.secrets_manager(), secret_id(&stack)?);
        let (_, secret) = interrupt.or(read(&client, &id)).await?;
        let until = secret.previous_until(stack.now());
        let text = secret.expose();
        let json = json!({"secret": text.as_str(), "previous_signs_until": until});
        self.target.output.result(&json, &text)
    }
}

impl Rotate {
    async fn run(self, env: &Env) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(env)).await?;
        let (client, id) = (stack.secrets_manager(), secret_id(&stack)?);
        let (version, secret) = interrupt.or(read(&client, &id)).await?;
        let now = stack.now();
        if let Some(until) = secret.previous_until(now)
            && !self.compromised
        {
            return later(format!(
                "a rotation is under way: the secret before signs until {until}, and another one would end it early"
            ));
        }
        let overlap = SignedDuration::from_hours(self.hours.into());
        let until = (!self.compromised).then(|| now.checked_add(overlap)).transpose()?;
        // Whole seconds: nobody has to read more.
        let until = until.and_then(|until| until.round(jiff::Unit::Second).ok());
        let text = secret.rotated(until)?.to_json();
        if !secrets::replace(&client, &id, Some(&version), &text).await? {
            return later(
                "somebody else changed the secret at the same moment, and it is as they left it: try again",
            );
        }
        let plain = match until {
            Some(until) => format!(
                "A new secret signs within five minutes, and the one before beside it until {until}. `threads-auth webhook secret` prints the new one: give it to the receiver before then."
            ),
            None => "A new secret signs within five minutes, alone. `threads-auth webhook secret` prints it: give it to the receiver now. What it refuses meanwhile is posted again.".to_owned(),
        };
        self.target.output.result(&json!({"previous_signs_until": until}), &plain)
    }
}

/// Returns the id of the stack's secret.
fn secret_id(stack: &StackHandle) -> Result<String> {
    match stack.service.config().webhook() {
        Ok(webhook) => Ok(webhook.secret_id.clone()),
        Err(_) => usage(format!(
            "{} posts its events nowhere: deploy it with WebhookUrl, or start `threads-auth dev` with --webhook",
            stack.name
        )),
    }
}

/// Reads the secret, and the id of its version.
async fn read(client: &Client, id: &str) -> Result<(String, WebhookSecret)> {
    let value = value(client, id).await?.with_context(|| format!("the secret {id} has no value"))?;
    let secret =
        WebhookSecret::from_json(&value.text).with_context(|| format!("the secret {id} is malformed"))?;
    Ok((value.version, secret))
}
