#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! One module, one job, and no circles: `server` (routes; `path` reads the Threads side's) uses
//! `control`, `graph`, `authorize` and `page`; those use the handle, `sandbox`, or what it holds
//! (`world`, `switches`, `fault`, `call`, `clock`). Three invariants hold throughout:
//!
//! - **Time is the [`Clock`]'s.** Nothing else reads the real time, so a test can pass sixty days
//!   in a millisecond.
//! - **Secrets are not kept.** Tokens and codes are stored as SHA-256 hashes, in memory and in the
//!   state file, and a [`CallRecord`] holds no more than six characters of one.
//! - **This crate shares no code with the client under test.** It is an independent reading of
//!   Meta's documentation, so the two can catch each other's mistakes.

mod account;
mod app;
mod ask;
mod authorize;
mod bad_hours;
mod call;
mod clock;
mod control;
mod doors;
mod fault;
mod graph;
mod graph_error;
mod inspection;
mod mint;
mod options;
mod page;
mod params;
mod path;
mod reply;
mod sandbox;
mod server;
mod store;
mod switches;
mod world;

pub use account::{Account, AccountStatus};
pub use bad_hours::{BadAnswer, BadHours};
pub use call::{CallRecord, SandboxCall};
pub use clock::Clock;
pub use doors::{Door, TurnedAway};
pub use fault::{Fault, FaultAction};
pub use options::{NewAccount, SandboxError, SandboxOptions};
pub use sandbox::Sandbox;
pub use switches::{ExchangeAnswer, ExpiresIn, Inspection, OldToken, RedirectEnding};
