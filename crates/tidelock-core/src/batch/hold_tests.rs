//! Changes that wait in the fallback queue while the target cannot be reached.

use super::tests::{Queue, Scripted, record};
use super::*;
use crate::cause::Cause;
use crate::encode::Format;
use crate::letter::{Contents, Kind, read};
use crate::pipeline::Pipeline;
use crate::queue::Nowhere;
use crate::slow::NoSource;
use crate::source::dynamodb::READER;
use crate::testing::block_on;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `paid` items of the table may be held, others not; `far` is always held.
const HOLDS: &str = r#"
version: 1
routes:
  - {from: t, where: .held, to: held, on_outage: hold}
  - {from: t, where: .far, to: far, on_outage: always_hold}
  - {from: t, to: here}
"#;

struct Told {
    fates: Vec<Fate>,
    answer: Value,
    packs: Vec<(String, Vec<Value>)>,
    letters: usize,
    writes: Vec<String>,
    deadlines: Vec<Duration>,
}

/// A change of an item that its route may hold, must not hold, or always holds.
fn change(key: &str, sequence: &str, action: &str, route: &str) -> Value {
    let mut record = record(key, sequence, action);
    // So that it leaves no other place.
    record["eventName"] = json!("INSERT");
    if let Some(image) = record["dynamodb"]["NewImage"].as_object_mut() {
        image.insert(route.to_owned(), json!({"BOOL": true}));
    }
    record
}

fn run(pipeline: &str, records: &[Value], fallback: &Queue) -> Told {
    let payload = json!({"Records": records}).to_string();
    let pipeline = Pipeline::parse(pipeline).expect("a pipeline");
    let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
    let (target, dead_letters) = (Scripted::default(), Queue::default());
    let started = Instant::now();
    let deadline = started + Duration::from_secs(100);
    let at = Circumstances { function: "f", now_ms: 0, started, deadline, patience: PATIENCE };
    let posts = Posts { dead_letters: Some(&dead_letters), fallback: Some(fallback), bucket: None::<&Nowhere> };
    let report = block_on(deliver(payload.as_bytes(), &batch, &pipeline, &target, None::<&NoSource>, posts, at));
    let sent = fallback.letters.take();
    let packs = sent.iter().map(|pack| {
        let parcel = read(&pack.body).expect("a pack");
        assert_eq!((parcel.kind, &*parcel.source, parcel.attempts), (Kind::Pack, "t", 1));
        let Contents::Records(records) = parcel.contents else { panic!("{parcel:?}") };
        (parcel.reason.into_owned(), serde_json::from_str(records).expect("records"))
    });
    Told {
        packs: packs.collect(),
        fates: report.fates,
        answer: report.answer.map_or(Value::Null, |answer| serde_json::to_value(answer).expect("JSON")),
        letters: dead_letters.letters.take().len(),
        writes: target.writes.take(),
        deadlines: target.deadlines.take().iter().map(|deadline| *deadline - started).collect(),
    }
}

#[test]
fn a_change_that_cannot_be_reached_is_held_and_done_and_its_neighbours_pass() {
    let records = [
        change("a", "1", "ok", "held"),
        change("b", "2", "retry", "held"),
        change("c", "3", "retry", "held"),
        change("d", "4", "ok", "here"),
        change("e", "5", "park", "held"),
    ];
    let told = run(HOLDS, &records, &Queue::default());
    assert_eq!(told.packs, [("throttled".to_owned(), vec![records[1].clone(), records[2].clone()])]);
    let held = Fate::Held(Cause::Throttled);
    assert_eq!(told.fates[1..3], [held.clone(), held]);
    assert!(matches!(told.fates[0], Fate::Done(_)) && matches!(told.fates[3], Fate::Done(_)), "{:?}", told.fates);
    assert!(matches!(told.fates[4], Fate::Parked(_)) && told.letters == 1, "parked, not held: {:?}", told.fates);
    assert_eq!(told.answer, json!({"batchItemFailures": []}));
}

#[test]
fn what_must_be_retried_comes_again_and_what_is_above_it_is_not_held() {
    let records = [
        change("a", "1", "retry", "held"),
        change("b", "2", "retry", "here"),
        change("c", "3", "retry", "held"),
        change("d", "4", "retry", "far"),
    ];
    let told = run(HOLDS, &records, &Queue::default());
    assert_eq!(told.packs, [("throttled".to_owned(), vec![records[0].clone()])]);
    assert_eq!(told.answer["batchItemFailures"], json!([{"itemIdentifier": "2"}]));
    assert_eq!(told.writes.len(), 3, "what is always held is not written: {:?}", told.writes);
}

#[test]
fn what_is_always_held_is_never_written() {
    let records = [change("a", "1", "ok", "far"), change("a", "2", "ok", "here"), change("b", "3", "ok", "far")];
    let told = run(HOLDS, &records, &Queue::default());
    assert_eq!(told.packs, [("buffered".to_owned(), vec![records[0].clone(), records[2].clone()])]);
    assert_eq!(told.writes.len(), 1, "{:?}", told.writes);
    assert_eq!(told.answer, json!({"batchItemFailures": []}));
    // What cannot be read is of no use in the queue either.
    let told = run(HOLDS, &[change("a", "1", "poison", "far")], &Queue::default());
    assert!(told.packs.is_empty() && matches!(told.fates[0], Fate::Parked(_)), "{:?}", told.fates);
}

#[test]
fn what_could_not_be_held_is_retried() {
    let records = [change("a", "1", "retry", "held"), change("b", "2", "ok", "far")];
    let told = run(HOLDS, &records, &Queue { broken: true, ..Queue::default() });
    let not_held = |fate: &Fate| matches!(fate, Fate::Failed(failure) if failure.cause == Cause::NotHeld);
    assert!(told.fates.iter().all(not_held), "{:?}", told.fates);
    assert_eq!(told.answer["batchItemFailures"], json!([{"itemIdentifier": "1"}]));
}

#[test]
fn where_all_may_be_held_the_target_gets_little_time() {
    let all = "{version: 1, routes: [{from: t, on_outage: hold}]}";
    let told = run(all, &[record("a", "1", "ok")], &Queue::default());
    assert_eq!(told.deadlines, [PATIENCE]);
    let told = run(HOLDS, &[change("a", "1", "ok", "held"), change("b", "2", "ok", "here")], &Queue::default());
    assert!(told.deadlines[0] > Duration::from_secs(90), "{:?}", told.deadlines);
}

#[test]
fn packs_hold_what_fits_into_a_message_in_order() {
    let large = "x".repeat(300_000);
    let mut records: Vec<Value> = (1..=7).map(|n| record(&format!("k{n}"), &n.to_string(), "retry")).collect();
    for record in &mut records {
        record["dynamodb"]["NewImage"]["text"] = json!({"S": large});
    }
    let all = "{version: 1, routes: [{from: t, on_outage: hold}]}";
    let told = run(all, &records, &Queue::default());
    let sizes: Vec<usize> = told.packs.iter().map(|(_, records)| records.len()).collect();
    assert_eq!(sizes, [3, 3, 1]);
    let held: Vec<Value> = told.packs.into_iter().flat_map(|(_, records)| records).collect();
    assert_eq!(held, records);
}

#[test]
fn a_record_waits_or_is_parked_once_for_all_of_its_routes() {
    let both = "version: 1
routes: [{from: t, to: one, also: [two], on_outage: hold}, {name: two, to: two, on_outage: hold}]";
    let queue = Queue::default();
    let told = run(
        both,
        &[change("a", "1", "retry", "x"), change("b", "2", "park", "x"), change("c", "3", "ok", "x")],
        &queue,
    );
    assert_eq!(told.answer, json!({"batchItemFailures": []}));
    let held: Vec<&str> = told
        .packs
        .iter()
        .flat_map(|(_, records)| records)
        .map(|record| record["dynamodb"]["SequenceNumber"].as_str().expect("a number"))
        .collect();
    assert_eq!((held, told.letters), (vec!["1"], 1));
    let fate = |fate: &Fate| match fate {
        Fate::Held(_) => "held",
        Fate::Parked(_) => "parked",
        Fate::Done(_) => "done",
        other => panic!("{other:?}"),
    };
    assert_eq!(told.fates.iter().map(fate).collect::<Vec<_>>(), ["held", "held", "parked", "parked", "done", "done"]);
}
