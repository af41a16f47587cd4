//! A small Meta: the tokens that it accepts, and the person's actions there.
//!
//! It also records the truth: every consent and every end has a time, and no two have the same.

use threads_graph::ReauthorizationCause;

/// Life of a long-lived token, in seconds.
pub const LIFE: i64 = 60 * DAY;
/// A day, in seconds.
pub const DAY: i64 = 86_400;
/// An hour, in seconds.
pub const HOUR: i64 = 3_600;

/// The effect of a refresh on the old token, which Meta does not document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// The old token stays valid beside the new one.
    Stays,
    /// The old token dies at once.
    Dies,
    /// The old token dies some time later.
    DiesLater,
    /// There is no new token: the old one lives longer.
    Extended,
}

/// A long-lived token, identified by its index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The consent that it belongs to.
    pub consent: usize,
    /// The token that it was refreshed from.
    pub parent: Option<usize>,
    /// Time at which it was issued or extended.
    pub issued_at: i64,
    /// The reason for which Meta refuses it, if it does.
    pub refused: Option<ReauthorizationCause>,
    /// True if a refresh has replaced it, so that it may die at any time.
    pub is_replaced: bool,
    /// True if the only worker that had it was killed, so that nobody could have stored it.
    pub is_lost: bool,
    /// True if it was ever stored.
    pub is_known: bool,
}

/// A person's consent, identified by its index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consent {
    /// Time at which the person's browser started the flow.
    pub began_at: i64,
    /// The same time by the function's clock.
    pub begun_at: i64,
    /// Time at which the person consented.
    pub at: i64,
    /// Time at which the person returned.
    pub returned_at: Option<i64>,
}

/// The party that ended all earlier consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The person removed the app at Threads.
    Threads,
    /// The app's backend.
    App,
    /// The person requested deletion.
    Deletion,
}

/// An end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The party.
    pub by: By,
    /// Its time.
    pub at: i64,
    /// True if we have confirmed that it was carried out.
    pub is_done: bool,
}

/// The state of Meta.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Its treatment of a token that was refreshed.
    pub behaviour: Behaviour,
    /// Number of events so far. Each is a second later than the one before.
    pub events: i64,
    /// All tokens.
    pub tokens: Vec<Token>,
    /// All consents.
    pub consents: Vec<Consent>,
    /// All ends.
    pub ends: Vec<End>,
    /// True if the person has to pass a checkpoint first.
    pub is_checked: bool,
}

/// A refusal by Meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The token is dead.
    Dead(ReauthorizationCause),
    /// It was issued less than 24 hours ago.
    TooYoung,
}

impl Meta {
    /// Adds a consent at `at`, whose flow began by a clock that is ahead by `skew`.
    pub fn consent(&mut self, began_at: i64, skew: i64, at: i64) -> usize {
        self.events += 1;
        self.consents.push(Consent { began_at, begun_at: began_at + skew, at, returned_at: None });
        self.consents.len() - 1
    }

    /// Adds an end at `at`. If the person ends the consent at Meta, all tokens die.
    pub fn end(&mut self, by: By, at: i64) -> usize {
        self.events += 1;
        self.ends.push(End { by, at, is_done: false });
        if by != By::App {
            self.refuse(ReauthorizationCause::AppRemoved);
        }
        self.ends.len() - 1
    }

    /// Refuses all tokens from now on.
    pub fn refuse(&mut self, cause: ReauthorizationCause) {
        for token in &mut self.tokens {
            token.refused.get_or_insert(cause);
        }
    }

    /// Returns true if an end at Meta came after the consent. Meta does not know of the app's own
    /// ends.
    #[must_use]
    pub fn is_removed(&self, consent: usize) -> bool {
        let at = self.consents[consent].at;
        self.ends.iter().any(|end| end.by != By::App && end.at > at)
    }

    /// Exchanges the short-lived token of a consent.
    pub(crate) fn exchange(&mut self, consent: usize, now: i64) -> Result<usize, Refusal> {
        if self.is_removed(consent) || now >= self.consents[consent].at + HOUR {
            return Err(Refusal::Dead(ReauthorizationCause::Invalid));
        }
        Ok(self.issue(consent, None, now))
    }

    /// Issues a token.
    pub fn issue(&mut self, consent: usize, parent: Option<usize>, now: i64) -> usize {
        self.tokens.push(Token {
            consent,
            parent,
            issued_at: now,
            refused: None,
            is_replaced: false,
            is_lost: false,
            is_known: false,
        });
        self.tokens.len() - 1
    }

    /// A call with a token.
    pub(crate) fn call(&self, token: usize, now: i64) -> Result<(), Refusal> {
        let token = &self.tokens[token];
        let is_expired = now >= token.issued_at + LIFE;
        let refused = token.refused.or(is_expired.then_some(ReauthorizationCause::Expired));
        let refused = refused.or(self.is_checked.then_some(ReauthorizationCause::Checkpoint));
        refused.map_or(Ok(()), |cause| Err(Refusal::Dead(cause)))
    }

    /// Refreshes a token.
    pub(crate) fn refresh(&mut self, used: usize, now: i64) -> Result<usize, Refusal> {
        self.call(used, now)?;
        if now < self.tokens[used].issued_at + DAY {
            return Err(Refusal::TooYoung);
        }
        match self.behaviour {
            Behaviour::Extended => {
                self.tokens[used].issued_at = now;
                return Ok(used);
            }
            Behaviour::Dies => self.tokens[used].refused = Some(ReauthorizationCause::Invalid),
            Behaviour::DiesLater => self.tokens[used].is_replaced = true,
            Behaviour::Stays => {}
        }
        Ok(self.issue(self.tokens[used].consent, Some(used), now))
    }

    /// Returns true if a token would work without a checkpoint.
    #[must_use]
    pub fn takes(&self, token: usize, now: i64) -> bool {
        let token = &self.tokens[token];
        token.refused.is_none() && now < token.issued_at + LIFE
    }
}
