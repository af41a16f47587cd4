//! The product, driven over HTTP: one binary, so that it is linked once.
//!
//! Every test starts its own stack, with its own clock that stands still until the test moves it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail as tests do")]

mod backend;
mod bootstraps;
mod budget;
mod conformance;
mod connect;
mod contract;
mod ends;
mod events;
mod faults;
mod fixture;
mod golden;
mod iam;
mod inspector;
mod operations;
mod refresh;
mod removal;
mod threats;
mod unkind;
mod year;
