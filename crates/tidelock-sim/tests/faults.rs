//! What happens on the way: each strike, callers that go away, and that all of it is repeatable.

use crate::support::{Client, lines, request, soon, tree};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_opensearch::{Response, Transport as _};
use tidelock_sim::{EngineConfig, RequestKind, Strike, run};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

fn put(id: &str) -> String {
    lines(&[(json!({"index": {"_id": id}}), Some(json!({})))])
}

fn seeded(seed: u64) -> EngineConfig {
    EngineConfig { seed, ..EngineConfig::default() }
}

/// Strikes bulk requests alone.
fn bulk(strike: Strike) -> impl Fn(RequestKind) -> Strike {
    move |kind| if kind == RequestKind::Bulk { strike } else { Strike::None }
}

#[test]
fn a_round_trip_takes_up_to_twenty_milliseconds() {
    run(6, async {
        let client = Client::new(seeded(6));
        let mut times = BTreeSet::new();
        for _ in 0..500 {
            let sent = Instant::now();
            client.send("GET", "/i", "").await;
            times.insert((Instant::now() - sent).as_millis());
        }
        assert_eq!(times, (1..=20).collect());
    });
}

#[test]
fn refused_requests_are_not_applied() {
    for (status, kind) in
        [(429, "rejected_execution_exception"), (503, "unavailable_shards_exception"), (500, "exception")]
    {
        run(6, async {
            let client = Client::with(seeded(6), bulk(Strike::Refuse(status)));
            let (found, answer) = client.send("POST", "/i/_bulk", put("a")).await;
            assert_eq!((found, &answer["error"]["type"]), (status, &json!(kind)));
            assert!(client.engine.indices().is_empty());
        });
    }
    run(6, async {
        let client = Client::with(seeded(6), bulk(Strike::Refuse(502)));
        assert_eq!(client.send("POST", "/i/_bulk", put("a")).await, (502, Value::Null), "a proxy's page");
    });
}

#[test]
fn cuts_come_before_or_after() {
    for (strike, applied) in [(Strike::CutBefore, 0), (Strike::CutAfter, 1)] {
        for seed in 0..20 {
            run(seed, async move {
                let client = Client::with(seeded(seed), bulk(strike));
                let failure = client.try_send("POST", "/i/_bulk", put("a")).await.expect_err("cut");
                assert_eq!(failure.cause, Cause::Unreachable);
                assert_eq!(client.engine.documents("i").len(), applied, "{strike:?}");
            });
        }
    }
}

#[test]
fn slow_answers_are_applied_at_once_and_late_requests_are_not() {
    let by = Duration::from_secs(3);
    for (strike, there) in [(Strike::SlowAnswer(by), 1), (Strike::Late(by), 0)] {
        run(6, async move {
            let client = Client::with(seeded(6), bulk(strike));
            let (sent, caller) = (Instant::now(), client.clone());
            let waiting = spawn_local(async move { caller.send("POST", "/i/_bulk", put("a")).await });
            sleep(Duration::from_millis(100)).await;
            assert_eq!(client.engine.documents("i").len(), there, "{strike:?}");
            assert_eq!(waiting.await.expect("no panic").0, 200);
            assert!(Instant::now() - sent >= by);
            assert_eq!(client.engine.documents("i").len(), 1);
        });
    }
}

#[test]
fn a_late_request_lands_after_the_call_has_timed_out() {
    for seed in 0..20 {
        run(seed, async move {
            let client = Client::with(seeded(seed), bulk(Strike::Late(Duration::from_secs(30))));
            let deadline = Instant::now() + Duration::from_secs(5);
            let sent = client.transport.send(request("POST", "/i/_bulk", put("a")), deadline.into_std());
            assert_eq!(sent.await.expect_err("too late").cause, Cause::TimedOut);
            assert_eq!(Instant::now(), deadline);
            sleep(Duration::from_secs(24)).await;
            assert!(client.engine.documents("i").is_empty());
            let arrival = client.engine.last_arrival().expect("still under way");
            client.engine.settle_until(arrival - Duration::from_nanos(1));
            assert!(client.engine.documents("i").is_empty());
            client.engine.settle_until(arrival);
            assert_eq!(client.engine.documents("i").len(), 1);
            assert_eq!(client.engine.last_arrival(), None);
        });
    }
}

#[test]
fn a_deadline_that_is_over_sends_nothing() {
    run(6, async {
        let client = Client::new(seeded(6));
        sleep(Duration::from_secs(1)).await;
        let sent = client.transport.send(request("POST", "/i/_bulk", put("a")), Instant::now().into_std());
        assert_eq!(sent.await.expect_err("no time").cause, Cause::TimedOut);
        assert_eq!(client.engine.last_arrival(), None);
    });
}

/// Sends a write and gives it up after `patience`, before or after its arrival: whether it was applied.
async fn given_up(seed: u64, before: bool) -> bool {
    let client = Client::new(seeded(seed));
    let caller = client.clone();
    let waiting = spawn_local(async move { caller.send("POST", "/i/_bulk", put("a")).await });
    tokio::task::yield_now().await;
    let arrival = client.engine.last_arrival().expect("a request under way");
    if !before {
        sleep_until(arrival).await;
    }
    waiting.abort();
    assert!(waiting.await.is_err() || !before);
    // Nobody looks until long after.
    sleep(Duration::from_secs(1)).await;
    client.engine.documents("i").len() == 1
}

#[test]
fn who_goes_away_before_the_arrival_cannot_know() {
    let before: Vec<_> = (0..40).map(|seed| run(seed, given_up(seed, true))).collect();
    assert!(before.contains(&true) && before.contains(&false), "{before:?}");
    assert_eq!(before, (0..40).map(|seed| run(seed, given_up(seed, true))).collect::<Vec<_>>());
    assert!((0..40).all(|seed| run(seed, given_up(seed, false))), "what has arrived is applied");
}

#[test]
fn half_of_the_items_are_refused() {
    run(6, async {
        let client = Client::with(seeded(6), bulk(Strike::Half));
        let body: String = (0..100).map(|id| put(&id.to_string())).collect();
        let (status, answer) = client.send("POST", "/i/_bulk", body).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(true)));
        let documents = client.engine.documents("i");
        let mut refused = 0;
        for item in answer["items"].as_array().expect("items") {
            let item = &item["index"];
            let there = documents.contains_key(item["_id"].as_str().expect("an id"));
            match item["status"].as_u64() {
                Some(201) => assert!(there),
                Some(429) => {
                    assert!(!there);
                    assert_eq!(item["error"]["type"], "rejected_execution_exception");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!((20..80).contains(&refused), "{refused}");
    });
}

#[test]
fn garbled_answers_lack_something() {
    run(6, async {
        let client = Client::with(seeded(6), |_| Strike::Garble);
        let (status, answer) = client.send("POST", "/i/_bulk", put("a") + &put("b") + &put("c")).await;
        assert_eq!((status, answer["items"].as_array().map(Vec::len)), (200, Some(2)));
        assert_eq!(client.engine.documents("i").len(), 3, "applied all the same");
        let (status, answer) = client.send("POST", "/i/_mget", r#"{"ids":["a","b"]}"#).await;
        assert_eq!((status, answer["docs"].as_array().map(Vec::len)), (200, Some(1)));
        let response: Response = client.try_send("POST", "/i/_search", "").await.expect("an answer");
        assert_eq!((response.status, tree(&response)), (200, Value::Null), "half a body");
    });
}

/// Two writers of one document at a time, strikes at random, a caller that goes away; the hash, and what is there then.
async fn bustle(seed: u64, look: bool) -> (u64, Vec<String>) {
    let chances = RefCell::new(fastrand::Rng::with_seed(seed));
    let chaos = move |_| match chances.borrow_mut().u8(..12) {
        0 => Strike::Refuse(503),
        1 => Strike::CutBefore,
        2 => Strike::CutAfter,
        3 => Strike::SlowAnswer(Duration::from_millis(500)),
        4 => Strike::Late(Duration::from_millis(700)),
        5 => Strike::Half,
        6 => Strike::Garble,
        _ => Strike::None,
    };
    let config = EngineConfig { prune_jitter: Duration::from_secs(1), keep_trace: true, ..seeded(seed) };
    let client = Client::with(config, chaos);
    let writers = (0..3).map(|writer| {
        let client = client.clone();
        spawn_local(async move {
            for round in 0..20 {
                let verb = if fastrand::bool() { "index" } else { "delete" };
                let action = json!({verb: {"_id": "a", "version": round * 3 + writer, "version_type": "external"}});
                let body = lines(&[(action, (verb == "index").then(|| json!({"writer": writer})))]);
                let deadline = Instant::now() + Duration::from_millis(fastrand::u64(1..600));
                let _ = client.transport.send(request("POST", "/i/_bulk", body), deadline.into_std()).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..100 {
        sleep(Duration::from_millis(7)).await;
        if look {
            let _ = (client.engine.documents("i"), client.engine.tombstones("i"), client.engine.trace_hash());
        }
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    if let Some(arrival) = client.engine.last_arrival() {
        client.engine.settle_until(arrival);
    }
    (client.engine.trace_hash(), client.engine.trace())
}

#[test]
fn equal_seeds_give_equal_runs_whoever_looks() {
    let mut hashes = BTreeSet::new();
    for seed in 0..10 {
        let (hash, lines) = run(seed, bustle(seed, false));
        let (again, looked_at) = run(seed, bustle(seed, true));
        assert_eq!(lines, looked_at, "seed {seed}");
        assert_eq!(hash, again, "seed {seed}");
        assert!(lines.len() > 60, "{}", lines.len());
        hashes.insert(hash);
    }
    assert_eq!(hashes.len(), 10);
}

#[test]
fn requests_overtake_one_another() {
    let first = |seed: u64| {
        run(seed, async move {
            let client = Client::new(seeded(seed));
            let send = |value: u8| {
                let client = client.clone();
                let body = lines(&[(json!({"create": {"_id": "a"}}), Some(json!({"value": value})))]);
                spawn_local(async move { client.transport.send(request("POST", "/i/_bulk", body), soon()).await })
            };
            for sent in [send(1), send(2)] {
                sent.await.expect("no panic").expect("an answer");
            }
            client.engine.documents("i")["a"].1["value"].as_u64()
        })
    };
    let firsts: BTreeSet<_> = (0..30).map(first).collect();
    assert_eq!(firsts, [Some(1), Some(2)].into());
}
