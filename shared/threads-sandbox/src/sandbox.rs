//! The handle: one sandbox's state behind a lock, and the calls by which a test changes it
//! in-process.
//!
//! The lock is never held across an await, and nothing here depends on HTTP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::account::{Account, AccountStatus};
use crate::app::App;
use crate::bad_hours::BadHours;
use crate::call::{CallLog, CallRecord};
use crate::clock::Clock;
use crate::fault::{Fault, FaultPlan};
use crate::options::{NewAccount, SandboxError, SandboxOptions};
use crate::switches::{ExchangeAnswer, ExpiresIn, Inspection, OldToken, RedirectEnding};
use crate::world::{BASIC_SCOPE, World};
use crate::{mint, store};

/// A stand-in for Meta. Clones are handles to the same one.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    app: App,
    clock: Clock,
    state_file: Option<PathBuf>,
    state: Mutex<State>,
    cleared: Notify,
}

/// All that changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) faults: FaultPlan,
    pub(crate) calls: CallLog,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("app_id", &self.inner.app.id).finish_non_exhaustive()
    }
}

#[expect(
    clippy::must_use_candidate,
    reason = "these act through the lock; their results are optional for the caller"
)]
impl Sandbox {
    /// Starts a sandbox, from its state file if there is one.
    ///
    /// # Errors
    ///
    /// Returns a [`SandboxError`] if the app's id or secret is empty, an account cannot exist, or
    /// the state file cannot be read, understood or written.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        let SandboxOptions {
            app_id,
            app_secret,
            clock,
            redirect_uris,
            state_file,
            accounts,
            inspection,
            exchange,
        } = options;
        if app_id.is_empty() || app_secret.is_empty() {
            return Err(SandboxError::NoApp);
        }
        let mut world = World::default();
        if let Some(path) = &state_file
            && let Some(saved) = store::load(path)?
        {
            clock.catch_up(saved.clock_offset);
            world = saved.world;
            world.settle(clock.now());
        }
        for account in accounts {
            if let Err(reason) = account.check() {
                return Err(SandboxError::BadAccount { username: account.username, reason });
            }
            world.ensure_account(account);
        }
        if let Some(inspection) = inspection {
            world.switches_mut().inspection = inspection;
        }
        if let Some(exchange) = exchange {
            world.switches_mut().exchange = exchange;
        }
        if let Some(path) = &state_file {
            world.take_changed();
            store::save(path, clock.offset(), &world)
                .map_err(|source| SandboxError::WriteState { path: path.clone(), source })?;
        }
        let app = App { id: app_id, secret: app_secret, redirect_uris };
        let state = Mutex::new(State { world, ..State::default() });
        Ok(Self { inner: Arc::new(Inner { app, clock, state_file, state, cleared: Notify::new() }) })
    }

    /// The clock that all lifetimes are measured by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.clock.clone()
    }

    /// The account with this user id (or, without one, this name), created when absent.
    ///
    /// Ids and names are taken unchanged; [`Sandbox::new`] and the control endpoint refuse unlikely
    /// ones. An id that is not a whole number below 2^64 is sent as text where Meta sends an
    /// integer.
    pub fn add_account(&self, account: NewAccount) -> Account {
        self.change(|state| state.world.ensure_account(account).0)
    }

    /// All accounts, by name.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        self.read(|state| state.world.accounts())
    }

    /// One account.
    #[must_use]
    pub fn account(&self, user_id: &str) -> Option<Account> {
        self.read(|state| state.world.account(user_id).cloned())
    }

    /// The person removes the app: the account's tokens get 190/458. Neither this method nor those
    /// below notify the app: the test posts [`Sandbox::signed_request`]. `false` if there is no
    /// such account, as from the methods below.
    pub fn revoke(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::Revoked)
    }

    /// The account has to be confirmed: 190/464, until the next authorization or
    /// [`Sandbox::restore`].
    pub fn unconfirm(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::Unconfirmed)
    }

    /// Meta restricts the account: its data gets 10/4279013, and its tokens are still refreshed.
    pub fn restrict(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::Restricted)
    }

    /// The person changes the password: 190/460.
    pub fn change_password(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::PasswordChanged)
    }

    /// The person has to pass a checkpoint: 190/459, until the next authorization or
    /// [`Sandbox::restore`].
    pub fn checkpoint(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::Checkpoint)
    }

    /// Meta ends the session: 190/467.
    pub fn invalidate(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::Invalidated)
    }

    /// Undoes the last of the six above. Tokens that died before a later authorization stay dead.
    pub fn restore(&self, user_id: &str) -> bool {
        self.set_status(user_id, AccountStatus::Active)
    }

    /// The person makes the profile private or public. A private one's data access ends 90 days
    /// after the last authorization, or after the last refresh while it was public.
    pub fn set_private(&self, user_id: &str, private: bool) -> bool {
        self.change_account(user_id, |account| account.private = private).is_some()
    }

    /// The person takes one permission back, such as `threads_content_publish`, and leaves the
    /// rest.
    pub fn withdraw(&self, user_id: &str, scope: &str) -> bool {
        self.change(|state| state.world.withdraw(user_id, scope))
    }

    /// Makes the person one of the app's Threads testers, or not.
    pub fn set_tester(&self, user_id: &str, tester: bool) -> bool {
        self.change_account(user_id, |account| account.tester = tester).is_some()
    }

    /// Sets if a refresh extends the account's tokens.
    pub fn set_extends(&self, user_id: &str, extends: bool) -> bool {
        self.change_account(user_id, |account| account.extends = extends).is_some()
    }

    /// Sets if the account's tester invitation is still to be accepted, which makes authorizing
    /// fail with 1349245.
    pub fn set_tester_pending(&self, user_id: &str, pending: bool) -> bool {
        self.change_account(user_id, |account| account.tester_pending = pending).is_some()
    }

    fn set_status(&self, user_id: &str, status: AccountStatus) -> bool {
        self.change_account(user_id, |account| account.status = status).is_some()
    }

    /// Adds a fault after those that wait already.
    pub fn inject(&self, fault: Fault) {
        self.change(|state| state.faults.add(fault));
    }

    /// The faults that are not used up, with the rest of their counts.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.read(|state| state.faults.waiting().to_vec())
    }

    /// Forgets all faults, and ends the delays under way.
    pub fn clear_faults(&self) {
        self.change(|state| state.faults.clear());
        self.inner.cleared.notify_waiters();
    }

    /// Ends at the next [`Sandbox::clear_faults`].
    pub(crate) fn cleared(&self) -> Notified<'_> {
        self.inner.cleared.notified()
    }

    /// The latest calls, oldest first: at most 100,000.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.read(|state| state.calls.records())
    }

    /// Forgets all calls.
    pub fn clear_calls(&self) {
        self.change(|state| state.calls.clear());
    }

    /// Sets the effect of a refresh on the token that it is given.
    pub fn set_old_token_behaviour(&self, behaviour: OldToken) {
        self.change(|state| state.world.switches_mut().old_token = behaviour);
    }

    /// Sets the callers of `debug_token`.
    pub fn set_inspection(&self, inspection: Inspection) {
        self.change(|state| state.world.switches_mut().inspection = inspection);
    }

    /// Sets the form in which responses report a long-lived token's life.
    pub fn set_expires_in(&self, shape: ExpiresIn) {
        self.change(|state| state.world.switches_mut().expires_in = shape);
    }

    /// Sets the end of the address to which a person is sent back.
    pub fn set_redirect_ending(&self, ending: RedirectEnding) {
        self.change(|state| state.world.switches_mut().redirect = ending);
    }

    /// Sets the answer to the exchange of a code.
    pub fn set_exchange(&self, answer: ExchangeAnswer) {
        self.change(|state| state.world.switches_mut().exchange = answer);
    }

    /// Adds bad hours. An empty period has no effect.
    pub fn add_bad_hours(&self, hours: BadHours) {
        self.change(|state| state.world.switches_mut().bad_hours.push(hours));
    }

    /// Forgets all bad hours.
    pub fn clear_bad_hours(&self) {
        self.change(|state| state.world.switches_mut().bad_hours.clear());
    }

    /// A code, as if the person had pressed Allow, without a check of the redirect URI or the
    /// tester invitation. No scopes: `threads_basic`. An unknown user id becomes an account first.
    #[must_use]
    pub fn issue_code(&self, user_id: &str, redirect_uri: &str, scopes: &[&str]) -> String {
        let scope = if scopes.is_empty() { BASIC_SCOPE.to_owned() } else { scopes.join(",") };
        let now = self.now();
        self.change(|state| {
            ensure(&mut state.world, user_id);
            state.world.authorize(now, user_id, redirect_uri, &scope).unwrap_or_default()
        })
    }

    /// A new long-lived token with `threads_basic` and `threads_content_publish`, as if the account
    /// had been connected elsewhere. An unknown user id becomes an account first.
    #[must_use]
    pub fn issue_long_lived(&self, user_id: &str) -> String {
        let now = self.now();
        self.change(|state| {
            ensure(&mut state.world, user_id);
            let scope = format!("{BASIC_SCOPE},threads_content_publish");
            state.world.issue_long_lived(now, user_id, &scope).unwrap_or_default()
        })
    }

    /// The `signed_request` that Meta posts to the app's deauthorize and data-deletion callbacks
    /// for this account.
    #[must_use]
    pub fn signed_request(&self, user_id: &str) -> String {
        let payload = json!({
            "algorithm": "HMAC-SHA256",
            "issued_at": self.now().as_second(),
            "user_id": user_id,
        });
        mint::signed_request(&self.inner.app.secret, &payload.to_string())
    }

    pub(crate) fn app(&self) -> &App {
        &self.inner.app
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.inner.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, and saves it if the change is worth keeping.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        if state.world.take_changed() {
            self.save(&state);
        }
        result
    }

    pub(crate) fn change_account(&self, user_id: &str, change: impl FnOnce(&mut Account)) -> Option<Account> {
        self.change(|state| state.world.change(user_id, change))
    }

    /// Moves the clock, and saves its distance: an advance of a clone of the clock is saved only at
    /// the next change.
    pub(crate) fn advance(&self, by: std::time::Duration) {
        let state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.clock.advance(by);
        self.save(&state);
    }

    fn save(&self, state: &State) {
        if let Some(path) = &self.inner.state_file
            && let Err(error) = store::save(path, self.inner.clock.offset(), &state.world)
        {
            // The sandbox continues from memory: a full disk should not look like a failure of
            // Meta's.
            tracing::error!(%error, path = %path.display(), "the sandbox's state could not be saved");
        }
    }
}

fn ensure(world: &mut World, user_id: &str) {
    world.ensure_account(NewAccount::new(format!("user_{user_id}"), user_id));
}
