//! Whether what happens to accounts arrives: the mapping from the table's stream, the bus, and the
//! letters that were given up.

use aws_sdk_sqs::types::QueueAttributeName;

use super::data::Table;
use super::finding::{Finding, fail, ok, unseen, warn};
use super::resources::Resources;
use crate::operate::target::Deployed;

const DEPLOY: &str = "Deploy this version of the stack.";

/// Whether a function reads the table's stream.
pub(super) async fn mapping(deployed: &Deployed, resources: &Resources, table: &Table) -> Vec<Finding> {
    const CHECK: &str = "events mapping";
    let mappings = match resources.of_kind(CHECK, "AWS::Lambda::EventSourceMapping") {
        Ok(mappings) if mappings.is_empty() => {
            return vec![fail(CHECK, "the stack has none, so that no event is told", DEPLOY)];
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
        let source = told.event_source_arn().unwrap_or_default();
        findings.push(match told.state().unwrap_or("unknown") {
            "Enabled" if table.stream().is_some_and(|stream| stream != source) => {
                let next = "The table's stream was switched off and on, or the table is another one. Deploy the stack again; if the mapping stays as it is, once without it and then with it.";
                fail(CHECK, "reads a stream that is not the table's any more", next)
            }
            "Enabled" if result.starts_with("PROBLEM") => {
                let next = "The log of the events function says why. The stream keeps what was not handled for 24 hours.";
                fail(CHECK, format!("is enabled, and does not get on: {result}"), next)
            }
            "Enabled" => ok(CHECK, format!("is enabled: {result}")),
            state @ ("Creating" | "Enabling" | "Updating") => {
                warn(CHECK, format!("is {state}"), "Wait a few minutes, and look again.")
            }
            state => {
                let next = format!("No event is told while it is. {on} The stream keeps for 24 hours what happened meanwhile.");
                fail(CHECK, format!("is {state}"), next)
            }
        });
    }
    findings
}

/// Whether the bus is there on which events are told.
pub(super) async fn bus(deployed: &Deployed) -> Finding {
    const CHECK: &str = "event bus";
    let name = match deployed.output("EventBusName") {
        Ok(name) => name,
        Err(error) => return fail(CHECK, format!("{error:#}"), DEPLOY),
    };
    match aws_sdk_eventbridge::Client::new(&deployed.sdk).describe_event_bus().name(name).send().await {
        Ok(_) => ok(CHECK, format!("{name} is there")),
        Err(error) => unseen(CHECK, &error, "events:DescribeEventBus"),
    }
}

/// Whether anything was given up.
pub(super) async fn letters(deployed: &Deployed, resources: &Resources) -> Finding {
    const CHECK: &str = "dead letters";
    let queues = match resources.of_kind(CHECK, "AWS::SQS::Queue") {
        Ok(queues) if queues.is_empty() => return warn(CHECK, "the stack has no queue for them", DEPLOY),
        Ok(queues) => queues,
        Err(finding) => return finding,
    };
    let client = aws_sdk_sqs::Client::new(&deployed.sdk);
    let wanted = QueueAttributeName::ApproximateNumberOfMessages;
    let mut full = Vec::new();
    for url in &queues {
        let asked =
            client.get_queue_attributes().queue_url(*url).attribute_names(wanted.clone()).send().await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => return unseen(CHECK, &error, "sqs:GetQueueAttributes"),
        };
        let count = answer.attributes().and_then(|told| told.get(&wanted)?.parse::<u64>().ok());
        let name = url.rsplit('/').next().unwrap_or(url);
        if count != Some(0) {
            full.push(format!("{} in {name}", count.map_or_else(|| "unknown".to_owned(), |n| n.to_string())));
        }
    }
    if full.is_empty() {
        return ok(CHECK, format!("none in {} queues", queues.len()));
    }
    let next = "`threads-auth dead-letters show` says what was given up, and why.";
    fail(CHECK, format!("something was given up: {}", full.join(", ")), next)
}
