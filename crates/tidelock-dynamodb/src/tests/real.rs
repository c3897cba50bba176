//! A real DynamoDB.

use super::{LONG, Role, batch, source};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::cause::Cause;
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::slow::Source as _;
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme};

#[expect(clippy::disallowed_methods, reason = "tests read their own settings")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The server's URL; without it the test is skipped, loudly, or fails where services are required.
fn service() -> Option<String> {
    let url = setting("TIDELOCK_TEST_DYNAMODB");
    if url.is_none() {
        let required = setting("TIDELOCK_REQUIRE_SERVICES").as_deref() == Some("1");
        assert!(!required, "TIDELOCK_TEST_DYNAMODB is not set");
        // Not `eprintln!`, which the test harness swallows.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: TIDELOCK_TEST_DYNAMODB is not set");
    }
    url
}

/// A table of its own.
struct Table {
    http: HttpTransport<Role>,
    name: String,
}

impl Table {
    async fn create(url: &str, kind: &str) -> Self {
        let (host, port) = url.trim_start_matches("http://").trim_end_matches('/').rsplit_once(':').expect("a port");
        let config = HttpConfig {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
            tls: false,
            ca_pem: None,
            scheme: Scheme::SigV4 { service: "dynamodb", region: "us-east-1".to_owned() },
            gzip: false,
        };
        let http = HttpTransport::new(config, Role(true)).expect("a client");
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let table = Self { http, name: format!("source-{kind}-{nanos}") };
        let definition = json!({
            "TableName": table.name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": kind}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        });
        table.call("DynamoDB_20120810.CreateTable", &definition).await;
        table
    }

    async fn put(&self, item: &Value) {
        self.call("DynamoDB_20120810.PutItem", &json!({"TableName": self.name, "Item": item})).await;
    }

    async fn call(&self, operation: &'static str, body: &Value) {
        let (path, content_type) = ("/".to_owned(), "application/x-amz-json-1.0");
        let request = Request { method: "POST", path, content_type, body: Bytes::from(body.to_string()) };
        let headers = [("x-amz-target", operation)];
        let answer = self.http.send_with(request, &headers, Instant::now() + LONG).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Reads keys: documents as the format's sink writes them.
async fn read(url: &str, table: &str, keys: &[Value], format: Format) -> Vec<Result<Option<Vec<u8>>, Cause>> {
    let batch = batch(keys);
    let keys: Vec<Key<'_>> = batch.slots.iter().map(|slot| batch.key(slot).expect("a key")).collect();
    let found = source(url).read(table, &keys, format, Instant::now() + LONG).await;
    found.into_iter().map(|found| crate::tests::written(found).map_err(|failure| failure.cause)).collect()
}

#[tokio::test]
async fn numbers_are_found_and_read_to_the_last_digit() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, "N").await;
    let numbers = [
        "12345678901234567890123456789012345678",
        "-0.12345678901234567890123456789012345678",
        "1E+125",
        "1E-130",
        "-9.9999999999999999999999999999999999999E+125",
        "0",
        "-7.50",
    ];
    let item = |number: &str| json!({"id": {"N": number}, "same": {"N": number}});
    for number in numbers {
        table.put(&item(number)).await;
    }
    let keys: Vec<Value> = numbers.iter().chain(&["404"]).map(|number| json!({"id": {"N": number}})).collect();
    let found = read(&url, &table.name, &keys, Format::Json).await;
    for (number, found) in numbers.iter().zip(&found) {
        let text = found.as_ref().expect("read").as_deref().expect("an item");
        let text = String::from_utf8(text.to_vec()).expect("text");
        let digits = text.rsplit_once("\"same\":").map(|(_, rest)| rest.split(',').next().expect("a number"));
        let exact = |text: &str| tidelock_core::json::canonical_number(text.as_bytes()).expect("a number").into_owned();
        assert_eq!(exact(digits.expect("the attribute")), exact(number), "{text}");
    }
    assert_eq!(found[numbers.len()], Ok(None));
    // 38 digits do not fit BSON's decimals, the other numbers do.
    let bson = read(&url, &table.name, &keys, Format::Bson).await;
    assert_eq!(bson[0], Err(Cause::UnrepresentableValue));
    assert!(matches!((&bson[2], &bson[5], &bson[7]), (Ok(Some(_)), Ok(Some(_)), Ok(None))), "{bson:?}");
}

#[tokio::test]
async fn texts_and_bytes_find_their_items() {
    let Some(url) = service() else { return };
    for (kind, values) in [("S", ["a\"b\\\n\u{1}", "ü\u{1F600}"]), ("B", ["+/8=", "AA=="])] {
        let table = Table::create(&url, kind).await;
        let keys: Vec<Value> = values.iter().map(|value| json!({"id": {kind: value}})).collect();
        table.put(&keys[1]).await;
        let found = read(&url, &table.name, &keys, Format::Json).await;
        assert_eq!(found[0], Ok(None));
        let text = found[1].as_ref().expect("read").as_deref().expect("an item");
        let whole: Value = serde_json::from_slice(&[text, b"}"].concat()).expect("a document");
        assert_eq!(whole, json!({"id": values[1]}));
    }
}

#[tokio::test]
async fn more_than_one_answer_can_hold() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, "N").await;
    let long = "x".repeat(390_000);
    let key = |number: usize| json!({"id": {"N": number.to_string()}});
    // 24 MB where an answer has 16 at most.
    for number in 0..62 {
        table.put(&json!({"id": {"N": number.to_string()}, "long": {"S": long}})).await;
    }
    let keys: Vec<Value> = (0..70).map(key).collect();
    let found = read(&url, &table.name, &keys, Format::Json).await;
    for (number, found) in found.iter().enumerate() {
        let length = found.as_ref().expect("read").as_ref().map(Vec::len);
        assert_eq!(length.is_some_and(|length| length > 390_000), number < 62, "{number}: {length:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_or_has_other_keys() {
    let Some(url) = service() else { return };
    let key = json!({"id": {"N": "1"}});
    let absent = read(&url, "not-there", std::slice::from_ref(&key), Format::Json).await;
    assert_eq!(absent, [Err(Cause::SourceUnreadable)]);
    let table = Table::create(&url, "S").await;
    assert_eq!(read(&url, &table.name, &[json!({"id": {"S": "1"}})], Format::Json).await, [Ok(None)]);
    table.put(&json!({"id": {"S": "1"}})).await;
    let found = read(&url, &table.name, &[key, json!({"id": {"S": "1"}})], Format::Json).await;
    assert_eq!(found, [Err(Cause::SourceUnreadable), Ok(Some(br#"{"id":"1""#.to_vec()))]);
}
