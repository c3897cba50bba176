//! Requests that are too large, that hold one document which sinks them all, or that go out side by side.

use super::{Bench, parked};
use crate::support::event::{Stream, apart, event};
use crate::support::proxy::{Fault, Seen, error};
use hyper::StatusCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

fn records(ids: std::ops::RangeInclusive<u32>, name: &str) -> Vec<Value> {
    let stream = Stream::of("mytable");
    ids.map(|n| stream.upsert(&apart(n), &n.to_string(), name)).collect()
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_until_it_fits() {
    let script = |bulk: &Seen| if bulk.wire.len() > 4_000 { Fault::Answer(413, String::new()) } else { Fault::None };
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("large", script).await else { return };
    let mut batch = records(1..=40, "a name");
    batch[20] = Stream::of("mytable").upsert(&apart(21), "21", &"x".repeat(5_000));
    sync.start().succeed(event(&batch)).await;
    let ids: BTreeSet<u32> = index.fields().await.keys().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids, (1..=40).filter(|&id| id != 21).collect());
    // What is too large alone can never be applied.
    assert_eq!(parked(&folder), [("document_too_large".to_owned(), Some(apart(21)))]);
    assert!(proxy.bulks().len() < 20, "{}", proxy.bulks().len());
}

#[tokio::test]
async fn one_document_that_sinks_a_whole_request_is_found_and_parked() {
    let script = |bulk: &Seen| {
        let sunk = bulk.body.windows(6).any(|window| window == b"\"sinks");
        if sunk { error(StatusCode::BAD_REQUEST, "parse_exception", "Malformed content") } else { Fault::None }
    };
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("sinks", script).await else { return };
    let mut batch = records(1..=64, "a name");
    for id in [7, 40] {
        batch[id - 1] = Stream::of("mytable").upsert(&apart(u32::try_from(id).unwrap()), &id.to_string(), "sinks it");
    }
    sync.start().succeed(event(&batch)).await;
    assert_eq!(parked(&folder), [7, 40].map(|n| ("invalid_document".to_owned(), Some(apart(n)))));
    assert_eq!(index.fields().await.len(), 62);
    // Halving: twice the depth of the tree for each, not one request per document.
    assert!(proxy.bulks().len() <= 27, "{}", proxy.bulks().len());
}

#[tokio::test]
async fn requests_go_out_side_by_side_but_never_more_than_allowed() {
    for (in_flight, name) in [(4, ""), (1, "1"), (2, "2")] {
        let Some(Bench { sync, index, proxy, folder: _folder }) =
            Bench::bulk("lanes", move |_| Fault::Meet(in_flight)).await
        else {
            return;
        };
        let function = sync.with("TIDELOCK_IN_FLIGHT", name).with("TIDELOCK_BULK_BYTES", "100000").start();
        function.succeed(event(&records(1..=10, &"x".repeat(60_000)))).await;
        assert_eq!(proxy.bulks().len(), 10);
        assert_eq!(proxy.most(), in_flight);
        assert_eq!(index.fields().await.len(), 10);
    }
}

#[tokio::test]
async fn no_request_is_larger_than_allowed_and_what_fits_none_is_parked() {
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("bytes", |_| Fault::None).await else { return };
    let function = sync.with("TIDELOCK_BULK_BYTES", "65536").start();
    let mut batch = records(1..=30, &"x".repeat(20_000));
    batch[10] = Stream::of("mytable").upsert(&apart(11), "11", &"x".repeat(70_000));
    function.succeed(event(&batch)).await;
    assert_eq!(index.fields().await.len(), 29);
    assert_eq!(parked(&folder), [("document_too_large".to_owned(), Some(apart(11)))]);
    let sizes: Vec<usize> = proxy.bulks().iter().map(|bulk| bulk.wire.len()).collect();
    assert!(sizes.iter().all(|&size| size <= 65_536), "{sizes:?}");
    assert!(sizes.len() <= 15, "filled, not one by one: {sizes:?}");
}

#[tokio::test]
async fn the_largest_event_that_lambda_delivers() {
    let Some(Bench { sync, index, proxy, folder }) = Bench::bulk("full", |_| Fault::None).await else { return };
    let mut batch = records(1..=10_000, &"x".repeat(60));
    batch[5_000] = Stream::of("mytable").poison(&apart(5_001), "5001");
    let full = event(&batch);
    assert!((4_000_000..6 * 1024 * 1024).contains(&full.len()), "{}", full.len());
    sync.timeout(Duration::from_secs(60)).start().succeed(full).await;
    assert_eq!(index.fields().await.len(), 9_999);
    assert_eq!(parked(&folder), [("unknown_type".to_owned(), Some(apart(5_001)))]);
    assert!(proxy.bulks().iter().all(|bulk| bulk.wire.len() <= 5_000_000), "the default limit");
}

#[tokio::test]
async fn bodies_are_compressed_where_that_is_asked_for() {
    for (gzip, compressed) in [("", false), ("false", false), ("true", true)] {
        let Some(Bench { sync, index, proxy, folder: _folder }) = Bench::bulk("gzip", |_| Fault::None).await else {
            return;
        };
        let function = sync.with("TIDELOCK_BULK_GZIP", gzip).start();
        function.succeed(event(&records(1..=50, "a name that comes again and again"))).await;
        function.succeed(event(&records(51..=51, "small"))).await;
        assert_eq!(index.fields().await.len(), 51);
        let bulks = proxy.bulks();
        assert_eq!(bulks[0].header("content-encoding"), compressed.then_some("gzip"));
        assert_eq!(bulks[0].wire.len() * 3 < bulks[0].body.len(), compressed);
        assert_eq!(bulks[1].header("content-encoding"), None, "too small to gain from it");
    }
}
