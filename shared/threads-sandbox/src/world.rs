//! The sandbox's memory and the rules of tokens: the accounts, the issued tokens, and their ends.
//!
//! Independent of HTTP. Every method takes the time as an argument. Tokens and codes are kept by
//! their hashes.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountStatus};
use crate::clock::later;
use crate::mint;
use crate::options::NewAccount;
use crate::switches::{OldToken, Switches};

/// A code's life. (The 5 to 10 minutes of older guides are out of date.)
const CODE_LIFE: Duration = Duration::from_hours(1);
/// A short-lived token's life.
const SHORT_LIFE: Duration = Duration::from_hours(1);
/// A long-lived token's life as Meta's own sample shows it: 16 seconds under 60 days, which catches
/// a client that assumes a constant.
const LONG_LIFE: Duration = Duration::from_secs(5_183_944);
/// The age from which a long-lived token may be refreshed.
const REFRESH_AGE: Duration = Duration::from_hours(24);
/// The scopes of a grant without requested scopes.
pub(crate) const BASIC_SCOPE: &str = "threads_basic";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenKind {
    Short,
    Long,
}

/// The record of an issued access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) user_id: String,
    /// Comma separated.
    pub(crate) scope: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    generation: usize,
    /// A refresh took its place.
    superseded: bool,
}

/// A long-lived token that is issued for another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) text: String,
    pub(crate) expires_at: Timestamp,
    /// The end of the other one.
    pub(crate) given_expires_at: Timestamp,
}

/// The record of an authorization code until it is spent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Code {
    user_id: String,
    scope: String,
    redirect_uri: String,
    expires_at: Timestamp,
    generation: usize,
}

/// The reason why a token does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// Never issued here.
    Unknown,
    /// Expired at the given time.
    Expired(Timestamp),
    /// The person or Meta ended the grant.
    Ended(AccountStatus),
    /// A refresh took its place.
    Superseded,
    /// The 90 days of a private profile's grant have passed.
    DataAccessExpired,
    /// A short-lived token where a long-lived one is needed, or the other way round.
    WrongKind,
    /// Not yet 24 hours old.
    TooYoung,
}

/// The reason why a code is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeFault {
    /// Unknown, spent, expired, or its grant has ended: Meta does not distinguish them.
    NotFound,
    /// Requested with another redirect URI.
    RedirectMismatch,
}

/// Accounts, codes and tokens. Serializable as a whole: this is the state file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct World {
    accounts: HashMap<String, Account>,
    codes: HashMap<String, Code>,
    tokens: HashMap<String, Token>,
    #[serde(flatten)]
    switches: Switches,
    /// Something changed since the state was last saved.
    #[serde(skip)]
    changed: bool,
    /// User ids by name; rebuilt on load.
    #[serde(skip)]
    names: HashMap<String, String>,
}

impl World {
    /// Makes a loaded world ready: rebuilds what is not saved, and drops codes that have expired.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        self.names = self
            .accounts
            .values()
            .map(|account| (account.username.clone(), account.user_id.clone()))
            .collect();
        self.codes.retain(|_, code| code.expires_at > now);
    }

    /// Returns true if something changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The account with that id (or, without an id, that name), created if absent, and true if it
    /// was created.
    pub(crate) fn ensure_account(&mut self, new: NewAccount) -> (Account, bool) {
        let known = match &new.user_id {
            Some(user_id) => self.accounts.get(user_id),
            None => self.names.get(&new.username).and_then(|user_id| self.accounts.get(user_id)),
        };
        if let Some(account) = known {
            return (account.clone(), false);
        }
        let user_id = new.user_id.unwrap_or_else(|| {
            let mut user_id = mint::user_id();
            while self.accounts.contains_key(&user_id) {
                user_id = mint::user_id();
            }
            user_id
        });
        let mut account = Account::new(user_id.clone(), new.username.clone(), new.private);
        account.tester = new.tester;
        self.names.insert(new.username, user_id.clone());
        self.accounts.insert(user_id, account.clone());
        self.changed = true;
        (account, true)
    }

    pub(crate) fn account(&self, user_id: &str) -> Option<&Account> {
        self.accounts.get(user_id)
    }

    /// All accounts by name.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        let mut accounts: Vec<Account> = self.accounts.values().cloned().collect();
        accounts.sort_by(|a, b| (&a.username, &a.user_id).cmp(&(&b.username, &b.user_id)));
        accounts
    }

    /// Changes an account, and returns the result; `None` when there is no such account.
    pub(crate) fn change(&mut self, user_id: &str, change: impl FnOnce(&mut Account)) -> Option<Account> {
        let account = self.accounts.get_mut(user_id)?;
        change(account);
        self.changed = true;
        Some(account.clone())
    }

    pub(crate) fn switches(&self) -> &Switches {
        &self.switches
    }

    /// The switches, to be changed.
    pub(crate) fn switches_mut(&mut self) -> &mut Switches {
        self.changed = true;
        &mut self.switches
    }

    /// The number of tokens, and that of unspent codes.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.tokens.len(), self.codes.len())
    }

    /// The user id of a token or code, whether or not it still works.
    pub(crate) fn owner(&self, credential: &str) -> Option<&str> {
        let hash = mint::hash(credential);
        self.tokens
            .get(&hash)
            .map(|token| &*token.user_id)
            .or_else(|| self.codes.get(&hash).map(|code| &*code.user_id))
    }

    /// The person presses Allow. `None` when there is no such account.
    pub(crate) fn authorize(
        &mut self,
        now: Timestamp,
        user_id: &str,
        redirect_uri: &str,
        scope: &str,
    ) -> Option<String> {
        let generation = self.change(user_id, |account| account.authorize(now))?.generation();
        let code = mint::code();
        self.codes.insert(
            mint::hash(&code),
            Code {
                user_id: user_id.to_owned(),
                scope: scope.to_owned(),
                redirect_uri: redirect_uri.to_owned(),
                expires_at: later(now, CODE_LIFE),
                generation,
            },
        );
        Some(code)
    }

    /// Spends a code for a short-lived token. A wrong redirect URI does not spend it.
    pub(crate) fn redeem(
        &mut self,
        now: Timestamp,
        code: &str,
        redirect_uri: &str,
    ) -> Result<(String, String), CodeFault> {
        let hash = mint::hash(code);
        let found = self.codes.get(&hash).ok_or(CodeFault::NotFound)?;
        let alive = self
            .accounts
            .get(&found.user_id)
            .is_some_and(|account| account.grant_status(found.generation).keeps_tokens());
        if !alive || found.expires_at <= now {
            return Err(CodeFault::NotFound);
        }
        if found.redirect_uri != redirect_uri {
            return Err(CodeFault::RedirectMismatch);
        }
        let Some(spent) = self.codes.remove(&hash) else {
            return Err(CodeFault::NotFound);
        };
        let user_id = spent.user_id.clone();
        let token = Token {
            kind: TokenKind::Short,
            user_id: spent.user_id,
            scope: spent.scope,
            issued_at: now,
            expires_at: later(now, SHORT_LIFE),
            generation: spent.generation,
            superseded: false,
        };
        Ok((self.issue(token), user_id))
    }

    /// A long-lived token for an account, as if it had been connected elsewhere. `None` when there
    /// is no such account.
    pub(crate) fn issue_long_lived(&mut self, now: Timestamp, user_id: &str, scope: &str) -> Option<String> {
        let generation = self.change(user_id, |account| account.authorize(now))?.generation();
        Some(self.issue(Token {
            kind: TokenKind::Long,
            user_id: user_id.to_owned(),
            scope: scope.to_owned(),
            issued_at: now,
            expires_at: later(now, LONG_LIFE),
            generation,
            superseded: false,
        }))
    }

    /// The person takes one permission back: every token loses it. Returns false if there is no
    /// such account.
    pub(crate) fn withdraw(&mut self, user_id: &str, scope: &str) -> bool {
        if !self.accounts.contains_key(user_id) {
            return false;
        }
        for token in self.tokens.values_mut().filter(|token| token.user_id == user_id) {
            let left: Vec<&str> = token.scope.split(',').filter(|granted| *granted != scope).collect();
            token.scope = left.join(",");
        }
        self.changed = true;
        true
    }

    fn issue(&mut self, token: Token) -> String {
        let text = mint::access_token();
        self.tokens.insert(mint::hash(&text), token);
        self.changed = true;
        text
    }

    /// The record of a token, dead or alive.
    pub(crate) fn token(&self, text: &str) -> Option<&Token> {
        self.tokens.get(&mint::hash(text))
    }

    /// A valid token, and its account, whose data it may be unable to read.
    pub(crate) fn valid_token(&self, now: Timestamp, text: &str) -> Result<(&Token, &Account), TokenFault> {
        let token = self.token(text).ok_or(TokenFault::Unknown)?;
        let account = self.accounts.get(&token.user_id).ok_or(TokenFault::Unknown)?;
        if token.expires_at <= now {
            return Err(TokenFault::Expired(token.expires_at));
        }
        let status = account.grant_status(token.generation);
        if !status.keeps_tokens() {
            return Err(TokenFault::Ended(status));
        }
        if token.superseded {
            return Err(TokenFault::Superseded);
        }
        Ok((token, account))
    }

    /// A token with which its account's data can be read now.
    pub(crate) fn live_token(&self, now: Timestamp, text: &str) -> Result<(&Token, &Account), TokenFault> {
        let (token, account) = self.valid_token(now, text)?;
        if account.status == AccountStatus::Restricted {
            return Err(TokenFault::Ended(account.status));
        }
        if account.data_access_ends().is_some_and(|end| end <= now) {
            return Err(TokenFault::DataAccessExpired);
        }
        Ok((token, account))
    }

    /// Short-lived to long-lived. The short-lived token keeps its own hour, so a lost response can
    /// be requested again.
    pub(crate) fn exchange(&mut self, now: Timestamp, short: &str) -> Result<Issued, TokenFault> {
        let (given, _) = self.valid_token(now, short)?;
        if given.kind != TokenKind::Short {
            return Err(TokenFault::WrongKind);
        }
        let (given_expires_at, expires_at) = (given.expires_at, later(now, LONG_LIFE));
        let token = Token { kind: TokenKind::Long, issued_at: now, expires_at, ..given.clone() };
        Ok(Issued { text: self.issue(token), expires_at, given_expires_at })
    }

    /// Refreshes a long-lived token, with the old one treated by [`OldToken`].
    pub(crate) fn refresh(&mut self, now: Timestamp, long: &str) -> Result<Issued, TokenFault> {
        let (token, account) = self.valid_token(now, long)?;
        if token.kind != TokenKind::Long {
            return Err(TokenFault::WrongKind);
        }
        if now < later(token.issued_at, REFRESH_AGE) {
            return Err(TokenFault::TooYoung);
        }
        let (given, extends) = (token.clone(), account.extends);
        let given_expires_at = given.expires_at;
        let expires_at = if extends { later(now, LONG_LIFE) } else { given_expires_at };
        let new = Token { issued_at: now, expires_at, ..given };
        self.change(&new.user_id, |account| account.extend_data_access(now));
        let given = self.tokens.get_mut(&mint::hash(long));
        let text = match (self.switches.old_token, given) {
            (OldToken::SameTokenExtended, Some(given)) => {
                // A token that is not extended is as old as before.
                if extends {
                    *given = new;
                }
                long.to_owned()
            }
            (old, given) => {
                if let (OldToken::NewTokenOldDead, Some(given)) = (old, given) {
                    given.superseded = true;
                }
                self.issue(new)
            }
        };
        Ok(Issued { text, expires_at, given_expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "https://app.example/callback";

    fn after(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn world(private: bool) -> (World, String) {
        let mut world = World::default();
        let new = NewAccount { username: "ada".to_owned(), private, ..NewAccount::default() };
        let (account, _) = world.ensure_account(new);
        (world, account.user_id)
    }

    #[test]
    fn a_token_lives_to_the_last_second_of_its_life_and_no_longer() {
        let (mut world, ada) = world(false);
        let token = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
        let end = LONG_LIFE.as_secs();
        assert!(world.live_token(after(end - 1), &token).is_ok());
        assert_eq!(world.live_token(after(end), &token).unwrap_err(), TokenFault::Expired(after(end)));
    }

    #[test]
    fn the_twenty_four_hours_end_exactly() {
        let (mut world, ada) = world(false);
        let token = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
        assert_eq!(world.refresh(after(86_399), &token), Err(TokenFault::TooYoung));
        assert!(world.refresh(after(86_400), &token).is_ok());
    }

    #[test]
    fn a_refreshed_token_starts_its_own_twenty_four_hours() {
        for behaviour in [OldToken::SameTokenExtended, OldToken::NewTokenOldAlive, OldToken::NewTokenOldDead]
        {
            let (mut world, ada) = world(false);
            world.switches_mut().old_token = behaviour;
            let first = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
            let second = world.refresh(after(90_000), &first).unwrap().text;
            assert_eq!(world.refresh(after(90_001), &second), Err(TokenFault::TooYoung), "{behaviour:?}");
        }
    }

    #[test]
    fn what_died_with_a_grant_stays_dead_after_the_person_comes_back() {
        for ended in [AccountStatus::Revoked, AccountStatus::PasswordChanged, AccountStatus::Invalidated] {
            let (mut world, ada) = world(false);
            let old = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
            world.change(&ada, |account| account.status = ended);
            let new = world.issue_long_lived(after(1), &ada, BASIC_SCOPE).unwrap();
            assert_eq!(world.live_token(after(2), &old).unwrap_err(), TokenFault::Ended(ended));
            assert!(world.live_token(after(2), &new).is_ok());
        }
    }

    #[test]
    fn what_the_person_can_mend_kills_no_token() {
        for status in [AccountStatus::Checkpoint, AccountStatus::Unconfirmed] {
            let (mut world, ada) = world(false);
            let old = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
            world.change(&ada, |account| account.status = status);
            assert_eq!(world.live_token(after(1), &old).unwrap_err(), TokenFault::Ended(status));
            world.authorize(after(2), &ada, URI, BASIC_SCOPE).unwrap();
            assert!(world.live_token(after(3), &old).is_ok());
        }
    }

    #[test]
    fn a_restricted_account_reads_nothing_and_keeps_its_tokens() {
        let (mut world, ada) = world(false);
        let token = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
        world.change(&ada, |account| account.status = AccountStatus::Restricted);
        // The person cannot end it.
        world.authorize(after(1), &ada, URI, BASIC_SCOPE).unwrap();
        let restricted = TokenFault::Ended(AccountStatus::Restricted);
        assert_eq!(world.live_token(after(2), &token).unwrap_err(), restricted);
        let token = world.refresh(after(90_000), &token).unwrap().text;
        world.change(&ada, |account| account.status = AccountStatus::Active);
        assert!(world.live_token(after(90_001), &token).is_ok());
    }

    #[test]
    fn a_code_dies_with_its_grant() {
        let (mut world, ada) = world(false);
        let code = world.authorize(after(0), &ada, URI, BASIC_SCOPE).unwrap();
        world.change(&ada, |account| account.status = AccountStatus::Revoked);
        assert_eq!(world.redeem(after(1), &code, URI), Err(CodeFault::NotFound));
    }

    #[test]
    fn only_a_public_profiles_grant_grows_with_a_refresh() {
        const DAY: u64 = 86_400;
        for private in [false, true] {
            let (mut world, ada) = world(private);
            let first = world.issue_long_lived(after(0), &ada, BASIC_SCOPE).unwrap();
            let second = world.refresh(after(50 * DAY), &first).unwrap().text;
            assert!(world.live_token(after(90 * DAY - 1), &second).is_ok());
            let later = world.live_token(after(90 * DAY), &second).map(|_| ());
            assert_eq!(later, if private { Err(TokenFault::DataAccessExpired) } else { Ok(()) });
            // The token lives on, and so does its refresh.
            assert!(world.refresh(after(91 * DAY), &second).is_ok());
        }
    }

    #[test]
    fn accounts_are_found_by_id_or_else_by_name() {
        let (mut world, ada) = world(false);
        let named = NewAccount { username: "ada".to_owned(), ..NewAccount::default() };
        assert_eq!(world.ensure_account(named).0.user_id, ada);
        let other = NewAccount::new("bea", ada.clone());
        let (found, created) = world.ensure_account(other);
        assert!(!created && found.username == "ada");
    }
}
