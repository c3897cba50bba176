//! Salvage into a store that refuses documents for some of their fields.

use super::*;
use crate::batch::tests::Queue;
use crate::batch::{Circumstances, Delivery, Fate, PATIENCE, Plan, Posts, deliver};
use crate::letter::{Letter, read};
use crate::pipeline::Pipeline;
use crate::queue::Nowhere;
use crate::slow::NoSource;
use crate::source::dynamodb::decode;
use crate::target::Done;
use crate::testing::block_on;
use serde_json::{Map, Value, json};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Refuses documents that have a field whose name begins with `bad`.
#[derive(Default)]
struct Picky {
    /// What was written, in order.
    writes: RefCell<Vec<String>>,
    /// How many calls it was.
    calls: RefCell<usize>,
    /// Whatever is sent in this call, the store is busy.
    busy_in_call: Option<usize>,
}

impl Picky {
    fn written(&self) -> Vec<Value> {
        self.writes.borrow().iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }

    fn judge(&self, operation: &Operation<'_>) -> Outcome {
        let Write::Upsert(document) = operation.write else { return Ok(Done::Applied) };
        let text = format!("{}}}", String::from_utf8_lossy(document));
        let fields: Map<String, Value> = serde_json::from_str(&text).expect("JSON");
        if self.busy_in_call == Some(*self.calls.borrow()) {
            return Err(Failure::new(Cause::Throttled, "busy"));
        }
        if let Some(field) = fields.keys().find(|name| name.starts_with("bad")) {
            return Err(Failure::new(Cause::MappingConflict, field));
        }
        self.writes.borrow_mut().push(text);
        Ok(Done::Applied)
    }
}

impl Target for Picky {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], _: Call) -> Vec<Outcome> {
        *self.calls.borrow_mut() += 1;
        operations.iter().map(|operation| self.judge(operation)).collect()
    }

    async fn misfits(&self, refused: &[(Operation<'_>, &Failure)], _: Instant) -> Vec<Vec<String>> {
        refused.iter().map(|(_, failure)| vec![failure.detail.clone()]).collect()
    }
}

impl Store for Picky {
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

const PIPELINE: &str = "version: 1\nroutes: [{from: t, to: t, on_conflict: salvage}]";
const CAREFUL: &str = "version: 1\nroutes: [{from: t, to: t}]";

/// An event of changes: key, sequence number, the fields' names, each of which has its own name as its value.
fn event(changes: &[(&str, &str, &[&str])]) -> String {
    let record = |(key, sequence, fields): &(&str, &str, &[&str])| {
        let image: Map<String, Value> = fields.iter().map(|name| ((*name).to_owned(), json!({"S": name}))).collect();
        json!({
            "eventName": "MODIFY",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:1:table/t/stream/2020-04-29T13:00:00.000",
            "dynamodb": {"Keys": {"k": {"S": key}}, "NewImage": image, "SequenceNumber": sequence},
        })
    };
    json!({"Records": changes.iter().map(record).collect::<Vec<_>>()}).to_string()
}

struct Ran {
    fates: Vec<Fate>,
    /// The documents that were written.
    writes: Vec<Value>,
    /// Reason and detail of each letter.
    letters: Vec<(String, String)>,
}

fn run(pipeline: &str, store: &Picky, changes: &[(&str, &str, &[&str])]) -> Ran {
    let pipeline = Pipeline::parse(pipeline).expect("a pipeline");
    let (payload, queue) = (event(changes), Queue::default());
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let now = Instant::now();
    let at = Circumstances { function: "f", now_ms: 0, started: now, deadline: now + MINUTE, patience: PATIENCE };
    let posts = Posts { dead_letters: Some(&queue), fallback: None, bucket: None::<&Nowhere> };
    let report = block_on(deliver(payload.as_bytes(), &batch, &pipeline, store, None::<&NoSource>, posts, at));
    let letters = queue.letters.into_inner();
    let told = |letter: &Letter| {
        let letter = read(&letter.body).expect("a letter");
        (letter.reason.into_owned(), letter.detail.into_owned())
    };
    Ran { fates: report.fates, writes: store.written(), letters: letters.iter().map(told).collect() }
}

#[test]
fn what_does_not_fit_is_set_aside_and_told() {
    let store = Picky::default();
    let changes: [(&str, &str, &[&str]); 3] =
        [("1", "1", &["a", "bad1", "b", "bad2"]), ("2", "2", &["a"]), ("3", "3", &["bad1"])];
    let ran = run(PIPELINE, &store, &changes);
    assert_eq!(ran.fates[1], Fate::Done(Done::Applied));
    assert!([0, 2].iter().all(|&index| ran.fates[index] == Fate::Parked(Cause::Salvaged)), "{:?}", ran.fates);
    let expected = [
        json!({"a": "a"}),
        json!({"_rejected": {"bad1": "bad1"}}),
        json!({"a": "a", "b": "b", "_rejected": {"bad1": "bad1", "bad2": "bad2"}}),
    ];
    assert_eq!(ran.writes, expected);
    assert!(ran.letters.iter().all(|(reason, _)| reason == "salvaged"), "{:?}", ran.letters);
    let detail = "written with `bad1`, `bad2` under `_rejected`: mapping_conflict: bad1";
    assert!(ran.letters.iter().any(|(_, told)| told == detail), "{:?}", ran.letters);
}

#[test]
fn where_the_route_does_not_want_it_the_record_is_parked() {
    let store = Picky::default();
    let ran = run(CAREFUL, &store, &[("1", "1", &["a"]), ("1", "2", &["bad"])]);
    assert_eq!(ran.fates, [Fate::Done(Done::Applied), Fate::Parked(Cause::MappingConflict)]);
    assert_eq!(ran.writes, [json!({"a": "a"})]);
}

#[test]
fn a_salvaged_change_stands_for_the_older_ones() {
    let store = Picky::default();
    let ran = run(PIPELINE, &store, &[("1", "1", &["old"]), ("1", "2", &["new", "bad"])]);
    assert_eq!(ran.fates, [Fate::Done(Done::Applied), Fate::Parked(Cause::Salvaged)]);
    assert_eq!(ran.writes, [json!({"new": "new", "_rejected": {"bad": "bad"}})]);
}

#[test]
fn what_cannot_be_salvaged_is_parked_and_the_older_change_gets_its_turn() {
    let many: Vec<String> = (0..=ROUNDS).map(|n| format!("bad{n:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for fields in [&["bad", "_rejected"][..], &many] {
        let store = Picky::default();
        let ran = run(PIPELINE, &store, &[("1", "1", &["a"]), ("1", "2", fields)]);
        assert_eq!(ran.fates, [Fate::Done(Done::Applied), Fate::Parked(Cause::MappingConflict)]);
        assert_eq!(ran.writes, [json!({"a": "a"})]);
    }
}

#[test]
fn what_the_store_is_too_busy_for_comes_again_and_is_not_told() {
    let store = Picky { busy_in_call: Some(2), ..Picky::default() };
    let ran = run(PIPELINE, &store, &[("1", "1", &["a", "bad"])]);
    assert!(matches!(&ran.fates[0], Fate::Failed(failure) if failure.cause == Cause::Throttled), "{:?}", ran.fates);
    assert!(ran.letters.is_empty() && ran.writes.is_empty());
}

#[test]
fn slow_lanes_salvage_too_and_tell_of_the_last_write_alone() {
    let payload = event(&[("1", "1", &["a", "bad"])]);
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let pipeline = Pipeline::parse(PIPELINE).expect("a pipeline");
    let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
    let operations = Delivery::new(&batch, &plan, false).round().operations;
    let (into, key) = (operations[0].into, operations[0].key);
    let store = Picky::default();
    let salvaging = Salvaging::new(&store);
    let call = Call { deadline: Instant::now() + MINUTE, now_ms: 0, truth: false };
    let put = |write| {
        let puts = [Put { operation: Operation { write, ..operations[0] }, over: None }];
        block_on(salvaging.put(&puts, call))
    };
    assert_eq!(put(operations[0].write), [Ok(true)]);
    assert_eq!(store.written(), [json!({"a": "a", "_rejected": {"bad": "bad"}})]);
    let note = salvaging.note(into, key).expect("a note");
    assert_eq!((note.cause, salvaging.note(into, key)), (Cause::Salvaged, None), "told once");
    // What is whole at last lacks nothing.
    put(operations[0].write);
    assert_eq!(put(Write::Upsert(b"{\"a\":1")), [Ok(true)]);
    assert_eq!(salvaging.note(into, key), None);
}
