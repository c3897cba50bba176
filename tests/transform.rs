//! Transforms by the built function, read back from the real targets.

use crate::support::event::event;
use crate::support::function::{function, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services, unique};
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};

/// Table `mytable` of a well-known replicator: a name, a time in seconds, and now and then no age.
fn records() -> Vec<Value> {
    let item = |(number, (name, created_at)): (usize, (&str, &str))| {
        let id = (number + 1).to_string();
        json!({
            "eventID": id, "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_588_166_528, "Keys": {"id": {"N": id}},
                "NewImage": {"id": {"N": id}, "Name": {"S": name}, "created_at": {"N": created_at}},
                "SequenceNumber": format!("10{id}"), "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/mytable/stream/2020-04-29T13:00:00.000",
        })
    };
    [("John", "1588166528"), ("Clare", "1588166535"), ("Tom", "1588166541")].into_iter().enumerate().map(item).collect()
}

fn pipeline(to: &str) -> String {
    json!({"version": 1, "routes": [{"from": "mytable", "to": to, "transform": [
        {"default": {"age": null}},
        {"convert": {"field": "created_at", "from": "epoch_seconds", "to": "date"}},
    ]}]})
    .to_string()
}

/// Three documents, then one less, in a server that speaks MongoDB's protocol.
async fn replicated(uri: Option<String>) {
    let Some(uri) = uri else { return };
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    let database = client.database(&unique("replicatest"));
    let (base, options) = uri.split_once('?').map_or((uri.as_str(), ""), |(base, options)| (base, options));
    let address = format!("{}/{}?{options}", base.trim_end_matches('/'), database.name());
    let Some(sync) = function("dynamodb-sync", &address) else { return };
    let function = sync.with("TIDELOCK_PIPELINE", &pipeline(&format!("{}.mytable", database.name()))).start();
    function.succeed(event(&records())).await;
    let found = async || {
        let mut found: Vec<Document> = Vec::new();
        let mut cursor = database.collection::<Document>("mytable").find(doc! {}).sort(doc! {"_id": 1}).await.unwrap();
        while cursor.advance().await.unwrap() {
            let mut document = cursor.deserialize_current().unwrap();
            document.remove("_tidelock").expect("a mark");
            found.push(document);
        }
        found
    };
    let expected = |id: i32, name: &str, seconds: i64| {
        doc! {"_id": id, "Name": name, "age": Bson::Null, "created_at": DateTime::from_millis(seconds * 1_000), "id": id}
    };
    let all = [(1, "John", 1_588_166_528), (2, "Clare", 1_588_166_535), (3, "Tom", 1_588_166_541)];
    let all: Vec<Document> = all.map(|(id, name, seconds)| expected(id, name, seconds)).to_vec();
    let same = |found: &[Document], expected: &[Document]| {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| {
                found.len() == expected.len() && expected.iter().all(|(name, value)| found.get(name) == Some(value))
            })
    };
    let there = found().await;
    assert!(same(&there, &all), "{there:?}");
    let mut gone = records().pop().unwrap();
    gone["eventName"] = json!("REMOVE");
    gone["dynamodb"]["OldImage"] = gone["dynamodb"]["NewImage"].take();
    gone["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    gone["dynamodb"]["SequenceNumber"] = json!("900");
    function.succeed(event(&[gone])).await;
    let there = found().await;
    assert!(same(&there, &all[..2]), "{there:?}");
    database.drop().await.unwrap();
}

#[tokio::test]
async fn the_replicators_documents_are_exactly_these_in_ferretdb() {
    replicated(services::ferretdb()).await;
}

#[tokio::test]
async fn the_replicators_documents_are_exactly_these_in_secantusdb() {
    replicated(services::secantusdb()).await;
}

#[tokio::test]
async fn a_step_that_cannot_be_done_parks_its_record_alone() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, folder) = (Index::new(&url, "transform"), Folder::new());
    let path = folder.path("letters");
    let function = sync
        .with("TIDELOCK_PIPELINE", &pipeline(index.name()))
        .with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}"))
        .start();
    let mut records = records();
    records[1]["dynamodb"]["NewImage"]["created_at"] = json!({"S": "yesterday"});
    function.succeed(event(&records)).await;
    let found = index.fields().await;
    assert_eq!(found.len(), 2);
    assert_eq!(
        found["1"],
        json!({"id": 1, "Name": "John", "age": null, "created_at": "2020-04-29T13:22:08.000Z"}).into()
    );
    let letters = letters(&path);
    assert_eq!(reasons(&letters).len(), 1);
    assert_eq!(letters[0]["reason"], "transform_failed");
    let detail = letters[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("transform[1] (convert), field `created_at`: `yesterday`"), "{detail}");
}
