//! Replaces the row of one account by a backup's.
//!
//! Compares first: whether each of the two rows is usable, and what would be lost. Refuses to
//! replace a row that differs from the compared one, is leased, or has ended since, and to restore
//! a deleted person.

use jiff::Timestamp;
use threads_auth_model::seal::{Purpose, SealError};
use threads_auth_model::{Attribute, Ends, Grant, Inconsistency, Key, Row, Status, Vault, backup};
use threads_auth_store::{Committed, Item, SecretsError, StoreError, row};
use threads_graph::UserId;

use crate::clients::{Clients, OpenError};

/// The maximum number of attempts while the user's ends change.
const ATTEMPTS: u32 = 5;

/// The error that ended a restore early. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The keyring, which names tombstones, could not be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why a row is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spoilt {
    /// It is malformed.
    #[error("attribute {} is {}", .0.attribute, .0.problem)]
    MakesNoSense(Inconsistency),
    /// Its token does not open.
    #[error("{0} {1}")]
    DoesNotOpen(Attribute, SealError),
}

/// The row in use beside the backup's.
#[derive(Debug)]
pub struct Comparison {
    /// The user of both rows.
    pub user_id: UserId,
    /// The row in use, if there is one.
    pub present: Option<Result<Grant, Spoilt>>,
    /// The backup's row, if there is one.
    pub backup: Option<Result<Grant, Spoilt>>,
    /// The decision whether the row may be replaced.
    pub verdict: Verdict,
    /// The row in use if it is well-formed, even if its token does not open.
    known: Option<Grant>,
    seen: Row,
    backed_up: Item,
    ends_there: Ends,
}

/// The decision whether a backup's row can replace the row in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backup's row can replace the row in use.
    Replaceable,
    /// The backup's grant has ended since. It can replace the row, as an ended one.
    EndedSince,
    /// The row in use is sealed with a key that the keyring lacks, and a former version of the
    /// keyring may have it.
    KeyIsMissing,
    /// Both rows are equal.
    Same,
    /// The backup has no row of this user.
    NotInBackup,
    /// The backup's row is unusable too.
    BackupSpoilt(Spoilt),
    /// The person's data was deleted since.
    Deleted,
    /// The row in use was ended since, and stays ended.
    Ended,
    /// The row in use is leased until then.
    Leased(Timestamp),
    /// The row in use changed during every attempt.
    Changing,
}

/// A loss caused by the replacement of the row in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// A token that was issued later.
    #[error("the token of {0}, for one of {1}")]
    Token(Timestamp, Timestamp),
    /// A later consent of the person.
    #[error("the person's consent of {0}, for that of {1}")]
    Consent(Timestamp, Timestamp),
    /// A consent that has no long-lived token yet.
    #[error("a consent that waits for its long-lived token")]
    Pending,
    /// The claim of a user of the app.
    #[error("the claim of {0} of {1}")]
    Claim(String, Timestamp),
}

/// The outcome of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The backup's row has replaced it.
    Done,
    /// The backup's row has replaced it, as an ended one.
    Ended,
    /// The person's data was deleted since.
    Deleted,
    /// The row changed since it was compared, or its user's ends changed during every attempt.
    Changed,
}

impl Verdict {
    /// Returns true if the backup's row can replace the row in use.
    #[must_use]
    pub fn is_replaceable(&self) -> bool {
        matches!(self, Self::Replaceable | Self::EndedSince)
    }

    /// Returns true if the decision may change by itself.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Leased(_) | Self::Changing)
    }
}

impl Comparison {
    /// Returns the verdict for an account that the operator has not named. A row whose key is
    /// missing is kept: once the key is back, the row opens, and it is newer than the backup's.
    pub(super) fn unnamed(&self) -> Verdict {
        match &self.present {
            Some(Err(Spoilt::DoesNotOpen(_, SealError::UnknownKey))) if self.verdict.is_replaceable() => {
                Verdict::KeyIsMissing
            }
            _ => self.verdict.clone(),
        }
    }

    /// Returns the losses caused by the replacement of the row in use.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        let (Some(present), Some(Ok(backup))) = (&self.known, &self.backup) else {
            return Vec::new();
        };
        let mut losses = Vec::new();
        let issued_at = |grant: &Grant| grant.live().map(|live| live.issued_at);
        if let (Some(present), Some(backup)) = (issued_at(present), issued_at(backup))
            && present > backup
        {
            losses.push(Loss::Token(present, backup));
        }
        if present.connected_at > backup.connected_at {
            losses.push(Loss::Consent(present.connected_at, backup.connected_at));
        }
        let pending = |grant: &Grant| grant.consent().map(|consent| consent.token.clone());
        if pending(present).is_some() && pending(present) != pending(backup) {
            losses.push(Loss::Pending);
        }
        if let Some(owner) = present.claim.owner()
            && backup.claim.owner() != Some(owner)
        {
            losses.push(Loss::Claim(owner.reference.clone(), owner.claimed_at));
        }
        losses
    }
}

/// Parses a user's row, and tries its token and pending consent. It is usable if one of them opens,
/// because a sweep completes a pending consent.
pub(super) async fn read(
    clients: &Clients,
    vault: &Vault,
    table: &str,
    (key, row): (&Key, &Row),
    now: Timestamp,
) -> Result<Result<Grant, Spoilt>, SecretsError> {
    let grant = match Grant::from_row(table, row) {
        Ok(grant) => grant,
        Err(inconsistency) => return Ok(Err(Spoilt::MakesNoSense(inconsistency))),
    };
    if key.user_id().as_ref() != Some(&grant.user_id) {
        return Ok(Err(Spoilt::MakesNoSense(Inconsistency {
            table: table.to_owned(),
            key: key.to_string(),
            pseudonym: grant.pseudonym,
            attribute: Attribute::UserId,
            problem: "malformed",
        })));
    }
    let token = grant.live().map(|live| (Attribute::Token, Purpose::AccessToken, &live.token));
    let consent = grant.consent();
    let consent = consent.map(|consent| (Attribute::PendingToken, Purpose::PendingToken, &consent.token));
    let mut spoilt = None;
    for (attribute, purpose, sealed) in [token, consent].into_iter().flatten() {
        match clients.open(vault, purpose, &grant.user_id, sealed, now).await {
            Ok(_) => {
                spoilt = None;
                break;
            }
            Err(OpenError::Sealed(error)) => {
                spoilt = spoilt.or(Some(Spoilt::DoesNotOpen(attribute, error)));
            }
            Err(OpenError::Keyring(error)) => return Err(error),
        }
    }
    Ok(spoilt.map_or(Ok(grant), Err))
}

/// Compares the row in use with that of the backup table `from`. Changes nothing.
pub(crate) async fn compare(
    clients: &Clients,
    from: &str,
    user_id: &UserId,
    now: Timestamp,
) -> Result<Comparison, RestoreError> {
    let (vault, store, key) = (clients.vault(now).await?, &clients.store, Key::grant(user_id));
    let tombstone = vault.tombstone(user_id);
    let seen = store.row_at(&key).await?;
    let backed_up = store.backed_up(from, &key).await?;
    let there = store.backed_up(from, &tombstone).await?.map(|item| row(&item)).unwrap_or_default();
    let (ends_there, noted) = (Ends::of(&there), Ends::of(&store.row_at(&tombstone).await?));
    let present = match seen.get(Attribute::Pk) {
        Some(_) => Some(read(clients, &vault, store.grants_table(), (&key, &seen), now).await?),
        None => None,
    };
    let backup = match &backed_up {
        Some(item) => Some(read(clients, &vault, from, (&key, &row(item)), now).await?),
        None => None,
    };
    let ends = later(&noted, &ends_there);
    let mut verdict = judge(&seen, present.as_ref(), backup.as_ref(), &ends, now);
    let backed_up = backed_up.unwrap_or_default();
    let known = Grant::from_row(store.grants_table(), &seen).ok();
    if verdict == Verdict::Replaceable && row(&backed_up) == seen {
        verdict = Verdict::Same;
    }
    Ok(Comparison { user_id: user_id.clone(), present, backup, verdict, known, seen, backed_up, ends_there })
}

fn judge(
    seen: &Row,
    present: Option<&Result<Grant, Spoilt>>,
    backup: Option<&Result<Grant, Spoilt>>,
    ends: &Ends,
    now: Timestamp,
) -> Verdict {
    let backup = match backup {
        None => return Verdict::NotInBackup,
        Some(Err(spoilt)) => return Verdict::BackupSpoilt(spoilt.clone()),
        Some(Ok(backup)) => backup,
    };
    let since =
        |end: Option<Timestamp>| end.is_some_and(|end| end.as_second() >= backup.connected_at.as_second());
    if since(ends.deleted_at) {
        return Verdict::Deleted;
    }
    if let Some(Ok(present)) = present
        && present.status() == Status::Revoked
        && present.updated_at >= backup.connected_at
        && backup.status() != Status::Revoked
    {
        return Verdict::Ended;
    }
    if let Some(until) = seen.time(Attribute::LeaseUntil).filter(|until| *until >= now) {
        return Verdict::Leased(until);
    }
    let is_ended = backup.status() != Status::Revoked && since(ends.ended_at.max(ends.disconnected_at));
    if is_ended { Verdict::EndedSince } else { Verdict::Replaceable }
}

/// Returns the later end of each kind.
fn later(one: &Ends, other: &Ends) -> Ends {
    Ends {
        deleted_at: one.deleted_at.max(other.deleted_at),
        disconnected_at: one.disconnected_at.max(other.disconnected_at),
        ended_at: one.ended_at.max(other.ended_at),
    }
}

/// Replaces the compared row by the backup's. With `keeps_claim`, a claim since the backup stays.
pub(crate) async fn replace(
    clients: &Clients,
    compared: &Comparison,
    keeps_claim: bool,
    now: Timestamp,
) -> Result<Replaced, RestoreError> {
    let (vault, store, user_id) = (clients.vault(now).await?, &clients.store, &compared.user_id);
    let (key, tombstone) = (Key::grant(user_id), vault.tombstone(user_id));
    let Some(Ok(backup)) = &compared.backup else {
        return Ok(Replaced::Changed);
    };
    // An end that only the other table has applies here from now on.
    store.put_back_ends(&tombstone, &compared.ends_there).await?;
    for _ in 0..ATTEMPTS {
        let noted = store.row_at(&tombstone).await?;
        let ends = Ends::of(&noted);
        let is_deleted = |at: Timestamp| at.as_second() >= backup.connected_at.as_second();
        if ends.deleted_at.is_some_and(is_deleted) {
            return Ok(Replaced::Deleted);
        }
        let (seen, item) = (&compared.seen, compared.backed_up.clone());
        let new = backup::restored(user_id, row(&item), seen, &ends, keeps_claim, now);
        let is_ended = backup.status() != Status::Revoked
            && new.text(Attribute::Status) == Some(Status::Revoked.as_str());
        match store.put_in_place((&key, seen), (item, new), (&tombstone, &noted)).await? {
            Committed::Done => return Ok(if is_ended { Replaced::Ended } else { Replaced::Done }),
            Committed::Refused(0, _) => return Ok(Replaced::Changed),
            Committed::Refused(..) => {}
        }
    }
    Err(StoreError::busy("replace a row from a backup").into())
}
