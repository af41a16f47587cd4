//! The sandbox over real HTTP, as a client in any language sees it.

mod control;
mod dialog;
mod faults;
mod restart;
mod support;
mod tokens;
