//! Everything against a scripted server, and against a real one where there is any.
//!
//! Real server: `TIDELOCK_TEST_DYNAMODB`, a URL. Without it its tests are skipped, unless `TIDELOCK_REQUIRE_SERVICES=1` says
//! that they must run.

mod answers;
mod real;
mod scans;
mod server;
mod states;
mod streams;
mod table;
mod troubles;

use crate::{DynamoDbConfig, DynamoDbSource};
use serde_json::{Value, json};
use server::Reply;
use std::time::{Duration, Instant};
use tidelock_core::batch::Batch;
use tidelock_core::cause::Failure;
use tidelock_core::credentials::{AwsKeys, Credentials, Login};
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::settings::Secret;
use tidelock_core::slow::{ReadResult, Source as _};
use tidelock_core::source::dynamodb::decode;

/// Time enough for everything that ends.
const LONG: Duration = Duration::from_secs(60);

/// Time for a few attempts, where there is no end.
const SHORT: Duration = Duration::from_secs(1);

/// Keys, or none.
struct Role(bool);

impl Credentials for Role {
    async fn login(&self, _: bool) -> Result<Option<Login>, String> {
        Ok(None)
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        let keys = || AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
        };
        self.0.then(keys).ok_or_else(|| "there are no AWS credentials".to_owned())
    }
}

fn source(url: &str) -> DynamoDbSource<Role> {
    source_of(url, Role(true))
}

fn source_of(url: &str, role: Role) -> DynamoDbSource<Role> {
    DynamoDbSource::new(config(url), role).expect("a source")
}

fn config(url: &str) -> DynamoDbConfig {
    DynamoDbConfig { region: "us-east-1".to_owned(), endpoint: Some(url.to_owned()), ca_pem: None }
}

/// A batch whose records have these keys.
fn batch(keys: &[Value]) -> Batch {
    let record = |key| {
        json!({
            "eventName": "REMOVE",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000",
            "dynamodb": {"Keys": key, "SequenceNumber": "42"},
        })
    };
    let records: Vec<Value> = keys.iter().map(record).collect();
    decode(json!({"Records": records}).to_string().as_bytes(), Format::Json).expect("an event")
}

/// Reads keys from table `t`: documents as text, closed.
async fn read(source: &DynamoDbSource<Role>, keys: &[Value], time: Duration) -> Vec<Result<Option<String>, Failure>> {
    let batch = batch(keys);
    let keys: Vec<Key<'_>> = batch.slots.iter().map(|slot| batch.key(slot).expect("a key")).collect();
    let found = source.read("t", &keys, Format::Json, Instant::now() + time).await;
    let text = |document| String::from_utf8(document).expect("text") + "}";
    found.into_iter().map(|found| written(found).map(|document| document.map(text))).collect()
}

/// The document of what was read.
fn written(found: ReadResult) -> Result<Option<Vec<u8>>, Failure> {
    found.and_then(|item| item.map(|item| item.document).transpose())
}

fn id(number: usize) -> Value {
    json!({"id": {"N": number.to_string()}})
}

/// The document of an item that has nothing but [`id`].
fn document(number: usize) -> Result<Option<String>, Failure> {
    Ok(Some(format!(r#"{{"id":{number}}}"#)))
}

fn answer(items: &[Value], unprocessed: &[Value]) -> Reply {
    let rest =
        if unprocessed.is_empty() { json!({}) } else { json!({"t": {"ConsistentRead": true, "Keys": unprocessed}}) };
    Reply::Text(200, json!({"Responses": {"t": items}, "UnprocessedKeys": rest}).to_string())
}

fn refusal(status: u16, kind: &str) -> Reply {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
    Reply::Text(status, json!({"__type": kind, "message": "its words"}).to_string())
}

/// The keys of a request to table `t`.
fn asked_keys(body: &Value) -> Vec<Value> {
    body["RequestItems"]["t"]["Keys"].as_array().expect("keys").clone()
}
