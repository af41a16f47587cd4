//! The stack that dead letters belong to: one on AWS.

use anyhow::{Context, Result};

use crate::operate::target::{Deployed, Opened, Target};
use crate::shell::exit::usage;
use crate::shell::interrupt::Interrupt;
use crate::shell::surroundings::Surroundings;

/// Finds the stack, and refuses a development stack.
pub(super) async fn open(
    target: &Target,
    surroundings: &Surroundings,
    interrupt: &mut Interrupt,
) -> Result<Opened> {
    if target.is_local() {
        return usage(
            "a development stack has no dead letters: what its bus refuses waits there; name a stack on AWS with --stack",
        );
    }
    interrupt.or(target.open(surroundings)).await
}

pub(super) fn deployed(stack: &Opened) -> Result<&Deployed> {
    stack.deployed.as_ref().context("only a stack on AWS has dead letters")
}
