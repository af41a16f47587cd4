//! Meta, as far as it matters: which tokens it takes, and what the person has done there.
//!
//! It is also the witness of the truth: each consent and each end has its second, and no two have
//! the same.

use threads_graph::ReauthorizationCause;

/// Token lives for 60 days.
pub const LIFE: i64 = 60 * DAY;
/// A day.
pub const DAY: i64 = 86_400;
/// An hour.
pub const HOUR: i64 = 3_600;

/// What becomes of the token that was refreshed: Meta does not document it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// It stays valid beside the new one.
    Stays,
    /// It dies at once.
    Dies,
    /// It dies some time later.
    DiesLater,
    /// There is no new one: the same token lives longer.
    Extended,
}

/// A long-lived token, numbered by its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The consent that it speaks for.
    pub consent: usize,
    /// The token that it was refreshed from.
    pub parent: Option<usize>,
    /// When it was issued or extended.
    pub issued_at: i64,
    /// Why Meta refuses it, if it does.
    pub refused: Option<ReauthorizationCause>,
    /// Whether a refresh has replaced it, so that it may die any time.
    pub is_replaced: bool,
    /// Whether the only one who knew it is gone: nothing could have kept it.
    pub is_lost: bool,
    /// Whether it was ever stored.
    pub is_known: bool,
}

/// A person's consent, numbered by its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consent {
    /// When the person's browser began.
    pub began_at: i64,
    /// The same, by our clock there.
    pub begun_at: i64,
    /// When the person said yes.
    pub at: i64,
    /// When the person came back.
    pub returned_at: Option<i64>,
}

/// Who ended all that was consented to before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The person removed the app at Threads.
    Threads,
    /// The app's backend.
    App,
    /// The person wants to be forgotten.
    Deletion,
}

/// An end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// By whom.
    pub by: By,
    /// When.
    pub at: i64,
    /// Whether we have answered that it is carried out.
    pub is_done: bool,
}

/// Meta.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// How it treats a token that was refreshed.
    pub behaviour: Behaviour,
    /// What happened so far, each a second later.
    pub events: i64,
    /// All that it has issued.
    pub tokens: Vec<Token>,
    /// All that was consented to.
    pub consents: Vec<Consent>,
    /// All that ended consents.
    pub ends: Vec<End>,
    /// Whether the person has to pass a checkpoint first.
    pub is_checked: bool,
}

/// Meta's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The token is dead.
    Dead(ReauthorizationCause),
    /// It was issued less than 24 hours ago.
    TooYoung,
}

impl Meta {
    /// A consent at `at`, whose flow began by a clock that is ahead by `skew`.
    pub fn consent(&mut self, began_at: i64, skew: i64, at: i64) -> usize {
        self.events += 1;
        self.consents.push(Consent { began_at, begun_at: began_at + skew, at, returned_at: None });
        self.consents.len() - 1
    }

    /// An end at `at`. At Meta it is the person who removes the app, and Meta's tokens die.
    pub fn end(&mut self, by: By, at: i64) -> usize {
        self.events += 1;
        self.ends.push(End { by, at, is_done: false });
        if by != By::App {
            self.refuse(ReauthorizationCause::AppRemoved);
        }
        self.ends.len() - 1
    }

    /// From now on, Meta refuses all that it has issued.
    pub fn refuse(&mut self, cause: ReauthorizationCause) {
        for token in &mut self.tokens {
            token.refused.get_or_insert(cause);
        }
    }

    /// Whether an end came after a consent. The app's own is none of Meta's.
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

    /// Whether a token would work, but for a checkpoint.
    #[must_use]
    pub fn takes(&self, token: usize, now: i64) -> bool {
        let token = &self.tokens[token];
        token.refused.is_none() && now < token.issued_at + LIFE
    }
}
