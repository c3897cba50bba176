//! Indices that are cleared of a collection that was dropped, however large they are and however little time there is.

use crate::support::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tidelock_core::batch::{Delivery, Plan};
use tidelock_core::encode::Format;
use tidelock_core::fence::Window;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::source::documentdb;
use tidelock_core::target::{Call, Place, Store as _};
use tidelock_core::version::Mark;
use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget};
use tidelock_sim::{EngineConfig, EngineTransport, RequestKind, Strike, run};
use tokio::time::Instant;

const SPACE: &str = "mongodb:demo.us-east-1:shop.orders";
const TIME: u64 = 1_600_000_000;

fn target(client: &Client) -> OpenSearchTarget<EngineTransport> {
    OpenSearchTarget::new(client.transport.clone(), OpenSearchConfig::new(1 << 20, 2))
}

fn mark(space: &str, time: u64) -> Mark {
    let exact = format!("{:020}", (TIME + time) << 32);
    let (label, token) = (String::new(), String::new());
    Mark { space: space.to_owned(), label, exact, token, at: 0, part: false }
}

fn plant(client: &Client, id: &str, mark: &Mark) {
    client.engine.plant("t", id, json!({"_tidelock": mark}), 1);
}

fn call(now_ms: i64, left: Duration) -> Call {
    Call { deadline: (Instant::now() + left).into_std(), now_ms, truth: false }
}

/// The fence of a drop, as the function writes it.
async fn dropped(target: &OpenSearchTarget<EngineTransport>, time: u64, now_ms: i64) {
    let event = json!({"event": {
        "_id": {"_data": "00"}, "clusterTime": {"$timestamp": {"t": TIME + time, "i": 1}},
        "ns": {"db": "shop", "coll": "orders"}, "operationType": "drop",
    }});
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:demo";
    let event = json!({"eventSource": "aws:docdb", "eventSourceArn": arn, "events": [event]}).to_string();
    let batch = documentdb::decode(event.as_bytes(), Format::Json).expect("an event");
    let text = "{version: 1, routes: [{from: shop.orders, to: t, on_drop: delete-all}]}";
    let pipeline = Pipeline::parse(text).expect("a pipeline");
    let plan = Plan::new(event.as_bytes(), &batch, &pipeline);
    let mut delivery = Delivery::new(&batch, &plan, false);
    assert_eq!(delivery.fence_endings(target, call(now_ms, Duration::from_secs(5))).await, 1);
    assert!(format!("{:?}", delivery.fates()).contains("Applied"));
}

/// What is there but the documents that must go.
fn kept(client: &Client) -> Vec<String> {
    plant(client, "other", &mark("mongodb:demo.us-east-1:shop.things", 1));
    plant(client, "equal", &mark(SPACE, 5));
    plant(client, "newer", &mark(SPACE, 6));
    client.engine.plant("t", "foreign", json!({"a": 1}), 1);
    client.engine.plant("t", "damaged", json!({"_tidelock": {"space": SPACE, "label": "", "exact": "1"}}), 1);
    ["damaged", "equal", "foreign", "newer", "other"].map(str::to_owned).to_vec()
}

fn left(client: &Client) -> Vec<String> {
    let mut ids: Vec<String> = client.engine.documents("t").into_keys().collect();
    ids.sort();
    ids
}

#[test]
fn all_that_is_older_goes_and_nothing_else() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        for number in 0..2_500 {
            plant(&client, &format!("k{number}"), &mark(SPACE, 4));
        }
        let kept = kept(&client);
        let (target, place) = (target(&client), Place::new("t".to_owned(), true));
        let cleared = target.clear(&place, &mark(SPACE, 5), call(0, Duration::from_secs(60))).await.expect("cleared");
        assert_eq!((cleared.removed, cleared.complete, left(&client)), (2_500, true, kept));
        let none = Place::new("missing".to_owned(), true);
        let cleared = target.clear(&none, &mark(SPACE, 5), call(0, Duration::from_secs(60))).await.expect("cleared");
        assert!(cleared.complete && cleared.removed == 0);
    });
}

#[test]
fn a_document_that_is_written_meanwhile_is_judged_anew() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        for id in ["a", "b"] {
            plant(&client, id, &mark(SPACE, 3));
        }
        let engine = client.engine.clone();
        let written = std::cell::Cell::new(false);
        let chaos = move |kind| {
            // Behind the search, before the deletes: one is newer now, one is another old one.
            if kind == RequestKind::Bulk && !written.replace(true) {
                engine.plant("t", "a", json!({"_tidelock": mark(SPACE, 7)}), 2);
                engine.plant("t", "b", json!({"_tidelock": mark(SPACE, 4)}), 2);
            }
            Strike::None
        };
        let struck = Client {
            transport: EngineTransport::new(client.engine.clone(), std::rc::Rc::new(chaos)),
            engine: client.engine.clone(),
        };
        let place = Place::new("t".to_owned(), true);
        let cleared = target(&struck).clear(&place, &mark(SPACE, 5), call(0, Duration::from_secs(60))).await;
        assert_eq!(cleared.expect("cleared").removed, 1);
        assert_eq!(left(&client), ["a"]);
    });
}

/// Run by run, and meanwhile other fences are swept.
#[test]
fn a_sweep_that_has_little_time_goes_on_where_it_was() {
    run(7, async {
        // A search takes its time.
        let chaos = |kind| {
            if kind == RequestKind::Search { Strike::SlowAnswer(Duration::from_millis(400)) } else { Strike::None }
        };
        let client = Client::with(EngineConfig::default(), chaos);
        let target = target(&client);
        dropped(&target, 5, 1_000).await;
        for number in 0..12_000 {
            plant(&client, &format!("k{number:05}"), &mark(if number % 3 == 0 { SPACE } else { "mongodb:c:x.y" }, 4));
        }
        client.send("POST", "/t/_refresh", "").await;
        let window = Window { until_ms: 5_000, expired_ms: 0 };
        let mut removed = Vec::new();
        loop {
            let swept = target.sweep(window, call(9_000, Duration::from_secs(8))).await.expect("a sweep");
            removed.push(swept.removed);
            assert!(removed.len() < 20, "{removed:?}");
            let watermark = client.engine.documents("tidelock-fences").remove("watermark").expect("a watermark").1;
            assert_eq!(watermark["watermark"] == json!(5_000), swept.complete, "{watermark}");
            if swept.complete {
                assert!(watermark.get("clearing").is_none() && watermark.get("skipped").is_none(), "{watermark}");
                break;
            }
        }
        assert!(removed.len() > 1 && removed.iter().sum::<usize>() == 4_000, "{removed:?}");
        assert_eq!(left(&client).len(), 8_000);
        // A later drop begins anew.
        dropped(&target, 9, 6_000).await;
        plant(&client, "k00001", &mark(SPACE, 8));
        client.send("POST", "/t/_refresh", "").await;
        let window = Window { until_ms: 7_000, expired_ms: 0 };
        let swept = target.sweep(window, call(9_000, Duration::from_secs(60))).await.expect("a sweep");
        assert_eq!((swept.removed, swept.complete), (1, true));
    });
}

/// What a document that has the reserved id would bring about.
#[test]
fn a_fence_of_another_space_at_that_id_clears_nothing() {
    run(7, async {
        let client = Client::new(EngineConfig::default());
        let target = target(&client);
        plant(&client, "a", &mark(SPACE, 4));
        let id = tidelock_core::fence::namespace_id("mongodb:demo.us-east-1:shop.things");
        let fence: Value = json!({"index": "t", "id": id, "written": 1_000, "_tidelock": mark(SPACE, 5)});
        dropped(&target, 1, 1_000).await;
        client.engine.plant("tidelock-fences", "x", fence, 1);
        client.send("POST", "/tidelock-fences/_refresh", "").await;
        let window = Window { until_ms: 5_000, expired_ms: 0 };
        assert_eq!(target.sweep(window, call(9_000, Duration::from_secs(60))).await.expect("a sweep").removed, 0);
        assert_eq!(left(&client), ["a"]);
    });
}
