//! Collections that are dropped take their documents with them (`on_drop: delete-all`), and nothing else.

use crate::fences::connection;
use crate::support::{Folder, NOW, by, run, soon};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Instant;
use tidelock_core::batch::{Circumstances, Delivery, Fate, Lane, PATIENCE, Plan, Posts, Removed, Report, deliver};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::fence::{FENCE_LIFE_MS, SWEEP_AGE_MS, Window, namespace_id};
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::letter::{Letter, read};
use tidelock_core::pipeline::Pipeline;
use tidelock_core::queue::{Nowhere, Outbox};
use tidelock_core::slow::{Item, NoSource, ReadResult, Source};
use tidelock_core::source::documentdb::READER;
use tidelock_core::target::{Call, Store as _};
use tidelock_sqlite::{SqliteTarget, documents};

const PIPELINE: &str = "
version: 1
routes:
  - {from: shop.orders, to: t, on_drop: delete-all, on_rename: delete-all, on_drop_database: delete-all}
  - {from: shop.things, to: t, on_drop: delete-all, on_drop_database: delete-all}
";

/// An event at a cluster time.
fn event(time: u32, operation: &str, collection: &str, key: Option<&str>) -> Value {
    let mut event = json!({
        "_id": {"_data": format!("{time:08x}{operation}")}, "clusterTime": {"$timestamp": {"t": 1_600_000_000 + time, "i": 1}},
        "ns": {"db": "shop"}, "operationType": operation,
    });
    if !collection.is_empty() {
        event["ns"]["coll"] = json!(collection);
    }
    if let Some(key) = key {
        event["documentKey"] = json!({"_id": key});
    }
    if operation == "insert" {
        event["fullDocument"] = json!({"_id": key, "value": time.to_string()});
    }
    json!({"event": event})
}

fn put(time: u32, collection: &str, key: &str) -> Value {
    event(time, "insert", collection, Some(key))
}

fn delete(time: u32, collection: &str, key: &str) -> Value {
    event(time, "delete", collection, Some(key))
}

fn drop_of(time: u32, collection: &str) -> Value {
    event(time, "drop", collection, None)
}

fn payload(events: &[Value]) -> String {
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:demo";
    json!({"eventSource": "aws:docdb", "eventSourceArn": arn, "events": events}).to_string()
}

/// A queue in memory.
#[derive(Default)]
struct Letters(RefCell<Vec<String>>);

impl Outbox for Letters {
    async fn send(&self, letters: &[Letter], _: std::time::Duration, _: Instant) -> Vec<Result<(), String>> {
        self.0.borrow_mut().extend(letters.iter().map(|letter| letter.body.clone()));
        letters.iter().map(|_| Ok(())).collect()
    }
}

/// What the source holds of `shop.orders` now: keys and times.
#[derive(Default)]
struct Now(RefCell<Vec<(String, u32)>>);

impl Source for Now {
    async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
        let items = self.0.borrow();
        let read = |key: &Key<'_>| {
            let (_, time) = items.iter().find(|(own, _)| *own == key.text_id())?;
            // As the sink writes it: the last brace is the target's.
            let document = format!(r#"{{"value":"{time}""#).into_bytes();
            Some(Item { document: Ok(document), notation: Notation::Bson, bytes: Vec::new() })
        };
        keys.iter().map(|key| Ok(read(key))).collect()
    }
}

struct World {
    folder: Folder,
    pipeline: Pipeline,
    target: SqliteTarget,
    letters: Letters,
    now: Cell<i64>,
}

impl World {
    fn new() -> Self {
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        let pipeline = Pipeline::parse(PIPELINE).expect("a pipeline");
        Self { folder, pipeline, target, letters: Letters::default(), now: Cell::new(NOW) }
    }

    async fn deliver(&self, events: &[Value]) -> Report {
        let payload = payload(events);
        let batch = self.pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let (started, now_ms) = (Instant::now(), self.now.get());
        let at = Circumstances { function: "f", now_ms, started, deadline: soon(), patience: PATIENCE };
        let posts = Posts { dead_letters: Some(&self.letters), fallback: None, bucket: None::<&Nowhere> };
        deliver(payload.as_bytes(), &batch, &self.pipeline, &self.target, None::<&NoSource>, posts, at).await
    }

    /// An invocation of which all must be done.
    fn live(&self, events: &[Value]) -> Removed {
        let report = run(self.deliver(events));
        assert!(report.fates.iter().all(|fate| matches!(fate, Fate::Done(_))), "{:?}", report.fates);
        report.removed
    }

    /// As `redrive` writes what was held; with a source, by truth.
    fn slow(&self, events: &[Value], lane: Lane, source: Option<&Now>) -> Vec<Fate> {
        let payload = payload(events);
        let batch = self.pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let plan = Plan::new(payload.as_bytes(), &batch, &self.pipeline);
        let mut delivery = Delivery::new(&batch, &plan, source.is_some());
        delivery = if lane == Lane::Truth { delivery.by_truth() } else { delivery.unordered() };
        let call = Call { now_ms: self.now.get(), truth: source.is_some(), ..by(soon()) };
        run(async {
            delivery.fence_endings(&self.target, call).await;
            delivery.write(&self.target, source, lane, call, call).await;
            delivery.clear(&self.target, call).await;
        });
        delivery.fates().to_vec()
    }

    /// Some time later.
    fn sweep(&self) -> usize {
        self.now.set(self.now.get() + SWEEP_AGE_MS + 1);
        let swept = run(self.target.sweep(Window::at(self.now.get(), FENCE_LIFE_MS), by(soon()))).expect("a sweep");
        assert!(swept.complete);
        swept.removed
    }

    fn left(&self) -> Vec<(String, String)> {
        let rows = documents(self.folder.database(), "t").unwrap_or_default().into_iter();
        rows.map(|row| {
            let document: Value = serde_json::from_str(&row.document).expect("JSON");
            (row.id, document["value"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
    }

    fn ids(&self) -> Vec<String> {
        self.left().into_iter().map(|(id, _)| id).collect()
    }
}

const SPACE: &str = "mongodb:demo.us-east-1:shop.orders";

#[test]
fn a_drop_removes_its_older_documents_alone() {
    let world = World::new();
    world.live(&[put(1, "orders", "a"), put(1, "orders", "b"), put(1, "things", "c"), put(9, "orders", "new")]);
    connection(&world.folder).execute("INSERT INTO t VALUES ('foreign', '{}', 'text')", []).expect("insert");
    assert_eq!(world.live(&[drop_of(5, "orders")]), Removed { documents: 2, left: 0 });
    assert_eq!(world.ids(), ["c", "foreign", "new"]);
    // The same once more, and an older one.
    assert_eq!(world.live(&[drop_of(5, "orders"), drop_of(4, "orders")]), Removed::default());
    let fence = |folder: &Folder| -> String {
        let sql = "SELECT _tidelock FROM tidelock_fences WHERE id = ?1";
        connection(folder).query_row(sql, [namespace_id(SPACE)], |row| row.get(0)).expect("a fence")
    };
    assert!(fence(&world.folder).contains(&((1_600_000_005_u64 << 32) + 1).to_string()), "the newest");
    // A renamed collection is gone under its old name.
    world.live(&[event(10, "rename", "orders", None)]);
    assert_eq!(world.ids(), ["c", "foreign"]);
    world.live(&[put(11, "orders", "a"), event(12, "dropDatabase", "", None)]);
    assert_eq!(world.ids(), ["foreign"]);
}

#[test]
fn older_changes_of_the_same_batch_go_and_newer_ones_stay() {
    let world = World::new();
    let batch = [put(1, "orders", "a"), drop_of(5, "orders"), put(6, "orders", "a"), put(2, "orders", "b")];
    for _ in 0..2 {
        assert_eq!(world.live(&batch).documents, 1);
        assert_eq!(world.left(), [("a".to_owned(), "6".to_owned())]);
    }
}

#[test]
fn what_was_held_does_not_come_back() {
    let world = World::new();
    world.live(&[put(6, "orders", "new"), drop_of(5, "orders")]);
    for lane in [Lane::Drain, Lane::Slow] {
        let fates = world.slow(&[put(1, "orders", "a"), put(2, "things", "b"), put(7, "orders", "c")], lane, None);
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Done(tidelock_core::target::Done::Stale)).count(), 1);
        assert_eq!(world.ids(), ["b", "c", "new"], "{lane:?}");
    }
}

#[test]
fn what_the_source_holds_after_the_drop_stays_and_what_it_does_not_goes() {
    let world = World::new();
    world.live(&[drop_of(5, "orders")]);
    let now = Now::default();
    now.0.borrow_mut().push(("b".to_owned(), 7));
    world.slow(&[put(1, "orders", "a"), put(1, "orders", "b")], Lane::Truth, Some(&now));
    let kept = [("b".to_owned(), "7".to_owned())];
    assert_eq!(world.left(), kept);
    // The drop comes again, and the sweep.
    assert_eq!(world.live(&[drop_of(5, "orders")]), Removed::default());
    assert_eq!((world.sweep(), world.left()), (0, kept.to_vec()));
    // Its own change is newer.
    world.live(&[put(8, "orders", "b")]);
    assert_eq!(world.left(), [("b".to_owned(), "8".to_owned())]);
}

#[test]
fn the_sweep_removes_what_came_late() {
    let world = World::new();
    world.live(&[put(1, "orders", "a"), drop_of(5, "orders")]);
    // The live lane does not look at fences.
    world.live(&[put(1, "orders", "a"), put(2, "things", "b"), put(6, "orders", "c")]);
    assert_eq!(world.ids(), ["a", "b", "c"]);
    assert_eq!(world.sweep(), 1);
    assert_eq!(world.ids(), ["b", "c"]);
}

#[test]
fn a_sweep_does_not_pass_a_place_that_it_could_not_clear() {
    let world = World::new();
    world.live(&[drop_of(5, "orders")]);
    let many: Vec<Value> = (0..1_200).map(|n| put(1, "orders", &format!("{n:04}"))).collect();
    world.live(&many);
    world.now.set(NOW + SWEEP_AGE_MS + 1);
    let window = Window::at(world.now.get(), FENCE_LIFE_MS);
    let late = run(world.target.sweep(window, by(Instant::now()))).expect("a sweep");
    assert!(!late.complete && world.ids().len() == 1_200);
    assert_eq!(world.sweep(), 1_200);
}

#[test]
fn no_document_can_pass_for_its_namespace() {
    let world = World::new();
    let id = namespace_id(SPACE);
    world.live(&[put(1, "orders", "a")]);
    let report = run(world.deliver(&[put(2, "orders", &id), delete(3, "orders", &id)]));
    assert!(report.fates.iter().all(|fate| *fate == Fate::Parked(Cause::InvalidId)), "{:?}", report.fates);
    assert_eq!((world.sweep(), world.ids()), (0, vec!["a".to_owned()]));
}

#[test]
fn an_event_that_not_all_routes_want_so_becomes_a_letter() {
    let world = World::new();
    let pipeline = "{version: 1, routes: [{from: shop.orders, where: .x == 1, to: t, on_drop: delete-all}, {from: shop.orders, to: t}]}";
    let world = World { pipeline: Pipeline::parse(pipeline).expect("a pipeline"), ..world };
    world.live(&[put(1, "orders", "a")]);
    let report = run(world.deliver(&[drop_of(5, "orders")]));
    assert_eq!(report.fates, [Fate::Parked(Cause::CollectionDropped)]);
    assert_eq!(world.ids(), ["a"]);
    let letters = world.letters.0.borrow();
    assert_eq!(read(&letters[0]).expect("a letter").reason, "collection_dropped");
}

/// What may happen to one of the events.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// It comes in the live lane.
    Live,
    /// It was held, and is drained.
    Drained,
    /// It is redriven by truth.
    Truth,
    /// The sweep comes by.
    Sweep,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Whatever order and lane events come in, however often: in the end, after a sweep, the target holds what the source does.
    #[test]
    fn the_end_is_that_of_the_source(
        history in proptest::collection::vec((0..3_usize, 0..6_u8), 1..14),
        turns in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![4 => Just(Turn::Live), 3 => Just(Turn::Drained), 2 => Just(Turn::Truth), 1 => Just(Turn::Sweep)]), 0..25),
        together in 1..4_usize,
        late in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6),
    ) {
        let keys = ["a", "b", "c"];
        let world = World::new();
        let (mut events, source) = (Vec::new(), Now::default());
        for (number, &(key, what)) in history.iter().enumerate() {
            let time = u32::try_from(number).expect("short") + 1;
            events.push(match what {
                0 => drop_of(time, "orders"),
                1 => delete(time, "orders", keys[key]),
                _ => put(time, "orders", keys[key]),
            });
        }
        let mut expected: BTreeMap<&str, String> = BTreeMap::new();
        for (number, &(key, what)) in history.iter().enumerate() {
            match what {
                0 => expected.clear(),
                1 => drop(expected.remove(keys[key])),
                _ => drop(expected.insert(keys[key], (number + 1).to_string())),
            }
        }
        *source.0.borrow_mut() = expected.iter().map(|(key, time)| ((*key).to_owned(), time.parse().expect("a time"))).collect();
        for (at, turn) in turns {
            let one = [at.get(&events).clone()];
            match turn {
                Turn::Live => drop(run(world.deliver(&one))),
                Turn::Drained => drop(world.slow(&one, Lane::Drain, None)),
                Turn::Truth => drop(world.slow(&one, Lane::Truth, Some(&source))),
                Turn::Sweep => drop(world.sweep()),
            }
        }
        // Each event has come at least once, in its order, in batches; then the sweep.
        for some in events.chunks(together) {
            run(world.deliver(some));
        }
        world.sweep();
        // What was held for longer finds the fences alone: nobody cleans up behind it.
        for (at, truth) in late {
            let (lane, source) = if truth { (Lane::Truth, Some(&source)) } else { (Lane::Drain, None) };
            world.slow(&[at.get(&events).clone()], lane, source);
        }
        let left: Vec<(String, String)> = world.left();
        let expected: Vec<(String, String)> = expected.into_iter().map(|(key, time)| (key.to_owned(), time)).collect();
        prop_assert_eq!(left, expected);
    }
}

#[test]
fn a_place_that_cannot_take_the_fence_has_the_event_come_again() {
    let world = World::new();
    world.live(&[put(1, "orders", "a")]);
    connection(&world.folder).execute_batch("CREATE TABLE IF NOT EXISTS tidelock_fences (a)").expect("damage");
    let report = run(world.deliver(&[drop_of(5, "orders"), put(6, "things", "b")]));
    let fates = report.fates;
    assert!(matches!(&fates[0], Fate::Failed(Failure { cause: Cause::FenceUnwritten, .. })), "{fates:?}");
    assert!(report.answer.is_err() && matches!(fates[1], Fate::Done(_)), "{fates:?}");
    assert_eq!(world.ids(), ["a", "b"], "nothing goes before the fence is there");
}
