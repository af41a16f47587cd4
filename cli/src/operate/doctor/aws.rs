//! Whether the stack, its schedule, its alarms and its key are as they were deployed.

use anyhow::Result;
use aws_sdk_cloudformation::operation::list_stack_resources::ListStackResourcesError;
use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_scheduler::error::SdkError;
use aws_sdk_scheduler::types::ScheduleState;
use serde_json::Value;

use super::finding::{Finding, fail, ok, unseen, warn};
use crate::operate::target::{Deployed, Opened};

pub(super) fn stands(stack: &Opened) -> Finding {
    let Some(deployed) = &stack.deployed else {
        return ok("stack", format!("{} answers", stack.name));
    };
    let (name, status) = (&deployed.stack, &deployed.status);
    if status.ends_with("_IN_PROGRESS") {
        warn("stack", format!("{name} is {status}"), "Wait until CloudFormation is done, and look again.")
    } else if status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" {
        ok("stack", format!("{name} is {status}"))
    } else if status == "UPDATE_ROLLBACK_COMPLETE" {
        let next =
            "The last deployment failed and was taken back: the stack's events in CloudFormation say why.";
        warn("stack", format!("{name} is {status}"), next)
    } else {
        fail("stack", format!("{name} is {status}"), "The stack's events in CloudFormation say why.")
    }
}

pub(super) async fn schedule(deployed: &Deployed) -> Finding {
    const CHECK: &str = "schedule";
    let name = match deployed.output("ScheduleName") {
        Ok(name) => name,
        Err(error) => return fail(CHECK, format!("{error:#}"), "Deploy this version of the stack."),
    };
    let (group, name) = name.split_once('/').unwrap_or(("default", name));
    let client = aws_sdk_scheduler::Client::new(&deployed.sdk);
    match client.get_schedule().group_name(group).name(name).send().await {
        Ok(schedule) => {
            let every = schedule.schedule_expression().unwrap_or("an unknown schedule").to_owned();
            if schedule.state() == Some(&ScheduleState::Enabled) {
                ok(CHECK, format!("sweeps at {every}"))
            } else {
                let next = "Nothing is refreshed while it is off: enable it in EventBridge Scheduler, or deploy the stack again.";
                fail(CHECK, format!("{group}/{name} is switched off"), next)
            }
        }
        Err(error) => unseen(CHECK, &error, "scheduler:GetSchedule"),
    }
}

pub(super) async fn alarms(deployed: &Deployed) -> Finding {
    const CHECK: &str = "alarms";
    let client = aws_sdk_cloudwatch::Client::new(&deployed.sdk);
    let prefix = format!("{}-", deployed.stack);
    let answer = client.describe_alarms().alarm_name_prefix(&prefix).max_records(100).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "cloudwatch:DescribeAlarms"),
    };
    let alarms = answer.metric_alarms();
    let named = |state: &StateValue| -> Vec<_> {
        let those = alarms.iter().filter(|alarm| alarm.state_value() == Some(state));
        those.filter_map(|alarm| alarm.alarm_name()?.strip_prefix(&prefix)).collect()
    };
    let (ringing, blind) = (named(&StateValue::Alarm), named(&StateValue::InsufficientData));
    let made = made_alarms(deployed).await;
    let gone: Vec<_> = made
        .iter()
        .flatten()
        .filter(|name| !alarms.iter().any(|alarm| alarm.alarm_name() == Some(name)))
        .map(|name| name.strip_prefix(&prefix).unwrap_or(name))
        .collect();
    let silent = alarms.iter().all(|alarm| alarm.alarm_actions().is_empty());
    if !ringing.is_empty() {
        let next = "infra/README.md has a paragraph for each under \"Runbook\".";
        fail(CHECK, format!("ringing: {}", ringing.join(", ")), next)
    } else if !gone.is_empty() {
        // CloudFormation does not look whether what it made is still there.
        let next = "Somebody deleted it, and deploying the same template does not bring it back: deploy once without it, then with it.";
        fail(CHECK, format!("gone: {}", gone.join(", ")), next)
    } else if alarms.is_empty() {
        warn(
            CHECK,
            format!("there are none whose name begins with {prefix}"),
            "Deploy this version of the stack.",
        )
    } else if let Err(error) = made {
        unseen(CHECK, &error, "cloudformation:ListStackResources")
    } else if silent {
        let next = "Deploy with the parameter AlarmEmail or AlarmTopicArn.";
        warn(CHECK, format!("{} are quiet, and nobody would be told if one rang", alarms.len()), next)
    } else if !blind.is_empty() {
        let next = "After a deployment this passes within an hour or so.";
        warn(CHECK, format!("without data yet: {}", blind.join(", ")), next)
    } else {
        ok(CHECK, format!("{} are quiet", alarms.len()))
    }
}

/// The names of the alarms that CloudFormation made.
async fn made_alarms(deployed: &Deployed) -> Result<Vec<String>, SdkError<ListStackResourcesError>> {
    let mut resources = aws_sdk_cloudformation::Client::new(&deployed.sdk)
        .list_stack_resources()
        .stack_name(&deployed.stack)
        .into_paginator()
        .items()
        .send();
    let mut names = Vec::new();
    while let Some(resource) = resources.try_next().await? {
        if resource.resource_type.as_deref() == Some("AWS::CloudWatch::Alarm") {
            names.extend(resource.physical_resource_id);
        }
    }
    Ok(names)
}

pub(super) async fn key_policy(deployed: &Deployed) -> Finding {
    const CHECK: &str = "key policy";
    let key = match deployed.output("DataKeyArn") {
        Ok(key) => key,
        Err(error) => return fail(CHECK, format!("{error:#}"), "Deploy this version of the stack."),
    };
    let client = aws_sdk_kms::Client::new(&deployed.sdk);
    let answer = match client.get_key_policy().key_id(key).policy_name("default").send().await {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "kms:GetKeyPolicy"),
    };
    let policy: Value = answer.policy().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match direct_use(&policy) {
        Some(statements) if statements.is_empty() => {
            ok(CHECK, "the key decrypts through DynamoDB and Secrets Manager only")
        }
        Some(statements) => fail(
            CHECK,
            format!(
                "whoever these statements name can decrypt with the key directly: {}",
                statements.join(", ")
            ),
            "Take the statement away, or deploy the stack again, which writes its own policy.",
        ),
        None => warn(CHECK, "the policy makes no sense", "Look at it in KMS."),
    }
}

/// The statements that let somebody decrypt other than through a service.
fn direct_use(policy: &Value) -> Option<Vec<String>> {
    let list = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        other => vec![other.clone()],
    };
    let decrypts = |action: &Value| {
        let action = action.as_str().unwrap_or_default().to_lowercase();
        match action.split_once('*') {
            Some((stem, _)) => "kms:decrypt".starts_with(stem),
            None => action == "kms:decrypt",
        }
    };
    let direct = list(policy.get("Statement")?).into_iter().enumerate().filter(|(_, statement)| {
        let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
        let names = statement.get("Action").map(&list).unwrap_or_default();
        // NotAction names everything else.
        let able = names.iter().any(decrypts) || statement.get("NotAction").is_some();
        let bound = statement.pointer("/Condition/StringEquals/kms:ViaService").is_some();
        allows && able && !bound
    });
    let name = |(index, statement): (usize, Value)| {
        let sid = statement.get("Sid").and_then(Value::as_str);
        sid.map_or_else(|| format!("number {}", index + 1), str::to_owned)
    };
    Some(direct.map(name).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_that_lets_anybody_decrypt_directly_is_found() {
        let policy = |statement: Value| {
            json!({"Statement": [
                {"Sid": "Administered", "Effect": "Allow", "Action": ["kms:DescribeKey", "kms:PutKeyPolicy"]},
                statement,
            ]})
        };
        let bound = json!({"StringEquals": {"kms:ViaService": ["dynamodb.eu-central-1.amazonaws.com"]}});
        for (statement, expected) in [
            (json!({"Effect": "Allow", "Action": ["kms:Decrypt"], "Condition": bound}), &[][..]),
            (json!({"Sid": "Everything", "Effect": "Allow", "Action": "kms:*"}), &["Everything"]),
            (json!({"Effect": "Allow", "Action": "*"}), &["number 2"]),
            (json!({"Effect": "Allow", "Action": ["kms:De*"]}), &["number 2"]),
            (json!({"Effect": "Allow", "NotAction": "kms:PutKeyPolicy"}), &["number 2"]),
            (json!({"Effect": "Deny", "Action": "kms:*"}), &[]),
        ] {
            assert_eq!(direct_use(&policy(statement)).unwrap(), expected);
        }
        assert!(direct_use(&Value::Null).is_none());
    }
}
