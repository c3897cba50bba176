//! A batch from its plan to its answer: written, parked, answered.

use super::policy::Policies;
use super::{Batch, BatchResponse, Delivery, Fate, Lane, Plan, Removed, cleared_by, fences_by};
use crate::cause::{Cause, Failure};
use crate::letter::{Held, History, Letter, Post, letter, packs, post};
use crate::locate::{Located, Recall};
use crate::pipeline::{OnOutage, Pipeline};
use crate::queue::{Bucket, Outbox};
use crate::slow::Source;
use crate::state::{NoState, State};
use crate::target::{Call, Store};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most time that is kept for letters.
const LETTERS_TIME: Duration = Duration::from_secs(1);

/// The most time that is kept for packs, which hold whole batches.
const PACKS_TIME: Duration = Duration::from_secs(5);

/// How long changes that may be held are tried.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The share of an invocation's time that the first round of writes may take where the source may have to be read after it.
const FIRST_ROUND: f64 = 0.75;

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
    /// How long changes are tried where all of them may be held; [`PATIENCE`], or less where the target was down a moment ago.
    pub patience: Duration,
}

/// Where what cannot be applied goes.
#[derive(Debug)]
pub struct Posts<'a, Q, B> {
    /// Records that are refused for good.
    pub dead_letters: Option<&'a Q>,
    /// Changes that are held while the target cannot be reached.
    pub fallback: Option<&'a Q>,
    /// What does not fit into a message.
    pub bucket: Option<&'a B>,
}

impl<Q, B> Clone for Posts<'_, Q, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, B> Copy for Posts<'_, Q, B> {}

/// What became of a batch.
#[derive(Debug)]
pub struct Report {
    /// The answer; an error fails the whole batch and says why.
    pub answer: Result<BatchResponse, String>,
    /// One fate per slot.
    pub fates: Vec<Fate>,
    /// How many operations were sent, over all rounds.
    pub operations: usize,
    /// Documents that have gone with their collections.
    pub removed: Removed,
    /// Per cause of what was parked or is to be retried: how many slots, and one example.
    pub failures: BTreeMap<&'static str, (usize, Failure)>,
}

/// Delivers a batch: writes, holds what cannot be reached, parks what is refused for good, and answers.
///
/// `payload` is what the batch was decoded from.
pub async fn deliver<T: Store, Q: Outbox, B: Bucket, R: Source>(
    payload: &[u8],
    batch: &Batch,
    pipeline: &Pipeline,
    target: &T,
    source: Option<&R>,
    posts: Posts<'_, Q, B>,
    circumstances: Circumstances<'_>,
) -> Report {
    deliver_located(payload, batch, pipeline, target, source, posts, None::<&NoState>, circumstances).await
}

/// [`deliver`] with the state that remembers [where documents have been](crate::locate).
#[expect(clippy::too_many_arguments, reason = "what a function holds, one by one")]
pub async fn deliver_located<T: Store, Q: Outbox, B: Bucket, R: Source, S: State>(
    payload: &[u8],
    batch: &Batch,
    pipeline: &Pipeline,
    target: &T,
    source: Option<&R>,
    posts: Posts<'_, Q, B>,
    state: Option<&S>,
    circumstances: Circumstances<'_>,
) -> Report {
    let policies = Policies::new(payload, batch, pipeline);
    let mut buffered = policies.buffered();
    let half = circumstances.deadline.saturating_duration_since(circumstances.started) / 2;
    let located = Located::recall(payload, batch, pipeline, state, Recall::News, circumstances.started + half).await;
    if let Some(located) = &located {
        located.settle(&mut buffered);
    }
    let plan = Plan::located(payload, batch, pipeline, &buffered, located.as_ref());
    let mut delivery = Delivery::new(batch, &plan, source.is_some());
    // A target that is silent to the last must leave letters the time they need.
    let left = circumstances.deadline.saturating_duration_since(circumstances.started);
    let may_hold = posts.fallback.is_some() && pipeline.has(|policy| policy.on_outage != OnOutage::Retry);
    let kept = match posts.dead_letters {
        _ if may_hold => (left / 4).min(PACKS_TIME),
        Some(_) => (left / 10).min(LETTERS_TIME),
        None => Duration::ZERO,
    };
    let time =
        if may_hold && policies.all_may_wait() { (left - kept).min(circumstances.patience) } else { left - kept };
    let deadline = circumstances.started + time;
    let call = Call { deadline, now_ms: circumstances.now_ms, truth: source.is_some() };
    // Where the source may have to be read, the first round leaves it some time, too.
    let share = if source.is_some() { time.min(left.mul_f64(FIRST_ROUND)) } else { time };
    let first = Call { deadline: circumstances.started + share, ..call };
    let fences = Call { deadline: fences_by(circumstances.started, first.deadline), ..first };
    let mut sent = delivery.fence_endings(target, fences).await;
    sent += delivery.write(target, source, Lane::Live, first, call).await;
    // Behind the writes, so that nothing older of this batch stays.
    let until = cleared_by(circumstances.started, circumstances.deadline);
    let removed = delivery.clear(target, Call { deadline: until, ..call }).await;
    if let (Some(located), Some(state)) = (located, state) {
        located.shrink(state, &delivery.fates, call.deadline).await;
    }
    let mut failures = summary(&delivery.fates);
    if may_hold {
        hold(payload, &policies, &mut delivery, posts, circumstances).await;
    }
    park(payload, &mut delivery, posts, circumstances).await;
    // Only now is it known which letters could not be stored, and why.
    for (code, found) in summary(&delivery.fates) {
        failures.entry(code).or_insert(found);
    }
    let answer = delivery.answer(payload);
    Report { answer, failures, fates: delivery.fates, operations: sent, removed }
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

/// Puts what may be held into the fallback queue: done, once it is stored there.
async fn hold<Q: Outbox, B: Bucket>(
    payload: &[u8],
    policies: &Policies<'_>,
    delivery: &mut Delivery<'_>,
    posts: Posts<'_, Q, B>,
    at: Circumstances<'_>,
) {
    let Some(queue) = posts.fallback else { return };
    let misses_state = |slot: usize| matches!(delivery.fates.get(slot), Some(Fate::Failed(failure)) if failure.cause == Cause::StateUnreachable);
    // Without its state it is not the target that is missing.
    let may = |slot: usize| !misses_state(slot) && policies.of(slot).on_outage != OnOutage::Retry;
    let slots = delivery.to_hold(may);
    if slots.is_empty() {
        return;
    }
    let held: Vec<Held<'_>> = slots
        .iter()
        .filter_map(|&slot| match delivery.fates.get(slot) {
            Some(Fate::Failed(failure)) => Some(Held { slot, failure }),
            _ => None,
        })
        .collect();
    let packed = packs(payload, delivery.batch, &held, at.function, History::first(at.now_ms));
    let (letters, slots): (Vec<Letter>, Vec<Vec<usize>>) = packed.into_iter().unzip();
    let results = post(Post { queue, bucket: posts.bucket }, letters, Duration::ZERO, at.deadline).await;
    for (slots, result) in slots.into_iter().zip(results) {
        for slot in slots {
            if let Some(fate) = delivery.fates.get_mut(slot)
                && let Fate::Failed(failure) = fate
            {
                *fate = match &result {
                    Ok(()) => Fate::Held(failure.cause),
                    Err(why) => Fate::Failed(Failure::new(Cause::NotHeld, format!("{why} ({failure})"))),
                };
            }
        }
    }
}

async fn park<Q: Outbox, B: Bucket>(
    payload: &[u8],
    delivery: &mut Delivery<'_>,
    posts: Posts<'_, Q, B>,
    at: Circumstances<'_>,
) {
    let slots = delivery.to_park();
    if slots.is_empty() {
        return;
    }
    // One letter holds the record for all routes that refuse it.
    let records: Vec<&[usize]> = slots.chunk_by(|&a, &b| delivery.batch.same_record(a, b)).collect();
    let mut results: Vec<Result<(), String>> = Vec::new();
    if let Some(queue) = posts.dead_letters {
        let firsts = records.iter().filter_map(|slots| slots.first());
        let letters = firsts.filter_map(|&slot| write_letter(payload, delivery, slot, at)).collect();
        results = post(Post { queue, bucket: posts.bucket }, letters, Duration::ZERO, at.deadline).await;
    }
    let without = Err("TIDELOCK_DEAD_LETTERS is not set".to_owned());
    for (record, slots) in records.into_iter().enumerate() {
        let result = results.get(record).unwrap_or(&without);
        for &slot in slots {
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
}

fn write_letter(payload: &[u8], delivery: &Delivery<'_>, index: usize, at: Circumstances<'_>) -> Option<Letter> {
    let Some(Fate::Failed(failure)) = delivery.fates.get(index) else { return None };
    let slot = delivery.batch.slots.get(index)?;
    let into = delivery.plan.place_of(index);
    Some(letter(payload, delivery.batch, slot, failure, into, at.function, History::first(at.now_ms)))
}
