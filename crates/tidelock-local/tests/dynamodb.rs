//! A mapping on a real stream, of DynamoDB Local at `TIDELOCK_TEST_DYNAMODB`.

use std::env;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use serde_json::{Value, json};
use tidelock_local::function::{Invocation, from_fn};
use tidelock_local::mapping::{LocalMapping, MappingSettings, Pace, StartingPosition, Step};
use tidelock_local::source::dynamodb::{Connection, DynamoDbSource, connect};

/// The service's URL, or `None` with a loud note. Where services are required, their absence is a failure.
fn service() -> Option<String> {
    let url = env::var("TIDELOCK_TEST_DYNAMODB").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let required = env::var("TIDELOCK_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "TIDELOCK_REQUIRE_SERVICES=1, but TIDELOCK_TEST_DYNAMODB is not set");
        // Written to the stream itself, because the test harness keeps what `eprintln!` writes to itself.
        let note = b"\n*** SKIPPED: set TIDELOCK_TEST_DYNAMODB=http://127.0.0.1:PORT to run this test ***\n";
        std::io::stderr().write_all(note).unwrap();
    }
    url
}

struct Table {
    client: Client,
    name: String,
    url: String,
}

impl Table {
    async fn create(url: &str, purpose: &str) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(url)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .load()
            .await;
        let client = Client::new(&config);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("local-{purpose}-{nanos}");
        client
            .create_table()
            .table_name(&name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name("id")
                    .attribute_type(ScalarAttributeType::N)
                    .build()
                    .unwrap(),
            )
            .key_schema(KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap())
            .stream_specification(
                StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(StreamViewType::NewAndOldImages)
                    .build()
                    .unwrap(),
            )
            .send()
            .await
            .unwrap();
        Self { client, name, url: url.into() }
    }

    async fn put(&self, id: u32, attributes: &[(&str, AttributeValue)]) {
        let mut request = self.client.put_item().table_name(&self.name).item("id", AttributeValue::N(id.to_string()));
        for (name, value) in attributes {
            request = request.item(*name, value.clone());
        }
        request.send().await.unwrap();
    }

    async fn delete(&self, id: u32) {
        let key = AttributeValue::N(id.to_string());
        self.client.delete_item().table_name(&self.name).key("id", key).send().await.unwrap();
    }

    async fn source(&self) -> DynamoDbSource {
        let connection = Connection { endpoint_url: Some(self.url.clone()), region: Some("us-east-1".into()) };
        DynamoDbSource::of_table(connect(&connection).await, &self.name).await.unwrap()
    }
}

fn records(payload: &[u8]) -> Vec<Value> {
    let event: Value = serde_json::from_slice(payload).unwrap();
    event["Records"].as_array().unwrap().clone()
}

fn ok() -> Invocation {
    Invocation::Response(Bytes::from_static(b"{}"))
}

#[tokio::test]
async fn changes_arrive_in_order_with_their_values_untouched() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, "values").await;
    let n = |text: &str| AttributeValue::N(text.into());
    let values = [
        ("n", n("12345678901234567890123456789012345678")),
        ("b", AttributeValue::B(Blob::new([0xfb, 0xff]))),
        ("bs", AttributeValue::Bs(vec![Blob::new([1])])),
        ("ns", AttributeValue::Ns(vec!["1".into()])),
        ("ss", AttributeValue::Ss(vec!["ü".into()])),
        ("z", AttributeValue::Null(true)),
        ("t", AttributeValue::Bool(false)),
        ("l", AttributeValue::L(vec![n("1.5"), AttributeValue::S(String::new())])),
        ("m", AttributeValue::M([("k".to_owned(), n("-0.1"))].into())),
    ];
    table.put(1, &values).await;
    table.put(1, &[]).await;
    table.delete(1).await;

    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let noted = seen.clone();
    let function = from_fn(move |payload| {
        noted.lock().unwrap().extend(records(&payload));
        async { ok() }
    });
    let source = table.source().await;
    let arn = source.arn().to_owned();
    let mut mapping = LocalMapping::new(MappingSettings::default(), source, function).unwrap().pace(Pace::fast());
    assert_eq!(mapping.run_until_idle().await.unwrap().records, 3);
    {
        let seen = seen.lock().unwrap();
        let names: Vec<&Value> = seen.iter().map(|record| &record["eventName"]).collect();
        assert_eq!(names, ["INSERT", "MODIFY", "REMOVE"]);
        let image = json!({
            "id": {"N": "1"}, "n": {"N": "12345678901234567890123456789012345678"}, "b": {"B": "+/8="},
            "bs": {"BS": ["AQ=="]}, "ns": {"NS": ["1"]}, "ss": {"SS": ["ü"]}, "z": {"NULL": true},
            "t": {"BOOL": false}, "l": {"L": [{"N": "1.5"}, {"S": ""}]}, "m": {"M": {"k": {"N": "-0.1"}}},
        });
        assert_eq!(seen[0]["dynamodb"]["NewImage"], image);
        assert!(seen[0]["dynamodb"].get("OldImage").is_none());
        assert_eq!(seen[1]["dynamodb"]["OldImage"], image);
        assert!(seen[2]["dynamodb"].get("NewImage").is_none());
        for record in seen.iter() {
            assert_eq!(record["eventSource"], "aws:dynamodb");
            assert_eq!(record["eventSourceARN"], *arn);
            assert_eq!(record["dynamodb"]["Keys"], json!({"id": {"N": "1"}}));
            assert_eq!(record["dynamodb"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
            assert!(record["dynamodb"]["ApproximateCreationDateTime"].is_number());
            assert!(record["dynamodb"]["SizeBytes"].is_number());
            assert!(record["eventID"].is_string() && record["eventVersion"].is_string());
        }
    }
    table.put(2, &[]).await;
    assert_eq!(mapping.run_until_idle().await.unwrap().records, 1, "a second run goes on where the first ended");
    assert_eq!(seen.lock().unwrap()[3]["dynamodb"]["Keys"], json!({"id": {"N": "2"}}));
}

#[tokio::test]
async fn partial_answers_repeat_from_the_lowest_number_on() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, "partial").await;
    for id in 1..=6 {
        table.put(id, &[]).await;
    }
    let events: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let noted = events.clone();
    let function = from_fn(move |payload| {
        let records = records(&payload);
        let id = |record: &Value| record["dynamodb"]["Keys"]["id"]["N"].as_str().unwrap().to_owned();
        let mut noted = noted.lock().unwrap();
        noted.push(records.iter().map(id).collect());
        let failed: Vec<Value> = match noted.len() {
            1 => [4, 2].map(|place| json!({"itemIdentifier": records[place]["dynamodb"]["SequenceNumber"]})).into(),
            _ => Vec::new(),
        };
        let answer = Invocation::Response(Bytes::from(json!({"batchItemFailures": failed}).to_string()));
        async { answer }
    });
    let settings = MappingSettings { report_batch_item_failures: true, ..MappingSettings::default() };
    let mut mapping = LocalMapping::new(settings, table.source().await, function).unwrap().pace(Pace::fast());
    let summary = mapping.run_until_idle().await.unwrap();
    assert_eq!(*events.lock().unwrap(), [vec!["1", "2", "3", "4", "5", "6"], vec!["3", "4", "5", "6"]]);
    assert_eq!((summary.records, summary.retried), (6, 1));
}

#[tokio::test]
async fn latest_begins_behind_what_is_there() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, "latest").await;
    table.put(1, &[]).await;
    let settings = MappingSettings { starting_position: StartingPosition::Latest, ..MappingSettings::default() };
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let noted = seen.clone();
    let function = from_fn(move |payload| {
        noted.lock().unwrap().extend(records(&payload));
        async { ok() }
    });
    let settled = Arc::new(tokio::sync::Notify::new());
    let signal = settled.clone();
    let mut mapping =
        LocalMapping::new(settings, table.source().await, function).unwrap().pace(Pace::fast()).observer(move |step| {
            if let Step::Settled { .. } = step {
                signal.notify_one();
            }
        });
    // The first run ends after an empty read, so the place is taken; the second one sees what came since.
    assert_eq!(mapping.run_until_idle().await.unwrap().records, 0);
    table.put(2, &[]).await;
    let stop = async {
        tokio::time::timeout(Duration::from_secs(20), settled.notified()).await.unwrap();
    };
    assert!(mapping.run(stop).await.unwrap().stopped);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["dynamodb"]["Keys"], json!({"id": {"N": "2"}}));
}
