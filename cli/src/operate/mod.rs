//! Commands that an operator runs on a stack, on AWS or on this machine.

pub(crate) mod accounts;
mod aws_failure;
pub(crate) mod configure;
pub(crate) mod doctor;
pub(crate) mod keyring;
pub(crate) mod pause;
mod reseal;
pub(crate) mod restore;
pub(crate) mod restore_secret;
mod secret_versions;
mod secrets;
mod stored_keyring;
pub(crate) mod sweep;
mod target;
mod unseal;
