//! The records behind a letter of Lambda's: read from the table's stream, and handed to the events
//! function once more.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::ProvideErrorMetadata;
use aws_sdk_dynamodbstreams::types::{OperationType, Record, ShardIteratorType};
use aws_sdk_lambda::primitives::Blob;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::letter::Place;
use crate::operate::aws_failure::failed;
use crate::operate::target::Deployed;

/// As long as a stream keeps a record.
const KEPT: Duration = Duration::from_hours(24);

/// A shard has few empty pages between records.
const MOST_PAGES: usize = 200;

/// AWS's codes for what the stream has forgotten.
const FORGOTTEN: [&str; 3] =
    ["TrimmedDataAccessException", "ResourceNotFoundException", "ExpiredIteratorException"];

/// The end of a place in the stream.
pub(super) enum Replayed {
    /// The function has announced all of it, or has put it into letters of its own.
    Done,
    /// The stream does not have it any more.
    Gone,
    /// The bus does not take it.
    Refused,
}

pub(super) async fn replay(deployed: &Deployed, place: &Place, now: Timestamp) -> Result<Replayed> {
    // A letter may not make us read another table's stream, nor ask another function.
    let table = deployed.output("GrantsTableName")?;
    if !place.stream_arn.contains(&format!(":table/{table}/stream/")) {
        bail!("a letter names the stream of another table: {}", place.stream_arn);
    }
    if now.duration_since(place.approximate_arrival_of_first_record).unsigned_abs() > KEPT {
        return Ok(Replayed::Gone);
    }
    let Some(records) = read(&Client::new(&deployed.sdk), place).await? else {
        return Ok(Replayed::Gone);
    };
    let function = deployed.output("EventsFunctionName")?;
    let payload = Blob::new(json!({"Records": records}).to_string());
    let client = aws_sdk_lambda::Client::new(&deployed.sdk);
    let answer = client.invoke().function_name(function).payload(payload).send().await;
    let answer = answer.map_err(|error| failed(&error, &format!("Lambda does not invoke {function}")))?;
    let said: Value =
        answer.payload().and_then(|text| serde_json::from_slice(text.as_ref()).ok()).unwrap_or_default();
    if answer.function_error().is_some() {
        bail!("{function} failed: {}", said["errorMessage"].as_str().unwrap_or("its log has the cause"));
    }
    let failures = said["batchItemFailures"].as_array();
    let failures = failures.with_context(|| format!("{function} answered with no report of a batch"))?;
    Ok(if failures.is_empty() { Replayed::Done } else { Replayed::Refused })
}

/// The records of a place, in the form in which Lambda hands them on; or nothing, if they are gone.
async fn read(client: &Client, place: &Place) -> Result<Option<Vec<Value>>> {
    let iterator = client
        .get_shard_iterator()
        .stream_arn(&place.stream_arn)
        .shard_id(&place.shard_id)
        .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
        .sequence_number(&place.start_sequence_number)
        .send()
        .await;
    let mut iterator = match iterator {
        Ok(found) => found.shard_iterator,
        Err(error) if error.code().is_some_and(|code| FORGOTTEN.contains(&code)) => return Ok(None),
        Err(error) => return Err(failed(&error, "DynamoDB does not read the stream").into()),
    };
    let mut records = Vec::new();
    for _ in 0..MOST_PAGES {
        let Some(next) = iterator.take() else { break };
        let page = match client.get_records().shard_iterator(next).send().await {
            Ok(page) => page,
            Err(error) if error.code().is_some_and(|code| FORGOTTEN.contains(&code)) => return Ok(None),
            Err(error) => return Err(failed(&error, "DynamoDB does not read the stream").into()),
        };
        for record in page.records.unwrap_or_default() {
            let number = record.dynamodb().and_then(|change| change.sequence_number());
            if number.is_some_and(|number| is_after(number, &place.end_sequence_number)) {
                return Ok(Some(records));
            }
            let is_last = number == Some(place.end_sequence_number.as_str());
            records.extend(handed_on(record));
            if is_last {
                return Ok(Some(records));
            }
        }
        iterator = page.next_shard_iterator;
    }
    // A part of a place is not the place: its letter stays.
    ensure!(
        records.is_empty(),
        "the stream ends before the place of the letter does: nothing of it was replayed"
    );
    Ok(None)
}

/// Sequence numbers are numbers of many digits.
fn is_after(one: &str, other: &str) -> bool {
    let number = |text: &str| (text.trim_start_matches('0').len(), text.trim_start_matches('0').to_owned());
    number(one) > number(other)
}

fn handed_on(record: Record) -> Option<Value> {
    type Image = std::collections::HashMap<String, aws_sdk_dynamodbstreams::types::AttributeValue>;
    let image = |image: Option<Image>| {
        let values = image?.into_iter().map(|(name, value)| {
            let value = serde_json::to_value(serde_dynamo::AttributeValue::from(value));
            value.map(|value| (name, value))
        });
        values.collect::<Result<serde_json::Map<_, _>, _>>().ok()
    };
    let change = record.dynamodb?;
    Some(json!({
        "eventID": record.event_id?,
        "eventName": record.event_name.as_ref().map(OperationType::as_str),
        "dynamodb": {
            "ApproximateCreationDateTime": change.approximate_creation_date_time.map(|at| at.as_secs_f64()),
            "Keys": image(change.keys).unwrap_or_default(),
            "NewImage": image(change.new_image),
            "OldImage": image(change.old_image),
            "SequenceNumber": change.sequence_number?,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        assert!(is_after("1000", "999") && !is_after("999", "1000") && !is_after("7", "7"));
        assert!(is_after("00000000000000000000010", "9"));
    }
}
