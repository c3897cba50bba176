//! A DynamoDB table with a stream, written and read through the SDK.

use super::exact::Exact;
use super::function::Running;
use super::{queue::sdk, unique};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType,
};
use base64::Engine as _;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tidelock_local::mapping::{LocalMapping, MappingSettings, Pace, Summary};
use tidelock_local::source::dynamodb::{Connection, DynamoDbSource, connect};

/// A table with the text key `id`.
pub(crate) struct Table {
    client: Client,
    pub(crate) name: String,
    url: String,
}

/// An item without its key.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

impl Table {
    pub(crate) async fn create(url: &str, purpose: &str, view: StreamViewType) -> Self {
        let table = Self::without_stream(url, purpose).await;
        table.enable_stream(view).await;
        table
    }

    /// What is written from now on comes by the stream.
    pub(crate) async fn enable_stream(&self, view: StreamViewType) {
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().unwrap();
        let update = self.client.update_table().table_name(&self.name).stream_specification(stream);
        update.send().await.unwrap();
    }

    /// The name of a table for `TIDELOCK_STATE`.
    pub(crate) async fn for_state(url: &str) -> String {
        Self::keyed(url, "state", "name", ScalarAttributeType::S).await.name
    }

    pub(crate) async fn without_stream(url: &str, purpose: &str) -> Self {
        Self::with_key(url, purpose, ScalarAttributeType::S).await
    }

    /// A table whose key `id` is a number, with a stream of both images.
    pub(crate) async fn of_numbers(url: &str, purpose: &str) -> Self {
        let table = Self::with_key(url, purpose, ScalarAttributeType::N).await;
        table.enable_stream(StreamViewType::NewAndOldImages).await;
        table
    }

    async fn with_key(url: &str, purpose: &str, key_type: ScalarAttributeType) -> Self {
        Self::keyed(url, purpose, "id", key_type).await
    }

    async fn keyed(url: &str, purpose: &str, key: &str, key_type: ScalarAttributeType) -> Self {
        let client = Client::new(&sdk(url).await);
        let name = unique(purpose);
        let id = || key.to_owned();
        let attribute = AttributeDefinition::builder().attribute_name(id()).attribute_type(key_type);
        let key = KeySchemaElement::builder().attribute_name(id()).key_type(KeyType::Hash);
        client
            .create_table()
            .table_name(&name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute.build().unwrap())
            .key_schema(key.build().unwrap())
            .send()
            .await
            .unwrap();
        Self { client, name, url: url.to_owned() }
    }

    pub(crate) async fn put(&self, id: &str, attributes: Attributes) {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(attributes));
        request.item("id", AttributeValue::S(id.to_owned())).send().await.unwrap();
    }

    /// Puts an item with its key.
    pub(crate) async fn put_whole(&self, item: Attributes) {
        self.client.put_item().table_name(&self.name).set_item(Some(item)).send().await.unwrap();
    }

    pub(crate) async fn delete_number(&self, id: u32) {
        let key = AttributeValue::N(id.to_string());
        self.client.delete_item().table_name(&self.name).key("id", key).send().await.unwrap();
    }

    pub(crate) async fn delete(&self, id: &str) {
        let key = AttributeValue::S(id.to_owned());
        self.client.delete_item().table_name(&self.name).key("id", key).send().await.unwrap();
    }

    /// Every item, by key, as the document it must become.
    pub(crate) async fn scan(&self) -> BTreeMap<String, Exact> {
        let mut items = self.client.scan().table_name(&self.name).consistent_read(true).into_paginator().items().send();
        let mut documents = BTreeMap::new();
        while let Some(item) = items.next().await {
            let item = item.unwrap();
            let id = item["id"].as_s().unwrap().clone();
            documents.insert(id, document(&item));
        }
        documents
    }

    /// The stream, from its beginning.
    pub(crate) async fn source(&self) -> DynamoDbSource {
        let connection = Connection { endpoint_url: Some(self.url.clone()), region: Some("us-east-1".into()) };
        DynamoDbSource::of_table(connect(&connection).await, &self.name).await.unwrap()
    }
}

/// A flat item of texts and integers, its key left out.
pub(crate) fn attributes(item: &Value) -> Attributes {
    let attribute = |value: &Value| match value {
        Value::String(text) => AttributeValue::S(text.clone()),
        number => AttributeValue::N(number.to_string()),
    };
    let members = item.as_object().unwrap().iter().filter(|(name, _)| *name != "id");
    members.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// The document an item must become.
pub(crate) fn document(item: &HashMap<String, AttributeValue>) -> Exact {
    Exact::Map(item.iter().map(|(name, value)| (name.clone(), exact(value))).collect())
}

fn exact(value: &AttributeValue) -> Exact {
    let binary = |bytes: &[u8]| Exact::Text(base64::engine::general_purpose::STANDARD.encode(bytes));
    match value {
        AttributeValue::S(text) => Exact::Text(text.clone()),
        AttributeValue::N(number) => Exact::number(number),
        AttributeValue::B(bytes) => binary(bytes.as_ref()),
        AttributeValue::Bool(value) => Exact::Bool(*value),
        AttributeValue::Null(_) => Exact::Null,
        AttributeValue::M(members) => document(members),
        AttributeValue::L(items) => Exact::List(items.iter().map(exact).collect()),
        AttributeValue::Ss(texts) => Exact::List(texts.iter().cloned().map(Exact::Text).collect()),
        AttributeValue::Ns(numbers) => Exact::List(numbers.iter().map(|number| Exact::number(number)).collect()),
        AttributeValue::Bs(all) => Exact::List(all.iter().map(|bytes| binary(bytes.as_ref())).collect()),
        other => panic!("an attribute of an unknown type: {other:?}"),
    }
}

/// Runs a table's whole stream through a function.
pub(crate) async fn drain(table: &Table, settings: MappingSettings, function: &Running) -> Summary {
    let source = table.source().await;
    let mut mapping = LocalMapping::new(settings, source, function.process.clone()).unwrap().pace(Pace::fast());
    let summary = tokio::time::timeout(Duration::from_secs(90), mapping.run_until_idle()).await;
    summary.unwrap_or_else(|_| panic!("the stream is never drained:\n{}", function.log())).unwrap()
}
