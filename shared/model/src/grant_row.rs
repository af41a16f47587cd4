//! The conversion of a row into a grant: the only place that handles a grant's absent attributes.

use jiff::Timestamp;
use threads_graph::ReauthorizationCause;

use crate::row::Reader;
use crate::{
    Attribute, Cause, Claim, Consent, Grant, Inconsistency, Live, Owner, Row, ScopesSource, State, Status,
    Suspicion, Vouch, Warning,
};

impl Grant {
    /// Reads a row of `table`. A damaged attribute that a refresh does not need counts as absent.
    ///
    /// # Errors
    /// Returns [`Inconsistency`] if an attribute that a refresh needs is missing or malformed.
    pub fn from_row(table: &str, row: &Row) -> Result<Self, Inconsistency> {
        let row = row.reader(table);
        let consent = consent(&row)?;
        let state = match row.needed(Attribute::Status)? {
            Status::Pending => State::New(consent.ok_or_else(|| row.inconsistency(Attribute::PendingToken))?),
            Status::Active => {
                let live = live(&row)?.ok_or_else(|| row.inconsistency(Attribute::Token))?;
                State::Active(live, consent)
            }
            Status::NeedsReauthorization => {
                let unknown = Cause::Threads(ReauthorizationCause::Invalid);
                let cause: Cause = row.optional(Attribute::Cause).unwrap_or(unknown);
                // The row of a token that Meta called expired no longer holds it.
                match live(&row)?.filter(|_| cause.is_appealable() || cause == Cause::EXPIRED) {
                    Some(live) => State::Appealable(cause, live, consent),
                    None => State::Final(cause, consent),
                }
            }
            Status::Revoked => State::Revoked(row.optional(Attribute::RevokedBy), consent),
        };
        // No refresh depends on these times, so any other time of the row replaces a damaged one.
        let times = [Attribute::CreatedAt, Attribute::ConnectedAt, Attribute::UpdatedAt, Attribute::IssuedAt];
        let created_at = times
            .into_iter()
            .find_map(|attribute| row.time(attribute))
            .ok_or_else(|| row.inconsistency(Attribute::CreatedAt))?;
        let connected_at = row.time(Attribute::ConnectedAt).unwrap_or(created_at);
        Ok(Self {
            user_id: row.needed(Attribute::UserId)?,
            grant_id: row.needed(Attribute::GrantId)?,
            state,
            scopes: row.scopes(Attribute::Scopes),
            scopes_source: scopes_source(&row),
            due_at: row.time(Attribute::DueAt),
            leased_until: row.time(Attribute::LeaseUntil),
            failures: row.optional(Attribute::Failures).unwrap_or(0),
            last_error: row.optional(Attribute::LastError),
            username: row.optional(Attribute::Username),
            pseudonym: row.optional(Attribute::Pseudonym),
            created_at,
            connected_at,
            begun_at: row.time(Attribute::BegunAt),
            updated_at: row.time(Attribute::UpdatedAt).unwrap_or(connected_at),
            claim: claim(&row),
            session_id: row.optional(Attribute::SessionId),
        })
    }
}

impl Claim {
    /// Reads the claim of a row, which may be inconsistent otherwise.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        claim(&row.reader(""))
    }
}

/// Returns the claim. A row without the unclaimed mark is claimed.
fn claim(row: &Reader<'_>) -> Claim {
    if let Some(until) = row.time(Attribute::UnclaimedUntil) {
        let is_announced = row.row.get(Attribute::UnclaimedWarned).is_some();
        return Claim::Unclaimed { until, is_announced };
    }
    let owner = match (row.optional(Attribute::Reference), row.time(Attribute::ClaimedAt)) {
        (Some(reference), Some(claimed_at)) => Some(Owner { reference, claimed_at }),
        _ => None,
    };
    Claim::Claimed(owner)
}

fn live(row: &Reader<'_>) -> Result<Option<Live>, Inconsistency> {
    let Some(token) = row.sealed(Attribute::Token)? else {
        return Ok(None);
    };
    let warning = match (row.optional(Attribute::WarnedOf), row.optional(Attribute::WarnedDays)) {
        (Some(of), Some(days)) => Some(Warning { of, days }),
        _ => None,
    };
    let issued_at = row.needed_time(Attribute::IssuedAt)?;
    let suspicion = match (row.optional(Attribute::SuspectedCause), row.time(Attribute::SuspectedAt)) {
        // The first release keeps the suspicion beside a token that it has refreshed since.
        (Some(cause), Some(since)) if since >= issued_at => Some(Suspicion { cause, since }),
        _ => None,
    };
    let vouch = match (row.time(Attribute::VouchedUntil), row.optional(Attribute::Vouches)) {
        (Some(until), Some(times)) => Some(Vouch { until, times }),
        _ => None,
    };
    // The previous release leaves a note beside a token that it stored later. A note does not
    // explain a refusal that came before it.
    let explains = |at: &Timestamp| suspicion.is_none_or(|suspicion| *at <= suspicion.since);
    let asked_at = row.time(Attribute::AskedAt).filter(|at| *at > issued_at).filter(explains);
    Ok(Some(Live {
        token,
        token_id: row.optional(Attribute::TokenId),
        previous: row.sealed(Attribute::PreviousToken).unwrap_or_default(),
        issued_at,
        expires_at: row.needed_time(Attribute::ExpiresAt)?,
        expiry_assumed: row.row.get(Attribute::ExpiryAssumed).is_some(),
        refreshed_at: row.time(Attribute::RefreshedAt),
        data_access_expires_at: row.time(Attribute::DataAccessExpiresAt),
        warning,
        suspicion,
        vouch,
        asked_at,
    }))
}

/// Returns the source of the scopes. The first release did not store it: a row with an end of data
/// access has both from Meta.
fn scopes_source(row: &Reader<'_>) -> ScopesSource {
    row.optional(Attribute::ScopesSource).unwrap_or(match row.time(Attribute::DataAccessExpiresAt) {
        Some(_) => ScopesSource::Granted,
        None => ScopesSource::Requested,
    })
}

fn consent(row: &Reader<'_>) -> Result<Option<Consent>, Inconsistency> {
    let Some(token) = row.sealed(Attribute::PendingToken)? else {
        return Ok(None);
    };
    Ok(Some(Consent {
        token,
        scopes: row.scopes(Attribute::PendingScopes),
        expires_at: row.needed_time(Attribute::PendingExpiresAt)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Value};

    fn row() -> Row {
        let user_id = "17841400000000001".parse().unwrap();
        let mut row: Row = [
            (Attribute::Pk, Key::grant(&user_id).as_str().into()),
            (Attribute::UserId, user_id.as_str().into()),
            (Attribute::GrantId, "generation".into()),
            (Attribute::Status, "active".into()),
            (Attribute::Token, [1_u8].as_slice().into()),
            (Attribute::IssuedAt, 1_i64.into()),
            (Attribute::ExpiresAt, 2_i64.into()),
        ]
        .into_iter()
        .collect();
        for attribute in UNNEEDED {
            row.set(attribute, 3_i64);
        }
        row
    }

    /// The first release kept a suspicion beside the token that has replaced the suspected one.
    #[test]
    fn a_suspicion_is_of_the_token_that_stands_beside_it() {
        for (since, is_suspected) in [(0_i64, false), (1, true), (2, true)] {
            let mut row = row();
            row.set(Attribute::SuspectedCause, "invalid");
            row.set(Attribute::SuspectedAt, since);
            let live = Grant::from_row("grants", &row).unwrap().live().unwrap().clone();
            assert_eq!(live.suspicion.is_some(), is_suspected, "{since}");
        }
    }

    const UNNEEDED: [Attribute; 27] = [
        Attribute::Scopes,
        Attribute::ScopesSource,
        Attribute::SuspectedCause,
        Attribute::SuspectedAt,
        Attribute::VouchedUntil,
        Attribute::Vouches,
        Attribute::Username,
        Attribute::Pseudonym,
        Attribute::WarnedOf,
        Attribute::WarnedDays,
        Attribute::Cause,
        Attribute::LeaseOwner,
        Attribute::LeaseUntil,
        Attribute::AskedAt,
        Attribute::Failures,
        Attribute::LastError,
        Attribute::PreviousToken,
        Attribute::RefreshedAt,
        Attribute::DataAccessExpiresAt,
        Attribute::UpdatedAt,
        Attribute::ConnectedAt,
        Attribute::CreatedAt,
        Attribute::SessionId,
        Attribute::UnclaimedUntil,
        Attribute::UnclaimedWarned,
        Attribute::Reference,
        Attribute::ClaimedAt,
    ];

    #[test]
    fn an_attribute_that_a_refresh_does_not_need_cannot_make_a_row_unreadable() {
        let damages = [
            Value::Other,
            Value::Bytes(vec![0]),
            Value::Text("unheard of".to_owned()),
            Value::Number(i64::MAX),
        ];
        let mut read = 0;
        for attribute in UNNEEDED {
            for damage in &damages {
                let mut row = row();
                row.set(attribute, damage.clone());
                let grant = Grant::from_row("grants", &row);
                assert!(grant.is_ok_and(|grant| grant.live().is_some()), "{attribute} {damage:?}");
                read += 1;
            }
            let mut row = row();
            row.remove(attribute);
            assert!(Grant::from_row("grants", &row).is_ok(), "{attribute}");
        }
        println!("grant rows: {read} damaged attributes, all read");
    }

    #[test]
    fn a_note_counts_if_the_token_is_older_and_the_refusal_is_not() {
        let asked_at = |issued_at: i64, asked_at: i64, suspected_at: Option<i64>| {
            let mut row = row();
            row.set(Attribute::IssuedAt, issued_at);
            row.set(Attribute::AskedAt, asked_at);
            row.remove(Attribute::SuspectedAt);
            if let Some(suspected_at) = suspected_at {
                row.set(Attribute::SuspectedCause, "invalid");
                row.set(Attribute::SuspectedAt, suspected_at);
            }
            Grant::from_row("grants", &row).unwrap().live().unwrap().asked_at.is_some()
        };
        assert!(asked_at(1, 2, None) && asked_at(1, 2, Some(2)) && asked_at(1, 2, Some(3)));
        assert!(!asked_at(2, 2, None) && !asked_at(3, 2, None) && !asked_at(1, 3, Some(2)));
    }

    #[test]
    fn an_attribute_that_a_refresh_needs_is_named_with_its_row() {
        for attribute in [
            Attribute::UserId,
            Attribute::GrantId,
            Attribute::Status,
            Attribute::Token,
            Attribute::IssuedAt,
            Attribute::ExpiresAt,
        ] {
            let mut missing = row();
            missing.set(Attribute::Pseudonym, "p_AAAAAAAAAAAAAAAA");
            let mut malformed = missing.clone();
            missing.remove(attribute);
            malformed.set(attribute, Value::Other);
            for (row, problem) in [(missing, "missing"), (malformed, "malformed")] {
                let error = Grant::from_row("grants", &row).unwrap_err();
                let what = format!("attribute {attribute} is {problem}");
                assert_eq!(error.named(), format!("table grants, key user#17841400000000001: {what}"));
                // Errors get into logs, which name nobody by the user id.
                let by_pseudonym = format!("table grants, the account p_AAAAAAAAAAAAAAAA: {what}");
                assert_eq!(error.to_string(), by_pseudonym);
            }
        }
    }
}
