//! Where documents go, and what the index looks like.

use crate::support::event::{Stream, apart, event, named};
use crate::support::function::{dynamodb_sync, target};
use crate::support::index::{Index, expected};
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services, unique};
use serde_json::{Value, json};

#[tokio::test]
async fn without_a_pipeline_a_table_goes_to_an_index_of_its_own_name() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "own");
    let function = sync.start();
    let stream = Stream::of(index.name());
    function.succeed(event(&[stream.upsert(&apart(1), "1", "one")])).await;
    assert_eq!(index.fields().await, expected([("1", json!({"id": 1, "Name": "one"}))]));
    // The engine would map each field of the mark; nothing of it may be searchable, nor clash with anything.
    let mapping = index.mapping().await;
    assert_eq!(mapping["properties"]["_tidelock"], json!({"type": "object", "enabled": false}));
    let fields: Vec<&String> = mapping["properties"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["Name", "_tidelock", "id"]);
    assert_eq!(index.count(json!({"match": {"Name": "one"}})).await, 1);
    assert_eq!(index.count(json!({"exists": {"field": "_tidelock.space"}})).await, 0);
}

#[tokio::test]
async fn an_index_that_is_there_keeps_its_mapping_and_learns_the_mark() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "mapped");
    index.create(json!({"mappings": {"dynamic": "strict", "properties": {"id": {"type": "long"}, "Name": {"type": "keyword"}}}})).await;
    let function = sync.into(index.name()).start();
    function.succeed(event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")])).await;
    assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
    let mapping = index.mapping().await;
    assert_eq!(mapping["properties"]["_tidelock"], json!({"type": "object", "enabled": false}));
    assert_eq!(mapping["properties"]["Name"], json!({"type": "keyword"}));
    assert_eq!(mapping["dynamic"], "strict");
}

#[tokio::test]
async fn functions_that_create_one_index_at_the_same_time_all_succeed() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "together");
    let function = sync.into(index.name()).start();
    let stream = Stream::of("mytable");
    let events = (0..6).map(|id| event(&[stream.upsert(&apart(id), &id.to_string(), "one")]));
    futures_util::future::join_all(events.map(|event| function.succeed(event))).await;
    assert_eq!(index.fields().await.len(), 6);
    assert_eq!(index.mapping().await["properties"]["_tidelock"], json!({"type": "object", "enabled": false}));
}

/// What a document leaves, or is deleted from, may never have been there.
#[tokio::test]
async fn a_delete_makes_no_index() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "never");
    let function = sync.into(index.name()).start();
    let stream = Stream::of("mytable");
    function.succeed(event(&[stream.remove(&apart(1), "1")])).await;
    assert!(!index.exists().await);
    function.succeed(event(&[stream.remove(&apart(2), "1"), stream.upsert(&apart(3), "2", "two")])).await;
    assert_eq!(index.fields().await, expected([("2", json!({"id": 2, "Name": "two"}))]));
    assert_eq!(index.mapping().await["properties"]["_tidelock"], json!({"type": "object", "enabled": false}));
}

/// A pipeline with two routes and one table that has none.
fn pipeline(orders: &Index, customers: &Index, unmatched: &str) -> String {
    format!(
        "version: 1\nunmatched: {unmatched}\nroutes:\n  - name: orders\n    from: 'orders-*'\n    to: {}\n  - from: customer?\n    to: {}\n",
        orders.name(),
        customers.name()
    )
}

fn of_three_tables() -> Vec<Value> {
    let tables = ["orders-eu", "customers", "other", "orders-us"];
    (0..).zip(tables).map(|(n, table)| Stream::of(table).upsert(&apart(n), &n.to_string(), table)).collect()
}

#[tokio::test]
async fn routes_send_tables_to_indices_from_text_and_from_a_file() {
    let Some(url) = services::opensearch() else { return };
    for from_file in [false, true] {
        let Some(sync) = dynamodb_sync(&target(&url)) else { return };
        let (orders, customers, folder) = (Index::new(&url, "orders"), Index::new(&url, "customers"), Folder::new());
        let text = pipeline(&orders, &customers, "filter");
        let path = folder.path("pipeline.yaml");
        std::fs::write(&path, &text).unwrap();
        let function = sync.with("TIDELOCK_PIPELINE", if from_file { &path } else { &text }).start();
        function.succeed(event(&of_three_tables())).await;
        let order = |id: u32, name: &str| json!({"id": id, "Name": name});
        assert_eq!(orders.fields().await, expected([("0", order(0, "orders-eu")), ("3", order(3, "orders-us"))]));
        assert_eq!(customers.fields().await, expected([("1", order(1, "customers"))]));
        let metrics = function.metrics().await;
        assert_eq!((&metrics["Applied"], &metrics["Filtered"]), (&json!(3), &json!(1)));
    }
}

#[tokio::test]
async fn a_table_without_a_route_is_parked_where_the_pipeline_says_so() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let (orders, customers, folder) = (Index::new(&url, "orders"), Index::new(&url, "customers"), Folder::new());
    let path = folder.path("letters");
    let function = sync
        .with("TIDELOCK_PIPELINE", &pipeline(&orders, &customers, "error"))
        .with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}"))
        .start();
    function.succeed(event(&of_three_tables())).await;
    assert_eq!(reasons(&letters(&path)), [("unmatched".to_owned(), Some(apart(2)))]);
    assert_eq!((orders.fields().await.len(), customers.fields().await.len()), (2, 1));
}

#[tokio::test]
async fn a_table_whose_name_no_index_can_have_is_parked_with_the_way_out() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let (index, folder) = (Index::new(&url, "lower"), Folder::new());
    let path = folder.path("letters");
    let function = sync.with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
    let upper = Stream::of(format!("Upper-{}", unique("table")));
    let records = [upper.upsert(&apart(1), "1", "one"), Stream::of(index.name()).upsert(&apart(2), "2", "two")];
    function.succeed(event(&records)).await;
    let letters = letters(&path);
    assert_eq!(reasons(&letters), [("invalid_target_name".to_owned(), Some(apart(1)))]);
    let detail = letters[0]["detail"].as_str().unwrap();
    assert!(detail.contains("lower case") && detail.contains("TIDELOCK_PIPELINE"), "{detail}");
    assert_eq!(index.fields().await, expected([("2", json!({"id": 2, "Name": "two"}))]));
}
