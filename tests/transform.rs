//! Transforms by the built function, read back from the real targets.

use crate::support::event::event;
use crate::support::function::{Running, function, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::table::{Table, drain};
use crate::support::{Folder, mongo, services, unique};
use aws_sdk_dynamodb::types::AttributeValue;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use tidelock_local::mapping::MappingSettings;

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

fn steps() -> Value {
    json!([{"default": {"age": null}}, {"convert": {"field": "created_at", "from": "epoch_seconds", "to": "date"}}])
}

/// Runs a table's stream through a function until nothing more comes.
async fn drained(table: &Table, function: &Running) {
    let settings = MappingSettings { report_batch_item_failures: true, ..MappingSettings::default() };
    let summary = drain(table, settings, function).await;
    assert_eq!((summary.retried, summary.discarded), (0, 0), "{}", function.log());
}

/// From a table's stream to a server that speaks MongoDB's protocol: three documents, then one less; another table beside it.
async fn replicated(uri: Option<String>) {
    let (Some(uri), Some(dynamodb)) = (uri, services::dynamodb()) else { return };
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    let database = client.database(&unique("replicatest"));
    let Some(sync) = function("dynamodb-sync", &mongo::address(&uri, "")) else { return };
    let (table, other) = (Table::of_numbers(&dynamodb, "mytable").await, Table::of_numbers(&dynamodb, "other").await);
    let routes = json!({"version": 1, "routes": [
        {"from": table.name, "to": format!("{}.mytable", database.name()), "id": "{id}", "transform": steps()},
        {"from": other.name, "to": format!("{}.other", database.name())},
    ]});
    let function = sync.with("TIDELOCK_PIPELINE", &routes.to_string()).start();
    let people = [(1, "John", 1_588_166_528), (2, "Clare", 1_588_166_535), (3, "Tom", 1_588_166_541)];
    for (id, name, created_at) in people {
        let (id, created_at) = (AttributeValue::N(id.to_string()), AttributeValue::N(created_at.to_string()));
        let name = AttributeValue::S(name.to_owned());
        table
            .put_whole([("id", id), ("Name", name), ("created_at", created_at)].map(|(n, v)| (n.to_owned(), v)).into())
            .await;
    }
    other.put_whole([("id".to_owned(), AttributeValue::N("7".to_owned()))].into()).await;
    drained(&table, &function).await;
    drained(&other, &function).await;
    let found = async |collection: &str| mongo::documents(&database.collection(collection), "_id").await;
    let all: Vec<Document> = people
        .map(|(id, name, seconds)| {
            let at = DateTime::from_millis(seconds * 1_000);
            doc! {"_id": id, "Name": name, "age": Bson::Null, "created_at": at, "id": id}
        })
        .to_vec();
    let same = |found: &[Document], expected: &[Document]| {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| mongo::same(found, expected))
    };
    let there = found("mytable").await;
    assert!(same(&there, &all), "{there:?}");
    assert_eq!(found("other").await, [doc! {"_id": 7, "id": 7}]);
    table.delete_number(3).await;
    drained(&table, &function).await;
    let there = found("mytable").await;
    assert!(same(&there, &all[..2]), "{there:?}");
    // One line a batch, with counts by outcome.
    function.logged(&[r#""Records":1,"Applied":1,"Stale":0,"Filtered":0,"Parked":0,"Held":0,"Retry":0"#]).await;
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
    let pipeline = json!({"version": 1, "routes": [{"from": "mytable", "to": index.name(), "transform": steps()}]});
    let function = sync
        .with("TIDELOCK_PIPELINE", &pipeline.to_string())
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

#[tokio::test]
async fn values_are_hashed_with_the_secrets_key() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let (index, folder) = (Index::new(&url, "transform"), Folder::new());
    std::fs::write(folder.path("key"), "Jefe\n").unwrap();
    let step = json!({"hash": {"field": "Name"}});
    let pipeline = json!({"version": 1, "routes": [{"from": "mytable", "to": index.name(), "transform": [step]}]});
    let function = sync
        .with("TIDELOCK_PIPELINE", &pipeline.to_string())
        .with("TIDELOCK_HASH_SECRET", &format!("file:{}", folder.path("key")))
        .start();
    let mut records = records();
    records.truncate(1);
    records[0]["dynamodb"]["NewImage"]["Name"] = json!({"S": "what do ya want for nothing?"});
    function.succeed(event(&records)).await;
    // RFC 4231, test case 2.
    let hash = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let expected = json!({"id": 1, "Name": hash, "created_at": 1_588_166_528});
    assert_eq!(index.fields().await["1"], expected.into());
    assert!(!function.log().contains("Jefe"));
}
