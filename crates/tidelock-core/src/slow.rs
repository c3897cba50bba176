//! Slow lanes: writes that are not the newest news of a live stream (redrive, truth, backfill, repair).
//!
//! They never write blind. Each write is: look at document and fence, compare exact versions, compare-and-set, and look at
//! the fence once more, because a delete may have come between. Three kinds:
//!
//! - [`settle`] writes what a record says, if it is still the newest.
//! - [`drain`] does the same for many changes that were held back a while ago, nearly as fast as the live lane.
//! - [`truth`] reads the source again and writes what it says *now*. Target first, source second: what is overwritten is
//!   then known to be older than what is read. The version written is a lower bound, the record's own or the target's, never
//!   a clock's, so that every later change still passes.

mod drain;
mod fenced;
mod merge;
mod scanned;

pub use drain::{drain, foretell};
pub(crate) use fenced::Fenced;
pub(crate) use merge::{softened_new, whole};
pub use scanned::backfill;

use crate::cause::{Cause, Failure};
use crate::encode::Format;
use crate::fence::overtakes;
use crate::image::{Image, Notation};
use crate::key::Key;
use crate::pipeline::{Routed, Rules, document};
use crate::target::{Call, Deletes, Done, Found, Manner, Operation, Outcome, Place, Put, Salvage, Store, Write};
use crate::version::field::{self, Rank};
use crate::version::{Judgement, Mark, Version};
use std::cmp::Ordering;
use std::time::Instant;

/// How often a write is begun anew because another writer was faster.
const RACES: usize = 8;

/// Reads items from where changes come from.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Source {
    /// What the source holds now for these keys of one origin (its table's or collection's own name), by position; `None`
    /// where there is nothing.
    ///
    /// The reads are consistent: from the primary, in the region of the stream, not older than the call.
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, deadline: Instant) -> Vec<ReadResult>;
}

/// An item that has been read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The document as the format's [sink](crate::encode::Sink) writes it, or why the target cannot hold it.
    pub document: Result<Vec<u8>, Failure>,
    /// How the source writes [`Item::bytes`].
    pub notation: Notation,
    /// The item in the source's own notation: where routes look for fields.
    pub bytes: Vec<u8>,
}

impl Item {
    /// The item as routes see it.
    #[must_use]
    pub fn image(&self) -> Image<'_> {
        Image { notation: self.notation, bytes: &self.bytes }
    }
}

/// What one key's item is, or why nobody knows.
pub type ReadResult = Result<Option<Item>, Failure>;

/// No source can be read.
#[derive(Debug, Clone, Copy)]
pub enum NoSource {}

impl Source for NoSource {
    async fn read(&self, _: &str, _: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
        match *self {}
    }
}

/// A key that is to be read from the source again and written as it is there.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The source's own name for where the key is from.
    pub origin: &'a str,
    /// Where that source's items go.
    pub rules: &'a Rules<'a>,
    /// The place that is looked at: an item that goes elsewhere is absent here.
    pub into: &'a Place,
    /// The source's key.
    pub key: Key<'a>,
    /// The version of the change that asks for it: what the source says is at least this new.
    pub version: Version<'a>,
    /// See [`Operation::salvage`].
    pub salvage: Salvage,
    /// See [`Operation::manner`].
    pub manner: Option<&'a Manner>,
}

/// What of an item belongs to a place.
#[derive(Debug, Default)]
struct Belongs<'w> {
    document: Option<Vec<u8>>,
    /// How its route wants it written.
    manner: Option<Option<&'w Manner>>,
    /// The source holds no such item.
    gone: bool,
    /// The item belongs nowhere, because no place can be made of it: that is to be told when nothing of it is left here.
    nowhere: Option<Failure>,
}

impl<'w> Wish<'w> {
    fn belongs(&self, item: Option<Item>, format: Format) -> Result<Belongs<'w>, Failure> {
        let Some(item) = item else { return Ok(Belongs { gone: true, ..Belongs::default() }) };
        if let Rules::ByItem(rules) = self.rules {
            match rules.locate(&item.image(), self.key) {
                Routed::To(place) if place == *self.into => {}
                Routed::To(_) | Routed::Filtered => return Ok(Belongs::default()),
                Routed::Refused(failure) => return Ok(Belongs { nowhere: Some(failure), ..Belongs::default() }),
            }
        }
        let manner = Some(self.rules.manner(Some(&item.image())));
        let made = match self.rules.transform(&item.image()) {
            Some(transform) => document(&item.image(), transform, format, self.key)?,
            None => item.document?,
        };
        Ok(Belongs { document: Some(made), manner, ..Belongs::default() })
    }
}

/// Whether operations are news of a live stream, not what may be old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    No,
    Yes,
    /// And there is no source that could be read.
    AndAll,
}

/// What a look says about a change.
#[derive(Debug, PartialEq)]
enum Step<W> {
    /// Settled.
    Done(Outcome),
    /// Write over this.
    Write(Option<W>),
    /// The document is older than its fence: it must go, by the fence's version.
    Remove(W, Mark),
}

/// What is stored is of another change of the same number.
fn is_another(version: &Version<'_>, stored: &Mark) -> bool {
    version.judge(Some(stored)) == Judgement::Tie
}

/// Two changes of one transaction, or of an item whose number stayed: which is the later one, a slow lane cannot know.
fn tie(version: &Version<'_>, what: &str) -> Failure {
    let detail = format!("the {what} is of another change of the same version, {}", version.exact);
    Failure::new(Cause::OrderConflict, detail)
}

/// Compares a change with what is stored, which may be what we have just `written`.
fn step<W: Clone>(operation: &Operation<'_>, found: &Found<W>, written: bool, news: News) -> Step<W> {
    let (version, write) = (&operation.version, operation.write);
    let order = |mark: &Mark| mark.compare(&version.mark());
    let conflicts = |mark: Option<&Mark>| {
        (news != News::No || version.is_of_an_item()) && version.judge(mark) == Judgement::OrderConflict
    };
    if let Some(fence) = &found.fence
        && matches!(order(fence), Some(Ordering::Greater | Ordering::Equal))
    {
        // The fence wins. What is there and older has been brought back, by us or by a zombie.
        if let Some(stored) = found.document.as_ref().filter(|stored| overtakes(fence, stored.mark.as_ref())) {
            if fence.version().is_none() {
                let detail = format!("the fence's version `{} {}` cannot be read", fence.label, fence.exact);
                return Step::Done(Err(Failure::new(Cause::FenceUnwritten, detail)));
            }
            return Step::Remove(stored.witness.clone(), fence.clone());
        }
        if is_another(version, fence) {
            return Step::Done(Err(tie(version, "fence")));
        }
        let own = order(fence) == Some(Ordering::Equal) && write == Write::Delete;
        if conflicts(Some(fence)) {
            let detail =
                format!("version {} is older than the fence's {}, but it happened later", version.exact, fence.exact);
            return Step::Done(Err(Failure::new(Cause::OrderConflict, detail)));
        }
        if !own {
            return Step::Done(Ok(Done::Stale));
        }
    }
    let Some(stored) = &found.document else { return Step::Write(None) };
    let over = || Step::Write(Some(stored.witness.clone()));
    match stored.mark.as_ref().and_then(order) {
        Some(Ordering::Greater) if conflicts(stored.mark.as_ref()) => {
            let known = stored.mark.as_ref().map_or("", |mark| mark.exact.as_str());
            let detail = format!("version {} is older than the stored {known}, but it happened later", version.exact);
            Step::Done(Err(Failure::new(Cause::OrderConflict, detail)))
        }
        Some(Ordering::Greater) => Step::Done(Ok(Done::Stale)),
        Some(Ordering::Less) => over(),
        Some(Ordering::Equal) if stored.mark.as_ref().is_some_and(|mark| is_another(version, mark)) => {
            Step::Done(Err(tie(version, "document")))
        }
        Some(Ordering::Equal) if write == Write::Delete => over(),
        Some(Ordering::Equal) => {
            let is_part = stored.mark.as_ref().is_some_and(|mark| mark.part);
            if is_part && !written { over() } else { Step::Done(Ok(Done::Applied)) }
        }
        // As in the live lane: news take over what nobody else can settle.
        None if news == News::AndAll => over(),
        None => Step::Done(Err(Failure::new(
            Cause::ForeignDocument,
            match &stored.mark {
                Some(mark) => {
                    format!("the document was written by `{}`, the change is of `{}`", mark.space, version.space)
                }
                None => "the document has no version that can be read".to_owned(),
            },
        ))),
    }
}

/// Writes what the operations say, each on a key of its own, unless something newer is known. One outcome each, by position.
pub async fn settle<S: Store>(store: &S, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
    settle_as(store, operations, call, News::No).await
}

/// Writes news of a live stream that keep a part of what is stored: looked at and written over as [`settle`] does it, judged as the
/// live lane does.
pub async fn merge<S: Store>(store: &S, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
    settle_as(store, operations, call, if call.truth { News::Yes } else { News::AndAll }).await
}

async fn settle_as<S: Store>(store: &S, operations: &[Operation<'_>], call: Call, news: News) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; operations.len()];
    let mut open: Vec<usize> = (0..operations.len()).collect();
    // What has been written and is looked at once more.
    let mut written: Vec<bool> = vec![false; operations.len()];
    for _ in 0..RACES {
        if open.is_empty() {
            break;
        }
        let asked: Vec<Operation<'_>> = open.iter().filter_map(|&index| operations.get(index).copied()).collect();
        let looked = answers(store.look(&asked, call).await, asked.len());
        let mut steps = Vec::new();
        for ((&index, operation), found) in open.iter().zip(&asked).zip(looked) {
            let found = found.and_then(|found| Ok((merged(operation, &found, store.format())?, found)));
            let (content, found) = match found {
                Ok((content, found)) => (content, Ok(found)),
                Err(failure) => (None, Err(failure)),
            };
            let outcome = match found.map(|found| step(operation, &found, flag(&written, index), news)) {
                Err(failure) => Err(failure),
                Ok(Step::Done(outcome)) => {
                    // Looked at once more: it is there, or what is newer is.
                    outcome.or_else(|failure| if flag(&written, index) { Ok(Done::Applied) } else { Err(failure) })
                }
                Ok(Step::Write(None)) if flag(&written, index) && operation.write == Write::Delete => Ok(Done::Applied),
                Ok(Step::Write(over)) => {
                    steps.push((index, *operation, over, None, content));
                    continue;
                }
                Ok(Step::Remove(witness, fence)) => {
                    steps.push((index, *operation, Some(witness), Some(fence), None));
                    continue;
                }
            };
            set(&mut outcomes, index, outcome);
        }
        open = carry_out(store, steps, call, &mut outcomes, &mut written).await;
    }
    finish(outcomes)
}

/// The document that an operation makes together with what is stored; `None`: its own.
pub(crate) fn merged<W>(
    operation: &Operation<'_>,
    found: &Found<W>,
    format: Format,
) -> Result<Option<Vec<u8>>, Failure> {
    let (Write::Upsert(document), Some(manner)) = (operation.write, operation.manner) else { return Ok(None) };
    let Some(stored) = found.document.as_ref().filter(|_| !manner.preserve.is_empty()) else { return Ok(None) };
    let merged = stored.body.as_ref().and_then(|body| merge::merged(format, document, body, &manner.preserve));
    merged.map(Some).ok_or_else(|| Failure::new(Cause::UnexpectedAnswer, "the stored document cannot be read"))
}

/// An operation to carry out: its index, what it writes over, the fence by whose version it removes instead, and its document
/// where that is not its own.
type Pending<'a, W> = (usize, Operation<'a>, Option<W>, Option<Mark>, Option<Vec<u8>>);

/// Puts; gives back what is to be looked at again.
async fn carry_out<S: Store>(
    store: &S,
    steps: Vec<Pending<'_, S::Witness>>,
    call: Call,
    outcomes: &mut [Option<Outcome>],
    written: &mut [bool],
) -> Vec<usize> {
    if steps.is_empty() {
        return Vec::new();
    }
    let puts: Vec<Put<'_, S::Witness>> = steps
        .iter()
        .map(|(_, operation, over, fence, content)| {
            let mut operation = *operation;
            if let Some(content) = content {
                operation.write = Write::Upsert(content);
            }
            if let Some(version) = fence.as_ref().and_then(Mark::version) {
                (operation.write, operation.version) = (Write::Delete, version);
            }
            Put { operation, over: over.clone() }
        })
        .collect();
    let results = answers(store.put(&puts, call).await, puts.len());
    let mut open = Vec::new();
    for ((index, _, _, fence, _), result) in steps.iter().zip(results) {
        match result {
            Ok(true) => {
                if let Some(flag) = written.get_mut(*index) {
                    *flag = fence.is_none();
                }
                open.push(*index);
            }
            Ok(false) => open.push(*index),
            Err(failure) => set(outcomes, *index, Err(failure)),
        }
    }
    open
}

/// Wishes dealt with at a time: what a slow source gives in one invocation is written in it, and comes not again.
const TRUTHS: usize = 50;

/// What has become of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What has become of its place.
    pub outcome: Outcome,
    /// The source holds an item of which no place can be made: the place asked about has been cleared, and this is to be told.
    pub nowhere: Option<Failure>,
}

/// Reads each key from the source and writes what is there, or its absence. One answer each, by position.
pub async fn truth<S: Store, R: Source>(store: &S, source: &R, wishes: &[Wish<'_>], call: Call) -> Vec<Told> {
    let mut told = Vec::with_capacity(wishes.len());
    for some in wishes.chunks(TRUTHS) {
        told.extend(truth_of(store, source, some, call).await);
    }
    told
}

async fn truth_of<S: Store, R: Source>(store: &S, source: &R, wishes: &[Wish<'_>], call: Call) -> Vec<Told> {
    let mut nowhere: Vec<Option<Failure>> = vec![None; wishes.len()];
    let mut outcomes: Vec<Option<Outcome>> = vec![None; wishes.len()];
    let mut open: Vec<usize> = (0..wishes.len()).collect();
    for _ in 0..RACES {
        if open.is_empty() {
            break;
        }
        let asked: Vec<Wish<'_>> = open.iter().filter_map(|&index| wishes.get(index).copied()).collect();
        let probes: Vec<Operation<'_>> = asked
            .iter()
            .map(|wish| Operation { manner: wish.rules.looks(), ..operation(wish, Write::Delete, wish.version) })
            .collect();
        let looked = answers(store.look(&probes, call).await, asked.len());
        // The target has been read; only now the source.
        let items = read(source, &asked, store.format(), call.deadline).await;
        let mut ready = Vec::new();
        for (((&index, wish), found), item) in open.iter().zip(&asked).zip(looked).zip(items) {
            let belongs = item.and_then(|item| wish.belongs(item, store.format()));
            let both = found.and_then(|found| {
                let mut item = belongs?;
                let stays = as_wanted(wish, &found, &mut item, store.format())?;
                Ok((found, item, stays))
            });
            match both {
                Ok((_, _, true)) => set(&mut outcomes, index, Ok(Done::Stale)),
                Ok((found, item, false)) => {
                    ready.push((
                        index,
                        *wish,
                        lower_bound(&wish.version, &found, item.document.is_some()),
                        found,
                        item,
                    ));
                }
                Err(failure) => set(&mut outcomes, index, Err(failure)),
            }
        }
        let puts: Vec<Put<'_, S::Witness>> = ready
            .iter()
            .map(|(_, wish, bound, found, item)| {
                let write = item.document.as_deref().map_or(Write::Delete, Write::Upsert);
                let version = bound.version().unwrap_or(wish.version);
                let over = found.document.as_ref().map(|stored| stored.witness.clone());
                let manner = item.manner.unwrap_or(wish.manner);
                Put { operation: Operation { manner, ..operation(wish, write, version) }, over }
            })
            .collect();
        let results = answers(store.put(&puts, call).await, puts.len());
        let mut again = Vec::new();
        let mut check = Vec::new();
        for ((index, _, bound, _, item), result) in ready.iter().zip(results) {
            match result {
                Ok(true) if item.document.is_some() => check.push((*index, bound)),
                Ok(true) => {
                    if let Some(place) = nowhere.get_mut(*index) {
                        place.clone_from(&item.nowhere);
                    }
                    set(&mut outcomes, *index, Ok(Done::Applied));
                }
                Ok(false) => again.push(*index),
                Err(failure) => set(&mut outcomes, *index, Err(failure)),
            }
        }
        // A delete that came meanwhile has left a fence: what was written must give way to it.
        let probes: Vec<Operation<'_>> = check
            .iter()
            .filter_map(|(index, _)| wishes.get(*index).map(|wish| operation(wish, Write::Delete, wish.version)))
            .collect();
        let looked = answers(store.look(&probes, call).await, probes.len());
        for ((index, bound), found) in check.into_iter().zip(looked) {
            match found {
                Ok(found) if found.fence.as_ref().and_then(|fence| fence.compare(bound)) == Some(Ordering::Greater) => {
                    again.push(index);
                }
                Ok(_) => set(&mut outcomes, index, Ok(Done::Applied)),
                Err(failure) => set(&mut outcomes, index, Err(failure)),
            }
        }
        open = again;
    }
    finish(outcomes).into_iter().zip(nowhere).map(|(outcome, nowhere)| Told { outcome, nowhere }).collect()
}

/// Makes of what belongs there what the route wants written; whether what is stored stays as it is.
fn as_wanted<W>(wish: &Wish<'_>, found: &Found<W>, item: &mut Belongs<'_>, format: Format) -> Result<bool, Failure> {
    let mark = found.document.as_ref().and_then(|stored| stored.mark.as_ref());
    if item.document.is_none() && item.nowhere.is_none() && wish.rules.keeps_deleted() && mark.is_some() {
        // What becomes of a document of a newer change, or of this one, its own delete has said or will say.
        let keeps = wish.manner.is_some_and(|manner| manner.deletes != Deletes::Hard);
        match wish.version.judge(mark) {
            Judgement::Stale => return Ok(true),
            Judgement::Replay if keeps && !item.gone => return Ok(true),
            _ => {}
        }
    }
    let Some(manner) = item.manner.unwrap_or(wish.manner) else { return Ok(false) };
    let unreadable = || Failure::new(Cause::UnexpectedAnswer, "the stored document cannot be read");
    let body = found.document.as_ref().map(|stored| stored.body.as_deref());
    match (&mut item.document, body, &manner.deletes) {
        (Some(document), Some(body), _) if !manner.preserve.is_empty() => {
            let merged = body.and_then(|body| merge::merged(format, document, body, &manner.preserve));
            *document = merged.ok_or_else(unreadable)?;
        }
        (Some(_), ..) => {}
        (None, _, Deletes::Ignore) if item.gone => return Ok(true),
        (None, Some(body), deletes @ Deletes::Soft { .. }) if item.gone => {
            let body = body.ok_or_else(unreadable)?;
            let newer = matches!(wish.version.judge(mark), Judgement::Replay | Judgement::OrderConflict);
            if newer && merge::is_soft(format, body, deletes) {
                return Ok(true);
            }
            item.document = Some(merge::softened(format, body, deletes, wish.version.at).ok_or_else(unreadable)?);
        }
        (None, ..) => {}
    }
    Ok(false)
}

fn operation<'a>(wish: &Wish<'a>, write: Write<'a>, version: Version<'a>) -> Operation<'a> {
    let (key, salvage, manner) = (wish.into.key(wish.key), wish.salvage, wish.manner);
    Operation { salvage, manner, ..Operation::plain(wish.into, key, write, version) }
}

/// The version to write what the source says now with: the newest of the change's own and what the target knows.
fn lower_bound<W>(version: &Version<'_>, found: &Found<W>, is_there: bool) -> Mark {
    let stored = found.document.as_ref().and_then(|stored| stored.mark.as_ref());
    let mut bound = version.mark();
    for known in stored.into_iter().chain(&found.fence) {
        if known.compare(&bound) == Some(Ordering::Greater) && known.version().is_some() {
            bound = known.clone();
        }
    }
    let rank = if is_there { Rank::Upsert } else { Rank::Delete };
    let is_bound = |known: &Mark| known.compare(&bound) == Some(Ordering::Equal);
    let (over, fenced) = (stored.is_some_and(is_bound), found.fence.as_ref().is_some_and(is_bound));
    field::above(&bound, rank, over, fenced).unwrap_or(bound)
}

/// Reads the wishes' keys, origin by origin.
async fn read<R: Source>(source: &R, wishes: &[Wish<'_>], format: Format, deadline: Instant) -> Vec<ReadResult> {
    let mut items: Vec<ReadResult> = wishes.iter().map(|_| Ok(None)).collect();
    let mut origins: Vec<&str> = wishes.iter().map(|wish| wish.origin).collect();
    origins.sort_unstable();
    origins.dedup();
    for origin in origins {
        let of_origin = || wishes.iter().enumerate().filter(|(_, wish)| wish.origin == origin);
        let keys: Vec<Key<'_>> = of_origin().map(|(_, wish)| wish.key).collect();
        let found = answers(source.read(origin, &keys, format, deadline).await, keys.len());
        for ((index, _), item) in of_origin().zip(found) {
            if let Some(place) = items.get_mut(index) {
                *place = item;
            }
        }
    }
    items
}

/// One answer each, or none at all counts.
pub(crate) fn answers<T>(found: Vec<Result<T, Failure>>, expected: usize) -> Vec<Result<T, Failure>> {
    if found.len() == expected {
        return found;
    }
    let detail = format!("{} answers for {expected} questions", found.len());
    (0..expected).map(|_| Err(Failure::new(Cause::UnexpectedAnswer, detail.clone()))).collect()
}

fn flag(flags: &[bool], index: usize) -> bool {
    flags.get(index).copied().unwrap_or_default()
}

fn set(outcomes: &mut [Option<Outcome>], index: usize, outcome: Outcome) {
    if let Some(place) = outcomes.get_mut(index) {
        *place = Some(outcome);
    }
}

fn finish(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    let lost = || Err(Failure::new(Cause::LostRace, format!("another writer was faster {RACES} times")));
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Stored;
    use crate::version::dynamodb::oldest;

    #[test]
    fn what_is_stored_in_part_is_written_whole_unless_that_is_what_has_just_been_done() {
        let place = Place::new("i".to_owned(), false);
        let version = oldest("dynamodb:us-east-1:1:t");
        let operation = Operation {
            salvage: Salvage::Allowed,
            ..Operation::plain(&place, Key::from_bytes(b""), Write::Upsert(b"{}"), version)
        };
        let stored = |part: bool| {
            let mark = Mark { part, ..version.mark() };
            Found { document: Some(Stored { witness: 7, mark: Some(mark), body: None }), fence: None }
        };
        assert_eq!(step(&operation, &stored(true), false, News::No), Step::Write(Some(7)));
        assert_eq!(step(&operation, &stored(true), true, News::No), Step::Done(Ok(Done::Applied)));
        assert_eq!(step(&operation, &stored(false), false, News::No), Step::Done(Ok(Done::Applied)));
    }

    #[test]
    fn of_two_changes_of_one_number_a_slow_lane_does_not_know_the_later_one() {
        let place = Place::new("i".to_owned(), false);
        let of = |token: &'static str| Version { token, ..oldest("dynamodb:us-east-1:1:t") };
        let stored = |token| Some(Stored { witness: 7, mark: Some(of(token).mark()), body: None });
        for write in [Write::Upsert(b"{}"), Write::Delete] {
            let operation = Operation::plain(&place, Key::from_bytes(b""), write, of("a"));
            let conflicts = |document, fence: Option<&'static str>| {
                let found = Found { document, fence: fence.map(|token| of(token).mark()) };
                let step = step(&operation, &found, false, News::No);
                matches!(step, Step::Done(Err(failure)) if failure.cause == Cause::OrderConflict)
            };
            assert!(conflicts(stored("b"), None) && conflicts(None, Some("b")), "{write:?}");
            for own in ["a", ""] {
                assert!(!conflicts(stored(own), None) && !conflicts(None, Some(own)), "{write:?} {own}");
            }
        }
    }
}
