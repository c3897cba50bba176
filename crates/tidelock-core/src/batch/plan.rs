//! Which slots belong together: one group per source key, ordered by version.

use super::Batch;
use crate::pipeline::{Pipeline, Routed};
use crate::target::Place;
use std::collections::HashMap;
use std::ops::Range;

/// Changes of one key, as a range of [`Plan::order`]: oldest version first, delivery order among equals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where the group lies in the order.
    pub members: Range<usize>,
    /// Where its changes go.
    pub origin: usize,
}

/// Groups of a batch.
#[derive(Debug)]
pub struct Plan {
    /// Slot indices, group by group.
    pub order: Vec<usize>,
    /// The groups in the order in which their keys first occur.
    pub groups: Vec<Group>,
    /// Where each origin's changes go.
    pub routes: Vec<Routed>,
}

impl Plan {
    /// Groups a batch's slots by source and key. Slots without a key, a position, a stream, or a route are in no group.
    #[must_use]
    pub fn new(batch: &Batch, pipeline: &Pipeline) -> Self {
        let routes: Vec<_> = batch.origins.iter().map(|origin| pipeline.route(&origin.name)).collect();
        // A stream that was enabled anew is the same source: its keys are the same keys.
        let spaces: Vec<_> = batch
            .origins
            .iter()
            .map(|origin| batch.origins.iter().position(|first| first.space == origin.space).unwrap_or_default())
            .collect();
        let mut groups = HashMap::with_capacity(batch.slots.len());
        let mut members = Vec::with_capacity(batch.slots.len());
        for (index, slot) in batch.slots.iter().enumerate() {
            let (Some(key), Some(origin), Some(_)) = (batch.key(slot), slot.origin, slot.sequence) else { continue };
            if !matches!(routes.get(origin), Some(Routed::To(_))) {
                continue;
            }
            let next = groups.len();
            let group = *groups.entry((spaces.get(origin), key)).or_insert(next);
            members.push((group, index));
        }
        members.sort_unstable_by(|&(a_group, a), &(b_group, b)| {
            a_group.cmp(&b_group).then_with(|| version_order(batch, a).cmp(&version_order(batch, b))).then(a.cmp(&b))
        });
        let mut plan = Self {
            order: members.iter().map(|&(_, slot)| slot).collect(),
            groups: Vec::with_capacity(groups.len()),
            routes,
        };
        let mut from = 0;
        for run in members.chunk_by(|a, b| a.0 == b.0) {
            let origin = run
                .last()
                .and_then(|&(_, slot)| batch.slots.get(slot))
                .and_then(|slot| slot.origin)
                .unwrap_or_default();
            plan.groups.push(Group { members: from..from + run.len(), origin });
            from += run.len();
        }
        plan
    }

    /// Where an origin's changes go.
    #[must_use]
    pub fn place(&self, origin: usize) -> Option<&Place> {
        match self.routes.get(origin) {
            Some(Routed::To(place)) => Some(place),
            _ => None,
        }
    }
}

fn version_order(batch: &Batch, slot: usize) -> Option<(&str, crate::version::Sequence)> {
    let slot = batch.slots.get(slot)?;
    Some((batch.origin(slot)?.label.as_str(), slot.sequence?))
}
