//! What the source reads, and where it goes on.

use std::task::Poll;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Regex, Timestamp, Uuid, cstr, doc};
use serde_json::{Value, json};
use tidelock_local::clock::Moment;
use tidelock_local::source::documentdb::{ChangeStreamSettings, DocumentDbSource, ExtendedJson, FullDocument};
use tidelock_local::source::{ReadFrom, RecordSource as _};

use super::{Reader, Watched, event, id, operations, service};

#[tokio::test]
async fn changes_become_the_events_that_lambda_builds() {
    let Some(watched) = Watched::create("changes").await else { return };
    let mut settings = watched.settings();
    settings.full_document = FullDocument::UpdateLookup;
    let mut reader = Reader::open(settings.clone(), ReadFrom::Latest).await;
    assert!(reader.page(100).await.is_empty());
    let things = &watched.collection;
    watched.insert(doc! {"_id": 1, "zz": "é", "n": 9_007_199_254_740_993_i64, "a": {"b": [1.0]}}).await;
    let inserted = reader.next(1).await;
    things.update_one(id(1), doc! {"$set": {"a.c": 2}, "$unset": {"zz": ""}}).await.unwrap();
    let updated = reader.next(1).await;
    things.replace_one(id(1), doc! {"x": true}).await.unwrap();
    let replaced = reader.next(1).await;
    things.delete_one(id(1)).await.unwrap();
    let deleted = reader.next(1).await;

    let time = |record: &tidelock_local::source::SourceRecord| {
        let stamp = event(record)["clusterTime"]["$timestamp"].clone();
        (stamp["t"].as_u64().unwrap(), stamp["i"].as_u64().unwrap())
    };
    let ns = format!(r#"{{"db":"{}","coll":"things"}}"#, watched.database);
    let mut last = (0, 0);
    for (records, before, behind) in [
        (
            &inserted,
            r#""fullDocument":{"_id":1,"zz":"é","n":9007199254740993,"a":{"b":[1.0]}}"#,
            r#""operationType":"insert""#,
        ),
        (
            &updated,
            r#""fullDocument":{"_id":1,"n":9007199254740993,"a":{"b":[1.0],"c":2}}"#,
            r#""operationType":"update","updateDescription":{"updatedFields":{"a.c":2},"removedFields":["zz"]}"#,
        ),
        (&replaced, r#""fullDocument":{"_id":1,"x":true}"#, r#""operationType":"replace""#),
    ] {
        let record = &records[0];
        let (t, i) = time(record);
        assert_eq!(
            record.raw.get(),
            format!(
                r#"{{"event":{{"_id":{{"_data":"{}"}},"clusterTime":{{"$timestamp":{{"t":{t},"i":{i}}}}},"documentKey":{{"_id":1}},{before},"ns":{ns},{behind}}}}}"#,
                record.sequence
            )
        );
        assert!((t, i) > last, "cluster times rise");
        assert_eq!(record.arrival, Moment::from_epoch(Duration::from_secs(t)));
        last = (t, i);
    }
    let gone = event(&deleted[0]);
    assert_eq!(gone["operationType"], "delete");
    assert!(gone.get("fullDocument").is_none() && gone.get("updateDescription").is_none(), "{gone}");

    // Read again, the update finds a document that is gone: null, as MongoDB has it.
    let again = Reader::open(settings.clone(), ReadFrom::TrimHorizon).await.events(4).await;
    assert_eq!(operations(&again), ["insert", "update", "replace", "delete"]);
    assert_eq!(again[1].get("fullDocument"), Some(&Value::Null));

    // Without a look-up there is none; in the canonical form every type is told from every other.
    settings.full_document = FullDocument::Default;
    settings.form = ExtendedJson::Canonical;
    let plain = Reader::open(settings, watched.start()).await.events(4).await;
    assert_eq!(plain[1].get("fullDocument"), None);
    assert_eq!(plain[0]["documentKey"], json!({"_id": {"$numberInt": "1"}}));
    assert_eq!(plain[0]["fullDocument"]["n"], json!({"$numberLong": "9007199254740993"}));
    assert_eq!(plain[0]["fullDocument"]["a"], json!({"b": [{"$numberDouble": "1.0"}]}));
    watched.remove().await;
}

#[tokio::test]
async fn keys_of_every_type_arrive() {
    let Some(watched) = Watched::create("keys").await else { return };
    let mut settings = watched.settings();
    settings.form = ExtendedJson::Canonical;
    let mut reader = Reader::open(settings, watched.start()).await;
    let object = ObjectId::parse_str("63eeb6e7d418cd98afb1c1d7").unwrap();
    let uuid = Uuid::parse_str("b94f69e7-2b58-497a-acca-05d8f1bb375a").unwrap();
    let decimal: Decimal128 = "12345678901234567890.50".parse().unwrap();
    let keys: [(Bson, Value); 14] = [
        (object.into(), json!({"$oid": "63eeb6e7d418cd98afb1c1d7"})),
        ("1".into(), json!("1")),
        (1.into(), json!({"$numberInt": "1"})),
        (i64::MAX.into(), json!({"$numberLong": "9223372036854775807"})),
        (1.5.into(), json!({"$numberDouble": "1.5"})),
        (f64::NAN.into(), json!({"$numberDouble": "NaN"})),
        (decimal.into(), json!({"$numberDecimal": "12345678901234567890.50"})),
        (DateTime::from_millis(-1).into(), json!({"$date": {"$numberLong": "-1"}})),
        (true.into(), json!(true)),
        (Bson::Null, Value::Null),
        (uuid.into(), json!({"$binary": {"base64": "uU9p5ytYSXqsygXY8bs3Wg==", "subType": "04"}})),
        (
            Binary { subtype: BinarySubtype::Generic, bytes: b"ab".to_vec() }.into(),
            json!({"$binary": {"base64": "YWI=", "subType": "00"}}),
        ),
        (doc! {"b": 1, "a": "x"}.into(), json!({"b": {"$numberInt": "1"}, "a": "x"})),
        (Timestamp { time: 3, increment: 4 }.into(), json!({"$timestamp": {"t": 3, "i": 4}})),
    ];
    for (key, _) in &keys {
        watched
            .insert(doc! {"_id": key.clone(), "v": Regex { pattern: cstr!("a").into(), options: cstr!("i").into() }})
            .await;
    }
    let records = reader.next(keys.len()).await;
    for (record, (key, expected)) in records.iter().zip(&keys) {
        let event = event(record);
        assert_eq!(event["documentKey"], json!({ "_id": expected }), "{key:?}");
        assert_eq!(event["fullDocument"]["_id"], *expected, "{key:?}");
        assert_eq!(event["fullDocument"]["v"], json!({"$regularExpression": {"pattern": "a", "options": "i"}}));
    }
    // Fields keep their order, also in a key.
    assert!(records[12].raw.get().contains(r#""documentKey":{"_id":{"b":{"$numberInt":"1"},"a":"x"}}"#));
    watched.remove().await;
}

#[tokio::test]
async fn a_new_reader_goes_on_where_another_stopped() {
    let Some(watched) = Watched::create("resume").await else { return };
    for number in 1..=5 {
        watched.insert(id(number)).await;
    }
    let mut first = Reader::open(watched.settings(), watched.start()).await;
    let read = first.next(3).await;
    drop(first);
    watched.insert(id(6)).await;
    let behind = ReadFrom::After(read[1].sequence.clone());
    let mut second = Reader::open(watched.settings(), behind).await;
    let keys: Vec<Value> = second.events(4).await.iter().map(|event| event["documentKey"]["_id"].clone()).collect();
    assert_eq!(keys, [3, 4, 5, 6]);
    assert!(second.page(10).await.is_empty());
    // A token that is none.
    let nonsense = ReadFrom::After(tidelock_local::mapping::SequenceNumber::new("zz"));
    let mut third = DocumentDbSource::connect(watched.settings()).await.unwrap();
    let error = third.read("shard", &nonsense, 1).await.unwrap_err();
    assert!(!error.retryable && error.message.contains("opening the change stream of local-resume-"), "{error}");
    watched.remove().await;
}

/// A future that is polled so many times, and then given up.
async fn steps<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_read_that_is_given_up_loses_nothing() {
    let Some(watched) = Watched::create("cancel").await else { return };
    for number in 1..=50 {
        watched.insert(id(number)).await;
    }
    let mut reader = Reader::open(watched.settings(), watched.start()).await;
    let mut seen = Vec::new();
    let mut given_up = 0;
    for polls in 0..100 {
        // Each try is given up one step later than the one before: the read is cut at every place before one goes through.
        match steps(polls, reader.page(20)).await {
            Some(records) => {
                seen.extend(records.iter().map(|record| event(record)["documentKey"]["_id"].as_i64().unwrap()));
            }
            None => given_up += 1,
        }
        if seen.len() >= 50 {
            break;
        }
    }
    assert_eq!(seen, (1..=50).collect::<Vec<i64>>());
    assert!(given_up > 0);
    watched.remove().await;
}

#[tokio::test]
async fn a_dropped_collection_is_told_and_its_successor_is_read() {
    let Some(watched) = Watched::create("drop").await else { return };
    let mut reader = Reader::open(watched.settings(), watched.start()).await;
    watched.insert(id(1)).await;
    watched.collection.drop().await.unwrap();
    let events = reader.events(3).await;
    assert_eq!(operations(&events), ["insert", "drop", "invalidate"]);
    assert_eq!(events[1]["ns"], json!({"db": watched.database, "coll": "things"}));
    assert!(events[1].get("documentKey").is_none() && events[2].get("ns").is_none(), "{events:?}");
    watched.insert(id(2)).await;
    assert_eq!(reader.events(1).await[0]["documentKey"], json!({"_id": 2}));
    // A reader that was stopped behind the invalidate event, too.
    let behind =
        ReadFrom::After(tidelock_local::mapping::SequenceNumber::new(events[2]["_id"]["_data"].as_str().unwrap()));
    let mut restarted = Reader::open(watched.settings(), behind).await;
    assert_eq!(restarted.events(1).await[0]["documentKey"], json!({"_id": 2}));
    watched.remove().await;
}

#[tokio::test]
async fn databases_and_clusters_are_watched_too() {
    let Some(watched) = Watched::create("wide").await else { return };
    let mut of_database = watched.settings();
    of_database.collection = None;
    let mut of_cluster = of_database.clone();
    of_cluster.database = None;
    let mut database = Reader::open(of_database, ReadFrom::Latest).await;
    let mut cluster = Reader::open(of_cluster, ReadFrom::Latest).await;
    assert!(database.page(10).await.is_empty());
    cluster.page(1_000).await;
    watched.insert(id(1)).await;
    let other = watched.client.database(&watched.database).collection::<mongodb::bson::Document>("other");
    other.insert_one(id(2)).await.unwrap();
    let rename = doc! {
        "renameCollection": format!("{}.other", watched.database), "to": format!("{}.renamed", watched.database),
    };
    watched.client.database("admin").run_command(rename).await.unwrap();
    watched.client.database(&watched.database).drop().await.unwrap();
    let events = database.events(7).await;
    assert_eq!(operations(&events), ["insert", "insert", "rename", "drop", "drop", "dropDatabase", "invalidate"]);
    assert_eq!(events[1]["ns"], json!({"db": watched.database, "coll": "other"}));
    assert_eq!(events[2]["to"], json!({"db": watched.database, "coll": "renamed"}));
    assert_eq!(events[5]["ns"], json!({"db": watched.database}));
    // Other tests write to the same cluster.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &Value| event["operationType"] != "dropDatabase") {
        let events = cluster.events(1).await;
        seen.extend(events.into_iter().filter(|event| event["ns"]["db"] == watched.database));
    }
    assert_eq!(seen, events[..6], "a cluster's stream is not ended by a database's end");
}

#[tokio::test]
async fn reading_begins_where_it_is_told() {
    let Some(watched) = Watched::create("begin").await else { return };
    watched.insert(id(1)).await;
    let mut all = Reader::open(watched.settings(), ReadFrom::TrimHorizon).await;
    let first = all.next(1).await;
    // Cluster times count seconds: the next one is awaited, not guessed.
    let mut number = 1;
    let later = loop {
        number += 1;
        watched.insert(id(number)).await;
        let arrival = all.next(1).await[0].arrival;
        if arrival > first[0].arrival {
            break arrival;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut at = Reader::open(watched.settings(), ReadFrom::AtTimestamp(later)).await;
    assert_eq!(at.events(1).await[0]["documentKey"]["_id"], number);
    let mut latest = Reader::open(watched.settings(), ReadFrom::Latest).await;
    assert!(latest.page(10).await.is_empty());
    watched.insert(id(100)).await;
    assert_eq!(latest.events(1).await[0]["documentKey"]["_id"], 100);

    // The horizon is where the cluster's retention ends, for a time before it as well.
    let mut settings = watched.settings();
    settings.retention = Duration::from_secs(1);
    while Moment::now() <= later.plus(Duration::from_secs(3)) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    watched.insert(id(200)).await;
    for from in [ReadFrom::TrimHorizon, ReadFrom::AtTimestamp(Moment::from_epoch(Duration::ZERO))] {
        let mut kept = Reader::open(settings.clone(), from).await;
        assert_eq!(kept.events(1).await[0]["documentKey"]["_id"], 200);
    }
    watched.remove().await;
}

#[tokio::test]
async fn a_stream_that_is_lost_before_its_first_event_is_opened_where_it_was() {
    let Some(watched) = Watched::create("latest").await else { return };
    let mut source = DocumentDbSource::connect(watched.settings()).await.unwrap();
    assert!(source.read("shard", &ReadFrom::Latest, 10).await.unwrap().records.is_empty());
    // Given up at once: the open stream is lost, as it is with a connection.
    let lost = tokio::time::timeout(Duration::ZERO, source.read("shard", &ReadFrom::Latest, 10)).await;
    assert!(lost.is_err());
    watched.insert(id(1)).await;
    let records = source.read("shard", &ReadFrom::Latest, 10).await.unwrap().records;
    assert_eq!(event(&records[0])["documentKey"], json!({"_id": 1}));
    watched.remove().await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let mut settings = ChangeStreamSettings::new("mongodb://user:secret@127.0.0.1:1/?serverSelectionTimeoutMS=200");
    assert!(!format!("{settings:?}").contains("secret"));
    let mut nobody = DocumentDbSource::connect(settings.clone()).await.unwrap();
    let error = nobody.shards().await.unwrap_err();
    assert!(error.message.starts_with("asking the cluster: ") && error.retryable, "{error}");
    assert!(!error.message.contains("secret"), "{error}");
    settings.collection = Some("c".into());
    let error = DocumentDbSource::connect(settings).await.unwrap_err();
    assert_eq!(error.message, "a collection is watched in a database: say which");
    let error = DocumentDbSource::connect(ChangeStreamSettings::new("http://x")).await.unwrap_err();
    assert!(error.message.starts_with("the connection string: ") && !error.retryable, "{error}");

    // A server without change streams.
    let Some(ferretdb) = service("TIDELOCK_TEST_FERRETDB") else { return };
    let mut settings = ChangeStreamSettings::new(ferretdb);
    settings.database = Some("local-none".into());
    let mut source = DocumentDbSource::connect(settings).await.unwrap();
    source.shards().await.unwrap();
    let error = source.read("shard", &ReadFrom::Latest, 1).await.unwrap_err();
    assert!(error.message.starts_with("opening the change stream of local-none: ") && !error.retryable, "{error}");
}

#[tokio::test]
async fn a_read_says_whether_more_is_waiting() {
    let Some(watched) = Watched::create("more").await else { return };
    for number in 1..=5 {
        watched.insert(id(number)).await;
    }
    let mut source = DocumentDbSource::connect(watched.settings()).await.unwrap();
    let from = watched.start();
    let first = source.read("shard", &from, 3).await.unwrap();
    assert_eq!((first.records.len(), first.caught_up), (3, false));
    let second = source.read("shard", &from, 3).await.unwrap();
    assert_eq!((second.records.len(), second.caught_up), (2, true));
    // What has come meanwhile is told, and kept for the next read however often that is given up.
    watched.insert(id(6)).await;
    let told = async { while steps(1, source.ready()).await.is_none() {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    let mut found = Vec::new();
    while found.is_empty() {
        source.ready().await;
        found = source.read("shard", &from, 3).await.unwrap().records;
    }
    assert_eq!(event(&found[0])["documentKey"], json!({"_id": 6}));
    watched.remove().await;
}
