//! `threads-auth accounts delete`: deletes people's data, by user ids or by a list from Meta.

mod list;

use std::cell::Cell;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use threads_auth::{PersonDeleted, Progress, RemovalError, StoreError};
use threads_graph::UserId;

use self::list::List;
use crate::operate::target::{StackArgs, StackHandle, TARGETS};
use crate::shell::env::Env;
use crate::shell::exit::{self, Stopped};
use crate::shell::prompt::Confirmation;

/// Delete everything that is held about people, as when Meta requests it.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth accounts delete 17841405793187218 --local
  threads-auth accounts delete ids-from-meta.csv --requested-at 2026-11-25T08:00:00Z --profile prod
  my-export | threads-auth accounts delete - --yes --json

Meta also mails lists of people whose data must be deleted. A file has one user id in each line. Blank lines, comments (#), a line of \
column names and further columns are ignored. A line without a user id is reported and left out. Each person gets a confirmation code and \
an address that shows the progress, as with a request by Meta. An unknown id is recorded too, so that a connect under way does not bring \
that person back. The command can be repeated with the same list: who was deleted stays deleted, under the same code.

Exit codes: 1 if a line or a person was left out, 4 if the rest has to be tried again later.

{TARGETS}"))]
pub(super) struct Delete {
    /// Threads user ids, or files of them, or - for standard input
    #[arg(value_name = "ID|FILE", required = true)]
    whom: Vec<String>,

    /// Time of the request; people who have connected since then are left alone [default: now]
    #[arg(long, value_name = "TIME")]
    requested_at: Option<Timestamp>,

    #[command(flatten)]
    sure: Confirmation,

    #[command(flatten)]
    target: StackArgs,
}

/// The deletions so far.
#[derive(Default)]
struct Done {
    people: Vec<Value>,
    /// The error that stopped the command early.
    failure: Option<anyhow::Error>,
    /// True if somebody's row could not be deleted.
    is_incomplete: bool,
    /// True if a sweep has to finish somebody's deletion.
    is_unfinished: bool,
}

impl Delete {
    pub(super) async fn run(self, env: &Env) -> Result<()> {
        let output = self.target.output;
        let List { people, bad, .. } = List::read(&self.whom)?;
        for line in &bad {
            output.warn(&format!("{}, line {}: {}", line.file, line.line, line.reason));
        }
        let (mut interrupt, stack) = self.target.begin(env).await?;
        if !people.is_empty() {
            let whom = match &people[..] {
                [user_id] => user_id.to_string(),
                people => format!("{} people", people.len()),
            };
            let question = format!(
                "Delete all that {} holds about {whom}? Nothing brings it back, and only they can connect again.",
                stack.name
            );
            self.sure.ask(&question).await?;
        }
        let came = Cell::new(None);
        let words = "Ending after the current person; a second Ctrl-C does not wait.";
        let work = Box::pin(async { self.delete(&stack, &people, &came).await });
        let Done { people: told, failure, is_incomplete, is_unfinished } =
            interrupt.noting(&came, words, work).await?;
        let left = people.len() - told.len();
        let failure = match failure {
            // Nothing was deleted, so there is no result to print.
            Some(error) if told.is_empty() => return Err(error),
            failure => failure,
        };
        if output.json {
            let why = failure.as_ref().map(|error| format!("{error:#}"));
            output.result(&json!({"people": told, "left": left, "bad_lines": bad, "error": why}), "")?;
        } else {
            output.note(&format!("{} of {} people are done", told.len(), people.len()));
        }
        if left > 0 {
            output.warn(&format!("{left} people are left: the same command continues with them"));
        }
        exit::stopped_early(failure, came.get())?;
        Stopped::reported(match (is_incomplete || !bad.is_empty(), is_unfinished) {
            (true, _) => 1,
            (false, true) => 4,
            (false, false) => 0,
        })
    }

    /// Deletes one person after the other, and stops at the first failure that would repeat for
    /// all.
    async fn delete(&self, stack: &StackHandle, people: &[UserId], came: &Cell<Option<u8>>) -> Result<Done> {
        let mut done = Done::default();
        for user_id in people {
            if came.get().is_some() {
                break;
            }
            let deleted = stack.service.delete_person(user_id, self.requested_at, stack.now()).await;
            let (json, plain) = match deleted {
                Ok(deleted) => {
                    done.is_unfinished |= matches!(deleted.deleted.progress, Progress::Unfinished(..));
                    told(user_id, &deleted)
                }
                Err(RemovalError::Store(error)) if is_of_one(&error) => {
                    done.is_incomplete = true;
                    let why = threads_auth_model::error_chain(&error);
                    (
                        json!({"user_id": user_id, "outcome": "failed", "error": why}),
                        format!("{user_id}  FAILED  {why}"),
                    )
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    done.failure = Some(error.context(format!("{user_id} was not deleted")));
                    break;
                }
            };
            if !self.target.output.json {
                // Printed at once, because a deletion stays done if a later one fails.
                self.target.output.result(&Value::Null, &plain)?;
            }
            done.people.push(json);
        }
        Ok(done)
    }
}

fn is_of_one(error: &StoreError) -> bool {
    error.kind() == threads_auth::FailureKind::ThisItem
}

/// The outcome for one person, as JSON and as text.
pub(in crate::operate) fn told(user_id: &UserId, deleted: &PersonDeleted) -> (Value, String) {
    let PersonDeleted { deleted, was_known } = deleted;
    let (outcome, words) = match deleted.progress {
        Progress::Kept(_) => ("connected_since", "has connected since, and was left alone"),
        Progress::Unfinished(..) => ("unfinished", "begun; the next sweep finishes it"),
        Progress::Done(_) if *was_known => ("deleted", "deleted"),
        Progress::Done(_) => ("unknown", "no account; all other data of the person is deleted"),
    };
    let (code, url) = (&deleted.confirmation_code, &deleted.url);
    let json =
        json!({"user_id": user_id, "outcome": outcome, "confirmation_code": code, "url": url.as_str()});
    (json, format!("{user_id}  {words}  {code}  {url}"))
}
