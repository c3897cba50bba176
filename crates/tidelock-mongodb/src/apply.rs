//! From operations to outcomes: grouped by namespace and kind, cut into commands, several of them at a time.

use crate::MongoDbTarget;
use crate::command::{Kind, MAX_COMMAND_BYTES, MAX_DOCUMENT_BYTES, MAX_STATEMENTS, document_bytes, statement_bytes};
use crate::lane::{Item, Lane};
use crate::login::Credentials;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::target::{Operation, Outcome, Write};
use tokio::sync::Mutex;

/// Operations of one kind on one collection.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) database: &'a str,
    pub(crate) collection: &'a str,
    pub(crate) kind: Kind,
    members: Vec<usize>,
}

/// What goes into one command, if all goes well.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Index into [`Run::groups`].
    pub(crate) group: usize,
    pub(crate) items: Vec<Item>,
}

/// One call of `apply`: what its lanes share.
#[derive(Debug)]
pub(crate) struct Run<'a, C> {
    pub(crate) target: &'a MongoDbTarget<C>,
    pub(crate) operations: &'a [Operation<'a>],
    pub(crate) groups: Vec<Group<'a>>,
    /// When waiting ends, so that there is time left to answer.
    pub(crate) limit: Instant,
    work: RefCell<VecDeque<Chunk>>,
    outcomes: RefCell<Vec<Option<Outcome>>>,
    /// Documents that a unique index refuses: once more when all others have had their turn.
    deferred: RefCell<Vec<(usize, Item)>>,
    /// Operations that fail again and again for no known reason.
    suspects: RefCell<Vec<(usize, Failure)>>,
    /// What has stood in the way of a whole command last: it explains why others had no turn.
    pub(crate) obstacle: RefCell<Option<Failure>>,
    /// How many operations have passed.
    passed: Cell<usize>,
    /// Which connection's login was refused, and whether there was another. At most one is asked for in a run.
    pub(crate) refreshed: Mutex<Option<(u64, bool)>>,
    /// The server knows no sessions.
    pub(crate) no_sessions: Cell<bool>,
}

/// After so many failures of no known cause, and nothing else, no more are sought.
const MAX_SUSPECTS: usize = 8;

/// Time kept to answer: a twentieth of what is left, at most half a second.
fn limit(deadline: Instant, now: Instant) -> Instant {
    let reserve = (deadline.saturating_duration_since(now) / 20).min(Duration::from_millis(500));
    deadline.checked_sub(reserve).unwrap_or(deadline)
}

pub(crate) async fn apply<C: Credentials>(
    target: &MongoDbTarget<C>,
    operations: &[Operation<'_>],
    deadline: Instant,
) -> Vec<Outcome> {
    let run = Run::new(target, operations, limit(deadline, Instant::now()));
    let lanes = target.in_flight.min(run.work.borrow().len());
    futures_util::future::join_all((0..lanes).map(|_| work(&run))).await;
    for chunk in run.take_deferred() {
        Lane::new(&run).deliver(chunk, true).await;
    }
    run.finish()
}

async fn work<C: Credentials>(run: &Run<'_, C>) {
    let mut lane = Lane::new(run);
    while let Some(chunk) = run.next() {
        lane.deliver(chunk, false).await;
    }
}

impl<'a, C: Credentials> Run<'a, C> {
    fn new(target: &'a MongoDbTarget<C>, operations: &'a [Operation<'a>], limit: Instant) -> Self {
        let mut outcomes = vec![None; operations.len()];
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut by_namespace = HashMap::new();
        for (index, (operation, outcome)) in operations.iter().zip(&mut outcomes).enumerate() {
            let checked = namespace(target, operation)
                .and_then(|namespace| check_id(operation).and_then(|()| check_size(operation)).map(|()| namespace));
            let (database, collection) = match checked {
                Ok(namespace) => namespace,
                Err(failure) => {
                    *outcome = Some(Err(failure));
                    continue;
                }
            };
            let kind = Kind::of(operation.write);
            let group = *by_namespace.entry((database, collection, kind)).or_insert_with(|| {
                groups.push(Group { database, collection, kind, members: Vec::new() });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(group) {
                group.members.push(index);
            }
        }
        let work = chunks(&groups, operations, target.bulk_bytes);
        Self {
            target,
            operations,
            groups,
            limit,
            work: RefCell::new(work),
            outcomes: RefCell::new(outcomes),
            deferred: RefCell::default(),
            suspects: RefCell::default(),
            obstacle: RefCell::default(),
            passed: Cell::new(0),
            refreshed: Mutex::new(None),
            no_sessions: Cell::new(false),
        }
    }

    fn next(&self) -> Option<Chunk> {
        self.work.borrow_mut().pop_front()
    }

    pub(crate) fn settle(&self, operation: usize, outcome: Outcome) {
        self.passed.set(self.passed.get() + usize::from(outcome.is_ok()));
        if let Some(slot) = self.outcomes.borrow_mut().get_mut(operation) {
            *slot = Some(outcome);
        }
    }

    pub(crate) fn defer(&self, group: usize, item: Item) {
        self.deferred.borrow_mut().push((group, item));
    }

    pub(crate) fn suspect(&self, operation: usize, failure: Failure) {
        self.suspects.borrow_mut().push((operation, failure));
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.passed.get() > 0
    }

    /// Many operations fail for no known reason and none has passed: the fault lies not with single documents.
    pub(crate) fn is_hopeless(&self) -> bool {
        !self.has_passed() && self.suspects.borrow().len() > MAX_SUSPECTS
    }

    fn take_deferred(&self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        for (group, item) in self.deferred.take() {
            match chunks.iter_mut().find(|chunk| chunk.group == group) {
                Some(chunk) => chunk.items.push(item),
                None => chunks.push(Chunk { group, items: vec![item] }),
            }
        }
        chunks
    }

    fn finish(self) -> Vec<Outcome> {
        for (operation, failure) in self.suspects.take() {
            let cause = if self.has_passed() { Cause::TargetError } else { Cause::UnexpectedAnswer };
            self.settle(operation, Err(Failure::new(cause, failure.detail)));
        }
        let undecided = || Err(Failure::new(Cause::Deadline, "the time for this invocation was over before the write"));
        self.outcomes.into_inner().into_iter().map(|outcome| outcome.unwrap_or_else(undecided)).collect()
    }
}

fn namespace<'a, C>(target: &'a MongoDbTarget<C>, operation: &Operation<'a>) -> Result<(&'a str, &'a str), Failure> {
    let name = &operation.into.name;
    match operation.into.namespace(target.connector.address.default_database.as_deref()) {
        Some((database, collection)) if !database.is_empty() && !collection.is_empty() => Ok((database, collection)),
        Some(_) => {
            Err(Failure::new(Cause::InvalidTargetName, format!("`{name}` must be COLLECTION or DATABASE.COLLECTION")))
        }
        None => {
            let hint = "name it in the route (to: DATABASE.COLLECTION) or in TIDELOCK_TARGET (mongodb://HOST/DATABASE)";
            Err(Failure::new(Cause::InvalidTargetName, format!("no database for collection `{name}`: {hint}")))
        }
    }
}

/// An id with a field such as `$gt` would be a condition that other documents meet.
fn check_id(operation: &Operation<'_>) -> Result<(), Failure> {
    if operation.key.single().is_some() {
        return Ok(());
    }
    match operation.key.parts().find(|part| part.name.starts_with('$')) {
        Some(part) => {
            let detail = format!("key attribute `{}`: no field of a MongoDB id may begin with $", part.name);
            Err(Failure::new(Cause::InvalidId, detail))
        }
        None => Ok(()),
    }
}

fn check_size(operation: &Operation<'_>) -> Result<(), Failure> {
    let Write::Upsert(elements) = operation.write else { return Ok(()) };
    let size = document_bytes(operation.key, elements, &operation.version);
    if size <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(Failure::new(
        Cause::DocumentTooLarge,
        format!("the document has {size} bytes, the server takes {MAX_DOCUMENT_BYTES}"),
    ))
}

/// Cuts the groups where a command would become too large.
fn chunks(groups: &[Group<'_>], operations: &[Operation<'_>], bulk_bytes: usize) -> VecDeque<Chunk> {
    let most = bulk_bytes.min(MAX_COMMAND_BYTES);
    let mut chunks = VecDeque::new();
    for (group, members) in groups.iter().enumerate().map(|(index, group)| (index, &group.members)) {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for &member in members {
            let size = operations.get(member).map_or(0, statement_bytes);
            if !items.is_empty() && (bytes + size > most || items.len() == MAX_STATEMENTS) {
                chunks.push_back(Chunk { group, items: std::mem::take(&mut items) });
                bytes = 0;
            }
            bytes += size;
            items.push(Item::new(member));
        }
        chunks.push_back(Chunk { group, items });
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_time_is_kept_to_answer() {
        let now = Instant::now();
        let kept = |left: u64| {
            let deadline = now + Duration::from_millis(left);
            deadline - limit(deadline, now)
        };
        assert_eq!(kept(60_000), Duration::from_millis(500));
        assert_eq!(kept(2_000), Duration::from_millis(100));
        assert_eq!(kept(0), Duration::ZERO);
        assert_eq!(limit(now, now + Duration::from_secs(1)), now);
    }
}
