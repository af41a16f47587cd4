//! Connects people's Threads accounts to an app and keeps their tokens alive.
//! [`ThreadsAuth`] is the service, and its methods are the operations. Below it are Meta's protocol
//! ([`threads_graph`]), the rules ([`threads_auth_model`]) and the tables ([`threads_auth_store`]).
//! The types that its methods take and return are re-exported. Each operation takes the time as an
//! argument: only `web`'s `run.rs` and the command's `main.rs` read the clock.
//! **Architecture invariant:** nothing here depends on Lambda, API Gateway or pages, and only
//! [`Config::from_env`] reads the environment. Development and tests differ from production in the
//! endpoints of [`Config`] only.

mod assign;
mod brand;
mod callers;
mod calls;
mod clients;
mod config;
mod connect;
mod drift;
mod events;
mod inspection;
mod language;
mod new_grant;
mod operate;
mod origin;
mod refresh;
mod remedy;
mod removal;
mod service;
mod stopwatch;

pub use assign::AssignError;
pub use brand::{AppName, Brand, Link, Rgb};
pub use callers::Caller;
pub use clients::StartError;
pub use config::{AuthorizeAccess, Config, ConfigError, ConfigProblem, Setting, WebhookConfig};
pub use connect::return_to::{BadEntry, NotAllowed, ReturnTo, ReturnToAllowlist};
pub use connect::{
    Begun, CompleteError, ConnectError, ConnectOutcome, ConnectRefusal, Connected, CookieKind, Flow,
    NewSession, ResumeError, ReturnStatus, SessionError,
};
pub use events::RowChange;
pub use language::{BadUiLocales, Language, UiLocales};
pub use operate::{
    Comparison, DueLoad, Import, ImportError, Imported, Inspections, Left, Loss, PersonDeleted, PersonalData,
    PersonalDataError, Record, Replaced, ResealError, ResealReport, RestoreError, RestoreReport, Spoilt,
    Unopened, Verdict,
};
pub use origin::{BadOriginSecrets, OriginProof, OriginSecrets};
pub use refresh::{
    DEFAULT_MIN_VALID, InvalidTokenHash, MAX_MIN_VALID, RefreshOutcome, RetryReason, Stopped, SweepError,
    SweepReport, TokenHash, VendError, VendRefusal, Vended,
};
pub use remedy::{Party, Remedy};
pub use removal::{Deauthorized, Deleted, Disconnected, RemovalError};
pub use service::ThreadsAuth;
pub use threads_auth_model::events::{Event, EventData, EventKind, SOURCE as EVENT_SOURCE};
pub use threads_auth_model::schedule::Part;
pub use threads_auth_model::{
    Cause, Grant, Key, LONGEST_REFERENCE, MAX_REFERENCE, Pause, Progress, Pseudonym, RevokedBy, ScopesSource,
    Session, SessionState, SessionStatus, State, Status, Summary, error_chain,
};
pub use threads_auth_store::{
    FailureKind, Item, LookupError, SecretsError, StoreError, Table, WebhookSecretCache, WriteOutcome, aws,
};
