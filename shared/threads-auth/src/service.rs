//! The service: every operation on one page.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use threads_auth_model::{Grant, Inconsistency, Key, Progress, Session, Status, Vault, error_chain};
use threads_auth_store::{Page, PageRequest, Secrets, SecretsError, Store, StoreError};
use threads_graph::{AccessToken, UserId};
use tokio::time::Instant;

use crate::clients::{Clients, StartError};
use crate::config::Config;
use crate::connect::{self, Begun, CompleteError, ConnectRefusal, Connected, NewSession, SessionError};
use crate::drift;
use crate::operate::{
    self, Comparison, ImportError, Imported, Inspections, Left, PersonDeleted, PersonalData,
    PersonalDataError, Replaced, ResealError, ResealReport, RestoreError, RestoreReport, Unopened,
};
use crate::refresh::{self, RefreshOutcome, SweepError, SweepReport, TokenHash, VendError, Vended};
use crate::removal::{self, Deauthorized, Deleted, RemovalError};

/// The most rows that one page of a status may look at.
const MOST_ROWS: u32 = 10_000;

/// The service: its configuration and its clients.
pub struct ThreadsAuth(Clients);

impl ThreadsAuth {
    /// Builds the clients. Makes no request.
    ///
    /// # Errors
    /// When the configuration gives no usable redirect URI, or TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, StartError> {
        Clients::new(config).map(Self)
    }

    /// Reads the secrets ahead of the first request: a cold start has the processor to itself, a
    /// first request has not. A failure is left for that request to meet and to report.
    pub async fn warm(&self, now: Timestamp) {
        if let Err(error) = self.vault(now).await {
            tracing::warn!(error = error_chain(&error), "secrets could not be read ahead");
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The number of calls to Meta so far, answered or not.
    #[must_use]
    pub fn graph_calls(&self) -> u64 {
        self.0.graph.calls()
    }

    /// The tables.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// Seals and opens what lies in the table in use.
    ///
    /// # Errors
    /// When the secrets cannot be read.
    pub async fn vault(&self, now: Timestamp) -> Result<Vault, SecretsError> {
        self.0.vault(now).await
    }

    /// Begins a connect: the request `GET /authorize?raw_query` from a browser with these `Cookie`
    /// headers.
    ///
    /// # Errors
    /// When the request is malformed or not allowed, or the secrets or the store are not available.
    pub async fn begin_connect(
        &self,
        raw_query: &str,
        cookies: &[&str],
        now: Timestamp,
    ) -> Result<Begun, ConnectRefusal> {
        connect::begin::begin(&self.0, raw_query, cookies, now).await
    }

    /// Finishes a connect: the request `GET /callback?raw_query` from a browser with these `Cookie`
    /// headers.
    ///
    /// # Errors
    /// When the callback is malformed, foreign, late or repeated, consent was denied, or Meta, the
    /// secrets or the store fail.
    pub async fn finish_connect(
        &self,
        raw_query: &str,
        cookies: &[&str],
        now: Timestamp,
    ) -> Result<Connected, ConnectRefusal> {
        connect::finish::finish(&self.0, raw_query, cookies, now).await
    }

    /// Creates a connect session. The person is to open its [`Config::session_url`].
    ///
    /// # Errors
    /// When the request is not possible, or DynamoDB fails.
    pub async fn create_session(&self, new: NewSession, now: Timestamp) -> Result<Session, SessionError> {
        connect::session::create(&self.0, new, now).await
    }

    /// A session, if there is one of that id.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn find_session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        connect::session::find(&self.0, id).await
    }

    /// Redeems a completion code for the user of the app who is logged in, who is called
    /// `reference`, and claims the account for that user. A failure before the account is known
    /// leaves the code as good as it was; for ten minutes the same call has the same answer.
    ///
    /// # Errors
    /// When the code is not that session's, or the session not that user's; when the code was
    /// redeemed before, or comes too late; when the account is gone; when DynamoDB fails.
    pub async fn complete_session(
        &self,
        id: &str,
        completion: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<Grant, CompleteError> {
        connect::session::complete(&self.0, id, completion, reference, now).await
    }

    /// The token of `user_id` that stays valid for `min_valid`, refreshed first if it is due or
    /// does not live that long. One that is `refused`, as the caller says, is not handed out again
    /// unless Meta takes it.
    ///
    /// # Errors
    /// When there is no such token: for good, until the person comes, or for a while.
    pub async fn vend(
        &self,
        user_id: &UserId,
        min_valid: SignedDuration,
        refused: Option<&TokenHash>,
        now: Timestamp,
    ) -> Result<Vended, VendError> {
        refresh::vend::vend(&self.0, user_id, min_valid, refused, now).await
    }

    /// The grant of a user, if there is one.
    ///
    /// # Errors
    /// When DynamoDB fails, or the row does not make sense.
    pub async fn find_grant(&self, user_id: &UserId) -> Result<Option<Grant>, StoreError> {
        self.0.store.grant(user_id).await
    }

    /// A page of so many grants, or of those with one status: [`Store::grants`]. It is full as long
    /// as there are more, unless few of many have the status, or the time of a request is over.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn list_grants(
        &self,
        status: Option<Status>,
        grants: u32,
        after: Option<Key>,
    ) -> Result<Page<Result<Grant, Inconsistency>>, StoreError> {
        let rows = if status.is_some() { MOST_ROWS } else { u32::MAX };
        let until = Instant::now() + self.0.config.work_time();
        self.0.store.grants(PageRequest { status, grants, after, rows, until }).await
    }

    /// Ends a grant for the app: the tokens are destroyed, and the person has to consent to come
    /// back. Says whether there was one.
    ///
    /// # Errors
    /// When the secrets or the store fail.
    pub async fn disconnect(&self, user_id: &UserId, now: Timestamp) -> Result<bool, RemovalError> {
        removal::disconnect(&self.0, user_id, now).await
    }

    /// Looks at every grant that is due at `now`, for at most `budget`.
    ///
    /// # Errors
    /// When there are no secrets to do it with, or nothing could be read. The troubles of single
    /// grants are in the report.
    pub async fn sweep(&self, now: Timestamp, budget: Duration) -> Result<SweepReport, SweepError> {
        refresh::sweep::sweep(&self.0, now, budget, |_| ControlFlow::Continue(())).await
    }

    /// The same, and `watch` sees each outcome as it comes. After its `Break` no other grant is
    /// begun.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub async fn sweep_watched(
        &self,
        now: Timestamp,
        budget: Duration,
        watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
    ) -> Result<SweepReport, SweepError> {
        refresh::sweep::sweep(&self.0, now, budget, watch).await
    }

    /// How many grants are due at `now`: what a sweep has before it.
    ///
    /// # Errors
    /// When a partition of the due index cannot be read.
    pub async fn count_due(&self, now: Timestamp) -> Result<u64, StoreError> {
        refresh::sweep::count_due(&self.0, now).await
    }

    /// Refreshes the token of one account now, due or not: for an operator who wants to see it
    /// work.
    ///
    /// # Errors
    /// As [`vend`](Self::vend).
    pub async fn refresh_now(&self, user_id: &UserId, now: Timestamp) -> Result<RefreshOutcome, VendError> {
        operate::refresh_now::refresh_now(&self.0, user_id, now).await
    }

    /// Carries out a deauthorization: the grant is revoked and its tokens are destroyed. `form` is
    /// the request's body.
    ///
    /// # Errors
    /// When the request is not Meta's, or the secrets or the store fail.
    pub async fn deauthorize(&self, form: &[u8], now: Timestamp) -> Result<Deauthorized, RemovalError> {
        removal::deauthorize(&self.0, form, now).await
    }

    /// Carries out a deletion: everything about the person is erased, but for a keyed hash that
    /// stops a connect under way. What is unfinished is left to the next sweep. `form` is the
    /// request's body.
    ///
    /// # Errors
    /// When the request is not Meta's, or the secrets or the store fail.
    pub async fn delete_data(&self, form: &[u8], now: Timestamp) -> Result<Deleted, RemovalError> {
        removal::delete_data(&self.0, form, now).await
    }

    /// Deletes what is held about a person, as [`Self::delete_data`] does, without a request of
    /// Meta's: who asked for it at `requested_at`, or else now. It can be repeated.
    ///
    /// # Errors
    /// When the secrets or the store fail.
    pub async fn delete_person(
        &self,
        user_id: &UserId,
        requested_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PersonDeleted, RemovalError> {
        operate::delete_person::delete_person(&self.0, user_id, requested_at, now).await
    }

    /// All that is held about a person but what opens an account; nothing, if that is so.
    ///
    /// # Errors
    /// When the secrets or the store fail.
    pub async fn personal_data(
        &self,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Option<PersonalData>, PersonalDataError> {
        operate::personal_data::personal_data(&self.0, user_id, now).await
    }

    /// How far the deletion of this code has come, if there was one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn find_deletion(&self, confirmation_code: &str) -> Result<Option<Progress>, StoreError> {
        removal::find(&self.0, confirmation_code).await
    }

    /// Takes over a long-lived token. `user_id` is whose it should be, and `expires_at` when it is
    /// said to end, if Meta does not tell. It can be repeated.
    ///
    /// # Errors
    /// When the token is not one to keep alive, or Meta, the secrets or the store fail.
    pub async fn import(
        &self,
        token: &AccessToken,
        user_id: Option<&UserId>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Imported, ImportError> {
        operate::import::import(&self.0, token, user_id, expires_at, now).await
    }

    /// Who may ask Meta about tokens.
    pub async fn inspections(&self, now: Timestamp) -> Inspections {
        operate::inspections::inspections(&self.0, now).await
    }

    /// What is not as it was at Meta, in words; nothing if there is no inspector to look with.
    /// Sweeps look once a day by themselves.
    ///
    /// # Errors
    /// When the secrets cannot be read.
    pub async fn drift(&self, now: Timestamp) -> Result<Option<Vec<String>>, SecretsError> {
        Ok(drift::look(&self.0, &self.0.vault(now).await?, now).await)
    }

    /// Copies what the table in use lacks from the table `from`, a backup of it, and replaces what
    /// is of no use there, if `replaces`. `progress` is told after each row, with one of no use
    /// that was left.
    ///
    /// # Errors
    /// When the secrets cannot be read, or DynamoDB fails.
    pub async fn restore(
        &self,
        from: &str,
        replaces: bool,
        now: Timestamp,
        progress: impl FnMut(&RestoreReport, Option<&Left>),
    ) -> Result<RestoreReport, RestoreError> {
        operate::restore::restore(&self.0, from, replaces, now, progress).await
    }

    /// Compares a user's row in use with that of the backup `from`: what would be lost, and whether
    /// it may be replaced. Changes nothing.
    ///
    /// # Errors
    /// When the secrets cannot be read, or DynamoDB fails.
    pub async fn compare_with_backup(
        &self,
        from: &str,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Comparison, RestoreError> {
        operate::replace::compare(&self.0, from, user_id, now).await
    }

    /// Puts the backup's row in the place of the one that was compared, if that still lies there.
    ///
    /// # Errors
    /// When the secrets cannot be read, or DynamoDB fails.
    pub async fn replace_from_backup(
        &self,
        compared: &Comparison,
        now: Timestamp,
    ) -> Result<Replaced, RestoreError> {
        operate::replace::replace(&self.0, compared, false, now).await
    }

    /// Seals anew, with the key and in the format that the keyring writes, what the table holds
    /// otherwise. `progress` is told after each row, with the values of it that do not open. It can
    /// be stopped and repeated, and whoever writes a row meanwhile goes first.
    ///
    /// # Errors
    /// When the secrets cannot be read, or DynamoDB fails.
    pub async fn reseal(
        &self,
        now: Timestamp,
        progress: impl FnMut(&ResealReport, &[Unopened]),
    ) -> Result<ResealReport, ResealError> {
        operate::reseal::reseal(&self.0, now, progress).await
    }

    /// The ids of the keys that seal anything in the table, each with how many values it seals. A
    /// key that is not among them can leave the keyring, once no login of the last ten minutes is
    /// under way. Who is late after that is told nothing but that the browser is not known.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn keys_in_use(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        operate::keys_in_use::keys_in_use(&self.0).await
    }
}
