//! Everything that commands share: the sources of values, the terminal, and the exit.

pub(crate) mod completions;
pub(crate) mod env;
pub(crate) mod env_file;
pub(crate) mod exit;
pub(crate) mod failure;
pub(crate) mod inputs;
pub(crate) mod interrupt;
pub(crate) mod left_out;
pub(crate) mod man;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod server;
