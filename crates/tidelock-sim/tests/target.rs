//! The real client over the model.

use crate::support::Client;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Delivery, Plan};
use tidelock_core::cause::Cause;
use tidelock_core::encode::Format;
use tidelock_core::fence::Window;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::target::{Call, Done, Outcome, Store as _, Target as _};
use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget};
use tidelock_sim::{EngineConfig, EngineTransport, RequestKind, Strike, run};
use tokio::time::{Instant, sleep};

fn target(client: &Client) -> OpenSearchTarget<EngineTransport> {
    OpenSearchTarget::new(client.transport.clone(), OpenSearchConfig::new(1 << 20, 2))
}

/// Applies one change of the item `a` of table `t`: number and value, no value for its removal.
async fn apply(target: &OpenSearchTarget<EngineTransport>, number: u128, value: Option<u8>) -> Outcome {
    apply_at(target, "a", number, value, 0).await
}

async fn apply_at(
    target: &OpenSearchTarget<EngineTransport>,
    key: &str,
    number: u128,
    value: Option<u8>,
    now_ms: i64,
) -> Outcome {
    let keys = json!({"k": {"S": key}});
    let mut change = json!({"Keys": keys, "SequenceNumber": number.to_string()});
    if let Some(value) = value {
        change["NewImage"] = json!({"k": {"S": key}, "value": {"N": value.to_string()}});
    }
    let record = json!({
        "eventName": if value.is_some() { "MODIFY" } else { "REMOVE" },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:1:table/t/stream/2026-01-01T00:00:01.000",
        "dynamodb": change,
    });
    let event = json!({"Records": [record]}).to_string();
    let batch = tidelock_core::source::dynamodb::decode(event.as_bytes(), Format::Json).expect("an event");
    let pipeline = Pipeline::default();
    let plan = Plan::new(event.as_bytes(), &batch, &pipeline);
    let round = Delivery::new(&batch, &plan, false).round();
    let deadline = (Instant::now() + Duration::from_secs(5)).into_std();
    let mut outcomes = target.apply(&round.operations, Call { deadline, now_ms, truth: false }).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn stored(client: &Client) -> Option<Value> {
    client.engine.documents("t").remove("a").map(|(_, source)| source["value"].clone())
}

/// A number of the size that streams give.
const N: u128 = 100_000_000_000_000_000_000_000;

#[test]
fn changes_are_applied_in_their_order() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        let target = target(&client);
        assert_eq!(apply(&target, 5 * N, Some(1)).await, Ok(Done::Applied));
        assert_eq!(apply(&target, 4 * N, Some(2)).await, Ok(Done::Stale));
        let version = client.engine.documents("t")["a"].0;
        assert_eq!(apply(&target, 5 * N + 1, Some(3)).await, Ok(Done::Applied));
        assert_eq!(
            client.engine.documents("t")["a"].0,
            version + 1,
            "its coarse version is the same: by compare-and-set"
        );
        assert_eq!(stored(&client), Some(json!(3)));
        assert_eq!(apply(&target, 6 * N, None).await, Ok(Done::Applied));
        assert_eq!(stored(&client), None);
        assert_eq!(client.engine.tombstones("t").len(), 1);
        let (_, mapping) = client.send("GET", "/t/_mapping", "").await;
        assert_eq!(mapping["t"]["mappings"]["properties"]["_tidelock"]["enabled"], false);
    });
}

fn fences(client: &Client) -> Vec<Value> {
    client.engine.documents("tidelock-fences").into_values().map(|(_, source)| source).collect()
}

/// What a document leaves, or is deleted from, may never have been there.
#[test]
fn a_delete_makes_no_index_but_is_remembered() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        let target = target(&client);
        assert_eq!(apply(&target, 5 * N, None).await, Ok(Done::Applied));
        assert_eq!(client.send("GET", "/t/_mapping", "").await.0, 404);
        assert_eq!(fences(&client).len(), 1);
        // What was delayed is not kept out by the engine, but by the fence: the sweep finds it.
        assert_eq!(apply(&target, 4 * N, Some(1)).await, Ok(Done::Applied));
        assert_eq!(apply(&target, 6 * N, None).await, Ok(Done::Applied));
        assert_eq!((stored(&client), client.engine.tombstones("t").len()), (None, 1));
    });
}

/// Otherwise the sweep, which has passed the first one's time, would never come to what has landed since.
#[test]
fn a_delete_that_is_repeated_renews_its_fence() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        let target = target(&client);
        for (now_ms, written) in [(1_000, 1_000), (9_000, 9_000)] {
            assert_eq!(apply_at(&target, "a", 5 * N, None, now_ms).await, Ok(Done::Applied));
            assert_eq!(fences(&client)[0]["written"], written);
        }
        // An older delete does not.
        assert_eq!(apply_at(&target, "a", 4 * N, None, 20_000).await, Ok(Done::Applied));
        assert_eq!(fences(&client)[0]["written"], 9_000);
    });
}

#[test]
fn a_sweep_before_the_first_delete_leaves_nothing_behind() {
    run(7, async {
        // Whether there is an index cannot be told from such an answer.
        let garbled = |kind| if kind == RequestKind::Refresh { Strike::Garble } else { Strike::None };
        let client = Client::with(EngineConfig::default(), garbled);
        let target = target(&client);
        let deadline = (Instant::now() + Duration::from_secs(60)).into_std();
        let call = Call { deadline, now_ms: 0, truth: false };
        let window = Window { until_ms: 5_000, expired_ms: 0 };
        assert!(target.sweep(window, call).await.expect("a sweep").complete);
        assert!(client.engine.indices().is_empty(), "an index without a mapping");
        // One that somebody has made all the same can be swept.
        client.engine.plant("tidelock-fences", "watermark", json!({"watermark": 0}), 1);
        assert!(target.sweep(window, call).await.expect("a sweep").complete);
    });
}

/// More fences of one time than a page holds; a document older than its fence at the end of them.
#[test]
fn a_sweep_passes_over_no_fence_of_a_crowd() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        let target = target(&client);
        for key in 0..1_100 {
            assert_eq!(apply_at(&target, &format!("k{key}"), 5 * N, None, 1_000).await, Ok(Done::Applied));
        }
        sleep(Duration::from_secs(120)).await;
        for key in ["k0", "k499", "k500", "k999", "k1099"] {
            assert_eq!(apply_at(&target, key, 4 * N, Some(1), 2_000).await, Ok(Done::Applied), "a late write");
        }
        let deadline = (Instant::now() + Duration::from_secs(60)).into_std();
        let call = Call { deadline, now_ms: 0, truth: false };
        let window = Window { until_ms: 5_000, expired_ms: 0 };
        let swept = target.sweep(window, call).await.expect("a sweep");
        assert_eq!((swept.removed, swept.complete), (5, true));
        assert_eq!(client.engine.documents("t").len(), 0);
        let expired = target.sweep(Window { until_ms: 5_000, expired_ms: 5_000 }, call).await.expect("a sweep");
        assert_eq!((expired.expired, fences(&client).len()), (1_100, 1), "the watermark remains");
    });
}

#[test]
fn writes_follow_a_delete_once_it_is_forgotten() {
    run(7, async {
        let client = Client::new(EngineConfig { gc_deletes: Duration::from_secs(2), ..EngineConfig::default() });
        let target = target(&client);
        assert_eq!(apply(&target, 5 * N, Some(1)).await, Ok(Done::Applied));
        assert_eq!(apply(&target, 6 * N, None).await, Ok(Done::Applied));
        let deleted = Instant::now();
        assert_eq!(apply(&target, 5 * N + 1, Some(9)).await, Ok(Done::Stale), "the fence says so");
        // The engine cannot tell this one from the delete before it, so it waits.
        assert_eq!(apply(&target, 6 * N + 1, Some(2)).await, Ok(Done::Applied));
        assert!(Instant::now() - deleted > Duration::from_millis(1_900));
        assert_eq!(apply(&target, 7 * N, None).await, Ok(Done::Applied));
        sleep(Duration::from_secs(3)).await;
        assert!(client.engine.tombstones("t").is_empty());
        assert_eq!(apply(&target, 8 * N, Some(3)).await, Ok(Done::Applied));
        assert_eq!(stored(&client), Some(json!(3)));
    });
}

#[test]
fn strikes_are_survived() {
    for seed in 0..20 {
        run(seed, async move {
            let script = Rc::new(std::cell::RefCell::new(vec![
                Strike::Garble,
                Strike::Half,
                Strike::CutAfter,
                Strike::CutBefore,
                Strike::Refuse(429),
            ]));
            let chaos = move |kind| match kind {
                RequestKind::Bulk => script.borrow_mut().pop().unwrap_or(Strike::None),
                _ => Strike::None,
            };
            let client = Client::with(EngineConfig { seed, ..EngineConfig::default() }, chaos);
            let target = target(&client);
            assert_eq!(apply(&target, 5 * N, Some(1)).await, Ok(Done::Applied));
            assert_eq!(stored(&client), Some(json!(1)));
        });
    }
}

#[test]
fn a_write_may_land_after_the_target_has_given_up() {
    run(7, async {
        let chaos = |kind| match kind {
            RequestKind::Bulk => Strike::Late(Duration::from_secs(60)),
            _ => Strike::None,
        };
        let client = Client::with(EngineConfig::default(), chaos);
        let failure = apply(&target(&client), 5 * N, Some(1)).await.expect_err("no answer");
        assert_eq!(failure.cause, Cause::TimedOut);
        assert_eq!(stored(&client), None);
        sleep(Duration::from_secs(120)).await;
        assert_eq!(stored(&client), Some(json!(1)));
    });
}
