//! Everything that surrounds the functions in development and tests, in one process.
//!
//! [`Stack::start`] is `threads-auth dev` and the test fixture. It runs an embedded DynamoDB, a
//! Secrets Manager endpoint, a sandbox in the place of Meta, and a gateway that converts HTTP to
//! the events that API Gateway sends to a function. The functions are the real ones: they have the
//! same configuration as on Lambda, and call everything over HTTP through the AWS SDK.
//!
//! Everything listens on loopback, which alone excludes nobody: `doors.rs` defines who is accepted
//! where.
//!
//! **Architecture invariant:** nothing that ships links this crate, and nothing in it is an
//! alternative implementation of ours.

mod bus;
mod dashboard;
mod data_folder;
mod dev;
mod doors;
mod dynamodb;
mod environment;
mod feed;
mod gateway;
pub mod look;
mod once;
mod options;
mod page;
mod schedule;
mod secrets_manager;
mod shared;
mod sigv4;
mod stack;
mod start;
mod webhook;

pub use doors::for_this_machine;
pub use environment::Urls;
pub use options::{LiveApp, StackError, StackOptions, Threads};
pub use stack::Stack;
pub use threads_sandbox::{Clock, Inspection};
