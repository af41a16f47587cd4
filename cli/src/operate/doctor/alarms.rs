//! Checks that the alarms exist and are quiet, and that somebody is notified when one rings.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};

use super::finding::{Finding, fail, ok, unreported, unseen, warn};
use super::resources::Resources;
use crate::operate::target::Deployed;

const KIND: &str = "AWS::CloudWatch::Alarm";
const NO_ACTION: &str = "Deploy with the parameter AlarmEmail or AlarmTopicArn.";

/// The maximum number of alarm names per request.
const NAMES: usize = 100;

/// Returns the finding, and the alarms that it is about.
pub(in crate::operate) async fn alarms(
    deployed: &Deployed,
    resources: &Resources,
) -> (Finding, Vec<MetricAlarm>) {
    const CHECK: &str = "alarms";
    let made = match resources.of_kind(CHECK, KIND) {
        Ok(made) => made,
        Err(finding) => return (finding, Vec::new()),
    };
    let client = Client::new(&deployed.sdk);
    let mut alarms = Vec::new();
    for names in made.chunks(NAMES) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        match client.describe_alarms().set_alarm_names(Some(names)).max_records(100).send().await {
            Ok(answer) => match answer.metric_alarms {
                Some(told) => alarms.extend(told),
                None => return (unreported(CHECK, "the alarms"), Vec::new()),
            },
            Err(error) => return (unseen(CHECK, &error, "cloudwatch:DescribeAlarms"), Vec::new()),
        }
    }
    (judge(deployed, &made, &alarms), alarms)
}

fn judge(deployed: &Deployed, made: &[&str], alarms: &[MetricAlarm]) -> Finding {
    const CHECK: &str = "alarms";
    let prefix = format!("{}-", deployed.stack);
    let short = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
    let named = |those: &dyn Fn(&MetricAlarm) -> bool| -> Vec<String> {
        alarms.iter().filter(|alarm| those(alarm)).filter_map(|alarm| alarm.alarm_name().map(short)).collect()
    };
    let ringing = named(&|alarm| alarm.state_value() == Some(&StateValue::Alarm));
    let is_known =
        |alarm: &MetricAlarm| matches!(alarm.state_value(), Some(StateValue::Ok | StateValue::Alarm));
    let blind = named(&|alarm| !is_known(alarm));
    let silent = named(&|alarm| !tells(alarm));
    let is_there = |name: &str| alarms.iter().any(|alarm| alarm.alarm_name() == Some(name));
    let gone: Vec<_> = made.iter().filter(|name| !is_there(name)).map(|name| short(name)).collect();
    if made.is_empty() {
        warn(CHECK, "the stack has none", "Deploy this version of the stack.")
    } else if !ringing.is_empty() {
        let next = "infra/README.md has a paragraph for each under \"Runbook\".";
        fail(CHECK, format!("ringing: {}", ringing.join(", ")), next)
    } else if !gone.is_empty() {
        // CloudFormation does not check that its resources still exist.
        let next = "Somebody deleted it, and deploying the same template does not bring it back: deploy once without it, then with it.";
        fail(CHECK, format!("gone: {}", gone.join(", ")), next)
    } else if silent.len() == alarms.len() {
        warn(CHECK, format!("{} are quiet, and nobody is notified if one rings", alarms.len()), NO_ACTION)
    } else if !silent.is_empty() {
        let next = "Somebody has switched their actions off, or removed them: deploy the stack again, or enable them in CloudWatch.";
        warn(CHECK, format!("nobody is notified if one of these rings: {}", silent.join(", ")), next)
    } else if !blind.is_empty() {
        let next = "After a deployment this passes within an hour or so.";
        warn(CHECK, format!("without data yet: {}", blind.join(", ")), next)
    } else {
        ok(CHECK, format!("{} are quiet", alarms.len()))
    }
}

/// Returns true if the alarm notifies anybody when it rings.
fn tells(alarm: &MetricAlarm) -> bool {
    !alarm.alarm_actions().is_empty() && alarm.actions_enabled() != Some(false)
}

/// Lets one alarm ring for a moment, so that its subscribers get a message.
pub(super) async fn test(deployed: &Deployed, alarms: &[MetricAlarm]) -> Finding {
    const CHECK: &str = "test alarm";
    const REASON: &str =
        "TEST by `threads-auth doctor --test-alarm`: nothing is wrong, and nothing has to be done.";
    const OVER: &str = "The TEST by `threads-auth doctor --test-alarm` is over.";
    if alarms.is_empty() {
        return warn(CHECK, "there is no alarm to test", "See the alarms above first.");
    }
    let telling: Vec<_> = alarms.iter().filter(|alarm| tells(alarm)).collect();
    if telling.is_empty() {
        return fail(CHECK, "no alarm of this stack has an action, so nobody is notified", NO_ACTION);
    }
    // Only a change of the state sends a message. An alarm that is quiet because of its data
    // becomes quiet again by itself if this is cut off.
    let quiet = telling.iter().filter(|alarm| alarm.state_value() != Some(&StateValue::Alarm));
    let ignores = |alarm: &MetricAlarm| alarm.treat_missing_data() == Some("ignore");
    let chosen = quiet.min_by_key(|alarm| {
        (alarm.state_value() != Some(&StateValue::Ok), ignores(alarm), alarm.alarm_name())
    });
    let Some((alarm, name)) = chosen.and_then(|alarm| Some((alarm, alarm.alarm_name()?))) else {
        let next = "Each sent its message when it began to ring: try again when one is quiet.";
        return warn(CHECK, "every alarm with an action rings already", next);
    };
    let client = Client::new(&deployed.sdk);
    let set = |state: &StateValue, reason: &str| {
        client.set_alarm_state().alarm_name(name).state_value(state.clone()).state_reason(reason).send()
    };
    if let Err(error) = set(&StateValue::Alarm, REASON).await {
        return unseen(CHECK, &error, "cloudwatch:SetAlarmState");
    }
    let before = alarm.state_value().cloned().unwrap_or(StateValue::Ok);
    let back = match set(&before, OVER).await {
        Ok(_) => String::new(),
        Err(_) => " It could not be set back; CloudWatch does that at its next evaluation.".to_owned(),
    };
    let topics: Vec<_> =
        alarm.alarm_actions().iter().map(|arn| arn.rsplit(':').next().unwrap_or(arn)).collect();
    let second = if alarm.ok_actions().is_empty() { "" } else { ", and a second one that it is over" };
    ok(
        CHECK,
        format!(
            "{name} was made to ring.{back} Within five minutes the subscribers of {} get a message that contains TEST{second}. If none arrives, check that the subscription was confirmed (SNS sends an e-mail for that), and that CloudWatch may publish to the topic.",
            topics.join(", ")
        ),
    )
}
