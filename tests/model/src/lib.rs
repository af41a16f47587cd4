//! Every interleaving of those who write a grant, explored: sweeps, callers, people who connect,
//! ends, imports, with lost answers, killed workers and clocks that disagree.
//!
//! Owns the model: Meta in short (`meta.rs`), the steps of the workers (`steps.rs`), the rules as
//! sentences about states and writes (`judge.rs`), and the configurations (`scenarios.rs`). The
//! writes are the values of `threads_auth_model::rules`, which the store sends to DynamoDB;
//! `mutant.rs` takes parts out of them, to prove that the sentences notice.

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
