//! Commands that a person runs on their own: a login, and the tokens that come of it.

pub(crate) mod access_token;
pub(crate) mod authorize_url;
mod consent;
mod env_slot;
pub(crate) mod legacy;
pub(crate) mod login;
mod recovered;
pub(crate) mod refresh_token;
mod tokens;
