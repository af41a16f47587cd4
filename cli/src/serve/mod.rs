//! Commands that serve until they are told to end.

pub(crate) mod dev;
pub(crate) mod sandbox;
pub(crate) mod server;
