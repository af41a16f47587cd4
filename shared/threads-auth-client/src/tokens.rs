//! A cache of tokens in front of [`Client::token`].
//!
//! Owns, for each user, the last token, the one fetch in flight, and the doubt about a token that
//! Meta has refused. Refuses a clock: each call is given the time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;

use crate::client::Client;
use crate::error::Error;
use crate::ids::UserId;
use crate::secret::{AccessToken, Digest};
use crate::types::VendedToken;
use crate::words::ErrorCode;

/// After a failure the last token is handed out for so long, unless the service says otherwise.
const PAUSE: Duration = Duration::from_secs(10);

type Answer = Result<Arc<VendedToken>, Error>;
/// `None`: something newer is known.
type Fetch = BoxFuture<'static, Option<Answer>>;

/// Tokens by user. Clones share them.
///
/// A token is handed out as long as it lives for [`min_valid`](Self::min_valid), and the service is
/// asked for it again every [`ask_every`](Self::ask_every). However many callers want a user's
/// token, one request is in flight; it goes on as long as one of them waits. If the service has no
/// answer, a token that lives long enough is handed out all the same.
///
/// ```no_run
/// # use threads_auth_client::{AccessToken, Client, Error, Tokens, UserId};
/// # enum Refusal { Error190, Other }
/// # async fn post(token: &AccessToken) -> Result<(), Refusal> { todo!() }
/// # async fn example(client: Client, user_id: UserId) -> Result<(), Error> {
/// # use jiff::Timestamp;
/// let tokens = Tokens::new(client);
/// let mut token = tokens.get(&user_id, Timestamp::now()).await?;
/// if let Err(Refusal::Error190) = post(&token.access_token).await {
///     token = tokens.refused(&user_id, &token.access_token, Timestamp::now()).await?;
///     let again = post(&token.access_token).await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Tokens {
    client: Client,
    rules: Rules,
    users: Arc<Mutex<Users>>,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    min_valid: Duration,
    ask_every: Duration,
    capacity: usize,
}

impl Tokens {
    /// An empty cache of 10,000 users at most, whose tokens live for an hour at least and are asked
    /// for every hour.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let hour = Duration::from_hours(1);
        let rules = Rules { min_valid: hour, ask_every: hour, capacity: 10_000 };
        Self { client, rules, users: Arc::default() }
    }

    /// The life that a token has to have left. The service takes up to 30 days.
    #[must_use]
    pub fn min_valid(mut self, min_valid: Duration) -> Self {
        self.rules.min_valid = min_valid;
        self
    }

    /// The time after which the service is asked for a token again though it lives: it may have
    /// been replaced, or the account may have ended.
    #[must_use]
    pub fn ask_every(mut self, ask_every: Duration) -> Self {
        self.rules.ask_every = ask_every;
        self
    }

    /// The number of users of whom something is kept. Those who were asked for longest ago make
    /// room for others.
    #[must_use]
    pub fn capacity(mut self, users: usize) -> Self {
        self.rules.capacity = users.max(1);
        self
    }

    /// Returns a token for a user, at the time `now`.
    ///
    /// # Errors
    ///
    /// Those of [`Client::token`]. All callers who wait for the same request get the same error,
    /// and the next one asks again.
    pub async fn get(&self, user_id: &UserId, now: Timestamp) -> Answer {
        self.ask(user_id, None, now).await
    }

    /// Replaces a token that Meta has just refused with its error 190: the service asks Meta, and
    /// nobody gets that token until it has.
    ///
    /// Callers who report a token that was replaced already get its successor without a request.
    ///
    /// # Errors
    ///
    /// Those of [`Client::token`]: [`Error::ReconnectNeeded`] if the token is dead.
    pub async fn refused(&self, user_id: &UserId, token: &AccessToken, now: Timestamp) -> Answer {
        self.ask(user_id, Some(token.digest()), now).await
    }

    /// Forgets a user's token, after an event that says that the account has changed. Also a token
    /// that is being fetched.
    pub fn forget(&self, user_id: &UserId) {
        let mut users = self.lock();
        let number = users.next_number();
        if let Some(user) = users.by_id.get_mut(user_id) {
            // A doubt stays: Meta has refused that token, whatever the event said.
            *user = User { newest: number, doubted: user.doubted, ..User::default() };
        }
    }

    async fn ask(&self, user_id: &UserId, refused: Option<Digest>, now: Timestamp) -> Answer {
        loop {
            let step = self.step(user_id, refused, now);
            match step {
                Step::Have(token) => return Ok(token),
                Step::Wait { fetch, doubted } => match fetch.await {
                    // The doubt was about another token, so nobody has asked Meta about this one.
                    Some(Ok(token))
                        if refused.is_some_and(|refused| token.has(refused)) && doubted != refused => {}
                    Some(answer) => return answer,
                    None => {}
                },
            }
        }
    }

    fn step(&self, user_id: &UserId, refused: Option<Digest>, now: Timestamp) -> Step {
        let mut users = self.lock();
        let number = users.next_number();
        users.make_room(user_id, self.rules.capacity);
        let user = users.by_id.entry(user_id.clone()).or_default();
        user.used = number;
        if let Some(refused) = refused {
            user.held.take_if(|held| held.token.has(refused));
            // A doubt goes on until it is settled, and another one after it.
            if user.held.is_none() {
                user.doubted.get_or_insert(refused);
            }
        }
        if let Some(held) = &user.held
            && held.rests(now)
            && held.lives(now, self.rules.min_valid)
        {
            return Step::Have(Arc::clone(&held.token));
        }
        let flight =
            user.flight.as_ref().filter(|flight| user.doubted.is_none() || flight.doubted == user.doubted);
        if let Some((fetch, doubted)) =
            flight.and_then(|flight| Some((flight.fetch.upgrade()?, flight.doubted)))
        {
            return Step::Wait { fetch, doubted };
        }
        let doubted = user.doubted;
        let fetch = self.fetch(user_id.clone(), doubted, number, now).shared();
        user.newest = number;
        user.flight = fetch.downgrade().map(|fetch| Flight { doubted, fetch });
        Step::Wait { fetch, doubted }
    }

    fn fetch(&self, user_id: UserId, doubted: Option<Digest>, number: u64, now: Timestamp) -> Fetch {
        let tokens = self.clone();
        async move {
            let answer = tokens.client.vend(&user_id, tokens.rules.min_valid, doubted).await.map(Arc::new);
            let mut users = tokens.lock();
            match users.by_id.get_mut(&user_id) {
                Some(user) if user.newest != number => None,
                Some(user) => Some(user.settle(answer, now, tokens.rules)),
                // It made room for others.
                None => Some(answer),
            }
        }
        .boxed()
    }

    fn lock(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Step {
    Have(Arc<VendedToken>),
    Wait {
        fetch: Shared<Fetch>,
        /// The token that Meta is asked about.
        doubted: Option<Digest>,
    },
}

#[derive(Default)]
struct Users {
    by_id: HashMap<UserId, User>,
    /// The last number that was given to a call. Later calls have higher ones.
    number: u64,
}

#[derive(Default)]
struct User {
    held: Option<Held>,
    /// A token that Meta has refused, until the service has said what becomes of it.
    doubted: Option<Digest>,
    flight: Option<Flight>,
    /// The number of the newest fetch. The answer of an older one is not kept.
    newest: u64,
    /// The number of the last call.
    used: u64,
}

struct Held {
    token: Arc<VendedToken>,
    /// From `asked` the service is not asked for so long.
    asked: Timestamp,
    rest: Duration,
}

/// A fetch that some caller still waits for, if it can be upgraded.
struct Flight {
    doubted: Option<Digest>,
    fetch: WeakShared<Fetch>,
}

impl Users {
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Drops an eighth of the users, those who were asked for longest ago, if one more would be too
    /// many.
    fn make_room(&mut self, user_id: &UserId, capacity: usize) {
        if self.by_id.len() >= capacity && !self.by_id.contains_key(user_id) {
            let mut uses: Vec<u64> = self.by_id.values().map(|user| user.used).collect();
            let at = uses.len() / 8;
            let (_, &mut last, _) = uses.select_nth_unstable(at);
            self.by_id.retain(|_, user| user.used > last);
        }
    }
}

impl User {
    /// Keeps the answer to the newest fetch, and says what its callers get.
    fn settle(&mut self, answer: Answer, now: Timestamp, rules: Rules) -> Answer {
        self.flight = None;
        match answer {
            Ok(token) => {
                self.held = Some(Held { token: Arc::clone(&token), asked: now, rest: rules.ask_every });
                self.doubted = None;
                Ok(token)
            }
            Err(error) => match &mut self.held {
                Some(held) if may_go_on(&error) && held.lives(now, rules.min_valid) => {
                    held.asked = now;
                    held.rest = error.retry_after().unwrap_or(PAUSE).min(rules.ask_every);
                    Ok(Arc::clone(&held.token))
                }
                _ => {
                    if matches!(error, Error::ReconnectNeeded(_))
                        || error.code() == Some(&ErrorCode::UnknownUser)
                    {
                        (self.held, self.doubted) = (None, None);
                    }
                    Err(error)
                }
            },
        }
    }
}

/// Returns true if the failure says nothing of the token, so that the last one does.
fn may_go_on(error: &Error) -> bool {
    error.is_passing() && !matches!(error.code(), Some(ErrorCode::Suspected | ErrorCode::Pending))
}

impl VendedToken {
    fn has(&self, digest: Digest) -> bool {
        self.access_token.digest() == digest
    }
}

impl Held {
    fn lives(&self, now: Timestamp, min_valid: Duration) -> bool {
        Duration::try_from(self.token.expires_at.duration_since(now)).is_ok_and(|left| left >= min_valid)
    }

    /// A clock that went back behind `asked` cannot tell, so the service is asked.
    fn rests(&self, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.asked)).is_ok_and(|age| age < self.rest)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.by_id.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
