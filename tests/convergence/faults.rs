//! What happens to the functions' write requests, whatever the server.

use super::search;
use crate::support::proxy::Seen;
use crate::support::wire::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// What a plan sees of a write request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    /// 1 for the first one since the plan was made, and so on.
    pub(crate) number: usize,
    /// Documents are written: it is not about deletes and fences alone.
    pub(crate) documents: bool,
}

/// What happens to a write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Pass,
    /// The server is busy; nothing is applied.
    Refuse,
    /// The connection is cut and nothing applied.
    CutBefore,
    /// It is applied; the connection is cut instead of answering.
    CutAfter,
    /// It stops half-way for so long, or until the client has gone: before it is applied, or when it has been.
    Stop {
        applied: bool,
        time: Duration,
    },
    /// As [`Self::CutBefore`], and a copy is kept, to be sent later.
    Keep,
}

/// A write request that was never answered.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Bulk(Seen),
    Command(Command),
}

impl Kept {
    /// Ids of the documents it writes, those that it deletes left out.
    pub(crate) fn written(&self) -> Vec<String> {
        match self {
            Self::Bulk(seen) => search::writes(seen).map(|(id, _)| id).collect(),
            Self::Command(command) if command.writes() => command.ids(),
            Self::Command(_) => Vec::new(),
        }
    }
}

type Plan = Box<dyn FnMut(Write) -> Deed + Send>;

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    number: usize,
    struck: usize,
    kept: Vec<Kept>,
}

/// The faults of one script.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    state: Arc<Mutex<State>>,
    /// Told when a request has stopped.
    pub(crate) reached: Arc<Notify>,
}

impl Faults {
    /// From now on write requests meet this.
    pub(crate) fn plan(&self, plan: impl FnMut(Write) -> Deed + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        state.plan = Some(Box::new(plan));
        state.number = 0;
    }

    /// From now on they meet nothing.
    pub(crate) fn end(&self) {
        self.state.lock().unwrap().plan = None;
    }

    /// How many requests have been hit.
    pub(crate) fn struck(&self) -> usize {
        self.state.lock().unwrap().struck
    }

    /// The copies that were kept, oldest first.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.state.lock().unwrap().kept.clone()
    }

    /// What a proxy is to do with a request.
    pub(crate) fn decide(&self, documents: bool, copy: impl FnOnce() -> Kept) -> Deed {
        let mut state = self.state.lock().unwrap();
        state.number += 1;
        let write = Write { number: state.number, documents };
        let deed = state.plan.as_mut().map_or(Deed::Pass, |plan| plan(write));
        state.struck += usize::from(deed != Deed::Pass);
        if deed == Deed::Keep {
            state.kept.push(copy());
        }
        deed
    }
}
