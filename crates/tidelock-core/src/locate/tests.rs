//! Records without old images, whose documents move all the same.

use super::memory::{Known, Memory};
use super::*;
use crate::batch::tests::Queue;
use crate::batch::{Circumstances, Delivery, Lane, PATIENCE, Plan, Posts, Report, deliver_located};
use crate::encode::Format;
use crate::fence::{Cleared, Swept, Window};
use crate::queue::Nowhere;
use crate::slow::NoSource;
use crate::source::dynamodb::READER;
use crate::state::{Entry, MemoryState};
use crate::target::{Call, Found, Operation, Place, Put, ShardValue, Store, Target, Write};
use crate::testing::block_on;
use crate::version::Mark;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::time::Duration;

const MOVES: &str =
    "version: 1\nroutes: [{from: t, where: .hidden | not, to: 't-{home}', locate: state, on_outage: hold}]";

/// A change of an item, without its old image: where it is now, if it is.
fn record(key: &str, number: usize, home: Option<&str>) -> Value {
    let name = if home.is_some() { "MODIFY" } else { "REMOVE" };
    let mut change = json!({"Keys": {"id": {"S": key}}, "SequenceNumber": (100 + number).to_string()});
    if let Some(home) = home {
        change["NewImage"] = json!({"id": {"S": key}, "home": {"S": home}, "hidden": {"BOOL": home == "hidden"}});
    }
    json!({
        "eventName": name,
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000",
        "dynamodb": change,
    })
}

/// Takes everything, but at the places that are busy or refuse; as a slow lane sees it, nothing is ever there.
#[derive(Default)]
struct Shelves {
    busy: Cell<&'static str>,
    refuses: Cell<&'static str>,
    writes: RefCell<Vec<String>>,
}

impl Target for Shelves {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], _: Call) -> Vec<Outcome> {
        let one = |operation: &Operation<'_>| {
            let what = if operation.write == Write::Delete { "leave" } else { "enter" };
            let (place, number) = (&operation.into.name, operation.version.exact.parse::<usize>().expect("a number"));
            self.writes.borrow_mut().push(format!("{what} {place} {}", number - 100));
            match () {
                () if *place == self.busy.get() => Err(Failure::new(Cause::Unavailable, "busy")),
                () if *place == self.refuses.get() && what == "enter" => {
                    Err(Failure::new(Cause::MappingConflict, "no"))
                }
                () => Ok(Done::Applied),
            }
        };
        operations.iter().map(one).collect()
    }
}

impl Store for Shelves {
    type Witness = ();

    async fn look(&self, operations: &[Operation<'_>], _: Call) -> Vec<Result<Found<()>, Failure>> {
        operations.iter().map(|_| Ok(Found { document: None, fence: None })).collect()
    }

    async fn put(&self, puts: &[Put<'_, ()>], call: Call) -> Vec<Result<bool, Failure>> {
        let operations: Vec<_> = puts.iter().map(|put| put.operation).collect();
        self.apply(&operations, call).await.into_iter().map(|outcome| outcome.map(|_| true)).collect()
    }

    async fn ping(&self, _: Instant) -> Result<(), Failure> {
        Ok(())
    }

    async fn sweep(&self, _: Window, _: Call) -> Result<Swept, Failure> {
        Ok(Swept::default())
    }

    async fn clear(&self, _: &Place, _: &Mark, _: Call) -> Result<Cleared, Failure> {
        unreachable!("nothing ends")
    }
}

/// A state that can be lost sight of.
#[derive(Default)]
struct Table {
    entries: MemoryState,
    unreadable: Cell<bool>,
    unwritable: Cell<bool>,
    /// Somebody else writes between every look and write.
    contended: Cell<bool>,
    reads: Cell<usize>,
    writes: Cell<usize>,
}

impl State for Table {
    async fn read(&self, name: &str, deadline: Instant) -> Result<Option<Entry>, String> {
        self.reads.set(self.reads.get() + 1);
        if self.unreadable.get() { Err("no table".to_owned()) } else { self.entries.read(name, deadline).await }
    }

    async fn write(
        &self,
        name: &str,
        value: &str,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<String>, String> {
        self.writes.set(self.writes.get() + 1);
        match () {
            () if self.unwritable.get() => Err("no right to write".to_owned()),
            () if self.contended.get() => Ok(None),
            () => self.entries.write(name, value, expected, deadline).await,
        }
    }

    async fn remove(&self, name: &str, expected: &str, deadline: Instant) -> Result<bool, String> {
        self.entries.remove(name, expected, deadline).await
    }

    async fn names(&self, prefix: &str, deadline: Instant) -> Result<Vec<String>, String> {
        self.entries.names(prefix, deadline).await
    }
}

#[derive(Default)]
struct World {
    state: Table,
    target: Shelves,
    fallback: Queue,
    letters: Queue,
}

impl World {
    fn circumstances() -> Circumstances<'static> {
        let started = Instant::now();
        let deadline = started + Duration::from_secs(100);
        Circumstances { function: "f", now_ms: 0, started, deadline, patience: PATIENCE }
    }

    fn report(&self, pipeline: &str, records: &[Value]) -> Report {
        let payload = json!({"Records": records}).to_string();
        let pipeline = Pipeline::parse(pipeline).expect("a pipeline");
        let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let posts =
            Posts { dead_letters: Some(&self.letters), fallback: Some(&self.fallback), bucket: None::<&Nowhere> };
        let (state, source) = (Some(&self.state), None::<&NoSource>);
        let at = Self::circumstances();
        block_on(deliver_located(payload.as_bytes(), &batch, &pipeline, &self.target, source, posts, state, at))
    }

    /// Delivers records; what was written, in order of the alphabet.
    fn deliver(&self, records: &[Value]) -> Vec<String> {
        self.report(MOVES, records);
        self.writes()
    }

    fn writes(&self) -> Vec<String> {
        let mut writes = self.target.writes.take();
        writes.sort();
        writes
    }

    fn redrive(&self, record: &Value) -> (Vec<String>, Vec<Fate>) {
        let payload = json!({"Records": [record]}).to_string();
        let pipeline = Pipeline::parse(MOVES).expect("a pipeline");
        let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
        let state = Some(&self.state);
        let deadline = Instant::now() + Duration::from_secs(10);
        let located = block_on(Located::recall(payload.as_bytes(), &batch, &pipeline, state, Recall::News, deadline));
        let plan = Plan::located(payload.as_bytes(), &batch, &pipeline, &[], located.as_ref());
        let mut delivery = Delivery::new(&batch, &plan, false);
        let call = Call { deadline, now_ms: 0, truth: false };
        block_on(delivery.write(&self.target, None::<&NoSource>, Lane::Drain, call, call));
        let fates = delivery.fates().to_vec();
        (self.writes(), fates)
    }

    /// The names of the places that are remembered of the one key.
    fn remembered(&self) -> Vec<String> {
        let names = block_on(self.state.entries.names(PREFIX, Instant::now())).expect("names");
        let [name] = names.as_slice() else { panic!("{names:?}") };
        let entry = block_on(self.state.entries.read(name, Instant::now())).expect("readable").expect("an entry");
        let memory = Memory::read(&entry.value, "dynamodb:us-east-1:123456789012:t").expect("a memory");
        memory.places.into_iter().map(|known| known.place.name).collect()
    }
}

#[test]
fn what_is_remembered_is_left_and_forgotten() {
    let world = World::default();
    assert_eq!(world.deliver(&[record("k", 1, Some("a"))]), ["enter t-a 1"]);
    assert_eq!(world.deliver(&[record("k", 2, Some("b"))]), ["enter t-b 2", "leave t-a 2"]);
    assert_eq!(world.remembered(), ["t-b"]);
    let before = world.state.writes.get();
    assert_eq!(world.deliver(&[record("k", 2, Some("b"))]), ["enter t-b 2"], "again");
    assert_eq!(world.state.writes.get(), before, "what comes again is known");
    assert_eq!(world.deliver(&[record("k", 3, Some("hidden"))]), ["leave t-b 3"]);
    assert!(world.remembered().is_empty());
    assert_eq!(world.deliver(&[record("k", 4, Some("b"))]), ["enter t-b 4"]);
    assert_eq!(world.deliver(&[record("k", 5, None)]), ["leave t-b 5"]);
    let report = world.report(MOVES, &[record("k", 6, None)]);
    assert_eq!((report.fates, world.writes()), (vec![Fate::Filtered], Vec::new()), "it is nowhere");
}

#[test]
fn in_one_batch_each_change_leaves_the_place_before_it() {
    let world = World::default();
    world.deliver(&[record("k", 1, Some("z"))]);
    let batch: Vec<Value> =
        ["a", "b", "a", "c"].iter().enumerate().map(|(n, home)| record("k", n + 2, Some(home))).collect();
    assert_eq!(world.deliver(&batch), ["enter t-c 5", "leave t-a 5", "leave t-b 4", "leave t-z 5"]);
    assert_eq!(world.remembered(), ["t-c"]);
    // Where the last is refused, the one before it stands as if it were alone; what has been left stays left.
    world.target.refuses.set("t-d");
    assert_eq!(
        world.deliver(&[record("k", 6, Some("d")), record("k", 7, Some("e")), record("k", 8, Some("d"))]),
        ["enter t-d 8", "leave t-c 8", "leave t-d 7", "leave t-e 8"]
    );
    assert_eq!(world.letters.letters.borrow().len(), 1);
}

#[test]
fn other_keys_are_others() {
    let world = World::default();
    world.deliver(&[record("k", 1, Some("a")), record("l", 2, Some("a"))]);
    assert_eq!(world.deliver(&[record("l", 3, Some("b"))]), ["enter t-b 3", "leave t-a 3"]);
    assert_eq!(world.deliver(&[record("k", 4, None)]), ["leave t-a 4"]);
}

#[test]
fn without_the_state_nothing_is_written_held_or_parked() {
    type Breaks = fn(&World);
    let broken: [(Breaks, &str); 3] = [
        (|world| world.state.unreadable.set(true), "no table"),
        (|world| world.state.unwritable.set(true), "no right to write"),
        (|world| world.state.contended.set(true), "faster"),
    ];
    for (breaks, words) in broken {
        let world = World::default();
        breaks(&world);
        let mut poison = record("l", 2, Some("a"));
        poison["dynamodb"]["NewImage"]["x"] = json!({"X": "?"});
        let report = world.report(MOVES, &[record("k", 1, Some("a")), poison]);
        for fate in &report.fates {
            let Fate::Failed(failure) = fate else { panic!("{fate:?}") };
            assert!(failure.cause == Cause::StateUnreachable && failure.detail.contains(words), "{failure}");
        }
        let answer = serde_json::to_value(report.answer.expect("an answer")).expect("JSON");
        assert_eq!(answer["batchItemFailures"], json!([{"itemIdentifier": "101"}]));
        assert!(world.writes().is_empty());
        assert!(world.fallback.letters.borrow().is_empty() && world.letters.letters.borrow().is_empty());
    }
}

#[test]
fn without_a_state_it_is_the_same() {
    let payload = json!({"Records": [record("k", 1, Some("a"))]}).to_string();
    let pipeline = Pipeline::parse(MOVES).expect("a pipeline");
    let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
    let (target, posts) = (Shelves::default(), Posts { dead_letters: None, fallback: None, bucket: None::<&Nowhere> });
    let posts: Posts<'_, Nowhere, Nowhere> = posts;
    let at = World::circumstances();
    let report =
        block_on(crate::batch::deliver(payload.as_bytes(), &batch, &pipeline, &target, None::<&NoSource>, posts, at));
    assert!(report.failures["state_unreachable"].1.detail.contains("TIDELOCK_STATE is not set"));
    assert!(target.writes.take().is_empty());
}

#[test]
fn what_could_not_be_left_stays_remembered() {
    let world = World::default();
    world.deliver(&[record("k", 1, Some("a"))]);
    world.target.busy.set("t-a");
    assert_eq!(world.deliver(&[record("k", 2, Some("b"))]), ["enter t-b 2", "leave t-a 2"]);
    assert_eq!(world.fallback.letters.take().len(), 1, "it is held");
    assert_eq!(world.remembered(), ["t-a", "t-b"]);
    world.target.busy.set("");
    assert_eq!(world.deliver(&[record("k", 3, None)]), ["leave t-a 3", "leave t-b 3"]);
    assert!(world.remembered().is_empty());
    // What was held is drained after all.
    assert_eq!(world.redrive(&record("k", 2, Some("b"))), (Vec::new(), vec![Fate::Done(Done::Stale)]));
}

#[test]
fn nothing_is_forgotten_before_all_of_a_batch_is_done() {
    let world = World::default();
    world.target.busy.set("t-a");
    world.deliver(&[record("k", 1, Some("a")), record("k", 2, Some("b")), record("k", 3, Some("c"))]);
    assert_eq!(world.remembered(), ["t-a", "t-b", "t-c"], "what was to clear the first is held");
    world.target.busy.set("");
    assert_eq!(world.deliver(&[record("k", 4, None)]), ["leave t-a 4", "leave t-b 4", "leave t-c 4"]);
    assert!(world.remembered().is_empty());
}

#[test]
fn what_is_held_is_remembered_first() {
    let world = World::default();
    world.target.busy.set("t-a");
    world.deliver(&[record("k", 1, Some("a"))]);
    assert_eq!(world.remembered(), ["t-a"]);
    world.target.busy.set("");
    assert_eq!(world.deliver(&[record("k", 2, Some("b"))]), ["enter t-b 2", "leave t-a 2"]);
}

/// A batch that was given up before anything of it was remembered.
#[test]
fn a_change_that_asks_after_a_newer_one_enters_nothing_new() {
    for newer in [Some("b"), Some("hidden"), None] {
        let world = World::default();
        world.deliver(&[record("k", 1, Some("a"))]);
        world.deliver(&[record("k", 3, newer)]);
        let late = record("k", 2, Some("c"));
        assert_eq!(world.redrive(&late), (Vec::new(), vec![Fate::Done(Done::Stale)]), "{newer:?}");
        let report = world.report(MOVES, &[late]);
        assert_eq!((report.fates, world.writes()), (vec![Fate::Done(Done::Stale)], Vec::new()));
    }
    // Where the newer one is, the target's own guard decides.
    let world = World::default();
    world.deliver(&[record("k", 3, Some("b"))]);
    assert_eq!(world.redrive(&record("k", 2, Some("b"))).0, ["enter t-b 2"]);
    // A key whose newer change nobody has seen yet.
    assert_eq!(World::default().redrive(&record("k", 2, Some("b"))).0, ["enter t-b 2"]);
}

#[test]
fn a_place_that_came_late_does_not_let_older_changes_in() {
    let space = "dynamodb:us-east-1:1:t";
    let mark = |number: u32| Mark {
        space: space.into(),
        label: "2020-04-29T13:00:00.000".into(),
        exact: format!("{number:040}"),
        token: String::new(),
        at: 0,
        part: false,
    };
    let place = |name: &str| Place::new(name.to_owned(), false);
    let change = |number, name: &str| Change {
        slot: 0,
        route: "",
        mark: mark(number),
        entered: vec![place(name)],
        before: None,
        stays: false,
    };
    let memory = Memory::default().meet(&[change(5, "a")], Recall::News).now;
    // A truth about an older change.
    let met = memory.meet(&[change(3, "b")], Recall::Truth);
    assert_eq!(met.told, [(0, Told::Leaves(vec![place("a")]))]);
    assert_eq!((&met.now.newest, met.now.places.len(), met.ends.len()), (&Some(mark(5)), 2, 0));
    assert_eq!(met.now.meet(&[change(4, "b")], Recall::News).told, [(0, Told::Overtaken)]);
    // A letter about that very change; the target's guard knows the rest.
    assert_eq!(met.now.meet(&[change(3, "b")], Recall::News).told, [(0, Told::Leaves(vec![place("a")]))]);
    assert_eq!(met.now.meet(&[change(6, "b")], Recall::News).told, [(0, Told::Leaves(vec![place("a")]))]);
}

#[test]
fn branches_remember_each_for_itself() {
    let pipeline = "
version: 1
routes:
  - {from: t, to: 't-{home}', locate: state, also: [kept, gone]}
  - {name: kept, to: 'kept-{home}', locate: state, deletes: ignore}
  - {name: gone, to: 'gone-{home}', where: .home != \"b\", locate: state}
";
    let world = World::default();
    let run = |records: &[Value]| {
        world.report(pipeline, records);
        world.writes()
    };
    assert_eq!(run(&[record("k", 1, Some("a"))]), ["enter gone-a 1", "enter kept-a 1", "enter t-a 1"]);
    assert_eq!(
        run(&[record("k", 2, Some("b"))]),
        ["enter kept-b 2", "enter t-b 2", "leave gone-a 2", "leave kept-a 2", "leave t-a 2"]
    );
    assert_eq!(run(&[record("k", 3, None)]), ["leave t-b 3"]);
    assert_eq!(world.remembered(), ["kept-b"]);
    assert_eq!(
        run(&[record("k", 4, Some("c"))]),
        ["enter gone-c 4", "enter kept-c 4", "enter t-c 4", "leave kept-b 4"]
    );
}

#[test]
fn pipelines_without_it_ask_for_nothing() {
    let world = World::default();
    world.report("version: 1\nroutes: [{from: t, to: x}]", &[record("k", 1, Some("a"))]);
    // Nor where all items have one place.
    world.report("version: 1\nroutes: [{from: t, to: x, locate: state}]", &[record("k", 1, Some("a"))]);
    assert_eq!((world.state.reads.get(), world.writes().len()), (0, 2));
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let space = "dynamodb:us-east-1:1:t";
    let mark = |exact: &str| Mark {
        space: space.into(),
        label: "2020".into(),
        exact: exact.into(),
        token: String::new(),
        at: 0,
        part: false,
    };
    let values =
        [ShardValue::Null, ShardValue::Boolean(true), ShardValue::Number("1.5".into()), ShardValue::Text("\"é".into())];
    let place = Place {
        name: "a.b".into(),
        literal: true,
        shard_key: values.into_iter().map(|value| ("f.g".to_owned(), value)).collect(),
        routing: Some("r".into()),
        id: Some(vec![0, 255, 7]),
    };
    let plain = Known { route: String::new(), place: Place::new("a".to_owned(), false), after: None, by: None };
    let known = Known { route: "audit".into(), place, after: Some(mark("1")), by: Some(mark("0")) };
    let memory = Memory { newest: Some(mark("2")), places: vec![plain, known] };
    assert_eq!(Memory::read(&memory.write().expect("JSON"), space), Ok(memory));
    assert!(Memory::read("[]", space).is_err());
}
