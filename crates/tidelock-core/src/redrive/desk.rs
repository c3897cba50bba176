//! Where the records of messages are applied.

use super::order::Redriven;
use crate::batch::{Batch, Delivery, Fate, Lane, Plan, cleared_by, fences_by};
use crate::cause::{Cause, Disposition, Failure};
use crate::letter::{Held, History, Letter, letter, packs};
use crate::locate::{Located, Recall};
use crate::pipeline::Pipeline;
use crate::slow::{Fenced, Source, foretell};
use crate::source::{Envelope, Kind};
use crate::state::State;
use crate::target::{Call, Done, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How records are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the record says.
    #[default]
    Payload,
    /// By reading the source again: what the record was about is written as it is now.
    Truth,
}

/// What records are applied with.
pub struct Desk<'a, T, R, M> {
    /// Where records go.
    pub pipeline: &'a Pipeline,
    /// The target.
    pub target: &'a T,
    /// How the source is read again.
    pub source: Option<&'a R>,
    /// What remembers [where documents have been](crate::locate).
    pub state: Option<&'a M>,
    /// The function's name, for letters.
    pub function: &'a str,
    /// How long fences live, milliseconds: what failed first longer ago is redriven by truth alone.
    pub fence_life_ms: i64,
    /// The kinds of source whose records can be read.
    pub kinds: &'a [Kind],
    /// How long a load may take, [`PATIENCE`](super::PATIENCE) as a rule: an index that does not answer must not use up the time of
    /// the others.
    pub patience: Duration,
    /// The time: a simulation has a clock of its own.
    pub clock: fn() -> Instant,
    /// Told after every load how far the run has come.
    pub watch: &'a dyn Fn(&Redriven),
}

/// A day: the longest that a change waits in a stream before it fails first. Its fence may be older by that.
const STREAM_RETENTION_MS: i64 = 86_400_000;

/// Why records cannot be redriven as they were asked to be. They stay where they are.
pub(super) type Kept = String;

/// Records that are to be applied together.
pub(super) struct Load<'a> {
    /// What they are records of.
    pub(super) kind: Kind,
    /// JSON texts of records, or of arrays of them, by message.
    pub(super) records: Vec<&'a str>,
    /// The stream of each message's records.
    pub(super) streams: Vec<&'a str>,
    /// What each message has been through.
    pub(super) histories: Vec<History>,
    /// How they are applied.
    pub(super) mode: Mode,
}

/// What has become of the records of one message.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) applied: usize,
    pub(super) stale: usize,
    pub(super) filtered: usize,
    /// Records that were refused for good, as letters.
    pub(super) refused: Vec<Letter>,
    /// How many records could not be applied now, and one example.
    pub(super) again: usize,
    pub(super) example: Option<Failure>,
    /// Those records as packs, for where not all of the message's records have failed.
    pub(super) rest: Vec<Letter>,
}

impl Settled {
    pub(super) fn done(&self) -> usize {
        self.applied + self.stale + self.filtered
    }
}

impl<T: Store, R: Source, M: State> Desk<'_, T, R, M> {
    /// Whether records of this source, which failed first at this time, can be redriven in a mode; then in which.
    pub(super) fn mode(
        &self,
        kind: &str,
        mode: Mode,
        first_failed_ms: i64,
        force: bool,
        now_ms: i64,
    ) -> Result<Mode, Kept> {
        if self.kind(kind).is_none() {
            let known: Vec<String> = self.kinds.iter().map(|kind| format!("`{}`", kind.name)).collect();
            return Err(format!(
                "its records are of a `{kind}` source, this function redrives {}",
                known.join(" and ")
            ));
        }
        if mode == Mode::Truth && self.source.is_none() {
            return Err("mode truth reads the source again: set TIDELOCK_SOURCE".to_owned());
        }
        let too_old = now_ms.saturating_sub(first_failed_ms) > self.fence_life_ms.saturating_sub(STREAM_RETENTION_MS);
        match (too_old && mode == Mode::Payload && !force, &self.source) {
            (false, _) => Ok(mode),
            (true, Some(_)) => Ok(Mode::Truth),
            (true, None) => Err(
                "it is older than fences live, so a delete may have been forgotten: set TIDELOCK_SOURCE, which redrives it by truth, or force it"
                    .to_owned(),
            ),
        }
    }

    /// The kind of a name.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.kinds.iter().copied().find(|kind| kind.name == name)
    }

    /// Applies the records of some messages together; what became of each message, by position.
    pub(super) async fn apply(&self, load: &Load<'_>, call: Call) -> Result<Vec<Settled>, Kept> {
        let (payload, batch, messages) = self.decoded(load)?;
        let (lane, recall) = match load.mode {
            Mode::Payload => (Lane::Drain, Recall::News),
            Mode::Truth => (Lane::Truth, Recall::Truth),
        };
        let located =
            Located::recall(payload.as_bytes(), &batch, self.pipeline, self.state, recall, call.deadline).await;
        let plan = Plan::located(payload.as_bytes(), &batch, self.pipeline, &[], located.as_ref());
        let mut delivery = Delivery::new(&batch, &plan, self.source.is_some());
        delivery = match load.mode {
            Mode::Truth => delivery.by_truth(),
            Mode::Payload => delivery.unordered(),
        };
        let call = Call { truth: self.source.is_some(), ..call };
        let started = (self.clock)();
        let fences = Call { deadline: fences_by(started, call.deadline), ..call };
        delivery.fence_endings(self.target, fences).await;
        delivery.write(self.target, self.source, lane, call, call).await;
        let until = cleared_by((self.clock)(), call.deadline);
        delivery.clear(self.target, Call { deadline: until, ..call }).await;
        if let (Some(located), Some(state)) = (located, self.state) {
            located.shrink(state, delivery.fates(), call.deadline).await;
        }
        Ok(messages
            .iter()
            .zip(&load.histories)
            .map(|(slots, history)| self.settled(payload.as_bytes(), &batch, &plan, delivery.fates(), slots, *history))
            .collect())
    }

    /// What would become of the records of some messages, as far as looking can tell: what the target would refuse, only writing
    /// shows. Nothing is written.
    pub(super) async fn foretell(&self, load: &Load<'_>, call: Call) -> Result<Vec<Settled>, Kept> {
        let (payload, batch, messages) = self.decoded(load)?;
        let located =
            Located::recall(payload.as_bytes(), &batch, self.pipeline, self.state, Recall::Look, call.deadline).await;
        let plan = Plan::located(payload.as_bytes(), &batch, self.pipeline, &[], located.as_ref());
        let mut delivery = Delivery::new(&batch, &plan, self.source.is_some());
        if load.mode == Mode::Truth {
            delivery = delivery.by_truth();
        }
        delivery.foretell_endings();
        let fenced = Fenced::new(self.target, plan.fences_namespaces);
        loop {
            let round = delivery.round();
            if round.operations.is_empty() && round.wishes.is_empty() {
                break;
            }
            let outcomes = match load.mode {
                Mode::Payload => foretell(&fenced, &round.operations, call).await,
                // What the source says is written over whatever is there.
                Mode::Truth => vec![Ok(Done::Applied); round.operations.len()],
            };
            for (group, outcome) in round.groups.into_iter().zip(&outcomes) {
                delivery.settle(group, outcome);
            }
            for (group, _) in round.wishes {
                delivery.settle(group, &Ok(Done::Applied));
            }
        }
        let settled = |(slots, history): (&Range<usize>, &History)| {
            self.settled(payload.as_bytes(), &batch, &plan, delivery.fates(), slots, *history)
        };
        Ok(messages.iter().zip(&load.histories).map(settled).collect())
    }

    /// An event of all records, decoded; and which slots are whose.
    fn decoded(&self, load: &Load<'_>) -> Result<(String, Batch, Vec<Range<usize>>), Kept> {
        let mut payload = String::with_capacity(load.records.iter().map(|text| text.len() + 1).sum::<usize>() + 16);
        let mut ends = Vec::with_capacity(load.records.len());
        let Kind { reader, envelope, .. } = load.kind;
        let last = load.records.len().saturating_sub(1);
        let mut empty = true;
        for (index, (text, stream)) in load.records.iter().zip(&load.streams).enumerate() {
            envelope.open(&mut payload, stream, index == 0);
            let text = text.trim();
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).trim();
            if !inner.is_empty() {
                if envelope == Envelope::Records && !empty {
                    payload.push(',');
                }
                empty = false;
                payload.push_str(inner);
            }
            ends.push(payload.len());
            envelope.close(&mut payload, index == last);
        }
        let format = self.target.format();
        let batch = self.pipeline.decode(&reader, payload.as_bytes(), format).map_err(|error| error.message)?;
        let mut slots = Vec::with_capacity(ends.len());
        let mut from = 0;
        for end in ends {
            let to = from + batch.slots.iter().skip(from).take_while(|slot| slot.raw.end <= end).count();
            slots.push(from..to);
            from = to;
        }
        Ok((payload, batch, slots))
    }

    fn settled(
        &self,
        payload: &[u8],
        batch: &Batch,
        plan: &Plan<'_>,
        fates: &[Fate],
        slots: &Range<usize>,
        history: History,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut held = Vec::new();
        let history = History { attempts: history.attempts.saturating_add(1), ..history };
        let waits = |index: &usize| matches!(fates.get(*index), Some(Fate::Failed(failure)) if failure.cause.disposition() != Disposition::Park);
        let start = |index: usize| batch.slots.get(index).map(|slot| slot.raw.start);
        let mut told: BTreeSet<usize> = slots.clone().filter(waits).filter_map(start).collect();
        for index in slots.clone() {
            let (Some(slot), Some(fate)) = (batch.slots.get(index), fates.get(index)) else { continue };
            match fate {
                Fate::Done(Done::Applied) => settled.applied += 1,
                Fate::Done(Done::Stale) => settled.stale += 1,
                Fate::Filtered => settled.filtered += 1,
                // One letter holds the record for all of its routes; and none is needed where it waits anyway.
                Fate::Failed(failure) if failure.cause.disposition() == Disposition::Park => {
                    if told.insert(slot.raw.start) {
                        let into = plan.place_of(index);
                        settled.refused.push(letter(payload, batch, slot, failure, into, self.function, history));
                    }
                }
                Fate::Failed(failure) => held.push(Held { slot: index, failure }),
                Fate::Pending | Fate::Parked(_) | Fate::Held(_) => settled.again += 1,
            }
        }
        settled.again += held.len();
        settled.example = held.first().map(|held| held.failure.clone());
        // A pack of the rest is all of the rest, or the message stays.
        if settled.again == held.len() && settled.again < slots.len() && !held.is_empty() {
            settled.rest =
                packs(payload, batch, &held, self.function, history).into_iter().map(|(pack, _)| pack).collect();
        }
        settled
    }
}

/// Whether a failure says something about the target, or the state, as a whole, so that going on makes no sense.
pub(super) fn is_outage(failure: &Failure) -> bool {
    matches!(
        failure.cause,
        Cause::Unreachable
            | Cause::TimedOut
            | Cause::Deadline
            | Cause::Unauthenticated
            | Cause::NotPrimary
            | Cause::Throttled
            | Cause::StateUnreachable
    )
}
