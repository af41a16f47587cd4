//! Reads one account or all of them from the table.

use std::pin::pin;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use threads_auth_model::{Grant, Inconsistency, Pseudonym, Status, Summary};
use threads_graph::UserId;

use crate::operate::target::StackHandle;

/// Reads an account.
pub(super) async fn grant(stack: &StackHandle, user_id: &UserId) -> Result<Grant> {
    let grant = stack.service.find_grant(user_id).await?;
    grant.ok_or_else(|| unknown(stack, user_id))
}

/// Finds the account with a pseudonym. There is no index of them, so that nothing but the row leads
/// to a person: every account is read.
pub(super) async fn named(stack: &StackHandle, pseudonym: &Pseudonym) -> Result<Grant> {
    let listed = || format!("the accounts of {} cannot be listed", stack.name);
    let mut rows = pin!(stack.service.store().all_grants());
    while let Some(row) = rows.try_next().await.with_context(listed)? {
        match row {
            Ok(grant) if grant.pseudonym.as_ref() == Some(pseudonym) => return Ok(grant),
            Err(broken) if broken.pseudonym.as_ref() == Some(pseudonym) => {
                anyhow::bail!("the account is unreadable: {}", broken.named());
            }
            _ => {}
        }
    }
    anyhow::bail!(
        "no account of {} has the pseudonym {pseudonym}: it was deleted, or the pseudonym is of another stack",
        stack.name
    )
}

pub(super) fn unknown(stack: &StackHandle, user_id: &UserId) -> anyhow::Error {
    anyhow::anyhow!("no account {user_id} is connected to {}", stack.name)
}

/// Reads every account, one after the other. A row that cannot be read yields its error.
pub(super) async fn each_account(
    stack: &StackHandle,
    status: Option<Status>,
    mut each: impl FnMut(Result<Grant, Inconsistency>) -> Result<()>,
) -> Result<()> {
    let listed = || format!("the accounts of {} cannot be listed", stack.name);
    let mut rows = pin!(stack.service.store().all_grants());
    while let Some(row) = rows.try_next().await.with_context(listed)? {
        let is_meant = |grant: &Grant| status.is_none_or(|status| grant.status() == status);
        if row.as_ref().map_or(status.is_none(), is_meant) {
            each(row)?;
        }
    }
    Ok(())
}

/// Returns the whole days until the earlier of its two ends; negative if that is past, `None` if it
/// has no end.
pub(super) fn days_left(summary: &Summary, now: Timestamp) -> Option<i64> {
    if summary.status == Status::Revoked {
        return None;
    }
    let ends = [summary.expires_at, summary.data_access_expires_at];
    let end = ends.into_iter().flatten().min()?;
    Some((end.as_second() - now.as_second()).div_euclid(86_400))
}
