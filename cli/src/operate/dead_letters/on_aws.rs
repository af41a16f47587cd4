//! Opens the stack that dead letters belong to, which is on AWS.

use anyhow::{Context, Result};

use crate::operate::target::{Deployed, StackArgs, StackHandle};
use crate::shell::env::Env;
use crate::shell::exit::usage;
use crate::shell::interrupt::Interrupt;

/// Finds the stack, and refuses a development stack.
pub(super) async fn open(target: &StackArgs, env: &Env) -> Result<(Interrupt, StackHandle)> {
    if target.is_local() {
        return usage(
            "a development stack has no dead letters: events that its bus refuses wait there; name a stack on AWS with --stack",
        );
    }
    target.begin(env).await
}

pub(super) fn deployed(stack: &StackHandle) -> Result<&Deployed> {
    stack.deployed.as_ref().context("only a stack on AWS has dead letters")
}
