//! Connects people's Threads accounts to an app and keeps their tokens alive.
//!
//! [`ThreadsAuth`] is the service: its methods are the operations, one page of them. Below it stand
//! Meta's protocol ([`threads_graph`]), the rules ([`threads_auth_model`]) and the tables
//! ([`threads_auth_store`]), whose vocabulary is re-exported: the functions depend on this crate
//! and on nothing under it. Time is an argument of each operation: nothing below a `main.rs` reads
//! a clock.
//!
//! **Architecture invariant:** nothing here knows of Lambda, API Gateway, pages or an environment
//! other than production. Development and tests differ in the endpoints of [`Config`], and in
//! nothing else.

mod callers;
mod calls;
mod clients;
mod config;
mod connect;
mod drift;
mod events;
mod inspection;
mod new_grant;
mod operate;
mod origin;
mod refresh;
mod removal;
mod service;
mod stopwatch;

pub use callers::Caller;
pub use clients::StartError;
pub use config::{AuthorizeAccess, Config, ConfigError, ConfigProblem, Setting};
pub use connect::return_to::{BadEntry, NotAllowed, ReturnTo, ReturnToAllowlist};
pub use connect::{
    Begun, CompleteError, ConnectError, ConnectOutcome, ConnectRefusal, Connected, Flow, NewSession,
    ReturnStatus, SessionError,
};
pub use events::RowChange;
pub use operate::{
    Comparison, ImportError, Imported, Inspections, Left, Loss, PersonDeleted, PersonalData,
    PersonalDataError, Record, Replaced, ResealError, ResealReport, RestoreError, RestoreReport, Spoilt,
    Unopened, Verdict,
};
pub use origin::{BadOriginSecrets, OriginProof, OriginSecrets};
pub use refresh::{
    DEFAULT_MIN_VALID, InvalidTokenHash, MAX_MIN_VALID, RefreshOutcome, RetryReason, Stopped, SweepError,
    SweepReport, TokenHash, VendError, Vended,
};
pub use removal::{Deauthorized, Deleted, RemovalError};
pub use service::ThreadsAuth;
pub use threads_auth_model::events::{Event, EventData, EventKind, SOURCE as EVENT_SOURCE};
pub use threads_auth_model::{
    Cause, Grant, Key, Pause, Progress, RevokedBy, ScopesSource, Session, SessionState, SessionStatus, State,
    Status, Summary, error_chain,
};
pub use threads_auth_store::{FailureKind, Item, SecretsError, StoreError, WriteOutcome, aws};
