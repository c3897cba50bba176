//! DynamoDB Streams events: those of the repository's `events` folder, and made ones.

use super::exact::Exact;
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::Path;

/// The text of `events/dynamodb/NAME.json`.
pub(crate) fn sample(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/dynamodb/{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// An event of these records.
pub(crate) fn event(records: &[Value]) -> Bytes {
    json!({ "Records": records }).to_string().into()
}

/// A stream that tests make records of.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) table: String,
    pub(crate) region: &'static str,
    /// When the stream was enabled.
    pub(crate) label: &'static str,
}

/// A number of 28 digits; neighbours differ in the last digits only, so that their coarse versions are equal.
pub(crate) fn close(n: u32) -> String {
    format!("44215845000000000174504{n:05}")
}

/// A number of 28 digits as real streams have them: neighbours are 10^20 apart.
pub(crate) fn apart(n: u32) -> String {
    format!("4421{n:04}00000000017450439091")
}

/// The source's time of most records, seconds since 1970.
pub(crate) const AT: i64 = 1_588_166_728;

impl Stream {
    /// The stream of a table.
    pub(crate) fn of(table: impl Into<String>) -> Self {
        Self { table: table.into(), region: "us-east-1", label: "2020-04-29T13:00:00.000" }
    }

    pub(crate) fn arn(&self) -> String {
        let Self { table, region, label } = self;
        format!("arn:aws:dynamodb:{region}:123456789012:table/{table}/stream/{label}")
    }

    /// The `space` of the versions of its changes.
    pub(crate) fn space(&self) -> String {
        format!("dynamodb:{}:123456789012:{}", self.region, self.table)
    }

    /// A record; `image` is the new image in DynamoDB's notation.
    pub(crate) fn record(&self, name: &str, sequence: &str, at: i64, keys: Value, image: Option<Value>) -> Value {
        let mut change = json!({
            "ApproximateCreationDateTime": at, "Keys": keys, "SequenceNumber": sequence, "SizeBytes": 32,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        if let Some(image) = image {
            change["NewImage"] = image;
        }
        json!({
            "eventID": sequence, "eventName": name, "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": self.region, "eventSourceARN": self.arn(), "dynamodb": change,
        })
    }

    /// Item `id` now has this name.
    pub(crate) fn upsert(&self, sequence: &str, id: &str, name: &str) -> Value {
        self.upsert_at(sequence, id, name, AT)
    }

    /// As [`Self::upsert`], with the source's time in seconds.
    pub(crate) fn upsert_at(&self, sequence: &str, id: &str, name: &str, at: i64) -> Value {
        self.item(sequence, id, at, &json!({"Name": {"S": name}}))
    }

    /// Item `id` now has these attributes, in DynamoDB's notation.
    pub(crate) fn item(&self, sequence: &str, id: &str, at: i64, attributes: &Value) -> Value {
        let key = json!({"id": {"N": id}});
        let mut image = key.clone();
        image.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        self.record("MODIFY", sequence, at, key, Some(image))
    }

    /// Item `id` is gone.
    pub(crate) fn remove(&self, sequence: &str, id: &str) -> Value {
        self.record("REMOVE", sequence, AT, json!({"id": {"N": id}}), None)
    }

    /// A record that can never be applied: its image has a value of a type that DynamoDB does not have.
    pub(crate) fn poison(&self, sequence: &str, id: &str) -> Value {
        self.item(sequence, id, AT, &json!({"broken": {"X": "1"}}))
    }
}

/// The document of [`Stream::upsert`].
pub(crate) fn named(id: u32, name: &str) -> Exact {
    Exact::from(json!({"id": id, "Name": name}))
}
