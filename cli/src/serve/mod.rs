//! Commands that serve until a signal ends them.

pub(crate) mod dev;
mod inspection;
pub(crate) mod sandbox;
