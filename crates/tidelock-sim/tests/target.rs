//! The real client over the model.

use crate::support::Client;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Delivery, Plan};
use tidelock_core::cause::Cause;
use tidelock_core::encode::Format;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::target::{Call, Done, Outcome, Target as _};
use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget};
use tidelock_sim::{EngineConfig, EngineTransport, RequestKind, Strike, run};
use tokio::time::{Instant, sleep};

fn target(client: &Client) -> OpenSearchTarget<EngineTransport> {
    OpenSearchTarget::new(client.transport.clone(), OpenSearchConfig::new(1 << 20, 2))
}

/// Applies one change of the item `a` of table `t`: number and value, no value for its removal.
async fn apply(target: &OpenSearchTarget<EngineTransport>, number: u128, value: Option<u8>) -> Outcome {
    let keys = json!({"k": {"S": "a"}});
    let mut change = json!({"Keys": keys, "SequenceNumber": number.to_string()});
    if let Some(value) = value {
        change["NewImage"] = json!({"k": {"S": "a"}, "value": {"N": value.to_string()}});
    }
    let record = json!({
        "eventName": if value.is_some() { "MODIFY" } else { "REMOVE" },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:1:table/t/stream/2026-01-01T00:00:01.000",
        "dynamodb": change,
    });
    let event = json!({"Records": [record]}).to_string();
    let batch = tidelock_core::source::dynamodb::decode(event.as_bytes(), Format::Json).expect("an event");
    let plan = Plan::new(&batch, &Pipeline::default());
    let round = Delivery::new(&batch, &plan, false).round();
    let deadline = (Instant::now() + Duration::from_secs(5)).into_std();
    let mut outcomes = target.apply(&round.operations, Call { deadline, now_ms: 0, truth: false }).await;
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
