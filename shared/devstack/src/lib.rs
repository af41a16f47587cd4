//! Everything that development and tests put around the functions, in one process.
//!
//! [`Stack::start`] is `threads-auth dev`, and it is the test fixture. It runs an embedded DynamoDB, a Secrets Manager endpoint, a
//! stand-in for Meta, and a gateway that turns HTTP into the event that API Gateway sends to a function. The functions are the real
//! ones: they are configured by the same variables as on Lambda, and reach all of it over HTTP through the AWS SDK.
//!
//! **Architecture invariant:** nothing that ships links this crate, and nothing in it is an alternative implementation of ours.

mod bus;
mod dev;
mod dynamodb;
mod feed;
mod gateway;
mod page;
mod secrets_manager;
mod sigv4;
mod stack;

pub use stack::{LiveApp, Stack, StackError, StackOptions, Threads, Urls};
pub use threads_sandbox::Clock;
