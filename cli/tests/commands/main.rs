//! Every command but `dev`, run as a process: its output, its exit, and its files.
//!
//! Meta is a sandbox in this process, or, if a test has to act during a call to Meta, a server of
//! its own. Nothing sleeps; the waits have a limit only so that a hang becomes a failure.
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
mod moving;
mod operations;
mod others;
mod pause;
mod restore_secret;
mod sign;
mod stack;
mod support;
mod terminal;
mod threadspipe;
