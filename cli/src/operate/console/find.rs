//! A page of the accounts that match a filter. Its cost is bounded, however large the table is.

use std::time::Duration;

use devstack::look::accounts::{PER_PAGE, Standing};
use devstack::look::filter::{Choice, Filter};
use jiff::Timestamp;
use threads_auth::{Key, StoreError};
use threads_auth_model::{Pseudonym, Summary};
use threads_auth_store::PageRequest;
use threads_graph::UserId;
use tokio::time::Instant;

use crate::operate::target::StackHandle;

/// Maximum number of rows per read, and of reads per page.
const ROWS: u32 = 2_000;
const READINGS: usize = 5;

/// The time after which no further read begins.
const TIME: Duration = Duration::from_secs(15);

/// A page of accounts.
#[derive(Default)]
pub(super) struct Found {
    pub(super) accounts: Vec<Summary>,
    /// Malformed rows.
    pub(super) broken: Vec<String>,
    /// True if there are other pages.
    pub(super) is_part: bool,
    /// The key after which the next page begins, if there may be more.
    pub(super) next: Option<Key>,
}

impl Found {
    /// Returns true if further reads could have added accounts to the page.
    pub(super) fn is_cut(&self) -> bool {
        self.next.is_some() && self.accounts.len() < PER_PAGE
    }
}

/// Reads the table from `after` on, until the page is full or the limits are reached. The table has
/// no order.
pub(super) async fn find(
    stack: &StackHandle,
    filter: &Filter,
    after: Option<Key>,
    now: Timestamp,
) -> Result<Found, StoreError> {
    if after.is_none()
        && let Ok(user_id) = filter.search.parse::<UserId>()
        && let Some(grant) = stack.service.find_grant(&user_id).await?
    {
        return Ok(Found { accounts: vec![grant.into()], ..Found::default() });
    }
    let looks = !filter.search.is_empty() || filter.choice == Choice::Trouble;
    let mut found = Found { is_part: after.is_some(), next: after, ..Found::default() };
    let until = Instant::now() + TIME;
    for _ in 0..READINGS {
        let wanted = PER_PAGE - found.accounts.len();
        let grants = if looks { ROWS / 2 } else { u32::try_from(wanted).unwrap_or(ROWS) };
        let request =
            PageRequest { status: filter.choice.status(), grants, after: found.next, rows: ROWS, until };
        let page = stack.service.store().grants(request).await?;
        found.next = page.next;
        let mut rows = page.items.into_iter().peekable();
        while let Some(row) = rows.next() {
            match row {
                Ok(grant) => {
                    // Logs contain the pseudonym, which a summary lacks.
                    let pseudonym = grant.pseudonym.as_ref().map(Pseudonym::as_str);
                    let is_named = pseudonym == Some(filter.search.as_str());
                    let account = Summary::from(grant);
                    if is_named || filter.takes(&account, &Standing::of(&account, false, now)) {
                        found.accounts.push(account);
                    }
                }
                Err(_) if filter.choice != Choice::All && filter.choice != Choice::Trouble => {}
                Err(inconsistency) => found.broken.push(inconsistency.named()),
            }
            if found.accounts.len() == PER_PAGE {
                // The next page begins after the last account of this one.
                if rows.peek().is_some() {
                    found.next = found.accounts.last().map(|account| Key::grant(&account.user_id));
                }
                break;
            }
        }
        let is_full = found.accounts.len() == PER_PAGE;
        if is_full || found.next.is_none() || until <= Instant::now() {
            break;
        }
    }
    found.is_part |= found.next.is_some();
    Ok(found)
}
