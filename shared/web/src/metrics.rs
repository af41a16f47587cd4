//! Metrics in CloudWatch's embedded metric format: a printed line becomes a metric without an API
//! call.
//! Owns the format of the line. `infra/README.md` lists the metrics, and the template's alarms and
//! dashboard use them. AWS's own crate for the format (`metrique`) would add 43 crates to each
//! function for this one line.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use threads_auth::Config;

/// The version of the functions. Each line has it as a property, which is free since it is not a
/// dimension. `LOG_LEVEL` does not filter these lines, so the logs show the version during a
/// deployment, when two are running.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One metric and its unit, by their names in CloudWatch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Name of the metric.
    pub name: &'static str,
    /// `Count`, `Seconds` or `None`.
    pub unit: &'static str,
    /// Value in that unit.
    pub value: f64,
}

impl Metric {
    /// Returns a metric with the unit `Count`.
    #[must_use]
    pub fn count(name: &'static str, value: u64) -> Self {
        Self::of(name, "Count", value)
    }

    /// Returns a metric with a whole number as its value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "CloudWatch keeps a double too")]
    pub fn of(name: &'static str, unit: &'static str, value: u64) -> Self {
        Self { name, unit, value: value as f64 }
    }
}

/// Prints metrics with the dimension `Service` and, if given, `dimension`. Prints nothing without
/// `METRICS_SERVICE`, as in development.
pub fn emit(config: &Config, now: Timestamp, dimension: Option<(&str, &str)>, metrics: &[Metric]) {
    if let Some(service) = config.metrics_service.as_deref().filter(|_| !metrics.is_empty()) {
        let line = line(service, now, dimension, metrics);
        // A closed standard output cannot be reported anywhere.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Prints the age of a secret that is in use although it cannot be read, if there is one.
pub fn secret_age(config: &Config, now: Timestamp, age: Option<Duration>) {
    let metric = age.map(|age| Metric::of("SecretAgeSeconds", "Seconds", age.as_secs()));
    emit(config, now, None, metric.as_slice());
}

/// Counts and logs a request of Meta that is signed with the app's previous secret.
pub fn previous_secret_used(config: &Config, request_id: &str, now: Timestamp) {
    tracing::warn!(request_id, "signed with the app's previous secret, which is still accepted");
    emit(config, now, None, &[Metric::count("PreviousSecretUses", 1)]);
}

fn line(service: &str, now: Timestamp, dimension: Option<(&str, &str)>, metrics: &[Metric]) -> Value {
    let mut dimensions = vec!["Service"];
    dimensions.extend(dimension.map(|(name, _)| name));
    let definitions: Vec<Value> =
        metrics.iter().map(|metric| json!({"Name": metric.name, "Unit": metric.unit})).collect();
    let mut line = Map::new();
    line.insert("Service".to_owned(), service.into());
    line.insert("Version".to_owned(), VERSION.into());
    if let Some((name, value)) = dimension {
        line.insert(name.to_owned(), value.into());
    }
    line.extend(metrics.iter().map(|metric| (metric.name.to_owned(), metric.value.into())));
    let directive = json!({"Namespace": "ThreadsAuth", "Dimensions": [dimensions], "Metrics": definitions});
    line.insert(
        "_aws".to_owned(),
        json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]}),
    );
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_specifies() {
        let now = Timestamp::from_millisecond(1_767_225_600_123).unwrap();
        let metrics = [Metric::count("Refreshes", 7)];
        assert_eq!(
            line("threads-auth-prod", now, Some(("Outcome", "refreshed")), &metrics),
            json!({"_aws": {"Timestamp": 1_767_225_600_123_i64, "CloudWatchMetrics": [{"Namespace": "ThreadsAuth",
                "Dimensions": [["Service", "Outcome"]], "Metrics": [{"Name": "Refreshes", "Unit": "Count"}]}]},
                "Service": "threads-auth-prod", "Version": VERSION, "Outcome": "refreshed", "Refreshes": 7.0})
        );
        let both =
            [Metric::of("SweepSeconds", "Seconds", 3), Metric::of("OldestOverdueSeconds", "Seconds", 0)];
        let line = line("s", now, None, &both);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Service"]]));
        assert_eq!((&line["SweepSeconds"], &line["OldestOverdueSeconds"]), (&json!(3.0), &json!(0.0)));
    }
}
