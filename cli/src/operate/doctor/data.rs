//! Checks what protects the tokens: the table, its backups, its key, and the stack of these.

use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    IndexStatus, PointInTimeRecoveryStatus, SseStatus, StreamViewType, TableDescription,
};
use aws_sdk_kms::types::KeyState;
use threads_auth_store::{DUE_INDEX, REFERENCE_INDEX};

use super::finding::{Finding, fail, ok, unnamed, unreported, unseen, warn};
use crate::operate::target::Deployed;

/// Returns the table of grants as DynamoDB describes it, or `None` and the finding with the reason.
pub(super) struct Table {
    described: Option<TableDescription>,
}

const DEPLOY: &str =
    "Somebody changed it by hand: deploy the stack of the table again, or change it back in DynamoDB.";

/// Checks the table's settings.
pub(super) async fn table(deployed: &Deployed, name: &str) -> (Table, Vec<Finding>) {
    const STREAM: &str = "table stream";
    const PROTECTION: &str = "table protection";
    const ENCRYPTION: &str = "table encryption";
    const INDEX: &str = "table indexes";
    const PERMISSION: &str = "dynamodb:DescribeTable";
    const CHECKS: [&str; 4] = [STREAM, PROTECTION, ENCRYPTION, INDEX];
    let client = aws_sdk_dynamodb::Client::new(&deployed.sdk);
    let described = match client.describe_table().table_name(name).send().await {
        Ok(answer) => answer.table,
        Err(error) => {
            let findings = CHECKS.map(|check| unseen(check, &error, PERMISSION));
            return (Table { described: None }, findings.into());
        }
    };
    let Some(table) = described else {
        return (Table { described }, CHECKS.map(|check| unreported(check, "the table")).into());
    };
    let stream = table.stream_specification();
    let both = stream.and_then(|stream| stream.stream_view_type()) == Some(&StreamViewType::NewAndOldImages);
    let stream = match stream.is_some_and(aws_sdk_dynamodb::types::StreamSpecification::stream_enabled) {
        true if both => ok(STREAM, "holds both images of each change"),
        true => fail(STREAM, "does not hold both images of a change, so events are missing or wrong", DEPLOY),
        false => {
            let next = format!(
                "No event is announced while it is off. {DEPLOY} A stream that is switched on again is a new one: the mapping of the events has to be created anew, see infra/README.md."
            );
            fail(STREAM, "is switched off", next)
        }
    };
    let protection = match table.deletion_protection_enabled() {
        Some(true) => ok(PROTECTION, "the table cannot be deleted"),
        Some(false) => {
            fail(PROTECTION, "the table's deletion protection is off: one call deletes every token", DEPLOY)
        }
        None => unreported(PROTECTION, "whether the table can be deleted"),
    };
    let encryption = encryption(ENCRYPTION, deployed, &table);
    let indexes = indexes(INDEX, &table);
    (Table { described: Some(table) }, vec![stream, protection, encryption, indexes])
}

fn indexes(check: &'static str, table: &TableDescription) -> Finding {
    // AWS reports the status of each index; an emulator that does not has built it already.
    let status = |name| {
        let mut indexes = table.global_secondary_indexes().iter();
        let index = indexes.find(|index| index.index_name() == Some(name))?;
        Some(index.index_status().unwrap_or(&IndexStatus::Active))
    };
    if status(DUE_INDEX).is_none() {
        let next = format!("No sweep finds a token that is due. {DEPLOY}");
        return fail(check, format!("the table has no index `{DUE_INDEX}`"), next);
    }
    match status(REFERENCE_INDEX) {
        Some(IndexStatus::Active) => ok(check, "are there, and active"),
        Some(status) => {
            let detail = format!("the index `{REFERENCE_INDEX}` is {}", status.as_str());
            warn(check, detail, "`GET /users?reference=` is refused until it is ACTIVE. Wait.")
        }
        None => {
            let next = "`GET /users?reference=` is refused without it, and all else works: deploy the stack of the data, as UPGRADING.md says.";
            warn(check, format!("the table has no index `{REFERENCE_INDEX}`"), next)
        }
    }
}

fn encryption(check: &'static str, deployed: &Deployed, table: &TableDescription) -> Finding {
    let Some(described) = table.sse_description() else {
        return fail(
            check,
            "the table is not encrypted with the stack's key, but with DynamoDB's own",
            DEPLOY,
        );
    };
    match described.status() {
        // DynamoDB archives such a table after a week.
        _ if described.inaccessible_encryption_date_time().is_some() => {
            let next = "See the data key below. DynamoDB archives the table when its key is inaccessible for seven days.";
            fail(check, "DynamoDB cannot reach the table's key", next)
        }
        Some(SseStatus::Enabled | SseStatus::Updating) => {
            match (deployed.output("DataKeyArn"), described.kms_master_key_arn()) {
                (Ok(ours), Some(key)) if ours == key => ok(check, "uses the stack's key"),
                (Ok(_), Some(key)) => fail(
                    check,
                    format!("the table is encrypted with another key than the stack's: {key}"),
                    DEPLOY,
                ),
                (Err(error), _) => unnamed(check, &error),
                (_, None) => unreported(check, "the key with which the table is encrypted"),
            }
        }
        None => unreported(check, "whether the table is encrypted with the stack's key"),
        _ => fail(check, "the table is not encrypted with the stack's key, but with DynamoDB's own", DEPLOY),
    }
}

impl Table {
    /// Returns true if this is the table's current stream, if DynamoDB has described the table.
    pub(super) fn has_stream(&self, stream: &str) -> Option<bool> {
        Some(self.described.as_ref()?.latest_stream_arn() == Some(stream))
    }
}

/// Checks that point-in-time recovery is enabled.
pub(super) async fn backups(deployed: &Deployed, name: &str) -> Finding {
    const CHECK: &str = "backups";
    let client = aws_sdk_dynamodb::Client::new(&deployed.sdk);
    let answer = match client.describe_continuous_backups().table_name(name).send().await {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "dynamodb:DescribeContinuousBackups"),
    };
    let recovery =
        answer.continuous_backups_description.and_then(|told| told.point_in_time_recovery_description);
    let status = recovery.as_ref().and_then(|recovery| recovery.point_in_time_recovery_status.as_ref());
    if status.is_none() {
        return unreported(CHECK, "whether point-in-time recovery is on");
    }
    if status != Some(&PointInTimeRecoveryStatus::Enabled) {
        let next = format!("What is lost from now on cannot be restored. {DEPLOY}");
        return fail(CHECK, "point-in-time recovery is off", next);
    }
    let since = recovery.and_then(|recovery| recovery.earliest_restorable_date_time);
    let since = since.and_then(|time| jiff::Timestamp::from_second(time.secs()).ok());
    let since = since.map_or_else(String::new, |since| format!(", as of any second since {since}"));
    ok(CHECK, format!("the table can be restored{since}"))
}

/// Checks that the key that everything depends on is enabled, and not scheduled for deletion.
pub(super) async fn key(deployed: &Deployed) -> Finding {
    const CHECK: &str = "data key";
    let key = match deployed.output("DataKeyArn") {
        Ok(key) => key,
        Err(error) => return unnamed(CHECK, &error),
    };
    let answer = match aws_sdk_kms::Client::new(&deployed.sdk).describe_key().key_id(key).send().await {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "kms:DescribeKey"),
    };
    let told = answer.key_metadata;
    match told.as_ref().and_then(|told| told.key_state()) {
        Some(KeyState::Enabled) => ok(CHECK, "is enabled"),
        Some(KeyState::PendingDeletion) => {
            let until = told.and_then(|told| told.deletion_date);
            let until = until.and_then(|time| jiff::Timestamp::from_second(time.secs()).ok());
            let until = until.map_or_else(String::new, |until| format!(" at {until}"));
            let next = format!(
                "Every token and both secrets are lost with it, for good. Run at once: `aws kms cancel-key-deletion --key-id {key}`, then `aws kms enable-key --key-id {key}`."
            );
            fail(CHECK, format!("is deleted{until}"), next)
        }
        Some(KeyState::Disabled) => {
            let next = format!(
                "Nothing can be read while it is disabled: `aws kms enable-key --key-id {key}`. CloudTrail shows who disabled it."
            );
            fail(CHECK, "is disabled", next)
        }
        Some(state) => {
            fail(CHECK, format!("cannot be used: its state is {}", state.as_str()), "Look at it in KMS.")
        }
        None => unreported(CHECK, "the key's state"),
    }
}

/// Checks that the table's stack cannot be deleted by one call.
pub(super) async fn protection(deployed: &Deployed, table: &str) -> Finding {
    const CHECK: &str = "stack protection";
    let client = aws_sdk_cloudformation::Client::new(&deployed.sdk);
    let found = client.describe_stack_resources().physical_resource_id(table).send().await;
    let stack = match found {
        Ok(answer) => answer
            .stack_resources()
            .iter()
            .find(|resource| resource.physical_resource_id() == Some(table))
            .and_then(|resource| resource.stack_name().map(str::to_owned)),
        Err(error) if error.code() == Some("ValidationError") => None,
        Err(error) => return unseen(CHECK, &error, "cloudformation:DescribeStackResources"),
    };
    let Some(stack) = stack else {
        let next = "A table that was restored from a backup is in no stack: infra/README.md describes how it is imported into one.";
        return warn(CHECK, format!("no stack has the table {table}"), next);
    };
    let answer = match client.describe_stacks().stack_name(&stack).send().await {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "cloudformation:DescribeStacks"),
    };
    let Some(described) = answer.stacks().first() else {
        return unreported(CHECK, &format!("the stack {stack}, which has the table"));
    };
    if described.enable_termination_protection == Some(true) {
        return ok(CHECK, format!("the stack {stack}, which has the table, cannot be deleted"));
    }
    let next = format!(
        "`aws cloudformation update-termination-protection --enable-termination-protection --stack-name {stack}`"
    );
    warn(CHECK, format!("the stack {stack}, which has the table, can be deleted by one call"), next)
}
