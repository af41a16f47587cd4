//! The measures of one function at one work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::ServerConfig;

use crate::lambda::{Function, Under};
use crate::process;
use crate::scene::Scene;
use crate::wire::{Counts, Pace, Wire};

/// No answer is late.
pub(crate) const AT_ONCE: Pace = Pace::After { aws: Duration::ZERO, graph: Duration::ZERO };

/// One part of a process's life: its start, or one event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    /// Nanoseconds of CPU.
    pub(crate) cpu: u64,
    /// From the event to the response.
    pub(crate) took: Duration,
    pub(crate) counts: Counts,
}

/// The life of a process with three events: the first one, one after it, and a warm one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) init: Part,
    pub(crate) first: Part,
    pub(crate) warm: Part,
    /// Kibibytes at most.
    pub(crate) memory: u64,
}

/// Lets a process live.
pub(crate) async fn life(
    executable: &Path,
    scene: &mut Scene,
    tls: Option<&Arc<ServerConfig>>,
    pace: Pace,
) -> Result<Life> {
    let wire = Wire::start(&scene.variables, tls, pace)?;
    let mut function = Function::start(executable, &wire.variables, Under::Nothing).await?;
    let id = function.id();
    let lived = async {
        function.asked().await?;
        let mut before = (process::cpu(id), wire.counts());
        let mut parts = [Part { cpu: before.0, counts: before.1, ..Part::default() }; 4];
        for part in &mut parts[1..] {
            let event = scene.event().await?;
            let done = function.invoke(event).await?;
            scene.check(&done.response)?;
            let after = (process::cpu(id), wire.counts());
            *part = Part { cpu: after.0 - before.0, took: done.took, counts: after.1 - before.1 };
            before = after;
        }
        let [init, first, _, warm] = parts;
        Ok::<_, anyhow::Error>(Life { init, first, warm, memory: process::memory(id)? })
    };
    let life = match pace {
        Pace::After { .. } => lived.await?,
        Pace::InRounds => tokio::select! {
            life = lived => life?,
            never = wire.conduct(id) => match never {},
        },
    };
    function.end().await?;
    Ok(life)
}

/// Returns the instructions of a process that has got so many events.
pub(crate) async fn instructions(
    executable: &Path,
    scene: &mut Scene,
    tls: Option<&Arc<ServerConfig>>,
    events: usize,
) -> Result<u64> {
    let wire = Wire::start(&scene.variables, tls, AT_ONCE)?;
    let mut function = Function::start(executable, &wire.variables, Under::Callgrind).await?;
    function.asked().await?;
    for _ in 0..events {
        let event = scene.event().await?;
        let done = function.invoke(event).await?;
        scene.check(&done.response)?;
    }
    Ok(function.end().await?.unwrap_or_default())
}
