//! The batch algorithm against a scripted target.

use super::*;
use crate::cause::{Cause, Failure};
use crate::encode::Format;
use crate::fence::{Cleared, Swept, Window};
use crate::image::Notation;
use crate::key::Key;
use crate::letter::Letter;
use crate::pipeline::Pipeline;
use crate::queue::{Nowhere, Outbox};
use crate::slow::{Item, NoSource, ReadResult, Source};
use crate::source::dynamodb::decode;
use crate::target::{Call, Done, Found, Operation, Outcome, Place, Put, Store, Target, Write};
use crate::testing::block_on;
use crate::version::Mark;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Answers by what the document says: `{"do":"park"}`, `{"do":"retry"}`, anything else is applied.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) writes: RefCell<Vec<String>>,
    answers_missing: usize,
    /// When each call had to return.
    pub(crate) deadlines: RefCell<Vec<Instant>>,
}

impl Target for Scripted {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        self.deadlines.borrow_mut().push(call.deadline);
        let mut outcomes: Vec<Outcome> = operations
            .iter()
            .map(|operation| {
                let text = match operation.write {
                    Write::Upsert(document) => String::from_utf8_lossy(document).into_owned(),
                    Write::Delete => "delete".to_owned(),
                };
                self.writes.borrow_mut().push(format!("{}/{} {text}", operation.into.name, operation.key.text_id()));
                if text.contains("park") {
                    return Err(Failure::new(Cause::MappingConflict, "no"));
                }
                if text.contains("foreign") {
                    return Err(Failure::new(Cause::ForeignDocument, "another's"));
                }
                if text.contains("retry") {
                    return Err(Failure::new(Cause::Throttled, "busy"));
                }
                Ok(if text.contains("stale") { Done::Stale } else { Done::Applied })
            })
            .collect();
        outcomes.truncate(operations.len() - self.answers_missing.min(operations.len()));
        outcomes
    }
}

/// As a slow lane sees it, nothing is ever there, and every write succeeds.
impl Store for Scripted {
    type Witness = ();

    async fn look(&self, operations: &[Operation<'_>], _call: Call) -> Vec<Result<Found<()>, Failure>> {
        operations.iter().map(|_| Ok(Found { document: None, fence: None })).collect()
    }

    async fn put(&self, puts: &[Put<'_, ()>], call: Call) -> Vec<Result<bool, Failure>> {
        let operations: Vec<_> = puts.iter().map(|put| put.operation).collect();
        self.apply(&operations, call).await.into_iter().map(|outcome| outcome.map(|_| true)).collect()
    }

    async fn ping(&self, _: Instant) -> Result<(), Failure> {
        Ok(())
    }

    async fn sweep(&self, _window: Window, _call: Call) -> Result<Swept, Failure> {
        Ok(Swept::default())
    }

    async fn clear(&self, _: &Place, _: &Mark, _: Call) -> Result<Cleared, Failure> {
        unreachable!("nothing ends")
    }
}

/// Holds one document for every key, or cannot be read.
struct Table(Option<&'static str>);

impl Source for Table {
    async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
        let unreadable = || Failure::new(Cause::SourceUnreadable, "no");
        let item = |text: &str| Item {
            document: Ok(text.as_bytes().to_vec()),
            notation: Notation::DynamoDb,
            bytes: b"{}".to_vec(),
        };
        keys.iter().map(|_| self.0.map(|text| Some(item(text))).ok_or_else(unreadable)).collect()
    }
}

fn posts(dead_letters: Option<&Queue>) -> Posts<'_, Queue, Nowhere> {
    Posts { dead_letters, fallback: None, bucket: None }
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) letters: RefCell<Vec<Letter>>,
    pub(crate) broken: bool,
}

impl Outbox for Queue {
    async fn send(&self, letters: &[Letter], _: Duration, _: Instant) -> Vec<Result<(), String>> {
        if self.broken {
            return letters.iter().map(|_| Err("no queue".to_owned())).collect();
        }
        self.letters.borrow_mut().extend_from_slice(letters);
        letters.iter().map(|_| Ok(())).collect()
    }
}

/// One record: key, sequence number, and what the target shall do (`remove` deletes, `poison` cannot be decoded).
pub(crate) fn record(key: &str, sequence: &str, action: &str) -> Value {
    let value = if action == "poison" { json!({"X": ""}) } else { json!({"S": action}) };
    // `keys` came without its image.
    let mut record = json!({
        "eventName": if action == "remove" { "REMOVE" } else { "MODIFY" },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:1:table/t/stream/2020-04-29T13:00:00.000",
        "dynamodb": {"Keys": {"k": {"S": key}}, "NewImage": {"do": value}},
    });
    if action == "keys" {
        record["dynamodb"].as_object_mut().expect("an object").remove("NewImage");
    }
    if !sequence.is_empty() {
        record["dynamodb"]["SequenceNumber"] = json!(sequence);
    }
    record
}

struct Ran {
    report: Report,
    writes: Vec<String>,
    letters: Vec<Value>,
    answer: String,
}

fn run_with(records: &[(&str, &str, &str)], target: Scripted, queue: Option<Queue>) -> Ran {
    run_from(records, target, None::<NoSource>, queue)
}

fn run_from(
    records: &[(&str, &str, &str)],
    target: Scripted,
    source: Option<impl Source>,
    queue: Option<Queue>,
) -> Ran {
    let records: Vec<_> = records.iter().map(|(key, sequence, action)| record(key, sequence, action)).collect();
    let payload = json!({"Records": records}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let at = Circumstances {
        function: "f",
        now_ms: 0,
        started: Instant::now(),
        deadline: Instant::now(),
        patience: PATIENCE,
    };
    let pipeline = Pipeline::default();
    let report =
        block_on(deliver(payload.as_bytes(), &batch, &pipeline, &target, source.as_ref(), posts(queue.as_ref()), at));
    let letters = queue.map(|queue| queue.letters.into_inner()).unwrap_or_default();
    let answer = match &report.answer {
        Ok(answer) => serde_json::to_value(answer).expect("serializes")["batchItemFailures"]
            .as_array()
            .expect("a list")
            .first()
            .map_or("ok".to_owned(), |failure| failure["itemIdentifier"].as_str().expect("text").to_owned()),
        Err(_) => "whole batch".to_owned(),
    };
    Ran {
        report,
        writes: target.writes.into_inner(),
        letters: letters.iter().map(|letter| serde_json::from_str(&letter.body).expect("JSON")).collect(),
        answer,
    }
}

fn run(records: &[(&str, &str, &str)]) -> Ran {
    run_with(records, Scripted::default(), Some(Queue::default()))
}

#[test]
fn the_highest_version_stands_for_the_others() {
    let ran = run(&[("a", "1", "x1"), ("b", "2", "y"), ("a", "10", "x10"), ("a", "9", "x9")]);
    assert_eq!(ran.writes, [r#"t/a {"do":"x10""#, r#"t/b {"do":"y""#]);
    assert!(ran.report.fates.iter().all(|fate| *fate == Fate::Done(Done::Applied)));
    assert_eq!((ran.answer.as_str(), ran.report.operations), ("ok", 2));
}

#[test]
fn what_a_batch_begins_with_an_insert_of_is_new() {
    let named = |key, sequence, action, name: &str| {
        let mut record = record(key, sequence, action);
        record["eventName"] = json!(name);
        record
    };
    let records = [
        named("inserted", "1", "x", "INSERT"),
        named("changed later", "2", "x", "INSERT"),
        named("changed later", "3", "y", "MODIFY"),
        named("changed", "4", "x", "MODIFY"),
        named("again", "5", "remove", "REMOVE"),
        named("again", "6", "x", "INSERT"),
        // In the order of their versions, however they come.
        named("turned", "9", "y", "MODIFY"),
        named("turned", "8", "x", "INSERT"),
    ];
    let payload = json!({"Records": records}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let pipeline = Pipeline::default();
    let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
    let operations = Delivery::new(&batch, &plan, false).round().operations;
    let fresh: Vec<_> = operations.iter().map(|one| (one.key.text_id(), one.fresh)).collect();
    let expected =
        [("inserted", true), ("changed later", true), ("changed", false), ("again", false), ("turned", true)];
    assert_eq!(fresh, expected.map(|(key, fresh)| (key.to_owned(), fresh)));
}

#[test]
fn delivery_order_decides_among_equals() {
    assert_eq!(run(&[("a", "1", "x"), ("a", "1", "y")]).writes, [r#"t/a {"do":"y""#]);
}

#[test]
fn the_previous_image_goes_out_when_the_last_is_refused() {
    let ran = run(&[("a", "1", "x"), ("a", "2", "remove"), ("a", "3", "park"), ("a", "4", "poison")]);
    assert_eq!(ran.writes, [r#"t/a {"do":"park""#, "t/a delete"]);
    assert_eq!(ran.answer, "ok");
    let reasons: Vec<_> = ran.letters.iter().map(|letter| letter["reason"].as_str().expect("text")).collect();
    assert_eq!(reasons, ["mapping_conflict", "unknown_type"]);
    assert_eq!(ran.report.fates[0], Fate::Done(Done::Applied));
}

#[test]
fn the_lowest_number_is_reported_not_the_first_nor_by_text() {
    let ran = run(&[("a", "100", "retry"), ("b", "20", "x"), ("c", "30", "retry")]);
    assert_eq!(ran.answer, "30");
    // An operation stands for older changes of its key, which come again with it.
    assert_eq!(run(&[("a", "5", "x"), ("b", "6", "y"), ("a", "7", "retry")]).answer, "5");
}

#[test]
fn what_comes_again_is_not_parked_now() {
    let ran = run(&[("a", "1", "poison"), ("b", "2", "retry"), ("c", "3", "poison")]);
    assert_eq!(ran.answer, "2");
    assert_eq!(ran.letters.len(), 1);
    assert_eq!(ran.letters[0]["source"]["position"], "1");
}

#[test]
fn nothing_of_a_key_is_applied_after_its_first_retriable_failure() {
    let ran = run(&[("a", "1", "x"), ("a", "2", "retry"), ("a", "3", "park")]);
    assert_eq!(ran.writes, [r#"t/a {"do":"park""#, r#"t/a {"do":"retry""#]);
    assert_eq!(ran.answer, "1");
    assert!(ran.letters.is_empty());
}

#[test]
fn without_a_queue_refused_records_are_reported() {
    let ran = run_with(&[("a", "1", "x"), ("b", "2", "poison"), ("c", "3", "y")], Scripted::default(), None);
    assert_eq!(ran.answer, "2");
    assert_eq!(ran.writes.len(), 2, "neighbours are written");
}

#[test]
fn a_letter_that_is_not_stored_is_a_retry() {
    let queue = Queue { broken: true, ..Queue::default() };
    let ran = run_with(&[("a", "1", "x"), ("b", "2", "park"), ("c", "3", "park")], Scripted::default(), Some(queue));
    assert_eq!(ran.answer, "2");
    assert!(matches!(&ran.report.fates[1], Fate::Failed(failure) if failure.cause == Cause::NotParked));
    // The log must say what is wrong with the queue, beside what was wrong with the records.
    let (count, example) = &ran.report.failures["not_parked"];
    assert_eq!((*count, example.detail.contains("no queue")), (2, true), "{example}");
    assert_eq!(ran.report.failures.len(), 2);
}

#[test]
fn a_record_without_position_is_retried_from_the_one_before() {
    let none = |records: &[(&str, &str, &str)]| run_with(records, Scripted::default(), None).answer;
    assert_eq!(none(&[("a", "4", "x"), ("b", "", "x"), ("c", "6", "x")]), "4");
    assert_eq!(none(&[("b", "", "x"), ("c", "6", "x")]), "whole batch");
    assert_eq!(run(&[("b", "", "x"), ("c", "6", "x")]).letters.len(), 1);
}

#[test]
fn a_wrong_count_of_outcomes_is_no_success() {
    let target = Scripted { answers_missing: 1, ..Scripted::default() };
    let ran = run_with(&[("a", "1", "x"), ("b", "2", "x")], target, Some(Queue::default()));
    assert_eq!(ran.answer, "1");
}

#[test]
fn a_letter_says_all_that_is_needed() {
    let ran = run(&[("a", "7", "park")]);
    let letter = &ran.letters[0];
    for (pointer, value) in [
        ("/tidelock", json!(1)),
        ("/reason", json!("mapping_conflict")),
        ("/function", json!("f")),
        ("/source/kind", json!("dynamodb")),
        ("/source/name", json!("t")),
        ("/source/position", json!("7")),
        ("/key", json!({"k": {"S": "a"}})),
        ("/version/space", json!("dynamodb:us-east-1:1:t")),
        ("/op", json!("upsert")),
        ("/record", record("a", "7", "park")),
        ("/attempts", json!(1)),
        ("/first_failed_at", json!("1970-01-01T00:00:00.000Z")),
        ("/target", json!({"index": "t", "id": "a"})),
    ] {
        assert_eq!(letter.pointer(pointer), Some(&value), "{pointer}");
    }
    assert_eq!(letter["letter_id"], run(&[("a", "7", "park")]).letters[0]["letter_id"]);
}

#[test]
fn a_letter_over_the_message_limit_does_not_hold_the_others_back() {
    let long = format!("park{}", "x".repeat(1_100_000));
    let ran = run(&[("a", "1", "park"), ("b", "2", &long)]);
    assert_eq!((ran.letters.len(), ran.answer.as_str()), (1, "2"));
    assert!(matches!(&ran.report.fates[1], Fate::Failed(failure) if failure.detail.contains("bytes")));
}

#[test]
fn a_stream_enabled_anew_ranks_by_its_label() {
    let mut older = record("a", "900", "old");
    older["eventSourceARN"] = json!("arn:aws:dynamodb:us-east-1:1:table/t/stream/2019-04-29T13:00:00.000");
    let payload = json!({"Records": [record("a", "1", "new"), older]}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let target = Scripted::default();
    let at = Circumstances {
        function: "f",
        now_ms: 0,
        started: Instant::now(),
        deadline: Instant::now(),
        patience: PATIENCE,
    };
    block_on(deliver(payload.as_bytes(), &batch, &Pipeline::default(), &target, None::<&NoSource>, posts(None), at));
    assert_eq!(target.writes.into_inner(), [r#"t/a {"do":"new""#]);
}

#[test]
fn what_came_without_its_image_is_read_from_the_source() {
    let table = || Some(Table(Some(r#"{"do":"now""#)));
    let ran = run_from(&[("a", "1", "keys"), ("b", "2", "x")], Scripted::default(), table(), Some(Queue::default()));
    assert_eq!(ran.writes, [r#"t/b {"do":"x""#, r#"t/a {"do":"now""#]);
    assert_eq!((ran.answer.as_str(), ran.letters.len()), ("ok", 0));
    // A newer image stands for it; an older one is stood for.
    let ran = run_from(&[("a", "1", "keys"), ("a", "2", "x")], Scripted::default(), table(), Some(Queue::default()));
    assert_eq!(ran.writes, [r#"t/a {"do":"x""#]);
    let ran = run_from(&[("a", "1", "x"), ("a", "2", "keys")], Scripted::default(), table(), Some(Queue::default()));
    assert_eq!(ran.writes, [r#"t/a {"do":"now""#]);
    assert_eq!((ran.answer.as_str(), ran.letters.len()), ("ok", 0));
    // A source that cannot be read is a retry, not a letter.
    let ran = run_from(&[("a", "1", "x"), ("a", "2", "keys")], Scripted::default(), Some(Table(None)), None);
    assert_eq!((ran.answer.as_str(), ran.writes.len()), ("1", 0));
}

/// A target that takes all the time it is given must leave some to read the source, or such a record would never be done.
#[test]
fn the_first_round_leaves_time_to_read_the_source() {
    let payload = json!({"Records": [record("a", "1", "park"), record("a", "2", "park")]}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
    let started = Instant::now();
    let after = |seconds| started + Duration::from_secs(seconds);
    let at = Circumstances { function: "f", now_ms: 0, started, deadline: after(8), patience: PATIENCE };
    let pipeline = Pipeline::default();
    for (table, expected) in [(Some(Table(None)), [after(6), after(8)]), (None, [after(8), after(8)])] {
        let target = Scripted::default();
        block_on(deliver(payload.as_bytes(), &batch, &pipeline, &target, table.as_ref(), posts(None), at));
        assert_eq!(target.deadlines.into_inner(), expected);
    }
}

#[test]
fn without_a_source_a_missing_image_is_parked_and_the_one_before_it_written() {
    let ran = run_with(&[("a", "1", "x"), ("a", "2", "keys")], Scripted::default(), Some(Queue::default()));
    assert_eq!(ran.writes, [r#"t/a {"do":"x""#]);
    assert_eq!(ran.letters[0]["reason"], "missing_image");
    assert_eq!(ran.answer, "ok");
}

#[test]
fn what_versions_cannot_settle_is_read_from_the_source() {
    let table = Some(Table(Some(r#"{"do":"now""#)));
    let ran = run_from(&[("a", "1", "foreign")], Scripted::default(), table, Some(Queue::default()));
    assert_eq!(ran.writes, [r#"t/a {"do":"foreign""#, r#"t/a {"do":"now""#]);
    assert_eq!((ran.answer.as_str(), ran.letters.len()), ("ok", 0));
    let ran = run_with(&[("a", "1", "foreign")], Scripted::default(), Some(Queue::default()));
    assert_eq!((ran.answer.as_str(), &ran.letters[0]["reason"]), ("ok", &"foreign_document".into()));
}
