//! A token's life in days, and the drawing of it.

use jiff::Timestamp;
use maud::{Markup, html};
use threads_auth_model::Summary;

use crate::look::time::{DAY, distance, span, stamp};

/// A token's life, in seconds since it was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    issued_at: Timestamp,
    expires_at: Timestamp,
    now: Timestamp,
}

impl Life {
    pub(super) fn of(grant: &Summary, now: Timestamp) -> Option<Self> {
        Some(Self { issued_at: grant.issued_at?, expires_at: grant.expires_at?, now })
    }

    fn total(self) -> i64 {
        (self.expires_at.as_second() - self.issued_at.as_second()).max(0)
    }

    fn left(self) -> i64 {
        (self.expires_at.as_second() - self.now.as_second()).clamp(0, self.total())
    }

    /// Returns the whole days that are left, rounded down.
    fn days_left(self) -> i64 {
        self.left() / DAY
    }

    /// Returns the lifetime in days, rounded: Meta's is slightly less than 60.
    fn days_total(self) -> i64 {
        (self.total() + DAY / 2) / DAY
    }

    /// Returns the position of `at` between issue and expiry, as a length in SVG.
    fn place(self, at: Timestamp) -> String {
        let since = (at.as_second() - self.issued_at.as_second()).clamp(0, self.total());
        let permille = since.saturating_mul(1000).checked_div(self.total()).unwrap_or(1000);
        format!("{}.{}%", permille / 10, permille % 10)
    }

    /// Returns the remaining life in words.
    pub(super) fn words(self) -> String {
        match (self.left(), self.days_left()) {
            (0, _) => "expired".to_owned(),
            (left, 0) => format!("{} left", span(left)),
            (_, 1) => format!("1 of {} days left", self.days_total()),
            (_, days) => format!("{days} of {} days left", self.days_total()),
        }
    }
}

/// Draws the token's life as a seam: sewn up to now, thread for the days that are left, and a knot
/// where it is due.
pub(super) fn lifeline(life: Life, grant: &Summary, heading: &str, dead: bool) -> Markup {
    let (now, label) = (life.place(life.now), format!("{heading}-life"));
    html! {
        div .life .dead[dead] {
            p #(label) .aside { "Lifetime of the token" }
            p .left {
                @if life.left() >= DAY {
                    b { (life.days_left()) }
                    " of " (life.days_total()) " days left"
                } @else if life.left() > 0 {
                    b { (span(life.left())) }
                    " left"
                } @else {
                    b { "Expired" }
                    " " (distance(life.now, life.expires_at))
                }
                @if dead && life.left() > 0 { ", of no use any more" }
            }
            div role="meter" aria-labelledby=(label) aria-valuemin="0" aria-valuemax=(life.days_total())
                aria-valuenow=(life.days_left()) aria-valuetext=(life.words()) {
                svg .bar aria-hidden="true" {
                    line .rest x1="0" x2="100%" y1="12" y2="12" {}
                    @if life.left() > 0 { line .thread x1=(now) x2="100%" y1="12" y2="12" {} }
                    @if let Some(due) = grant.due_at.filter(|at| *at < life.expires_at) {
                        circle .knot cx=(life.place(due)) cy="12" r="5" {}
                    }
                    line .needle x1=(now) x2=(now) y1="2" y2="22" {}
                }
            }
            p .ends {
                span { "issued " (stamp(life.issued_at)) }
                span { @if life.left() > 0 { "expires " } @else { "expired " } (stamp(life.expires_at)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::time::tests::at;

    fn life(now: i64) -> Life {
        Life { issued_at: at(0), expires_at: at(60 * DAY), now: at(now) }
    }

    #[test]
    fn days_left_are_whole_days() {
        for (now, days, words) in [
            (-5, 60, "60 of 60 days left"),
            (0, 60, "60 of 60 days left"),
            (1, 59, "59 of 60 days left"),
            (10 * DAY, 50, "50 of 60 days left"),
            (58 * DAY, 2, "2 of 60 days left"),
            (58 * DAY + 1, 1, "1 of 60 days left"),
            (59 * DAY + 1, 0, "23 hours left"),
            (60 * DAY - 1, 0, "1 second left"),
            (60 * DAY, 0, "expired"),
            (90 * DAY, 0, "expired"),
        ] {
            assert_eq!((life(now).days_left(), life(now).words().as_str()), (days, words), "{now}");
        }
        let short = Life { expires_at: at(60 * DAY - 56), ..life(0) };
        assert_eq!((short.days_left(), short.days_total()), (59, 60));
    }

    #[test]
    fn a_place_is_on_the_bar() {
        let life = life(0);
        for (seconds, place) in [
            (-9, "0.0%"),
            (0, "0.0%"),
            (6 * DAY, "10.0%"),
            (15 * DAY + DAY / 2, "25.8%"),
            (99 * DAY, "100.0%"),
        ] {
            assert_eq!(life.place(at(seconds)), place);
        }
        let none = Life { expires_at: at(0), ..life };
        assert_eq!((none.place(at(5)).as_str(), none.days_left(), none.total()), ("100.0%", 0, 0));
        let backwards = Life { expires_at: at(-DAY), ..life };
        assert_eq!((backwards.days_left(), backwards.words().as_str()), (0, "expired"));
    }
}
