//! From planned groups to one fate per slot: what is to be done next, and the falling back when a change is refused for good.

use super::endings::{self, Ending};
use super::{Act, Batch, BatchResponse, Before, Content, Plan};
use crate::cause::{Cause, Disposition, Failure};
use crate::pipeline::{Routed, Rules};
use crate::slow::Wish;
use crate::target::{Done, Manner, Operation, Outcome, Salvage, Write};
use crate::version::{Mark, Sequence, mongodb};

/// What became of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Not decided yet.
    Pending,
    /// The target holds it, or a newer change of the batch that stands for it.
    Done(Done),
    /// The pipeline leaves it out.
    Filtered,
    /// Stored as a dead letter, for this reason.
    Parked(Cause),
    /// Stored in the fallback queue, for this reason: `redrive` applies it.
    Held(Cause),
    /// Not applied; the cause's disposition says what follows.
    Failed(Failure),
}

/// What is to be done next.
#[derive(Debug, Default)]
pub struct Round<'b> {
    /// The group of each operation, for [`Delivery::settle`].
    pub groups: Vec<usize>,
    /// What is to be written.
    pub operations: Vec<Operation<'b>>,
    /// What is to be read from the source, with its group.
    pub wishes: Vec<(usize, Wish<'b>)>,
}

enum Next<'b> {
    Write(Operation<'b>),
    Read(Wish<'b>),
}

/// The state of a delivery: pure, driven by [`deliver`](super::deliver).
#[derive(Debug)]
pub struct Delivery<'b> {
    pub(super) batch: &'b Batch,
    pub(super) plan: &'b Plan<'b>,
    /// The source can be read again.
    truth: bool,
    /// It is read for every change, so that no record needs to be readable beyond its key.
    by_truth: bool,
    /// Changes come in no order.
    unordered: bool,
    pub(super) fates: Vec<Fate>,
    /// How many members of each group are left to try, counted from its oldest; 0 when the group is done.
    pub(super) left: Vec<usize>,
    /// What has ended: its fence is there.
    pub(super) ended: Vec<(&'b Ending, Mark)>,
}

impl Fate {
    /// Takes in what became of one of the things a change does. What comes again, comes again whole; else what is refused for
    /// good stands.
    pub(super) fn absorb(&mut self, outcome: &Outcome) {
        let retries =
            |fate: &Self| matches!(fate, Self::Failed(failure) if failure.cause.disposition() == Disposition::Retry);
        match (&*self, outcome) {
            (Self::Done(Done::Applied), Ok(_)) => {}
            (Self::Pending | Self::Filtered | Self::Done(_), Ok(done)) => *self = Self::Done(*done),
            (Self::Failed(_) | Self::Parked(_) | Self::Held(_), Ok(_)) => {}
            (fate, Err(_)) if retries(fate) => {}
            (Self::Failed(_), Err(failure)) if failure.cause.disposition() == Disposition::Park => {}
            (_, Err(failure)) => *self = Self::Failed(failure.clone()),
        }
    }
}

impl<'b> Delivery<'b> {
    /// Begins: slots that decoding or routing has already decided get their fate.
    ///
    /// With `truth`, a change that came without its image is a wish to read the source; without it, it is refused.
    pub fn new(batch: &'b Batch, plan: &'b Plan<'b>, truth: bool) -> Self {
        let mut fates: Vec<Fate> = batch
            .slots
            .iter()
            .map(|slot| match (&slot.content, slot.origin.and_then(|origin| plan.rules.get(origin))) {
                (Content::Failed(failure), _) if failure.cause.is_of_a_collection() => {
                    Fate::Failed(Failure::clone(failure))
                }
                (_, Some(Rules::Same(Routed::Filtered, ..))) => Fate::Filtered,
                (Content::Failed(failure), _) => Fate::Failed(Failure::clone(failure)),
                (Content::Deferred, _) => Fate::Failed(Failure::new(Cause::UnexpectedAnswer, "no document was made")),
                (_, Some(Rules::Same(Routed::Refused(failure), ..))) => Fate::Failed(failure.clone()),
                _ => Fate::Pending,
            })
            .collect();
        for act in plan.acts.iter().filter(|act| truth && !act.leaves) {
            if let Some(fate) = fates.get_mut(act.slot)
                && matches!(fate, Fate::Failed(failure) if failure.cause == Cause::MissingImage)
            {
                *fate = Fate::Pending;
            }
        }
        for (slot, routed) in &plan.decided {
            let Some(fate) = fates.get_mut(*slot) else { continue };
            *fate = match (&*fate, routed) {
                (Fate::Pending, Routed::Refused(failure)) => Fate::Failed(failure.clone()),
                (Fate::Pending, _) => Fate::Filtered,
                // What the target could not hold need not be held.
                (Fate::Failed(failure), Routed::Filtered)
                    if is_of_the_target(failure.cause) || failure.cause.is_of_a_collection() =>
                {
                    Fate::Filtered
                }
                _ => continue,
            };
        }
        endings::begin(&plan.endings, &mut fates);
        for &slot in &plan.buffered {
            if let Some(fate) = fates.get_mut(slot).filter(|fate| !matches!(fate, Fate::Filtered)) {
                *fate = Fate::Failed(Failure::new(Cause::Buffered, "it waits in the fallback queue"));
            }
        }
        for (slot, outcome) in &plan.settled {
            let Some(fate) = fates.get_mut(*slot) else { continue };
            match outcome {
                Ok(done) if *fate == Fate::Pending => *fate = Fate::Done(*done),
                Ok(_) => {}
                Err(failure) => *fate = Fate::Failed(failure.clone()),
            }
        }
        let left = plan.groups.iter().map(|group| group.members.len()).collect();
        Self { batch, plan, truth, by_truth: false, unordered: false, fates, left, ended: Vec::new() }
    }

    /// The same, where the source is read for every change: a record whose content is of no use is a wish like the others.
    #[must_use]
    pub fn by_truth(self) -> Self {
        let mut delivery = Self { by_truth: self.truth, ..self };
        for act in delivery.plan.acts.iter().filter(|act| !act.leaves) {
            let asks = matches!(
                delivery.batch.slots.get(act.slot).map(|slot| &slot.content),
                Some(Content::Failed(failure)) if delivery.asks(failure)
            );
            if let Some(fate) = delivery.fates.get_mut(act.slot).filter(|fate| asks && matches!(fate, Fate::Failed(_)))
            {
                *fate = Fate::Pending;
            }
        }
        delivery
    }

    /// The same, where changes come in no order, as messages of a queue: of two with one number nobody but the source knows which
    /// is the newer one.
    #[must_use]
    pub fn unordered(self) -> Self {
        let mut delivery = Self { unordered: true, ..self };
        if !delivery.truth {
            for group in 0..delivery.plan.groups.len() {
                if delivery.is_tied(group) {
                    let why = "two changes of the same version wait, and nobody knows which is the later one";
                    delivery.give_up(group, &Failure::new(Cause::OrderConflict, why));
                }
            }
        }
        delivery
    }

    fn is_tied(&self, group: usize) -> bool {
        self.unordered && self.plan.groups.get(group).is_some_and(|group| group.tied)
    }

    /// Refuses all that is left of a group.
    fn give_up(&mut self, group: usize, failure: &Failure) {
        for act in self.members(group).to_vec() {
            if let Some(fate) = self.fates.get_mut(act.slot) {
                fate.absorb(&Err(failure.clone()));
            }
        }
        if let Some(left) = self.left.get_mut(group) {
            *left = 0;
        }
    }

    /// Whether the source can tell what a record does not.
    fn asks(&self, failure: &Failure) -> bool {
        match failure.cause {
            Cause::MissingImage => self.truth,
            Cause::UnknownEvent => false,
            cause => self.by_truth && !cause.is_of_a_collection(),
        }
    }

    /// The next round: for every undecided group, the newest change that has not been refused. Empty when all is decided.
    pub fn round(&mut self) -> Round<'b> {
        let mut round = Round::default();
        for group in 0..self.left.len() {
            match self.survivor(group) {
                Some(Next::Write(operation)) => {
                    round.groups.push(group);
                    round.operations.push(operation);
                }
                Some(Next::Read(wish)) => round.wishes.push((group, wish)),
                None => {}
            }
        }
        round
    }

    fn survivor(&mut self, group: usize) -> Option<Next<'b>> {
        loop {
            let act = self.member(group)?;
            let slot = self.batch.slots.get(act.slot)?;
            let into = self.plan.place(group)?;
            let before = || self.members(group).iter().rev().nth(1).map(|act| act.slot);
            let in_doubt = || act.leaves && self.batch.is_left_in_doubt(act.slot, before());
            if self.truth && (self.plan.groups.get(group)?.disputed || self.is_tied(group) || in_doubt()) {
                return self.wish(group).map(Next::Read);
            }
            let write = match &slot.content {
                _ if act.leaves => Write::Delete,
                Content::Upsert(range) => Write::Upsert(self.batch.documents.get(range.clone())?),
                Content::Delete => Write::Delete,
                Content::Failed(failure) if self.asks(failure) => {
                    return self.wish(group).map(Next::Read);
                }
                Content::Failed(_) | Content::Deferred => {
                    *self.left.get_mut(group)? -= 1;
                    continue;
                }
            };
            let (key, version) = (into.key(self.batch.key(slot)?), self.batch.version(slot)?);
            let (salvage, manner) = (self.salvage(act.slot), self.manner(act));
            let fresh = self.is_fresh(group);
            return Some(Next::Write(Operation { into, key, write, version, salvage, manner, fresh }));
        }
    }

    /// The oldest change of a group has found nothing, so that nothing was there before the batch.
    fn is_fresh(&self, group: usize) -> bool {
        let slot = |act: &Act| self.batch.slots.get(act.slot);
        let oldest = self.members(group).first().filter(|act| !act.leaves);
        oldest.and_then(slot).is_some_and(|slot| slot.before == Before::Absent)
    }

    /// The group's newest undecided change as a wish to read the source.
    #[must_use]
    pub fn wish(&self, group: usize) -> Option<Wish<'b>> {
        let act = self.member(group)?;
        let index = act.slot;
        let slot = self.batch.slots.get(index)?;
        let origin = self.plan.groups.get(group)?.origin;
        let version = if act.leaves { self.batch.leaving_version(slot) } else { self.batch.version(slot) };
        Some(Wish {
            origin: &self.batch.origins.get(origin)?.name,
            rules: self.plan.rules.get(origin)?,
            into: self.plan.place(group)?,
            key: self.batch.key(slot)?,
            version: version?,
            salvage: self.salvage(index),
            manner: self.manner(act),
        })
    }

    /// How the route wants it written; a place is left plainly.
    fn manner(&self, act: Act) -> Option<&'b Manner> {
        self.plan.manners.get(act.slot).copied().flatten().filter(|_| !act.leaves)
    }

    fn salvage(&self, slot: usize) -> Salvage {
        if self.plan.salvaged.get(slot) == Some(&true) { Salvage::Allowed } else { Salvage::Never }
    }

    /// The newest member of a group that is still to be tried.
    pub(super) fn member(&self, group: usize) -> Option<Act> {
        let last = self.left.get(group)?.checked_sub(1)?;
        let start = self.plan.groups.get(group)?.members.start;
        self.plan.acts.get(start + last).copied()
    }

    /// The members of a group that are still to be tried, oldest first.
    pub(crate) fn members(&self, group: usize) -> &[Act] {
        let left = self.left.get(group).copied().unwrap_or_default();
        let start = self.plan.groups.get(group).map_or(0, |group| group.members.start);
        self.plan.acts.get(start..start + left).unwrap_or_default()
    }

    /// Takes an operation's outcome in.
    ///
    /// Done: the operation stood for all older changes of its key at its place. Refused for good: the change before it gets its
    /// turn. To be retried: neither it nor any older change of the key is applied there in this batch.
    pub fn settle(&mut self, group: usize, outcome: &Outcome) {
        let Some(member) = self.member(group) else { return };
        let Some(left) = self.left.get(group).copied() else { return };
        let outcome = if member.leaves { nothing_can_be_there(outcome) } else { outcome };
        if let Err(failure) = outcome
            && failure.cause.disposition() == Disposition::Park
        {
            if let Some(fate) = self.fates.get_mut(member.slot) {
                fate.absorb(outcome);
            }
            if let Some(count) = self.left.get_mut(group) {
                *count -= 1;
            }
            return;
        }
        let start = self.plan.groups.get(group).map_or(0, |group| group.members.start);
        for act in self.plan.acts.get(start..start + left).unwrap_or_default() {
            // What could not be decoded stays refused, and has nothing to wait for.
            if !act.leaves && self.is_undecodable(act.slot) {
                continue;
            }
            if let Some(fate) = self.fates.get_mut(act.slot) {
                fate.absorb(outcome);
            }
        }
        if let Some(count) = self.left.get_mut(group) {
            *count = 0;
        }
    }

    /// The record's own content is of no use.
    fn is_undecodable(&self, slot: usize) -> bool {
        match self.batch.slots.get(slot).map(|slot| &slot.content) {
            Some(Content::Failed(failure)) => !self.asks(failure),
            Some(Content::Deferred) => true,
            _ => false,
        }
    }

    /// One fate per slot.
    #[must_use]
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }

    /// The position a slot is retried from: its own, or that of the nearest record before it that has one.
    fn retry_point(&self, slot: usize) -> Option<(Sequence, usize)> {
        self.batch
            .slots
            .get(..=slot)?
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, slot)| slot.sequence.map(|s| (s, index)))
    }

    /// The lowest position that must come again: `None` when there is none, `Some(None)` when it has no number, so that only
    /// the whole batch can come again.
    fn lowest_retry(&self) -> Option<Option<(Sequence, usize)>> {
        self.lowest_retry_but(|_| false)
    }

    /// [`Delivery::lowest_retry`] among the slots that `but` does not take.
    fn lowest_retry_but(&self, but: impl Fn(usize) -> bool) -> Option<Option<(Sequence, usize)>> {
        let mut lowest: Option<(Sequence, usize)> = None;
        for (index, fate) in self.fates.iter().enumerate() {
            let retries = matches!(fate, Fate::Failed(failure) if failure.cause.disposition() == Disposition::Retry);
            if retries && !but(index) {
                let Some(point) = self.retry_point(index) else { return Some(None) };
                lowest = Some(lowest.map_or(point, |lowest| lowest.min(point)));
            }
        }
        lowest.map(Some)
    }

    /// Slots to be held now: those that would be retried and that `may` takes, and that do not come again anyway.
    #[must_use]
    pub fn to_hold(&self, may: impl Fn(usize) -> bool) -> Vec<usize> {
        let waits = |slot: usize| match self.fates.get(slot) {
            Some(Fate::Failed(failure)) => failure.cause.disposition() == Disposition::Retry && may(slot),
            _ => false,
        };
        let holdable: Vec<bool> = (0..self.fates.len()).map(waits).collect();
        let is_holdable = |slot: usize| holdable.get(slot) == Some(&true);
        let limit = match self.lowest_retry_but(is_holdable) {
            None => None,
            Some(None) => return Vec::new(),
            Some(Some((sequence, _))) => Some(sequence),
        };
        (0..self.fates.len()).filter(|&slot| is_holdable(slot) && !self.comes_again(slot, limit)).collect()
    }

    /// It is delivered again, because everything from `limit` on is.
    fn comes_again(&self, slot: usize, limit: Option<Sequence>) -> bool {
        let point = self.retry_point(slot).map(|(sequence, _)| sequence);
        limit.zip(point).is_some_and(|(limit, point)| point >= limit)
    }

    /// Slots to be parked now: refused for good, and not among those that come again anyway.
    #[must_use]
    pub fn to_park(&self) -> Vec<usize> {
        let limit = match self.lowest_retry() {
            None => None,
            Some(None) => return Vec::new(),
            Some(Some((sequence, _))) => Some(sequence),
        };
        let refused =
            |fate: &Fate| matches!(fate, Fate::Failed(failure) if failure.cause.disposition() == Disposition::Park);
        (0..self.fates.len())
            .filter(|&slot| self.fates.get(slot).is_some_and(refused) && !self.comes_again(slot, limit))
            .collect()
    }

    /// Why a batch comes again of which nothing can be retried alone.
    fn whole(&self) -> String {
        let retried =
            |fate: &&Fate| matches!(fate, Fate::Failed(failure) if failure.cause.disposition() == Disposition::Retry);
        let count = self.fates.iter().filter(retried).count();
        let why = match self.fates.iter().find(retried) {
            Some(Fate::Failed(failure)) => format!("{failure}; {}", failure.cause.action()),
            _ => String::new(),
        };
        format!(
            "{count} of {} changes are neither applied nor stored to be applied later, and this source sends no part of a batch again: the whole batch must come again ({why})",
            self.fates.len()
        )
    }

    /// The answer to the event source mapping; an error fails the whole batch.
    pub(super) fn answer(&self, payload: &[u8]) -> Result<BatchResponse, String> {
        match self.lowest_retry() {
            None => Ok(BatchResponse::success()),
            Some(Some((_, slot))) => {
                let position = self.batch.slots.get(slot).and_then(|slot| slot.position.clone());
                let position =
                    position.and_then(|range| payload.get(range)).and_then(|text| std::str::from_utf8(text).ok());
                position
                    .and_then(BatchResponse::retry_from)
                    .ok_or_else(|| "a record to retry has no readable position".to_owned())
            }
            Some(None) if self.batch.kind != mongodb::KIND => Err(
                "a record to retry has no sequence number, nor has any before it, so the whole batch must come again"
                    .to_owned(),
            ),
            Some(None) => Err(self.whole()),
        }
    }
}

/// The item is as it should be; it is the target that has no form for it.
fn is_of_the_target(cause: Cause) -> bool {
    matches!(cause, Cause::UnrepresentableValue | Cause::ReservedField | Cause::NestedTooDeeply)
}

/// What becomes of the attempt to leave a place: where no document can be, there is none.
fn nothing_can_be_there(outcome: &Outcome) -> &Outcome {
    match outcome {
        Err(failure) if matches!(failure.cause, Cause::InvalidTargetName | Cause::InvalidId) => &Ok(Done::Applied),
        outcome => outcome,
    }
}
