//! The records behind a letter of Lambda's: read from the table's stream, and passed to the events
//! function again.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::ProvideErrorMetadata;
use aws_sdk_dynamodbstreams::types::{OperationType, Record, ShardIteratorType};
use aws_sdk_lambda::primitives::Blob;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::letter::{Place, magnitude};
use crate::operate::aws_failure::failed;
use crate::operate::target::Deployed;

/// The retention of a DynamoDB stream.
const KEPT: Duration = Duration::from_hours(24);

/// The maximum of empty pages between the records of a shard.
const MOST_PAGES: usize = 200;

/// AWS's codes for records that the stream has trimmed.
const FORGOTTEN: [&str; 3] =
    ["TrimmedDataAccessException", "ResourceNotFoundException", "ExpiredIteratorException"];

/// The outcome of a range of the stream.
pub(super) enum Replayed {
    /// The function has announced all of it, or made letters of the events that the bus refuses;
    /// those arrive late, as all replayed events may.
    Done,
    /// The stream no longer has it.
    Gone,
    /// The letter does not refer to this stack's stream.
    Foreign,
    /// Retry later: the reason, and the accounts of the changes that were read.
    Refused(String, Vec<String>),
}

/// Passes on the records of `place`, unless an earlier change of one of its accounts is in `held`.
pub(super) async fn replay(
    deployed: &Deployed,
    place: &Place,
    held: &HashSet<String>,
    now: Timestamp,
) -> Result<Replayed> {
    // A letter must not lead to another table's stream or another function.
    let table = deployed.output("GrantsTableName")?;
    if !place.stream_arn.contains(&format!(":table/{table}/stream/")) {
        return Ok(Replayed::Foreign);
    }
    if now.duration_since(place.approximate_arrival_of_first_record).unsigned_abs() > KEPT {
        return Ok(Replayed::Gone);
    }
    let Read { records, is_whole } = read(&Client::new(&deployed.sdk), place).await?;
    if records.is_empty() {
        return Ok(Replayed::Gone);
    }
    let whose: Vec<_> = records.iter().filter_map(user_id).collect();
    if whose.iter().any(|user_id| held.contains(user_id)) {
        let why = "an earlier event of one of its accounts was not accepted";
        return Ok(Replayed::Refused(why.to_owned(), whose));
    }
    // If only a part of the range is left, its letter stays.
    if !is_whole {
        let why = "the stream ends before the letter's range does, and nothing of it was replayed";
        return Ok(Replayed::Refused(why.to_owned(), whose));
    }
    let function = deployed.output("EventsFunctionName")?;
    let payload = Blob::new(json!({"Records": records}).to_string());
    let client = aws_sdk_lambda::Client::new(&deployed.sdk);
    let answer = client.invoke().function_name(function).payload(payload).send().await;
    let answer = answer.map_err(|error| failed(&error, &format!("Lambda does not invoke {function}")))?;
    let said: Value =
        answer.payload().and_then(|text| serde_json::from_slice(text.as_ref()).ok()).unwrap_or_default();
    if answer.function_error().is_some() {
        let words = said["errorMessage"].as_str().unwrap_or("its log has the cause");
        return Ok(Replayed::Refused(format!("{function} failed: {words}"), whose));
    }
    let failures = said["batchItemFailures"].as_array();
    let failures = failures.with_context(|| format!("{function} answered without a report of the batch"))?;
    Ok(if failures.is_empty() {
        Replayed::Done
    } else {
        Replayed::Refused("the bus does not accept it".to_owned(), whose)
    })
}

/// Returns the account whose row a record has changed. Its key has the form
/// `user#17841405793187219`.
fn user_id(record: &Value) -> Option<String> {
    let key = record["dynamodb"]["Keys"]["pk"]["S"].as_str()?;
    Some(key.split_once('#')?.1.to_owned())
}

/// The records of a range that the stream still has.
struct Read {
    records: Vec<Value>,
    /// True if the end of the range was reached.
    is_whole: bool,
}

/// Reads the records of a range, in the form in which Lambda passes them on; none if they are gone.
async fn read(client: &Client, place: &Place) -> Result<Read> {
    let mut read = Read { records: Vec::new(), is_whole: false };
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
        Err(error) if error.code().is_some_and(|code| FORGOTTEN.contains(&code)) => return Ok(read),
        Err(error) => return Err(failed(&error, "DynamoDB does not read the stream").into()),
    };
    for _ in 0..MOST_PAGES {
        let Some(next) = iterator.take() else { break };
        let page = match client.get_records().shard_iterator(next).send().await {
            Ok(page) => page,
            Err(error) if error.code().is_some_and(|code| FORGOTTEN.contains(&code)) => {
                return Ok(Read { records: Vec::new(), is_whole: false });
            }
            Err(error) => return Err(failed(&error, "DynamoDB does not read the stream").into()),
        };
        for record in page.records.unwrap_or_default() {
            let number = record.dynamodb().and_then(|change| change.sequence_number());
            if number.is_some_and(|number| magnitude(number) > magnitude(&place.end_sequence_number)) {
                return Ok(Read { is_whole: true, ..read });
            }
            let is_last = number == Some(place.end_sequence_number.as_str());
            read.records.extend(handed_on(record));
            if is_last {
                return Ok(Read { is_whole: true, ..read });
            }
        }
        iterator = page.next_shard_iterator;
    }
    Ok(read)
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
