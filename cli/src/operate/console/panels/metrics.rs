//! The metrics of a day, from CloudWatch: those that the functions print, which the template's
//! alarms and its dashboard use.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat};
use devstack::look::time::span;
use jiff::Timestamp;
use threads_auth::RefreshOutcome;

use crate::operate::doctor::finding::{Finding, unseen};
use crate::operate::target::Deployed;

const HOUR: i64 = 3_600;

/// Number of hours that are shown.
pub(in crate::operate::console) const HOURS: usize = 24;

/// A figure of each hour, as CloudWatch computes it, and of the day.
#[derive(Clone, Copy)]
enum Figure {
    /// The number of values.
    Values,
    Sum,
    Most,
    Least,
}

#[derive(Clone, Copy)]
enum Unit {
    Number,
    Seconds,
    Days,
}

const METRICS: [(&str, &str, Figure, Unit); 13] = [
    ("Sweeps", "SweepSeconds", Figure::Values, Unit::Number),
    ("Longest sweep", "SweepSeconds", Figure::Most, Unit::Seconds),
    ("Longest overdue", "OldestOverdueSeconds", Figure::Most, Unit::Seconds),
    ("Weakest token", "WeakestTokenDays", Figure::Least, Unit::Days),
    ("Calls to Meta", "GraphCalls", Figure::Sum, Unit::Number),
    ("Tokens that do not open", "DecryptFailures", Figure::Sum, Unit::Number),
    ("Broken rows", "BrokenRows", Figure::Most, Unit::Number),
    ("Unreadable partitions", "UnreadableShards", Figure::Most, Unit::Number),
    ("Oldest stale secret", "SecretAgeSeconds", Figure::Most, Unit::Seconds),
    ("Refused inspections", "RefusedInspections", Figure::Sum, Unit::Number),
    ("Waves of refusals", "Wave", Figure::Sum, Unit::Number),
    ("Sweeps while paused", "Paused", Figure::Sum, Unit::Number),
    ("Differences at Meta", "Drift", Figure::Most, Unit::Number),
];

/// A metric of the last day.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::operate::console) struct Series {
    pub(in crate::operate::console) label: String,
    /// The day's figure in words; `None` without data.
    pub(in crate::operate::console) figure: Option<String>,
    /// The figure of each hour, oldest first.
    pub(in crate::operate::console) hours: Vec<f64>,
}

/// The metric that a query asks for.
struct Asked {
    label: String,
    name: &'static str,
    outcome: Option<RefreshOutcome>,
    figure: Figure,
    unit: Unit,
}

fn asked() -> Vec<Asked> {
    let metrics = METRICS.into_iter().map(|(label, name, figure, unit)| Asked {
        label: label.to_owned(),
        name,
        outcome: None,
        figure,
        unit,
    });
    let outcomes = RefreshOutcome::ALL.map(|outcome| Asked {
        label: format!("Looks: {}", outcome.as_str().replace('_', " ")),
        name: "Refreshes",
        outcome: Some(outcome),
        figure: Figure::Sum,
        unit: Unit::Number,
    });
    metrics.chain(outcomes).collect()
}

/// Reads the metrics of the stack. An outcome that did not occur is left out.
pub(in crate::operate::console) async fn read(
    deployed: &Deployed,
    now: Timestamp,
) -> Result<Vec<Series>, Finding> {
    let asked = asked();
    let client = Client::new(&deployed.sdk);
    let end = (now.as_second() / HOUR + 1) * HOUR;
    let start = end - i64::try_from(HOURS).unwrap_or(0) * HOUR;
    let queries = asked.iter().enumerate().map(|(n, asked)| query(n, asked, &deployed.stack)).collect();
    let mut pages = client
        .get_metric_data()
        .set_metric_data_queries(Some(queries))
        .start_time(DateTime::from_secs(start))
        .end_time(DateTime::from_secs(end))
        .into_paginator()
        .send();
    let mut hours = vec![[None; HOURS]; asked.len()];
    let failed = |error| unseen("metrics", &error, "cloudwatch:GetMetricData");
    while let Some(page) = pages.try_next().await.map_err(failed)? {
        for result in page.metric_data_results() {
            note(result, start, &mut hours);
        }
    }
    let series = asked.iter().zip(&hours).map(|(asked, hours)| asked.series(hours));
    let occurred = |(asked, series): &(&Asked, Series)| asked.outcome.is_none() || series.figure.is_some();
    Ok(asked.iter().zip(series).filter(occurred).map(|(_, series)| series).collect())
}

fn query(n: usize, asked: &Asked, stack: &str) -> MetricDataQuery {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let outcome = asked.outcome.map(|outcome| dimension("Outcome", outcome.as_str()));
    let dimensions = [dimension("Service", stack)].into_iter().chain(outcome).collect();
    let metric = Metric::builder().namespace("ThreadsAuth").metric_name(asked.name);
    let stat = match asked.figure {
        Figure::Values => "SampleCount",
        Figure::Sum => "Sum",
        Figure::Most => "Maximum",
        Figure::Least => "Minimum",
    };
    let metric = metric.set_dimensions(Some(dimensions)).build();
    let stat = MetricStat::builder().metric(metric).period(3_600).stat(stat).build();
    MetricDataQuery::builder().id(format!("m{n}")).metric_stat(stat).build()
}

/// Puts the values of one query at their hours.
fn note(result: &MetricDataResult, start: i64, hours: &mut [[Option<f64>; HOURS]]) {
    let n = result.id().and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
    let Some(hours) = n.and_then(|n| hours.get_mut(n)) else {
        return;
    };
    for (at, value) in result.timestamps().iter().zip(result.values()) {
        let hour = usize::try_from((at.secs() - start) / HOUR).ok();
        if let Some(hour) = hour.and_then(|hour| hours.get_mut(hour)) {
            *hour = Some(*value);
        }
    }
}

impl Asked {
    fn series(&self, hours: &[Option<f64>; HOURS]) -> Series {
        let values = hours.iter().flatten().copied();
        let figure = match self.figure {
            Figure::Values | Figure::Sum => values.reduce(|a, b| a + b),
            Figure::Most => values.reduce(f64::max),
            Figure::Least => values.reduce(f64::min),
        };
        Series {
            label: self.label.clone(),
            figure: figure.map(|figure| self.unit.words(figure)),
            hours: hours.iter().map(|hour| hour.unwrap_or_default()).collect(),
        }
    }
}

impl Unit {
    fn words(self, figure: f64) -> String {
        #[expect(clippy::cast_possible_truncation, reason = "a duration is far from the limits")]
        let whole = figure.round() as i64;
        match self {
            Self::Number => whole.to_string(),
            Self::Seconds => span(whole),
            Self::Days => span(whole * 24 * HOUR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_one_that_the_functions_print() {
        let page = include_str!("../../../../../infra/README.md");
        for (_, name, ..) in METRICS {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
        let command = include_str!("../../../../README.md");
        assert!(command.contains(&format!("The metrics are at most {} of", asked().len())));
    }

    #[test]
    fn a_day_has_the_figure_of_its_hours() {
        let result = |id: &str, values: &[(i64, f64)]| {
            let times = values.iter().map(|(at, _)| DateTime::from_secs(*at)).collect();
            let values = values.iter().map(|(_, value)| *value).collect();
            let result = MetricDataResult::builder().id(id);
            result.set_timestamps(Some(times)).set_values(Some(values)).build()
        };
        let mut hours = vec![[None; HOURS]; asked().len()];
        let start = 1_000 * HOUR;
        note(&result("m0", &[(start, 4.0), (start + 23 * HOUR, 3.0)]), start, &mut hours);
        // A second page adds to the first, and malformed values are ignored.
        note(&result("m0", &[(start + HOUR, 4.0), (start + 24 * HOUR, 9.0)]), start, &mut hours);
        for id in ["m999", "x0", "m"] {
            note(&result(id, &[(start, 9.0)]), start, &mut hours);
        }
        note(&result("m1", &[(start, 61.0), (start + HOUR, 59.0)]), start, &mut hours);
        note(&result("m3", &[(start, 41.0), (start + HOUR, 12.0)]), start, &mut hours);
        let figures: Vec<_> =
            asked().iter().zip(&hours).map(|(asked, hours)| asked.series(hours).figure).collect();
        let expected = [Some("11"), Some("1 minute"), None, Some("12 days")];
        assert_eq!(figures[..4], expected.map(|figure| figure.map(str::to_owned)));
        let series = asked()[0].series(&hours[0]);
        assert_eq!(
            (series.hours[0], series.hours[1], series.hours[2], series.hours[23]),
            (4.0, 4.0, 0.0, 3.0)
        );
    }
}
