//! A grant: what we hold for one Threads user, and how it lies in its row.
//!
//! Owns the meaning of each attribute of the grants table. Refuses a row that does not make sense: the error names table, key
//! and attribute, so that one broken row is found and never mistaken for something else.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use threads_graph::{ReauthorizationCause, Scopes, UserId};

/// A DynamoDB item.
pub type Item = HashMap<String, AttributeValue>;

/// What we hold for one Threads user.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose it is.
    pub user_id: UserId,
    /// The generation: every connect makes a new one, so that a late writer of an old one is refused.
    pub grant_id: String,
    /// Whether the token can be used and refreshed.
    pub status: Status,
    /// The long-lived token. Absent only while the first connect is pending, and after revocation.
    pub token: Option<SealedToken>,
    /// The token that the current one replaced, sealed.
    pub previous_token: Option<Vec<u8>>,
    /// A short-lived token of a connect whose second exchange failed.
    pub pending: Option<PendingToken>,
    /// What the person granted.
    pub scopes: Scopes,
    /// When the next sweep should look at it; none when there is nothing to refresh.
    pub due_at: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// When the user first connected.
    pub created_at: Timestamp,
    /// When the row last changed in substance.
    pub updated_at: Timestamp,
    /// When the token was last refreshed.
    pub refreshed_at: Option<Timestamp>,
}

/// A long-lived token as it is stored.
#[derive(Clone)]
pub struct SealedToken {
    /// Sealed for [`Purpose::AccessToken`](crate::seal::Purpose::AccessToken).
    pub sealed: Vec<u8>,
    /// When Meta issued it.
    pub issued_at: Timestamp,
    /// When it expires, from Meta's `expires_in`.
    pub expires_at: Timestamp,
}

/// A short-lived token as it is stored.
#[derive(Clone)]
pub struct PendingToken {
    /// Sealed for [`Purpose::PendingToken`](crate::seal::Purpose::PendingToken).
    pub sealed: Vec<u8>,
    /// What the person granted with it.
    pub scopes: Scopes,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedToken({} to {})", self.issued_at, self.expires_at)
    }
}

impl fmt::Debug for PendingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingToken(to {})", self.expires_at)
    }
}

/// Whether a grant can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The person consented, and the long-lived token is still to come.
    Pending,
    /// There is a token, and it is kept alive.
    Active,
    /// The token is dead; only the person can bring it back.
    NeedsReauthorization(Cause),
    /// The person or the app ended it.
    Revoked,
}

/// Why a grant needs the person again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What Meta said of the token.
    Threads(ReauthorizationCause),
    /// The connect was never completed: the short-lived token expired first.
    NotCompleted,
}

impl Status {
    /// The name in the table, in logs and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::NeedsReauthorization(_) => "needs_reauthorization",
            Self::Revoked => "revoked",
        }
    }

    /// The cause, where there is one.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::NeedsReauthorization(cause) => Some(cause),
            Self::Pending | Self::Active | Self::Revoked => None,
        }
    }
}

impl Cause {
    /// The name in the table, in logs and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threads(cause) => cause.as_str(),
            Self::NotCompleted => "not_completed",
        }
    }
}

impl FromStr for Cause {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "not_completed" => Ok(Self::NotCompleted),
            _ => text.parse().map(Self::Threads).map_err(|_| ()),
        }
    }
}

/// A row that does not make sense.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("table {table}, key {key}: attribute {attribute} is {problem}")]
pub struct Inconsistency {
    /// The table.
    pub table: String,
    /// The row's `pk`.
    pub key: String,
    /// The attribute.
    pub attribute: &'static str,
    /// `missing` or `malformed`.
    pub problem: &'static str,
}

/// A row of the grants table, as it came.
pub struct GrantRow<'a> {
    /// The table, for error messages.
    pub table: &'a str,
    /// The attributes.
    pub item: Item,
}

/// The key of a user's row.
#[must_use]
pub fn row_key(user_id: &UserId) -> String {
    format!("user#{user_id}")
}

impl TryFrom<GrantRow<'_>> for Grant {
    type Error = Inconsistency;

    fn try_from(mut row: GrantRow<'_>) -> Result<Self, Inconsistency> {
        let user_id = row.required("user_id")?;
        let status = row.required::<String>("status")?;
        let status = match status.as_str() {
            "pending" => Status::Pending,
            "active" => Status::Active,
            "needs_reauthorization" => Status::NeedsReauthorization(row.required_parsed("cause")?),
            "revoked" => Status::Revoked,
            _ => return Err(row.inconsistency("status", "malformed")),
        };
        let token = match row.bytes("token")? {
            None => None,
            Some(sealed) => Some(SealedToken {
                sealed,
                issued_at: row
                    .time("issued_at")?
                    .ok_or_else(|| row.inconsistency("issued_at", "missing"))?,
                expires_at: row
                    .time("expires_at")?
                    .ok_or_else(|| row.inconsistency("expires_at", "missing"))?,
            }),
        };
        if token.is_none() && status == Status::Active {
            return Err(row.inconsistency("token", "missing"));
        }
        let pending = match row.bytes("pending_token")? {
            None => None,
            Some(sealed) => Some(PendingToken {
                sealed,
                scopes: row.required_parsed("pending_scopes")?,
                expires_at: row
                    .time("pending_expires_at")?
                    .ok_or_else(|| row.inconsistency("pending_expires_at", "missing"))?,
            }),
        };
        Ok(Self {
            user_id,
            grant_id: row.required("grant_id")?,
            status,
            token,
            previous_token: row.bytes("previous_token")?,
            pending,
            scopes: row.required_parsed("scopes")?,
            due_at: row.time("due_at")?,
            failures: row.optional("failures")?.unwrap_or(0),
            last_error: row.optional("last_error")?,
            username: row.optional("username")?,
            created_at: row
                .time("created_at")?
                .ok_or_else(|| row.inconsistency("created_at", "missing"))?,
            updated_at: row
                .time("updated_at")?
                .ok_or_else(|| row.inconsistency("updated_at", "missing"))?,
            refreshed_at: row.time("refreshed_at")?,
        })
    }
}

impl GrantRow<'_> {
    fn inconsistency(&self, attribute: &'static str, problem: &'static str) -> Inconsistency {
        let key = match self.item.get("pk") {
            Some(AttributeValue::S(key)) => key.clone(),
            _ => "unknown".to_owned(),
        };
        Inconsistency {
            table: self.table.to_owned(),
            key,
            attribute,
            problem,
        }
    }

    fn optional<T: DeserializeOwned>(&mut self, attribute: &'static str) -> Result<Option<T>, Inconsistency> {
        self.item
            .remove(attribute)
            .map(serde_dynamo::from_attribute_value)
            .transpose()
            .map_err(|_| self.inconsistency(attribute, "malformed"))
    }

    fn required<T: DeserializeOwned>(&mut self, attribute: &'static str) -> Result<T, Inconsistency> {
        self.optional(attribute)?
            .ok_or_else(|| self.inconsistency(attribute, "missing"))
    }

    fn required_parsed<T: FromStr>(&mut self, attribute: &'static str) -> Result<T, Inconsistency> {
        self.required::<String>(attribute)?
            .parse()
            .map_err(|_| self.inconsistency(attribute, "malformed"))
    }

    fn bytes(&mut self, attribute: &'static str) -> Result<Option<Vec<u8>>, Inconsistency> {
        match self.item.remove(attribute) {
            None => Ok(None),
            Some(AttributeValue::B(blob)) => Ok(Some(blob.into_inner())),
            Some(_) => Err(self.inconsistency(attribute, "malformed")),
        }
    }

    fn time(&mut self, attribute: &'static str) -> Result<Option<Timestamp>, Inconsistency> {
        self.optional::<i64>(attribute)?
            .map(|second| {
                Timestamp::from_second(second).map_err(|_| self.inconsistency(attribute, "malformed"))
            })
            .transpose()
    }
}
