//! An exploration of every interleaving of a grant's writers: sweeps, callers, connects, ends and
//! imports, with lost responses, killed workers and clocks that differ.
//!
//! Owns the model: a small Meta (`meta.rs`), the steps of the workers (`steps.rs`), the rules on
//! states and writes (`judge.rs`), and the configurations (`scenarios.rs`). The writes are the
//! values of `threads_auth_model::rules`, which the store sends to DynamoDB. `mutant.rs` removes
//! parts of them, to prove that the rules detect it.

pub mod check;
pub mod history;
pub mod judge;
pub mod meta;
pub mod model;
pub mod mutant;
pub mod scenarios;
pub mod steps;
pub mod tables;
pub mod world;

pub use check::{Check, Scenario};
pub use model::Action;
