//! `redrive` on demand and on its schedule: letters in SQS and S3, records that Lambda gave up, a lease.

use crate::support::bucket::Bucket;
use crate::support::event::{AT, Stream, apart, event, named};
use crate::support::function::{Running, Sync, all_to, function, target};
use crate::support::index::Index;
use crate::support::queue::Queue;
use crate::support::table::{Table, attributes};
use crate::support::{Folder, services};
use aws_sdk_dynamodb::types::StreamViewType;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{LocalMapping, MappingSettings, OnFailure, Pace};

/// A queue and a bucket of a test's own.
struct Place {
    letters: Queue,
    bucket: Bucket,
    index: Index,
    url: String,
}

impl Place {
    async fn new(purpose: &str) -> Option<Self> {
        let url = services::opensearch()?;
        let index = Index::new(&url, purpose);
        Some(Self { letters: Queue::create(purpose).await?, bucket: Bucket::create(purpose).await?, index, url })
    }

    fn function(&self, name: &str) -> Option<Sync> {
        let function = function(name, &target(&self.url))?.with("TIDELOCK_PIPELINE", &all_to(self.index.name()));
        let function = function
            .with("TIDELOCK_DEAD_LETTERS", &self.letters.url)
            .with("TIDELOCK_LETTERS_BUCKET", &self.bucket.name)
            .with("AWS_ENDPOINT_URL_SQS", &self.letters.service)
            .with("AWS_ENDPOINT_URL_S3", &self.bucket.service)
            .with("AWS_REGION", "us-east-1");
        Some(function)
    }
}

async fn ask(redrive: &Running, request: Value) -> Value {
    let invocation = redrive.invoke(request.to_string()).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", redrive.log()) };
    serde_json::from_slice(body).unwrap()
}

/// As [`ask`], of letters.
async fn of_letters(redrive: &Running, request: Value) -> Value {
    ask(redrive, request).await["redriven"]["dead-letters"].clone()
}

#[tokio::test]
async fn one_in_a_hundred_is_poison_until_the_mapping_is_mended() {
    let Some(place) = Place::new("mended").await else { return };
    place.index.create(json!({"mappings": {"properties": {"age": {"type": "long"}}}})).await;
    let Some(sync) = place.function("dynamodb-sync") else { return };
    let (sync, stream) = (sync.start(), Stream::of("mytable"));
    let age = |n: u32| if n % 100 == 7 { json!({"S": format!("{n} years")}) } else { json!({"N": n.to_string()}) };
    let records: Vec<Value> =
        (0..2_000).map(|n| stream.item(&apart(n), &n.to_string(), AT, &json!({"age": age(n)}))).collect();
    for batch in records.chunks(500) {
        sync.succeed(event(batch)).await;
    }
    assert_eq!((place.index.fields().await.len(), place.letters.count().await), (1_980, 20));
    let Some(redrive) = place.function("redrive") else { return };
    let redrive = redrive.start();
    let all = json!({"redrive": ["dead-letters"]});
    // As long as nothing is mended they are refused again, and count their attempts.
    let told = of_letters(&redrive, all.clone()).await;
    assert_eq!((&told["parked"], &told["applied"]), (&json!({"mapping_conflict": 20}), &json!(0)), "{told}");
    place.index.update_mapping(json!({"properties": {"age": {"type": "long", "ignore_malformed": true}}})).await;
    let dry = json!({"redrive": ["dead-letters"], "dry_run": true, "reason": ["mapping_conflict"]});
    assert_eq!(place.letters.count().await, 20);
    let told = of_letters(&redrive, dry).await;
    assert_eq!((&told["applied"], place.letters.count().await), (&json!(20), 20), "{told}");
    let none = json!({"redrive": ["dead-letters"], "reason": ["unknown_type"]});
    assert_eq!(of_letters(&redrive, none).await["messages"], 0);
    let one = json!({"redrive": ["dead-letters"], "key": "107"});
    assert_eq!(of_letters(&redrive, one).await["applied"], 1);
    let told = of_letters(&redrive, all).await;
    assert_eq!((&told["applied"], &told["completed"]), (&json!(19), &json!(19)), "{told}");
    assert_eq!((place.index.fields().await.len(), place.letters.count().await), (2_000, 0));
}

#[tokio::test]
async fn what_does_not_fit_into_a_message_lies_in_the_bucket() {
    let Some(place) = Place::new("large").await else { return };
    place.index.create(json!({"mappings": {"properties": {"age": {"type": "long"}}}})).await;
    let Some(sync) = place.function("dynamodb-sync") else { return };
    let (sync, stream) = (sync.start(), Stream::of("mytable"));
    let large = json!({"age": {"S": "old"}, "text": {"S": "x".repeat(1_200_000)}});
    sync.succeed(event(&[stream.item(&apart(1), "1", AT, &large), stream.upsert(&apart(2), "2", "two")])).await;
    let objects = place.bucket.names().await;
    assert_eq!((objects.len(), place.letters.count().await), (1, 1));
    assert!(objects[0].starts_with("letters/"), "{objects:?}");
    place.index.update_mapping(json!({"properties": {"age": {"type": "long", "ignore_malformed": true}}})).await;
    let Some(redrive) = place.function("redrive") else { return };
    let told = of_letters(&redrive.start(), json!({"redrive": ["dead-letters"]})).await;
    assert_eq!((&told["applied"], place.letters.count().await), (&json!(1), 0), "{told}");
    assert_eq!(place.index.fields().await.len(), 2);
    assert_eq!(place.bucket.names().await, objects, "objects go by the bucket's rules alone");
}

#[tokio::test]
async fn strangers_stay_in_the_queue_and_are_reported() {
    let Some(place) = Place::new("strangers").await else { return };
    let Some(redrive) = place.function("redrive") else { return };
    for body in ["hello", r#"{"tidelock":9,"letter_id":"x"}"#, r#"{"tidelock":1,"letter_id":"x"}"#] {
        place.letters.send(body).await;
    }
    let redrive = redrive.start();
    let told = of_letters(&redrive, json!({"redrive": ["dead-letters"]})).await;
    let because = told["kept_because"].to_string();
    for words in ["neither one of tidelock's", "upgrade", "damaged"] {
        assert!(because.contains(words), "{because}");
    }
    assert_eq!((&told["kept"], place.letters.count().await), (&json!(3), 3));
    let scheduled = ask(&redrive, json!({"source": "aws.events"})).await;
    assert_eq!(scheduled["waiting"]["dead-letters"]["unreadable"], 3, "{scheduled}");
    redrive.logged(&["\"LettersWaiting\":3"]).await;
}

/// A table's changes that a mapping gave up, because its target was away; and the on-failure records it left.
async fn given_up(dynamodb: &str, folder: &Folder) -> Option<(Table, Vec<Value>)> {
    let table = Table::create(dynamodb, "given-up", StreamViewType::NewAndOldImages).await;
    for n in 0..30 {
        table.put(&format!("key {}", n % 20), attributes(&json!({"n": n}))).await;
    }
    table.delete("key 3").await;
    let sync = function("dynamodb-sync", "opensearch+http://127.0.0.1:9")?.timeout(Duration::from_secs(2)).start();
    let settings = MappingSettings {
        batch_size: 10,
        maximum_retry_attempts: 0,
        report_batch_item_failures: true,
        ..MappingSettings::default()
    };
    let path = folder.path("failures.jsonl");
    let mut mapping = LocalMapping::new(settings, table.source().await, sync.process.clone()).unwrap();
    mapping = mapping.pace(Pace::fast()).on_failure(OnFailure::JsonLines(path.clone().into()));
    mapping.run_until_idle().await.unwrap();
    let lines = std::fs::read_to_string(path).unwrap();
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.len() >= 3, "{records:?}");
    Some((table, records))
}

#[tokio::test]
async fn records_that_are_only_named_are_fetched_from_the_stream() {
    let Some(dynamodb) = services::dynamodb() else { return };
    let Some(place) = Place::new("fetched").await else { return };
    let Some(failures) = Queue::create("failures").await else { return };
    let folder = Folder::new();
    let Some((table, records)) = given_up(&dynamodb, &folder).await else { return };
    for mut record in records {
        record.as_object_mut().unwrap().remove("payload").unwrap();
        failures.send(&record.to_string()).await;
    }
    // And one whose stream is gone.
    let gone = json!({
        "requestContext": {"condition": "RecordAgeExceeded"}, "version": "1.0",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001573689847184-864758bb", "startSequenceNumber": "800000000003126276362",
            "endSequenceNumber": "800000000003126276363", "batchSize": 2,
            "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
            "streamArn": "arn:aws:dynamodb:us-east-1:000000000000:table/gone/stream/2019-11-14T00:04:06.388",
        },
    });
    failures.send(&gone.to_string()).await;
    let Some(redrive) = place.function("redrive") else { return };
    let redrive = redrive
        .with("TIDELOCK_FAILURES", &failures.url)
        .with("TIDELOCK_SOURCE", "dynamodb:")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb)
        .with("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", &dynamodb)
        .start();
    let told = ask(&redrive, json!({"source": "aws.events"})).await["redriven"]["failures"].clone();
    assert_eq!((&told["parked"], failures.count().await), (&json!({"records_lost": 1}), 0), "{told}");
    assert_eq!(place.index.fields().await, table.scan().await);
    let letter = &place.letters.take().await[0];
    assert_eq!(letter.attributes, ("records_lost".to_owned(), "gone".to_owned()));
    let detail = letter.letter["detail"].as_str().unwrap();
    assert!(detail.contains("2 records of shard shardId-00000001573689847184-864758bb"), "{detail}");
    assert!(detail.contains("800000000003126276362 to 800000000003126276363"), "{detail}");
}

#[tokio::test]
async fn one_redrive_at_a_time() {
    let Some(place) = Place::new("lease").await else { return };
    let folder = Folder::new();
    let state = folder.path("state");
    let Some(redrive) = place.function("redrive") else { return };
    let redrive = redrive.with("TIDELOCK_STATE", &format!("file:{state}")).start();
    let told = ask(&redrive, json!({"source": "aws.events"})).await;
    assert!(told.get("skipped").is_none(), "{told}");
    // The lease is given back; somebody else takes it.
    let entries: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert!(entries["values"].get("lease/redrive").is_none() && entries["values"].get("redrive/surveyed").is_some());
    let held = json!({"owner": "somebody else", "until_ms": 4_000_000_000_000_i64}).to_string();
    std::fs::write(&state, json!({"writes": 9, "values": {"lease/redrive": [9, held]}}).to_string()).unwrap();
    let told = ask(&redrive, json!({"source": "aws.events"})).await;
    assert!(told["skipped"].as_str().is_some_and(|why| why.contains("somebody else")), "{told}");
    let invocation = redrive.invoke(r#"{"redrive":["dead-letters"]}"#).await;
    let Some((_, message)) = invocation.error() else { panic!("{invocation:?}") };
    assert!(message.contains("somebody else"), "{message}");
}

#[tokio::test]
async fn what_is_held_is_looked_through_only_when_it_could_expire() {
    let Some(fallback) = Queue::create("young").await else { return };
    let folder = Folder::new();
    let state = folder.path("state");
    let Some(redrive) = function("redrive", "opensearch+http://127.0.0.1:9") else { return };
    let redrive = redrive
        .with("TIDELOCK_FALLBACK", &fallback.url)
        .with("TIDELOCK_STATE", &format!("file:{state}"))
        .with("AWS_ENDPOINT_URL_SQS", &fallback.service)
        .with("AWS_REGION", "us-east-1")
        .start();
    let held = async || ask(&redrive, json!({"source": "aws.events"})).await["waiting"]["fallback"].clone();
    assert_eq!(held().await["messages"], 0);
    fallback.send(&letter()).await;
    let remember = |values: Value| std::fs::write(&state, json!({"writes": 9, "values": values}).to_string()).unwrap();
    let seen_empty: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    remember(json!({"redrive/fallback-empty": seen_empty["values"]["redrive/fallback-empty"]}));
    let young = held().await;
    assert_eq!((&young["messages"], young.get("reasons")), (&json!(1), None), "{young}");
    // The queue keeps what it holds for four days.
    let three_days_ago = SystemTime::now() - Duration::from_secs(3 * 86_400);
    let three_days_ago = three_days_ago.duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    for values in [json!({"redrive/fallback-empty": [8, three_days_ago]}), json!({})] {
        remember(values);
        let old = held().await;
        assert_eq!(old["reasons"], json!({"mapping_conflict": 1}), "{old}");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_carried_out_say_why() {
    let Some(place) = Place::new("requests").await else { return };
    let Some(redrive) = place.function("redrive") else { return };
    let redrive = redrive.start();
    for (request, words) in [
        (json!({"redrive": []}), "names nothing"),
        (json!({"redrive": ["everything"]}), "everything"),
        (json!({"redrive": ["fallback"]}), "TIDELOCK_FALLBACK is not set"),
        (json!({"redrive": ["dead-letters"], "before": "yesterday"}), "yesterday"),
        (json!({"redrive": ["dead-letters"], "colour": "red"}), "colour"),
        (json!({"Records": [{"messageId": "1", "body": "", "eventSource": "aws:dynamodb"}]}), "aws:dynamodb"),
    ] {
        let invocation = redrive.invoke(request.to_string()).await;
        let Some((_, message)) = invocation.error() else { panic!("{request}: {invocation:?}") };
        assert!(message.contains(words), "{request}: {message}");
    }
    let truth = json!({"redrive": ["dead-letters"], "mode": "truth"});
    place.letters.send(&letter()).await;
    let told = of_letters(&redrive, truth).await;
    assert!(told["kept_because"].to_string().contains("TIDELOCK_SOURCE"), "{told}");
    assert_eq!(of_letters(&redrive, json!({"redrive": ["dead-letters"]})).await["applied"], 1);
    assert_eq!(place.index.fields().await, BTreeMap::from([("1".to_owned(), named(1, "one"))]));
}

/// A letter of a record that would pass.
fn letter() -> String {
    let record = Stream::of("mytable").upsert(&apart(1), "1", "one");
    json!({
        "tidelock": 1, "letter_id": "x", "reason": "mapping_conflict", "source": {"kind": "dynamodb", "name": "mytable"},
        "record": record, "attempts": 1, "first_failed_at": "2100-01-01T00:00:00.000Z",
    })
    .to_string()
}
