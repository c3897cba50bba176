//! One bulk request's actions: sent, answered by position, refusals judged, until each has ended.

use crate::answer::{Item, items, whole_error};
use crate::bulk::{Guard, Part, action_size, push_action, push_fence};
use crate::error::{by_status, classify};
use crate::index::path_segment;
use crate::judge::{self, Asked, Stored};
use crate::pace::{Reception, pause};
use crate::target::OpenSearchTarget;
use crate::{Request, Response, Transport};
use bytes::Bytes;
use std::time::Instant;
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::fence::FENCE_INDEX;
use tidelock_core::target::{Call, Done, Operation, Write};
use tidelock_core::version::{Judgement, Mark};

/// How often an action that fails alone with a server error is tried.
const ALONE_ATTEMPTS: u32 = 3;

/// How often a lost race is run again.
const RACES: u32 = 8;

/// Who decides about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judging {
    /// The live lane: what is newer is written over what was found.
    Live,
    /// A slow lane: the caller looks again.
    Slow,
}

/// An action that is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// Index into the operations.
    pub(crate) index: usize,
    pub(crate) part: Part,
    pub(crate) guard: Guard,
    /// Server errors of this action alone.
    attempts: u32,
    races: u32,
    /// What the attempt before this one came to.
    before: Option<Failure>,
}

impl Pending {
    pub(crate) fn new(index: usize, part: Part, guard: Guard) -> Self {
        Self { index, part, guard, attempts: 0, races: 0, before: None }
    }
}

/// How an action has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Done(Done),
    /// Something else is stored now (slow lanes only).
    Changed,
    Failed(Failure),
}

/// Actions that have ended: which operation's, which part, and how.
pub(crate) type Endings = Vec<(usize, Part, Ended)>;

/// One call's operations with their ids.
pub(crate) struct Work<'a> {
    pub(crate) operations: Vec<Operation<'a>>,
    pub(crate) ids: Vec<String>,
    /// Ids of the deletes' fences; empty where none is written.
    pub(crate) fences: Vec<String>,
    pub(crate) call: Call,
    pub(crate) judging: Judging,
}

impl Work<'_> {
    fn id(&self, index: usize) -> &str {
        self.ids.get(index).map_or("", String::as_str)
    }

    fn fence(&self, index: usize) -> &str {
        self.fences.get(index).map_or("", String::as_str)
    }

    /// An upper bound of what an action appends to a body.
    fn size(&self, pending: &Pending) -> usize {
        let operation = self.operations.get(pending.index);
        operation.map_or(0, |operation| action_size(operation, self.id(pending.index)))
    }

    /// Where an action writes.
    fn place<'a>(&'a self, index: &'a str, pending: &Pending) -> Asked<'a> {
        match pending.part {
            Part::Document => {
                let routing = self.operations.get(pending.index).and_then(|one| one.into.routing.as_deref());
                Asked { routing, ..Asked::new(index, self.id(pending.index)) }
            }
            Part::Fence => Asked::new(FENCE_INDEX, self.fence(pending.index)),
        }
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

impl<T: Transport> OpenSearchTarget<T> {
    /// Sends one request's actions until each has ended.
    pub(crate) async fn chunk(&self, index: &str, work: &Work<'_>, actions: Vec<Pending>) -> Endings {
        let mut endings = Vec::with_capacity(actions.len());
        let mut parts = vec![actions];
        let (mut pauses, mut passed) = (0, 0);
        let fail =
            |failure: Failure| move |pending: Pending| (pending.index, pending.part, Ended::Failed(failure.clone()));
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if let Some(others) = self.cut(work, &mut part) {
                parts.push(others);
            }
            let Some(turn) = self.pace.turn(work.call.deadline).await else {
                endings.extend(part.into_iter().map(|mut pending| {
                    let failure = pending.before.take().unwrap_or_else(|| self.not_sent());
                    fail(failure)(pending)
                }));
                continue;
            };
            // What passed in an earlier request was a neighbour too.
            let mut rest = Rest { passed, ..Rest::default() };
            let mut reception = Reception::Unknown;
            match self.send(index, work, &part).await {
                // An attempt that the deadline cut short says less than the one before it.
                Err(failure) if failure.cause == Cause::TimedOut => {
                    reception = Reception::Refused;
                    rest.later = part
                        .into_iter()
                        .map(|mut pending| {
                            let before = pending.before.take();
                            (pending, before.unwrap_or_else(|| failure.clone()))
                        })
                        .collect();
                }
                Err(failure) => {
                    if failure.cause == Cause::Unreachable {
                        reception = Reception::Gone;
                    }
                    rest.later = part.into_iter().map(|pending| (pending, failure.clone())).collect();
                }
                Ok(response) if response.status == 200 => {
                    reception = Reception::Taken;
                    self.take_items(&response, part, &mut rest, &mut endings);
                }
                Ok(response) => match self.whole(&response) {
                    // Something in it sinks the request: halve until it is alone.
                    Failure { cause, .. } if cause.disposition() == Disposition::Park && part.len() > 1 => {
                        parts.push(part.split_off(part.len() / 2));
                        parts.push(part);
                        continue;
                    }
                    failure if failure.cause.disposition() == Disposition::Park => {
                        endings.extend(part.into_iter().map(fail(failure)));
                    }
                    failure => {
                        if matches!(failure.cause, Cause::Throttled | Cause::Unavailable) {
                            reception = Reception::Refused;
                        }
                        rest.later = part.into_iter().map(|pending| (pending, failure.clone())).collect();
                    }
                },
            }
            passed = rest.passed;
            if !rest.conflicts.is_empty() {
                let conflicts = std::mem::take(&mut rest.conflicts);
                self.judge(index, work, conflicts, &mut rest, &mut endings).await;
            }
            if reception == Reception::Taken && rest.later.iter().any(|(_, failure)| failure.cause == Cause::Throttled)
            {
                reception = Reception::RefusedInPart;
            }
            turn.end(reception);
            let (wait, give_up): (Vec<_>, Vec<_>) =
                rest.later.into_iter().partition(|(_, failure)| worth_waiting(failure.cause));
            endings.extend(give_up.into_iter().map(|(pending, failure)| fail(failure)(pending)));
            if !wait.is_empty() {
                // After a refusal the next turn is what is waited for.
                let waits = reception.is_refusal() && self.config.paced;
                if waits || pause(pauses, work.call.deadline).await {
                    pauses += 1;
                    rest.now.extend(
                        wait.into_iter().map(|(pending, failure)| Pending { before: Some(failure), ..pending }),
                    );
                } else {
                    endings.extend(wait.into_iter().map(|(pending, failure)| fail(failure)(pending)));
                }
            }
            parts.push(rest.now);
        }
        endings
    }

    /// Cuts off what would make a request larger than the target has been taking of late.
    fn cut(&self, work: &Work<'_>, part: &mut Vec<Pending>) -> Option<Vec<Pending>> {
        if !self.pace.is_shrunk() {
            return None;
        }
        let mut left = self.pace.bytes();
        let fits = |pending: &&Pending| {
            let size = work.size(pending);
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let fitting = part.iter().take_while(fits).count().max(1);
        (fitting < part.len()).then(|| part.split_off(fitting))
    }

    /// The failure of what was never sent.
    fn not_sent(&self) -> Failure {
        let detail = "not sent: the target was too busy for as long as the invocation had time";
        Failure::new(Cause::Throttled, format!("{}: {detail}", self.transport.place()))
    }

    async fn send(&self, index: &str, work: &Work<'_>, part: &[Pending]) -> Result<Response, Failure> {
        let operation = |pending: &Pending| work.operations.get(pending.index);
        let mut body = Vec::with_capacity(part.iter().map(|pending| work.size(pending)).sum());
        for pending in part {
            let Some(operation) = operation(pending) else { continue };
            let id = work.id(pending.index);
            match pending.part {
                Part::Document => push_action(&mut body, operation, id, pending.guard),
                Part::Fence => {
                    let fence = work.fence(pending.index);
                    push_fence(&mut body, operation, id, fence, pending.guard, work.call.now_ms);
                }
            }
        }
        let request = Request {
            method: "POST",
            path: format!("/{}/_bulk?filter_path=errors,items.*.status,items.*.error", path_segment(index)),
            content_type: "application/x-ndjson",
            body: Bytes::from(body),
        };
        self.transport.send(request, work.call.deadline).await
    }

    /// Takes the items of a 200 answer in, by position.
    fn take_items(&self, response: &Response, part: Vec<Pending>, rest: &mut Rest, endings: &mut Endings) {
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
                    endings.push((pending.index, pending.part, Ended::Done(Done::Applied)));
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
                endings.push((pending.index, pending.part, Ended::Failed(failure)));
                continue;
            }
            // A server error that comes again while the neighbours pass is this document's own.
            if matches!(status, 400 | 500) && rest.passed > 0 {
                pending.attempts += 1;
            }
            if pending.attempts >= ALONE_ATTEMPTS {
                let failure = Failure::new(Cause::TargetError, failure.detail);
                endings.push((pending.index, pending.part, Ended::Failed(failure)));
            } else {
                rest.later.push((pending, failure));
            }
        }
    }

    /// What an answer without items means for all it was sent.
    pub(crate) fn whole(&self, response: &Response) -> Failure {
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

    /// What is stored at these places, by position. `index` is the one in the request's path.
    pub(crate) async fn read<'a>(
        &self,
        index: &str,
        places: impl ExactSizeIterator<Item = Asked<'a>> + Clone,
        deadline: Instant,
    ) -> Result<Vec<Stored>, Failure> {
        self.read_as(index, places, deadline, judge::read).await
    }

    /// [`Self::read`], the answer read as `parse` does it.
    pub(crate) async fn read_as<'a, A>(
        &self,
        index: &str,
        places: impl ExactSizeIterator<Item = Asked<'a>> + Clone,
        deadline: Instant,
        parse: fn(&[u8], usize) -> Option<A>,
    ) -> Result<A, Failure> {
        let expected = places.len();
        let request = Request {
            method: "POST",
            path: format!("/{}/_mget?{}", path_segment(index), judge::FILTER),
            content_type: "application/json",
            body: Bytes::from(judge::request(index, places)),
        };
        let response = self.transport.send(request, deadline).await?;
        if response.status == 200 {
            return parse(&response.body, expected).ok_or_else(|| {
                let place = self.transport.place();
                Failure::new(Cause::UnexpectedAnswer, format!("{place}: the _mget answer cannot be read"))
            });
        }
        let mut failure = self.whole(&response);
        if failure.cause.disposition() == Disposition::Park {
            failure.cause = Cause::UnexpectedAnswer;
        }
        Err(failure)
    }

    /// Judges refused actions on what is stored.
    async fn judge(
        &self,
        index: &str,
        work: &Work<'_>,
        conflicts: Vec<Pending>,
        rest: &mut Rest,
        endings: &mut Endings,
    ) {
        let places = conflicts.iter().map(|pending| work.place(index, pending));
        let stored = match self.read(index, places, work.call.deadline).await {
            Ok(stored) => stored,
            Err(failure) => {
                rest.later.extend(conflicts.into_iter().map(|pending| (pending, failure.clone())));
                return;
            }
        };
        let mut forgotten = Vec::new();
        for (pending, stored) in conflicts.into_iter().zip(stored) {
            let Some(operation) = work.operations.get(pending.index) else { continue };
            let is_delete = pending.part == Part::Document && operation.write == Write::Delete;
            match stored {
                Stored::Unknown(kind, reason) => {
                    let failure = Failure::new(Cause::Unavailable, format!("{kind}: {reason}"));
                    rest.later.push((pending, failure));
                }
                Stored::Nothing if is_delete => {
                    endings.push((pending.index, pending.part, Ended::Done(Done::Applied)));
                }
                Stored::Nothing if pending.part == Part::Document => match (work.judging, pending.guard) {
                    (Judging::Slow, Guard::CompareAndSet(_)) => {
                        endings.push((pending.index, pending.part, Ended::Changed));
                    }
                    // Only a fence says which delete it was that is remembered here.
                    _ => forgotten.push(pending),
                },
                Stored::Nothing => {
                    let id = work.id(pending.index);
                    rest.later.push(tombstone(pending, id));
                }
                Stored::Document(seen, mark) => {
                    let again = Self::guard_over(operation.version.coarse, Some(seen));
                    if work.judging == Judging::Slow && pending.part == Part::Document {
                        endings.push((pending.index, pending.part, Ended::Changed));
                        continue;
                    }
                    match (operation.version.judge(mark.as_ref()), pending.part) {
                        (Judgement::Stale, _) | (Judgement::OrderConflict, Part::Fence) => {
                            endings.push((pending.index, pending.part, Ended::Done(Done::Stale)));
                        }
                        // What is stored is only a part of it.
                        (Judgement::Replay, Part::Document) if mark.as_ref().is_some_and(|mark| mark.part) => {
                            race(pending, again, work, rest, endings);
                        }
                        (Judgement::Replay, Part::Document) => {
                            endings.push((pending.index, pending.part, Ended::Done(Done::Applied)));
                        }
                        (Judgement::OrderConflict, Part::Document) => {
                            let failure = order_conflict(operation, mark.as_ref());
                            endings.push((pending.index, pending.part, Ended::Failed(failure)));
                        }
                        (Judgement::Tie, Part::Document) if work.call.truth => {
                            let failure = order_conflict(operation, mark.as_ref());
                            endings.push((pending.index, pending.part, Ended::Failed(failure)));
                        }
                        (Judgement::Foreign, Part::Document) if work.call.truth => {
                            let failure = Failure::new(Cause::ForeignDocument, foreign(operation, mark.as_ref()));
                            endings.push((pending.index, pending.part, Ended::Failed(failure)));
                        }
                        // An equal fence is written anew: a write of before may have landed since, and the sweep must come to it
                        // again. A live change wins a tie: of equal numbers, the one delivered later counts as the newer one.
                        (Judgement::Newer | Judgement::Tie | Judgement::Foreign, _)
                        | (Judgement::Replay, Part::Fence) => {
                            race(pending, again, work, rest, endings);
                        }
                    }
                }
            }
        }
        if !forgotten.is_empty() {
            self.judge_by_fence(index, work, forgotten, rest, endings).await;
        }
    }

    /// Judges writes that the memory of a delete has refused.
    ///
    /// Creating the document instead would start its `_version` at 1 and let older writes in.
    async fn judge_by_fence(
        &self,
        index: &str,
        work: &Work<'_>,
        refused: Vec<Pending>,
        rest: &mut Rest,
        endings: &mut Endings,
    ) {
        let fences: Vec<String> =
            refused.iter().map(|pending| crate::fence::id(index, work.id(pending.index))).collect();
        let places = fences.iter().map(|fence| Asked::new(FENCE_INDEX, fence));
        let stored = match self.read(index, places, work.call.deadline).await {
            Ok(stored) => stored,
            Err(failure) => {
                rest.later.extend(refused.into_iter().map(|pending| (pending, failure.clone())));
                return;
            }
        };
        for (pending, stored) in refused.into_iter().zip(stored) {
            let Some(operation) = work.operations.get(pending.index) else { continue };
            let fence = match stored {
                Stored::Document(_, mark) => mark,
                Stored::Nothing => None,
                Stored::Unknown(kind, reason) => {
                    rest.later.push((pending, Failure::new(Cause::Unavailable, format!("{kind}: {reason}"))));
                    continue;
                }
            };
            match (operation.version.judge(fence.as_ref()), work.judging) {
                // The caller looks again, and then sees the fence.
                (Judgement::Stale | Judgement::OrderConflict, Judging::Slow) => {
                    endings.push((pending.index, pending.part, Ended::Changed));
                }
                // An equal fence was written by a truth that had found nothing any more.
                (Judgement::Stale | Judgement::Replay, Judging::Live) => {
                    endings.push((pending.index, pending.part, Ended::Done(Done::Stale)));
                }
                (Judgement::OrderConflict, Judging::Live) => {
                    let failure = order_conflict(operation, fence.as_ref());
                    endings.push((pending.index, pending.part, Ended::Failed(failure)));
                }
                // A slow lane may know better than an equal fence: it has read the source.
                (Judgement::Newer | Judgement::Tie | Judgement::Foreign, _) | (Judgement::Replay, Judging::Slow) => {
                    let id = work.id(pending.index);
                    rest.later.push(tombstone(pending, id));
                }
            }
        }
    }
}

/// Writes over what was read, unless that has been tried too often.
fn race(mut pending: Pending, again: Guard, work: &Work<'_>, rest: &mut Rest, endings: &mut Endings) {
    pending.guard = again;
    pending.races += 1;
    if pending.races > RACES {
        let detail = format!("`{}` was changed {RACES} times meanwhile", work.id(pending.index));
        endings.push((pending.index, pending.part, Ended::Failed(Failure::new(Cause::LostRace, detail))));
    } else {
        rest.now.push(pending);
    }
}

fn tombstone(pending: Pending, id: &str) -> (Pending, Failure) {
    let detail = format!("`{id}` was deleted with a version that is not lower");
    (Pending { guard: Guard::External, ..pending }, Failure::new(Cause::Tombstone, detail))
}

fn order_conflict(operation: &Operation<'_>, stored: Option<&Mark>) -> Failure {
    let newer = stored.map_or(String::new(), |mark| format!("{} {}", mark.label, mark.exact));
    let detail = format!("stored is {newer}, this is {} {}", operation.version.label, operation.version.exact);
    Failure::new(Cause::OrderConflict, detail)
}

fn foreign(operation: &Operation<'_>, stored: Option<&Mark>) -> String {
    match stored {
        Some(mark) => format!("the document was written by `{}`, this is of `{}`", mark.space, operation.version.space),
        None => "the document has no _tidelock that can be read".to_owned(),
    }
}

/// Whether a moment's patience may help; what an operator must mend is reported at once.
pub(crate) fn worth_waiting(cause: Cause) -> bool {
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
