//! An embedded DynamoDB with the service's two tables.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
    StreamSpecification, StreamViewType, TimeToLiveSpecification,
};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::post};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use threads_auth_store::{DUE_INDEX, REFERENCE_INDEX};

use crate::data_folder::private_options;
use crate::once::Transactions;

/// The interval at which expired items are removed. DynamoDB itself takes up to days, so nothing
/// may depend on it.
const TTL_EVERY: Duration = Duration::from_mins(10);

/// Maximum number of changes that wait to be read from the streams.
const STREAMED: u32 = 250_000;

/// Opens the database, in a file or in memory.
pub(crate) fn open(file: Option<&Path>) -> Result<Database> {
    // Each database has a name, so that the same memory can be opened a second time.
    static IN_MEMORY: AtomicU64 = AtomicU64::new(0);
    let path = match file {
        Some(file) => file.to_str().context("the data folder's path is not UTF-8")?.to_owned(),
        None => {
            format!("file:dynamodb-{}?mode=memory&cache=shared", IN_MEMORY.fetch_add(1, Ordering::Relaxed))
        }
    };
    if let Some(file) = file {
        // SQLite gives its additional files the same mode.
        private_options().create(true).append(true).open(file)?;
    }
    let connection = rusqlite::Connection::open(&path)?;
    if file.is_none() {
        // A commit in memory may walk through all pages, and larger pages are fewer: at 40,000 rows
        // of a kilobyte, SQLite writes three times as many rows in a second. The size is fixed once
        // there is a table.
        connection.execute_batch("PRAGMA page_size = 16384; CREATE TABLE fixed (size); DROP TABLE fixed;")?;
    }
    let database = Database::new(&path).map_err(|error| anyhow!("{error}"))?;
    // Every write looks up the last record of its table's stream. Without an index it would scan
    // all of them, and a hundred thousand writes would take hours. DynamoDB forgets a record after
    // a day, and the emulator never does.
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS stream_order ON _stream_records (table_name, CAST(sequence_number AS INTEGER), shard_id);
         CREATE TRIGGER IF NOT EXISTS stream_end AFTER INSERT ON _stream_records
         BEGIN DELETE FROM _stream_records WHERE id <= NEW.id - {STREAMED}; END;",
    ))?;
    Ok(database)
}

/// DynamoDB's own limit.
pub(crate) const MAX_BODY: usize = 16 * 1024 * 1024;

/// Serves DynamoDB over HTTP. The emulator's own server would respond to any website.
pub(crate) fn endpoint(database: Database) -> Router {
    let served = (database, Arc::new(Transactions::default()));
    Router::new().route("/", post(answer)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(served)
}

type Served = (Database, Arc<Transactions>);

async fn answer(State((database, transactions)): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."]
        .into_iter()
        .find_map(|prefix| target.strip_prefix(prefix))
        .unwrap_or_default();
    let (status, text) = match perform(&database, &transactions, operation, &body) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => {
            (StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
        }
    };
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.0")], text).into_response()
}

/// Calls an operation with its JSON, and serializes its response.
fn perform(
    database: &Database,
    transactions: &Transactions,
    operation: &str,
    body: &Bytes,
) -> Result<String, DynoxideError> {
    fn asked<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
        serde_json::from_slice(body).map_err(|error| DynoxideError::SerializationException(error.to_string()))
    }
    fn answered(answer: &impl Serialize) -> Result<String, DynoxideError> {
        serde_json::to_string(answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
    }
    macro_rules! operations {
        ($($name:literal => $method:ident,)*) => {
            match operation {
                $($name => answered(&database.$method(asked(body)?)?),)*
                "TransactWriteItems" => {
                    answered(&transactions.make(database, asked(body)?, body, Instant::now())?)
                }
                _ => Err(DynoxideError::ValidationException("there is no such operation here".to_owned())),
            }
        };
    }
    operations! {
        "BatchGetItem" => batch_get_item,
        "BatchWriteItem" => batch_write_item,
        "CreateTable" => create_table,
        "DeleteItem" => delete_item,
        "DeleteTable" => delete_table,
        "DescribeStream" => describe_stream,
        "DescribeTable" => describe_table,
        "DescribeTimeToLive" => describe_time_to_live,
        "GetItem" => get_item,
        "GetRecords" => get_records,
        "GetShardIterator" => get_shard_iterator,
        "ListStreams" => list_streams,
        "ListTables" => list_tables,
        "PutItem" => put_item,
        "Query" => query,
        "Scan" => scan,
        "TransactGetItems" => transact_get_items,
        "UpdateItem" => update_item,
        "UpdateTable" => update_table,
        "UpdateTimeToLive" => update_time_to_live,
    }
}

/// Removes expired items until `stop`, by this machine's clock, which is the only one that the
/// database knows.
pub(crate) async fn expire(database: Database, stop: impl Future<Output = ()> + Send + 'static) {
    let expire = async {
        let mut ticks = tokio::time::interval(TTL_EVERY);
        loop {
            ticks.tick().await;
            let database = database.clone();
            let swept = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
            if !matches!(swept, Ok(Ok(_))) {
                tracing::warn!("expired items could not be removed");
            }
        }
    };
    tokio::select! {
        () = expire => {}
        () = stop => {}
    }
}

/// Creates the two tables as the production template does, unless they exist.
pub(crate) async fn create_tables(client: &Client, grants: &str, short_lived: &str) -> Result<()> {
    let existing = client.list_tables().send().await.context("the embedded DynamoDB does not answer")?;
    let exists = |name: &str| existing.table_names().iter().any(|table| table == name);
    let due_key = [key("due_shard", KeyType::Hash)?, key("due_at", KeyType::Range)?];
    let reference_key = [key("reference", KeyType::Hash)?];
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()?;
    if exists(grants) {
        complete(client, grants, stream, &reference_key).await?;
    } else {
        client
            .create_table()
            .table_name(grants)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
            .attribute_definitions(attribute("due_shard", ScalarAttributeType::S)?)
            .attribute_definitions(attribute("due_at", ScalarAttributeType::N)?)
            .attribute_definitions(attribute("reference", ScalarAttributeType::S)?)
            .key_schema(key("pk", KeyType::Hash)?)
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(DUE_INDEX)
                    .set_key_schema(Some(due_key.into()))
                    .projection(keys_only())
                    .build()?,
            )
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(REFERENCE_INDEX)
                    .set_key_schema(Some(reference_key.into()))
                    .projection(keys_only())
                    .build()?,
            )
            .stream_specification(stream)
            .send()
            .await
            .context("the grants table could not be created")?;
    }
    if !exists(short_lived) {
        client
            .create_table()
            .table_name(short_lived)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
            .key_schema(key("pk", KeyType::Hash)?)
            .send()
            .await
            .context("the table of short-lived items could not be created")?;
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("ttl").build()?;
        client
            .update_time_to_live()
            .table_name(short_lived)
            .time_to_live_specification(ttl)
            .send()
            .await
            .context("the TTL of short-lived items could not be set")?;
    }
    Ok(())
}

/// Adds what a grants table of an older data folder lacks.
async fn complete(
    client: &Client,
    grants: &str,
    stream: StreamSpecification,
    reference_key: &[KeySchemaElement],
) -> Result<()> {
    let described = client.describe_table().table_name(grants).send().await?.table;
    let described = described.context("the embedded DynamoDB does not describe its table")?;
    if !described.stream_specification().is_some_and(StreamSpecification::stream_enabled) {
        let update = client.update_table().table_name(grants).stream_specification(stream);
        update.send().await.context("the grants table got no stream")?;
    }
    let mut indexes = described.global_secondary_indexes().iter();
    if indexes.all(|index| index.index_name() != Some(REFERENCE_INDEX)) {
        let create = CreateGlobalSecondaryIndexAction::builder()
            .index_name(REFERENCE_INDEX)
            .set_key_schema(Some(reference_key.to_vec()))
            .projection(keys_only())
            .build()?;
        client
            .update_table()
            .table_name(grants)
            .set_attribute_definitions(described.attribute_definitions.clone())
            .attribute_definitions(attribute("reference", ScalarAttributeType::S)?)
            .global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().create(create).build())
            .send()
            .await
            .context("the grants table got no index of references")?;
    }
    Ok(())
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
}

fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}
