//! The handler of `redrive`: what is to be done on a schedule.

use crate::App;
use bytes::Bytes;
use serde::Serialize;
use tidelock_core::fence::Swept;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};

/// Any event in (its content does not matter), counts out.
pub struct Redrive(App);

/// What a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// The sweep of fences.
    sweep: Sweep,
}

/// What the sweep has done; see [`Swept`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Sweep {
    compared: usize,
    removed: usize,
    expired: usize,
    complete: bool,
}

impl From<Swept> for Sweep {
    fn from(Swept { compared, removed, expired, complete }: Swept) -> Self {
        Self { compared, removed, expired, complete }
    }
}

impl Handler for Redrive {
    type Answer = Redriven;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        App::start(environment).await.map(Self)
    }

    async fn handle(&self, _event: Bytes, invocation: Invocation) -> Result<Redriven, Fatal> {
        let swept = self.0.sweep(&invocation).await?;
        Ok(Redriven { sweep: swept.into() })
    }
}
