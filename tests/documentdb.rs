//! `documentdb-sync` on real servers: every operation and key type, what is held, parked and read again.

use crate::support::collection::Database;
use crate::support::exact::Exact;
use crate::support::function::{Sync, function, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services};
use bytes::Bytes;
use mongodb::bson::doc;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tidelock_local::function::Invocation;

/// The text of `events/documentdb/NAME.json`.
fn sample(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/documentdb/{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// A function with files for its queues.
pub(crate) fn with_queues(name: &str, target: &str, folder: &Folder) -> Option<Sync> {
    let function = function(name, target)?.with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", folder.path("letters")));
    Some(function.with("TIDELOCK_FALLBACK", &format!("file:{}", folder.path("held"))))
}

/// A change of collection `c`.
pub(crate) fn change(operation: &str, database: &str, id: &Value, ordinal: u32, document: Option<Value>) -> Value {
    let mut event = json!({
        "_id": {"_data": format!("01{ordinal:08x}")}, "clusterTime": {"$timestamp": {"t": 1_588_166_728, "i": ordinal}},
        "documentKey": {"_id": id}, "ns": {"db": database, "coll": "c"}, "operationType": operation,
    });
    if let Some(document) = document {
        event["fullDocument"] = document;
    }
    json!({"event": event})
}

pub(crate) fn event(changes: &[Value]) -> Bytes {
    let arn = "arn:aws:rds:us-east-1:123456789012:cluster:demo-cluster";
    json!({"eventSourceArn": arn, "events": changes, "eventSource": "aws:docdb"}).to_string().into()
}

#[tokio::test]
async fn every_operation_reaches_the_index() {
    let (Some(url), folder) = (services::opensearch(), Folder::new()) else { return };
    let index = Index::new(&url, "docdb");
    let Some(sync) = with_queues("documentdb-sync", &target(&url), &folder) else { return };
    let sync = sync.into(index.name()).start();
    sync.succeed(sample("insert-three")).await;
    sync.succeed(sample("update")).await;
    let id = |k: u8| format!("63eeb6e7d418cd98afb1c1{k:02x}");
    let fields = index.fields().await;
    assert_eq!(fields.len(), 3);
    assert_eq!(fields[&id(1)], Exact::from(json!({"name": "John", "age": 31, "created": "2020-04-29T13:25:28.000Z"})));
    sync.succeed(sample("replace")).await;
    assert_eq!(index.fields().await[&id(1)], Exact::from(json!({"name": "John Doe"})));
    sync.succeed(sample("delete")).await;
    // What has been is not again.
    sync.succeed(sample("insert-three")).await;
    assert_eq!(index.fields().await.into_keys().collect::<Vec<_>>(), [id(2), id(3)]);
    // Of one time: the last one counts.
    sync.succeed(sample("same-time")).await;
    assert_eq!(index.fields().await[&id(0x28)], Exact::from(json!({"step": 3})));
    assert!(letters(&folder.path("letters")).is_empty());
}

#[tokio::test]
async fn every_key_comes_and_goes() {
    let (Some(url), folder) = (services::opensearch(), Folder::new()) else { return };
    let index = Index::new(&url, "docdb-keys");
    let Some(sync) = with_queues("documentdb-sync", &target(&url), &folder) else { return };
    let sync = sync.into(index.name()).start();
    sync.succeed(sample("keys")).await;
    let mut ids: Vec<String> = index.fields().await.into_keys().collect();
    ids.sort();
    let mut expected = vec![
        "63eeb6e7d418cd98afb1c109",
        "order-17",
        "\"7\"",
        "7",
        "7000000000",
        r#"{"$numberDouble":"0.5"}"#,
        r#"{"$numberDecimal":"0.1"}"#,
        "true",
        r#"{"$date":"2020-04-29T13:22:08.000Z"}"#,
        "01234567-89ab-cdef-0123-456789abcdef",
        r#"{"$binary":{"base64":"q83v","subType":"00"}}"#,
        r#"{"country":"de","number":5}"#,
        r#"{"$timestamp":{"t":1588166528,"i":1}}"#,
        "null",
    ];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    sync.succeed(sample("keys-deleted")).await;
    assert!(index.fields().await.is_empty());
    assert!(letters(&folder.path("letters")).is_empty());
}

#[tokio::test]
async fn bad_changes_are_parked_and_their_neighbours_applied() {
    let (Some(url), folder) = (services::opensearch(), Folder::new()) else { return };
    let index = Index::new(&url, "docdb-bad");
    let Some(sync) = with_queues("documentdb-sync", &target(&url), &folder) else { return };
    let sync = sync.into(index.name()).start();
    for name in
        ["bad-among-good", "unrepresentable", "drop", "rename", "drop-database", "invalidate", "unknown-operation"]
    {
        sync.succeed(sample(name)).await;
    }
    let names: Vec<Exact> = index.fields().await.into_values().collect();
    assert_eq!(names, ["before", "after", "first", "last"].map(|name| Exact::from(json!({"name": name}))));
    let found: Vec<String> = reasons(&letters(&folder.path("letters"))).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(
        found,
        [
            "missing_key",
            "invalid_value",
            "invalid_position",
            "reserved_field",
            "malformed_record",
            "unrepresentable_value",
            "unrepresentable_value",
            "collection_dropped",
            "collection_renamed",
            "database_dropped",
            "stream_invalidated",
            "unknown_event",
        ]
    );
    // As the pipeline says, some of them are nobody's business.
    let quiet = "{version: 1, routes: [{from: '*', to: x, on_drop: ignore, on_rename: ignore, on_drop_database: ignore, on_invalidate: ignore}]}";
    let sync = with_queues("documentdb-sync", &target(&url), &folder).unwrap().with("TIDELOCK_PIPELINE", quiet).start();
    for name in ["drop", "rename", "drop-database", "invalidate"] {
        sync.succeed(sample(name)).await;
        assert_eq!(sync.metrics().await["Filtered"], 1, "{name}");
    }
    assert_eq!(letters(&folder.path("letters")).len(), found.len());
}

#[tokio::test]
async fn what_is_no_event_of_the_source_fails_with_a_clear_word() {
    let folder = Folder::new();
    let Some(sync) = with_queues("documentdb-sync", "opensearch+http://127.0.0.1:9", &folder) else { return };
    let sync = sync.start();
    for (event, says) in [
        (r#"{"Records":[]}"#, "there is no `events` array; is this function mapped to the right source?"),
        (r#"{"events":[],"eventSource":"aws:sqs"}"#, "`eventSource` is `aws:sqs`, not `aws:docdb`"),
        ("[]", "there is no `events` array"),
        ("7", "there is no `events` array"),
    ] {
        let invocation = sync.invoke(event).await;
        assert!(format!("{invocation:?}").contains(says), "{event}: {invocation:?}");
    }
}

#[tokio::test]
async fn without_a_queue_for_what_is_held_it_does_not_start() {
    let Some(sync) = function("documentdb-sync", "opensearch+http://127.0.0.1:9") else { return };
    let sync = sync.start();
    assert!(matches!(sync.invoke(sample("insert")).await, Invocation::InitError { .. }), "{}", sync.log());
    sync.logged(&["TIDELOCK_FALLBACK is not set"]).await;
    let retries = "{version: 1, routes: [{from: '*', on_outage: retry}]}";
    let sync = function("documentdb-sync", "opensearch+http://127.0.0.1:9").unwrap();
    let sync = sync.with("TIDELOCK_PIPELINE", retries).timeout(Duration::from_secs(4)).start();
    let invocation = sync.invoke(sample("insert-three")).await;
    let told = format!("{invocation:?}");
    assert!(told.contains("3 of 3 changes are neither applied nor stored") && told.contains("unreachable"), "{told}");
}

#[tokio::test]
async fn the_stream_moves_on_while_the_target_is_down() {
    let (Some(url), folder) = (services::opensearch(), Folder::new()) else { return };
    let index = Index::new(&url, "docdb-held");
    let Some(away) = with_queues("documentdb-sync", "opensearch+http://127.0.0.1:9", &folder) else { return };
    let away = away.into(index.name()).timeout(Duration::from_secs(10)).start();
    for name in ["insert-three", "update", "keys", "bad-among-good"] {
        away.succeed(sample(name)).await;
    }
    assert_eq!(away.metrics().await["Held"], 2);
    let held = letters(&folder.path("held"));
    assert!(held.len() >= 4, "{held:?}");
    assert_eq!((&held[0]["source"]["kind"], &held[0]["reason"]), (&json!("mongodb"), &json!("unreachable")));
    let parked = letters(&folder.path("letters")).len();
    assert_eq!(parked, 5);

    let redrive = with_queues("redrive", &target(&url), &folder).unwrap().into(index.name()).start();
    let told = redrive.invoke(json!({"redrive": ["fallback", "dead-letters"]}).to_string()).await;
    let Invocation::Response(body) = &told else { panic!("{told:?}\n{}", redrive.log()) };
    let told: Value = serde_json::from_slice(body).unwrap();
    // Three that were inserted, of which one has changed since; every key; first and last.
    assert_eq!(told["redriven"]["fallback"]["applied"], 3 + 1 + 14 + 2, "{told}\n{}", redrive.log());
    assert_eq!(told["redriven"]["dead-letters"]["parked"].as_object().unwrap().len(), 5, "{told}");
    let fields = index.fields().await;
    assert_eq!((fields.len(), letters(&folder.path("held")).len()), (3 + 14 + 2, 0));
    assert_eq!(fields["63eeb6e7d418cd98afb1c101"].get("age"), Some(&Exact::number("31")));
}

#[tokio::test]
async fn where_nothing_can_be_held_the_batch_comes_again() {
    let folder = Folder::new();
    let Some(sync) = function("documentdb-sync", "opensearch+http://127.0.0.1:9") else { return };
    let nowhere = format!("file:{}", folder.path("no/such/folder/held"));
    let sync = sync
        .with("TIDELOCK_FALLBACK", &nowhere)
        .with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", folder.path("letters")));
    let sync = sync.timeout(Duration::from_secs(8)).start();
    let told = format!("{:?}", sync.invoke(sample("bad-among-good")).await);
    assert!(told.contains("2 of 7 changes are neither applied nor stored to be applied later"), "{told}");
    assert!(told.contains("not_held") && !told.contains("sequence number"), "{told}");
    assert!(letters(&folder.path("letters")).is_empty(), "they come again, too");
}

/// From a collection that the source is read at into a collection.
async fn of_collections(source: &str, into: &str) {
    let folder = Folder::new();
    let (from, to) = (Database::create(source, "from").await, Database::create(into, "to").await);
    let Some(sync) = with_queues("documentdb-sync", &to.uri, &folder) else { return };
    let route = format!("{{version: 1, routes: [{{from: {}.c, to: {}.c}}]}}", from.name, to.name);
    let sync = sync.with("TIDELOCK_SOURCE", source).with("TIDELOCK_PIPELINE", &route).start();
    let of = |operation, id: Value, ordinal, document| change(operation, &from.name, &id, ordinal, document);
    // 1 has gone meanwhile, 2 has changed since, 3 came with its document, 4 is deleted.
    from.collection()
        .insert_one(doc! {"_id": 2, "n": 7_i64, "at": mongodb::bson::DateTime::from_millis(5)})
        .await
        .unwrap();
    sync.succeed(event(&[
        of("insert", json!(1), 1, Some(json!({"_id": 1, "n": 1}))),
        of("insert", json!(4), 2, Some(json!({"_id": 4, "n": {"$numberLong": "4"}}))),
    ]))
    .await;
    assert_eq!(to.documents().await, [doc! {"_id": 1, "n": 1}, doc! {"_id": 4, "n": 4_i64}]);
    sync.succeed(event(&[
        of("update", json!(1), 3, None),
        of("update", json!(2), 4, Some(Value::Null)),
        of(
            "replace",
            json!(3),
            5,
            Some(json!({"_id": 3, "m": {"$numberDecimal": "1.50"}, "l": [1.0, {"$minKey": 1}]})),
        ),
        of("delete", json!(4), 6, None),
    ]))
    .await;
    let expected = [
        doc! {"_id": 2, "n": 7_i64, "at": mongodb::bson::DateTime::from_millis(5)},
        doc! {"_id": 3, "m": "1.50".parse::<mongodb::bson::Decimal128>().unwrap(), "l": [1.0, mongodb::bson::Bson::MinKey]},
    ];
    assert_eq!(to.documents().await, expected, "{}", sync.log());
    assert!(letters(&folder.path("letters")).is_empty() && letters(&folder.path("held")).is_empty());
    from.drop().await;
    to.drop().await;
}

#[tokio::test]
async fn from_secantusdb_into_ferretdb_and_back() {
    let (Some(secantus), Some(ferret)) = (services::secantusdb(), services::ferretdb()) else { return };
    of_collections(&secantus, &ferret).await;
    of_collections(&ferret, &secantus).await;
}

#[tokio::test]
async fn without_its_document_a_change_is_read_again_for_the_index() {
    let (Some(url), Some(source)) = (services::opensearch(), services::secantusdb()) else { return };
    let (folder, from) = (Folder::new(), Database::create(&source, "truth").await);
    let index = Index::new(&url, "docdb-truth");
    let Some(sync) = with_queues("documentdb-sync", &target(&url), &folder) else { return };
    from.collection().insert_one(doc! {"_id": "b", "n": 7}).await.unwrap();
    let changes = event(&[
        change("update", &from.name, &json!("a"), 1, None),
        change("update", &from.name, &json!("b"), 2, None),
    ]);
    // Without a source they wait as letters,
    let blind = sync.into(index.name()).start();
    blind.succeed(changes.clone()).await;
    let found = letters(&folder.path("letters"));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["reason"], "missing_image");
    // with one they are what the source says, the one that is gone included.
    let redrive = with_queues("redrive", &target(&url), &folder)
        .unwrap()
        .into(index.name())
        .with("TIDELOCK_SOURCE", &source)
        .start();
    let told = format!("{:?}", redrive.invoke(json!({"redrive": ["dead-letters"]}).to_string()).await);
    assert_eq!(
        index.fields().await.into_iter().collect::<Vec<_>>(),
        [("b".to_owned(), Exact::from(json!({"n": 7})))],
        "{told}"
    );
    assert!(letters(&folder.path("letters")).is_empty(), "{told}");
    from.drop().await;
}

#[tokio::test]
async fn routes_look_at_the_documents() {
    let (Some(url), folder) = (services::opensearch(), Folder::new()) else { return };
    let (index, other) = (Index::new(&url, "docdb-where"), Index::new(&url, "docdb-else"));
    let pipeline = format!(
        "version: 1\nroutes:\n  - {{from: '*', where: .age > 29, to: {}, transform: [{{rename: {{name: called}}}}]}}\n  - {{from: '*', to: {}}}\n",
        index.name(),
        other.name()
    );
    let Some(sync) = with_queues("documentdb-sync", &target(&url), &folder) else { return };
    let sync = sync.with("TIDELOCK_PIPELINE", &pipeline).start();
    sync.succeed(sample("insert-three")).await;
    let called: Vec<Exact> = index.fields().await.into_values().collect();
    assert_eq!(called, [json!({"called": "John", "age": 30}), json!({"called": "Ann", "age": 42})].map(Exact::from));
    assert_eq!(
        other.fields().await.into_values().collect::<Vec<_>>(),
        [Exact::from(json!({"name": "Zoë", "age": 27}))]
    );
}
