//! An event in the form that EventBridge accepts and a dead letter stores.

use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use threads_auth::{EVENT_SOURCE, Event};

/// One entry of `PutEvents`, without the bus. Holds no token, because an [`Event`] has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `Source`.
    pub source: String,
    /// `DetailType`: the kind of the event.
    pub detail_type: String,
    /// `Resources`: the account.
    pub resources: Vec<String>,
    /// `Time`: the time of the change.
    pub time: Timestamp,
    /// `Detail`: the event as JSON. Its `id` stays the same when it is put again.
    pub detail: String,
}

impl From<&Event> for Entry {
    fn from(event: &Event) -> Self {
        Self {
            source: EVENT_SOURCE.to_owned(),
            detail_type: event.kind.as_str().to_owned(),
            resources: vec![event.user_id.to_string()],
            time: event.time,
            // Our own types always serialize.
            detail: serde_json::to_string(event).unwrap_or_default(),
        }
    }
}

impl Entry {
    /// Returns the request entry for `bus`.
    #[must_use]
    pub fn request(&self, bus: &str) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(&self.source)
            .detail_type(&self.detail_type)
            .set_resources(Some(self.resources.clone()))
            .time(DateTime::from_secs(self.time.as_second()))
            .detail(&self.detail)
            .build()
    }
}
