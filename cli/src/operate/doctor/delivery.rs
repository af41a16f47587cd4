//! Checks that events arrive: the mappings from the table's stream and from the webhooks' queue,
//! the bus, and the dead letters.

use super::data::Table;
use super::finding::{Finding, fail, ok, unnamed, unreported, unseen, warn};
use super::resources::Resources;
use crate::operate::dead_letters::letters_in;
use crate::operate::target::Deployed;

const DEPLOY: &str = "Deploy this version of the stack.";

/// Checks that a function reads the table's stream, and one the webhooks' queue if there is one.
pub(super) async fn mapping(deployed: &Deployed, resources: &Resources, table: &Table) -> Vec<Finding> {
    const CHECK: &str = "events mapping";
    let mappings = match resources.of_kind(CHECK, "AWS::Lambda::EventSourceMapping") {
        Ok(mappings) if mappings.is_empty() => {
            return vec![fail(CHECK, "the stack has none, so no event is announced", DEPLOY)];
        }
        Ok(mappings) => mappings,
        Err(finding) => return vec![finding],
    };
    let client = aws_sdk_lambda::Client::new(&deployed.sdk);
    let mut findings = Vec::new();
    for id in mappings {
        let told = match client.get_event_source_mapping().uuid(id).send().await {
            Ok(told) => told,
            Err(error) => {
                findings.push(unseen(CHECK, &error, "lambda:GetEventSourceMapping"));
                continue;
            }
        };
        let on = format!("`aws lambda update-event-source-mapping --enabled --uuid {id}`");
        let result = told.last_processing_result().unwrap_or("No records processed");
        let (Some(state), Some(source)) = (told.state(), told.event_source_arn()) else {
            findings.push(unreported(CHECK, "whether it is enabled, and for which stream"));
            continue;
        };
        if Some(source) == deployed.output("WebhookQueueArn").ok() {
            findings.push(of_queue(state, result, &on));
            continue;
        }
        let is_ours = table.has_stream(source);
        findings.push(match state {
            "Enabled" if is_ours == Some(false) => {
                let next = "The table's stream was switched off and on, or the table is another one. Deploy the stack again; if the mapping stays as it is, once without it and then with it.";
                fail(CHECK, "reads a stream that is not the table's any more", next)
            }
            "Enabled" if result.starts_with("PROBLEM") => {
                let next = "The log of the events function has the reason. The stream keeps changes for 24 hours.";
                fail(CHECK, format!("is enabled, but fails: {result}"), next)
            }
            "Enabled" if is_ours.is_none() => warn(
                CHECK,
                format!("is enabled ({result}), but it is unknown whether it reads the table's stream"),
                "See the table stream above first.",
            ),
            "Enabled" => ok(CHECK, format!("is enabled: {result}")),
            state @ ("Creating" | "Enabling" | "Updating") => {
                warn(CHECK, format!("is {state}"), "Wait a few minutes, and try again.")
            }
            state => {
                let next = format!("No event is announced until it is enabled: {on}. The stream keeps changes for 24 hours.");
                fail(CHECK, format!("is {state}"), next)
            }
        });
    }
    findings
}

/// Judges the mapping from the webhooks' queue.
fn of_queue(state: &str, result: &str, on: &str) -> Finding {
    const CHECK: &str = "webhooks mapping";
    match state {
        "Enabled" if result.starts_with("PROBLEM") => {
            let next =
                "The log of the webhook function says why. The queue keeps what was not posted for 14 days.";
            fail(CHECK, format!("is enabled, but fails: {result}"), next)
        }
        // Lambda reports no results of a queue.
        "Enabled" => ok(CHECK, "is enabled"),
        "Creating" | "Enabling" | "Updating" => {
            warn(CHECK, format!("is {state}"), "Wait a few minutes, and look again.")
        }
        state => {
            let next = format!("No event is posted while it is. {on} The queue keeps them for 14 days.");
            fail(CHECK, format!("is {state}"), next)
        }
    }
}

/// Checks that the event bus exists.
pub(super) async fn bus(deployed: &Deployed) -> Finding {
    const CHECK: &str = "event bus";
    let name = match deployed.output("EventBusName") {
        Ok(name) => name,
        Err(error) => return unnamed(CHECK, &error),
    };
    match aws_sdk_eventbridge::Client::new(&deployed.sdk).describe_event_bus().name(name).send().await {
        Ok(_) => ok(CHECK, format!("{name} is there")),
        Err(error) => unseen(CHECK, &error, "events:DescribeEventBus"),
    }
}

/// Checks that there are no dead letters.
pub(in crate::operate) async fn letters(deployed: &Deployed, resources: &Resources) -> Finding {
    const CHECK: &str = "dead letters";
    let queues = match resources.of_kind(CHECK, "AWS::SQS::Queue") {
        Ok(queues) if queues.is_empty() => return warn(CHECK, "the stack has no queue for them", DEPLOY),
        Ok(mut queues) => {
            // Its events are alive.
            let webhooks = deployed.output("WebhookQueueUrl").ok();
            queues.retain(|queue| Some(*queue) != webhooks);
            queues
        }
        Err(finding) => return finding,
    };
    let client = aws_sdk_sqs::Client::new(&deployed.sdk);
    let (mut full, mut unknown) = (Vec::new(), None);
    for url in &queues {
        let name = url.rsplit('/').next().unwrap_or(url);
        match letters_in(&client, url).await {
            Ok(Some(count)) if count.all() == 0 => {}
            Ok(Some(count)) => full.push(format!("{} in {name}", count.all())),
            Ok(None) => unknown = Some(unreported(CHECK, &format!("how many letters are in {name}"))),
            Err(error) => unknown = Some(unseen(CHECK, &error, "sqs:GetQueueAttributes")),
        }
    }
    // Known problems come first.
    match unknown {
        _ if !full.is_empty() => fail(
            CHECK,
            format!("something was given up: {}", full.join(", ")),
            "`threads-auth dead-letters show` lists what was given up, and the reasons. Letters that it or a replay has just received are hidden from others for a while, and counted here.",
        ),
        Some(finding) => finding,
        None => ok(CHECK, format!("none in {} queues", queues.len())),
    }
}
