//! The product, driven over HTTP: one binary, so that it is linked once.
//!
//! Every test starts its own stack, with its own clock that stands still until the test moves it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail as tests do")]

mod backend;
mod bootstraps;
mod budget;
mod client;
mod conformance;
mod connect;
mod contract;
mod costs;
mod detour;
mod dice;
mod doors;
mod each_fault;
mod ends;
mod errors_page;
mod events;
mod faults;
mod fixture;
mod formats;
mod golden;
mod golden_v0_2;
mod graph_examples;
mod holding;
mod iam;
mod inspector;
mod kills;
mod languages;
mod last_step;
mod load;
mod looks;
mod lost_events;
mod note;
mod nowhere;
mod operations;
mod pace;
mod proxy;
mod references;
mod refresh;
mod removal;
mod restoring;
mod rounds;
mod secrets_manager;
mod server_errors;
mod skew;
mod slow_day;
mod stale_secrets;
mod threats;
mod two_refreshers;
mod unkind;
mod way_back;
mod webhook;
