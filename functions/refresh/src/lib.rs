//! The refresh function.
