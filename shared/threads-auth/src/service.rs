//! The service and all its operations.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use threads_auth_model::schedule::Part;
use threads_auth_model::{Grant, Inconsistency, Key, Progress, Session, Status, Vault, error_chain};
use threads_auth_store::{LookupError, Page, PageRequest, Secrets, SecretsError, Store, StoreError, Table};
use threads_graph::UserId;
use tokio::time::Instant;

use crate::assign::{self, AssignError};
use crate::clients::{Clients, StartError};
use crate::config::Config;
use crate::connect::{self, Begun, CompleteError, ConnectRefusal, Connected, NewSession, SessionError};
use crate::drift;
use crate::operate::{
    self, Comparison, DueLoad, Import, ImportError, Imported, Inspections, Left, PersonDeleted, PersonalData,
    PersonalDataError, Replaced, ResealError, ResealReport, RestoreError, RestoreReport, Unopened,
};
use crate::refresh::{
    self, RefreshOutcome, SweepError, SweepReport, TokenHash, VendError, VendRefusal, Vended,
};
use crate::removal::{self, Deauthorized, Deleted, Disconnected, RemovalError};

/// The most rows that are read for one page of grants with a given status.
const MAX_ROWS: u32 = 10_000;

/// The service: its configuration and its clients.
pub struct ThreadsAuth(Clients);

impl ThreadsAuth {
    /// Builds the clients. Makes no request.
    ///
    /// # Errors
    /// - Returns [`StartError::RedirectUri`] if the configuration gives no valid redirect URI.
    /// - Returns [`StartError::Http`] if TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, StartError> {
        Clients::new(config).map(Self)
    }

    /// Reads the secrets and opens the connection to DynamoDB before the first request, while the
    /// cold start has the full processor. A failure is only logged: the first request tries again
    /// and reports it. Lambda ends a start that takes ten seconds, so this waits for less.
    pub async fn warm(&self, now: Timestamp, table: Table) {
        let Clients { config, secrets, store, .. } = &self.0;
        // One after the other over one connection: a second handshake costs more than the wait.
        let secrets = async {
            secrets.app(now).await?;
            secrets.keyring(now).await
        };
        let both = futures_util::future::join(secrets, store.connect(table));
        let Ok((secrets, connected)) = tokio::time::timeout(config.write_time(), both).await else {
            tracing::warn!("AWS did not answer before the first request");
            return;
        };
        if let Err(error) = secrets {
            tracing::warn!(
                error = error_chain(&error),
                "the secrets could not be read before the first request"
            );
        }
        if let Err(error) = connected {
            tracing::warn!(
                error = error_chain(&error),
                "DynamoDB could not be reached before the first request"
            );
        }
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Returns the number of calls to Meta so far, successful or not.
    #[must_use]
    pub fn graph_calls(&self) -> u64 {
        self.0.graph.calls()
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns the client of the secrets.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// Returns the time since the last successful read of the older secret, among those in use
    /// whose latest read failed.
    pub async fn stale_for(&self, now: Timestamp) -> Option<Duration> {
        self.0.secrets.stale_for(now).await
    }

    /// Returns the vault, which seals and opens the values of the grants table.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secrets cannot be read.
    pub async fn vault(&self, now: Timestamp) -> Result<Vault, SecretsError> {
        self.0.vault(now).await
    }

    /// Begins a connect: the request `GET /authorize?raw_query` from a browser with these `Cookie`
    /// headers.
    ///
    /// # Errors
    /// Returns [`ConnectRefusal`] if the request is malformed or not allowed, or the secrets or the
    /// store fail.
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
    /// Returns [`ConnectRefusal`] if the callback is malformed, of another browser, late or
    /// repeated, if consent was denied, or if Meta, the secrets or the store fail.
    pub async fn finish_connect(
        &self,
        raw_query: &str,
        cookies: &[&str],
        now: Timestamp,
    ) -> Result<Connected, ConnectRefusal> {
        Box::pin(connect::finish::finish(&self.0, raw_query, cookies, now)).await
    }

    /// Creates a connect session. The person then opens its [`Config::session_url`].
    ///
    /// # Errors
    /// Returns [`SessionError`] if a value is invalid, or DynamoDB or the random generator fails.
    pub async fn create_session(&self, new: NewSession, now: Timestamp) -> Result<Session, SessionError> {
        connect::session::create(&self.0, new, now).await
    }

    /// Returns the session with this id, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or the row is inconsistent.
    pub async fn find_session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        connect::session::find(&self.0, id).await
    }

    /// Redeems a completion code for the app's user `reference`, who must be the one who is logged
    /// in, and claims the account for that user. A failure before the account is known leaves the
    /// code valid. The call is idempotent for ten minutes.
    ///
    /// # Errors
    /// - Returns [`CompleteError::WrongCode`] if the code belongs to another session.
    /// - Returns [`CompleteError::WrongReference`] if the session belongs to another user.
    /// - Returns another [`CompleteError`] if the session or the account cannot be completed, or
    ///   the store fails.
    pub async fn complete_session(
        &self,
        id: &str,
        completion: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<Grant, CompleteError> {
        connect::session::complete(&self.0, id, completion, reference, now).await
    }

    /// Returns a token of `user_id` that stays valid for `min_valid`, refreshed first if it is due
    /// or expires before. A token that Meta has `refused`, by the caller's report, is not handed
    /// out again unless Meta accepts it.
    ///
    /// # Errors
    /// The refusal's error:
    /// - Returns [`VendError::NeedsReauthorization`] or [`VendError::Revoked`] if the person has to
    ///   connect again.
    /// - Returns [`VendError::Retry`] if there may be a token later.
    /// - Returns another [`VendError`] if the account is unknown, or the secrets or the store fail.
    pub async fn vend(
        &self,
        user_id: &UserId,
        min_valid: SignedDuration,
        refused: Option<&TokenHash>,
        now: Timestamp,
    ) -> Result<Vended, VendRefusal> {
        Box::pin(refresh::vend::vend(&self.0, user_id, min_valid, refused, now)).await
    }

    /// Returns the grant of a user, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or the row is inconsistent.
    pub async fn find_grant(&self, user_id: &UserId) -> Result<Option<Grant>, StoreError> {
        self.0.store.grant(user_id).await
    }

    /// Returns a page of up to `grants` grants, of all or of one status. See [`Store::grants`]. A
    /// page before the last can be shorter if few grants have the status, or if the time of a
    /// request runs out.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn list_grants(
        &self,
        status: Option<Status>,
        grants: u32,
        after: Option<Key>,
    ) -> Result<Page<Result<Grant, Inconsistency>>, StoreError> {
        let rows = if status.is_some() { MAX_ROWS } else { u32::MAX };
        let until = Instant::now() + self.0.config.work_time();
        self.0.store.grants(PageRequest { status, grants, after, rows, until }).await
    }

    /// Returns a page of up to `grants` grants that belong to the app's user `reference`, of all or
    /// of one status. An account that was claimed or assigned within the last moments may be
    /// missing. See [`Store::grants_of`].
    ///
    /// # Errors
    /// Returns [`LookupError`] if the index is missing, or DynamoDB fails.
    pub async fn find_by_reference(
        &self,
        reference: &str,
        status: Option<Status>,
        grants: u32,
        after: Option<Key>,
    ) -> Result<Page<Result<Grant, Inconsistency>>, LookupError> {
        let until = Instant::now() + self.0.config.work_time();
        let request = PageRequest { status, grants, after, rows: MAX_ROWS, until };
        self.0.store.grants_of(reference, request).await
    }

    /// Assigns an account to the app's user `reference`, or to none. Idempotent.
    ///
    /// # Errors
    /// - Returns [`AssignError::Reference`] if the reference is empty or too long.
    /// - Returns [`AssignError::Unclaimed`] if only the completion of its session can claim the
    ///   account.
    /// - Returns another [`AssignError`] if the account is unknown, or the store fails.
    pub async fn assign(
        &self,
        user_id: &UserId,
        reference: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, AssignError> {
        assign::assign(&self.0, user_id, reference, now).await
    }

    /// Ends a grant for the app: the tokens are destroyed, and the person has to consent again to
    /// reconnect. Returns `None` if there was no grant.
    ///
    /// # Errors
    /// Returns [`RemovalError`] if the secrets or the store fail.
    pub async fn disconnect(
        &self,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Option<Disconnected>, RemovalError> {
        removal::disconnect(&self.0, user_id, now).await
    }

    /// Processes every grant that is due at `now`, for at most `budget`. Failures of single grants
    /// are in the report.
    ///
    /// # Errors
    /// - Returns [`SweepError::Secrets`] if the secrets cannot be read.
    /// - Returns [`SweepError::Unreadable`] if no part of the due index can be read.
    /// - Returns [`SweepError::Seal`] if the random generator fails.
    pub async fn sweep(&self, now: Timestamp, budget: Duration) -> Result<SweepReport, SweepError> {
        self.sweep_part(Part::WHOLE, now, budget).await
    }

    /// Does the same as [`Self::sweep`] in a part of the due index, beside sweeps of the other
    /// parts.
    ///
    /// # Errors
    /// Returns the errors of [`Self::sweep`].
    pub async fn sweep_part(
        &self,
        part: Part,
        now: Timestamp,
        budget: Duration,
    ) -> Result<SweepReport, SweepError> {
        let watch = |_| ControlFlow::Continue(());
        Box::pin(refresh::sweep::sweep(&self.0, part, now, budget, watch)).await
    }

    /// Does the same as [`Self::sweep`], and passes each outcome to `watch`. After its `Break` no
    /// other grant is begun.
    ///
    /// # Errors
    /// Returns the errors of [`Self::sweep`].
    pub async fn sweep_watched(
        &self,
        now: Timestamp,
        budget: Duration,
        watch: impl FnMut(RefreshOutcome) -> ControlFlow<()>,
    ) -> Result<SweepReport, SweepError> {
        // Boxed, because this is the largest future of all.
        Box::pin(refresh::sweep::sweep(&self.0, Part::WHOLE, now, budget, watch)).await
    }

    /// Returns the number of grants that are due at `now`.
    ///
    /// # Errors
    /// Returns [`StoreError`] if a partition of the due index cannot be read.
    pub async fn count_due(&self, now: Timestamp) -> Result<u64, StoreError> {
        refresh::sweep::count_due(&self.0, now).await
    }

    /// Counts the grants that come due on each of the coming `days`. Reads the whole due index
    /// once: about one read unit for 130 grants.
    ///
    /// # Errors
    /// Returns [`StoreError`] if a partition of the due index cannot be read.
    pub async fn due_load(&self, now: Timestamp, days: usize) -> Result<DueLoad, StoreError> {
        operate::due_load::due_load(&self.0, now, days).await
    }

    /// Refreshes the token of one account now, due or not, for an operator.
    ///
    /// # Errors
    /// Returns [`VendError`] if the account is unknown, or the secrets, the random generator or the
    /// store fail.
    pub async fn refresh_now(&self, user_id: &UserId, now: Timestamp) -> Result<RefreshOutcome, VendError> {
        operate::refresh_now::refresh_now(&self.0, user_id, now).await
    }

    /// Carries out a deauthorization: the grant is revoked and its tokens are destroyed. `form` is
    /// the body of the request.
    ///
    /// # Errors
    /// - Returns [`RemovalError::Form`] or [`RemovalError::SignedRequest`] if the request is not a
    ///   valid one of Meta.
    /// - Returns another [`RemovalError`] if the secrets or the store fail.
    pub async fn deauthorize(&self, form: &[u8], now: Timestamp) -> Result<Deauthorized, RemovalError> {
        removal::deauthorize(&self.0, form, now).await
    }

    /// Carries out a deletion: all data of the person is erased, except a keyed hash that stops a
    /// running connect. An unfinished deletion is continued by the next sweep. `form` is the body
    /// of the request.
    ///
    /// # Errors
    /// - Returns [`RemovalError::Form`] or [`RemovalError::SignedRequest`] if the request is not a
    ///   valid one of Meta.
    /// - Returns another [`RemovalError`] if the secrets or the store fail.
    pub async fn delete_data(&self, form: &[u8], now: Timestamp) -> Result<Deleted, RemovalError> {
        removal::delete_data(&self.0, form, now).await
    }

    /// Deletes the data of a person like [`Self::delete_data`], for an operator. The person
    /// requested it at `requested_at`, by default now. Idempotent.
    ///
    /// # Errors
    /// Returns [`RemovalError`] if the secrets or the store fail.
    pub async fn delete_person(
        &self,
        user_id: &UserId,
        requested_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PersonDeleted, RemovalError> {
        operate::delete_person::delete_person(&self.0, user_id, requested_at, now).await
    }

    /// Returns all data of a person except secrets, or `None` if there is none.
    ///
    /// # Errors
    /// Returns [`PersonalDataError`] if the secrets or the store fail.
    pub async fn personal_data(
        &self,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Option<PersonalData>, PersonalDataError> {
        operate::personal_data::personal_data(&self.0, user_id, now).await
    }

    /// Returns the progress of the deletion with this code, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn find_deletion(&self, confirmation_code: &str) -> Result<Option<Progress>, StoreError> {
        removal::find(&self.0, confirmation_code).await
    }

    /// Imports a long-lived token. Idempotent.
    ///
    /// # Errors
    /// - Returns [`ImportError::Dead`] or [`ImportError::ShortLived`] if the token cannot be kept
    ///   alive.
    /// - Returns [`ImportError::AnotherAccount`] if the token does not belong to `user_id`.
    /// - Returns [`ImportError::Deleted`] if the person had their data deleted.
    /// - Returns [`ImportError::Reference`] for a bad reference, and
    ///   [`ImportError::AnotherReference`] if the account has another; the token is imported then.
    /// - Returns another [`ImportError`] if Meta, the secrets or the store fail.
    pub async fn import(&self, import: Import<'_>, now: Timestamp) -> Result<Imported, ImportError> {
        operate::import::import(&self.0, import, now).await
    }

    /// Returns the caller whose token inspections Meta accepts.
    pub async fn inspections(&self, now: Timestamp) -> Inspections {
        operate::inspections::inspections(&self.0, now).await
    }

    /// Checks Meta's API for drift, and returns a sentence for each difference. Returns `None`
    /// without an inspector. Sweeps make the same check once a day.
    ///
    /// # Errors
    /// Returns [`SecretsError`] if the secrets cannot be read.
    pub async fn drift(&self, now: Timestamp) -> Result<Option<Vec<String>>, SecretsError> {
        Ok(drift::check(&self.0, &self.0.vault(now).await?, now).await)
    }

    /// Copies missing rows from the backup table `from` into the grants table, and replaces
    /// unusable rows if `replaces`. Calls `progress` after each row, with the row if it is unusable
    /// and was left.
    ///
    /// # Errors
    /// Returns [`RestoreError`] if the secrets cannot be read or DynamoDB fails.
    pub async fn restore(
        &self,
        from: &str,
        replaces: bool,
        now: Timestamp,
        progress: impl FnMut(&RestoreReport, Option<&Left>),
    ) -> Result<RestoreReport, RestoreError> {
        operate::restore::restore(&self.0, from, replaces, now, progress).await
    }

    /// Compares a user's row with that of the backup `from`: what a replacement would lose, and if
    /// it is allowed. Changes nothing.
    ///
    /// # Errors
    /// Returns [`RestoreError`] if the secrets cannot be read or DynamoDB fails.
    pub async fn compare_with_backup(
        &self,
        from: &str,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Comparison, RestoreError> {
        operate::replace::compare(&self.0, from, user_id, now).await
    }

    /// Replaces the compared row with the backup's, if it has not changed since.
    ///
    /// # Errors
    /// Returns [`RestoreError`] if the secrets cannot be read or DynamoDB fails.
    pub async fn replace_from_backup(
        &self,
        compared: &Comparison,
        now: Timestamp,
    ) -> Result<Replaced, RestoreError> {
        operate::replace::replace(&self.0, compared, false, now).await
    }

    /// Reseals all values of the grants table that do not have the keyring's current key and
    /// format. Calls `progress` after each row, with its values that do not open. It can be
    /// interrupted and repeated, and concurrent writes win.
    ///
    /// # Errors
    /// Returns [`ResealError`] if the secrets cannot be read, or DynamoDB or the random generator
    /// fails.
    pub async fn reseal(
        &self,
        now: Timestamp,
        progress: impl FnMut(&ResealReport, &[Unopened]),
    ) -> Result<ResealReport, ResealError> {
        operate::reseal::reseal(&self.0, now, progress).await
    }

    /// Returns the ids of the keys in use in the grants table, each with the number of values it
    /// seals. Any other key can be removed from the keyring once a different key has sealed for
    /// [`Secrets::usable_for`] plus 15 minutes. A callback whose cookie is sealed with a removed
    /// key is refused as one of an unknown browser.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails.
    pub async fn keys_in_use(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        operate::keys_in_use::keys_in_use(&self.0).await
    }
}
