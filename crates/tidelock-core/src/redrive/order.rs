//! What is asked of a redrive, and what came of it.

use super::desk::{Mode, Settled};
use super::filter::Filter;
use serde::Serialize;
use std::collections::BTreeMap;

/// Most messages that are named as kept; the others are counted.
const MAX_NAMED: usize = 50;

/// What is to be redriven, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    /// Which messages.
    pub filter: Filter,
    /// How their records are applied.
    pub mode: Mode,
    /// Nothing is written, sent or deleted: only told.
    pub dry_run: bool,
    /// Also what is older than fences live, as the record says.
    pub force: bool,
    /// Messages at most.
    pub limit: Option<usize>,
}

/// What a run has done. Records are counted, but where it says messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Redriven {
    /// Messages that were looked at and that the filter takes.
    pub messages: usize,
    /// Messages that are done with.
    pub completed: usize,
    /// The target holds them now.
    pub applied: usize,
    /// The target holds something newer.
    pub stale: usize,
    /// The pipeline leaves them out.
    pub filtered: usize,
    /// Refused for good, by cause: they are letters now, or again.
    pub parked: BTreeMap<String, usize>,
    /// Not applied now; they wait on.
    pub waiting: usize,
    /// Messages that could not be used and are where they were.
    pub kept: usize,
    /// Some of those: what it is called, and why it was kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_because: Vec<(String, String)>,
    /// Why the run ended before all was seen: the target went away, or time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Redriven {
    /// All messages have been seen.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.stopped.is_none()
    }

    pub(super) fn keep(&mut self, name: &str, why: String) {
        self.kept += 1;
        if self.kept_because.len() < MAX_NAMED {
            self.kept_because.push((name.to_owned(), why));
        }
    }

    pub(super) fn count(&mut self, settled: &Settled) {
        self.applied += settled.applied;
        self.stale += settled.stale;
        self.filtered += settled.filtered;
        self.waiting += settled.again;
    }

    /// Counts a letter that is stored, or would be.
    pub(super) fn park(&mut self, reason: &str) {
        *self.parked.entry(reason.to_owned()).or_default() += 1;
    }
}

/// Where messages of a run go on to.
#[derive(Debug)]
pub struct Outlets<'a, Q, B, S> {
    /// For what is refused for good.
    pub dead_letters: Option<&'a Q>,
    /// For what does not fit into a message, and where that is read.
    pub bucket: Option<&'a B>,
    /// Where the records of a batch are fetched that Lambda gave up.
    pub streams: Option<&'a S>,
}

impl<Q, B, S> Clone for Outlets<'_, Q, B, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, B, S> Copy for Outlets<'_, Q, B, S> {}
