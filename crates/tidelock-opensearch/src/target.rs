//! The target: operations cut into requests, several of them at a time, and an outcome for every one.

use crate::bulk::{Chunk, Guard, Part, action_size, split};
use crate::index::{check_name, is_missing, prepare};
use crate::lane::{Ended, Endings, Judging, Pending, Work, worth_waiting};
use crate::pace::{Pace, pause};
use crate::{Transport, fence};
use futures_util::StreamExt as _;
use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Instant;
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::encode::Format;
use tidelock_core::fence::{FENCE_INDEX, check_id};
use tidelock_core::pipeline::Indexes;
use tidelock_core::target::{Call, Done, Operation, Outcome, Target, Write};

/// The most bytes of an id.
const MAX_ID: usize = 512;

/// Sizes of requests, and what they are guarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSearchConfig {
    /// Most bytes of one bulk request.
    pub bulk_bytes: usize,
    /// Requests at a time.
    pub in_flight: usize,
    /// Refusals slow down what is sent after them, too. Without it each request is repeated by itself; it exists to be measured
    /// against.
    pub paced: bool,
    /// Writes carry versions. Without them nothing keeps an older change from winning; it exists to be measured against.
    pub guards: bool,
    /// Deletes leave fences. Without them deletes are forgotten after a minute; it exists to be measured against.
    pub fences: bool,
    /// Indices map the field under which [what they refuse](tidelock_core::salvage) is set aside.
    pub salvage: bool,
}

impl OpenSearchConfig {
    /// Requests of these sizes, guarded; nothing is set aside.
    #[must_use]
    pub fn new(bulk_bytes: usize, in_flight: usize) -> Self {
        Self { bulk_bytes, in_flight, paced: true, guards: true, fences: true, salvage: false }
    }
}

/// OpenSearch or Elasticsearch behind some transport.
pub struct OpenSearchTarget<T> {
    pub(crate) transport: T,
    pub(crate) config: OpenSearchConfig,
    pub(crate) pace: Pace,
    /// Indices whose mapping has been seen to.
    prepared: RefCell<HashSet<String>>,
    /// How indices are made that there are not.
    indexes: Indexes,
}

/// Actions that go into one request.
struct Bulk<'a> {
    index: &'a str,
    actions: Vec<Pending>,
}

impl<T: Transport> OpenSearchTarget<T> {
    /// A target over `transport`.
    #[must_use]
    pub fn new(transport: T, config: OpenSearchConfig) -> Self {
        let pace = Pace::new(config.bulk_bytes, config.in_flight, config.paced);
        Self { transport, config, pace, prepared: RefCell::default(), indexes: Indexes::default() }
    }

    /// The same, which makes indices as these say.
    #[must_use]
    pub fn with_indexes(self, indexes: Indexes) -> Self {
        Self { indexes, ..self }
    }

    /// Sees to an index once per process; a failure is that of every operation on it.
    async fn prepare(&self, name: &str, deadline: Instant) -> Result<(), Failure> {
        if self.prepared.borrow().contains(name) {
            return Ok(());
        }
        check_name(name).map_err(|problem| Failure::new(Cause::InvalidTargetName, problem))?;
        let mut pauses = 0;
        while let Err(failure) = prepare(&self.transport, name, self.config.salvage, &self.indexes, deadline).await {
            if !worth_waiting(failure.cause) || !pause(pauses, deadline).await {
                return Err(failure);
            }
            pauses += 1;
        }
        self.prepared.borrow_mut().insert(name.to_owned());
        Ok(())
    }

    /// Nothing but deletes for an index that there is not: it must not come to be for their sake.
    async fn holds_nothing(&self, index: &str, work: &Work<'_>, members: &[(usize, usize)]) -> bool {
        let deletes = |(position, _): &(usize, usize)| {
            work.operations.get(*position).is_some_and(|operation| operation.write == Write::Delete)
        };
        !self.prepared.borrow().contains(index)
            && members.iter().all(deletes)
            && check_name(index).is_ok()
            && is_missing(&self.transport, index, work.call.deadline).await
    }

    /// An index that is missing has been deleted since: the next invocation sees to it again, and creates it where it may.
    fn forget_missing(&self, work: &Work<'_>, endings: &Endings) {
        for (position, part, ended) in endings {
            let Ended::Failed(failure) = ended else { continue };
            if failure.cause != Cause::TargetMissing {
                continue;
            }
            let name = work.operations.get(*position).map(|operation| operation.into.name.as_str());
            let name = if *part == Part::Fence { Some(FENCE_INDEX) } else { name };
            self.prepared.borrow_mut().retain(|prepared| Some(prepared.as_str()) != name);
        }
    }

    /// The operations with their ids and fences.
    pub(crate) fn work<'a>(&self, operations: Vec<Operation<'a>>, call: Call, judging: Judging) -> Work<'a> {
        let ids: Vec<String> = operations.iter().map(|operation| operation.key.text_id()).collect();
        let fenced = |operation: &Operation<'_>| self.config.fences && operation.write == Write::Delete;
        let fences = if operations.iter().any(fenced) {
            let fence = |(operation, id): (&Operation<'_>, &String)| {
                if fenced(operation) { fence::id(&operation.into.name, id) } else { String::new() }
            };
            operations.iter().zip(&ids).map(fence).collect()
        } else {
            Vec::new()
        };
        Work { operations, ids, fences, call, judging }
    }

    /// Operations of the given sizes in requests that can be under way at a time: more of them where the target has room.
    fn chunks(&self, members: &[(usize, usize)]) -> Vec<Chunk> {
        split(members, self.pace.bytes(), self.config.in_flight, self.pace.smallest_share())
    }

    /// Carries all operations out, each guarded as `guards` says by position (`None`: it has ended already).
    pub(crate) async fn carry_out(&self, work: &Work<'_>, guards: &[Guard]) -> Vec<Ended> {
        let mut endings: Endings = Vec::new();
        let mut indices: Vec<(&str, Vec<(usize, usize)>)> = Vec::new();
        let mut fences_needed = false;
        for (position, operation) in work.operations.iter().enumerate() {
            let id = work.ids.get(position).map_or("", String::as_str);
            match check(operation, id, self.config.bulk_bytes) {
                Err(failure) => endings.push((position, Part::Document, Ended::Failed(failure))),
                Ok(size) => {
                    fences_needed |= self.config.fences && operation.write == Write::Delete;
                    match indices.iter_mut().find(|(name, _)| *name == operation.into.name) {
                        Some((_, members)) => members.push((position, size)),
                        None => indices.push((&operation.into.name, vec![(position, size)])),
                    }
                }
            }
        }
        let fences = if fences_needed { self.prepare(FENCE_INDEX, work.call.deadline).await } else { Ok(()) };
        let mut bulks = Vec::new();
        for (index, members) in indices {
            if fences.is_ok() && self.holds_nothing(index, work, &members).await {
                // Only what may still land there has to be remembered.
                let fence = |&(position, _): &(usize, usize)| Pending::new(position, Part::Fence, Guard::External);
                let actions: Vec<Pending> = members.iter().filter(|_| self.config.fences).map(fence).collect();
                bulks.extend((!actions.is_empty()).then_some(Bulk { index: FENCE_INDEX, actions }));
                endings.extend(
                    members.into_iter().map(|(position, _)| (position, Part::Document, Ended::Done(Done::Applied))),
                );
                continue;
            }
            let fail = |failure: Failure| {
                move |(position, _): (usize, usize)| (position, Part::Document, Ended::Failed(failure.clone()))
            };
            if let Err(failure) = self.prepare(index, work.call.deadline).await {
                endings.extend(members.into_iter().map(fail(failure)));
                continue;
            }
            let is_delete = |position: usize| work.fences.get(position).is_some_and(|fence| !fence.is_empty());
            let (unfenced, members): (Vec<_>, Vec<_>) =
                members.into_iter().partition(|&(position, _)| fences.is_err() && is_delete(position));
            if let Err(failure) = &fences {
                endings.extend(unfenced.into_iter().map(fail(unwritten(failure.clone()))));
            }
            for chunk in self.chunks(&members) {
                let mut actions = Vec::with_capacity(chunk.members.len());
                for position in chunk.members {
                    let guard = guards.get(position).copied().unwrap_or(Guard::External);
                    actions.push(Pending::new(position, Part::Document, guard));
                    if is_delete(position) {
                        actions.push(Pending::new(position, Part::Fence, Guard::External));
                    }
                }
                bulks.push(Bulk { index, actions });
            }
        }
        let requests = bulks.into_iter().map(|bulk| self.chunk(bulk.index, work, bulk.actions));
        let mut running = futures_util::stream::iter(requests).buffer_unordered(self.config.in_flight.max(1));
        while let Some(part) = running.next().await {
            self.forget_missing(work, &part);
            endings.extend(part);
        }
        merge(work.operations.len(), endings)
    }
}

/// What can be told before sending: an id or a document that would sink a whole request of at most `most` bytes.
pub(crate) fn check(operation: &Operation<'_>, id: &str, most: usize) -> Result<usize, Failure> {
    check_id(operation.key)?;
    if id.is_empty() || id.len() > MAX_ID {
        let detail = format!("the id has {} bytes; it must have 1 to {MAX_ID}", id.len());
        return Err(Failure::new(Cause::InvalidId, detail));
    }
    if operation.into.name == FENCE_INDEX {
        let detail = format!("`{FENCE_INDEX}` is where tidelock keeps its fences; route the source to another name");
        return Err(Failure::new(Cause::InvalidTargetName, detail));
    }
    let size = action_size(operation, id);
    if size > most {
        let detail = format!("the document has about {size} bytes; a bulk request may have {most}");
        return Err(Failure::new(Cause::DocumentTooLarge, detail));
    }
    Ok(size)
}

/// One ending for each operation: a delete has ended when its fence has, too.
fn merge(count: usize, endings: Endings) -> Vec<Ended> {
    let mut merged: Vec<Option<Ended>> = vec![None; count];
    let mut fences = Vec::new();
    for (position, part, ended) in endings {
        match part {
            Part::Document => {
                if let Some(place) = merged.get_mut(position) {
                    *place = Some(ended);
                }
            }
            Part::Fence => fences.push((position, ended)),
        }
    }
    for (position, ended) in fences {
        let Ended::Failed(failure) = ended else { continue };
        if let Some(place) = merged.get_mut(position)
            && !matches!(place, Some(Ended::Failed(_)))
        {
            *place = Some(Ended::Failed(unwritten(failure)));
        }
    }
    let missing = || Ended::Failed(Failure::new(Cause::UnexpectedAnswer, "no outcome"));
    merged.into_iter().map(|ended| ended.unwrap_or_else(missing)).collect()
}

/// The failure of a fence: never a reason to give the delete up.
pub(crate) fn unwritten(failure: Failure) -> Failure {
    if failure.cause.disposition() == Disposition::Retry {
        return failure;
    }
    Failure::new(Cause::FenceUnwritten, format!("{FENCE_INDEX}: {failure}"))
}

impl<T: Transport> Target for OpenSearchTarget<T> {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        let work = self.work(operations.to_vec(), call, Judging::Live);
        let guard = if self.config.guards { Guard::External } else { Guard::Off };
        let guards = vec![guard; operations.len()];
        let outcome = |ended| match ended {
            Ended::Done(done) => Ok(done),
            Ended::Failed(failure) => Err(failure),
            Ended::Changed => Err(Failure::new(Cause::LostRace, "another writer was faster")),
        };
        self.carry_out(&work, &guards).await.into_iter().map(outcome).collect()
    }

    async fn misfits(&self, refused: &[(Operation<'_>, &Failure)], deadline: Instant) -> Vec<Vec<String>> {
        crate::misfit::find(&self.transport, refused, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::{Reception, now};
    use std::time::Duration;
    use tidelock_core::target::Place;
    use tidelock_http::{Request, Response};

    struct Nowhere;

    impl Transport for Nowhere {
        async fn send(&self, _: Request, _: Instant) -> Result<Response, Failure> {
            Err(Failure::new(Cause::Unreachable, "nowhere"))
        }

        fn place(&self) -> &str {
            "nowhere"
        }
    }

    #[test]
    fn an_index_that_is_missing_is_seen_to_again() {
        let target = OpenSearchTarget::new(Nowhere, OpenSearchConfig::new(1 << 20, 2));
        let into = Place::new("t".to_owned(), true);
        let event = br#"{"Records":[{"eventName":"REMOVE","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"Keys":{"k":{"S":"a"}},"SequenceNumber":"5"}}]}"#;
        let batch = tidelock_core::source::dynamodb::decode(event, Format::Json).expect("an event");
        let slot = &batch.slots[0];
        let (key, version) = (batch.key(slot).expect("a key"), batch.version(slot).expect("a version"));
        let operation = Operation::plain(&into, key, Write::Delete, version);
        let call = Call { deadline: Instant::now(), now_ms: 0, truth: false };
        let work = target.work(vec![operation], call, Judging::Live);
        let missing = || Ended::Failed(Failure::new(Cause::TargetMissing, "gone"));
        let busy = Ended::Failed(Failure::new(Cause::Throttled, "busy"));
        for (part, ended, left) in [
            (Part::Document, missing(), vec![FENCE_INDEX]),
            (Part::Fence, missing(), vec!["t"]),
            (Part::Document, busy, vec!["t", FENCE_INDEX]),
        ] {
            target.prepared.borrow_mut().extend(["t".to_owned(), FENCE_INDEX.to_owned()]);
            target.forget_missing(&work, &vec![(0, part, ended)]);
            let mut names: Vec<String> = target.prepared.borrow_mut().drain().collect();
            names.sort_unstable_by_key(String::len);
            assert_eq!(names, left);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_refuses_nothing_is_sent_more_requests_at_a_time() {
        let target = OpenSearchTarget::new(Nowhere, OpenSearchConfig::new(5_000_000, 2));
        let members: Vec<(usize, usize)> = (0..600).map(|index| (index, 1000)).collect();
        let lengths = || target.chunks(&members).iter().map(|chunk| chunk.members.len()).collect::<Vec<_>>();
        let end = async |reception| {
            let turn = target.pace.turn(now() + Duration::from_secs(600)).await.expect("a turn");
            tokio::time::sleep(Duration::from_millis(10)).await;
            turn.end(reception);
        };
        for refusal in [Reception::RefusedInPart, Reception::Refused] {
            for _ in 0..16 {
                assert_eq!(lengths(), [600]);
                end(Reception::Taken).await;
            }
            assert_eq!(lengths(), [300, 300]);
            end(refusal).await;
        }
        assert_eq!(lengths(), [600]);
    }

    #[test]
    fn a_delete_is_done_when_its_fence_is() {
        let done = || Ended::Done(Done::Applied);
        let failed = |cause| Ended::Failed(Failure::new(cause, "x"));
        let merged = merge(
            5,
            vec![
                (0, Part::Document, done()),
                (1, Part::Fence, failed(Cause::MappingConflict)),
                (1, Part::Document, done()),
                (2, Part::Document, failed(Cause::OrderConflict)),
                (2, Part::Fence, done()),
                (3, Part::Document, failed(Cause::OrderConflict)),
                (3, Part::Fence, failed(Cause::Throttled)),
            ],
        );
        assert_eq!(merged[0], done());
        assert!(matches!(&merged[1], Ended::Failed(failure) if failure.cause == Cause::FenceUnwritten));
        assert_eq!((&merged[2], &merged[3]), (&failed(Cause::OrderConflict), &failed(Cause::OrderConflict)));
        assert!(matches!(&merged[4], Ended::Failed(failure) if failure.cause == Cause::UnexpectedAnswer));
    }
}
