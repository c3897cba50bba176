//! A mapping at work: reads shards, invokes the function, writes on-failure records.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::answer::judge;
use super::observe::{Answer, Disabled, Oversized, Sent, Step, Summary};
use super::on_failure::{FailureContext, FailureRecord, OnFailure};
use super::settings::{InvalidSettings, MappingSettings, Pace, StartingPosition};
use super::shard::{Condition, Decision, ShardState, Take};
use super::time::{SteadyClock, Wake};
use crate::clock::Moment;
use crate::function::{Function, Invocation};
use crate::source::{FailureHandling, ReadFrom, RecordSource, SourceError, SourceInfo};
use crate::unique;

/// Why a mapping ended.
#[derive(Debug)]
pub enum MappingError {
    /// The source's mappings do not have what was set.
    Settings(InvalidSettings),
    /// The source can't be read.
    Source(SourceError),
    /// An on-failure record can't be written; its records have not been skipped.
    OnFailure(io::Error),
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Source(error) => error.fmt(f),
            Self::OnFailure(error) => write!(f, "on-failure record: {error}"),
        }
    }
}

impl std::error::Error for MappingError {}

type Observer = Box<dyn FnMut(&Step<'_>) + Send>;

/// An event source mapping in this process.
///
/// It keeps its place between runs: what was read and finished is not delivered again, and a batch whose run was dropped
/// in the middle is. After an error it can be run again too.
pub struct LocalMapping<S, F> {
    settings: MappingSettings,
    pace: Pace,
    source: S,
    info: SourceInfo,
    function: Arc<F>,
    on_failure: Option<OnFailure>,
    observer: Option<Observer>,
    id: String,
    keep_answers: bool,
    shards: BTreeMap<String, TrackedShard>,
    has_looked: bool,
    next_look: Moment,
    trouble: Option<Trouble>,
    clock: SteadyClock,
}

struct TrackedShard {
    parent: Option<String>,
    stage: Stage,
    state: ShardState,
    from: ReadFrom,
    next_read: Moment,
    /// Whether the last read had nothing new.
    is_quiet: bool,
    /// The last invocation of each lane: its request id, and whether it ended in a function error.
    last: Vec<Option<(String, bool)>>,
}

impl TrackedShard {
    /// Whether more of it can be taken in.
    fn is_open(&self) -> bool {
        self.stage == Stage::Reading && self.state.room() > 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its parent is not finished.
    Waiting,
    Reading,
    /// Read to its end; records are still being processed.
    Draining,
    Finished,
}

#[derive(Clone, Copy)]
struct Trouble {
    since: Moment,
    times: u32,
}

/// An invocation that is over.
struct Returned {
    sent: Sent,
    invocation: Invocation,
    duration: Duration,
}

/// One run: what is under way, and what it has done so far.
struct Run {
    tasks: JoinSet<Returned>,
    summary: Summary,
    last_activity: Moment,
}

impl<S: RecordSource, F: Function> LocalMapping<S, F> {
    /// A mapping from a source to a function. An `Arc` of a function is a function too.
    ///
    /// # Errors
    /// Every setting that is out of range, or that mappings of this source do not have.
    pub fn new(settings: MappingSettings, source: S, function: F) -> Result<Self, InvalidSettings> {
        let info = source.info();
        settings.validate_for(info.failures)?;
        let clock = SteadyClock::start();
        Ok(Self {
            settings,
            pace: Pace::default(),
            source,
            info,
            function: Arc::new(function),
            on_failure: None,
            observer: None,
            id: unique::uuid(),
            keep_answers: true,
            shards: BTreeMap::new(),
            has_looked: false,
            next_look: clock.now(),
            trouble: None,
            clock,
        })
    }

    /// Sets the pace of polls and retries.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Sets where on-failure records go. Without it discarded records are only counted, as on Lambda. DocumentDB mappings
    /// have no destination: with one, every run is an error.
    #[must_use]
    pub fn on_failure(mut self, destination: OnFailure) -> Self {
        self.on_failure = Some(destination);
        self
    }

    /// Sets what is told of every step, as it is taken.
    #[must_use]
    pub fn observer(mut self, observer: impl FnMut(&Step<'_>) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Sets the mapping's UUID, which is part of the paths of on-failure records. Default: a random one.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Leaves [`Summary::answers`] empty: for runs without an end.
    #[must_use]
    pub fn without_answers(mut self) -> Self {
        self.keep_answers = false;
        self
    }

    /// The function.
    pub fn function(&self) -> &F {
        &self.function
    }

    /// Runs until the source is drained and every record is finished. A batch that fails without limit makes this run
    /// without end.
    ///
    /// # Errors
    /// The source can't be read, or an on-failure record can't be written.
    pub async fn run_until_idle(&mut self) -> Result<Summary, MappingError> {
        self.drive(pending(), true).await
    }

    /// Runs until `stop`: no further batch is begun, running ones are waited for.
    ///
    /// # Errors
    /// As [`run_until_idle`](Self::run_until_idle).
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> Result<Summary, MappingError> {
        self.drive(stop, false).await
    }

    /// Runs until the source is drained, or until `stop` if that is earlier.
    ///
    /// # Errors
    /// As [`run_until_idle`](Self::run_until_idle).
    pub async fn run_until_idle_or(&mut self, stop: impl Future<Output = ()>) -> Result<Summary, MappingError> {
        self.drive(stop, true).await
    }

    async fn drive(&mut self, stop: impl Future<Output = ()>, until_idle: bool) -> Result<Summary, MappingError> {
        if self.on_failure.is_some() && self.info.failures != FailureHandling::Stream {
            let problem = "on-failure destination: not a setting of DocumentDB mappings: no batch is ever given up";
            return Err(MappingError::Settings(InvalidSettings(vec![problem.into()])));
        }
        let mut stop = pin!(stop);
        let mut is_stopping = false;
        let mut run = Run { tasks: JoinSet::new(), summary: Summary::default(), last_activity: self.clock.now() };
        self.begin_anew();
        loop {
            let mut wake = Wake::default();
            if !is_stopping {
                self.look_for_shards().await?;
                self.read_shards(&mut run, &mut wake).await?;
                self.invoke_all(&mut run, &mut wake)?;
                if run.summary.disabled.is_some() {
                    is_stopping = true;
                    continue;
                }
                if until_idle && self.is_idle(&run, &mut wake) {
                    break;
                }
                // A shard that finished just now makes the next look due at once.
                wake.at(self.next_look);
            } else if run.tasks.is_empty() {
                break;
            }
            let is_listening = !is_stopping && self.shards.values().any(TrackedShard::is_open);
            let pause = wake.earliest.map_or(Duration::from_secs(3_600), |moment| moment.since(self.clock.now()));
            tokio::select! {
                biased;
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    run.summary.stopped = true;
                }
                Some(returned) = run.tasks.join_next() => match returned {
                    Ok(returned) => self.settle(&mut run, returned)?,
                    Err(error) => if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    },
                },
                () = self.source.ready(), if is_listening => {
                    let now = self.clock.now();
                    for shard in self.shards.values_mut().filter(|shard| shard.is_open()) {
                        shard.next_read = now;
                    }
                }
                () = sleep(pause) => {}
            }
        }
        for (id, shard) in &self.shards {
            if let Some(checkpoint) = shard.state.checkpoint() {
                run.summary.checkpoints.insert(id.clone(), checkpoint.clone());
            }
        }
        Ok(run.summary)
    }

    /// Takes back what an earlier run left undone, and wants fresh news of every shard.
    fn begin_anew(&mut self) {
        self.next_look = self.clock.now();
        for shard in self.shards.values_mut() {
            for lane in 0..shard.state.lanes() {
                shard.state.recall(lane);
            }
            shard.is_quiet = false;
            shard.next_read = self.next_look;
        }
    }

    /// Looks for new shards when it is time to, and begins those whose parents are finished.
    async fn look_for_shards(&mut self) -> Result<(), MappingError> {
        let now = self.clock.now();
        if now >= self.next_look {
            match self.source.shards().await {
                Ok(shards) => {
                    self.trouble = None;
                    // Shards that come later are read from their start: they continue those that were there.
                    let from = match self.settings.starting_position {
                        StartingPosition::Latest if !self.has_looked => ReadFrom::Latest,
                        StartingPosition::AtTimestamp(moment) if !self.has_looked => ReadFrom::AtTimestamp(moment),
                        _ => ReadFrom::TrimHorizon,
                    };
                    let at_latest = from == ReadFrom::Latest;
                    for shard in shards {
                        if self.shards.contains_key(&shard.id) {
                            continue;
                        }
                        let tracked = TrackedShard {
                            parent: shard.parent,
                            stage: if at_latest && shard.closed { Stage::Finished } else { Stage::Waiting },
                            state: ShardState::with_failures(
                                &self.settings,
                                &self.pace,
                                self.info.frame(),
                                self.info.failures,
                            ),
                            from: from.clone(),
                            next_read: now,
                            is_quiet: false,
                            last: vec![None; self.settings.parallelization_factor as usize],
                        };
                        self.shards.insert(shard.id, tracked);
                    }
                    self.has_looked = true;
                    self.next_look = self.clock.now().plus(self.pace.shard_interval);
                }
                Err(error) => self.next_look = self.endure(error)?,
            }
        }
        let ready: Vec<String> = self
            .shards
            .iter()
            .filter(|(_, shard)| shard.stage == Stage::Waiting && self.is_parent_finished(shard))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ready {
            self.observe(&Step::ShardOpened { shard: &id });
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.stage = Stage::Reading;
            }
        }
        Ok(())
    }

    /// A parent the source no longer lists has aged out: there is nothing to wait for.
    fn is_parent_finished(&self, shard: &TrackedShard) -> bool {
        let parent = shard.parent.as_ref().and_then(|parent| self.shards.get(parent));
        parent.is_none_or(|parent| parent.stage == Stage::Finished)
    }

    async fn read_shards(&mut self, run: &mut Run, wake: &mut Wake) -> Result<(), MappingError> {
        let ids: Vec<String> = self.shards.keys().cloned().collect();
        for id in ids {
            while let Some(shard) = self.shards.get_mut(&id) {
                let room = shard.state.room();
                if !shard.is_open() {
                    break;
                }
                if self.clock.now() < shard.next_read {
                    wake.at(shard.next_read);
                    break;
                }
                let outcome = self.source.read(&id, &shard.from, room).await;
                let now = self.clock.now();
                match outcome {
                    Ok(page) => {
                        self.trouble = None;
                        shard.is_quiet = page.records.is_empty();
                        if shard.is_quiet || page.caught_up {
                            shard.next_read = now.plus(self.pace.poll_interval);
                        }
                        if let Some(last) = page.records.last() {
                            shard.from = ReadFrom::After(last.sequence.clone());
                            run.last_activity = now;
                        }
                        shard.state.push(page.records, now);
                        if page.end {
                            shard.state.close();
                            shard.stage = Stage::Draining;
                            self.finish_if_drained(&id);
                        }
                    }
                    Err(error) => {
                        let again = self.endure(error)?;
                        if let Some(shard) = self.shards.get_mut(&id) {
                            shard.next_read = again;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Judges an error of the source: either it ends the mapping, or the call is tried again at the moment returned.
    fn endure(&mut self, error: SourceError) -> Result<Moment, MappingError> {
        let now = self.clock.now();
        let trouble = self.trouble.unwrap_or(Trouble { since: now, times: 0 });
        // Before the first success there is nothing to wait for: the address or the name is wrong.
        let is_hopeless = !self.has_looked || now.since(trouble.since) > self.pace.source_patience;
        if !error.retryable || is_hopeless {
            return Err(MappingError::Source(error));
        }
        let times = trouble.times + 1;
        self.trouble = Some(Trouble { times, ..trouble });
        self.observe(&Step::SourceTrouble { message: &error.message });
        Ok(now.plus(self.pace.backoff(times)))
    }

    fn invoke_all(&mut self, run: &mut Run, wake: &mut Wake) -> Result<(), MappingError> {
        let ids: Vec<(String, usize)> =
            self.shards.iter().map(|(id, shard)| (id.clone(), shard.state.lanes())).collect();
        for (id, lanes) in ids {
            for lane in 0..lanes {
                self.advance_lane(run, wake, &id, lane)?;
            }
        }
        Ok(())
    }

    /// Discards what a lane has to discard, then invokes its next batch if there is one.
    fn advance_lane(&mut self, run: &mut Run, wake: &mut Wake, id: &str, lane: usize) -> Result<(), MappingError> {
        loop {
            let now = self.clock.now();
            let Some(shard) = self.shards.get_mut(id) else { return Ok(()) };
            match shard.state.take(lane, now) {
                Take::Nothing => return Ok(()),
                Take::Wait(moment) => {
                    wake.at(moment);
                    return Ok(());
                }
                Take::Discard(..) => self.discard(run, id, lane)?,
                Take::Disable(batch) => {
                    let (Some(first), FailureHandling::RetryWhole { retention }) =
                        (batch.records().next(), self.info.failures)
                    else {
                        return Ok(());
                    };
                    let disabled = Disabled {
                        shard: id.into(),
                        first: first.sequence.clone(),
                        arrival: first.arrival,
                        retention,
                        invocations: batch.invocations(),
                    };
                    self.observe(&Step::Disabled(&disabled));
                    run.summary.disabled = Some(disabled);
                    return Ok(());
                }
                Take::Invoke(batch) => {
                    let payload = Bytes::from(self.info.event(batch.records()));
                    let sequences = batch.sequences();
                    let (Some(first), Some(last)) = (sequences.first(), sequences.last()) else { return Ok(()) };
                    let sent = Sent {
                        shard: id.into(),
                        lane,
                        request_id: unique::uuid(),
                        records: batch.len(),
                        bytes: payload.len(),
                        first: (*first).clone(),
                        last: (*last).clone(),
                        attempt: batch.invocations(),
                    };
                    self.observe(&Step::Invoked(&sent));
                    let function = self.function.clone();
                    run.tasks.spawn(async move {
                        let begin = Instant::now();
                        let invocation = function.invoke_as(&sent.request_id, payload).await;
                        Returned { sent, invocation, duration: begin.elapsed() }
                    });
                    return Ok(());
                }
            }
        }
    }

    fn settle(&mut self, run: &mut Run, returned: Returned) -> Result<(), MappingError> {
        let Returned { sent, invocation, duration } = returned;
        let now = self.clock.now();
        run.last_activity = now;
        let (source, settings) = (&self.source, &self.settings);
        let Some(shard) = self.shards.get_mut(&sent.shard) else { return Ok(()) };
        let Some(batch) = shard.state.out(sent.lane) else { return Ok(()) };
        let identified = |identifier: &Value| source.identified(identifier);
        let reporting = settings.report_batch_item_failures && self.info.failures == FailureHandling::Stream;
        let verdict = judge(&invocation, &batch.sequences(), reporting.then_some(&identified));
        let decision = shard.state.settle(sent.lane, verdict, now);
        shard.last[sent.lane] = Some((sent.request_id.clone(), !invocation.is_response()));
        run.summary.count(&sent, &decision);
        self.observe(&Step::Settled { sent: &sent, invocation: &invocation, decision: &decision, duration });
        if let Decision::Exhausted { .. } = decision {
            self.discard(run, &sent.shard, sent.lane)?;
        }
        self.finish_if_drained(&sent.shard);
        if self.keep_answers {
            run.summary.answers.push(Answer { sent, invocation, decision, duration });
        }
        Ok(())
    }

    /// Writes the on-failure record of what a lane has to discard, and only then goes on behind it. A DocumentDB mapping
    /// leaves no record.
    fn discard(&mut self, run: &mut Run, id: &str, lane: usize) -> Result<(), MappingError> {
        let now = self.clock.now();
        let Some(shard) = self.shards.get_mut(id) else { return Ok(()) };
        let last = shard.last[lane].clone();
        let Take::Discard(batch, condition) = shard.state.take(lane, now) else { return Ok(()) };
        if self.info.failures != FailureHandling::Stream {
            let Some(record) = batch.records().next() else { return Ok(()) };
            let bytes = self.info.event(batch.records()).len();
            let oversized = Oversized { shard: id.into(), sequence: record.sequence.clone(), bytes };
            shard.state.skip(lane, now);
            run.last_activity = now;
            run.summary.oversized += 1;
            self.observe(&Step::Dropped(&oversized));
            self.finish_if_drained(id);
            return Ok(());
        }
        let was_invoked = batch.invocations() > 0 && condition != Condition::MaximumPayloadSizeExceeded;
        let (request_id, failed) = last.filter(|_| was_invoked).unzip();
        let context = FailureContext {
            request_id: request_id.unwrap_or_else(unique::uuid),
            function_arn: self.function.arn(),
            condition,
            function_error: failed,
            shard: id,
            source: &self.info,
            now,
        };
        let Some(record) = FailureRecord::of(batch, context) else { return Ok(()) };
        let written = match &self.on_failure {
            Some(destination) => Some(destination.write(&record, &self.id).map_err(MappingError::OnFailure)?),
            None => None,
        };
        shard.state.skip(lane, now);
        run.last_activity = now;
        run.summary.on_failure_records += 1;
        run.summary.discarded += record.batch_size as u64;
        self.observe(&Step::Discarded { record: &record, written: written.as_deref() });
        self.finish_if_drained(id);
        Ok(())
    }

    /// A shard that is read to its end and drained is finished: its children may begin.
    fn finish_if_drained(&mut self, id: &str) {
        let Some(shard) = self.shards.get_mut(id) else { return };
        if shard.stage == Stage::Draining && shard.state.is_drained() {
            shard.stage = Stage::Finished;
            self.next_look = self.clock.now();
            self.observe(&Step::ShardFinished { shard: id });
        }
    }

    /// Whether nothing is left to do, and nothing has happened for a while where something still can.
    fn is_idle(&self, run: &Run, wake: &mut Wake) -> bool {
        let now = self.clock.now();
        if !run.tasks.is_empty() || now >= self.next_look {
            return false;
        }
        let mut is_over = true;
        for shard in self.shards.values() {
            match shard.stage {
                Stage::Finished => {}
                Stage::Reading if shard.is_quiet && shard.state.is_drained() => is_over = false,
                _ => return false,
            }
        }
        let quiet_at = run.last_activity.plus(self.pace.idle_after);
        wake.at(quiet_at);
        (is_over && !self.shards.is_empty()) || now >= quiet_at
    }

    fn observe(&mut self, step: &Step<'_>) {
        if let Some(observer) = &mut self.observer {
            observer(step);
        }
    }
}
