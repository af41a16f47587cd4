//! The ends of a user's consents, and their effect on a connect flow in progress.
//!
//! They are stored in the row that outlives the grant, under a name that only the keyring can
//! compute. An end is therefore recorded even if there is no grant yet.

use jiff::Timestamp;

use crate::Condition::{Absent, All, Any, AtMost, Below};
use crate::{Attribute as A, Condition, Row, schedule};

/// Tolerance in seconds for the difference between Meta's clock and ours, and for a late notice of
/// an end.
const SKEW_SECONDS: i64 = 600;

/// The last end of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Time of the person's last deletion request.
    pub deleted_at: Option<Timestamp>,
    /// Time of the last disconnect by the app's backend, in milliseconds: a backend may let its
    /// user connect again within the same second.
    pub disconnected_at: Option<Timestamp>,
    /// Time of the last end by the person or by the app.
    pub ended_at: Option<Timestamp>,
}

/// The effect of an end on a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The consent is newer, and stays.
    None,
    /// The end may be older or newer than the consent. A call to Meta with the consent's token
    /// decides.
    Doubtful,
    /// The consent has ended: the app disconnected the account after the flow began.
    Disconnected,
    /// The consent has ended: the person requested deletion after the flow began.
    Deleted,
}

impl Ends {
    /// Reads the row that outlives a grant.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        Self {
            // Zero means never.
            deleted_at: row.time(A::DeletedAt).filter(|at| *at > Timestamp::UNIX_EPOCH),
            disconnected_at: row.millisecond(A::DisconnectedMs),
            ended_at: row.time(A::EndedAt),
        }
    }

    /// Returns the effect on a consent whose flow began at `begun_at` and which is stored only now.
    #[must_use]
    pub fn on(&self, begun_at: Timestamp) -> Effect {
        // Meta's times are in whole seconds.
        let since = |end: Option<Timestamp>, start: Timestamp| {
            end.is_some_and(|end| end.as_second() >= start.as_second())
        };
        let is_disconnected =
            self.disconnected_at.is_some_and(|end| end.as_millisecond() > begun_at.as_millisecond());
        if since(self.deleted_at, begun_at) {
            Effect::Deleted
        } else if is_disconnected {
            Effect::Disconnected
        } else if since(self.deleted_at.max(self.ended_at), doubtful_from(begun_at)) {
            Effect::Doubtful
        } else {
            Effect::None
        }
    }

    /// The condition that no end other than those in `seen` affects a consent whose flow began at
    /// `begun_at`.
    #[must_use]
    pub fn no_other(seen: Option<&Self>, begun_at: Timestamp) -> Condition {
        let doubtful_from = doubtful_from(begun_at);
        let seen = seen.copied().unwrap_or_default();
        let earlier = |attribute, seen: Option<Timestamp>| {
            let known = match seen {
                Some(seen) if seen >= doubtful_from => AtMost(attribute, seen.into()),
                _ => Below(attribute, doubtful_from.into()),
            };
            Any(vec![Absent(attribute), known])
        };
        All(vec![
            earlier(A::DeletedAt, seen.deleted_at),
            earlier(A::EndedAt, seen.ended_at),
            Any(vec![Absent(A::DisconnectedMs), AtMost(A::DisconnectedMs, begun_at.as_millisecond().into())]),
        ])
    }
}

/// Returns the time from which an end may affect a flow that began at `begun_at`. An earlier end
/// cannot, even if the clocks differ.
#[must_use]
pub fn doubtful_from(begun_at: Timestamp) -> Timestamp {
    schedule::add(begun_at, -SKEW_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(10_000 + second).unwrap()
    }

    fn row(attribute: A, time: Timestamp) -> Row {
        let value = if attribute == A::DisconnectedMs { time.as_millisecond().into() } else { time.into() };
        [(attribute, value)].into_iter().collect()
    }

    #[test]
    fn the_condition_holds_where_no_end_has_an_effect() {
        let mut seen = 0;
        for attribute in [A::DeletedAt, A::EndedAt, A::DisconnectedMs] {
            for second in -1_300..=1_300 {
                let row = row(attribute, at(second));
                let ends = Ends::of(&row);
                let effect = ends.on(at(0));
                assert_eq!(Ends::no_other(None, at(0)).holds(&row), effect == Effect::None, "{row:?}");
                // A call to Meta resolves a doubtful end only.
                let is_settled = Ends::no_other(Some(&ends), at(0)).holds(&row);
                let may_be = matches!(effect, Effect::None | Effect::Doubtful);
                assert_eq!(is_settled, may_be || attribute == A::DeletedAt, "{row:?}");
                let expected = match (attribute, second) {
                    (_, ..-600) | (A::DisconnectedMs, ..=0) => Effect::None,
                    (A::DisconnectedMs, _) => Effect::Disconnected,
                    (A::DeletedAt, 0..) => Effect::Deleted,
                    _ => Effect::Doubtful,
                };
                assert_eq!(effect, expected, "{row:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, 3 * 2_601);
        assert!(Ends::no_other(None, at(0)).holds(&Row::default()));
    }

    #[test]
    fn an_unseen_end_stays_unresolved() {
        let seen = Ends::of(&row(A::EndedAt, at(-60)));
        assert!(Ends::no_other(Some(&seen), at(0)).holds(&row(A::EndedAt, at(-60))));
        assert!(!Ends::no_other(Some(&seen), at(0)).holds(&row(A::EndedAt, at(-59))));
        assert!(!Ends::no_other(Some(&seen), at(0)).holds(&row(A::DeletedAt, at(-60))));
    }
}
