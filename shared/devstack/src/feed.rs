//! Lambda's part between the grants table's stream and the events function: batches in order, each
//! repeated until it succeeds.

use std::sync::{Arc, OnceLock};

use anyhow::{Result, anyhow, bail};
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::{describe_stream::DescribeStreamRequest, list_streams::ListStreamsRequest};
use dynoxide::{Database, DynoxideError};
use events::EventPublisher;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::data_folder::KeptValue;
use crate::options::StackError;

/// The batch size of the production template.
const BATCH: usize = 100;

/// The stream, and the position up to which it was read.
pub(crate) struct Feed {
    database: Database,
    publisher: EventPublisher,
    table: String,
    shard: Arc<OnceLock<Shard>>,
    /// The last change that was announced.
    position: Mutex<Option<String>>,
    kept: KeptValue,
}

/// The only shard of the emulator's stream. To describe it, the emulator reads all of its records.
#[derive(Clone)]
struct Shard {
    stream_arn: String,
    shard_id: String,
}

impl Shard {
    fn find(database: &Database, table: String) -> Result<Option<Self>, DynoxideError> {
        let streams = database
            .list_streams(ListStreamsRequest { table_name: Some(table), ..ListStreamsRequest::default() })?;
        let Some(stream) = streams.streams.into_iter().next() else { return Ok(None) };
        let described = database.describe_stream(DescribeStreamRequest {
            stream_arn: stream.stream_arn.clone(),
            ..DescribeStreamRequest::default()
        })?;
        let shard = described.stream_description.shards.into_iter().next();
        Ok(shard.map(|shard| Self { stream_arn: stream.stream_arn, shard_id: shard.shard_id }))
    }
}

impl Feed {
    /// Opens a feed of `table`'s stream at the position that `kept` has stored.
    pub(crate) fn open(
        database: Database,
        publisher: EventPublisher,
        table: &str,
        kept: KeptValue,
    ) -> Result<Self, StackError> {
        let (table, shard, position) = (table.to_owned(), Arc::default(), Mutex::new(kept.read()?));
        Ok(Self { database, publisher, table, shard, position, kept })
    }

    /// Announces the changes since the last call, at `now`.
    pub(crate) async fn drain(&self, now: Timestamp) -> Result<()> {
        let mut position = self.position.lock().await;
        loop {
            let records = self.records(position.clone()).await?;
            let sequence_numbers: Vec<&str> =
                records.iter().filter_map(|record| record["dynamodb"]["SequenceNumber"].as_str()).collect();
            let Some(last) = sequence_numbers.last() else {
                return Ok(());
            };
            let handled = self.publisher.handle(&json!({"Records": records}), now).await;
            let done = match handled.batch_item_failures.first() {
                None => Some(*last),
                // An empty identifier means the whole batch.
                Some(first) if first.item_identifier.is_empty() => None,
                Some(first) => sequence_numbers
                    .iter()
                    .take_while(|number| **number != first.item_identifier)
                    .last()
                    .copied(),
            };
            if let Some(done) = done {
                *position = Some(done.to_owned());
                self.kept.write(done)?;
            }
            if !handled.batch_item_failures.is_empty() {
                bail!("changes could not be announced, and are kept for later");
            }
        }
    }

    async fn records(&self, after: Option<String>) -> Result<Vec<Value>> {
        let (database, table, shard) = (self.database.clone(), self.table.clone(), Arc::clone(&self.shard));
        let read = move || -> Result<Vec<Value>, DynoxideError> {
            let found = match shard.get() {
                Some(known) => Some(known.clone()),
                None => Shard::find(&database, table)?.map(|found| shard.get_or_init(|| found).clone()),
            };
            let Some(Shard { stream_arn, shard_id }) = found else {
                return Ok(Vec::new());
            };
            let kind = if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" };
            let iterator = database.get_shard_iterator(GetShardIteratorRequest {
                stream_arn,
                shard_id,
                shard_iterator_type: kind.to_owned(),
                sequence_number: after,
            })?;
            let Some(shard_iterator) = iterator.shard_iterator else {
                return Ok(Vec::new());
            };
            let read = database.get_records(GetRecordsRequest { shard_iterator, limit: Some(BATCH) })?;
            let mut records: Vec<_> =
                read.records.iter().filter_map(|record| serde_json::to_value(record).ok()).collect();
            for record in &mut records {
                // The database uses the machine's clock, and this stack its own.
                if let Some(change) = record["dynamodb"].as_object_mut() {
                    change.remove("ApproximateCreationDateTime");
                }
            }
            Ok(records)
        };
        tokio::task::spawn_blocking(read)
            .await?
            .map_err(|error| anyhow!("the stream cannot be read: {error}"))
    }
}
