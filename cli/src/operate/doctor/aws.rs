//! Checks that the stack, its schedule and its key's policy are as they were deployed.

use aws_sdk_scheduler::types::ScheduleState;
use serde_json::Value;

use super::finding::{Finding, fail, ok, unnamed, unreported, unseen, warn};
use crate::operate::target::{Deployed, StackHandle};

pub(super) fn stands(stack: &StackHandle) -> Finding {
    let Some(deployed) = &stack.deployed else {
        return ok("stack", format!("{} answers", stack.name));
    };
    let (name, status) = (&deployed.stack, &deployed.status);
    if status.is_empty() {
        unreported("stack", &format!("the state of {name}"))
    } else if status.ends_with("_IN_PROGRESS") {
        warn("stack", format!("{name} is {status}"), "Wait until CloudFormation is done, and try again.")
    } else if status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" {
        ok("stack", format!("{name} is {status}"))
    } else if status == "UPDATE_ROLLBACK_COMPLETE" {
        let next = "The last deployment failed and was rolled back: the stack's events in CloudFormation have the reason.";
        warn("stack", format!("{name} is {status}"), next)
    } else {
        fail("stack", format!("{name} is {status}"), "The stack's events in CloudFormation have the reason.")
    }
}

pub(in crate::operate) async fn schedule(deployed: &Deployed) -> Finding {
    const CHECK: &str = "schedule";
    let name = match deployed.output("ScheduleName") {
        Ok(name) => name,
        Err(error) => return unnamed(CHECK, &error),
    };
    let (group, name) = name.split_once('/').unwrap_or(("default", name));
    let client = aws_sdk_scheduler::Client::new(&deployed.sdk);
    match client.get_schedule().group_name(group).name(name).send().await {
        Ok(schedule) => {
            let every = schedule.schedule_expression().unwrap_or("an unknown schedule").to_owned();
            match schedule.state() {
                Some(ScheduleState::Enabled) => ok(CHECK, format!("sweeps at {every}")),
                Some(_) => {
                    let next = "Nothing is refreshed while it is off: enable it in EventBridge Scheduler, or deploy the stack again.";
                    fail(CHECK, format!("{group}/{name} is switched off"), next)
                }
                None => unreported(CHECK, &format!("whether {group}/{name} is on")),
            }
        }
        Err(error) => unseen(CHECK, &error, "scheduler:GetSchedule"),
    }
}

/// Checks that the stack has the version of this command.
pub(super) fn version(deployed: &Deployed) -> Finding {
    const CHECK: &str = "version";
    let ours = env!("CARGO_PKG_VERSION");
    match deployed.output("ServiceVersion") {
        Ok(theirs) if theirs == ours => ok(CHECK, format!("the stack and this command have version {ours}")),
        Ok(theirs) => {
            let next = "Deploy this version of the stack, or install the command of the stack's version.";
            warn(CHECK, format!("the stack has version {theirs}, and this command {ours}"), next)
        }
        Err(_) => warn(CHECK, "the stack does not report its version", "Deploy this version of the stack."),
    }
}

pub(super) async fn key_policy(deployed: &Deployed) -> Finding {
    const CHECK: &str = "key policy";
    let key = match deployed.output("DataKeyArn") {
        Ok(key) => key,
        Err(error) => return unnamed(CHECK, &error),
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
            "Remove the statement, or deploy the stack again, which writes its own policy.",
        ),
        None => warn(CHECK, "the policy is malformed", "Look at it in KMS."),
    }
}

/// Returns the statements that allow somebody to decrypt other than through a service.
fn direct_use(policy: &Value) -> Option<Vec<String>> {
    let list = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        other => vec![other.clone()],
    };
    let decrypts = |action: &Value| {
        let action = action.as_str().unwrap_or_default().to_lowercase();
        // With a grant, somebody gives themselves the right to decrypt.
        let powers = ["kms:decrypt", "kms:creategrant", "kms:reencryptfrom"];
        match action.split_once(['*', '?']) {
            Some((stem, _)) => powers.iter().any(|power| power.starts_with(stem)),
            None => powers.contains(&action.as_str()),
        }
    };
    let direct = list(policy.get("Statement")?).into_iter().enumerate().filter(|(_, statement)| {
        let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
        let names = statement.get("Action").map(&list).unwrap_or_default();
        // NotAction matches every other action.
        let able = names.iter().any(decrypts) || statement.get("NotAction").is_some();
        let is_ours = |service: &Value| {
            let name = service.as_str().unwrap_or_default();
            name.starts_with("dynamodb.") || name.starts_with("secretsmanager.")
        };
        let bound = statement
            .pointer("/Condition/StringEquals/kms:ViaService")
            .is_some_and(|services| list(services).iter().all(is_ours));
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
        let other = json!({"StringEquals": {"kms:ViaService": ["ssm.eu-central-1.amazonaws.com"]}});
        for (statement, expected) in [
            (json!({"Effect": "Allow", "Action": ["kms:Decrypt"], "Condition": bound}), &[][..]),
            (json!({"Sid": "Everything", "Effect": "Allow", "Action": "kms:*"}), &["Everything"]),
            (json!({"Effect": "Allow", "Action": "*"}), &["number 2"]),
            (json!({"Effect": "Allow", "Action": ["kms:De*"]}), &["number 2"]),
            (json!({"Effect": "Allow", "NotAction": "kms:PutKeyPolicy"}), &["number 2"]),
            (json!({"Effect": "Allow", "Action": ["kms:Decryp?"]}), &["number 2"]),
            (json!({"Effect": "Allow", "Action": ["kms:CreateGrant"]}), &["number 2"]),
            (json!({"Effect": "Allow", "Action": "kms:Decrypt", "Condition": other}), &["number 2"]),
            (json!({"Effect": "Deny", "Action": "kms:*"}), &[]),
        ] {
            assert_eq!(direct_use(&policy(statement)).unwrap(), expected);
        }
        assert!(direct_use(&Value::Null).is_none());
    }
}
