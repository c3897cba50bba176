//! Answers that come too late.

use super::{Bench, parked};
use crate::support::event::{Stream, apart, event, named};
use crate::support::eventually;
use crate::support::proxy::{Fault, Seen};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_late_answer_is_reported_and_nothing_is_written_afterwards() {
    let script = |bulk: &Seen| if bulk.bulk == 1 { Fault::Hold(Duration::from_secs(600)) } else { Fault::None };
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("late", script).await else { return };
    let function = sync.timeout(TIMEOUT).start();
    function.process.warm_up().await.unwrap();
    let stream = Stream::of("mytable");
    let records = event(&[stream.upsert(&apart(1), "1", "one"), stream.upsert(&apart(2), "2", "two")]);
    let started = Instant::now();
    assert_eq!(function.answer(records.clone()).await, Some(apart(1)));
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    // The environment is stopped by now: the connection must have been closed before the answer.
    eventually("the end of the request's connection", async || (proxy.abandoned() == 1).then_some(())).await;
    assert_eq!((proxy.bulks().len(), index.documents().await.len()), (1, 0));
    let failures = &function.metrics().await["Failures"];
    assert_eq!(failures["timed_out"]["count"], 2, "{failures}");
    assert_eq!(parked(&folder), []);
    // A connection of its own for the next invocation: no answer of the old one can be taken for its.
    function.succeed(records).await;
    assert_eq!(index.fields().await.into_values().collect::<Vec<_>>(), [named(1, "one"), named(2, "two")]);
}

#[tokio::test]
async fn all_requests_under_way_end_with_the_invocation() {
    let script = |_: &Seen| Fault::Hold(Duration::from_secs(600));
    let Some(Bench { sync, index, proxy, folder: _folder }) = Bench::bulk("several", script).await else { return };
    let function = sync.timeout(TIMEOUT).start();
    function.process.warm_up().await.unwrap();
    let stream = Stream::of("mytable");
    let large = "x".repeat(300_000);
    let records: Vec<_> = (1..=8).map(|n| stream.upsert(&apart(n), &n.to_string(), &large)).collect();
    assert_eq!(function.answer(event(&records)).await, Some(apart(1)));
    assert_eq!(proxy.most(), 4);
    eventually("the end of all connections", async || (proxy.abandoned() == 4).then_some(())).await;
    assert_eq!(index.documents().await.len(), 0);
}

#[tokio::test]
async fn a_slow_answer_in_time_is_waited_for() {
    let script = |_: &Seen| Fault::Hold(Duration::from_millis(600));
    let Some(Bench { sync, index, proxy, folder: _folder }) = Bench::bulk("slow", script).await else { return };
    let function = sync.start();
    function.succeed(event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")])).await;
    assert_eq!((proxy.bulks().len(), proxy.abandoned()), (1, 0));
    assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
}
