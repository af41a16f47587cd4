//! `threads-auth restore`: accounts from a backup, without those who were deleted since.

use anyhow::{Context, Result};
use clap::Args;

use crate::operate::target::{TARGETS, Target};
use crate::shell::exit::{Stopped, usage};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::table;
use crate::shell::progress::spinner;
use crate::shell::prompt::confirm;
use crate::shell::surroundings::Surroundings;

/// Copy what the table of grants lacks from another, which was restored from its backup.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth restore --from grants-restored --profile prod
                                      after `aws dynamodb restore-table-to-point-in-time … --target-table-name grants-restored`

A backup becomes a table of another name. This copies its accounts into the table in use, unless that has them already or their person \
had their data deleted since. It can be repeated. Delete the other table afterwards.

After `keyring upgrade` tokens open under any name, so the restored table can become the table in use instead. If the table before it is \
still there, name that: accounts that only it has come over, and whoever had their data deleted since is deleted here too. An account that \
both have stays as the restored table has it.

{TARGETS}"))]
pub(crate) struct Restore {
    /// The table that was made from the backup, or the one that was in use before
    #[arg(long, value_name = "TABLE")]
    from: String,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    target: Target,
}

impl Restore {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(surroundings)).await?;
        let into = stack.service.store().grants_table();
        if self.from == into {
            let text = format!("{into} is the table in use: --from is the other one");
            return usage(text);
        }
        if !self.yes {
            let question = format!("Copy what is missing from {} into {into}? Type yes", self.from);
            confirm(&question, "yes", "--yes").await?;
        }
        let bar = spinner("reading the backup");
        let report = interrupt
            .or(Box::pin(async {
                let progress = |report: &threads_auth::RestoreReport| {
                    bar.set_message(format!(
                        "{} brought back, {} there already",
                        report.restored, report.present
                    ));
                };
                let restored = stack.service.restore(&self.from, stack.now(), progress).await;
                restored
                    .with_context(|| format!("{} was not restored to its end; it can be repeated", self.from))
            }))
            .await;
        bar.finish_and_clear();
        let report = report?;
        let plain = table(&[
            ("Brought back", report.restored.to_string()),
            ("There already", report.present.to_string()),
            ("Deleted since, and left out", report.deleted.to_string()),
            ("Make no sense, and left out", report.unreadable.to_string()),
            ("Records of deletions brought back", report.tombstones.to_string()),
        ]);
        self.target.output.result(&serde_json::to_value(report)?, &plain)?;
        Stopped::told(u8::from(report.unreadable > 0))
    }
}
