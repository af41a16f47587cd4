//! Everything that development and tests put around the functions, in one process.
//!
//! [`Stack::start`] is `threads-auth dev`, and it is the test fixture. It runs an embedded
//! DynamoDB, a Secrets Manager endpoint, a stand-in for Meta, and a gateway that turns HTTP into
//! the event that API Gateway sends to a function. The functions are the real ones: they are
//! configured by the same variables as on Lambda, and reach all of it over HTTP through the AWS
//! SDK.
//!
//! All of it listens on loopback, which keeps nobody out by itself: `doors.rs` says who is answered
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
mod options;
mod page;
mod schedule;
mod secrets_manager;
mod shared;
mod sigv4;
mod stack;
mod start;

pub use environment::Urls;
pub use options::{LiveApp, StackError, StackOptions, Threads};
pub use stack::Stack;
pub use threads_sandbox::{Clock, Inspection};
