//! From planned groups to one fate per slot: rounds of operations, and the falling back when one is refused for good.

use super::{Act, Batch, BatchResponse, Content, Plan};
use crate::cause::{Cause, Disposition, Failure};
use crate::letter::{DeadLetters, Letter, MAX_LETTER_BYTES, letter};
use crate::pipeline::{Pipeline, Routed, Rules};
use crate::slow::{Source, Told, Wish, settle, truth};
use crate::target::{Call, Done, Operation, Outcome, Store, Write};
use crate::version::Sequence;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most time that is kept for letters.
const LETTERS_TIME: Duration = Duration::from_secs(1);

/// The share of an invocation's time that the first round of writes may take where the source may have to be read after it.
const FIRST_ROUND: f64 = 0.75;

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

/// The state of a delivery: pure, driven by [`deliver`].
#[derive(Debug)]
pub struct Delivery<'b> {
    batch: &'b Batch,
    plan: &'b Plan<'b>,
    /// The source can be read again.
    truth: bool,
    fates: Vec<Fate>,
    /// How many members of each group are left to try, counted from its oldest; 0 when the group is done.
    left: Vec<usize>,
}

impl Fate {
    /// Takes in what became of one of the things a change does. What comes again, comes again whole; else what is refused for
    /// good stands.
    fn absorb(&mut self, outcome: &Outcome) {
        let retries =
            |fate: &Self| matches!(fate, Self::Failed(failure) if failure.cause.disposition() == Disposition::Retry);
        match (&*self, outcome) {
            (Self::Done(Done::Applied), Ok(_)) => {}
            (Self::Pending | Self::Filtered | Self::Done(_), Ok(done)) => *self = Self::Done(*done),
            (Self::Failed(_) | Self::Parked(_), Ok(_)) => {}
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
                (_, Some(Rules::Same(Routed::Filtered))) => Fate::Filtered,
                (Content::Failed(failure), _) => Fate::Failed(Failure::clone(failure)),
                (_, Some(Rules::Same(Routed::Refused(failure)))) => Fate::Failed(failure.clone()),
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
                (Fate::Failed(failure), Routed::Filtered) if is_of_the_target(failure.cause) => Fate::Filtered,
                _ => continue,
            };
        }
        let left = plan.groups.iter().map(|group| group.members.len()).collect();
        Self { batch, plan, truth, fates, left }
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
            let write = match &slot.content {
                _ if act.leaves => Write::Delete,
                Content::Upsert(range) => Write::Upsert(self.batch.documents.get(range.clone())?),
                Content::Delete => Write::Delete,
                Content::Failed(failure) if self.truth && failure.cause == Cause::MissingImage => {
                    return self.wish(group).map(Next::Read);
                }
                Content::Failed(_) => {
                    *self.left.get_mut(group)? -= 1;
                    continue;
                }
            };
            let (key, version) = (self.batch.key(slot)?, self.batch.version(slot)?);
            return Some(Next::Write(Operation { into, key, write, version }));
        }
    }

    /// The group's newest undecided change as a wish to read the source.
    #[must_use]
    pub fn wish(&self, group: usize) -> Option<Wish<'b>> {
        let slot = self.batch.slots.get(self.member(group)?.slot)?;
        let origin = self.plan.groups.get(group)?.origin;
        Some(Wish {
            origin: &self.batch.origins.get(origin)?.name,
            rules: self.plan.rules.get(origin)?,
            into: self.plan.place(group)?,
            key: self.batch.key(slot)?,
            version: self.batch.version(slot)?,
        })
    }

    /// The newest member of a group that is still to be tried.
    fn member(&self, group: usize) -> Option<Act> {
        let last = self.left.get(group)?.checked_sub(1)?;
        let start = self.plan.groups.get(group)?.members.start;
        self.plan.acts.get(start + last).copied()
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
            Some(Content::Failed(failure)) => !(self.truth && failure.cause == Cause::MissingImage),
            _ => false,
        }
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
        let mut lowest: Option<(Sequence, usize)> = None;
        for (index, fate) in self.fates.iter().enumerate() {
            if matches!(fate, Fate::Failed(failure) if failure.cause.disposition() == Disposition::Retry) {
                let Some(point) = self.retry_point(index) else { return Some(None) };
                lowest = Some(lowest.map_or(point, |lowest| lowest.min(point)));
            }
        }
        lowest.map(Some)
    }

    /// Slots to be parked now: refused for good, and not among those that come again anyway.
    #[must_use]
    pub fn to_park(&self) -> Vec<usize> {
        let limit = match self.lowest_retry() {
            None => None,
            Some(None) => return Vec::new(),
            Some(Some((sequence, _))) => Some(sequence),
        };
        let comes_again = |slot| {
            let point = self.retry_point(slot).map(|(sequence, _)| sequence);
            limit.zip(point).is_some_and(|(limit, point)| point >= limit)
        };
        let refused =
            |fate: &Fate| matches!(fate, Fate::Failed(failure) if failure.cause.disposition() == Disposition::Park);
        (0..self.fates.len()).filter(|&slot| self.fates.get(slot).is_some_and(refused) && !comes_again(slot)).collect()
    }

    /// The answer to the event source mapping; an error fails the whole batch.
    fn answer(&self, payload: &[u8]) -> Result<BatchResponse, String> {
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
            Some(None) => Err(
                "a record to retry has no sequence number, nor has any before it, so the whole batch must come again"
                    .to_owned(),
            ),
        }
    }
}

/// How changes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// As news: guarded by version, otherwise blind.
    Live,
    /// As what may be old: looked at before and after ([`settle`]).
    Slow,
    /// By reading the source again ([`truth`]).
    Truth,
}

impl Delivery<'_> {
    /// Writes until every change has its fate; gives how many operations that took. The `first` round of writes has a time of
    /// its own.
    pub async fn write<T: Store, R: Source>(
        &mut self,
        target: &T,
        source: Option<&R>,
        lane: Lane,
        mut first: Call,
        call: Call,
    ) -> usize {
        let mut sent = 0;
        loop {
            let Round { mut groups, mut operations, mut wishes } = self.round();
            if operations.is_empty() && wishes.is_empty() {
                return sent;
            }
            if lane == Lane::Truth && source.is_some() {
                for group in groups.drain(..) {
                    match self.wish(group) {
                        Some(wish) => wishes.push((group, wish)),
                        None => self
                            .settle(group, &Err(Failure::new(Cause::SourceUnreadable, "there is nothing to ask for"))),
                    }
                }
                operations.clear();
            }
            if !operations.is_empty() {
                sent += operations.len();
                let mut outcomes = match lane {
                    Lane::Live => target.apply(&operations, std::mem::replace(&mut first, call)).await,
                    Lane::Slow | Lane::Truth => settle(target, &operations, call).await,
                };
                if outcomes.len() != operations.len() {
                    let detail = format!("{} outcomes for {} operations", outcomes.len(), operations.len());
                    outcomes = vec![Err(Failure::new(Cause::UnexpectedAnswer, detail)); operations.len()];
                }
                for (&group, outcome) in groups.iter().zip(&outcomes) {
                    match only_the_source_can_tell(outcome).then(|| self.wish(group)).flatten() {
                        Some(wish) if source.is_some() => wishes.push((group, wish)),
                        _ => self.settle(group, outcome),
                    }
                }
            }
            if let Some(source) = source
                && !wishes.is_empty()
            {
                sent += wishes.len();
                let (groups, wishes): (Vec<usize>, Vec<Wish<'_>>) = wishes.into_iter().unzip();
                let told = truth(target, source, &wishes, call).await;
                for (&group, Told { outcome, nowhere }) in groups.iter().zip(told) {
                    let asked = self.member(group);
                    self.settle(group, &outcome);
                    if let (Some(failure), Some(fate)) = (nowhere, asked.and_then(|act| self.fates.get_mut(act.slot))) {
                        fate.absorb(&Err(failure));
                    }
                }
            }
        }
    }

    /// One fate per slot.
    #[must_use]
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }
}

/// What [`deliver`] needs beside the batch.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The function's name, for letters.
    pub function: &'a str,
    /// The time, milliseconds since 1970, for letters.
    pub now_ms: i64,
    /// When the work on the batch began.
    pub started: Instant,
    /// When an answer must be on its way.
    pub deadline: Instant,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Report {
    /// The answer; an error fails the whole batch and says why.
    pub answer: Result<BatchResponse, String>,
    /// One fate per slot.
    pub fates: Vec<Fate>,
    /// How many operations were sent, over all rounds.
    pub operations: usize,
    /// Per cause of what was parked or is to be retried: how many slots, and one example.
    pub failures: BTreeMap<&'static str, (usize, Failure)>,
}

/// Delivers a batch: writes, parks what is refused for good, and answers.
///
/// `payload` is what the batch was decoded from.
pub async fn deliver<T: Store, D: DeadLetters, R: Source>(
    payload: &[u8],
    batch: &Batch,
    pipeline: &Pipeline,
    target: &T,
    source: Option<&R>,
    dead_letters: Option<&D>,
    circumstances: Circumstances<'_>,
) -> Report {
    let plan = Plan::new(payload, batch, pipeline);
    let mut delivery = Delivery::new(batch, &plan, source.is_some());
    // A target that is silent to the last must leave letters the time they need.
    let left = circumstances.deadline.saturating_duration_since(circumstances.started);
    let kept = if dead_letters.is_some() { (left / 10).min(LETTERS_TIME) } else { Duration::ZERO };
    let call = Call { deadline: circumstances.deadline - kept, now_ms: circumstances.now_ms, truth: source.is_some() };
    // Where the source may have to be read, the first round leaves it some time, too.
    let share = if source.is_some() { left.mul_f64(FIRST_ROUND) } else { left - kept };
    let first = Call { deadline: circumstances.started + share, ..call };
    let sent = delivery.write(target, source, Lane::Live, first, call).await;
    let mut failures = summary(&delivery.fates);
    park(payload, &mut delivery, dead_letters, circumstances).await;
    // Only now is it known which letters could not be stored, and why.
    for (code, found) in summary(&delivery.fates) {
        failures.entry(code).or_insert(found);
    }
    let answer = delivery.answer(payload);
    Report { answer, failures, fates: delivery.fates, operations: sent }
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

/// Whether versions cannot settle it: another source's document, or a change that is older by number and newer by time.
fn only_the_source_can_tell(outcome: &Outcome) -> bool {
    matches!(outcome, Err(failure) if matches!(failure.cause, Cause::ForeignDocument | Cause::OrderConflict))
}

fn summary(fates: &[Fate]) -> BTreeMap<&'static str, (usize, Failure)> {
    let mut failures = BTreeMap::new();
    for fate in fates {
        if let Fate::Failed(failure) = fate {
            failures.entry(failure.cause.code()).or_insert_with(|| (0, failure.clone())).0 += 1;
        }
    }
    failures
}

async fn park<D: DeadLetters>(
    payload: &[u8],
    delivery: &mut Delivery<'_>,
    dead_letters: Option<&D>,
    at: Circumstances<'_>,
) {
    let slots = delivery.to_park();
    if slots.is_empty() {
        return;
    }
    let mut results: Vec<Result<(), String>> = Vec::new();
    if let Some(queue) = dead_letters {
        let letters: Vec<Letter> = slots.iter().filter_map(|&slot| write_letter(payload, delivery, slot, at)).collect();
        // What does not fit is not even tried, so that it cannot hold the others back.
        let (fitting, sizes): (Vec<Letter>, Vec<usize>) = {
            let sizes = letters.iter().map(|letter| letter.body.len()).collect();
            (letters.into_iter().filter(|letter| letter.body.len() <= MAX_LETTER_BYTES).collect(), sizes)
        };
        let mut stored =
            if fitting.is_empty() { Vec::new() } else { queue.park(&fitting, at.deadline).await }.into_iter();
        results.extend(sizes.into_iter().map(|size| {
            if size > MAX_LETTER_BYTES {
                return Err(format!("the letter has {size} bytes, a message at most {MAX_LETTER_BYTES}"));
            }
            stored.next().unwrap_or_else(|| Err("the queue gave no answer for this letter".to_owned()))
        }));
    }
    for (position, slot) in slots.into_iter().enumerate() {
        let result =
            results.get(position).cloned().unwrap_or_else(|| Err("TIDELOCK_DEAD_LETTERS is not set".to_owned()));
        if let Some(fate) = delivery.fates.get_mut(slot)
            && let Fate::Failed(failure) = fate
        {
            *fate = match result {
                Ok(()) => Fate::Parked(failure.cause),
                Err(why) => Fate::Failed(Failure::new(Cause::NotParked, format!("{why} ({failure})"))),
            };
        }
    }
}

fn write_letter(payload: &[u8], delivery: &Delivery<'_>, index: usize, at: Circumstances<'_>) -> Option<Letter> {
    let Some(Fate::Failed(failure)) = delivery.fates.get(index) else { return None };
    let slot = delivery.batch.slots.get(index)?;
    let into = delivery.plan.place_of(index).map(|place| place.name.as_str());
    Some(letter(payload, delivery.batch, slot, failure, into, at.function, at.now_ms))
}
