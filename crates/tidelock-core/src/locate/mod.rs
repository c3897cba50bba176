//! `locate: state`: where documents may be, remembered where no record tells.
//!
//! A document whose place is made of its fields is *left* where it was when its item goes elsewhere. Where it was an old image
//! tells; streams that have none (DynamoDB's `NEW_IMAGE` view, change streams of DocumentDB) leave it to the state. It holds an
//! entry for each key of the source: the **places** in which documents of the key may be, by branch of the pipeline, and the
//! **newest** version that has asked for them.
//!
//! ```text
//! read the entries of a batch's keys
//! write, by compare-and-set:  places + those that are entered,  newest := the highest       ─ refused ─▶ read again
//! the target: enter, and leave every other place that was read, each guarded by the change's version, with its fence
//! write, by compare-and-set over the entry just written:  places − those that are left
//! ```
//!
//! Nothing is written to the target, parked or held before the first of the two is stored; a state that cannot be reached is a
//! retry. Why a document is nowhere in the end but where the newest change wants it:
//!
//! - Any two changes of a key, *u* older than *v*, have asked one after the other, because each has asked by a compare-and-set
//!   over all that came before. If *u* was first, *v* has read the place that *u* enters, and leaves it, with a fence that
//!   stops whatever of *u* is still to come: a zombie, a letter, a pack. If *v* was first, *u* reads a newer version than its own
//!   beside an entry without its place (or with one that was added later, by a truth or a backfill: each place remembers the
//!   newest version there was before it, and who brought it), and **is stale**: it writes nothing.
//!   No order of delivery is taken for granted. A batch that Lambda has given up, or a letter that gets another place from a
//!   corrected pipeline, may come after all that is newer.
//! - A place is taken out of the entry only over the very entry of which all places but one were left, by a change that was
//!   its newest, when all that the batch's changes of the key do is done. An older change that would enter such a place again is stale by the same rule;
//!   hence the entry of a deleted item stays, without places, as the memory of its version. It may expire when nothing older
//!   can come any more: the state is told that only entries with places must last.
//! - A crash leaves too many places in the entry, never too few, and the batch comes again. Leaving a place where nothing is does
//!   no harm. Shrinking is economy: when it fails, the next change leaves a place more.
//! - Of the changes in one batch, each leaves the place of the one before it, as an old image would have said, and the first and
//!   the last leave all that was remembered: the last because an older change of another batch may have been in between, the
//!   first because what is behind it may be refused for good, and then the one before stands.
//! - What reads the source ([truth](crate::slow::truth), backfill) is never stale: it asks first, then looks at the target, then
//!   reads. What moves the item after that is a change that asks later, and reads the place. A backfill takes the scanned
//!   item as it is only where there is no entry at all: then no change of the key has asked, and every one that will is newer.
//!
//! An entry belongs to one pipeline. The same source in two pipelines needs two states: they would leave each other's documents.

mod memory;

use crate::batch::{Batch, Content, Entered, Fate, entered};
use crate::cause::{Cause, Failure};
use crate::fence::fence_id;
use crate::key::Key;
use crate::pipeline::{Pipeline, Routed, Rules};
use crate::state::{Draft, State};
use crate::target::{Deletes, Done, Outcome, Place};
use crate::version::Mark;
use memory::{Change, End, Known, Memory, Met, Told};
use std::collections::HashMap;
use std::time::Instant;

/// What names of entries begin with; the version space and a hash of the key follow.
pub const PREFIX: &str = "places/";

/// How often a race for an entry is run.
const RACES: usize = 8;

/// What the places are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// Changes are written as their records say.
    News,
    /// The source is read again: nothing is overtaken.
    Truth,
    /// Nothing is written; only told.
    Look,
}

/// The changes of a key.
struct Keyed<'p> {
    name: String,
    space: String,
    /// Oldest first.
    changes: Vec<Change<'p>>,
}

/// An entry as it is now.
struct Stored {
    name: String,
    memory: Memory,
    revision: Option<String>,
    /// See [`Met::ends`].
    ends: Vec<(String, Vec<usize>, Vec<Place>)>,
}

/// What is remembered of a batch's keys, and what follows for its changes.
pub struct Located {
    told: HashMap<usize, Told>,
    failed: HashMap<usize, Failure>,
    stored: Vec<Stored>,
}

/// The name of a key's entry.
fn name(space: &str, key: Key<'_>) -> String {
    format!("{PREFIX}{space}/{}", fence_id(&[key.as_bytes()]))
}

fn unreachable(why: impl Into<String>) -> Failure {
    Failure::new(Cause::StateUnreachable, why)
}

impl Located {
    /// Asks the state for the places that the documents of a batch may be in, and has it remember those they are about to enter.
    /// `None` where no route wants that.
    pub async fn recall<S: State>(
        payload: &[u8],
        batch: &Batch,
        pipeline: &Pipeline,
        state: Option<&S>,
        recall: Recall,
        deadline: Instant,
    ) -> Option<Self> {
        if !pipeline.locates() {
            return None;
        }
        let keyed = keyed(payload, batch, pipeline);
        let mut located =
            Self { told: HashMap::new(), failed: HashMap::new(), stored: Vec::with_capacity(keyed.len()) };
        let asked = ask(state, &keyed, recall, deadline).await;
        for (key, asked) in keyed.into_iter().zip(asked) {
            match asked {
                Ok(Asked { met, revision, .. }) => {
                    located.told.extend(met.told);
                    let ends =
                        met.ends.into_iter().map(|End { route, slots, places }| (route.to_owned(), slots, places));
                    located.stored.push(Stored { name: key.name, memory: met.now, revision, ends: ends.collect() });
                }
                Err(failure) => {
                    located.failed.extend(key.changes.iter().map(|change| (change.slot, failure.clone())));
                }
            }
        }
        Some(located)
    }

    /// What has become of a change already.
    #[must_use]
    pub fn settled(&self, slot: usize) -> Option<Outcome> {
        match (self.failed.get(&slot), self.told.get(&slot)) {
            (Some(failure), _) => Some(Err(failure.clone())),
            (None, Some(Told::Overtaken)) => Some(Ok(Done::Stale)),
            _ => None,
        }
    }

    /// The places that a change leaves.
    #[must_use]
    pub fn left(&self, slot: usize) -> Option<&[Place]> {
        match self.told.get(&slot) {
            Some(Told::Leaves(places)) => Some(places),
            _ => None,
        }
    }

    /// Takes what is settled out of what waits; by slot.
    pub(crate) fn settle(&self, waits: &mut [bool]) {
        for (slot, waits) in waits.iter_mut().enumerate() {
            *waits &= self.settled(slot).is_none();
        }
    }

    /// Forgets the places that have been left. When that cannot be done, the next change leaves them once more.
    pub async fn shrink<S: State>(self, state: &S, fates: &[Fate], deadline: Instant) {
        let mut drafts = Vec::new();
        for Stored { name, memory, revision, ends } in self.stored {
            let is_done = |slot: &usize| matches!(fates.get(*slot), Some(Fate::Done(_) | Fate::Filtered));
            let ended = ends.iter().filter(|(_, slots, _)| slots.iter().all(is_done));
            let ended: HashMap<&str, &[Place]> =
                ended.map(|(route, _, places)| (route.as_str(), places.as_slice())).collect();
            let smaller = memory.without(&ended);
            if smaller != memory
                && let (Some(expected), Ok(value)) = (revision, smaller.write())
            {
                drafts.push(Draft { name, value, expected: Some(expected), lasting: !smaller.places.is_empty() });
            }
        }
        if !drafts.is_empty() {
            state.write_many(&drafts, deadline).await;
        }
    }
}

/// What came of asking for a key.
struct Asked<'p> {
    /// There was an entry.
    known: bool,
    met: Met<'p>,
    revision: Option<String>,
}

/// Asks for each key: reads its entry, and stores what its changes make of it. By position.
async fn ask<'p, S: State>(
    state: Option<&S>,
    keyed: &[Keyed<'p>],
    recall: Recall,
    deadline: Instant,
) -> Vec<Result<Asked<'p>, Failure>> {
    let lost = || unreachable(format!("another writer was faster {RACES} times"));
    let mut asked: Vec<Result<Asked<'p>, Failure>> = keyed.iter().map(|_| Err(lost())).collect();
    let mut settle = |index: usize, result| {
        if let Some(place) = asked.get_mut(index) {
            *place = result;
        }
    };
    let mut open: Vec<usize> = (0..keyed.len()).collect();
    for _ in 0..RACES {
        if open.is_empty() {
            break;
        }
        let some: Vec<(usize, &Keyed<'p>)> =
            open.drain(..).filter_map(|index| keyed.get(index).map(|keyed| (index, keyed))).collect();
        let names: Vec<String> = some.iter().map(|(_, keyed)| keyed.name.clone()).collect();
        let found = match state {
            None => Err("TIDELOCK_STATE is not set".to_owned()),
            Some(state) => state.read_many(&names, deadline).await,
        };
        let found = match found {
            Ok(found) if found.len() == names.len() => found,
            found => {
                let why = found.err().unwrap_or_else(|| "entries are missing in the answer".to_owned());
                some.iter().for_each(|(index, _)| settle(*index, Err(unreachable(why.clone()))));
                break;
            }
        };
        let (mut drafts, mut waiting) = (Vec::new(), Vec::new());
        for ((index, keyed), entry) in some.into_iter().zip(found) {
            let (text, revision) = entry.map_or((None, None), |entry| (Some(entry.value), Some(entry.revision)));
            let memory = text.map_or(Ok(Memory::default()), |text| Memory::read(&text, &keyed.space));
            let read = memory.and_then(|memory| {
                let met = memory.meet(&keyed.changes, recall);
                let draft = match recall == Recall::Look || met.now == memory {
                    true => None,
                    false => Some(met.now.write()?),
                };
                Ok((Asked { known: revision.is_some(), met, revision: revision.clone() }, draft))
            });
            match read {
                Err(why) => settle(index, Err(unreachable(format!("entry `{}` cannot be read: {why}", keyed.name)))),
                Ok((asked, None)) => settle(index, Ok(asked)),
                Ok((asked, Some(value))) => {
                    let lasting = !asked.met.now.places.is_empty();
                    drafts.push(Draft { name: keyed.name.clone(), value, expected: revision, lasting });
                    waiting.push((index, asked));
                }
            }
        }
        let written = match state {
            Some(state) if !drafts.is_empty() => state.write_many(&drafts, deadline).await,
            _ => Vec::new(),
        };
        if written.len() != drafts.len() {
            let failure = unreachable("writes are missing in the answer");
            waiting.iter().for_each(|(index, _)| settle(*index, Err(failure.clone())));
            break;
        }
        for ((index, asked), written) in waiting.into_iter().zip(written) {
            match written {
                Ok(Some(revision)) => settle(index, Ok(Asked { revision: Some(revision), ..asked })),
                Ok(None) => open.push(index),
                Err(why) => settle(index, Err(unreachable(why))),
            }
        }
    }
    asked
}

/// The changes of a batch that go by routes whose places are remembered, key by key.
fn keyed<'p>(payload: &[u8], batch: &Batch, pipeline: &'p Pipeline) -> Vec<Keyed<'p>> {
    let origins: Vec<(Rules<'p>, &'p str)> = batch
        .origins
        .iter()
        .map(|origin| (pipeline.rules(&origin.name, origin.branch), pipeline.branch_name(&origin.name, origin.branch)))
        .collect();
    let mut indices: HashMap<(&str, Key<'_>), usize> = HashMap::new();
    let mut all: Vec<Keyed<'p>> = Vec::new();
    for (index, slot) in batch.slots.iter().enumerate() {
        let (Some(key), Some(origin), Some(version)) = (batch.key(slot), batch.origin(slot), batch.version(slot))
        else {
            continue;
        };
        let found = slot.origin.and_then(|origin| origins.get(origin));
        let Some((rules @ Rules::ByItem(items), route)) = found.map(|(rules, route)| (rules, *route)) else { continue };
        if !items.are_located() {
            continue;
        }
        let old = slot.before.image().map(|range| batch.image(payload, range));
        let places = match entered(payload, batch, slot, key, items) {
            None => continue,
            Some(Entered::Places(places)) => places,
            Some(Entered::Nothing | Entered::Not(_)) => Vec::new(),
        };
        let before = old.as_ref().and_then(|old| match items.locate(old, key) {
            Routed::To(place) => Some(place),
            _ => None,
        });
        let ignores = |deletes: &Deletes| *deletes == Deletes::Ignore;
        let stays = slot.content == Content::Delete
            && rules.manner(old.as_ref()).is_some_and(|manner| ignores(&manner.deletes));
        let change = Change { slot: index, route, mark: version.mark(), entered: places, before, stays };
        let next = all.len();
        match all.get_mut(*indices.entry((&origin.space, key)).or_insert(next)) {
            Some(keyed) => keyed.changes.push(change),
            None => {
                all.push(Keyed { name: name(&origin.space, key), space: origin.space.clone(), changes: vec![change] })
            }
        }
    }
    for keyed in &mut all {
        keyed.changes.sort_by(|a, b| batch.compare(a.slot, b.slot).then(a.slot.cmp(&b.slot)));
    }
    all
}

/// A scanned item's key, and the places that it is about to enter, by name of the branch.
pub(crate) struct Scanned<'p> {
    pub(crate) key: Key<'p>,
    pub(crate) entered: Vec<(&'p str, Place)>,
}

/// What was remembered of a scanned item's key.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Some change of the key has asked before: the scan may be older.
    pub(crate) is_known: bool,
    places: Vec<Known>,
}

impl Remembered {
    /// Where a branch has put documents before.
    pub(crate) fn places<'a>(&'a self, route: &'a str) -> impl Iterator<Item = &'a Place> {
        self.places.iter().filter(move |known| known.route == route).map(|known| &known.place)
    }
}

/// Has the state remember where scanned items go; what was remembered of each before, by position.
pub(crate) async fn scanned<S: State>(
    items: Vec<Scanned<'_>>,
    version: &Mark,
    state: Option<&S>,
    deadline: Instant,
) -> Vec<Result<Remembered, Failure>> {
    let keyed = items.into_iter().map(|Scanned { key, entered }| {
        let change = |(slot, (route, place))| Change {
            slot,
            route,
            mark: version.clone(),
            entered: vec![place],
            before: None,
            stays: false,
        };
        let changes = entered.into_iter().enumerate().map(change).collect();
        Keyed { name: name(&version.space, key), space: version.space.clone(), changes }
    });
    let keyed: Vec<Keyed<'_>> = keyed.collect();
    let asked = ask(state, &keyed, Recall::Truth, deadline).await;
    let remembered = |asked: Asked<'_>| Remembered { is_known: asked.known, places: asked.met.now.places };
    asked.into_iter().map(|asked| asked.map(remembered)).collect()
}

#[cfg(test)]
mod tests;
