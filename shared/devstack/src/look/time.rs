//! Times and durations in words.

use jiff::Timestamp;
use maud::{Markup, html};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// The seconds of a day.
pub const DAY: i64 = 24 * HOUR;

/// Formats `at` relative to `now`, and as a time of day or a date.
#[must_use]
pub fn moment(now: Timestamp, at: Timestamp) -> Markup {
    let near = (at.as_second() - now.as_second()).abs() < DAY;
    html! { (distance(now, at)) " " small { (time(at, if near { "%H:%M UTC" } else { "%-d %b %Y" })) } }
}

/// Formats `at` as a date.
#[must_use]
pub fn stamp(at: Timestamp) -> Markup {
    time(at, "%-d %b %Y")
}

fn time(at: Timestamp, format: &str) -> Markup {
    html! { time datetime=(at) title=(at.strftime("%-d %B %Y, %H:%M:%S UTC")) { (at.strftime(format)) } }
}

/// Formats `at` relative to `now`.
#[must_use]
pub fn distance(now: Timestamp, at: Timestamp) -> String {
    match at.as_second() - now.as_second() {
        -59..=59 => "just now".to_owned(),
        seconds if seconds < 0 => format!("{} ago", span(-seconds)),
        seconds => format!("in {}", span(seconds)),
    }
}

/// Formats a duration in its largest unit, rounded down.
#[must_use]
pub fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn spans_and_distances_read_well() {
        for (seconds, words) in
            [(1, "1 second"), (61, "1 minute"), (7_200, "2 hours"), (DAY, "1 day"), (3 * DAY - 1, "2 days")]
        {
            assert_eq!(span(seconds), words);
        }
        assert_eq!(distance(at(0), at(30)), "just now");
        assert_eq!(distance(at(0), at(2 * HOUR)), "in 2 hours");
        assert_eq!(distance(at(0), at(-3 * DAY)), "3 days ago");
    }
}
