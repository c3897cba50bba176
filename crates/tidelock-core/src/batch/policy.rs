//! What the routes of a batch's changes want when something goes wrong.

use super::endings::ending;
use super::{Batch, Content, Slot};
use crate::cause::Cause;
use crate::pipeline::{OnConflict, OnOutage, Pipeline, Policy, Rules};
use std::ops::Range;

/// The policies of a batch's slots.
pub(super) struct Policies<'a> {
    payload: &'a [u8],
    batch: &'a Batch,
    pipeline: &'a Pipeline,
    /// By origin, its routes, and what all of them want; `None` where it depends on the item.
    rules: Vec<(Rules<'a>, Option<Policy>)>,
}

impl<'a> Policies<'a> {
    pub(super) fn new(payload: &'a [u8], batch: &'a Batch, pipeline: &'a Pipeline) -> Self {
        let otherwise = pipeline.default_policy();
        let rules = batch.origins.iter().map(|origin| pipeline.rules(&origin.name, origin.branch));
        let with_common = |rules: Rules<'a>| {
            let common = rules.common_policy(otherwise);
            (rules, common)
        };
        Self { payload, batch, pipeline, rules: rules.map(with_common).collect() }
    }

    /// What a slot's route wants. Looked at when it matters: while all goes well nobody asks.
    pub(super) fn of(&self, slot: usize) -> Policy {
        let Some(slot) = self.batch.slots.get(slot) else { return self.pipeline.default_policy() };
        let Some((rules, common)) = slot.origin.and_then(|origin| self.rules.get(origin)) else {
            return self.pipeline.default_policy();
        };
        if let Some(common) = common {
            return *common;
        }
        let image = |range: &Range<usize>| self.batch.image(self.payload, range);
        rules.policy(slot.image.iter().chain(slot.before.image()).map(image), self.pipeline.default_policy())
    }

    /// By slot, whether it goes to the fallback queue in any case; empty where none does.
    pub(super) fn buffered(&self) -> Vec<bool> {
        if !self.pipeline.has(|policy| policy.on_outage == OnOutage::AlwaysHold) {
            return Vec::new();
        }
        let usable = |index: usize, slot: &Slot| match &slot.content {
            Content::Failed(failure) if failure.cause.is_of_a_collection() => {
                !ending(self.batch, self.pipeline, index).is_empty()
            }
            Content::Failed(failure) => failure.cause == Cause::MissingImage,
            _ => true,
        };
        let slots = self.batch.slots.iter().enumerate();
        slots.map(|(index, slot)| usable(index, slot) && self.of(index).on_outage == OnOutage::AlwaysHold).collect()
    }

    /// By slot, whether fields that the target has no place for may be set aside; empty where none may.
    pub(super) fn salvaged(payload: &'a [u8], batch: &'a Batch, pipeline: &'a Pipeline) -> Vec<bool> {
        if !pipeline.has(|policy| policy.on_conflict == OnConflict::Salvage) {
            return Vec::new();
        }
        let policies = Self::new(payload, batch, pipeline);
        (0..batch.slots.len()).map(|slot| policies.of(slot).on_conflict == OnConflict::Salvage).collect()
    }

    /// Every change may be held.
    pub(super) fn all_may_wait(&self) -> bool {
        (0..self.batch.slots.len()).all(|slot| self.of(slot).on_outage != OnOutage::Retry)
    }
}
