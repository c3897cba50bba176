//! Collections of DocumentDB that are dropped, and take their documents with them (`on_drop: delete-all`).

use super::stage::Stage;
use crate::documentdb::event;
use crate::support::eventually;
use crate::support::function::{Running, Sync};
use serde_json::{Value, json};
use std::time::Duration;
use tidelock_local::function::Invocation;

/// A change of a collection of `shop`, or its end.
fn change(operation: &str, collection: &str, id: Option<&str>, time: u32) -> Value {
    let mut event = json!({
        "_id": {"_data": format!("{time:08x}")}, "clusterTime": {"$timestamp": {"t": 1_588_166_728 + time, "i": 1}},
        "ns": {"db": "shop", "coll": collection}, "operationType": operation,
    });
    if let Some(id) = id {
        event["documentKey"] = json!({"_id": id});
        event["fullDocument"] = json!({"_id": id, "time": time.to_string()});
    }
    json!({"event": event})
}

fn put(collection: &str, id: &str, time: u32) -> Value {
    change("insert", collection, Some(id), time)
}

fn drop_of(collection: &str, time: u32) -> Value {
    change("drop", collection, None, time)
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

async fn redriven(redrive: &Running) -> Value {
    let invocation = redrive.invoke(json!({"redrive": ["fallback"]}).to_string()).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", redrive.log()) };
    serde_json::from_slice::<Value>(body).unwrap()["redriven"]["fallback"].clone()
}

/// Two collections have one place; documents of others and of no collection lie there, too.
pub(crate) async fn dropped(stage: &Stage) {
    let to = stage.base();
    let routes = |on_outage: &str| {
        let route =
            |from: &str, to: &str| format!("{{from: {from}, to: {to}, on_outage: {on_outage}, on_drop: delete-all}}");
        format!("{{version: 1, routes: [{}, {}]}}", route("shop.orders", &to), route("shop.things", &to))
    };
    let with = |function: Sync, on_outage: &str| {
        let function = function.with("TIDELOCK_PIPELINE", &routes(on_outage));
        function.with("TIDELOCK_FALLBACK", &stage.fallback())
    };
    let sync = with(stage.function("documentdb-sync"), "retry").start();
    let nowhere =
        if stage.target().starts_with("mongodb") { "mongodb://127.0.0.1:9/d" } else { "opensearch+http://127.0.0.1:9" };
    let away = with(stage.function("documentdb-sync"), "hold").with("TIDELOCK_TARGET", nowhere);
    let away = away.timeout(Duration::from_secs(10)).start();
    let redrive = with(stage.redrive(), "hold").start();
    let left = async || stage.documents().await.into_keys().collect::<Vec<_>>();

    let before = [put("orders", "a", 1), put("orders", "b", 1), put("things", "t", 1)];
    sync.succeed(event(&before)).await;
    stage.plant("foreign", None, json!({"old": true})).await;
    away.succeed(event(&[put("orders", "held", 2)])).await;
    sync.succeed(event(&[drop_of("orders", 5)])).await;
    assert_eq!(sync.metrics().await["DeletedWithCollection"], 2, "{}", sync.log());
    assert_eq!(left().await, ids(&["foreign", "t"]), "{}", sync.log());

    // What was held before it does not come back; what the collection holds anew does.
    sync.succeed(event(&[put("orders", "new", 6)])).await;
    let told = redriven(&redrive).await;
    assert_eq!((&told["stale"], &told["applied"]), (&json!(1), &json!(0)), "{told}");
    assert_eq!(left().await, ids(&["foreign", "new", "t"]));

    // A batch that comes late brings one back until the sweep; a server may remember its delete for a while.
    eventually("a late write", async || {
        let _ = sync.invoke(event(&[put("orders", "b", 1)])).await;
        left().await.contains(&"b".to_owned()).then_some(())
    })
    .await;
    let swept = stage.swept_later(&redrive).await;
    assert_eq!((&swept["removed"], left().await), (&json!(1), ids(&["foreign", "new", "t"])), "{swept}");

    // Dropped while the target was away.
    away.succeed(event(&[drop_of("orders", 7), put("orders", "newer", 8)])).await;
    let told = redriven(&redrive).await;
    assert_eq!(told["applied"], 2, "{told}\n{}", redrive.log());
    assert_eq!(left().await, ids(&["foreign", "newer", "t"]));
    assert_eq!(stage.letters(), []);
}
