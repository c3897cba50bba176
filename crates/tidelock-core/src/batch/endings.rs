//! Events that take all documents of a collection with them (`on_drop: delete-all`).
//!
//! First a [fence](crate::fence::namespace_key) for all of them is written, as a delete is: only when every place has it, the event
//! is done. Then what is older is removed, as far as there is time; the sweep removes the rest, and what comes back.

use super::{Batch, Content, Delivery, Fate};
use crate::cause::{Cause, Failure};
use crate::fence::namespace_key;
use crate::key::Key;
use crate::pipeline::Pipeline;
use crate::target::{Call, Done, Operation, Outcome, Place, Store, Write};
use crate::version::Version;
use crate::version::mongodb::{cluster_of_arn, space};
use std::cmp::Ordering;
use std::time::Instant;

/// The share of the time that writing the fences may take, so that a place that does not answer leaves others theirs.
const FENCES: u32 = 4;

/// Documents of a collection at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Whose event takes them with it.
    pub slot: usize,
    /// Where they are.
    pub place: Place,
    /// Their version space.
    pub space: String,
    key: Vec<u8>,
}

/// What has been removed with collections that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Documents that are deleted now.
    pub documents: usize,
    /// Places that were not looked through: the sweep does it.
    pub left: usize,
}

impl Ending {
    /// What the events of a batch take with them, but for slots that are `left_out`.
    pub(super) fn of(batch: &Batch, pipeline: &Pipeline, left_out: &[bool]) -> Vec<Self> {
        if !pipeline.may_delete_all() {
            return Vec::new();
        }
        let slots = (0..batch.slots.len()).filter(|slot| left_out.get(*slot) != Some(&true));
        slots.flat_map(|slot| ending(batch, pipeline, slot)).collect()
    }

    fn version<'b>(&'b self, batch: &'b Batch) -> Option<Version<'b>> {
        let version = batch.version(batch.slots.get(self.slot)?)?;
        Some(Version { space: &self.space, ..version })
    }
}

/// What an event takes with it; nothing where its place in the order is not known, or the pipeline wants something else.
pub(super) fn ending(batch: &Batch, pipeline: &Pipeline, index: usize) -> Vec<Ending> {
    let Some(slot) = batch.slots.get(index) else { return Vec::new() };
    let (Content::Failed(failure), Some(origin)) = (&slot.content, batch.origin(slot)) else { return Vec::new() };
    let ends = failure.cause.is_of_a_collection() && batch.version(slot).is_some_and(|version| version.coarse > 0);
    let Some(cluster) = cluster_of_arn(&origin.arn).filter(|_| ends) else { return Vec::new() };
    let ended = pipeline.ended(failure.cause, &origin.name).into_iter();
    ended
        .filter_map(|one| {
            let (database, collection) = one.source.split_once('.')?;
            let space = space(&cluster, database, collection);
            Some(Ending { slot: index, place: one.place, key: namespace_key(&space), space })
        })
        .collect()
}

impl<'b> Delivery<'b> {
    /// Writes the fences of what has ended; gives how many operations that took. Of several events of one location, the newest
    /// stands for the others.
    pub async fn fence_endings<S: Store>(&mut self, target: &S, call: Call) -> usize {
        let endings = self.newest_endings();
        if endings.is_empty() {
            return 0;
        }
        let operations: Vec<Operation<'_>> = endings
            .iter()
            .map(|&(ending, version)| {
                Operation::plain(&ending.place, Key::from_bytes(&ending.key), Write::Delete, version)
            })
            .collect();
        let mut outcomes = target.apply(&operations, call).await;
        if outcomes.len() != operations.len() {
            let detail = format!("{} outcomes for {} operations", outcomes.len(), operations.len());
            outcomes = vec![Err(Failure::new(Cause::UnexpectedAnswer, detail)); operations.len()];
        }
        for ((ending, version), outcome) in endings.iter().zip(&outcomes) {
            self.end(ending, outcome);
            if *outcome == Ok(Done::Applied) {
                self.ended.push((*ending, version.mark()));
            }
        }
        operations.len()
    }

    /// Says of everything that ends that it has. Nothing is written.
    pub(crate) fn foretell_endings(&mut self) {
        for ending in self.newest_endings() {
            self.end(ending.0, &Ok(Done::Applied));
        }
    }

    /// Removes the documents of what has ended, whose fences are there, as far as there is time.
    pub async fn clear<S: Store>(&self, target: &S, call: Call) -> Removed {
        let mut removed = Removed::default();
        for (ending, fence) in &self.ended {
            // What fails here is left: the fence is there, and the sweep comes to it.
            let cleared = target.clear(&ending.place, fence, call).await.unwrap_or_default();
            removed.documents += cleared.removed;
            removed.left += usize::from(!cleared.complete);
        }
        removed
    }

    /// By location, what ends there, with the newest version.
    fn newest_endings(&self) -> Vec<(&'b Ending, Version<'b>)> {
        let mut newest: Vec<(&'b Ending, Version<'b>)> = Vec::new();
        for ending in &self.plan.endings {
            let Some(version) = ending.version(self.batch) else { continue };
            let same = |(other, _): &&mut (&Ending, Version<'_>)| {
                (&other.place, &other.space) == (&ending.place, &ending.space)
            };
            match newest.iter_mut().find(same) {
                Some(other) if version.mark().compare(&other.1.mark()) == Some(Ordering::Greater) => {
                    *other = (ending, version);
                }
                Some(_) => {}
                None => newest.push((ending, version)),
            }
        }
        newest
    }

    /// Takes in what became of a location's fence.
    fn end(&mut self, ending: &Ending, outcome: &Outcome) {
        // Where no document can be, there is none.
        let nothing = matches!(outcome, Err(failure) if failure.cause == Cause::InvalidTargetName);
        let outcome = if nothing { &Ok(Done::Applied) } else { outcome };
        let same = |other: &&Ending| (&other.place, &other.space) == (&ending.place, &ending.space);
        for other in self.plan.endings.iter().filter(same) {
            if let Some(fate) = self.fates.get_mut(other.slot) {
                fate.absorb(outcome);
            }
        }
    }
}

/// Until when fences of what ends are written, of the time from `started` to `deadline`.
pub(crate) fn fences_by(started: Instant, deadline: Instant) -> Instant {
    started + deadline.saturating_duration_since(started) / FENCES
}

/// Until when documents of what has ended are removed: half of the time is for everything else.
pub(crate) fn cleared_by(started: Instant, deadline: Instant) -> Instant {
    started + deadline.saturating_duration_since(started) / 2
}

/// Begins the fates of slots that end something: they are decided by their fences.
pub(super) fn begin(endings: &[Ending], fates: &mut [Fate]) {
    for ending in endings {
        if let Some(fate) = fates.get_mut(ending.slot) {
            *fate = Fate::Pending;
        }
    }
}
