//! Commands that an operator runs on a stack, on AWS or on this machine.

pub(crate) mod accounts;
pub(crate) mod configure;
pub(crate) mod doctor;
pub(crate) mod keyring;
pub(crate) mod restore;
pub(crate) mod sweep;
pub(crate) mod target;
