//! Events: what has become of an account.
//!
//! Owns their form. Refuses no kind and no field of a later version.

use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::ids::UserId;
use crate::words::{AccountStatus, Cause, Deadline, ScopesSource};

/// An event of one account.
///
/// It may come twice, with the same [`id`](Self::id), and late: keep the [`order`](Self::order) of
/// the newest event of each account, and leave what is smaller. Events of one change have the same.
///
/// ```
/// use threads_auth_client::{Change, Event};
///
/// let event = Event::parse(br#"{"version": "1", "id": "5d1f", "type": "account.deleted",
///     "time": "2026-01-01T00:10:00Z", "user_id": "17841405793187218"}"#)?;
/// assert_eq!(event.change, Change::Deleted);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Detail")]
#[non_exhaustive]
pub struct Event {
    /// The same for each delivery of an event, and different from every other's.
    pub id: String,
    /// Time of the change, in whole seconds.
    pub time: Timestamp,
    /// The person's id at Threads for this app.
    pub user_id: UserId,
    /// The app's user to whom the account belongs, if it has one.
    pub reference: Option<String>,
    /// Its place among the events of this account. Events of older versions have none.
    pub order: Option<Order>,
    /// The account after the change. None if it was deleted or cannot be read.
    pub account: Option<EventAccount>,
    /// The change.
    pub change: Change,
}

/// A change of an account.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// A person has connected it. Whose it is, only [`Change::Claimed`] says.
    Connected {
        /// True if it was connected before, and worked.
        reconnected: bool,
        /// The connect session, if it came through one.
        session_id: Option<String>,
    },
    /// It is now that of the app's user [`reference`](Event::reference): they have completed the
    /// session, or the backend has assigned it.
    Claimed,
    /// The token was refreshed.
    Refreshed,
    /// Send the person through a session. [`Change::Recovered`] may follow without them.
    NeedsReauthorization {
        /// The reason why.
        cause: Cause,
    },
    /// It works again.
    Recovered,
    /// The person grants more or less than before.
    ScopesChanged {
        /// The scopes that are no longer granted.
        lost: Vec<String>,
        /// The scopes that are granted now.
        gained: Vec<String>,
    },
    /// It was disconnected, and its tokens are destroyed.
    Disconnected {
        /// By whom: [`Cause::Threads`], [`Cause::App`], [`Cause::Unclaimed`], or unknown.
        by: Option<Cause>,
    },
    /// Everything about the person is erased there: erase what you hold.
    Deleted,
    /// Something of it is about to end.
    ExpiringSoon {
        /// The thing that ends.
        deadline: Deadline,
        /// Fewer days than this are left.
        days: u32,
    },
    /// Its row makes no sense: tell the operator.
    Unreadable,
    /// A kind of a later version.
    Other {
        /// Its name.
        kind: String,
        /// The fields that no event of this version has.
        fields: Map<String, Value>,
    },
}

/// An account as an event has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct EventAccount {
    /// The person's name at Threads.
    pub username: Option<String>,
    /// Its status.
    pub status: AccountStatus,
    /// The scopes that the person has granted.
    pub scopes: Vec<String>,
    /// The source of `scopes`. Events of 0.1.0 do not have it.
    pub scopes_source: Option<ScopesSource>,
    /// The end of the token.
    pub expires_at: Option<Timestamp>,
    /// The end of the app's access to the person's data.
    pub data_access_expires_at: Option<Timestamp>,
}

/// The place of an event among those of its account. Those of two accounts cannot be compared.
///
/// ```
/// use threads_auth_client::Order;
///
/// let order = |digits: &str| Order::try_from(digits.to_owned());
/// assert!(order("100000000000000000000000")? > order("99")?);
/// assert_eq!(order("0099")?, order("99")?);
/// # Ok::<(), threads_auth_client::InvalidOrder>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Order(String);

/// The text is not a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected decimal digits")]
pub struct InvalidOrder;

impl Order {
    /// The digits, for a database. As text they do not sort as they do here: pad them with zeros.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Order {
    type Error = InvalidOrder;

    fn try_from(text: String) -> Result<Self, InvalidOrder> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidOrder);
        }
        let digits = text.trim_start_matches('0');
        Ok(Self(if digits.is_empty() { "0" } else { digits }.to_owned()))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Event {
    /// Reads an event: the body of a webhook, or what a rule of EventBridge hands to its target,
    /// whole or the `detail` alone.
    ///
    /// # Errors
    ///
    /// If it is no event, or lacks what its kind must have.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            detail: Event,
        }
        #[derive(Deserialize)]
        struct Probe {
            #[serde(default)]
            detail: Option<serde::de::IgnoredAny>,
        }
        match serde_json::from_slice::<Probe>(json)?.detail {
            Some(_) => serde_json::from_slice::<Envelope>(json).map(|envelope| envelope.detail),
            None => serde_json::from_slice(json),
        }
    }
}

/// The fields of every kind.
#[derive(Deserialize)]
struct Detail {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    time: Timestamp,
    user_id: UserId,
    reference: Option<String>,
    order: Option<Order>,
    account: Option<EventAccount>,
    reconnected: Option<bool>,
    session_id: Option<String>,
    cause: Option<Cause>,
    lost: Option<Vec<String>>,
    gained: Option<Vec<String>>,
    by: Option<Cause>,
    deadline: Option<Deadline>,
    days: Option<u32>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// A field that this kind must have is missing.
#[derive(Debug, thiserror::Error)]
#[error("the event lacks `{0}`")]
struct Lacks(&'static str);

impl TryFrom<Detail> for Event {
    type Error = Lacks;

    fn try_from(detail: Detail) -> Result<Self, Lacks> {
        let change = match detail.kind.as_str() {
            "account.connected" => Change::Connected {
                reconnected: detail.reconnected.ok_or(Lacks("reconnected"))?,
                session_id: detail.session_id,
            },
            "account.claimed" if detail.reference.is_none() => return Err(Lacks("reference")),
            "account.claimed" => Change::Claimed,
            "account.refreshed" => Change::Refreshed,
            "account.needs_reauthorization" => {
                Change::NeedsReauthorization { cause: detail.cause.ok_or(Lacks("cause"))? }
            }
            "account.recovered" => Change::Recovered,
            "account.scopes_changed" => Change::ScopesChanged {
                lost: detail.lost.ok_or(Lacks("lost"))?,
                gained: detail.gained.ok_or(Lacks("gained"))?,
            },
            "account.disconnected" => Change::Disconnected { by: detail.by },
            "account.deleted" => Change::Deleted,
            "account.expiring_soon" => Change::ExpiringSoon {
                deadline: detail.deadline.ok_or(Lacks("deadline"))?,
                days: detail.days.ok_or(Lacks("days"))?,
            },
            "account.unreadable" => Change::Unreadable,
            _ => Change::Other { kind: detail.kind, fields: detail.fields },
        };
        Ok(Self {
            id: detail.id,
            time: detail.time,
            user_id: detail.user_id,
            reference: detail.reference,
            order: detail.order,
            account: detail.account,
            change,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, more: &Value) -> Value {
        let mut event = json!({"version": "1", "id": "an-id", "type": kind, "time": "2026-01-01T00:10:00Z",
            "user_id": "17841405793187218"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    }

    #[test]
    fn each_kind_is_read_with_its_fields_and_not_without() {
        let cases = [
            ("account.refreshed", json!({}), Change::Refreshed),
            ("account.recovered", json!({}), Change::Recovered),
            ("account.deleted", json!({}), Change::Deleted),
            ("account.unreadable", json!({}), Change::Unreadable),
            ("account.claimed", json!({"reference": "user-7"}), Change::Claimed),
            (
                "account.connected",
                json!({"reconnected": false}),
                Change::Connected { reconnected: false, session_id: None },
            ),
            (
                "account.needs_reauthorization",
                json!({"cause": "of_a_later_version"}),
                Change::NeedsReauthorization { cause: Cause::Other("of_a_later_version".to_owned()) },
            ),
            (
                "account.scopes_changed",
                json!({"lost": ["threads_delete"], "gained": []}),
                Change::ScopesChanged { lost: vec!["threads_delete".to_owned()], gained: Vec::new() },
            ),
            ("account.disconnected", json!({"by": null}), Change::Disconnected { by: None }),
            ("account.disconnected", json!({"by": "app"}), Change::Disconnected { by: Some(Cause::App) }),
            (
                "account.expiring_soon",
                json!({"deadline": "claim", "days": 1}),
                Change::ExpiringSoon { deadline: Deadline::Claim, days: 1 },
            ),
            (
                "account.of_a_later_version",
                json!({"more": [1]}),
                Change::Other {
                    kind: "account.of_a_later_version".to_owned(),
                    fields: Map::from_iter([
                        ("version".to_owned(), json!("1")),
                        ("more".to_owned(), json!([1])),
                    ]),
                },
            ),
        ];
        for (kind, more, expected) in cases {
            let detail = event(kind, &more);
            let read = Event::parse(detail.to_string().as_bytes()).unwrap();
            assert_eq!(read.change, expected);
            let envelope =
                json!({"version": "0", "detail-type": kind, "source": "threads-auth", "detail": detail});
            assert_eq!(Event::parse(envelope.to_string().as_bytes()).unwrap(), read);
            let must_have = !matches!(kind, "account.disconnected" | "account.of_a_later_version");
            for field in more.as_object().unwrap().keys().filter(|_| must_have) {
                let mut least = detail.clone();
                least.as_object_mut().unwrap().remove(field);
                let error = Event::parse(least.to_string().as_bytes()).unwrap_err();
                assert!(error.to_string().contains(&format!("the event lacks `{field}`")), "{error}");
            }
        }
        for junk in ["", "[]", "{}", "null", "{\"detail\": {}}", "{\"detail\": 1}"] {
            assert!(Event::parse(junk.as_bytes()).is_err(), "{junk}");
        }
    }

    #[test]
    fn events_of_an_account_have_an_order() {
        let order = |text: &str| Order::try_from(text.to_owned());
        let sorted = ["0", "1", "9", "10", "99", "100000000000000000000001", "100000000000000000000002"];
        for pair in sorted.windows(2) {
            assert!(order(pair[0]).unwrap() < order(pair[1]).unwrap(), "{pair:?}");
        }
        assert_eq!(order("000").unwrap(), order("0").unwrap());
        for text in ["", "-1", "1.5", "0x1", "١", " 1"] {
            assert_eq!(order(text), Err(InvalidOrder), "{text}");
        }
        let placed = event("account.refreshed", &json!({"order": "0012", "reference": "user-7"}));
        let placed: Event = serde_json::from_value(placed).unwrap();
        assert_eq!((placed.order.unwrap().as_str(), placed.reference.as_deref()), ("12", Some("user-7")));
    }
}
