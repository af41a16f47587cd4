//! DynamoDB's idempotency: a transaction with a client token is made once within ten minutes.
//! The emulator has it too, but scans all tokens of these minutes for each transaction: an import
//! of a hundred thousand accounts spends most of its time there.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use dynoxide::actions::transact_write_items::{TransactWriteItemsRequest, TransactWriteItemsResponse};
use dynoxide::{Database, DynoxideError};

const WINDOW: Duration = Duration::from_mins(10);

/// DynamoDB's own limit. The emulator refuses longer tokens.
const LONGEST_TOKEN: usize = 36;

/// The transactions of the last ten minutes, by their client tokens.
#[derive(Default)]
pub(crate) struct Transactions(Mutex<Made>);

#[derive(Default)]
struct Made {
    by_token: HashMap<String, Transaction>,
    /// The tokens in the order of their transactions.
    order: VecDeque<(Instant, String)>,
}

struct Transaction {
    asked: u64,
    answer: TransactWriteItemsResponse,
}

impl Transactions {
    /// Makes the transaction of a request, or returns the response that its token has got before.
    pub(crate) fn make(
        &self,
        database: &Database,
        mut request: TransactWriteItemsRequest,
        body: &Bytes,
        now: Instant,
    ) -> Result<TransactWriteItemsResponse, DynoxideError> {
        let token = request.client_request_token.take_if(|token| token.len() <= LONGEST_TOKEN);
        let Some(token) = token else { return database.transact_write_items(request) };
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let asked = hasher.finish();
        // The lock is held, so that no concurrent request makes the same transaction.
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while made.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            if let Some((_, old)) = made.order.pop_front() {
                made.by_token.remove(&old);
            }
        }
        match made.by_token.get(&token) {
            Some(known) if known.asked == asked => return Ok(known.answer.clone()),
            Some(_) => {
                return Err(DynoxideError::IdempotentParameterMismatchException(
                    "the token was used for another transaction".to_owned(),
                ));
            }
            None => {}
        }
        let answer = database.transact_write_items(request)?;
        made.order.push_back((now, token.clone()));
        made.by_token.insert(token, Transaction { asked, answer: answer.clone() });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Adds to a number in a transaction with this token, and returns the error's name.
    fn add(
        made: &Transactions,
        database: &Database,
        token: &str,
        number: u32,
        now: Instant,
    ) -> Option<String> {
        let update = json!({
            "TableName": "numbers", "Key": {"pk": {"S": "one"}}, "UpdateExpression": "ADD n :n",
            "ExpressionAttributeValues": {":n": {"N": number.to_string()}},
        });
        let asked = json!({"TransactItems": [{"Update": update}], "ClientRequestToken": token});
        let body = Bytes::from(asked.to_string());
        let request = serde_json::from_value(asked).unwrap();
        made.make(database, request, &body, now).err().map(|error| error.to_json())
    }

    fn number(database: &Database) -> String {
        let asked = json!({"TableName": "numbers", "Key": {"pk": {"S": "one"}}});
        let found = database.get_item(serde_json::from_value(asked).unwrap()).unwrap();
        let found: Value = serde_json::to_value(found).unwrap();
        found["Item"]["n"]["N"].as_str().unwrap_or("none").to_owned()
    }

    #[test]
    fn a_transaction_is_made_once_in_ten_minutes() {
        let (made, database) = (Transactions::default(), Database::memory().unwrap());
        let table = json!({
            "TableName": "numbers", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        });
        database.create_table(serde_json::from_value(table).unwrap()).unwrap();
        let start = Instant::now();
        let at = |minutes| start + Duration::from_mins(minutes);
        assert_eq!(add(&made, &database, "a", 1, at(0)), None);
        assert_eq!(add(&made, &database, "a", 1, at(9)), None);
        assert_eq!(number(&database), "1");
        assert_eq!(add(&made, &database, "b", 1, at(9)), None);
        assert_eq!(number(&database), "2");
        // With another number it is another transaction.
        let refused = add(&made, &database, "a", 5, at(9)).unwrap();
        assert!(refused.contains("IdempotentParameterMismatchException"), "{refused}");
        assert_eq!(add(&made, &database, "a", 5, at(10)), None);
        assert_eq!(number(&database), "7");
        // One that failed is made again, and a token that is too long is refused.
        assert!(add(&made, &database, &"c".repeat(37), 1, at(10)).is_some());
        assert_eq!(number(&database), "7");
    }
}
