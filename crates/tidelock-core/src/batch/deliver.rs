//! A batch from its plan to its answer: written, parked, answered.

use super::{Batch, BatchResponse, Delivery, Fate, Lane, Plan};
use crate::cause::{Cause, Failure};
use crate::letter::{Letter, MAX_LETTER_BYTES, letter};
use crate::pipeline::Pipeline;
use crate::queue::Outbox;
use crate::slow::Source;
use crate::target::{Call, Store};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most time that is kept for letters.
const LETTERS_TIME: Duration = Duration::from_secs(1);

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
pub async fn deliver<T: Store, D: Outbox, R: Source>(
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

fn summary(fates: &[Fate]) -> BTreeMap<&'static str, (usize, Failure)> {
    let mut failures = BTreeMap::new();
    for fate in fates {
        if let Fate::Failed(failure) = fate {
            failures.entry(failure.cause.code()).or_insert_with(|| (0, failure.clone())).0 += 1;
        }
    }
    failures
}

async fn park<D: Outbox>(payload: &[u8], delivery: &mut Delivery<'_>, dead_letters: Option<&D>, at: Circumstances<'_>) {
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
            if fitting.is_empty() { Vec::new() } else { queue.send(&fitting, Duration::ZERO, at.deadline).await }
                .into_iter();
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
