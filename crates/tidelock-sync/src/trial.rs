//! Batches on trial: what a fresh environment writes down before it works; see [`tidelock_core::journal`].

use crate::app::{App, now_ms};
use crate::metrics::emit_crash;
use crate::remembered::AnyState;
use crate::source::Open;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::batch::BatchResponse;
use tidelock_core::journal::{Envelope, Journal, Step, alone, alone_name, condemned, name};
use tidelock_core::source::Reader;
use tidelock_core::state::State as _;
use tidelock_core::target::Target as _;
use tidelock_lambda::{Fatal, Invocation};

/// The longest that a batch waits for the state, each time.
const STATE_TIME: Duration = Duration::from_secs(2);

/// Where an environment keeps its journal, and whether it needs one.
pub(crate) struct Diary {
    state: Rc<AnyState>,
    /// The last invocation has come to an orderly end, and left nothing to try part by part.
    trusted: Cell<bool>,
}

/// The entry of a batch.
struct Mark<'a> {
    state: &'a AnyState,
    name: String,
    /// `None` where it is not known what is stored.
    revision: Option<String>,
    /// The state does not answer: it is left alone until the invocation ends.
    broken: bool,
    deadline: Instant,
}

impl Mark<'_> {
    fn until(&self) -> Instant {
        self.deadline.min(Instant::now() + STATE_TIME)
    }

    async fn known(&mut self) -> Result<Option<String>, String> {
        match self.revision.take() {
            Some(revision) => Ok(Some(revision)),
            None => Ok(self.state.read(&self.name, self.until()).await?.map(|entry| entry.revision)),
        }
    }

    /// Stores the journal. Where that fails, work goes on without.
    async fn store(&mut self, journal: &mut Journal<'_>) {
        if self.broken {
            return;
        }
        let written = match self.known().await {
            Ok(revision) => {
                self.state.write(&self.name, &journal.text(now_ms()), revision.as_deref(), self.until()).await
            }
            Err(why) => Err(why),
        };
        match written {
            Ok(Some(revision)) => self.revision = Some(revision),
            Ok(None) => tracing::warn!("the attempt journal has been changed by somebody else meanwhile"),
            Err(why) => {
                self.broken = true;
                tracing::warn!(why, "the attempt journal cannot be written; going on without it");
            }
        }
    }

    /// Nothing is on trial any more, and the batch comes again.
    async fn pause(mut self, journal: &mut Journal<'_>) {
        journal.pauses();
        self.broken = false;
        self.store(journal).await;
    }

    async fn remove(mut self) {
        let removed = match self.known().await {
            Ok(Some(revision)) => self.state.remove(&self.name, &revision, self.until()).await.map(drop),
            Ok(None) => Ok(()),
            Err(why) => Err(why),
        };
        if let Err(why) = removed {
            tracing::warn!(why, "an entry of the attempt journal cannot be removed; it ends by itself");
        }
    }
}

impl Diary {
    pub(crate) fn new(state: Rc<AnyState>) -> Self {
        Self { state, trusted: Cell::new(false) }
    }

    /// Stores the journal of a batch of which nothing is known, or gives what is. `None` where the state cannot be used.
    async fn open(
        &self,
        name: String,
        journal: &mut Journal<'_>,
        deadline: Instant,
    ) -> Option<(Mark<'_>, Option<String>)> {
        let mut mark = Mark { state: &self.state, name, revision: None, broken: false, deadline };
        let opened = match self.state.write(&mark.name, &journal.text(now_ms()), None, mark.until()).await {
            Ok(Some(revision)) => Ok(Some((revision, None))),
            Ok(None) => {
                let there = self.state.read(&mark.name, mark.until()).await;
                there.map(|there| there.map(|entry| (entry.revision, Some(entry.value))))
            }
            Err(why) => Err(why),
        };
        match opened {
            Ok(found) => {
                let (revision, value) = found?;
                mark.revision = Some(revision);
                Some((mark, value))
            }
            Err(why) => {
                tracing::warn!(why, "the attempt journal cannot be used; going on without it");
                None
            }
        }
    }

    /// Records pass beside one that does not: those that were parked alone were parked for good reason.
    async fn clears(&self, function: &str, deadline: Instant) {
        let mark = Mark { state: &self.state, name: alone_name(function), revision: None, broken: false, deadline };
        mark.remove().await;
    }

    /// Whether a record may be parked although nothing beside it has passed.
    async fn may_park_alone(&self, function: &str, deadline: Instant) -> bool {
        let mut mark = Mark { state: &self.state, name: alone_name(function), revision: None, broken: false, deadline };
        let allowed = async {
            let known = self.state.read(&mark.name, mark.until()).await?;
            mark.revision = known.as_ref().map(|entry| entry.revision.clone());
            let Some(kept) = alone(known.as_ref().map(|entry| entry.value.as_str()), now_ms()) else {
                return Ok(false);
            };
            self.state.write(&mark.name, &kept, mark.revision.as_deref(), mark.until()).await.map(|kept| kept.is_some())
        };
        allowed.await.unwrap_or_else(|why: String| {
            tracing::warn!(why, "it is not known how many records have been parked of late");
            false
        })
    }
}

impl<R: Open> App<R> {
    /// Takes one batch from bytes to answer. Where an earlier environment has not survived it, part by part.
    ///
    /// # Errors
    /// When the payload is no event of the source, or the batch must come again as a whole.
    pub(crate) async fn sync(
        &self,
        payload: &[u8],
        invocation: &Invocation,
        reader: &Reader,
    ) -> Result<BatchResponse, Fatal> {
        let Some(diary) = &self.diary else { return self.work(payload, invocation, reader).await };
        // Whatever ends this invocation but its own answer leaves it so.
        let trusted = diary.trusted.replace(false);
        let envelope = if trusted { None } else { Envelope::find(payload) };
        let (mut mark, mut work) = (None, invocation.clone());
        if let Some(envelope) = &envelope {
            // However long the target is silent, that nobody has died is to be written down.
            let left = invocation.deadline.saturating_duration_since(Instant::now());
            work.deadline = invocation.deadline.checked_sub((left / 10).min(STATE_TIME)).unwrap_or(invocation.deadline);
            let mut journal = Journal::new(payload, &envelope.records);
            let first = envelope.records.first().and_then(|first| payload.get(first.clone()));
            let name = name(&self.function, first.unwrap_or_default());
            mark = match diary.open(name, &mut journal, invocation.deadline).await {
                Some((mark, Some(left))) => {
                    let (journal, dead) = Journal::resume(&left, now_ms(), payload, &envelope.records);
                    if let Some(dead) = dead {
                        self.tell_of_death(&dead, envelope.records.len(), invocation);
                    }
                    let batch = OnTrial { payload, envelope, invocation: &work, reader };
                    return Box::pin(self.resume(diary, mark, journal, batch)).await;
                }
                opened => opened.map(|(mark, _)| mark),
            };
        }
        let answer = self.work(payload, &work, reader).await;
        if let Some(mark) = mark {
            mark.remove().await;
        }
        diary.trusted.set(true);
        answer
    }

    fn tell_of_death(&self, dead: &Range<usize>, of: usize, invocation: &Invocation) {
        tracing::warn!(
            records = dead.len(),
            of,
            "the function's process ended while it worked on these records of the batch: they are tried again part by part, until it is known which of them it is"
        );
        emit_crash(&self.function, &invocation.request_id, dead.len());
    }

    /// Tries what has not passed yet, each part by itself.
    async fn resume(
        &self,
        diary: &Diary,
        mut mark: Mark<'_>,
        mut journal: Journal<'_>,
        batch: OnTrial<'_>,
    ) -> Result<BatchResponse, Fatal> {
        let OnTrial { payload, envelope, invocation, reader } = batch;
        let mut response = BatchResponse::success();
        while let Some(step) = journal.step() {
            if Instant::now() >= invocation.deadline {
                mark.pause(&mut journal).await;
                let why = "the time was over before all parts of the batch were tried; what has passed is remembered";
                return Err(Fatal::new("Tidelock.Batch", why));
            }
            if matches!(step, Step::Park { .. })
                && !journal.has_passed()
                && !diary.may_park_alone(&self.function, mark.deadline).await
            {
                tracing::warn!(
                    "several records have ended the process, and none beside them has passed: the function may be to blame, not they; it is tried again instead of being parked"
                );
                journal.spares();
                continue;
            }
            mark.store(&mut journal).await;
            let answer = match step {
                Step::Try(range) => self.work(&envelope.part(payload, range), invocation, reader).await,
                Step::Park { record, readable } => self.condemn(&batch, record, readable).await,
            };
            match answer {
                Ok(answer) if answer.is_success() => journal.passes(),
                Ok(answer) => {
                    journal.cut();
                    response = answer;
                }
                Err(fatal) => {
                    mark.pause(&mut journal).await;
                    return Err(fatal);
                }
            }
        }
        let deadline = mark.deadline;
        mark.remove().await;
        if journal.has_passed() {
            diary.clears(&self.function, deadline).await;
        }
        diary.trusted.set(response.is_success());
        Ok(response)
    }

    /// Parks a record without working on it.
    async fn condemn(&self, batch: &OnTrial<'_>, record: usize, readable: bool) -> Result<BatchResponse, Fatal> {
        let OnTrial { payload, envelope, invocation, reader } = *batch;
        let started = Instant::now();
        let format = self.target.format();
        let single = envelope.part(payload, record..record + 1);
        let read = if readable { (reader.decode_deferred)(&single, format).ok() } else { None };
        let (payload, read) = match read.filter(|read| !read.slots.is_empty()) {
            Some(read) => (single.as_slice(), read),
            None => {
                let empty = (reader.decode_deferred)(&envelope.part(payload, 0..0), format);
                (payload, empty.map_err(|error| Fatal::new("Tidelock.Event", error.message))?)
            }
        };
        let raw = envelope.records.get(record).cloned().unwrap_or_default();
        self.deliver(payload, &condemned(read, raw), started, invocation).await
    }
}

/// A batch that an earlier environment has not survived.
#[derive(Clone, Copy)]
struct OnTrial<'a> {
    payload: &'a [u8],
    envelope: &'a Envelope,
    invocation: &'a Invocation,
    reader: &'a Reader,
}

#[cfg(test)]
mod tests;
