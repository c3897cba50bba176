//! Answers for a whole request, and no answers.

use super::{Bench, parked};
use crate::support::event::{Stream, apart, event, named};
use crate::support::exact::Exact;
use crate::support::function::{dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::proxy::{Fault, Seen, error};
use crate::support::services;
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::StatusCode;
use std::time::{Duration, Instant};

fn three() -> Bytes {
    let stream = Stream::of("mytable");
    event(
        &[(1, "1", "one"), (2, "2", "two"), (3, "3", "three")].map(|(n, id, name)| stream.upsert(&apart(n), id, name)),
    )
}

async fn assert_three(index: &Index) {
    let documents: Vec<Exact> = index.fields().await.into_values().collect();
    assert_eq!(documents, [named(1, "one"), named(2, "two"), named(3, "three")]);
    assert_eq!(index.get("3").await.unwrap().exact(), apart(3));
}

/// What a busy or broken server, or a proxy before it, answers.
fn refusals() -> Vec<(&'static str, Fault)> {
    vec![
        ("throttled", error(StatusCode::TOO_MANY_REQUESTS, "es_rejected_execution_exception", "queue full")),
        ("throttled", Fault::Answer(429, "slow down".into())),
        ("unavailable", error(StatusCode::SERVICE_UNAVAILABLE, "cluster_manager_not_discovered_exception", "wait")),
        ("unavailable", Fault::Answer(502, "<html>Bad gateway</html>".into())),
        ("timed_out", Fault::Answer(504, String::new())),
        ("unexpected_answer", Fault::Answer(200, "<html>It works!</html>".into())),
        ("unexpected_answer", Fault::Answer(200, "{}".into())),
        ("unexpected_answer", Fault::Answer(400, "no JSON".into())),
    ]
}

#[tokio::test]
async fn a_burst_of_refusals_is_waited_out() {
    join_all(refusals().into_iter().map(async |(_, fault)| {
        let name = format!("{fault:?}");
        let script = move |bulk: &Seen| if bulk.bulk <= 3 { fault.clone() } else { Fault::None };
        let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("burst", script).await else { return };
        let function = sync.timeout(Duration::from_secs(20)).start();
        function.succeed(three()).await;
        assert_three(&index).await;
        assert_eq!(proxy.bulks().len(), 4, "{name}");
        assert_eq!(parked(&folder), [], "{name}");
    }))
    .await;
}

#[tokio::test]
async fn what_does_not_pass_is_reported_and_never_parked() {
    join_all(refusals().into_iter().map(async |(cause, fault)| {
        let name = format!("{fault:?}");
        let script = move |_: &Seen| fault.clone();
        let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("lasting", script).await else { return };
        let function = sync.timeout(Duration::from_secs(2)).start();
        assert_eq!(function.answer(three()).await, Some(apart(1)), "{name}");
        let failures = &function.metrics().await["Failures"];
        assert_eq!(failures[cause]["count"], 3, "{name} {failures}");
        assert!(failures[cause]["example"].as_str().unwrap().starts_with("127.0.0.1:"), "{failures}");
        assert!(proxy.bulks().len() >= 2, "{name}: tried once only");
        assert_eq!((index.fields().await.len(), parked(&folder).len()), (0, 0), "{name}");
    }))
    .await;
}

#[tokio::test]
async fn what_an_operator_must_mend_is_reported_at_once() {
    for (cause, fault) in [
        ("unauthenticated", Fault::Answer(401, "Unauthorized".into())),
        (
            "forbidden",
            error(StatusCode::FORBIDDEN, "security_exception", "no permissions for [indices:data/write/bulk]"),
        ),
        ("blocked", error(StatusCode::FORBIDDEN, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write]")),
        ("target_missing", error(StatusCode::NOT_FOUND, "index_not_found_exception", "no such index")),
    ] {
        let script = move |_: &Seen| fault.clone();
        let Some(Bench { sync, index: _index, proxy, folder }) = Bench::bulk("mend", script).await else { return };
        let function = sync.timeout(Duration::from_secs(20)).start();
        assert_eq!(function.answer(three()).await, Some(apart(1)), "{cause}");
        let failures = &function.metrics().await["Failures"];
        assert_eq!(failures[cause]["count"], 3, "{failures}");
        assert_eq!((proxy.bulks().len(), parked(&folder).len()), (1, 0), "{cause}");
    }
}

#[tokio::test]
async fn a_connection_cut_before_or_after_the_write_loses_and_doubles_nothing() {
    for fault in [Fault::CutBefore, Fault::CutAfter] {
        let name = format!("{fault:?}");
        let script = move |bulk: &Seen| if bulk.bulk <= 2 { fault.clone() } else { Fault::None };
        let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("cut", script).await else { return };
        let function = sync.start();
        function.succeed(three()).await;
        assert_three(&index).await;
        assert!(proxy.bulks().len() >= 3, "{name}");
        assert_eq!(parked(&folder), []);
        let before = index.documents().await;
        function.succeed(three()).await;
        assert_eq!(index.documents().await, before, "{name}: written once, and not again");
    }
}

#[tokio::test]
async fn a_write_whose_answer_never_comes_is_reported_and_recognised_later() {
    let script = |bulk: &Seen| {
        if bulk.ids().len() == 3 { Fault::CutAfter } else { Fault::None }
    };
    let Some(Bench { sync, index, proxy: _proxy, folder: _folder }) = Bench::bulk("lost", script).await else { return };
    let function = sync.timeout(Duration::from_millis(1_500)).start();
    assert_eq!(function.answer(three()).await, Some(apart(1)));
    assert_three(&index).await;
    let before = index.documents().await;
    // Another batch size, as the mapping may choose it, gets through.
    let stream = Stream::of("mytable");
    function.succeed(event(&[stream.upsert(&apart(1), "1", "one"), stream.upsert(&apart(2), "2", "two")])).await;
    assert_eq!(index.documents().await, before);
}

#[tokio::test]
async fn preparing_the_index_meets_the_same_faults() {
    let first_two = |fault: Fault| {
        let count = std::sync::atomic::AtomicUsize::new(0);
        move |seen: &Seen| {
            let early = seen.bulk == 0 && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
            if early { fault.clone() } else { Fault::None }
        }
    };
    for fault in [
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Answer(429, String::new()),
        error(StatusCode::SERVICE_UNAVAILABLE, "cluster_manager_not_discovered_exception", "wait"),
    ] {
        let Some(Bench { sync, index, proxy: _proxy, folder: _folder }) = Bench::new("prepare", first_two(fault)).await
        else {
            return;
        };
        sync.start().succeed(three()).await;
        assert_three(&index).await;
        assert_eq!(index.mapping().await["properties"]["_tidelock"]["enabled"], false);
    }
    // Without the right to see mappings the index is used as it is, and the log says what is missing.
    let forbidden = |seen: &Seen| match seen.bulk {
        0 => error(StatusCode::FORBIDDEN, "security_exception", "no permissions"),
        _ => Fault::None,
    };
    let Some(Bench { sync, index, proxy: _proxy, folder: _folder }) = Bench::new("rights", forbidden).await else {
        return;
    };
    let function = sync.start();
    function.succeed(three()).await;
    assert_three(&index).await;
    function.logged(&["WARN", "indices:admin/mapping", index.name()]).await;
}

#[tokio::test]
async fn a_target_nobody_serves_is_named_with_its_cause_and_without_its_password() {
    if services::opensearch().is_none() {
        return;
    }
    // A port that was free a moment ago and one where connections wait for ever.
    let refused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (place, cause) in [(refused, "unreachable"), (silent.local_addr().unwrap(), "timed_out")] {
        let Some(sync) = dynamodb_sync(&target(&format!("http://admin:s3cr3t%21@{place}"))) else { return };
        let function = sync.timeout(Duration::from_secs(2)).start();
        function.process.warm_up().await.unwrap();
        let started = Instant::now();
        assert_eq!(function.answer(three()).await, Some(apart(1)));
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let line = function.logged(&["\"Failures\"", cause, &place.to_string()]).await;
        assert!(line.contains("\"action\""), "{line}");
        for secret in ["s3cr3t", "admin:", "YWRtaW46"] {
            assert!(!function.log().contains(secret), "{}", function.log());
        }
    }
    drop(silent);
}
