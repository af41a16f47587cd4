//! `threads-auth restore`: restores accounts from a backup, except those deleted since.
//!
//! Replaces a usable row only for an account that was named, after the loss was shown, and reports
//! an unusable row for as long as it exists.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use threads_auth::{Comparison, Left, Replaced, RestoreReport, Spoilt, Verdict};
use threads_graph::UserId;

use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{Stopped, usage};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::table;
use crate::shell::progress::spinner;
use crate::shell::prompt::Confirmation;

/// Copy the rows that the table of grants lacks from another table, which was restored from a
/// backup, and replace unusable rows.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth restore --from grants-restored --profile prod
                                      after `aws dynamodb restore-table-to-point-in-time … --target-table-name grants-restored`
  threads-auth restore --from grants-restored --replace-unreadable --profile prod
                                      also replaces rows that are malformed, or whose token does not open
  threads-auth restore --from grants-restored --user 17841405793187218 --profile prod
                                      replaces this account by the backup's, whatever its state

A backup becomes a table of another name. This command copies its accounts into the table in use, except those that it has already, and \
those of people who had their data deleted since. It can be repeated. Delete the other table afterwards.

A row of the table in use that is malformed, or whose token does not open, is reported with the next step. --replace-unreadable replaces \
it by the backup's, if that one opens; a claim of the account since then stays. With --user no other account is looked at, and the command \
shows first what is lost: a newer token, a newer consent, a claim. In both cases a row that somebody else writes meanwhile is left to \
them, a person whose data was deleted since stays deleted, and one who was disconnected since comes back as disconnected. The next sweep \
checks what was restored.

After `keyring upgrade` tokens open under any table name, so the restored table can become the table in use instead. If the previous table \
still exists, name it with --from: accounts that only it has are copied, and people whose data was deleted there are deleted here too. An \
account that both have stays as the restored table has it.

{TARGETS}"))]
pub(crate) struct Restore {
    /// The table that was restored from the backup, or the one that was in use before
    #[arg(long, value_name = "TABLE")]
    from: String,

    /// Replace rows that are malformed, or whose token does not open
    #[arg(long, conflicts_with = "user")]
    replace_unreadable: bool,

    /// Replace only this account; may be repeated
    #[arg(long, value_name = "USER_ID")]
    user: Vec<UserId>,

    #[command(flatten)]
    sure: Confirmation,

    #[command(flatten)]
    target: StackArgs,
}

impl Restore {
    pub(crate) async fn run(self, env: &Env) -> Result<()> {
        let (mut interrupt, stack) = self.target.begin(env).await?;
        let into = stack.service.store().grants_table();
        if self.from == into {
            let text = format!("{into} is the table in use: --from has to name the other one");
            return usage(text);
        }
        if self.user.is_empty() {
            self.all(&stack, into, &mut interrupt).await
        } else {
            self.some(&stack, into, &mut interrupt).await
        }
    }

    async fn all(&self, stack: &StackHandle, into: &str, interrupt: &mut Interrupt) -> Result<()> {
        let replaced = if self.replace_unreadable { ", and replace unusable rows there" } else { "" };
        self.sure.ask(&format!("Copy what is missing from {} into {into}{replaced}?", self.from)).await?;
        let bar = spinner("reading the backup");
        let mut left = Vec::new();
        let report = interrupt
            .or(Box::pin(async {
                let progress = |report: &RestoreReport, one: Option<&Left>| {
                    bar.set_message(format!(
                        "{} restored, {} present already, {} replaced",
                        report.restored, report.present, report.replaced
                    ));
                    if let Some(one) = one {
                        let account =
                            one.key.user_id().map_or_else(|| one.key.to_string(), |id| id.to_string());
                        let next = next(one.verdict.as_ref());
                        bar.suspend(|| {
                            self.target.output.warn(&format!("{account}: {}: {next}", one.spoilt));
                        });
                        left.push((one.verdict.clone(), told(&account, Some(&one.spoilt), &next)));
                    }
                };
                let restored =
                    stack.service.restore(&self.from, self.replace_unreadable, stack.now(), progress);
                let restored = restored.await;
                restored.with_context(|| {
                    format!("{} was not restored completely; the command can be repeated", self.from)
                })
            }))
            .await;
        bar.finish_and_clear();
        let report = report?;
        let plain = table(&[
            ("Restored", report.restored.to_string()),
            ("Present already", report.present.to_string()),
            ("Unusable, and replaced", report.replaced.to_string()),
            ("Unusable, and left", report.spoilt.to_string()),
            ("Deleted since, and left out", report.deleted.to_string()),
            ("Malformed in the backup, and left out", report.unreadable.to_string()),
            ("Records of deletions restored", report.tombstones.to_string()),
        ]);
        let mut json = serde_json::to_value(report)?;
        json["left"] = left.iter().map(|(_, told)| told.clone()).collect();
        self.target.output.result(&json, &plain)?;
        let may_pass = |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(Verdict::may_pass);
        let all_may_pass = left.iter().all(|(verdict, _)| may_pass(verdict));
        Stopped::reported(match (report.unreadable, report.spoilt) {
            (0, 0) => 0,
            (0, _) if all_may_pass => 4,
            _ => 1,
        })
    }

    async fn some(&self, stack: &StackHandle, into: &str, interrupt: &mut Interrupt) -> Result<()> {
        let output = self.target.output;
        let mut compared = Vec::new();
        for (n, user_id) in self.user.iter().enumerate() {
            if self.user[..n].contains(user_id) {
                continue;
            }
            let one = stack.service.compare_with_backup(&self.from, user_id, stack.now());
            let one = interrupt.or(Box::pin(async { Ok(one.await?) })).await;
            compared.push(
                one.with_context(|| format!("{user_id} could not be compared, and nothing was changed"))?,
            );
        }
        for one in &compared {
            output.note(&preview(one));
        }
        let wanted = compared.iter().filter(|one| one.verdict.is_replaceable()).count();
        if wanted > 0 {
            let question = format!("Replace {} in {into} by what {} has?", accounts(wanted), self.from);
            self.sure.ask(&question).await?;
        }
        let (mut replaced, mut left, mut code) = (Vec::new(), Vec::new(), 0);
        let mut failure = None;
        for one in compared {
            let verdict = if one.verdict.is_replaceable() {
                let put = stack.service.replace_from_backup(&one, stack.now());
                // A replacement that was started is finished.
                let put = match put.await {
                    Ok(put) => put,
                    // Accounts that were replaced before are reported nevertheless.
                    Err(error) => {
                        let text =
                            format!("{} could not be replaced; the command can be repeated", one.user_id);
                        failure = Some(anyhow::Error::from(error).context(text));
                        break;
                    }
                };
                match put {
                    Replaced::Done | Replaced::Ended => {
                        let lost: Vec<_> = one.losses().iter().map(ToString::to_string).collect();
                        let ended = put == Replaced::Ended;
                        replaced.push(json!({"user_id": one.user_id, "lost": lost, "ended": ended}));
                        continue;
                    }
                    Replaced::Deleted => Verdict::Deleted,
                    Replaced::Changed => Verdict::Changing,
                }
            } else {
                one.verdict.clone()
            };
            code = match (&verdict, code) {
                (Verdict::Same, code) => code,
                // A verdict that needs somebody takes precedence over a transient one.
                (verdict, 0 | 4) if verdict.may_pass() => 4,
                _ => 1,
            };
            let spoilt = one.present.as_ref().and_then(|present| present.as_ref().err());
            left.push(told(one.user_id.as_str(), spoilt, &next(Some(&verdict))));
        }
        let ended = replaced.iter().filter(|one| one["ended"] == true).count();
        let plain = table(&[
            ("Replaced", replaced.len().to_string()),
            ("Of these ended since", ended.to_string()),
            ("Left as they are", left.len().to_string()),
        ]);
        let lines: Vec<_> = left.iter().map(line).collect();
        output.result(
            &json!({"replaced": replaced, "left": left}),
            &format!("{plain}\n{}", lines.join("\n")),
        )?;
        failure.map_or_else(|| Stopped::reported(code), Err)
    }
}

fn accounts(count: usize) -> String {
    if count == 1 { "one account".to_owned() } else { format!("{count} accounts") }
}

fn told(account: &str, spoilt: Option<&Spoilt>, next: &str) -> Value {
    let mut told = json!({"user_id": account, "next": next});
    if let Some(spoilt) = spoilt {
        told["why"] = json!(spoilt.to_string());
    }
    told
}

fn line(left: &Value) -> String {
    let text = |name| left.get(name).and_then(Value::as_str);
    format!("{}: {}", text("user_id").unwrap_or_default(), text("next").unwrap_or_default())
}

/// Formats the two rows of an account, and the loss if the one in use is replaced.
fn preview(one: &Comparison) -> String {
    let user_id = &one.user_id;
    if !one.verdict.is_replaceable() {
        return format!("{user_id}: {}", next(Some(&one.verdict)));
    }
    let mut said = vec![match &one.present {
        None => format!("{user_id}: has no row here"),
        Some(Err(spoilt)) => format!("{user_id}: is unusable here ({spoilt})"),
        Some(Ok(grant)) => {
            format!("{user_id}: is {} here, connected at {}", grant.status(), grant.connected_at)
        }
    }];
    if let Some(Ok(grant)) = &one.backup {
        let token = grant.live().map_or_else(String::new, |live| {
            format!(", with a token of {} until {}", live.issued_at, live.expires_at)
        });
        said.push(format!(
            "in the backup it is {}, connected at {}{token}",
            grant.status(),
            grant.connected_at
        ));
    }
    if one.verdict == Verdict::EndedSince {
        said.push("it has ended since, and comes back without a token".to_owned());
    }
    let lost: Vec<_> = one.losses().iter().map(ToString::to_string).collect();
    let lost = if lost.is_empty() { String::new() } else { format!(" This loses: {}.", lost.join("; ")) };
    format!("{}.{lost}", said.join("; "))
}

/// Returns the reason why a row was left, and the next step.
fn next(verdict: Option<&Verdict>) -> String {
    const CONNECT: &str = "its person has to connect again, or `threads-auth accounts delete` deletes it";
    match verdict {
        None => "its key names no user; look at it in DynamoDB, and delete it".to_owned(),
        Some(Verdict::Replaceable) => "`threads-auth restore --replace-unreadable` replaces it by the backup's".to_owned(),
        Some(Verdict::EndedSince) => {
            "it has ended since the backup; `threads-auth restore --replace-unreadable` restores it as ended".to_owned()
        }
        Some(Verdict::KeyIsMissing) => {
            "`threads-auth restore-secret keyring` may bring its key back; if not, `threads-auth restore --user` replaces it".to_owned()
        }
        Some(Verdict::Same) => "the backup has the same, and nothing was changed".to_owned(),
        Some(Verdict::NotInBackup) => format!("the backup does not have it: an older one may, or {CONNECT}"),
        Some(Verdict::BackupSpoilt(spoilt)) => {
            const KEY: &str = "`threads-auth restore-secret show` looks for a lost key, or ";
            let look = if matches!(spoilt, Spoilt::DoesNotOpen(..)) { KEY } else { "" };
            format!("the backup's is unusable too ({spoilt}): an older one may be, {look}{CONNECT}")
        }
        Some(Verdict::Deleted) => "the person had their data deleted since, and stays deleted: `threads-auth accounts delete` deletes what is left".to_owned(),
        Some(Verdict::Ended) => "it was disconnected since, and stays so: its person has to connect again".to_owned(),
        Some(Verdict::Leased(until)) => format!("another process holds its lease until {until}: try again then"),
        Some(Verdict::Changing) => "somebody else changed it meanwhile: look at it, and try again".to_owned(),
    }
}
