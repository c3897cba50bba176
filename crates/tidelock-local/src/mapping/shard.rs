//! One shard as a mapping sees it: a state machine without I/O.
//!
//! Records go in with [`ShardState::push`]; [`ShardState::take`] says what a lane does next; [`ShardState::settle`]
//! takes the verdict on what was taken. Its invariants:
//! - A lane has one batch out at a time; a lane's next record is not taken before all earlier ones are finished.
//!   Records of one ordering key share a lane.
//! - A record is finished when the function answered for it, or when [`ShardState::skip`] confirmed that it has been
//!   discarded on purpose.
//! - The checkpoint is behind a record only when that record and all before it are finished.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::answer::{Failure, Verdict};
use super::sequence::SequenceNumber;
use super::settings::{MappingSettings, Pace};
use crate::clock::Moment;
use crate::function::MAX_PAYLOAD;
use crate::source::{FailureHandling, SourceRecord, event_size};

/// A record on its way through the shard.
#[derive(Clone, Debug)]
struct Held {
    /// The record's number among all that were pushed.
    position: u64,
    buffered: Moment,
    record: SourceRecord,
}

/// Records that are invoked together.
#[derive(Clone, Debug)]
pub struct Batch {
    records: Vec<Held>,
    /// Invocations with any of these records so far, this batch's larger predecessors included.
    invocations: u32,
    /// Failures that count against the retry attempts: those a bisection answered do not.
    failures: u32,
}

impl Batch {
    fn new(records: Vec<Held>) -> Self {
        Self { records, invocations: 0, failures: 0 }
    }

    /// The records, in order; never empty.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &SourceRecord> + Clone {
        self.records.iter().map(|held| &held.record)
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Never true of a batch that was handed out.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Invocations with these records so far.
    pub fn invocations(&self) -> u32 {
        self.invocations
    }

    /// The records' sequence numbers.
    pub fn sequences(&self) -> Vec<&SequenceNumber> {
        self.records().map(|record| &record.sequence).collect()
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self { records: self.records.split_off(at), ..*self }
    }
}

/// Why records are discarded (`requestContext.condition` of the on-failure record).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `MaximumRetryAttempts` is used up.
    RetryAttemptsExhausted,
    /// Older than `MaximumRecordAgeInSeconds`.
    RecordAgeExceeded,
    /// One record alone makes the event larger than 6 MB.
    MaximumPayloadSizeExceeded,
}

impl Condition {
    /// The name Lambda gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
            Self::MaximumPayloadSizeExceeded => "MaximumPayloadSizeExceeded",
        }
    }
}

/// What a lane does next.
#[derive(Debug)]
pub enum Take<'a> {
    /// Invoke the function with this batch, then [`ShardState::settle`].
    Invoke(&'a Batch),
    /// Record these as discarded, then [`ShardState::skip`].
    Discard(&'a Batch, Condition),
    /// The source no longer keeps the oldest of these, which have failed until now: the mapping disables itself.
    Disable(&'a Batch),
    /// Nothing before this moment.
    Wait(Moment),
    /// Nothing until a record is pushed or the batch that is out is settled.
    Nothing,
}

/// What a verdict led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The batch is done.
    Complete,
    /// These records are done, the rest is tried again, in this long. With `cut`, the batch was cut at the reported
    /// record and the attempt does not count.
    Retry {
        /// Records that are done.
        done: usize,
        /// Records that come again.
        again: usize,
        /// The wait before that.
        after: Duration,
        /// Whether this was a bisection at the reported record.
        cut: bool,
        /// Why the whole batch failed; `None` for a partial answer.
        failure: Option<Failure>,
    },
    /// The batch was halved; the halves are tried one after the other, in this long.
    Bisect {
        /// The halves' sizes.
        halves: (usize, usize),
        /// The wait before the first.
        after: Duration,
        /// What the function failed with.
        failure: Failure,
    },
    /// These records are done, the rest has used up its attempts: it is discarded.
    Exhausted {
        /// Records that are done.
        done: usize,
        /// Records to be discarded.
        discarded: usize,
        /// Why the whole batch failed; `None` for a partial answer.
        failure: Option<Failure>,
    },
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Held>,
    /// Batches that come again, in order, before anything from the queue.
    again: VecDeque<Batch>,
    out: Option<Batch>,
    /// Set while `out`, or the next of `again`, waits to be discarded.
    discarding: Option<Condition>,
    not_before: Option<Moment>,
    failures_in_a_row: u32,
    free_since: Option<Moment>,
}

/// The state of one shard.
#[derive(Debug)]
pub struct ShardState {
    settings: MappingSettings,
    pace: Pace,
    /// How long a batch may wait to be filled.
    window: Duration,
    /// How long the source keeps a batch that fails; `None` where records are given up in another way.
    retention: Option<Duration>,
    /// Bytes of an event around its records.
    frame: usize,
    lanes: Vec<Lane>,
    progress: Progress,
    closed: bool,
}

impl ShardState {
    /// An empty shard of a stream. `frame` is the number of bytes an event has around its records.
    pub fn new(settings: &MappingSettings, pace: &Pace, frame: usize) -> Self {
        Self::with_failures(settings, pace, frame, FailureHandling::Stream)
    }

    /// An empty shard whose failed batches are handled so.
    pub fn with_failures(settings: &MappingSettings, pace: &Pace, frame: usize, failures: FailureHandling) -> Self {
        Self {
            settings: settings.clone(),
            pace: *pace,
            window: settings.window(failures),
            retention: match failures {
                FailureHandling::Stream => None,
                FailureHandling::RetryWhole { retention } => Some(retention),
            },
            frame,
            lanes: (0..settings.parallelization_factor.max(1)).map(|_| Lane::default()).collect(),
            progress: Progress::default(),
            closed: false,
        }
    }

    /// The number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Takes records in, in the order of the shard. Records of one ordering key always go to the same lane.
    pub fn push(&mut self, records: impl IntoIterator<Item = SourceRecord>, now: Moment) {
        for record in records {
            let mut hasher = DefaultHasher::new();
            record.ordering_key.hash(&mut hasher);
            let lane = usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or_default();
            let position = self.progress.begin(record.sequence.clone());
            self.lanes[lane].queue.push_back(Held { position, buffered: now, record });
        }
    }

    /// No more records come: batches no longer wait for more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// How many records can usefully be pushed.
    pub fn room(&self) -> usize {
        let enough = self.settings.batch_size as usize * self.lanes.len();
        enough.saturating_sub(self.progress.unfinished())
    }

    /// Whether every record is finished.
    pub fn is_drained(&self) -> bool {
        self.progress.unfinished() == 0
    }

    /// The last record such that it and all before it are finished.
    pub fn checkpoint(&self) -> Option<&SequenceNumber> {
        self.progress.checkpoint.as_ref()
    }

    /// What a lane does next. After [`Take::Invoke`] or [`Take::Discard`] the lane is busy until
    /// [`settle`](Self::settle) or [`skip`](Self::skip).
    pub fn take(&mut self, lane: usize, now: Moment) -> Take<'_> {
        let max_age = u64::try_from(self.settings.maximum_record_age).ok().map(Duration::from_secs);
        let (frame, closed, window) = (self.frame, self.closed, self.window);
        let lane = &mut self.lanes[lane];
        if lane.out.is_some() && lane.discarding.is_none() {
            return Take::Nothing;
        }
        if lane.out.is_none() {
            if let Some(moment) = lane.not_before.filter(|moment| now < *moment) {
                return Take::Wait(moment);
            }
            let mut batch = match lane.again.pop_front() {
                Some(batch) => batch,
                None => match form(lane, self.settings.batch_size as usize, window, frame, closed, now) {
                    Formed::Batch(batch) => batch,
                    Formed::Wait(moment) => return Take::Wait(moment),
                    Formed::Nothing => return Take::Nothing,
                },
            };
            // What has not failed is only slow: the mapping has read it and can still hand it over.
            let first = batch.records.first().filter(|_| batch.invocations > 0);
            if let (Some(retention), Some(first)) = (self.retention, first)
                && now.since(first.record.arrival) > retention
            {
                lane.again.push_front(batch);
                return lane.again.front().map_or(Take::Nothing, Take::Disable);
            }
            let expired = max_age
                .map_or(0, |max_age| batch.records().take_while(|record| now.since(record.arrival) > max_age).count());
            if expired > 0 {
                if expired < batch.len() {
                    let rest = batch.split_off(expired);
                    lane.again.push_front(rest);
                }
                lane.discarding = Some(Condition::RecordAgeExceeded);
            } else if batch.len() == 1 && event_size(frame, batch.records()) > MAX_PAYLOAD {
                lane.discarding = Some(Condition::MaximumPayloadSizeExceeded);
            } else {
                batch.invocations += 1;
            }
            lane.out = Some(batch);
        }
        match (&lane.out, lane.discarding) {
            (Some(batch), Some(condition)) => Take::Discard(batch, condition),
            (Some(batch), None) => Take::Invoke(batch),
            (None, _) => Take::Nothing,
        }
    }

    /// The batch a lane has out.
    pub fn out(&self, lane: usize) -> Option<&Batch> {
        self.lanes[lane].out.as_ref()
    }

    /// Takes the verdict on the batch a lane has out. After [`Decision::Exhausted`] the next [`take`](Self::take) of
    /// the lane is the discard.
    pub fn settle(&mut self, lane: usize, verdict: Verdict, now: Moment) -> Decision {
        let lane = &mut self.lanes[lane];
        let Some(mut batch) = lane.out.take() else { return Decision::Complete };
        lane.free_since = Some(now);
        lane.not_before = None;
        let (done, failure) = match verdict {
            Verdict::Done => (batch.len(), None),
            Verdict::Partial { first_failed } => (first_failed.min(batch.len()), None),
            Verdict::Failed(failure) => (0, Some(failure)),
        };
        if done == batch.len() {
            lane.failures_in_a_row = 0;
            self.progress.finish(&batch);
            return Decision::Complete;
        }
        // Progress is a fresh start for the wait, not for the attempts: whether Lambda starts them anew is not
        // documented, and counting on is the stricter test of a function.
        lane.failures_in_a_row = if done > 0 { 1 } else { lane.failures_in_a_row + 1 };
        let after = self.pace.backoff(lane.failures_in_a_row);
        lane.not_before = Some(now.plus(after));
        let halve = match &failure {
            Some(Failure::Function { .. }) => self.settings.bisect_on_error && batch.len() > 1,
            _ => false,
        };
        if let (true, Some(failure)) = (halve, failure.clone()) {
            let second = batch.split_off(batch.len() / 2);
            let halves = (batch.len(), second.len());
            lane.again.push_front(second);
            lane.again.push_front(batch);
            return Decision::Bisect { halves, after, failure };
        }
        let mut rest = batch.split_off(done);
        if done > 0 {
            self.progress.finish(&batch);
        }
        let again = rest.len();
        // "Splitting batches doesn't consume the retry quota."
        let cut = self.settings.bisect_on_error && done > 0;
        if !cut {
            rest.failures += 1;
        }
        let limit = u32::try_from(self.settings.maximum_retry_attempts).ok();
        if limit.is_some_and(|limit| rest.failures > limit) {
            lane.out = Some(rest);
            lane.discarding = Some(Condition::RetryAttemptsExhausted);
            return Decision::Exhausted { done, discarded: again, failure };
        }
        lane.again.push_front(rest);
        Decision::Retry { done, again, after, cut, failure }
    }

    /// Takes back a batch whose invocation was given up without a verdict: it comes again.
    pub fn recall(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        if lane.discarding.is_none()
            && let Some(batch) = lane.out.take()
        {
            lane.again.push_front(batch);
        }
    }

    /// Confirms that the batch a lane was told to discard has been recorded: the lane goes on behind it.
    pub fn skip(&mut self, lane: usize, now: Moment) {
        let lane = &mut self.lanes[lane];
        if lane.discarding.take().is_some()
            && let Some(batch) = lane.out.take()
        {
            self.progress.finish(&batch);
            lane.free_since = Some(now);
            lane.failures_in_a_row = 0;
            lane.not_before = None;
        }
    }
}

enum Formed {
    Batch(Batch),
    Wait(Moment),
    Nothing,
}

/// Takes a batch from a lane's queue: as many records as fit, once it is full or its window is over. The window begins
/// with the first record, or with the end of the previous invocation if that is later.
fn form(lane: &mut Lane, batch_size: usize, window: Duration, frame: usize, closed: bool, now: Moment) -> Formed {
    let Some(first) = lane.queue.front() else { return Formed::Nothing };
    let mut size = frame;
    let mut count = 0;
    for held in lane.queue.iter().take(batch_size) {
        size += held.record.raw.get().len() + usize::from(count > 0);
        if count > 0 && size > MAX_PAYLOAD {
            break;
        }
        count += 1;
    }
    let is_full = count == batch_size || count < lane.queue.len() || size > MAX_PAYLOAD;
    let begin = lane.free_since.map_or(first.buffered, |free| free.max(first.buffered));
    let end = begin.plus(window);
    if !is_full && !closed && now < end {
        return Formed::Wait(end);
    }
    Formed::Batch(Batch::new(lane.queue.drain(..count).collect()))
}

/// Which records of a shard are finished.
#[derive(Debug, Default)]
struct Progress {
    /// The position of the front of `open`.
    base: u64,
    /// From the lowest unfinished record on: its number, and whether it is finished.
    open: VecDeque<(SequenceNumber, bool)>,
    finished: usize,
    checkpoint: Option<SequenceNumber>,
}

impl Progress {
    fn begin(&mut self, sequence: SequenceNumber) -> u64 {
        self.open.push_back((sequence, false));
        self.base + self.open.len() as u64 - 1
    }

    fn finish(&mut self, batch: &Batch) {
        for held in &batch.records {
            let index = usize::try_from(held.position - self.base).unwrap_or(usize::MAX);
            if let Some((_, finished)) = self.open.get_mut(index) {
                self.finished += usize::from(!*finished);
                *finished = true;
            }
        }
        while let Some((sequence, _)) = self.open.pop_front_if(|(_, finished)| *finished) {
            self.base += 1;
            self.finished -= 1;
            self.checkpoint = Some(sequence);
        }
    }

    fn unfinished(&self) -> usize {
        self.open.len() - self.finished
    }
}
