//! Commands for a person: a login, and the resulting tokens.

pub(crate) mod access_token;
pub(crate) mod authorize_url;
mod consent;
mod env_slot;
pub(crate) mod legacy;
pub(crate) mod login;
mod recovered;
pub(crate) mod refresh_token;
mod tokens;
