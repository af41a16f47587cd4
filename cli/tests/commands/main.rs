//! Every command but `dev`, run as a process: what it prints where, how it exits, and what it
//! leaves behind.
//!
//! Meta is a sandbox in this process, or, where a test has to do something while Meta is being
//! asked, a server of its own. Nothing sleeps; the waits have a limit only so that a hang becomes a
//! failure.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail as tests do")]

mod accounts;
mod console;
mod credentials;
mod dead_letters;
mod deletion;
mod deployed;
mod env_file;
mod exits;
mod failing;
mod inspector;
mod keyring;
mod login;
mod operations;
mod others;
mod pause;
mod restore_secret;
mod sign;
mod stack;
mod support;
mod terminal;
mod threadspipe;
