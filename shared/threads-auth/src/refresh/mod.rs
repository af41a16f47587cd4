//! Keeping tokens alive: the sweep, the refresh of one grant, and vending a token to a backend.

mod attempt;
mod catch_up;
mod outcome;
mod pace;
pub(crate) mod refresher;
pub(crate) mod refusal;
pub(crate) mod sweep;
pub(crate) mod vend;

pub use outcome::RefreshOutcome;
pub use sweep::{Stopped, SweepError, SweepReport};
pub use vend::{
    DEFAULT_MIN_VALID, InvalidTokenHash, MAX_MIN_VALID, RetryReason, TokenHash, VendError, VendRefusal,
    Vended,
};
