//! A real DynamoDB, and tables of one's own in it.

use super::{LONG, Role};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme};

#[expect(clippy::disallowed_methods, reason = "tests read their own settings")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The server's URL; without it the test is skipped, loudly, or fails where services are required.
pub(crate) fn service() -> Option<String> {
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
pub(crate) struct Table {
    http: HttpTransport<Role>,
    pub(crate) name: String,
}

impl Table {
    /// A table whose key has these attributes, by name and type, and whose stream has both images.
    pub(crate) async fn create(url: &str, key: &[(&str, &str)]) -> Self {
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
        let table = Self { http, name: format!("tidelock-{nanos}-{:x}", fastrand::u32(..)) };
        let attribute = |(name, kind): &(&str, &str)| json!({"AttributeName": name, "AttributeType": kind});
        let role = |(key, role): (&(&str, &str), &str)| json!({"AttributeName": key.0, "KeyType": role});
        let definition = json!({
            "TableName": table.name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": key.iter().map(attribute).collect::<Vec<_>>(),
            "KeySchema": key.iter().zip(["HASH", "RANGE"]).map(role).collect::<Vec<_>>(),
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        });
        table.call("DynamoDB_20120810.CreateTable", &definition).await;
        table
    }

    pub(crate) async fn put(&self, item: &Value) {
        self.call("DynamoDB_20120810.PutItem", &json!({"TableName": self.name, "Item": item})).await;
    }

    /// Puts many items, 25 in a request.
    pub(crate) async fn put_all(&self, items: &[Value]) {
        for some in items.chunks(25) {
            let puts: Vec<Value> = some.iter().map(|item| json!({"PutRequest": {"Item": item}})).collect();
            let body = json!({"RequestItems": {&*self.name: puts}});
            let answer = self.call("DynamoDB_20120810.BatchWriteItem", &body).await;
            assert_eq!(answer["UnprocessedItems"], json!({}));
        }
    }

    pub(crate) async fn delete(&self, key: &Value) {
        self.call("DynamoDB_20120810.DeleteItem", &json!({"TableName": self.name, "Key": key})).await;
    }

    /// Deletes the table; its stream can be read for another day.
    pub(crate) async fn drop(&self) {
        self.call("DynamoDB_20120810.DeleteTable", &json!({"TableName": self.name})).await;
    }

    pub(crate) async fn call(&self, operation: &'static str, body: &Value) -> Value {
        let (path, content_type) = ("/".to_owned(), "application/x-amz-json-1.0");
        let request = Request { method: "POST", path, content_type, body: Bytes::from(body.to_string()) };
        let headers = [("x-amz-target", operation)];
        let answer = self.http.send_with(request, &headers, Instant::now() + LONG).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).expect("JSON")
    }
}
