//! The waits between the attempts of one delivery.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The waits after the first failures; the last one repeats. The example of Standard Webhooks
/// continues with 14, 20 and 24 hours, but SQS hides a message for at most twelve.
pub const WAITS: &[Duration] = &[
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
];

/// Maximum duration of a delivery, after which it becomes a dead letter.
pub(crate) const TRIED_FOR: SignedDuration = SignedDuration::from_hours(72);

/// The longest wait: SQS hides a message for twelve hours from its receipt, and the attempt takes
/// some of that.
const LONGEST: Duration = Duration::from_mins(11 * 60 + 30);

/// Returns the wait after the `attempt`th failure, counted from one: the schedule's wait with up to
/// an eighth of jitter, so that events that failed together are retried at different times; or the
/// receiver's own, if that is longer.
pub(crate) fn wait(waits: &[Duration], attempt: u32, id: &str, asked: Option<Duration>) -> Duration {
    let nth = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let base = waits.get(nth).or(waits.last()).copied().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (id, attempt).hash(&mut hasher);
    let share = u32::from(hasher.finish().to_be_bytes()[0]);
    let jitter = base / 8 * share / u32::from(u8::MAX);
    (base + jitter).max(asked.unwrap_or_default()).min(LONGEST)
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(at.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_as_standard_webhooks_says_and_fit_into_sqs() {
        let waits: Vec<_> = (1..=12).map(|attempt| wait(WAITS, attempt, "id", None)).collect();
        for (n, waited) in waits.iter().enumerate() {
            let base = WAITS[n.min(WAITS.len() - 1)];
            assert!((base..=base + base / 8).contains(waited), "{n}: {waited:?}");
        }
        // The time until the last attempt, without jitter: no delivery is given up much later.
        let hours = |waits: &[Duration]| waits.iter().sum::<Duration>().as_secs() / 3_600;
        assert_eq!(hours(WAITS), 17);
        assert!((72..=84).contains(&hours(&waits[..12])), "{}", hours(&waits[..12]));
    }

    #[test]
    fn events_that_failed_together_come_back_apart() {
        let waits: std::collections::HashSet<_> =
            (0..100).map(|n| wait(WAITS, 3, &format!("event-{n}"), None)).collect();
        assert!(waits.len() > 50, "{} waits", waits.len());
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_not_for_more_than_sqs_gives() {
        let asked = |seconds| wait(WAITS, 1, "id", Some(Duration::from_secs(seconds)));
        assert_eq!(asked(120), Duration::from_mins(2));
        assert!(asked(1) >= Duration::from_secs(5));
        assert_eq!(asked(u64::MAX), LONGEST);
        assert_eq!(wait(&[], 1, "id", None), Duration::ZERO);
    }

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Thu, 01 Jan 2026 00:02:00 GMT", Some(120)),
            ("Wed, 31 Dec 2025 23:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
