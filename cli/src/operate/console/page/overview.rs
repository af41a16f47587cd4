//! The first page: the sweeps, the coming refreshes, and what CloudWatch watches.

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use axum::response::Response;
use devstack::look::time::{DAY, moment, stamp};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use threads_auth::DueLoad;

use super::{button, finding, show};
use crate::operate::console::panels::metrics::Series;
use crate::operate::console::panels::{DAYS, OnAws};
use crate::operate::console::state::Console;
use crate::operate::doctor::finding::Finding;

const WEEK: usize = 7;

/// All that the page shows.
pub(in crate::operate::console) struct Seen {
    pub(in crate::operate::console) now: Timestamp,
    pub(in crate::operate::console) pause: Finding,
    pub(in crate::operate::console) load: Result<(Timestamp, DueLoad), Finding>,
    pub(in crate::operate::console) on_aws: Option<OnAws>,
}

pub(in crate::operate::console) fn page(console: &Console, seen: &Seen) -> Response {
    let main = html! {
        (sweeps(console, seen))
        section aria-labelledby="load" {
            h2 #load { "Coming refreshes" }
            div .panel {
                @match &seen.load {
                    Ok((at, load)) => (picture(load, *at, seen.now)),
                    Err(found) => (finding(found)),
                }
            }
        }
        @match &seen.on_aws {
            Some(on_aws) => (watched(console, on_aws, seen.now)),
            None => (not_watched(console)),
        }
    };
    show(console, "", "console", &main)
}

fn sweeps(console: &Console, seen: &Seen) -> Markup {
    let pause = |what: &str, label: &str| {
        button(
            console,
            "/pause",
            &html! { (label) },
            &html! { input type="hidden" name="what" value=(what); },
        )
    };
    html! {
        section aria-labelledby="now" {
            h2 #now .aside { "Now" }
            div .panel {
                p .now { time datetime=(seen.now) { b { (seen.now.strftime("%-d %B %Y")) } " " span { (seen.now.strftime("%H:%M:%S UTC")) } } }
                (finding(&seen.pause))
                @if let Some(on_aws) = &seen.on_aws { (finding(&on_aws.schedule)) }
                @if console.writes {
                    div .actions {
                        (pause("sweeps", "Pause sweeps"))
                        (pause("verdicts", "Pause verdicts only"))
                        (pause("nothing", "Resume"))
                    }
                }
            }
        }
    }
}

/// Renders the load of each day as a chart, and of each week as a table.
fn picture(load: &DueLoad, at: Timestamp, now: Timestamp) -> Markup {
    let total: u64 = load.days.iter().sum();
    let most = load.days.iter().copied().max().unwrap_or_default().max(1);
    let day = |n: usize| at + SignedDuration::from_secs(DAY * i64::try_from(n).unwrap_or_default());
    html! {
        @if load.overdue > 0 {
            p { span .chip.wait { b { (load.overdue) } " due now" } " The next sweep looks at them." }
        }
        p .soft {
            (total) @if total == 1 { " account is" } @else { " accounts are" } " due in the coming " (DAYS / WEEK) " weeks"
            @if load.later > 0 { ", and " (load.later) " later" }
            ". Counted " (moment(now, at)) "."
        }
        svg .load.wide viewBox=(format!("0 0 {} 100", DAYS * 10)) preserveAspectRatio="none" aria-hidden="true" {
            @for week in 0..=DAYS / WEEK { line x1=(week * WEEK * 10) x2=(week * WEEK * 10) y1="0" y2="100" {} }
            line x1="0" x2=(DAYS * 10) y1="100" y2="100" {}
            @for (n, count) in load.days.iter().enumerate() {
                @if *count > 0 {
                    @let height = (count * 100).div_ceil(most);
                    rect x=(n * 10 + 1) y=(100 - height) width="8" height=(height) {}
                }
            }
        }
        p .ends aria-hidden="true" { span { "today" } span { "the fullest day has " (load.days.iter().max().unwrap_or(&0)) } span { (stamp(day(DAYS))) } }
        table aria-labelledby="load" {
            thead { tr { th scope="col" { "Week from" } th scope="col" .number { "Accounts" } th scope="col" .number { "Fullest day" } } }
            tbody {
                @for (week, days) in load.days.chunks(WEEK).enumerate() {
                    tr {
                        th scope="row" { (stamp(day(week * WEEK))) }
                        td .number { (days.iter().sum::<u64>()) }
                        td .number { (days.iter().max().unwrap_or(&0)) }
                    }
                }
            }
        }
    }
}

fn watched(console: &Console, on_aws: &OnAws, now: Timestamp) -> Markup {
    let prefix = console.stack.deployed.as_ref().map(|deployed| format!("{}-", deployed.stack));
    let prefix = prefix.unwrap_or_default();
    html! {
        section aria-labelledby="alarms" {
            h2 #alarms { "Alarms " @if !on_aws.each.is_empty() { span .count { (on_aws.each.len()) } } }
            div .panel {
                (finding(&on_aws.alarms))
                @if !on_aws.each.is_empty() {
                    table aria-labelledby="alarms" {
                        thead { tr { th scope="col" { "Alarm" } th scope="col" { "State" } th scope="col" { "Since" } } }
                        tbody { @for alarm in in_order(&on_aws.each) { (alarm_row(alarm, &prefix, now)) } }
                    }
                }
            }
        }
        section aria-labelledby="metrics" {
            h2 #metrics { "Sweeps and metrics of the last day" }
            div .panel {
                @match &on_aws.metrics {
                    Ok((_, series)) => {
                        table aria-labelledby="metrics" {
                            thead { tr { th scope="col" { "Metric" } th scope="col" .number { "Day" } th scope="col" { "Each hour" } } }
                            tbody { @for series in series { (series_row(series)) } }
                        }
                    }
                    Err(found) => (finding(found)),
                }
            }
        }
        section aria-labelledby="letters" {
            h2 #letters { "Dead letters" }
            div .panel { (finding(&on_aws.letters)) p { a href=(console.href("/letters")) { "Show them" } } }
        }
    }
}

/// Sorts ringing alarms first.
fn in_order(alarms: &[MetricAlarm]) -> Vec<&MetricAlarm> {
    let mut alarms: Vec<_> = alarms.iter().collect();
    alarms.sort_by_key(|alarm| {
        let rank = match alarm.state_value() {
            Some(StateValue::Alarm) => 0,
            Some(StateValue::Ok) => 2,
            _ => 1,
        };
        (rank, alarm.alarm_name())
    });
    alarms
}

fn alarm_row(alarm: &MetricAlarm, prefix: &str, now: Timestamp) -> Markup {
    let (tone, word) = match alarm.state_value() {
        Some(StateValue::Alarm) => ("halt", "rings"),
        Some(StateValue::Ok) => ("good", "quiet"),
        _ => ("over", "no data yet"),
    };
    let name = alarm.alarm_name().unwrap_or_default();
    let since = alarm.state_updated_timestamp().and_then(|at| Timestamp::from_second(at.secs()).ok());
    html! {
        tr {
            th scope="row" { (name.strip_prefix(prefix).unwrap_or(name)) }
            td { span .chip.(tone) { (word) } }
            td { @if let Some(since) = since { (moment(now, since)) } }
        }
    }
}

fn series_row(series: &Series) -> Markup {
    let most = series.hours.iter().copied().fold(0.0, f64::max);
    html! {
        tr {
            th scope="row" { (series.label) }
            td .number { @match &series.figure { Some(figure) => b { (figure) }, None => span .soft { "no data" } } }
            td {
                svg .spark.wide viewBox=(format!("0 0 {} 100", series.hours.len() * 10)) preserveAspectRatio="none" aria-hidden="true" {
                    @for (n, value) in series.hours.iter().enumerate() {
                        @if *value > 0.0 {
                            @let height = value / most * 100.0;
                            rect x=(n * 10 + 1) y=(format!("{:.1}", 100.0 - height)) width="8" height=(format!("{height:.1}")) {}
                        }
                    }
                }
            }
        }
    }
}

/// Renders the substitute for these parts on a development stack.
fn not_watched(console: &Console) -> Markup {
    html! {
        section aria-labelledby="alarms" {
            h2 #alarms { "Alarms, metrics and dead letters" }
            div .panel {
                p { "CloudWatch and SQS have these for a stack on AWS, and they are shown here. A development stack has none." }
                p .soft {
                    "Its last sweeps and events are on "
                    a href=(console.stack.address("/")) { "its own page" }
                    "."
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_and_the_table_say_the_same() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let mut load = DueLoad { overdue: 3, days: vec![0; DAYS], later: 2 };
        (load.days[0], load.days[6], load.days[7]) = (10, 5, 1);
        let page = picture(&load, at, at).into_string();
        for part in [
            "<b>3</b> due now",
            "16 accounts are due in the coming 9 weeks, and 2 later",
            r#"<rect x="1" y="0" width="8" height="100">"#,
            r#"<rect x="61" y="50" width="8" height="50">"#,
            r#"<rect x="71" y="90" width="8" height="10">"#,
            r#"<td class="number">15</td><td class="number">10</td>"#,
            r#"<td class="number">1</td><td class="number">1</td>"#,
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!((page.matches("<rect").count(), page.matches("<tr>").count()), (3, 1 + DAYS / WEEK));
        let nothing = picture(&DueLoad { days: vec![0; DAYS], ..DueLoad::default() }, at, at).into_string();
        assert!(nothing.contains("0 accounts are due") && !nothing.contains("<rect"));
    }

    #[test]
    fn a_metric_without_data_says_so() {
        let series = |figure: Option<&str>, hours: Vec<f64>| Series {
            label: "Sweeps".to_owned(),
            figure: figure.map(str::to_owned),
            hours,
        };
        let row = series_row(&series(Some("96"), vec![0.0, 2.0, 4.0])).into_string();
        assert!(row.contains("<b>96</b>") && row.contains(r#"y="50.0" width="8" height="50.0""#), "{row}");
        let row = series_row(&series(None, vec![0.0; 24])).into_string();
        assert!(row.contains("no data") && !row.contains("<rect"), "{row}");
    }
}
