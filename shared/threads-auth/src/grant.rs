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
use serde::{Deserialize, Serialize};
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
    /// Whether `expires_at` is only assumed: then Meta has to say that the token is dead.
    pub expiry_assumed: bool,
    /// Until when whoever refreshes it may take; it can be over.
    pub leased_until: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// When the app loses access to the person's data, whatever its token's age, if Meta told it.
    pub data_access_expires_at: Option<Timestamp>,
    /// The last warning that the access is about to end.
    pub warning: Option<Warning>,
    /// Who ended a revoked grant.
    pub revoked_by: Option<RevokedBy>,
    /// When the user first connected.
    pub created_at: Timestamp,
    /// When the person last consented.
    pub connected_at: Timestamp,
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
    /// The token may live, but Meta no longer gives it the person's data: 90 days after consent, for a private profile.
    DataAccessExpired,
}

/// Who ended a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBy {
    /// The person removed the app at Threads, and Meta said so.
    Threads,
    /// The app's backend disconnected the account.
    App,
}

/// Which of a grant's two clocks a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deadline {
    /// The token's expiry, which a refresh moves.
    Token,
    /// The end of data access, which perhaps only the person moves.
    DataAccess,
}

/// A warning that was given once: this deadline is so many days away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is about to end.
    pub of: Deadline,
    /// 14 or 3: fewer days than this are left.
    pub days: u8,
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
            Self::DataAccessExpired => "data_access_expired",
        }
    }
}

impl RevokedBy {
    /// The name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::App => "app",
        }
    }
}

impl Deadline {
    /// The name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::DataAccess => "data_access",
        }
    }
}

impl FromStr for Cause {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "not_completed" => Ok(Self::NotCompleted),
            "data_access_expired" => Ok(Self::DataAccessExpired),
            _ => text.parse().map(Self::Threads).map_err(|_| ()),
        }
    }
}

/// A grant as it is shown to the app's people and programs: everything but the tokens.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Whose it is.
    pub user_id: UserId,
    /// The profile's username, if Meta told it.
    pub username: Option<String>,
    /// [`Status::as_str`].
    pub status: &'static str,
    /// Why it needs the person again, or who revoked it.
    pub cause: Option<&'static str>,
    /// What the person granted.
    pub scopes: Scopes,
    /// When Meta issued the token.
    pub issued_at: Option<Timestamp>,
    /// When the token expires.
    pub expires_at: Option<Timestamp>,
    /// When the app loses access to the person's data, if Meta told it.
    pub data_access_expires_at: Option<Timestamp>,
    /// When the next sweep looks at it.
    pub due_at: Option<Timestamp>,
    /// When the token was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When the person last consented.
    pub connected_at: Timestamp,
    /// When the person first consented.
    pub created_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// Whether a consent waits for its long-lived token.
    pub pending: bool,
}

impl From<Grant> for Summary {
    fn from(grant: Grant) -> Self {
        let cause = grant.status.cause().map(Cause::as_str);
        Self {
            cause: cause.or(grant.revoked_by.map(RevokedBy::as_str)),
            user_id: grant.user_id,
            username: grant.username,
            status: grant.status.as_str(),
            scopes: grant.scopes,
            issued_at: grant.token.as_ref().map(|token| token.issued_at),
            expires_at: grant.token.as_ref().map(|token| token.expires_at),
            data_access_expires_at: grant.data_access_expires_at,
            due_at: grant.due_at,
            refreshed_at: grant.refreshed_at,
            connected_at: grant.connected_at,
            created_at: grant.created_at,
            failures: grant.failures,
            last_error: grant.last_error,
            pending: grant.pending.is_some(),
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
                scopes: row.granted("pending_scopes")?,
                expires_at: row
                    .time("pending_expires_at")?
                    .ok_or_else(|| row.inconsistency("pending_expires_at", "missing"))?,
            }),
        };
        let warning = match (row.optional("warned_of")?, row.optional("warned_days")?) {
            (Some(of), Some(days)) => Some(Warning { of, days }),
            _ => None,
        };
        let created_at = row
            .time("created_at")?
            .ok_or_else(|| row.inconsistency("created_at", "missing"))?;
        Ok(Self {
            user_id,
            grant_id: row.required("grant_id")?,
            status,
            token,
            previous_token: row.bytes("previous_token")?,
            pending,
            scopes: row.granted("scopes")?,
            due_at: row.time("due_at")?,
            expiry_assumed: row.optional::<u8>("expiry_assumed")?.is_some(),
            leased_until: row.time("lease_until")?,
            failures: row.optional("failures")?.unwrap_or(0),
            last_error: row.optional("last_error")?,
            username: row.optional("username")?,
            data_access_expires_at: row.time("data_access_expires_at")?,
            warning,
            revoked_by: row.optional("revoked_by")?,
            created_at,
            connected_at: row.time("connected_at")?.unwrap_or(created_at),
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

    /// Exactly what is written: to parse scopes as a request would add the basic one.
    fn granted(&mut self, attribute: &'static str) -> Result<Scopes, Inconsistency> {
        let text = self.required::<String>(attribute)?;
        let words = text.split(',').filter(|word| !word.is_empty());
        words
            .map(|word| {
                word.parse::<threads_graph::Scope>()
                    .map_err(|_| self.inconsistency(attribute, "malformed"))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|scopes| scopes.into_iter().collect())
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
