//! The product, driven over HTTP: one binary, so that it is linked once.
//!
//! Every test starts its own stack, with its own clock that stands still until the test moves it.

mod connect;
mod fixture;
mod refresh;
