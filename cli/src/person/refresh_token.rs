//! `threads-auth refresh_token`: extends a long-lived token by 60 days.

use anyhow::{Context, Result};
use clap::Args;
use threads_graph::{AccessToken, LongLivedToken};
use zeroize::Zeroizing;

use crate::person::env_slot::Keep;
use crate::person::legacy::{Answer, UnusedByRefreshToken, warn_unused};
use crate::person::recovered::Recovered;
use crate::person::tokens;
use crate::shell::env::{Env, HOSTS};
use crate::shell::exit::{Stopped, usage};
use crate::shell::inputs::{ACCESS_TOKEN, SECRETS};
use crate::shell::interrupt::Interrupt;

/// Refresh a long-lived token, which must be at least 24 hours old and not expired.
#[derive(Args)]
#[command(name = "refresh_token", visible_alias = "refresh-token", after_help = format!("Examples:
  threads-auth refresh_token --env_path=.env --env_variable=long_lived_token --auto_mode=true --silent
                            refreshes the token in .env in place; for a cron job
  threads-auth refresh_token --json
                            reads the token from THREADS_ACCESS_TOKEN, and prints the new one as JSON

{SECRETS}

ThreadsPipe's short names work too: -token, -auto, -p, -v, -s.

{HOSTS}"))]
pub(crate) struct RefreshTokenCommand {
    /// The long-lived token; `THREADS_ACCESS_TOKEN` [-token]
    #[arg(long, visible_alias = "access_token", value_name = "TOKEN")]
    access_token: Option<String>,

    /// Take the token from --env-variable in the file of --env-path, and store the new one there
    /// [-auto]
    #[arg(long, visible_alias = "auto_mode", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true,
          value_parser = crate::person::legacy::boolean)]
    auto_mode: bool,

    #[command(flatten)]
    keep: Keep,

    #[command(flatten)]
    answer: Answer,

    #[command(flatten)]
    unused: UnusedByRefreshToken,
}

impl RefreshTokenCommand {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let output = self.answer.output();
        let mut unused = self.unused.given();
        if self.auto_mode && self.access_token.is_some() {
            unused.push("--access-token beside --auto-mode");
        }
        warn_unused(output, "refresh_token", &unused);
        let mut interrupt = Interrupt::listen()?;
        let graph = env.graph()?;
        let inputs = self.keep.inputs(env, output)?;
        let (token, slot) = if self.auto_mode {
            // Locked before it is read, so that no other process refreshes the same token at the
            // same time.
            let Some(mut slot) = self.keep.reserve(output, &mut interrupt).await? else {
                return usage("--auto-mode needs --env-path and --env-variable: the token is there");
            };
            let recovered = Recovered::find(&slot.place(), slot.parent(), env.now);
            if let Some(Recovered { token, file, is_old }) = recovered {
                let taken_up = format!("used the token that an earlier run saved in {}", file.display());
                if !is_old {
                    // This run would have got the same token.
                    output.note(&taken_up);
                    let token = LongLivedToken::new(token, None);
                    tokens::deliver_refreshed(&token, Some(slot), output)?;
                    std::fs::remove_file(&file).ok();
                    return Ok(());
                }
                slot.store(&token)?;
                std::fs::remove_file(&file).ok();
                output.note(&taken_up);
                let Some(again) = self.keep.reserve(output, &mut interrupt).await? else {
                    return usage("--auto-mode needs --env-path and --env-variable: the token is there");
                };
                slot = again;
            }
            let token = slot.current(&env.variables).ok_or_else(|| {
                Stopped::Usage(format!(
                    "{} does not define {}: `threads-auth login` can put a token there",
                    slot.path().display(),
                    slot.variable()
                ))
            })?;
            (Zeroizing::new(token), Some(slot))
        } else {
            let given = self.access_token.as_deref();
            let token = inputs.get(&ACCESS_TOKEN, given, &mut interrupt).await?;
            (token, self.keep.reserve(output, &mut interrupt).await?)
        };
        let token = AccessToken::new(token.trim()).map_err(|error| Stopped::Usage(error.to_string()))?;
        interrupt
            .after(async {
                let token = graph
                    .refresh(&token)
                    .await
                    // The wording of ThreadsPipe.
                    .context("An error occured could not refresh access token")?;
                tokens::deliver_refreshed(&token, slot, output)
            })
            .await
    }
}
