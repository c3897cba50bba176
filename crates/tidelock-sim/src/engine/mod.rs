//! The engine: requests under way, ordered by their arrival, and the store that they are applied to.

mod bulk;
mod index;
mod mapping;
mod query;
mod read;
mod reply;
mod search;
mod source;
mod store;
mod trace;

pub(crate) use reply::{Problem, answer, refusal};
pub(crate) use trace::fnv as hash;

use crate::chaos::{RequestKind, Strike};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use store::Store;
use tidelock_opensearch::{Request, Response};
use tokio::time::Instant;

/// How the engine behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Where travelling times and all other chances come from.
    pub seed: u64,
    /// How long a delete's version is remembered: `index.gc_deletes`.
    pub gc_deletes: Duration,
    /// By how much it may be remembered longer, drawn for each delete.
    pub prune_jitter: Duration,
    /// Keep the lines behind the trace hash, for a person.
    pub keep_trace: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { seed: 0, gc_deletes: Duration::from_secs(60), prune_jitter: Duration::ZERO, keep_trace: false }
    }
}

/// What goes wrong while a request is applied or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    None,
    Half,
    Garble,
}

/// A request's way, as drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    /// Arrives although nobody waits any more.
    pub(crate) survives: bool,
}

/// Shared by a request that is under way and by who waits for it.
#[derive(Default)]
struct Slot {
    answer: RefCell<Option<Response>>,
    abandoned: Cell<Option<Instant>>,
}

/// Who waits for a request. Dropped, it tells the request so.
pub(crate) struct Ticket(Rc<Slot>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.abandoned.set(Some(Instant::now()));
    }
}

struct Posted {
    request: Request,
    damage: Damage,
    survives: bool,
    slot: Rc<Slot>,
}

struct State {
    store: Store,
    /// By the time of arrival, then in the order of sending.
    queue: BTreeMap<(Instant, u64), Posted>,
    posted: u64,
}

impl State {
    fn settle_until(&mut self, instant: Instant) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= instant) {
            let ((due, _), posted) = entry.remove_entry();
            let given_up = posted.slot.abandoned.get().is_some_and(|at| at < due);
            if given_up && !posted.survives {
                self.store.lost(due, RequestKind::of(&posted.request));
                continue;
            }
            let answer = self.store.answer(due, &posted.request, posted.damage);
            posted.slot.answer.replace(Some(answer));
        }
    }
}

/// A model of OpenSearch. Clones are the same engine.
///
/// Every method first applies what has arrived by now, so it must be called inside the runtime whose clock is paused.
#[derive(Clone)]
pub struct Engine(Rc<RefCell<State>>);

impl Engine {
    /// An engine without indices; its time begins now.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let store = Store::new(config, Instant::now());
        Self(Rc::new(RefCell::new(State { store, queue: BTreeMap::new(), posted: 0 })))
    }

    /// Applies every request that arrives until `instant`, which may lie ahead.
    pub fn settle_until(&self, instant: Instant) {
        self.0.borrow_mut().settle_until(instant);
    }

    /// When the last of the requests that are under way arrives.
    #[must_use]
    pub fn last_arrival(&self) -> Option<Instant> {
        self.with(|state, _| state.queue.last_key_value().map(|(key, _)| key.0))
    }

    /// Id, version and source of every document of an index, whether refreshed or not.
    #[must_use]
    pub fn documents(&self, index: &str) -> BTreeMap<String, (i64, Value)> {
        self.with(|state, _| {
            let live = state.store.index(index).map(|index| index.live()).into_iter().flatten();
            live.map(|(id, document)| (id.clone(), (document.version, (*document.source).clone()))).collect()
        })
    }

    /// The source of one document, whether refreshed or not.
    #[must_use]
    pub fn source(&self, index: &str, id: &str) -> Option<Rc<Value>> {
        self.with(|state, _| state.store.index(index)?.live().get(id).map(|document| Rc::clone(&document.source)))
    }

    /// Id and version of every delete that an index remembers.
    #[must_use]
    pub fn tombstones(&self, index: &str) -> BTreeMap<String, i64> {
        self.with(|state, now| state.store.index(index).map(|index| index.tombstones(now)).unwrap_or_default())
    }

    /// The names of all indices.
    #[must_use]
    pub fn indices(&self) -> Vec<String> {
        self.with(|state, _| state.store.names())
    }

    /// Puts a document there as if it had always been: with this version, and seen by searches.
    pub fn plant(&self, index: &str, id: &str, source: Value, version: i64) {
        self.with(|state, now| state.store.plant(now, index, id, source, version));
    }

    /// Puts a field into a document that is there, as its users do with `_update`; nothing where there is none.
    pub fn edit(&self, index: &str, id: &str, field: &str, value: Value) {
        self.with(|state, now| state.store.edit(now, index, id, field, value));
    }

    /// Lets searches see what an index holds now.
    pub fn refresh(&self, index: &str) {
        self.with(|state, now| state.store.refresh(now, index));
    }

    /// Blocks an index for writing (`index.blocks.write`), as a full disk does.
    pub fn block(&self, index: &str, time: Duration) {
        self.with(|state, now| state.store.blocks.insert(index.to_owned(), now + time));
    }

    /// Takes documents with `"poison": true` from now on, as an index does whose mapping has been mended.
    pub fn accept_poison(&self) {
        self.with(|state, _| state.store.takes_poison = true);
    }

    /// Indices whose names begin so take documents with `"poison": true`, whatever others do.
    pub fn tolerate(&self, prefix: &str) {
        self.with(|state, _| state.store.tolerant = Some(prefix.to_owned()));
    }

    /// Copies all documents to another index, as an operator does with `_reindex`. Versions begin anew, or are kept
    /// (`version_type: external`): then what is not older in the other index stays. Says how many were written.
    pub fn reindex(&self, from: &str, to: &str, keep_versions: bool) -> usize {
        self.with(|state, now| state.store.reindex(now, from, to, keep_versions))
    }

    /// A hash over everything that was applied and what came of it: equal runs have equal hashes.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.with(|state, _| state.store.trace.hash())
    }

    /// What the hash was made of, one line each; empty unless [kept](EngineConfig::keep_trace).
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.with(|state, _| state.store.trace.lines().to_vec())
    }

    fn with<R>(&self, act: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = Instant::now();
        let mut state = self.0.borrow_mut();
        state.settle_until(now);
        act(&mut state, now)
    }

    /// Draws the way of a request that is sent now.
    pub(crate) fn depart(&self, now: Instant, kind: RequestKind, strike: Strike) -> Trip {
        // What has arrived comes first, so that looking at the engine in between changes no draw.
        self.with(|state, _| state.store.depart(now, kind, strike))
    }

    pub(crate) fn post(&self, due: Instant, request: Request, damage: Damage, survives: bool) -> Ticket {
        let slot = Rc::new(Slot::default());
        self.with(|state, _| {
            let key = (due, state.posted);
            state.posted += 1;
            state.queue.insert(key, Posted { request, damage, survives, slot: Rc::clone(&slot) });
        });
        Ticket(slot)
    }

    pub(crate) fn collect(&self, ticket: &Ticket) -> Option<Response> {
        self.with(|_, _| ticket.0.answer.take())
    }
}
