//! Connect sessions: short-lived rows by which an app's backend sends one of *its* users through a connect.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use threads_graph::{Scopes, UserId};

use super::expression::{Change, number, text, time};
use super::{Store, StoreError, unavailable};
use crate::grant::{Inconsistency, Item};

/// A session's row stays this long after it closed, for the backend to look at.
const KEPT_SECONDS: i64 = 86_400;

/// What an app's backend asked for, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id: random, in the URL that the person opens.
    pub id: String,
    /// The backend's own name for its user.
    pub reference: String,
    /// What is asked of the person, if not the usual scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// Where the person goes afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    /// The only account that may come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// When it can no longer be used.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: SessionStatus,
    /// Why it was denied, or the class of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash of the completion code, until that is redeemed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_hash: Option<String>,
    /// Which call redeemed it: a random text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_by: Option<String>,
    /// When the completion code was redeemed.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        with = "jiff::fmt::serde::timestamp::second::optional"
    )]
    pub completed_at: Option<Timestamp>,
    /// Who connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_user_id: Option<UserId>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Nobody has come back yet.
    Open,
    /// An account was connected; the completion code that its browser got tells which.
    Connected,
    /// The person refused. They may change their mind while the session lives.
    Denied,
    /// The last attempt failed. Another may be made while the session lives.
    Failed,
}

impl SessionStatus {
    /// The name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Connected => "connected",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

pub(super) fn session_key(id: &str) -> String {
    format!("session#{id}")
}

impl Store {
    /// Creates a session.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn create_session(&self, session: &Session) -> Result<(), StoreError> {
        let item: Item = serde_dynamo::to_item(session).map_err(|error| StoreError::Unavailable {
            operation: "create a session",
            code: "unbuildable".to_owned(),
            source: Box::new(error),
        })?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.short_lived)
            .set_item(Some(item))
            .item("pk", text(session_key(&session.id)))
            .item("ttl", number(session.expires_at.as_second() + KEPT_SECONDS))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match answer {
            // Ids are random: what lies there is our own first attempt, whose answer was lost.
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(PutItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable("create a session")(error)),
            Ok(_) => Ok(()),
        }
    }

    /// A session, if there is one of that id.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.short_lived)
            .key("pk", text(session_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read a session"))?;
        answer.item.map(|item| self.read_session(id, item)).transpose()
    }

    /// Notes how the last attempt of a session that is not connected ended, and why.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn note_session(
        &self,
        id: &str,
        status: SessionStatus,
        reason: &str,
    ) -> Result<(), StoreError> {
        let change = Change::when("attribute_exists(#pk) AND #status <> :connected")
            .value("connected", text(SessionStatus::Connected.as_str()))
            .set("status", text(status.as_str()))
            .set("reason", text(reason));
        self.change_session(id, &change).await.map(drop)
    }

    /// Redeems the completion code of a connected session, once, for `call`, a random text: the session, or nothing if the code is not its own, was
    /// redeemed before, or came too late.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn complete_session(
        &self,
        id: &str,
        completion_hash: &str,
        call: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let change = Change::when(
            "#status = :connected AND #completion_hash = :completion_hash AND #expires_at > :now",
        )
        .value("connected", text(SessionStatus::Connected.as_str()))
        .value("completion_hash", text(completion_hash))
        .value("now", time(now))
        .set("completed_at", time(now))
        .set("completed_by", text(call))
        .remove(&["completion_hash"]);
        if let Some(item) = self.change_session(id, &change).await? {
            return self.read_session(id, item).map(Some);
        }
        // The answer to our own first attempt may have been lost: then it was this call that redeemed it.
        let session = self.session(id).await?;
        Ok(session.filter(|session| session.completed_by.as_deref() == Some(call)))
    }

    async fn change_session(&self, id: &str, change: &Change) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.short_lived)
            .key("pk", text(session_key(id)))
            .update_expression(change.update())
            .set_condition_expression(change.condition())
            .set_expression_attribute_names(Some(change.names()))
            .set_expression_attribute_values(change.values())
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(output.attributes),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(UpdateItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(unavailable("change a session")(error)),
        }
    }

    fn read_session(&self, id: &str, item: Item) -> Result<Session, StoreError> {
        serde_dynamo::from_item(item).map_err(|_| {
            StoreError::Inconsistent(Inconsistency {
                table: self.short_lived.clone(),
                key: session_key(id),
                attribute: "session",
                problem: "malformed",
            })
        })
    }
}
