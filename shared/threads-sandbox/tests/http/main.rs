//! The sandbox over real HTTP, as a client in any language sees it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod control;
mod dialog;
mod faults;
mod paths;
mod restart;
mod support;
mod tokens;
mod unkind;
