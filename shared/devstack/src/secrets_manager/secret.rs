//! One secret: its versions, and the rules by which AWS moves their labels.
//!
//! The rules are those of the API reference's pages of `PutSecretValue`, `UpdateSecretVersionStage`
//! and `DeleteSecret`. It has no clock, and knows no other secret.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The label of the default version.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The label of the version that was [`CURRENT`] before.
const PREVIOUS: &str = "AWSPREVIOUS";

/// The number of newest versions that are kept, besides all of the last day.
const VERSIONS: usize = 100;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The default recovery window, in days.
pub(super) const LONGEST_RECOVERY: i64 = 30;

threads_graph::names! {
    /// The `__type` of an error.
    pub(super) enum Kind {
        /// A secret of this name, or a version of this token, exists already.
        Exists => "ResourceExistsException",
        /// The secret or the version does not exist.
        NotFound => "ResourceNotFoundException",
        /// The request is invalid in the secret's state.
        InvalidRequest => "InvalidRequestException",
        /// A parameter is invalid, or conflicts with another.
        InvalidParameter => "InvalidParameterException",
        /// A parameter violates its constraint.
        Validation => "ValidationException",
        /// The body cannot be parsed.
        Serialization => "SerializationException",
        /// The operation is not implemented here.
        UnknownOperation => "UnknownOperationException",
        /// The fault is ours.
        Internal => "InternalServiceError",
    }
}

impl Kind {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The error of a request. Its message contains names and ids, never a value.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) kind: Kind,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The content of a version: text or bytes, exactly one of which is in a request.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) secret_string: Option<String>,
    /// In hexadecimal, as in files of earlier versions.
    pub(super) secret_binary: Option<String>,
}

/// A version, whose id is the token of the request that created it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Version {
    #[serde(flatten)]
    pub(super) content: Content,
    pub(super) created_date: Timestamp,
    #[serde(default, rename = "version_stages")]
    pub(super) labels: Vec<String>,
}

/// A secret, as in the file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) arn: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) created_date: Timestamp,
    pub(super) last_changed_date: Timestamp,
    #[serde(default)]
    pub(super) versions: BTreeMap<String, Version>,
    /// The time of the request that deleted it.
    pub(super) deleted_date: Option<Timestamp>,
    #[serde(default = "longest_recovery")]
    pub(super) recovery_window_in_days: i64,
}

fn longest_recovery() -> i64 {
    LONGEST_RECOVERY
}

impl Secret {
    /// Returns the time of its final deletion, if it is scheduled.
    pub(super) fn gone_at(&self) -> Option<Timestamp> {
        let window = SignedDuration::from_hours(24 * self.recovery_window_in_days);
        self.deleted_date.map(|at| at.checked_add(window).unwrap_or(Timestamp::MAX))
    }

    /// Returns the version that has a label.
    pub(super) fn holder(&self, label: &str) -> Option<&str> {
        let has = |version: &Version| version.labels.iter().any(|stage| stage == label);
        self.versions.iter().find(|(_, version)| has(version)).map(|(id, _)| id.as_str())
    }

    /// Adds the version `id`. The same content under the same id is accepted again, other content
    /// is refused.
    pub(super) fn put(
        &mut self,
        id: &str,
        content: Content,
        labels: &[String],
        now: Timestamp,
    ) -> Result<(), Refused> {
        if let Some(version) = self.versions.get(id) {
            let taken = format!("the token {id} has made a version of other content already");
            return if version.content == content { Ok(()) } else { Err(Refused::new(Kind::Exists, taken)) };
        }
        let is_first = self.versions.is_empty();
        let version = Version { content, created_date: now, labels: Vec::new() };
        self.versions.insert(id.to_owned(), version);
        for label in labels {
            self.attach(label, id);
        }
        if is_first {
            self.attach(CURRENT, id);
        }
        self.last_changed_date = now;
        self.forget(now);
        Ok(())
    }

    /// Moves or removes a label. An attached label is detached only if the request names its
    /// version.
    pub(super) fn move_label(
        &mut self,
        label: &str,
        from: Option<&str>,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        for id in [from, to].into_iter().flatten() {
            if !self.versions.contains_key(id) {
                return Err(Refused::new(Kind::NotFound, format!("there is no version {id}")));
            }
        }
        let refused = |message: String| Err(Refused::new(Kind::InvalidParameter, message));
        let holder = self.holder(label);
        match (from, to) {
            (None, None) => return refused("RemoveFromVersionId or MoveToVersionId is needed".to_owned()),
            (Some(from), _) if holder != Some(from) => {
                return refused(format!("the label {label} is not attached to the version {from}"));
            }
            (None, Some(to)) if holder.is_some_and(|holder| holder != to) => {
                return refused(format!(
                    "the label {label} is attached to another version, which RemoveFromVersionId has to name"
                ));
            }
            (Some(_), None) if label == CURRENT => {
                return refused(format!("the label {CURRENT} can be moved, and not removed"));
            }
            (Some(_), None) => self.detach(label),
            (_, Some(to)) => self.attach(label, to),
        }
        self.last_changed_date = now;
        self.forget(now);
        Ok(())
    }

    /// Attaches a label to a version, wherever it was. `AWSPREVIOUS` moves to where `AWSCURRENT`
    /// was.
    fn attach(&mut self, label: &str, to: &str) {
        let from = self.holder(label).map(str::to_owned);
        if from.as_deref() == Some(to) {
            return;
        }
        self.detach(label);
        if let Some(version) = self.versions.get_mut(to) {
            version.labels.push(label.to_owned());
        }
        if let Some(from) = from.filter(|_| label == CURRENT) {
            self.attach(PREVIOUS, &from);
        }
    }

    fn detach(&mut self, label: &str) {
        for version in self.versions.values_mut() {
            version.labels.retain(|stage| stage != label);
        }
    }

    /// Removes versions without a label that are neither among the newest nor of the last day.
    fn forget(&mut self, now: Timestamp) {
        let mut newest: Vec<_> =
            self.versions.iter().map(|(id, version)| (version.created_date, id.clone())).collect();
        newest.sort_by(|one, other| other.cmp(one));
        for (made_at, id) in newest.into_iter().skip(VERSIONS) {
            let is_old = now.duration_since(made_at) > DAY;
            if is_old && self.versions.get(&id).is_some_and(|version| version.labels.is_empty()) {
                self.versions.remove(&id);
            }
        }
    }
}
