//! The target: requests side by side, an outcome for every operation, refusals judged.

use crate::answer::{Item, items, whole_error};
use crate::bulk::{Chunk, Guard, action_size, push_action, split};
use crate::error::{by_status, classify};
use crate::index::{check_name, path_segment, prepare};
use crate::judge::{self, Stored};
use crate::{Request, Response, Transport};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::cell::RefCell;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::encode::Format;
use tidelock_core::target::{Done, Operation, Outcome, Target, Write};
use tidelock_core::version::Judgement;

/// The most bytes of an id.
const MAX_ID: usize = 512;

/// How often an operation that fails alone with a server error is tried.
const ALONE_ATTEMPTS: u32 = 3;

/// How often a lost race is run again.
const RACES: u32 = 8;

const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// Sizes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSearchConfig {
    /// Most bytes of one bulk request.
    pub bulk_bytes: usize,
    /// Requests at a time.
    pub in_flight: usize,
}

/// OpenSearch or Elasticsearch behind some transport.
pub struct OpenSearchTarget<T> {
    transport: T,
    config: OpenSearchConfig,
    /// Indices whose mapping has been seen to.
    prepared: RefCell<HashSet<String>>,
}

/// An operation that is to be sent.
#[derive(Debug, Clone)]
struct Pending {
    /// Index into the operations.
    index: usize,
    guard: Guard,
    /// Server errors of this operation alone.
    attempts: u32,
    races: u32,
    /// What the attempt before this one came to.
    before: Option<Failure>,
}

/// One batch's operations with their ids.
struct Work<'a> {
    operations: &'a [Operation<'a>],
    ids: Vec<String>,
    deadline: Instant,
}

impl Work<'_> {
    fn id(&self, index: usize) -> &str {
        self.ids.get(index).map_or("", String::as_str)
    }
}

/// What an answer leaves to do.
#[derive(Default)]
struct Rest {
    /// To be sent again after a pause, each with the reason.
    later: Vec<(Pending, Failure)>,
    /// To be sent again at once.
    now: Vec<Pending>,
    /// Refused by their guard.
    conflicts: Vec<Pending>,
    /// How many items passed, in this request and those before it.
    passed: usize,
}

type Outcomes = Vec<(usize, Outcome)>;

impl<T: Transport> OpenSearchTarget<T> {
    /// A target over `transport`.
    #[must_use]
    pub fn new(transport: T, config: OpenSearchConfig) -> Self {
        Self { transport, config, prepared: RefCell::default() }
    }

    /// Sees to an index once per process; a failure is that of every operation on it.
    async fn prepare(&self, name: &str, deadline: Instant) -> Result<(), Failure> {
        if self.prepared.borrow().contains(name) {
            return Ok(());
        }
        check_name(name).map_err(|problem| Failure::new(Cause::InvalidTargetName, problem))?;
        let mut pauses = 0;
        while let Err(failure) = prepare(&self.transport, name, deadline).await {
            if !worth_waiting(failure.cause) || !pause(pauses, deadline).await {
                return Err(failure);
            }
            pauses += 1;
        }
        self.prepared.borrow_mut().insert(name.to_owned());
        Ok(())
    }

    /// What can be told before sending: an id or a document that would sink a whole request.
    fn check(&self, operation: &Operation<'_>, id: &str) -> Result<usize, Failure> {
        if id.is_empty() || id.len() > MAX_ID {
            let detail = format!("the id has {} bytes; it must have 1 to {MAX_ID}", id.len());
            return Err(Failure::new(Cause::InvalidId, detail));
        }
        let size = action_size(operation, id);
        if size > self.config.bulk_bytes {
            let detail =
                format!("the document has about {size} bytes; a bulk request may have {}", self.config.bulk_bytes);
            return Err(Failure::new(Cause::DocumentTooLarge, detail));
        }
        Ok(size)
    }

    /// Sends one request's operations until each has an outcome.
    async fn chunk(&self, index: &str, work: &Work<'_>, chunk: Chunk) -> Outcomes {
        let mut outcomes = Vec::with_capacity(chunk.members.len());
        let first = chunk.members.into_iter().map(|index| Pending {
            index,
            guard: Guard::External,
            attempts: 0,
            races: 0,
            before: None,
        });
        let mut parts = vec![first.collect::<Vec<_>>()];
        let (mut pauses, mut passed) = (0, 0);
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            // What passed in an earlier request was a neighbour too.
            let mut rest = Rest { passed, ..Rest::default() };
            match self.send(index, work, &part).await {
                // An attempt that the deadline cut short says less than the one before it.
                Err(failure) if failure.cause == Cause::TimedOut => {
                    rest.later = part
                        .into_iter()
                        .map(|mut pending| {
                            let before = pending.before.take();
                            (pending, before.unwrap_or_else(|| failure.clone()))
                        })
                        .collect();
                }
                Err(failure) => rest.later = part.into_iter().map(|pending| (pending, failure.clone())).collect(),
                Ok(response) if response.status == 200 => self.take_items(&response, part, &mut rest, &mut outcomes),
                Ok(response) => match self.whole(&response) {
                    // Something in it sinks the request: halve until it is alone.
                    Failure { cause, .. } if cause.disposition() == Disposition::Park && part.len() > 1 => {
                        let mut part = part;
                        parts.push(part.split_off(part.len() / 2));
                        parts.push(part);
                        continue;
                    }
                    failure if failure.cause.disposition() == Disposition::Park => {
                        outcomes.extend(part.into_iter().map(|pending| (pending.index, Err(failure.clone()))));
                    }
                    failure => rest.later = part.into_iter().map(|pending| (pending, failure.clone())).collect(),
                },
            }
            passed = rest.passed;
            if !rest.conflicts.is_empty() {
                let conflicts = std::mem::take(&mut rest.conflicts);
                self.judge(index, work, conflicts, &mut rest, &mut outcomes).await;
            }
            let (wait, give_up): (Vec<_>, Vec<_>) =
                rest.later.into_iter().partition(|(_, failure)| worth_waiting(failure.cause));
            outcomes.extend(give_up.into_iter().map(|(pending, failure)| (pending.index, Err(failure))));
            if !wait.is_empty() {
                if pause(pauses, work.deadline).await {
                    pauses += 1;
                    rest.now.extend(
                        wait.into_iter().map(|(pending, failure)| Pending { before: Some(failure), ..pending }),
                    );
                } else {
                    outcomes.extend(wait.into_iter().map(|(pending, failure)| (pending.index, Err(failure))));
                }
            }
            parts.push(rest.now);
        }
        outcomes
    }

    async fn send(&self, index: &str, work: &Work<'_>, part: &[Pending]) -> Result<Response, Failure> {
        let size = part.iter().filter_map(|pending| {
            work.operations.get(pending.index).map(|operation| action_size(operation, work.id(pending.index)))
        });
        let mut body = Vec::with_capacity(size.sum());
        for pending in part {
            if let Some(operation) = work.operations.get(pending.index) {
                push_action(&mut body, operation, work.id(pending.index), pending.guard);
            }
        }
        let request = Request {
            method: "POST",
            path: format!("/{}/_bulk?filter_path=errors,items.*.status,items.*.error", path_segment(index)),
            content_type: "application/x-ndjson",
            body: Bytes::from(body),
        };
        self.transport.send(request, work.deadline).await
    }

    /// Takes the items of a 200 answer in, by position.
    fn take_items(&self, response: &Response, part: Vec<Pending>, rest: &mut Rest, outcomes: &mut Outcomes) {
        let unexpected =
            |detail: String| Failure::new(Cause::UnexpectedAnswer, format!("{}: {detail}", self.transport.place()));
        let found = match items(&response.body, part.len()) {
            Ok(found) if found.len() == part.len() => found,
            Ok(found) => {
                let failure = unexpected(format!("{} items for {} actions", found.len(), part.len()));
                rest.later.extend(part.into_iter().map(|pending| (pending, failure.clone())));
                return;
            }
            Err(error) => {
                let failure = unexpected(format!("the bulk answer cannot be read: {error}"));
                rest.later.extend(part.into_iter().map(|pending| (pending, failure.clone())));
                return;
            }
        };
        let mut failed = Vec::new();
        for (pending, item) in part.into_iter().zip(found) {
            match item {
                // A delete of what is not there is done: 404 without an error.
                Item { status: 200..=299 | 404, error: None } => {
                    rest.passed += 1;
                    outcomes.push((pending.index, Ok(Done::Applied)));
                }
                Item { status: 409, .. } => {
                    rest.passed += 1;
                    rest.conflicts.push(pending);
                }
                Item { status, error } => failed.push((pending, status, error.unwrap_or_default())),
            }
        }
        for (mut pending, status, (kind, reason)) in failed {
            let cause = classify(status, &kind, &reason);
            let failure = Failure::new(cause, format!("{kind} ({status}): {reason}"));
            if cause.disposition() == Disposition::Park {
                outcomes.push((pending.index, Err(failure)));
                continue;
            }
            // A server error that comes again while the neighbours pass is this document's own.
            if status == 500 && rest.passed > 0 {
                pending.attempts += 1;
            }
            if pending.attempts >= ALONE_ATTEMPTS {
                outcomes.push((pending.index, Err(Failure::new(Cause::TargetError, failure.detail))));
            } else {
                rest.later.push((pending, failure));
            }
        }
    }

    /// What an answer without items means for all it was sent.
    fn whole(&self, response: &Response) -> Failure {
        let place = self.transport.place();
        match whole_error(&response.body) {
            Some((kind, reason)) => Failure::new(
                classify(response.status, &kind, &reason),
                format!("{place}: {kind} ({}): {reason}", response.status),
            ),
            None => {
                let text =
                    String::from_utf8_lossy(response.body.get(..response.body.len().min(200)).unwrap_or_default())
                        .into_owned();
                Failure::new(by_status(response.status), format!("{place}: status {}: {text}", response.status))
            }
        }
    }

    /// Judges refused operations on what is stored.
    async fn judge(
        &self,
        index: &str,
        work: &Work<'_>,
        conflicts: Vec<Pending>,
        rest: &mut Rest,
        outcomes: &mut Outcomes,
    ) {
        let ids: Vec<&str> = conflicts.iter().map(|pending| work.id(pending.index)).collect();
        let request = Request {
            method: "POST",
            path: format!("/{}/_mget?_source_includes=_tidelock", path_segment(index)),
            content_type: "application/json",
            body: Bytes::from(judge::request(&ids)),
        };
        let stored = match self.transport.send(request, work.deadline).await {
            Ok(response) if response.status == 200 => judge::read(&response.body, conflicts.len()).ok_or_else(|| {
                Failure::new(
                    Cause::UnexpectedAnswer,
                    format!("{}: the _mget answer cannot be read", self.transport.place()),
                )
            }),
            Ok(response) => {
                let mut failure = self.whole(&response);
                if failure.cause.disposition() == Disposition::Park {
                    failure.cause = Cause::UnexpectedAnswer;
                }
                Err(failure)
            }
            Err(failure) => Err(failure),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(failure) => {
                rest.later.extend(conflicts.into_iter().map(|pending| (pending, failure.clone())));
                return;
            }
        };
        for (mut pending, stored) in conflicts.into_iter().zip(stored) {
            let Some(operation) = work.operations.get(pending.index) else { continue };
            match stored {
                Stored::Unknown(kind, reason) => {
                    let failure = Failure::new(Cause::Unavailable, format!("{kind}: {reason}"));
                    rest.later.push((pending, failure));
                }
                Stored::Nothing if operation.write == Write::Delete => {
                    outcomes.push((pending.index, Ok(Done::Applied)))
                }
                Stored::Nothing => {
                    pending.guard = Guard::External;
                    let detail = format!("`{}` was deleted with a version that is not lower", work.id(pending.index));
                    rest.later.push((pending, Failure::new(Cause::Tombstone, detail)));
                }
                Stored::Document(seen, mark) => match operation.version.judge(mark.as_ref()) {
                    Judgement::Stale => outcomes.push((pending.index, Ok(Done::Stale))),
                    Judgement::Replay => outcomes.push((pending.index, Ok(Done::Applied))),
                    Judgement::OrderConflict => {
                        let newer = mark.map_or(String::new(), |mark| format!("{} {}", mark.label, mark.exact));
                        let detail = format!(
                            "stored is {newer}, this is {} {}",
                            operation.version.label, operation.version.exact
                        );
                        outcomes.push((pending.index, Err(Failure::new(Cause::OrderConflict, detail))));
                    }
                    Judgement::Newer | Judgement::Foreign => {
                        pending.guard = Guard::CompareAndSet(seen);
                        pending.races += 1;
                        if pending.races > RACES {
                            let detail = format!("`{}` was changed {RACES} times meanwhile", work.id(pending.index));
                            outcomes.push((pending.index, Err(Failure::new(Cause::LostRace, detail))));
                        } else {
                            rest.now.push(pending);
                        }
                    }
                },
            }
        }
    }
}

/// Whether a moment's patience may help; what an operator must mend is reported at once.
fn worth_waiting(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Throttled
            | Cause::Unavailable
            | Cause::Unreachable
            | Cause::TimedOut
            | Cause::UnexpectedAnswer
            | Cause::Tombstone
    )
}

/// Waits with full jitter before the next attempt; `false` when there is no time left for one.
async fn pause(pauses: u32, deadline: Instant) -> bool {
    let ceiling = BACKOFF_BASE.saturating_mul(1 << pauses.min(10)).min(BACKOFF_CAP);
    let wait = ceiling.mul_f64(fastrand::f64());
    if Instant::now() + wait >= deadline {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

impl<T: Transport> Target for OpenSearchTarget<T> {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], deadline: Instant) -> Vec<Outcome> {
        let work =
            Work { operations, ids: operations.iter().map(|operation| operation.key.text_id()).collect(), deadline };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; operations.len()];
        let mut indices: Vec<(&str, Vec<(usize, usize)>)> = Vec::new();
        for (position, operation) in operations.iter().enumerate() {
            match self.check(operation, work.id(position)) {
                Err(failure) => {
                    if let Some(outcome) = outcomes.get_mut(position) {
                        *outcome = Some(Err(failure));
                    }
                }
                Ok(size) => match indices.iter_mut().find(|(name, _)| *name == operation.into.name) {
                    Some((_, members)) => members.push((position, size)),
                    None => indices.push((&operation.into.name, vec![(position, size)])),
                },
            }
        }
        let mut requests = Vec::new();
        let mut done: Outcomes = Vec::new();
        for (name, members) in indices {
            match self.prepare(name, deadline).await {
                Ok(()) => {
                    let chunks = split(&members, self.config.bulk_bytes, self.config.in_flight);
                    requests.extend(chunks.into_iter().map(|chunk| self.chunk(name, &work, chunk)));
                }
                Err(failure) => done.extend(members.into_iter().map(|(position, _)| (position, Err(failure.clone())))),
            }
        }
        let mut running = futures_util::stream::iter(requests).buffer_unordered(self.config.in_flight.max(1));
        while let Some(part) = running.next().await {
            done.extend(part);
        }
        for (position, outcome) in done {
            if let Some(place) = outcomes.get_mut(position) {
                *place = Some(outcome);
            }
        }
        let missing = || Err(Failure::new(Cause::UnexpectedAnswer, "no outcome"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}
