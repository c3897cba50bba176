//! Items of a bulk answer that fail while their neighbours pass, and answers that do not fit the request.

use super::{Bench, parked};
use crate::support::event::{Stream, apart, event, named};
use crate::support::index::expected;
use crate::support::proxy::{Fault, Seen};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// Items 1 to 6, one record each.
fn six() -> Bytes {
    let stream = Stream::of("mytable");
    let records = (1..=6).map(|n| stream.upsert(&apart(n), &n.to_string(), "name"));
    event(&records.collect::<Vec<_>>())
}

fn busy() -> Value {
    json!({"type": "es_rejected_execution_exception", "reason": "rejected execution of coordinating operation"})
}

fn refuse(ids: &[&str], status: u16, error: Value) -> Fault {
    Fault::Refuse(ids.iter().map(|id| (*id).to_owned()).collect(), status, error)
}

#[tokio::test]
async fn only_throttled_items_are_sent_again() {
    let script = |bulk: &Seen| match bulk.bulk {
        1 => refuse(&["2", "5"], 429, busy()),
        2 => refuse(&["5"], 429, busy()),
        _ => Fault::None,
    };
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("throttled", script).await else { return };
    sync.start().succeed(six()).await;
    let sent: Vec<Vec<String>> = proxy.bulks().iter().map(Seen::ids).collect();
    assert_eq!(sent, [vec!["1", "2", "3", "4", "5", "6"], vec!["2", "5"], vec!["5"]]);
    assert_eq!(index.fields().await.len(), 6);
    assert_eq!(parked(&folder), []);
}

#[tokio::test]
async fn an_item_that_stays_throttled_is_reported_and_its_neighbours_are_written() {
    let script = |_: &Seen| refuse(&["3", "5"], 429, busy());
    let Some(Bench { sync, index, proxy: _proxy, folder }) = Bench::bulk("one", script).await else { return };
    let function = sync.timeout(Duration::from_millis(1_500)).start();
    assert_eq!(function.answer(six()).await, Some(apart(3)));
    assert_eq!(function.metrics().await["Failures"]["throttled"]["count"], 2);
    let ids: Vec<String> = index.fields().await.into_keys().collect();
    assert_eq!(ids, ["1", "2", "4", "6"]);
    assert_eq!(parked(&folder), []);
}

#[tokio::test]
async fn the_lowest_record_that_an_operation_stood_for_is_reported() {
    let script = |_: &Seen| {
        refuse(&["1"], 503, json!({"type": "unavailable_shards_exception", "reason": "primary shard is not active"}))
    };
    let Some(Bench { sync, index, proxy: _proxy, folder: _folder }) = Bench::bulk("stood", script).await else {
        return;
    };
    let function = sync.timeout(Duration::from_millis(1_500)).start();
    let stream = Stream::of("mytable");
    let records = [
        stream.upsert(&apart(1), "2", "first"),
        stream.upsert(&apart(2), "1", "first"),
        stream.upsert(&apart(3), "2", "second"),
        stream.upsert(&apart(4), "1", "second"),
        stream.upsert(&apart(5), "3", "only"),
    ];
    assert_eq!(function.answer(event(&records)).await, Some(apart(2)));
    assert_eq!(function.metrics().await["Retry"], 2);
    assert_eq!(
        index.fields().await,
        expected([("2", json!({"id": 2, "Name": "second"})), ("3", json!({"id": 3, "Name": "only"}))])
    );
}

#[tokio::test]
async fn the_lowest_number_is_reported_and_not_the_first_text() {
    let script = |_: &Seen| refuse(&["1", "2"], 503, json!({"type": "unavailable_shards_exception", "reason": "wait"}));
    let Some(Bench { sync, index: _index, proxy: _proxy, folder: _folder }) = Bench::bulk("lowest", script).await
    else {
        return;
    };
    let function = sync.timeout(Duration::from_millis(1_500)).start();
    let stream = Stream::of("mytable");
    let records = [stream.upsert("999", "1", "one"), stream.upsert("1000", "2", "two")];
    assert_eq!(function.answer(event(&records)).await.as_deref(), Some("999"));
}

#[tokio::test]
async fn refused_records_that_come_again_are_not_parked_yet() {
    let script = |_: &Seen| refuse(&["3"], 429, busy());
    let Some(Bench { sync, index: _index, proxy: _proxy, folder }) = Bench::bulk("again", script).await else { return };
    let function = sync.timeout(Duration::from_millis(1_500)).start();
    let stream = Stream::of("mytable");
    let records = [
        stream.poison(&apart(1), "1"),
        stream.upsert(&apart(2), "2", "two"),
        stream.upsert(&apart(3), "3", "three"),
        stream.poison(&apart(4), "4"),
    ];
    assert_eq!(function.answer(event(&records)).await, Some(apart(3)));
    assert_eq!(parked(&folder), [("unknown_type".to_owned(), Some(apart(1)))]);
}

#[tokio::test]
async fn an_item_that_fails_alone_with_a_server_error_is_parked() {
    let fault = json!({"type": "null_pointer_exception", "reason": "Cannot invoke \"x\""});
    let script = move |_: &Seen| refuse(&["4"], 500, fault.clone());
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("alone", script).await else { return };
    sync.start().succeed(six()).await;
    assert_eq!(parked(&folder), [("target_error".to_owned(), Some(apart(4)))]);
    assert_eq!(index.fields().await.len(), 5);
    assert!(proxy.bulks().len() >= 3, "once is no proof");
}

#[tokio::test]
async fn a_server_that_fails_on_every_item_parks_none() {
    let all: Vec<String> = (1..=6).map(|n| n.to_string()).collect();
    let script = move |_: &Seen| Fault::Refuse(all.clone(), 500, json!({"type": "io_exception", "reason": "disk"}));
    let Some(Bench { sync, index, proxy: _proxy, folder }) = Bench::bulk("every", script).await else { return };
    let function = sync.timeout(Duration::from_secs(1)).start();
    assert_eq!(function.answer(six()).await, Some(apart(1)));
    assert_eq!(function.metrics().await["Failures"]["unavailable"]["count"], 6);
    assert_eq!((parked(&folder).len(), index.fields().await.len()), (0, 0));
}

#[tokio::test]
async fn an_answer_with_too_few_items_is_no_success() {
    let script = |bulk: &Seen| if bulk.bulk == 1 { Fault::LoseItem } else { Fault::None };
    let Some(Bench { sync, index, proxy, folder: _folder }) = Bench::bulk("short", script).await else { return };
    sync.start().succeed(six()).await;
    // Nothing says whose item is missing, so all are sent again; they are recognised as written.
    let sent: Vec<usize> = proxy.bulks().iter().map(|bulk| bulk.ids().len()).collect();
    assert_eq!(sent, [6, 6]);
    assert_eq!(index.fields().await.into_values().next(), Some(named(1, "name")));

    let Some(Bench { sync, index: _index, proxy: _proxy, folder }) = Bench::bulk("shorter", |_| Fault::LoseItem).await
    else {
        return;
    };
    let function = sync.timeout(Duration::from_millis(1_500)).start();
    assert_eq!(function.answer(six()).await, Some(apart(1)));
    let failures = &function.metrics().await["Failures"]["unexpected_answer"];
    assert!(failures["example"].as_str().unwrap().contains("5 items for 6 actions"), "{failures}");
    assert_eq!(parked(&folder), []);
}
