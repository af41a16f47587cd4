//! The response to a batch of a stream or a queue.

use serde::Serialize;

/// The response to Lambda: the items of the batch to deliver again. From a stream, all items after
/// the first of them are delivered again too.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// The items that were not handled.
    pub batch_item_failures: Vec<Failed>,
}

/// An item that was not handled.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The sequence number of a change, or the id of a message; empty means the whole batch.
    pub item_identifier: String,
}

impl Handled {
    /// Returns the response that nothing of the batch was handled.
    #[must_use]
    pub fn nothing() -> Self {
        Self::all_but(String::new())
    }

    /// Returns the response that one item was not handled.
    #[must_use]
    pub fn all_but(item_identifier: String) -> Self {
        Self { batch_item_failures: vec![Failed { item_identifier }] }
    }
}
