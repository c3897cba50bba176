//! A whole mapping on a change stream: what it invokes, what it does with failures, and when it gives up.

use std::fs;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::doc;
use serde_json::{Value, json};
use tidelock_local::function::{FromFn, Invocation, from_fn};
use tidelock_local::mapping::{Decision, LocalMapping, MappingSettings, OnFailure, Pace, StartingPosition, Step};
use tidelock_local::runtime_api::{FunctionSettings, LogSink, ProcessFunction};
use tidelock_local::source::documentdb::DocumentDbSource;

use super::{Watched, id};
use crate::bootstrap::TestFolder;

/// A run that does not end is a failed test, not an endless one.
async fn bounded<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("the run does not end")
}

fn settings(watched: &Watched, batch_size: u32) -> MappingSettings {
    let starting_position = StartingPosition::AtTimestamp(watched.created);
    MappingSettings { batch_size, batching_window: Some(0), starting_position, ..MappingSettings::default() }
}

/// The keys of an invocation's event, which has Lambda's envelope.
fn keys(payload: &[u8]) -> Vec<i64> {
    let event: Value = serde_json::from_slice(payload).unwrap();
    assert_eq!(event["eventSource"], "aws:docdb");
    assert_eq!(event["eventSourceArn"], "arn:aws:rds:us-east-1:000000000000:cluster:local");
    assert_eq!(event.as_object().unwrap().len(), 3);
    let key = |record: &Value| record["event"]["documentKey"]["_id"].as_i64().unwrap();
    event["events"].as_array().unwrap().iter().map(key).collect()
}

type Calls = Arc<Mutex<Vec<Vec<i64>>>>;

/// A function that notes each event's keys and answers as told, by the number of the call.
fn noting(
    answer: impl Fn(usize) -> Invocation + Send + Sync + 'static,
) -> (FromFn<impl Fn(Bytes) -> std::future::Ready<Invocation> + Send + Sync>, Calls) {
    let calls = Calls::default();
    let noted = calls.clone();
    let function = from_fn(move |payload: Bytes| {
        let mut noted = noted.lock().unwrap();
        noted.push(keys(&payload));
        std::future::ready(answer(noted.len()))
    });
    (function, calls)
}

fn ok() -> Invocation {
    Invocation::Response(Bytes::from_static(b"{}"))
}

#[tokio::test]
async fn a_function_that_fails_for_a_while_gets_everything_in_order() {
    let Some(watched) = Watched::create("chain").await else { return };
    let folder = TestFolder::new("documentdb");
    let marker = folder.path().join("up");
    let told = marker.to_str().unwrap();
    for number in 1..=5 {
        watched.insert(doc! {"_id": number, "do": "fail_until", "marker": told}).await;
    }
    let mut function = FunctionSettings::new(folder.bootstrap());
    function.logs = LogSink::Null;
    let function = ProcessFunction::new(function).unwrap();
    let source = DocumentDbSource::connect(watched.settings()).await.unwrap();
    let noted = marker.clone();
    let mut failures = 0;
    let mut mapping =
        LocalMapping::new(settings(&watched, 2), source, function).unwrap().pace(Pace::fast()).observer(move |step| {
            if let Step::Settled { decision: Decision::Retry { .. }, .. } = step {
                failures += 1;
                if failures == 4 {
                    fs::write(&noted, "").unwrap();
                }
            }
        });
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!((summary.batches, summary.invocations, summary.retried, summary.records), (3, 7, 4, 5));
    let delivered: Vec<Vec<i64>> = summary
        .answers
        .iter()
        .filter_map(|answer| match &answer.invocation {
            Invocation::Response(echo) => Some(keys(echo)),
            _ => None,
        })
        .collect();
    assert_eq!(delivered, [vec![1, 2], vec![3, 4], vec![5]]);
    let attempts: Vec<u32> = summary.answers.iter().map(|answer| answer.sent.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 1, 1]);
    // The next run of the same mapping goes on behind its checkpoint.
    watched.insert(doc! {"_id": 6}).await;
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!((summary.invocations, summary.records), (1, 1));
    watched.remove().await;
}

#[tokio::test]
async fn a_partial_answer_means_nothing() {
    let Some(watched) = Watched::create("partial").await else { return };
    for number in 1..=4 {
        watched.insert(id(number)).await;
    }
    let (function, calls) = noting(|_| {
        let body = json!({"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": ""}]}).to_string();
        Invocation::Response(body.into())
    });
    let source = DocumentDbSource::connect(watched.settings()).await.unwrap();
    let mut mapping = LocalMapping::new(settings(&watched, 3), source, function).unwrap().pace(Pace::fast());
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [vec![1, 2, 3], vec![4]]);
    assert_eq!((summary.records, summary.retried), (4, 0));
    watched.remove().await;
}

#[tokio::test]
async fn an_event_over_six_megabytes_is_dropped_and_counted() {
    let Some(watched) = Watched::create("large").await else { return };
    watched.insert(id(1)).await;
    watched.insert(doc! {"_id": 2, "text": "x".repeat(7 * 1024 * 1024)}).await;
    watched.insert(id(3)).await;
    let (function, calls) = noting(|_| ok());
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let noted = dropped.clone();
    let source = DocumentDbSource::connect(watched.settings()).await.unwrap();
    let mut mapping =
        LocalMapping::new(settings(&watched, 10), source, function).unwrap().pace(Pace::fast()).observer(move |step| {
            if let Step::Dropped(event) = step {
                noted.lock().unwrap().push(event.bytes);
            }
        });
    let summary = bounded(mapping.run_until_idle()).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [[1], [3]]);
    assert_eq!((summary.oversized, summary.records), (1, 2));
    assert_eq!((summary.on_failure_records, summary.discarded), (0, 0), "nothing is left of it");
    let dropped = dropped.lock().unwrap().clone();
    assert!(dropped.len() == 1 && dropped[0] > 7 * 1024 * 1024, "{dropped:?}");
    watched.remove().await;
}

#[tokio::test]
async fn the_mapping_disables_itself_when_its_events_expire() {
    let Some(watched) = Watched::create("expire").await else { return };
    watched.insert(id(1)).await;
    let (function, calls) = noting(|_| Invocation::Timeout);
    let mut of_stream = watched.settings();
    of_stream.retention = Duration::from_secs(2);
    let source = DocumentDbSource::connect(of_stream).await.unwrap();
    let told = Arc::new(Mutex::new(0));
    let noted = told.clone();
    let mut mapping =
        LocalMapping::new(settings(&watched, 10), source, function).unwrap().pace(Pace::fast()).observer(move |step| {
            if let Step::Disabled(_) = step {
                *noted.lock().unwrap() += 1;
            }
        });
    // A run without an end of its own: disabling is what ends it. Events keep coming, so that one of them is read before
    // it is too old, however slow this machine is.
    let things = watched.collection.clone();
    let writer = tokio::spawn(async move {
        for number in 2.. {
            things.insert_one(id(number)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let summary = bounded(mapping.run(pending())).await.unwrap();
    writer.abort();
    let disabled = summary.disabled.unwrap();
    let invoked = calls.lock().unwrap().len();
    assert_eq!((disabled.retention, disabled.invocations as usize), (Duration::from_secs(2), invoked));
    assert!(invoked > 1 && summary.records == 0 && summary.checkpoints.is_empty());
    assert!(!summary.stopped);
    let again = bounded(mapping.run(pending())).await.unwrap();
    assert!(again.disabled.is_some() && again.invocations == 0);
    assert_eq!((calls.lock().unwrap().len(), *told.lock().unwrap()), (invoked, 2));
    watched.remove().await;
}

#[tokio::test]
async fn a_stream_has_no_on_failure_destination_and_no_other_setting_of_streams() {
    // None of this asks a server.
    let source = || DocumentDbSource::connect(super::ChangeStreamSettings::new("mongodb://127.0.0.1:1"));
    let (function, _) = noting(|_| ok());
    let mut mapping = LocalMapping::new(MappingSettings::default(), source().await.unwrap(), function)
        .unwrap()
        .on_failure(OnFailure::JsonLines("/nowhere".into()));
    let message = bounded(mapping.run_until_idle()).await.unwrap_err().to_string();
    assert_eq!(message, "on-failure destination: not a setting of DocumentDB mappings: no batch is ever given up");
    let (function, _) = noting(|_| ok());
    let settings = MappingSettings { maximum_retry_attempts: 3, ..MappingSettings::default() };
    assert!(LocalMapping::new(settings, source().await.unwrap(), function).is_err());
}

#[tokio::test]
async fn a_change_is_told_by_the_server_and_not_found_by_polling() {
    let Some(watched) = Watched::create("told").await else { return };
    let (function, calls) = noting(|_| ok());
    let source = DocumentDbSource::connect(watched.settings()).await.unwrap();
    // Nobody would wait for a second poll.
    let pace = Pace { poll_interval: Duration::from_secs(3_600), ..Pace::fast() };
    let mut mapping = LocalMapping::new(settings(&watched, 10), source, function).unwrap().pace(pace);
    let seen = async |count: usize| {
        while calls.lock().unwrap().concat().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let changes = async {
        for number in 1..=20 {
            watched.insert(id(number)).await;
            seen(usize::try_from(number).unwrap()).await;
        }
    };
    let summary = bounded(mapping.run(changes)).await.unwrap();
    assert_eq!(summary.records, 20);
    assert_eq!(calls.lock().unwrap().concat(), (1..=20).collect::<Vec<i64>>());
    watched.remove().await;
}
