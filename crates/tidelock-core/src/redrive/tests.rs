//! Redrive of messages that a queue in memory holds, into a scripted target.

mod located;
mod survey;
mod unreadable;

use super::*;
use crate::batch::tests::{Scripted, record};
use crate::cause::{Cause, Failure};
use crate::encode::Format;
use crate::image::Notation;
use crate::key::Key;
use crate::letter::{Contents, Kind, Letter, LostBatch, read};
use crate::pipeline::Pipeline;
use crate::queue::{Bucket, Message, Names, Outbox, Queue, QueueFacts};
use crate::slow::{Item, ReadResult, Source};
use crate::source::{Fetched, NoStreams, Streams};
use crate::state::NoState;
use crate::target::Call;
use crate::testing::block_on;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 1_767_225_600_000;

#[derive(Default)]
struct Memory {
    /// Body, whether it is taken, delay.
    messages: RefCell<BTreeMap<usize, (String, bool, Duration)>>,
    count: Cell<usize>,
    broken: bool,
    deletes_fail: bool,
    sent_ms: i64,
    /// What was hidden or given back: the receipt, for how long, and when it had to be done.
    hidden: RefCell<Vec<(String, Duration, Instant)>>,
}

impl Memory {
    fn of(bodies: impl IntoIterator<Item = String>) -> Self {
        let memory = Self { sent_ms: NOW_MS, ..Self::default() };
        bodies.into_iter().for_each(|body| memory.add(body, Duration::ZERO));
        memory
    }

    fn add(&self, body: String, delay: Duration) {
        self.messages.borrow_mut().insert(self.count.get(), (body, false, delay));
        self.count.set(self.count.get() + 1);
    }

    fn bodies(&self) -> Vec<String> {
        let messages = self.messages.borrow();
        assert!(messages.values().all(|(_, taken, _)| !taken), "what is not done is given back");
        messages.values().map(|(body, ..)| body.clone()).collect()
    }
}

impl Outbox for Memory {
    async fn send(&self, letters: &[Letter], delay: Duration, _: Instant) -> Vec<Result<(), String>> {
        if self.broken {
            return letters.iter().map(|_| Err("no queue".to_owned())).collect();
        }
        letters.iter().for_each(|letter| self.add(letter.body.clone(), delay));
        letters.iter().map(|_| Ok(())).collect()
    }
}

impl Queue for Memory {
    async fn take(&self, most: usize, _: Duration, _: Instant) -> Result<Vec<Message>, String> {
        let mut messages = self.messages.borrow_mut();
        let free = messages.iter_mut().filter(|(_, (_, taken, delay))| !*taken && delay.is_zero());
        let message = |(id, message): (&usize, &mut (String, bool, Duration))| {
            message.1 = true;
            let id = id.to_string();
            Message { receipt: id.clone(), id, body: message.0.clone(), sent_ms: self.sent_ms, taken: 1 }
        };
        Ok(free.take(most.min(3)).map(message).collect())
    }

    async fn delete(&self, receipts: &[String], _: Instant) -> Vec<Result<(), String>> {
        let delete = |receipt: &String| {
            if self.deletes_fail {
                return Err("no".to_owned());
            }
            self.messages.borrow_mut().remove(&receipt.parse().expect("a receipt"));
            Ok(())
        };
        let results = receipts.iter().map(delete).collect();
        if self.deletes_fail {
            self.hide(receipts, Duration::ZERO, Instant::now()).await;
        }
        results
    }

    async fn hide(&self, receipts: &[String], hidden: Duration, deadline: Instant) {
        for receipt in receipts {
            self.hidden.borrow_mut().push((receipt.clone(), hidden, deadline));
            if let Some(message) = self.messages.borrow_mut().get_mut(&receipt.parse().expect("a receipt")) {
                message.1 = false;
            }
        }
    }

    async fn facts(&self, _: Instant) -> Result<QueueFacts, String> {
        Ok(QueueFacts::default())
    }
}

#[derive(Default)]
struct Shelf(RefCell<BTreeMap<String, Vec<u8>>>);

impl Bucket for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    async fn put(&self, name: &str, body: Vec<u8>, _: Instant) -> Result<(), String> {
        self.0.borrow_mut().insert(name.to_owned(), body);
        Ok(())
    }

    async fn get(&self, name: &str, _: Instant) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.borrow().get(name).cloned())
    }

    async fn delete(&self, name: &str, _: Instant) -> Result<(), String> {
        self.0.borrow_mut().remove(name);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, _: Instant) -> Result<Names, String> {
        let objects = self.0.borrow();
        let mut names =
            objects.keys().filter(|name| name.starts_with(prefix) && after.is_none_or(|a| name.as_str() > a));
        let page = names.by_ref().take(2).cloned().collect();
        Ok(Names { names: page, more: names.next().is_some() })
    }
}

/// Says of every key that it holds this text.
struct Table;

impl Source for Table {
    async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
        let item = Item { document: Ok(b"{\"truth\":1".to_vec()), notation: Notation::DynamoDb, bytes: b"{}".to_vec() };
        keys.iter().map(|_| Ok(Some(item.clone()))).collect()
    }
}

struct Stream(Result<Fetched, Failure>);

impl Streams for Stream {
    async fn records(&self, _: &LostBatch, _: Instant) -> Result<Fetched, Failure> {
        self.0.clone()
    }
}

fn letter_of(record: &Value, first_failed: &str) -> String {
    json!({
        "tidelock": 1, "letter_id": "x", "reason": "mapping_conflict", "source": {"kind": "dynamodb", "name": "t"},
        "record": record, "attempts": 1, "first_failed_at": first_failed,
    })
    .to_string()
}

fn letter(key: &str, action: &str) -> String {
    letter_of(&record(key, "7", action), "2025-12-31T00:00:00.000Z")
}

fn pack(records: &[Value]) -> String {
    json!({
        "tidelock": 1, "pack_id": "x", "reason": "unreachable", "source": {"kind": "dynamodb", "name": "t"},
        "records": records, "attempts": 1, "first_failed_at": "2025-12-31T00:00:00.000Z",
    })
    .to_string()
}

struct Bench {
    target: Scripted,
    bucket: Shelf,
    dead_letters: Memory,
    source: Option<Table>,
    streams: Option<Stream>,
}

impl Bench {
    fn new() -> Self {
        let (target, bucket, dead_letters) = (Scripted::default(), Shelf::default(), Memory::default());
        Self { target, bucket, dead_letters, source: None, streams: None }
    }

    fn with<O>(
        &self,
        work: impl AsyncFnOnce(&Desk<'_, Scripted, Table, NoState>, Outlets<'_, Memory, Shelf, Stream>, Call) -> O,
    ) -> O {
        let pipeline = Pipeline::default();
        let desk = Desk {
            pipeline: &pipeline,
            target: &self.target,
            source: self.source.as_ref(),
            state: None,
            function: "redrive",
            fence_life_ms: 15 * DAY_MS,
            kinds: crate::source::KINDS,
            patience: PATIENCE,
            clock: Instant::now,
            watch: &|_| {},
        };
        let outlets = Outlets {
            dead_letters: Some(&self.dead_letters),
            bucket: Some(&self.bucket),
            streams: self.streams.as_ref(),
        };
        let call = Call { deadline: Instant::now() + Duration::from_secs(600), now_ms: NOW_MS, truth: false };
        block_on(work(&desk, outlets, call))
    }

    fn drain_within(&self, queue: &Memory, time: Duration) -> Redriven {
        self.with(async |desk, outlets, call| {
            let call = Call { deadline: Instant::now() + time, ..call };
            drain_queue(desk, queue, outlets, &Order::default(), call).await
        })
    }

    fn drain(&self, queue: &Memory, order: &Order) -> Redriven {
        self.with(async |desk, outlets, call| drain_queue(desk, queue, outlets, order, call).await)
    }

    fn failures(&self, order: &Order) -> Redriven {
        self.with(async |desk, outlets, call| redrive_failures(desk, &self.bucket, "aws/", outlets, order, call).await)
    }
}

#[test]
fn what_is_applied_or_stale_is_done_and_what_is_refused_is_a_letter_again() {
    let bench = Bench::new();
    let queue = Memory::of([letter("a", "ok"), letter("b", "stale"), letter("c", "park"), letter("d", "retry")]);
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((redriven.applied, redriven.stale, redriven.waiting, redriven.completed), (1, 1, 1, 3), "{redriven:?}");
    assert_eq!(redriven.parked, BTreeMap::from([("mapping_conflict".to_owned(), 1)]));
    assert_eq!(queue.bodies(), [letter("d", "retry")]);
    let parked = bench.dead_letters.bodies();
    let again = read(&parked[0]).expect("a letter");
    assert_eq!((parked.len(), again.kind, again.attempts), (1, Kind::Letter, 2));
    assert_eq!(again.first_failed_ms, NOW_MS - DAY_MS, "when it failed first stays");
}

#[test]
fn of_a_pack_only_what_could_not_be_applied_waits_on() {
    let bench = Bench::new();
    let records =
        [record("a", "1", "ok"), record("b", "2", "park"), record("c", "3", "retry"), record("d", "4", "retry")];
    let queue = Memory::of([pack(&records)]);
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((redriven.applied, redriven.waiting, redriven.completed), (1, 2, 1), "{redriven:?}");
    assert_eq!(bench.dead_letters.bodies().len(), 1);
    let bodies = queue.bodies();
    let rest = read(&bodies[0]).expect("a pack");
    let Contents::Records(kept) = rest.contents else { panic!("{rest:?}") };
    assert_eq!((bodies.len(), rest.kind, rest.attempts), (1, Kind::Pack, 2));
    assert_eq!(serde_json::from_str::<Vec<Value>>(kept).expect("records"), records[2..]);
}

#[test]
fn what_a_run_has_sent_itself_it_leaves_alone() {
    let bench = Bench::new();
    let letters = [letter("a", "park"), letter("b", "park")];
    letters.iter().for_each(|body| bench.dead_letters.add(body.clone(), Duration::ZERO));
    let redriven = bench.drain(&bench.dead_letters, &Order::default());
    assert_eq!((redriven.messages, redriven.completed, redriven.stopped), (2, 2, None));
    let again = bench.dead_letters.bodies();
    assert!(again.iter().all(|body| read(body).is_ok_and(|letter| letter.attempts == 2)) && again.len() == 2);
}

#[test]
fn when_the_target_takes_nothing_the_run_ends_and_all_is_where_it_was() {
    let bench = Bench::new();
    let packs: Vec<String> = (0..20).map(|n| pack(&[record(&format!("{n}"), "1", "retry")])).collect();
    let queue = Memory::of(packs.clone());
    let redriven = bench.drain(&queue, &Order { limit: Some(5), ..Order::default() });
    assert!(redriven.stopped.as_ref().is_some_and(|why| why.contains("throttled")), "{redriven:?}");
    assert_eq!(queue.bodies(), packs);
}

#[test]
fn what_cannot_be_stored_anew_is_not_deleted() {
    let mut bench = Bench::new();
    bench.dead_letters.broken = true;
    let records = [record("a", "1", "ok"), record("b", "2", "park")];
    let queue = Memory::of([pack(&records), letter("c", "ok")]);
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((queue.bodies(), redriven.completed), (vec![pack(&records)], 1));
    assert!(redriven.stopped.is_some_and(|why| why.contains("no queue")));
}

#[test]
fn what_cannot_be_deleted_is_told() {
    let bench = Bench::new();
    let queue = Memory { deletes_fail: true, ..Memory::of([letter("a", "ok")]) };
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((redriven.applied, redriven.completed, redriven.kept, queue.bodies().len()), (1, 0, 1, 1));
}

#[test]
fn foreign_damaged_and_newer_messages_are_kept_and_reported() {
    let bench = Bench::new();
    let newer = letter("a", "ok").replace("\"tidelock\":1", "\"tidelock\":7");
    let damaged = letter("a", "ok").replace("attempts", "tries");
    let other = letter("a", "ok").replace("\"kind\":\"dynamodb\"", "\"kind\":\"kafka\"");
    let all = ["hello".to_owned(), newer, damaged, other, letter("b", "ok")];
    let queue = Memory::of(all.clone());
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((redriven.kept, redriven.applied, queue.bodies()), (4, 1, all[..4].to_vec()));
    let because: Vec<&str> = redriven.kept_because.iter().map(|(_, why)| why.as_str()).collect();
    for (why, words) in because.iter().zip(["neither", "upgrade", "damaged", "kafka"]) {
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_message_whose_records_are_none_harms_no_other() {
    let bench = Bench::new();
    let odd = pack(&[json!("no record"), json!(7)]);
    let queue = Memory::of([letter("a", "ok"), odd, letter("b", "ok")]);
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((redriven.applied, redriven.parked.get("malformed_record")), (2, Some(&2)), "{redriven:?}");
    assert_eq!((queue.bodies().len(), bench.dead_letters.bodies().len()), (0, 2));
}

#[test]
fn what_lies_in_the_bucket_is_fetched_and_what_is_missing_there_is_kept() {
    let bench = Bench::new();
    bench.bucket.0.borrow_mut().insert("letters/1".to_owned(), letter("a", "ok").into_bytes());
    let pointer = |bucket: &str, key: &str| {
        let mut body: Value = serde_json::from_str(&letter("a", "ok")).expect("JSON");
        body.as_object_mut().expect("an object").remove("record");
        body["s3"] = json!({"bucket": bucket, "key": key});
        body.to_string()
    };
    let queue =
        Memory::of([pointer("shelf", "letters/1"), pointer("shelf", "letters/2"), pointer("other", "letters/1")]);
    let redriven = bench.drain(&queue, &Order::default());
    assert_eq!((redriven.applied, redriven.kept, queue.bodies().len()), (1, 2, 2), "{redriven:?}");
    assert!(
        redriven.kept_because[0].1.contains("missing")
            && redriven.kept_because[1].1.contains("TIDELOCK_LETTERS_BUCKET")
    );
    assert_eq!(bench.bucket.0.borrow().len(), 1, "objects are left to the bucket's rules");
}

fn lost(payload: Option<Value>) -> String {
    let mut record = json!({
        "requestContext": {"condition": "RetryAttemptsExhausted"}, "version": "1.0",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-1", "startSequenceNumber": "1", "endSequenceNumber": "2", "batchSize": 2,
            "approximateArrivalOfFirstRecord": "2025-12-31T00:00:00Z",
            "streamArn": "arn:aws:dynamodb:us-east-1:1:table/t/stream/2020-04-29T13:00:00.000",
        },
    });
    if let Some(payload) = payload {
        record["payload"] = json!(payload.to_string());
    }
    record.to_string()
}

#[test]
fn batches_that_lambda_gave_up_are_redriven_whole_or_stay() {
    let bench = Bench::new();
    let event = |records: &[Value]| lost(Some(json!({"Records": records}))).into_bytes();
    let objects = [
        ("aws/1", event(&[record("a", "1", "ok"), record("b", "2", "park")])),
        ("aws/2", event(&[record("c", "1", "ok"), record("d", "2", "retry"), record("e", "3", "park")])),
        ("aws/3", b"what is this".to_vec()),
        ("aws/4", lost(Some(json!({"no": "event"}))).into_bytes()),
        ("other/5", event(&[record("x", "1", "ok")])),
    ];
    bench.bucket.0.borrow_mut().extend(objects.map(|(name, body)| (name.to_owned(), body)));
    let redriven = bench.failures(&Order::default());
    assert_eq!((redriven.applied, redriven.waiting, redriven.completed, redriven.kept), (2, 1, 1, 2), "{redriven:?}");
    let left: Vec<String> = bench.bucket.0.borrow().keys().cloned().collect();
    assert_eq!(left, ["aws/2", "aws/3", "aws/4", "other/5"]);
    assert_eq!(bench.dead_letters.bodies().len(), 1, "what stays whole leaves no letters");
}

#[test]
fn records_that_are_only_named_are_fetched_and_what_is_forgotten_becomes_a_letter() {
    let records = json!([record("a", "1", "ok"), record("b", "2", "ok")]).to_string();
    let unreadable = Failure::new(Cause::SourceUnreadable, "busy");
    let told = |streams| {
        let bench = Bench { streams, ..Bench::new() };
        let queue = Memory::of([lost(None)]);
        let redriven = bench.drain(&queue, &Order::default());
        (redriven, queue.bodies().len(), bench.dead_letters.bodies())
    };
    let fetched = |records: &str, forgotten: Option<&str>| {
        Some(Stream(Ok(Fetched { records: records.to_owned(), forgotten: forgotten.map(str::to_owned) })))
    };
    let (redriven, left, letters) = told(fetched(&records, None));
    assert_eq!((redriven.applied, left, letters.len()), (2, 0, 0), "{redriven:?}");
    for (known, applied) in [("[]", 0), (records.as_str(), 2)] {
        let (redriven, left, letters) = told(fetched(known, Some("trimmed")));
        assert_eq!(
            (redriven.parked.get("records_lost"), redriven.applied, left),
            (Some(&1), applied, 0),
            "{redriven:?}"
        );
        let letter = read(&letters[0]).expect("a letter");
        assert!(
            letter.detail.contains("2 records of shard shardId-1, 1 to 2") && letter.detail.contains("trimmed"),
            "{letter:?}"
        );
        let (bench, queue) = (Bench::new(), Memory::of(letters.clone()));
        let redriven = bench.drain(&queue, &Order::default());
        assert_eq!((redriven.kept, queue.bodies(), bench.dead_letters.bodies().len()), (1, letters, 0), "it stays");
    }
    for streams in [Some(Stream(Err(unreadable))), None] {
        let (redriven, left, letters) = told(streams);
        assert_eq!((redriven.kept, left, letters.len()), (1, 1, 0), "{redriven:?}");
    }
}

#[test]
fn what_a_mapping_brings_and_cannot_be_done_comes_again_in_a_minute() {
    let bench = Bench::new();
    let message = |id: &str, body: String| Message {
        id: id.to_owned(),
        receipt: format!("{id}0"),
        body,
        sent_ms: NOW_MS,
        taken: 1,
    };
    let queue = Memory::default();
    let messages = vec![
        message("1", letter("a", "ok")),
        message("2", letter("b", "retry")),
        message("3", "strange".to_owned()),
        Message { receipt: String::new(), ..message("4", letter("c", "retry")) },
    ];
    let (done, redriven) = bench.with(async |desk, outlets, call| {
        redrive_messages(desk, messages, Some(&queue), None, outlets, &Order::default(), call).await
    });
    assert_eq!((done, redriven.completed), (vec![true, false, false, false], 1));
    let hidden = queue.hidden.take();
    let hidden: Vec<(&str, u64)> = hidden.iter().map(|(receipt, time, _)| (receipt.as_str(), time.as_secs())).collect();
    assert_eq!(hidden, [("20", 60), ("30", 60)]);
}

#[test]
fn time_is_kept_for_what_follows_the_writes() {
    let bench = Bench::new();
    let queue = Memory::of([letter("a", "ok"), letter("b", "retry")]);
    bench.drain_within(&queue, Duration::from_secs(12));
    let given_back = queue.hidden.take().pop().expect("given back").2;
    let target = bench.target.deadlines.take();
    let reserve = given_back.duration_since(*target.first().expect("a call"));
    assert!((Duration::from_secs(1)..Duration::from_secs(9)).contains(&reserve), "{reserve:?}");
}

#[test]
fn what_does_not_answer_does_not_use_up_the_time_of_the_others() {
    let run = |failing: usize| {
        let bench = Bench::new();
        let letters = (0..failing).map(|number| letter(&number.to_string(), "retry"));
        let queue = Memory::of(letters.chain([letter("a", "ok")]));
        let began = Instant::now();
        let redriven = bench.drain(&queue, &Order::default());
        let seconds = |deadline: &Instant| deadline.duration_since(began).as_secs();
        (redriven, bench.target.deadlines.take().iter().map(seconds).collect::<Vec<_>>())
    };
    let (redriven, times) = run(450);
    assert_eq!((redriven.applied, redriven.waiting, redriven.stopped), (1, 450, None));
    assert!(matches!(*times, [14..20, 4..10, 4..10]), "of ten minutes: {times:?}");
    // It is the target: going on makes no sense.
    let (redriven, _) = run(700);
    assert_eq!((redriven.applied, redriven.waiting), (0, 600));
    assert!(redriven.stopped.is_some_and(|why| why.starts_with("throttled")));
}

#[test]
fn what_a_mapping_brings_and_is_old_is_sent_anew() {
    let message = |id: &str, sent_ms: i64, action: &str| Message {
        id: id.to_owned(),
        receipt: format!("{id}0"),
        body: letter(id, action),
        sent_ms,
        taken: 1,
    };
    let (old, young) = (NOW_MS - 11 * DAY_MS, NOW_MS - 9 * DAY_MS);
    let run = |queue: &Memory| {
        let messages = vec![
            message("1", old, "retry"),
            message("2", young, "retry"),
            message("3", old, "ok"),
            message("4", 0, "retry"),
        ];
        let renewal = Some(Renewal::at(NOW_MS, 14 * DAY_MS));
        let order = Order::default();
        let told = Bench::new().with(async |desk, outlets, call| {
            redrive_messages(desk, messages, Some(queue), renewal, outlets, &order, call).await
        });
        (told.0, told.1.kept)
    };
    let queue = Memory::default();
    assert_eq!(run(&queue), (vec![true, false, true, false], 0));
    assert_eq!(queue.bodies(), [letter("1", "retry")]);
    let queue = Memory { broken: true, ..Memory::default() };
    assert_eq!(run(&queue), (vec![false, false, true, false], 1), "what is not stored is not done");
}

#[test]
fn what_is_older_than_fences_is_redriven_by_truth_alone() {
    let old = letter_of(&record("a", "1", "ok"), "2025-12-17T00:00:00.000Z");
    let young = letter_of(&record("b", "1", "ok"), "2025-12-19T00:00:00.000Z");
    let run = |source, force| {
        let bench = Bench { source, ..Bench::new() };
        let queue = Memory::of([old.clone(), young.clone()]);
        let redriven = bench.drain(&queue, &Order { force, ..Order::default() });
        (redriven, queue.bodies(), bench.target.writes.take())
    };
    let (redriven, left, writes) = run(None, false);
    assert_eq!((redriven.kept, left, writes.len()), (1, vec![old.clone()], 1), "{redriven:?}");
    assert!(redriven.kept_because[0].1.contains("TIDELOCK_SOURCE"));
    let (_, left, writes) = run(Some(Table), false);
    assert_eq!((left.len(), writes), (0, vec![r#"t/b {"do":"ok""#.to_owned(), r#"t/a {"truth":1"#.to_owned()]));
    let (_, left, writes) = run(None, true);
    assert_eq!((left.len(), writes.len()), (0, 2));
}

#[test]
fn truth_reads_the_source_whatever_the_record_says() {
    let order = Order { mode: Mode::Truth, ..Order::default() };
    let bench = Bench { source: Some(Table), ..Bench::new() };
    let queue = Memory::of([letter("a", "park")]);
    let redriven = bench.drain(&queue, &order);
    assert_eq!((redriven.applied, bench.target.writes.take()), (1, vec![r#"t/a {"truth":1"#.to_owned()]));
    let bench = Bench::new();
    let queue = Memory::of([letter("a", "ok")]);
    assert_eq!((bench.drain(&queue, &order).kept, queue.bodies().len()), (1, 1));
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let bench = Bench {
        streams: Some(Stream(Ok(Fetched { records: "[]".to_owned(), forgotten: Some("gone".to_owned()) }))),
        ..Bench::new()
    };
    let all = [letter("a", "ok"), letter_of(&record("b", "1", "poison"), "2025-12-31T00:00:00.000Z"), lost(None)];
    let queue = Memory::of(all.clone());
    let redriven = bench.drain(&queue, &Order { dry_run: true, ..Order::default() });
    assert_eq!(
        (redriven.applied, redriven.parked.get("unknown_type"), redriven.kept),
        (1, Some(&1), 1),
        "{redriven:?}"
    );
    assert_eq!((queue.bodies(), redriven.completed), (all.to_vec(), 0));
    assert!(bench.target.writes.take().is_empty() && bench.dead_letters.bodies().is_empty());
}

#[test]
fn only_what_is_meant_is_touched() {
    let bench = Bench::new();
    let all: Vec<String> =
        (0..9).map(|n| letter(&format!("k{n}"), "ok").replace("\"x\"", &format!("\"{n}\""))).collect();
    let queue = Memory::of(all.clone());
    let filter = Filter { id: Some("4".to_owned()), ..Filter::default() };
    let redriven = bench.drain(&queue, &Order { filter, ..Order::default() });
    assert_eq!((redriven.messages, redriven.applied, queue.bodies().len()), (1, 1, 8));
    assert!(!queue.bodies().contains(&all[4]));
    let redriven = bench.drain(&queue, &Order { limit: Some(2), ..Order::default() });
    assert_eq!((redriven.messages, queue.bodies().len()), (2, 6));
    let none = Filter { source: Some("other".to_owned()), ..Filter::default() };
    queue.add("foreign".to_owned(), Duration::ZERO);
    let redriven = bench.drain(&queue, &Order { filter: none, ..Order::default() });
    assert_eq!((redriven.messages, redriven.kept), (0, 0), "nobody has asked for what cannot be read");
}

#[test]
fn streams_are_not_needed_where_nothing_asks_for_them() {
    let bench = Bench::new();
    let pipeline = Pipeline::default();
    let queue = Memory::of([letter("a", "ok")]);
    bench.with(async |desk, _, call| {
        let desk = Desk { pipeline: &pipeline, ..*desk };
        let outlets = Outlets { dead_letters: None, bucket: None::<&Shelf>, streams: None::<&NoStreams> };
        assert_eq!(drain_queue(&desk, &queue, outlets, &Order::default(), call).await.applied, 1);
    });
}
