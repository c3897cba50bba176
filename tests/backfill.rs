//! A table that was there before its stream gets into the index, while a writer goes on and the stream is followed.

use crate::support::function::{Running, Sync, function, target};
use crate::support::index::Index;
use crate::support::queue::letters;
use crate::support::table::{Table, attributes};
use crate::support::{Folder, services};
use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType};
use fastrand::Rng;
use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{LocalMapping, MappingSettings, Pace};

const ITEMS: usize = 1_200;
const SEGMENTS: usize = 4;

/// A function of a pipeline from a table to an index.
fn of_pipeline(name: &str, url: &str, dynamodb: &str, index: &Index, letters: &str) -> Option<Running> {
    Some(with_table(function(name, &target(url))?.into(index.name()), dynamodb, letters))
}

/// Starts a function that reads the table again, with a queue for letters.
fn with_table(function: Sync, dynamodb: &str, letters: &str) -> Running {
    let function = function
        .with("TIDELOCK_SOURCE", "dynamodb:")
        .with("TIDELOCK_DEAD_LETTERS", &format!("file:{letters}"))
        .with("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
        .with("AWS_REGION", "us-east-1");
    function.timeout(Duration::from_secs(60)).start()
}

async fn ask(function: &Running, event: Value) -> Result<Value, String> {
    match function.invoke(event.to_string()).await {
        Invocation::Response(body) => Ok(serde_json::from_slice(&body).unwrap()),
        other => Err(format!("{other:?}\n{}", function.log())),
    }
}

/// Scans a segment slice by slice, as the state machine does.
async fn scan(function: &Running, table: &str, segment: usize) -> (u64, u64) {
    let (mut position, mut scanned, mut written) = (Value::Null, 0, 0);
    loop {
        let event = json!({"origin": table, "segments": SEGMENTS, "segment": segment, "position": position});
        let answer = ask(function, event).await.unwrap();
        scanned += answer["scanned"].as_u64().unwrap();
        written += answer["written"].as_u64().unwrap();
        if answer["done"] == true {
            return (scanned, written);
        }
        position = answer["position"].clone();
    }
}

#[tokio::test]
async fn the_index_equals_the_table_although_a_writer_goes_on() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let (index, folder) = (Index::prepared(&url, "backfill").await, Folder::new());
    let table = Table::without_stream(&dynamodb, "backfill").await;
    let item = |n: usize| attributes(&json!({"n": n, "text": "x".repeat(n % 700)}));
    for n in 0..ITEMS {
        table.put(&format!("key {n}"), item(n)).await;
    }
    table.enable_stream(StreamViewType::NewAndOldImages).await;
    let path = folder.path("letters");
    let Some(sync) = of_pipeline("dynamodb-sync", &url, &dynamodb, &index, &path) else { return };
    let Some(backfill) = of_pipeline("backfill", &url, &dynamodb, &index, &path) else { return };
    let settings = MappingSettings { batch_size: 50, report_batch_item_failures: true, ..MappingSettings::default() };
    let source = table.source().await;
    let mut mapping = LocalMapping::new(settings, source, sync.process.clone()).unwrap().pace(Pace::fast());
    let over = Arc::new(AtomicBool::new(false));
    let following = async {
        while !over.load(Ordering::Relaxed) {
            mapping.run_until_idle().await.unwrap();
        }
        mapping.run_until_idle().await.unwrap()
    };
    let writer = async {
        let mut random = Rng::with_seed(7);
        for n in 0..1_500 {
            let id = format!("key {}", random.usize(..ITEMS + 100));
            match random.u8(..4) {
                0 => table.delete(&id).await,
                _ => table.put(&id, item(n)).await,
            }
        }
    };
    let scanning = join_all((0..SEGMENTS).map(|segment| scan(&backfill, &table.name, segment)));
    let work = async {
        let ((), scanned) = tokio::join!(writer, scanning);
        over.store(true, Ordering::Relaxed);
        scanned
    };
    let (_, scanned) = tokio::join!(following, work);
    let (read, written): (Vec<u64>, Vec<u64>) = scanned.into_iter().unzip();
    assert!(read.iter().sum::<u64>() > 900 && written.iter().sum::<u64>() > 500, "{read:?} {written:?}");
    assert_eq!(letters(&path), Vec::<Value>::new());
    let (expected, found) = (table.scan().await, index.fields().await);
    let differs = |id: &&String| expected.get(*id) != found.get(*id);
    let wrong: Vec<_> = expected.keys().chain(found.keys()).filter(differs).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Once more changes nothing: what is there is written by the truth, at the version it has.
    scan(&backfill, &table.name, 0).await;
    assert_eq!(index.fields().await, expected);
}

#[tokio::test]
async fn what_the_index_refuses_is_a_letter_that_can_be_redriven() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let (index, folder) = (Index::new(&url, "refused"), Folder::new());
    index.create(json!({"mappings": {"properties": {"age": {"type": "long"}}}})).await;
    let table = Table::without_stream(&dynamodb, "refused").await;
    table.put("good", attributes(&json!({"age": 1}))).await;
    table.put("bad", attributes(&json!({"age": "old"}))).await;
    let path = folder.path("letters");
    let Some(backfill) = of_pipeline("backfill", &url, &dynamodb, &index, &path) else { return };
    let answer = ask(&backfill, json!({"origin": table.name, "segments": 1, "segment": 0})).await.unwrap();
    assert_eq!((&answer["done"], &answer["written"], &answer["parked"]), (&json!(true), &json!(1), &json!(1)));
    assert_eq!(answer["reasons"], json!({"mapping_conflict": 1}));
    let Some(redrive) = of_pipeline("redrive", &url, &dynamodb, &index, &path) else { return };
    mended(&redrive, &index, &table, &path).await;
}

/// The operator lets the field be, and redrives the one letter: all is there, and nothing waits.
async fn mended(redrive: &Running, index: &Index, table: &Table, path: &str) {
    index.update_mapping(json!({"properties": {"age": {"type": "long", "ignore_malformed": true}}})).await;
    let answer = ask(redrive, json!({"redrive": ["dead-letters"]})).await.unwrap();
    assert_eq!(answer["redriven"]["dead-letters"]["applied"], 1, "{answer}");
    assert_eq!(index.fields().await, table.scan().await);
    assert_eq!(letters(path), Vec::<Value>::new());
}

#[tokio::test]
async fn an_item_that_fits_in_part_is_there_in_part_until_its_letter_is_redriven() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let (index, folder) = (Index::new(&url, "salvaged"), Folder::new());
    index.create(json!({"mappings": {"properties": {"age": {"type": "long"}}}})).await;
    let table = Table::without_stream(&dynamodb, "salvaged").await;
    table.put("good", attributes(&json!({"age": 1}))).await;
    table.put("bad", attributes(&json!({"age": "old", "name": "Tom"}))).await;
    let path = folder.path("letters");
    let route = json!([{"from": "*", "to": index.name(), "on_conflict": "salvage"}]);
    let pipeline = json!({"version": 1, "routes": route}).to_string();
    let start = |name: &str| {
        let function = function(name, &target(&url))?.with("TIDELOCK_PIPELINE", &pipeline);
        Some(with_table(function, &dynamodb, &path))
    };
    let Some(backfill) = start("backfill") else { return };
    let answer = ask(&backfill, json!({"origin": table.name, "segments": 1, "segment": 0})).await.unwrap();
    assert_eq!((&answer["done"], &answer["reasons"]), (&json!(true), &json!({"salvaged": 1})), "{answer}");
    let found = index.fields().await;
    assert_eq!(found["good"], json!({"id": "good", "age": 1}).into());
    assert_eq!(found["bad"], json!({"id": "bad", "name": "Tom", "_rejected": {"age": "old"}}).into());
    let Some(redrive) = start("redrive") else { return };
    mended(&redrive, &index, &table, &path).await;
}

/// A collection of a MongoDB, segment by segment as the state machine does.
#[tokio::test]
async fn a_collection_is_brought_in_and_a_second_time_what_has_changed_since() {
    let (Some(url), Some(source)) = (services::opensearch(), services::secantusdb()) else { return };
    let (index, folder) = (Index::prepared(&url, "collection").await, Folder::new());
    let Some(backfill) = function("backfill", &target(&url)) else { return };
    let backfill = backfill
        .into(index.name())
        .with("TIDELOCK_SOURCE", &source)
        .with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", folder.path("letters")))
        .timeout(Duration::from_secs(60))
        .start();
    let client = mongodb::Client::with_uri_str(&source).await.unwrap();
    let database = client.database(&format!("backfill-{}", std::process::id()));
    let collection = database.collection::<Document>("shop.orders");
    let items = (0..900).map(|n| doc! {"_id": format!("k{n}"), "n": n, "text": "x".repeat(100)});
    collection.insert_many(items).await.unwrap();
    let origin = format!("{}.shop.orders", database.name());
    let bring = async || {
        let survey = ask(&backfill, json!({"origin": origin, "segments": 3})).await.unwrap();
        let mut written = 0;
        for segment in 0..3 {
            let mut event = json!({"origin": origin, "segments": 3, "segment": segment, "job": survey["job"]});
            loop {
                let answer = ask(&backfill, event.clone()).await.unwrap();
                written += answer["written"].as_u64().unwrap();
                if answer["done"] == true {
                    break;
                }
                event["position"] = answer["position"].clone();
            }
        }
        written
    };
    assert_eq!(bring().await, 900);
    collection.update_one(doc! {"_id": "k7"}, doc! {"$set": {"n": -7_i64, "more": [1, 2]}}).await.unwrap();
    collection.insert_one(doc! {"_id": "later", "n": 1}).await.unwrap();
    assert_eq!(bring().await, 901, "what is there is written as the source has it now");
    let found = index.fields().await;
    assert_eq!(found.len(), 901);
    assert_eq!(found["k7"], json!({"n": -7, "text": "x".repeat(100), "more": [1, 2]}).into());
    assert_eq!(found["k899"], json!({"n": 899, "text": "x".repeat(100)}).into());
    assert_eq!(found["later"], json!({"n": 1}).into());
    assert_eq!(letters(&folder.path("letters")), Vec::<Value>::new());
    // Every slice needs the same segments, which only the survey knows.
    let error = ask(&backfill, json!({"origin": origin, "segments": 3, "segment": 1})).await.expect_err("no job");
    assert!(error.contains("`job` is missing"), "{error}");
    database.drop().await.unwrap();
}

#[tokio::test]
async fn requests_that_cannot_be_carried_out_say_why() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let (index, folder) = (Index::new(&url, "requests"), Folder::new());
    let Some(backfill) = of_pipeline("backfill", &url, &dynamodb, &index, &folder.path("letters")) else { return };
    let table = Table::without_stream(&dynamodb, "requests").await;
    table.put("a", [("x".to_owned(), AttributeValue::Bool(true))].into()).await;
    for (event, words) in [
        (json!({"segments": 1}), "origin"),
        (json!({"origin": "nowhere", "segments": 1}), "nowhere"),
        (json!({"origin": table.name, "segments": 0}), "0 segments"),
        (json!({"origin": table.name, "segments": 2, "segment": 2}), "counted from 0"),
        (json!({"origin": table.name, "segments": 1, "segment": 0, "position": "x"}), "position"),
        (json!({"origin": table.name, "segments": 1, "speed": 9}), "speed"),
    ] {
        let error = ask(&backfill, event.clone()).await.expect_err(words);
        assert!(error.contains(words), "{event}: {error}");
    }
    let survey = ask(&backfill, json!({"origin": table.name, "segments": 2})).await.unwrap();
    let slice = json!({"origin": table.name, "segments": 2, "segment": 0, "job": survey["job"]});
    assert_eq!(ask(&backfill, slice).await.unwrap()["done"], true);
    let other = json!({"origin": table.name, "segments": 3, "segment": 0, "job": survey["job"]});
    assert!(ask(&backfill, other).await.is_err_and(|error| error.contains("other segments")));
}
