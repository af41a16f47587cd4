//! The threats to connecting: each proof runs the real stack, and prints its figure.

pub(crate) mod common;
mod junk;
mod pages;
mod pollution;
mod return_to;
mod secrets;
mod sessions;
mod state;
mod webhooks;
