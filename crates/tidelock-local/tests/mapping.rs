//! A whole mapping: sources, functions, on-failure records, observers.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidelock_local::clock::Moment;
use tidelock_local::function::{FromFn, Function, Invocation, MAX_PAYLOAD, from_fn};
use tidelock_local::mapping::{
    Decision, LocalMapping, MappingError, MappingSettings, OnFailure, Pace, SequenceNumber, StartingPosition, Step,
};
use tidelock_local::runtime_api::{FunctionSettings, LogSink, ProcessFunction};
use tidelock_local::source::file::{FILE_SHARD, FileSource};
use tidelock_local::source::{
    FailureHandling, Page, ReadFrom, RecordSource, Shard, SourceError, SourceInfo, SourceRecord,
};

use crate::bootstrap::TestFolder;

fn stream_record(number: u64, key: u64) -> String {
    format!(
        r#"{{"eventSourceARN":"arn:aws:dynamodb:x","dynamodb":{{"SequenceNumber":"{number}","Keys":{{"id":{{"N":"{key}"}}}}}}}}"#
    )
}

fn file(numbers: impl IntoIterator<Item = u64>) -> FileSource {
    let records: Vec<String> = numbers.into_iter().map(|number| stream_record(number, number % 3)).collect();
    FileSource::parse(&format!("[{}]", records.join(",")), "test").unwrap()
}

fn event_numbers(payload: &[u8]) -> Vec<u64> {
    let event: Value = serde_json::from_slice(payload).unwrap();
    let number = |record: &Value| record["dynamodb"]["SequenceNumber"].as_str().unwrap().parse().unwrap();
    event["Records"].as_array().unwrap().iter().map(number).collect()
}

type Events = Arc<Mutex<Vec<Vec<u64>>>>;

/// A function that notes each event's records and answers as told, by the number of the call.
fn scripted(answer: impl Fn(usize, &[u64]) -> Invocation + Send + Sync + 'static) -> (impl Function, Events) {
    let events = Events::default();
    let noted = events.clone();
    let function = from_fn(move |payload| {
        let numbers = event_numbers(&payload);
        let call = {
            let mut noted = noted.lock().unwrap();
            noted.push(numbers.clone());
            noted.len()
        };
        let outcome = answer(call, &numbers);
        async move { outcome }
    });
    (function, events)
}

fn ok() -> Invocation {
    Invocation::Response(Bytes::from_static(b"{\"batchItemFailures\":[]}"))
}

fn report(number: u64) -> Invocation {
    let body = json!({"batchItemFailures": [{"itemIdentifier": number.to_string()}]});
    Invocation::Response(Bytes::from(body.to_string()))
}

fn fail() -> Invocation {
    Invocation::FunctionError { error_type: "E".into(), message: "m".into(), raw: Bytes::new() }
}

/// A run that does not end is a failed test, not an endless one.
async fn bounded<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.expect("the run does not end")
}

fn settings(batch_size: u32) -> MappingSettings {
    MappingSettings { batch_size, report_batch_item_failures: true, ..MappingSettings::default() }
}

#[tokio::test]
async fn a_file_is_delivered_in_batches_and_summed_up() {
    let (function, events) = scripted(|call, numbers| if call == 2 { report(numbers[1]) } else { ok() });
    let mut mapping = LocalMapping::new(settings(4), file(1..=10), function).unwrap().pace(Pace::fast());
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(*events.lock().unwrap(), [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![6, 7, 8], vec![9, 10]]);
    assert_eq!((summary.batches, summary.invocations, summary.records, summary.retried), (3, 4, 10, 1));
    assert_eq!((summary.bisected, summary.on_failure_records, summary.discarded), (0, 0, 0));
    assert!(!summary.stopped);
    assert_eq!(summary.checkpoints[FILE_SHARD], SequenceNumber::new("10"));
    assert_eq!(summary.answers.len(), 4);
    assert_eq!(summary.answers[1].sent.records, 4);
    assert!(matches!(summary.answers[1].decision, Decision::Retry { done: 1, again: 3, .. }));
    let again = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(again.invocations, 0, "what is finished is not delivered again");
}

#[tokio::test]
async fn records_reach_the_function_byte_for_byte() {
    let records = [
        r#"{"dynamodb":{"SequenceNumber":"1","NewImage":{"n":{"N":"12345678901234567890123456789012345678"}}}}"#,
        "{ \"x\" : 1.0e400,\n \"x\":\"\\ud800\\u00e9\" }",
    ];
    let received = Arc::new(Mutex::new(Bytes::new()));
    let noted = received.clone();
    let function = from_fn(move |payload| {
        *noted.lock().unwrap() = payload;
        async { ok() }
    });
    let source = FileSource::parse(&records.join("\n"), "test").unwrap();
    LocalMapping::new(settings(10), source, function).unwrap().run_until_idle().await.unwrap();
    assert_eq!(*received.lock().unwrap(), format!("{{\"Records\":[{}]}}", records.join(",")));
}

#[tokio::test]
async fn without_reporting_the_answer_is_ignored() {
    let (function, events) = scripted(|_, numbers| report(numbers[0]));
    let settings = MappingSettings { report_batch_item_failures: false, ..settings(4) };
    let mut mapping = LocalMapping::new(settings, file(1..=4), function).unwrap();
    assert_eq!(bounded(mapping.run_until_idle()).await.unwrap().records, 4);
    assert_eq!(events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn discarded_batches_leave_an_on_failure_record() {
    let folder = TestFolder::new("on-failure");
    let (function, events) = scripted(|_, numbers| if numbers.contains(&3) { fail() } else { ok() });
    let steps = Arc::new(Mutex::new(Vec::new()));
    let noted = steps.clone();
    let settings = MappingSettings { maximum_retry_attempts: 1, bisect_on_error: true, ..settings(4) };
    let mut mapping = LocalMapping::new(settings, file(1..=6), function)
        .unwrap()
        .pace(Pace::fast())
        .id("esm-1")
        .on_failure(OnFailure::Folder(folder.path().into()))
        .observer(move |step| {
            let line = match step {
                Step::ShardOpened { .. } => "opened".to_owned(),
                Step::ShardFinished { .. } => "finished".into(),
                Step::Invoked(sent) => format!("invoke {}..{} #{}", sent.first, sent.last, sent.attempt),
                Step::Settled { decision, .. } => match decision {
                    Decision::Complete => "complete".into(),
                    Decision::Bisect { halves, .. } => format!("bisect {halves:?}"),
                    Decision::Retry { again, .. } => format!("retry {again}"),
                    Decision::Exhausted { discarded, .. } => format!("exhausted {discarded}"),
                },
                Step::Discarded { record, written } => format!("discard {} {}", record.batch_size, written.is_some()),
                Step::SourceTrouble { message } => format!("trouble {message}"),
                other @ (Step::Dropped(_) | Step::Disabled(_)) => panic!("{other:?}"),
            };
            noted.lock().unwrap().push(line);
        });
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(
        *events.lock().unwrap(),
        [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![3], vec![3], vec![4], vec![5, 6]]
    );
    assert_eq!((summary.on_failure_records, summary.discarded, summary.records), (1, 1, 5));
    assert_eq!((summary.bisected, summary.retried, summary.batches), (2, 3, 2));
    assert_eq!(summary.checkpoints[FILE_SHARD], SequenceNumber::new("6"));
    let steps = steps.lock().unwrap().clone();
    assert_eq!(
        steps,
        [
            "opened",
            "invoke 1..4 #1",
            "bisect (2, 2)",
            "invoke 1..2 #2",
            "complete",
            "invoke 3..4 #2",
            "bisect (1, 1)",
            "invoke 3..3 #3",
            "retry 1",
            "invoke 3..3 #4",
            "exhausted 1",
            "discard 1 true",
            "invoke 4..4 #3",
            "complete",
            "invoke 5..6 #1",
            "complete",
            "finished",
        ]
    );

    let mut files = Vec::new();
    let mut folders = vec![folder.path().join("aws/lambda/esm-1").join(FILE_SHARD)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert_eq!(files.len(), 1);
    let record: Value = serde_json::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
    assert_eq!(record["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 4);
    assert_eq!(record["requestContext"]["requestId"], summary.answers[4].sent.request_id);
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    assert_eq!(record["DDBStreamBatchInfo"]["batchSize"], 1);
    assert_eq!(record["DDBStreamBatchInfo"]["streamArn"], "arn:aws:dynamodb:x");
    assert_eq!(event_numbers(record["payload"].as_str().unwrap().as_bytes()), [3]);
}

#[tokio::test]
async fn records_are_not_skipped_when_their_on_failure_record_cannot_be_written() {
    let (function, _) = scripted(|_, _| fail());
    let settings = MappingSettings { maximum_retry_attempts: 0, ..settings(4) };
    let mut mapping = LocalMapping::new(settings, file(1..=4), function)
        .unwrap()
        .on_failure(OnFailure::JsonLines("/nowhere/failures.jsonl".into()));
    for _ in 0..2 {
        let error = bounded(mapping.run_until_idle()).await.unwrap_err();
        assert!(matches!(error, MappingError::OnFailure(_)));
        assert!(error.to_string().contains("/nowhere/failures.jsonl"), "{error}");
    }
}

#[tokio::test]
async fn events_are_cut_to_six_megabytes() {
    let records: Vec<String> = (0..5)
        .map(|number| {
            format!(r#"{{"dynamodb":{{"SequenceNumber":"{number}"}},"x":"{}"}}"#, "y".repeat(2 * 1024 * 1024 - 100))
        })
        .collect();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let noted = sizes.clone();
    let function = from_fn(move |payload| {
        noted.lock().unwrap().push((payload.len() <= MAX_PAYLOAD, event_numbers(&payload).len()));
        async { ok() }
    });
    let source = FileSource::parse(&records.join("\n"), "test").unwrap();
    LocalMapping::new(settings(100), source, function).unwrap().run_until_idle().await.unwrap();
    assert_eq!(*sizes.lock().unwrap(), [(true, 3), (true, 2)]);
}

#[tokio::test]
async fn lanes_run_at_the_same_time_and_keep_each_item_in_order() {
    let running = Arc::new(Mutex::new((0, 0)));
    let seen: Arc<Mutex<BTreeMap<u64, Vec<u64>>>> = Arc::default();
    let (noted, count) = (seen.clone(), running.clone());
    let function = from_fn(move |payload| {
        for number in event_numbers(&payload) {
            noted.lock().unwrap().entry(number % 3).or_default().push(number);
        }
        let count = count.clone();
        async move {
            {
                let mut count = count.lock().unwrap();
                count.0 += 1;
                count.1 = count.1.max(count.0);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            count.lock().unwrap().0 -= 1;
            ok()
        }
    });
    let settings = MappingSettings { parallelization_factor: 10, ..settings(5) };
    let summary = LocalMapping::new(settings, file(1..=60), function).unwrap().run_until_idle().await.unwrap();
    assert_eq!(summary.records, 60);
    let most = running.lock().unwrap().1;
    assert!((2..=3).contains(&most), "three items, {most} at a time");
    for numbers in seen.lock().unwrap().values() {
        assert!(numbers.is_sorted() && numbers.len() == 20, "{numbers:?}");
    }
}

#[tokio::test]
async fn stopping_finishes_the_running_batch_and_begins_no_other() {
    let stop = Arc::new(tokio::sync::Notify::new());
    let signal = stop.clone();
    let function = from_fn(move |_| {
        signal.notify_one();
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ok()
        }
    });
    let mut mapping = LocalMapping::new(settings(2), file(1..=6), function).unwrap();
    let summary = mapping.run(stop.notified()).await.unwrap();
    assert!(summary.stopped);
    assert_eq!((summary.invocations, summary.records), (1, 2));
    assert_eq!(bounded(mapping.run_until_idle()).await.unwrap().records, 4, "a later run goes on from there");
}

#[tokio::test]
async fn a_batch_whose_run_was_dropped_comes_again() {
    let hang = Arc::new(Mutex::new(true));
    let told = hang.clone();
    let function = from_fn(move |_| {
        let hang = *told.lock().unwrap();
        async move {
            if hang {
                pending::<()>().await;
            }
            ok()
        }
    });
    let mut mapping = LocalMapping::new(settings(2), file(1..=4), function).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), mapping.run_until_idle()).await.is_err());
    *hang.lock().unwrap() = false;
    assert_eq!(bounded(mapping.run_until_idle()).await.unwrap().records, 4);
}

#[tokio::test]
async fn a_panicking_function_is_the_callers_panic() {
    fn never(_: Bytes) -> std::future::Ready<Invocation> {
        panic!("assertion inside the function")
    }
    let mut mapping = LocalMapping::new(settings(2), file(1..=4), from_fn(never)).unwrap();
    let outcome = tokio::spawn(async move { mapping.run_until_idle().await }).await;
    let panic = outcome.unwrap_err().into_panic();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "assertion inside the function");
}

#[tokio::test]
async fn change_streams_retry_whole_until_it_works() {
    let text =
        r#"{"eventSourceArn":"arn:docdb","events":[{"event":{"a":1}},{"event":{"a":2}}],"eventSource":"aws:docdb"}"#;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let function = from_fn(move |payload| {
        let mut calls = noted.lock().unwrap();
        calls.push(payload);
        let outcome = if calls.len() < 4 { fail() } else { report(1) };
        async { outcome }
    });
    let source = || FileSource::parse(text, "test").unwrap();
    let refused = LocalMapping::new(settings(10), source(), from_fn(|_| async { ok() })).err().unwrap();
    assert!(refused.to_string().contains("not a setting of DocumentDB mappings"), "{refused}");
    let mut mapping = LocalMapping::new(MappingSettings::default(), source(), function).unwrap().pace(Pace::fast());
    assert_eq!(bounded(mapping.run_until_idle()).await.unwrap().invocations, 4);
    assert!(calls.lock().unwrap().iter().all(|payload| payload == text));
}

/// Shards with pages of record numbers; `None` is an error that passes.
#[derive(Default)]
struct Shards {
    shards: Vec<(Shard, VecDeque<Option<Vec<u64>>>)>,
    broken: Option<SourceError>,
    froms: Arc<Mutex<Vec<(String, ReadFrom)>>>,
}

impl Shards {
    fn with(mut self, id: &str, parent: Option<&str>, closed: bool, pages: &[Option<&[u64]>]) -> Self {
        let shard = Shard { id: id.into(), parent: parent.map(Into::into), closed };
        self.shards.push((shard, pages.iter().map(|page| page.map(<[u64]>::to_vec)).collect()));
        self
    }
}

impl RecordSource for Shards {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            arn: "arn:test".into(),
            event_head: "{\"Records\":[".into(),
            event_tail: "]}".into(),
            batch_info: "DDBStreamBatchInfo",
            failures: FailureHandling::Stream,
        }
    }

    async fn shards(&mut self) -> Result<Vec<Shard>, SourceError> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => Ok(self.shards.iter().map(|(shard, _)| shard.clone()).collect()),
        }
    }

    async fn read(&mut self, shard: &str, from: &ReadFrom, _limit: usize) -> Result<Page, SourceError> {
        self.froms.lock().unwrap().push((shard.into(), from.clone()));
        let (shard, pages) = self.shards.iter_mut().find(|(found, _)| found.id == shard).unwrap();
        let page = match pages.pop_front() {
            None => Vec::new(),
            Some(Some(page)) => page,
            Some(None) => return Err(SourceError { message: "throttled".into(), retryable: true }),
        };
        let record = |number: u64| SourceRecord {
            raw: serde_json::value::RawValue::from_string(stream_record(number, number)).unwrap(),
            sequence: SequenceNumber::new(number.to_string()),
            ordering_key: Box::default(),
            arrival: Moment::now(),
        };
        let end = shard.closed && pages.is_empty();
        Ok(Page { records: page.into_iter().map(record).collect(), end, ..Page::default() })
    }
}

fn echo() -> (FromFn<impl Fn(Bytes) -> std::future::Ready<Invocation> + Send + Sync>, Events) {
    let events = Events::default();
    let noted = events.clone();
    let function = from_fn(move |payload: Bytes| {
        noted.lock().unwrap().push(event_numbers(&payload));
        std::future::ready(ok())
    });
    (function, events)
}

#[tokio::test]
async fn parents_are_finished_before_their_children_begin() {
    let (function, events) = echo();
    let source = Shards::default()
        .with("a-grandchild", Some("b-child"), false, &[Some(&[30])])
        .with("b-child", Some("c-parent"), true, &[Some(&[20]), Some(&[21])])
        .with("c-parent", Some("aged-out"), true, &[Some(&[10]), None, Some(&[11])])
        .with("d-other", None, true, &[]);
    let froms = source.froms.clone();
    let mut mapping = LocalMapping::new(settings(1), source, function).unwrap().pace(Pace::fast());
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(*events.lock().unwrap(), [[10], [11], [20], [21], [30]]);
    assert_eq!(summary.checkpoints["c-parent"], SequenceNumber::new("11"));
    let froms = froms.lock().unwrap();
    let of = |shard: &str| froms.iter().filter(|(id, _)| id == shard).map(|(_, from)| from.clone()).collect::<Vec<_>>();
    let after = |number: &str| ReadFrom::After(SequenceNumber::new(number));
    assert_eq!(of("c-parent"), [ReadFrom::TrimHorizon, after("10"), after("10")], "an error repeats the same read");
    assert_eq!(of("b-child"), [ReadFrom::TrimHorizon, after("20")]);
}

#[tokio::test]
async fn latest_skips_closed_shards_and_reads_new_ones_from_the_start() {
    let (function, events) = echo();
    let source =
        Shards::default().with("old", None, true, &[Some(&[1])]).with("open", Some("old"), true, &[Some(&[2])]);
    let froms = source.froms.clone();
    let mut source = source;
    source.shards[1].0.closed = false;
    let settings = MappingSettings { starting_position: StartingPosition::Latest, ..settings(10) };
    let mut mapping = LocalMapping::new(settings, source, function).unwrap().pace(Pace::fast());
    bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(*events.lock().unwrap(), [[2]]);
    assert_eq!(froms.lock().unwrap()[0], ("open".to_owned(), ReadFrom::Latest));
    assert!(froms.lock().unwrap().iter().all(|(id, _)| id != "old"));
}

#[tokio::test]
async fn a_source_that_never_answered_is_an_error_at_once() {
    for retryable in [true, false] {
        let (function, _) = echo();
        let broken = Some(SourceError { message: "no such stream".into(), retryable });
        let mut mapping = LocalMapping::new(settings(1), Shards { broken, ..Shards::default() }, function).unwrap();
        assert_eq!(bounded(mapping.run_until_idle()).await.unwrap_err().to_string(), "no such stream");
    }
}

#[tokio::test]
async fn a_source_that_stays_broken_ends_the_mapping_in_the_end() {
    let (function, events) = echo();
    let endless = vec![None; 10_000];
    let source = Shards::default().with("s", None, false, &[&[Some(&[1u64][..])][..], &endless].concat());
    let pace = Pace { source_patience: Duration::from_millis(100), ..Pace::fast() };
    let troubles = Arc::new(Mutex::new(0));
    let noted = troubles.clone();
    let mut mapping = LocalMapping::new(settings(1), source, function).unwrap().pace(pace).observer(move |step| {
        if let Step::SourceTrouble { message: "throttled" } = step {
            *noted.lock().unwrap() += 1;
        }
    });
    assert_eq!(mapping.run(pending()).await.unwrap_err().to_string(), "throttled");
    assert_eq!(*events.lock().unwrap(), [[1]]);
    assert!(*troubles.lock().unwrap() > 1);
}

#[tokio::test]
async fn a_real_process_is_driven_end_to_end() {
    let folder = TestFolder::new("mapping");
    let mut settings = FunctionSettings::new(folder.bootstrap());
    settings.logs = LogSink::Null;
    let function = ProcessFunction::new(settings).unwrap();
    // The scripted bootstrap answers with the event itself: an object without `batchItemFailures` is a success.
    let mut mapping = LocalMapping::new(self::settings(2), file(1..=6), function).unwrap();
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!((summary.invocations, summary.records), (3, 6));
    assert_eq!(mapping.function().idle_environments(), 1, "one environment served all");
}
