//! Commands that serve until they are told to end.

pub(crate) mod dev;
mod inspection;
pub(crate) mod sandbox;
pub(crate) mod server;
