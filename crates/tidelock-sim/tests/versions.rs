//! What guards let pass, and which version follows.

use crate::support::{Client, lines, request, soon};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tidelock_opensearch::Transport as _;
use tidelock_sim::{EngineConfig, run};
use tokio::time::{Instant, sleep, sleep_until};

fn external(version: i64) -> Value {
    json!({"version": version, "version_type": "external"})
}

fn or_equal(version: i64) -> Value {
    json!({"version": version, "version_type": "external_gte"})
}

fn seen(seq_no: i64) -> Value {
    json!({"if_seq_no": seq_no, "if_primary_term": 1})
}

fn none() -> Value {
    json!({})
}

#[test]
fn external_versions_rise_strictly_over_documents_and_deletes() {
    run(1, async {
        let client = Client::new(EngineConfig::default());
        let steps = [
            ("index", external(5), (201, 5)),
            ("index", external(5), (409, 0)),
            ("index", external(4), (409, 0)),
            ("index", external(7), (200, 7)),
            ("delete", external(7), (409, 0)),
            ("delete", external(9), (200, 9)),
            ("index", external(9), (409, 0)),
            ("delete", external(9), (409, 0)),
            ("delete", external(10), (404, 10)),
            ("index", external(10), (409, 0)),
            ("index", external(11), (201, 11)),
        ];
        client.script("a", &steps).await;
        assert_eq!(
            client.engine.documents("i")["a"],
            (11, json!({"of": {"_id": "a", "version": 11, "version_type": "external"}}))
        );
        assert!(client.engine.tombstones("i").is_empty(), "a document takes the tombstone's place");
    });
}

#[test]
fn a_delete_of_what_is_missing_leaves_its_version() {
    run(1, async {
        let client = Client::new(EngineConfig::default());
        let body = lines(&[(json!({"delete": {"_id": "a", "version": 8, "version_type": "external"}}), None)]);
        let (_, answer) = client.send("POST", "/i/_bulk", body).await;
        let item = &answer["items"][0]["delete"];
        assert_eq!((&item["status"], &item["result"]), (&json!(404), &json!("not_found")));
        assert!(item.get("error").is_none() && answer["errors"] == false, "{answer}");
        assert_eq!(client.engine.tombstones("i"), [("a".to_owned(), 8)].into());
        client.script("a", &[("index", external(8), (409, 0)), ("index", external(9), (201, 9))]).await;
    });
}

#[test]
fn external_gte_lets_the_same_version_pass() {
    run(1, async {
        let client = Client::new(EngineConfig::default());
        let steps = [
            ("index", or_equal(5), (201, 5)),
            ("index", or_equal(5), (200, 5)),
            ("index", or_equal(4), (409, 0)),
            ("delete", or_equal(4), (409, 0)),
            ("delete", or_equal(5), (200, 5)),
            ("index", or_equal(4), (409, 0)),
            ("index", or_equal(5), (201, 5)),
        ];
        client.script("a", &steps).await;
    });
}

#[test]
fn compare_and_set_wants_the_very_document() {
    run(1, async {
        let client = Client::new(EngineConfig::default());
        let steps = [
            ("index", seen(0), (409, 0)),
            ("index", external(40), (201, 40)), // _seq_no 0
            ("index", seen(1), (409, 0)),
            ("index", json!({"if_seq_no": 0, "if_primary_term": 2}), (409, 0)),
            ("index", seen(0), (200, 41)), // 1
            ("index", seen(0), (409, 0)),
            ("delete", seen(0), (409, 0)),
            ("delete", seen(1), (200, 42)), // 2
            ("index", seen(2), (409, 0)),
            ("delete", seen(2), (409, 0)),
            ("index", external(42), (409, 0)),
            ("index", external(43), (201, 43)), // 3
            ("index", seen(3), (200, 44)),
        ];
        client.script("a", &steps).await;
    });
}

#[test]
fn without_a_guard_versions_count() {
    run(1, async {
        let client = Client::new(EngineConfig::default());
        let steps = [
            ("index", none(), (201, 1)),
            ("index", none(), (200, 2)),
            ("create", none(), (409, 0)),
            ("index", external(50), (200, 50)),
            ("index", none(), (200, 51)),
            ("delete", none(), (200, 52)),
            ("delete", none(), (404, 53)),
            ("create", none(), (201, 54)),
            ("delete", none(), (200, 55)),
            ("index", none(), (201, 56)),
        ];
        client.script("a", &steps).await;
        client.script("b", &[("delete", none(), (404, 1)), ("create", none(), (201, 2))]).await;
    });
}

#[test]
fn a_delete_is_forgotten_after_gc_deletes() {
    run(1, async {
        let client = Client::new(EngineConfig::default());
        for (id, verb, version) in [("a", "index", external(3)), ("b", "index", none()), ("c", "create", none())] {
            client.script(id, &[("index", external(100), (201, 100)), ("delete", external(101), (200, 101))]).await;
            sleep(Duration::from_secs(59)).await;
            assert_eq!(client.one("index", id, external(3)).await, (409, 0));
            sleep(Duration::from_secs(2)).await;
            let forgotten = if id == "a" { (201, 3) } else { (201, 1) };
            assert_eq!(client.one(verb, id, version).await, forgotten, "{id}");
        }
    });
}

#[test]
fn the_memory_lasts_as_long_as_configured() {
    run(1, async {
        let client = Client::new(EngineConfig { gc_deletes: Duration::from_secs(5), ..EngineConfig::default() });
        let body = lines(&[(json!({"delete": {"_id": "a", "version": 8, "version_type": "external"}}), None)]);
        let (transport, sent) = (client.transport.clone(), request("POST", "/i/_bulk", body));
        let waiting = tokio::task::spawn_local(async move { transport.send(sent, soon()).await });
        tokio::task::yield_now().await;
        let arrival = client.engine.last_arrival().expect("a request under way");
        waiting.await.expect("no panic").expect("an answer");
        sleep_until(arrival + Duration::from_secs(5)).await;
        assert_eq!(client.engine.tombstones("i").len(), 1, "to the last moment");
        sleep(Duration::from_millis(1)).await;
        assert!(client.engine.tombstones("i").is_empty());
    });
}

#[test]
fn pruning_may_come_later_by_chance() {
    run(1, async {
        let config = EngineConfig {
            gc_deletes: Duration::from_secs(10),
            prune_jitter: Duration::from_secs(20),
            ..EngineConfig::default()
        };
        let client = Client::new(config);
        let deletes: Vec<_> = (0..50)
            .map(|id| (json!({"delete": {"_id": id, "version": 8, "version_type": "external"}}), None))
            .collect();
        let start = Instant::now();
        client.send("POST", "/i/_bulk", lines(&deletes)).await;
        let mut left = BTreeSet::new();
        for second in 0..=31 {
            sleep_until(start + Duration::from_secs(second)).await;
            let now = client.engine.tombstones("i").len();
            assert!(second > 10 || now == 50, "{second} s: {now}");
            left.insert(now);
        }
        assert!(left.len() > 5, "all at once: {left:?}");
        assert_eq!(left.first(), Some(&0));
    });
}
