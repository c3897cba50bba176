//! `version: {field}`: items whose own number orders their changes, from a table's stream to the real targets.

use crate::support::exact::Exact;
use crate::support::function::{Sync, function, target};
use crate::support::index::Index;
use crate::support::table::{Table, attributes, drain};
use crate::support::{mongo, services, unique};
use aws_sdk_dynamodb::types::StreamViewType;
use mongodb::bson::Document;
use serde_json::json;
use std::collections::BTreeMap;
use tidelock_local::mapping::MappingSettings;

/// Numbers that grow, stay, fall, and begin anew after a delete: after each part of the history the target is as the table.
async fn follows(sync: Sync, dynamodb: &str, into: &str, found: impl AsyncFn() -> BTreeMap<String, String>) {
    let table = Table::create(dynamodb, "counted", StreamViewType::NewAndOldImages).await;
    let routes = json!([{"from": table.name, "to": into, "version": {"field": "rev"}}]);
    let pipeline = json!({"version": 1, "routes": routes}).to_string();
    let function = sync
        .with("TIDELOCK_PIPELINE", &pipeline)
        .with("TIDELOCK_SOURCE", "dynamodb:")
        .with("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
        .with("AWS_REGION", "us-east-1")
        .start();
    let mut expected: BTreeMap<&str, String> = BTreeMap::new();
    let parts: [&[(&str, Option<u32>)]; 5] = [
        &[("a", Some(5)), ("b", Some(3)), ("a", Some(6)), ("c", Some(1))],
        &[("a", None), ("b", Some(3)), ("c", None), ("c", Some(1))],
        // Below its fence.
        &[("a", Some(1)), ("b", Some(2))],
        &[("a", Some(2)), ("b", None), ("c", Some(2))],
        &[("a", Some(9)), ("b", Some(1)), ("c", None)],
    ];
    for (part, changes) in parts.into_iter().enumerate() {
        for (change, (id, number)) in changes.iter().enumerate() {
            let text = format!("{part}.{change}");
            match number {
                Some(number) => {
                    table.put(id, attributes(&json!({"rev": number, "text": text}))).await;
                    expected.insert(id, text);
                }
                None => {
                    table.delete(id).await;
                    expected.remove(id);
                }
            }
        }
        // From its beginning each time: everything that is old comes again.
        let settings =
            MappingSettings { report_batch_item_failures: true, batch_size: 3, ..MappingSettings::default() };
        drain(&table, settings, &function).await;
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(id, text)| ((*id).to_owned(), text.clone())).collect();
        assert_eq!(found().await, expected, "after part {part}\n{}", function.log());
    }
}

#[tokio::test]
async fn an_index_is_as_its_table_whatever_the_numbers_do() {
    let (Some(url), Some(dynamodb)) = (services::opensearch(), services::dynamodb()) else { return };
    let Some(sync) = function("dynamodb-sync", &target(&url)) else { return };
    let index = Index::new(&url, "counted");
    index.create(json!({"settings": {"index.gc_deletes": "1s"}})).await;
    let found = async || {
        let text = |document: &Exact| match document.get("text") {
            Some(Exact::Text(text)) => text.clone(),
            other => panic!("{other:?}"),
        };
        index.fields().await.iter().map(|(id, document)| (id.clone(), text(document))).collect()
    };
    follows(sync, &dynamodb, index.name(), found).await;
}

async fn collection_follows(uri: Option<String>) {
    let (Some(uri), Some(dynamodb)) = (uri, services::dynamodb()) else { return };
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    let database = client.database(&unique("counted"));
    let Some(sync) = function("dynamodb-sync", &mongo::address(&uri, database.name())) else { return };
    let found = async || {
        let documents = mongo::documents(&database.collection::<Document>("counted"), "_id").await;
        let text = |document: Document, name: &str| document.get_str(name).unwrap().to_owned();
        documents.into_iter().map(|document| (text(document.clone(), "_id"), text(document, "text"))).collect()
    };
    follows(sync, &dynamodb, "counted", found).await;
    database.drop().await.unwrap();
}

#[tokio::test]
async fn a_collection_is_as_its_table_whatever_the_numbers_do_in_ferretdb() {
    collection_follows(services::ferretdb()).await;
}

#[tokio::test]
async fn a_collection_is_as_its_table_whatever_the_numbers_do_in_secantusdb() {
    collection_follows(services::secantusdb()).await;
}
