//! From operations to outcomes: grouped by namespace and kind, cut into commands, several of them at a time.

use crate::MongoDbTarget;
use crate::caller::Shared;
use crate::command::{Condition, Kind, MAX_DOCUMENT_BYTES, MAX_STATEMENTS, Statement, document_bytes, takes_inserts};
use crate::fence::{Fence, unwritten};
use crate::lane::{Item, Lane};
use crate::login::Credentials;
use crate::lookup::Unchanged;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::decimal128;
use tidelock_core::fence::FENCE_COLLECTION;
use tidelock_core::json::Number;
use tidelock_core::target::{Call, Operation, Outcome, Put, ShardValue, Write};

/// How what is stored is treated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// The live lane; with `truth`, documents of others are left to the caller.
    Live { truth: bool },
    /// Only what has not changed since it was looked at. What has, counts as stale.
    Put(&'a [Put<'a, Unchanged>]),
}

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

/// One call: what its lanes share.
#[derive(Debug)]
pub(crate) struct Run<'a, C> {
    pub(crate) target: &'a MongoDbTarget<C>,
    pub(crate) shared: Shared<'a, C>,
    pub(crate) mode: Mode<'a>,
    pub(crate) operations: &'a [Operation<'a>],
    pub(crate) groups: Vec<Group<'a>>,
    /// By operation: the group that its document belongs to.
    homes: Vec<usize>,
    /// When the fences were written.
    written: i64,
    work: RefCell<VecDeque<Chunk>>,
    outcomes: RefCell<Vec<Option<Outcome>>>,
    /// Deletes whose fences are there: they may be sent.
    fenced: RefCell<Vec<usize>>,
    /// Documents that a unique index refuses: once more when all others have had their turn.
    deferred: RefCell<Vec<(usize, Item)>>,
    /// Operations that fail again and again for no known reason.
    suspects: RefCell<Vec<(usize, Kind, Failure)>>,
    /// What has stood in the way of a whole command last: it explains why others had no turn.
    pub(crate) obstacle: RefCell<Option<Failure>>,
    /// How many operations have passed, and how many fences.
    passed: [Cell<usize>; 2],
}

/// After so many failures of no known cause, and nothing else, no more are sought.
const MAX_SUSPECTS: usize = 8;

pub(crate) async fn apply<C: Credentials>(
    target: &MongoDbTarget<C>,
    operations: &[Operation<'_>],
    mode: Mode<'_>,
    call: Call,
) -> Vec<Outcome> {
    let run = Run::new(target, operations, mode, call);
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
        run.release();
    }
}

impl<'a, C: Credentials> Run<'a, C> {
    fn new(target: &'a MongoDbTarget<C>, operations: &'a [Operation<'a>], mode: Mode<'a>, call: Call) -> Self {
        let mut outcomes = vec![None; operations.len()];
        let mut homes = vec![usize::MAX; operations.len()];
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut by_namespace = HashMap::new();
        let mut group_of = |groups: &mut Vec<Group<'a>>, database, collection, kind| {
            *by_namespace.entry((database, collection, kind)).or_insert_with(|| {
                groups.push(Group { database, collection, kind, members: Vec::new() });
                groups.len() - 1
            })
        };
        for (index, ((operation, outcome), home)) in operations.iter().zip(&mut outcomes).zip(&mut homes).enumerate() {
            let checked = location(target, operation).and_then(|namespace| check_size(operation).map(|()| namespace));
            let (database, collection) = match checked {
                Ok(namespace) => namespace,
                Err(failure) => {
                    *outcome = Some(Err(failure));
                    continue;
                }
            };
            let kind = Kind::of(operation.write);
            *home = group_of(&mut groups, database, collection, kind);
            let first = match kind {
                // The fence comes first; the delete is sent when it is there.
                Kind::Delete if target.fences => group_of(&mut groups, database, FENCE_COLLECTION, Kind::Fence),
                _ => *home,
            };
            if let Some(group) = groups.get_mut(first) {
                group.members.push(index);
            }
        }
        let run = Self {
            target,
            shared: Shared::new(&target.connector, call.deadline),
            mode,
            operations,
            groups,
            homes,
            written: call.now_ms,
            work: RefCell::default(),
            outcomes: RefCell::new(outcomes),
            fenced: RefCell::default(),
            deferred: RefCell::default(),
            suspects: RefCell::default(),
            obstacle: RefCell::default(),
            passed: [Cell::new(0), Cell::new(0)],
        };
        run.begin();
        run
    }

    /// Puts all groups up for work, fences first, because deletes wait for them.
    fn begin(&self) {
        let mut work = self.work.borrow_mut();
        for fences in [true, false] {
            for (index, group) in self.groups.iter().enumerate() {
                if (group.kind == Kind::Fence) == fences {
                    work.extend(self.chunks(index, &group.members));
                }
            }
        }
    }

    fn next(&self) -> Option<Chunk> {
        self.work.borrow_mut().pop_front()
    }

    /// Puts deletes up for work whose fences are there.
    fn release(&self) {
        let mut by_home: Vec<(usize, Vec<usize>)> = Vec::new();
        for operation in self.fenced.take() {
            let home = self.homes.get(operation).copied().unwrap_or(usize::MAX);
            match by_home.iter_mut().find(|(group, _)| *group == home) {
                Some((_, members)) => members.push(operation),
                None => by_home.push((home, vec![operation])),
            }
        }
        for (home, members) in by_home {
            self.work.borrow_mut().extend(self.chunks(home, &members));
        }
    }

    /// Cuts operations of a group where a command would become too large, inserts apart from all else.
    fn chunks(&self, group: usize, members: &[usize]) -> Vec<Chunk> {
        let Some(kind) = self.groups.get(group).map(|group| group.kind) else { return Vec::new() };
        let (inserts, others): (Vec<usize>, Vec<usize>) =
            members.iter().partition(|&&member| self.may_insert(kind, member));
        if kind == Kind::Fence && inserts.is_empty() {
            self.target.known_fences.update(|turns| turns.saturating_sub(1));
        }
        if inserts.len() < FEW && !others.is_empty() && matches!(self.mode, Mode::Live { .. }) {
            return self.cut(group, kind, members, false);
        }
        let mut chunks = self.cut(group, kind, &inserts, true);
        chunks.extend(self.cut(group, kind, &others, false));
        chunks
    }

    fn cut(&self, group: usize, kind: Kind, members: &[usize], inserts: bool) -> Vec<Chunk> {
        let most = self.target.bulk_bytes.min(COMMAND_BYTES);
        let (mut chunks, mut items, mut bytes) = (Vec::new(), Vec::new(), 0);
        for &member in members {
            let size = self.statement(kind, member).map_or(0, |statement| statement.bytes());
            if !items.is_empty() && (bytes + size > most || items.len() == MAX_STATEMENTS) {
                chunks.push(Chunk { group, items: std::mem::take(&mut items) });
                bytes = 0;
            }
            bytes += size;
            let condition = if inserts { Condition::Absent } else { self.guard(kind, member) };
            items.push(Item::new(member, condition));
        }
        if !items.is_empty() {
            chunks.push(Chunk { group, items });
        }
        chunks
    }

    /// As far as anybody knows nothing is stored, so that an insert is the shortest way. What it meets all the same is judged
    /// as what an upsert meets that its guard has stopped.
    fn may_insert(&self, kind: Kind, operation: usize) -> bool {
        let Some(document) = self.operations.get(operation) else { return false };
        match (kind, self.mode) {
            (Kind::Fence, _) => self.target.known_fences.get() == 0,
            (Kind::Delete, _) => false,
            (Kind::Upsert, Mode::Live { .. }) => self.target.guards && document.fresh && takes_inserts(document),
            (Kind::Upsert, Mode::Put(puts)) => {
                puts.get(operation).is_some_and(|put| put.over.is_none()) && takes_inserts(document)
            }
        }
    }

    /// A part of the stored document belongs to the target's users.
    fn preserves(&self, operation: usize) -> bool {
        let manner = self.operations.get(operation).and_then(|operation| operation.manner);
        manner.is_some_and(|manner| !manner.preserve.is_empty())
    }

    /// The condition that an operation is sent with at first, unless it is [inserted](Self::may_insert) for a hint.
    pub(crate) fn guard(&self, kind: Kind, operation: usize) -> Condition {
        match self.mode {
            // Fences belong to nobody else.
            _ if kind == Kind::Fence => Condition::Older,
            Mode::Live { .. } if !self.target.guards => Condition::Always,
            Mode::Live { truth: false } => Condition::Older,
            Mode::Live { truth: true } => Condition::OwnOlder,
            Mode::Put(puts) => match puts.get(operation).and_then(|put| put.over.as_ref()) {
                Some(unchanged) if self.preserves(operation) => Condition::StoredWith(unchanged.clone()),
                Some(unchanged) => Condition::Stored(unchanged.clone()),
                None if self.may_insert(kind, operation) => Condition::Absent,
                None => Condition::OwnOlder,
            },
        }
    }

    pub(crate) fn statement(&self, kind: Kind, operation: usize) -> Option<Statement<'a>> {
        match kind {
            Kind::Fence => self.fence(operation).map(Statement::Fence),
            Kind::Upsert | Kind::Delete => self.operations.get(operation).map(Statement::Document),
        }
    }

    pub(crate) fn fence(&self, operation: usize) -> Option<Fence<'a>> {
        let home = self.groups.get(*self.homes.get(operation)?)?;
        Some(Fence::of(self.operations.get(operation)?, home.collection, self.written))
    }

    pub(crate) fn settle(&self, operation: usize, kind: Kind, outcome: Outcome) {
        if outcome.is_ok() {
            let [documents, fences] = &self.passed;
            let passed = if kind == Kind::Fence { fences } else { documents };
            passed.set(passed.get() + 1);
        }
        match outcome {
            Ok(_) if kind == Kind::Fence => self.fenced.borrow_mut().push(operation),
            Err(failure) if kind == Kind::Fence => self.set(operation, Err(unwritten(failure))),
            outcome => self.set(operation, outcome),
        }
    }

    fn set(&self, operation: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.borrow_mut().get_mut(operation) {
            *slot = Some(outcome);
        }
    }

    /// Many of the fences that were to be inserted are there: items are deleted again and again, and their fences updated for a while.
    pub(crate) fn has_met_fences(&self, met: usize, sent: usize) {
        if met * 2 > sent {
            self.target.known_fences.set(TURNS_OF_KNOWN_FENCES);
        }
    }

    pub(crate) fn defer(&self, group: usize, item: Item) {
        self.deferred.borrow_mut().push((group, item));
    }

    pub(crate) fn suspect(&self, operation: usize, kind: Kind, failure: Failure) {
        self.suspects.borrow_mut().push((operation, kind, failure));
    }

    /// A neighbour has passed: of the documents, or of the fences.
    pub(crate) fn has_passed(&self, kind: Kind) -> bool {
        let [documents, fences] = &self.passed;
        (if kind == Kind::Fence { fences } else { documents }).get() > 0
    }

    /// Many operations fail for no known reason and none has passed: the fault lies not with single documents.
    pub(crate) fn is_hopeless(&self, kind: Kind) -> bool {
        !self.has_passed(kind) && self.suspects.borrow().len() > MAX_SUSPECTS
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
        for (operation, kind, failure) in self.suspects.take() {
            let cause = if self.has_passed(kind) { Cause::TargetError } else { Cause::UnexpectedAnswer };
            self.settle(operation, kind, Err(Failure::new(cause, failure.detail)));
        }
        let undecided = || Err(Failure::new(Cause::Deadline, "the time for this invocation was over before the write"));
        self.outcomes.into_inner().into_iter().map(|outcome| outcome.unwrap_or_else(undecided)).collect()
    }
}

/// Where an operation's document goes.
///
/// # Errors
/// When there can be no such collection, or no document of such an id.
pub(crate) fn location<'a, C>(
    target: &'a MongoDbTarget<C>,
    operation: &Operation<'a>,
) -> Result<(&'a str, &'a str), Failure> {
    location_in(target.connector.address.default_database.as_deref(), operation)
}

/// [`location`], with the database of names that give none.
pub(crate) fn location_in<'a>(
    database: Option<&'a str>,
    operation: &Operation<'a>,
) -> Result<(&'a str, &'a str), Failure> {
    let namespace = namespace(database, operation)?;
    check_shard_key(operation)?;
    tidelock_core::fence::check_id(operation.key)?;
    check_id(operation).map(|()| namespace)
}

fn namespace<'a>(database: Option<&'a str>, operation: &Operation<'a>) -> Result<(&'a str, &'a str), Failure> {
    let name = &operation.into.name;
    match operation.into.namespace(database) {
        Some((_, FENCE_COLLECTION)) => Err(Failure::new(
            Cause::InvalidTargetName,
            format!("`{name}`: the collection `{FENCE_COLLECTION}` is Tidelock's own"),
        )),
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

/// A number that BSON has no exact form for would be taken for null, and with it another place.
fn check_shard_key(operation: &Operation<'_>) -> Result<(), Failure> {
    for (field, value) in &operation.into.shard_key {
        if let ShardValue::Number(text) = value
            && Number::parse(text.as_bytes()).and_then(|number| decimal128(&number)).is_none()
        {
            let detail = format!("shard key `{field}`: the number has no exact form in BSON");
            return Err(Failure::new(Cause::InvalidId, detail));
        }
    }
    Ok(())
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

pub(crate) fn check_size(operation: &Operation<'_>) -> Result<(), Failure> {
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

/// So many commands update fences before they are inserted again to see whether they are new.
const TURNS_OF_KNOWN_FENCES: u32 = 20;

/// Among others, so few inserts are not worth a command of their own.
const FEW: usize = 8;

/// The driver holds a command three times over while it is sent, so that its size is what memory is spent on. Larger ones
/// are no faster.
const COMMAND_BYTES: usize = 768 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::encode::Format;
    use tidelock_core::source::dynamodb::decode;
    use tidelock_core::target::Place;

    /// As null it would stand for another place, and leaving that would delete what was entered.
    #[test]
    fn a_shard_key_that_bson_cannot_hold_is_no_place() {
        let event = br#"{"Records":[{"eventName":"REMOVE","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{"Keys":{"k":{"S":"a"}},"SequenceNumber":"5"}}]}"#;
        let batch = decode(event, Format::Bson).expect("an event");
        let slot = &batch.slots[0];
        let (key, version) = (batch.key(slot).expect("a key"), batch.version(slot).expect("a version"));
        for (digits, held) in [(1, true), (34, true), (35, false), (38, false)] {
            let mut into = Place::new("c".to_owned(), false);
            into.shard_key = vec![("zip".to_owned(), ShardValue::Number("7".repeat(digits)))];
            let operation = Operation::plain(&into, key, Write::Delete, version);
            let checked = check_shard_key(&operation).map_err(|failure| failure.cause);
            assert_eq!(checked, if held { Ok(()) } else { Err(Cause::InvalidId) }, "{digits}");
        }
    }
}
