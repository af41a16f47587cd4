//! The connect flow: from a link to a stored grant.

pub(crate) mod begin;
mod error;
pub(crate) mod finish;
pub(crate) mod flow;
pub(crate) mod return_to;
pub(crate) mod session;
mod way_back;

pub use begin::Begun;
pub use error::{ConnectError, ConnectOutcome, ConnectRefusal};
pub use finish::Connected;
pub use flow::{CookieKind, Flow, ResumeError};
pub use session::{CompleteError, NewSession, SessionError};
pub use way_back::ReturnStatus;
