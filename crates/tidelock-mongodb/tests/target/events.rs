//! Changes, as DynamoDB Streams tells them, turned into operations.

use mongodb::bson::Document;
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::{Duration, Instant};
use tidelock_core::batch::{Batch, Content};
use tidelock_core::encode::Format;
use tidelock_core::settings::{Auth, Secret};
use tidelock_core::source::dynamodb;
use tidelock_core::target::{Call, Operation, Outcome, Place, Target as _, Write};
use tidelock_mongodb::{Credentials, FromUri, MongoDbConfig, MongoDbTarget};

pub(crate) const LABEL: &str = "2026-01-01T00:00:00.000";
pub(crate) const SPACE: &str = "dynamodb:us-east-1:123456789012:mytable";

/// One change of an item of the table `mytable`.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: Value,
    pub(crate) image: Option<Value>,
    pub(crate) label: &'static str,
    pub(crate) sequence: u64,
    /// Seconds.
    pub(crate) at: u64,
}

impl Change {
    pub(crate) fn put(key: &str, sequence: u64, value: &str) -> Self {
        let image = json!({"id": {"S": key}, "value": {"S": value}});
        Self { key: json!({"id": {"S": key}}), image: Some(image), label: LABEL, sequence, at: 1_000 }
    }

    pub(crate) fn remove(key: &str, sequence: u64) -> Self {
        Self { image: None, ..Self::put(key, sequence, "") }
    }

    pub(crate) fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    pub(crate) fn label(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    fn record(&self) -> Value {
        let mut change = json!({"ApproximateCreationDateTime": self.at, "Keys": self.key, "SequenceNumber": self.sequence.to_string()});
        if let Some(image) = &self.image {
            change["NewImage"] = image.clone();
        }
        let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/mytable/stream/{}", self.label);
        let name = if self.image.is_some() { "MODIFY" } else { "REMOVE" };
        json!({"eventID": "1", "eventName": name, "dynamodb": change, "eventSourceARN": arn})
    }
}

/// The stored form of a version.
pub(crate) fn mark(sequence: u64) -> Document {
    mongodb::bson::doc! {"space": SPACE, "label": LABEL, "exact": format!("{sequence:0>40}"), "at": 1_000_000_i64}
}

pub(crate) fn batch(changes: &[Change]) -> Batch {
    let records: Vec<Value> = changes.iter().map(Change::record).collect();
    dynamodb::decode(json!({"Records": records}).to_string().as_bytes(), Format::Bson).expect("an event")
}

thread_local! {
    static FRESH: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test without hints, and once more with every change said to be its key's first: that must make no difference.
pub(crate) fn whatever_the_hint(test: impl Fn()) {
    for fresh in [false, true] {
        FRESH.set(fresh);
        test();
    }
    FRESH.set(false);
}

/// [The same](whatever_the_hint) for a test that needs no real server.
pub(crate) fn run_whatever_the_hint(test: impl AsyncFn()) {
    whatever_the_hint(|| run(test()));
}

/// Whether [such a hint](whatever_the_hint) is given now.
pub(crate) fn is_hinted() -> bool {
    FRESH.get()
}

pub(crate) fn operations<'a>(batch: &'a Batch, into: &'a Place) -> Vec<Operation<'a>> {
    let mut operations = Vec::new();
    for slot in &batch.slots {
        let write = match &slot.content {
            Content::Upsert(range) => Write::Upsert(&batch.documents[range.clone()]),
            Content::Delete => Write::Delete,
            Content::Failed(failure) => panic!("{failure}"),
            Content::Deferred => panic!("no document was made"),
        };
        let (key, version) = (batch.key(slot).expect("a key"), batch.version(slot).expect("a version"));
        operations.push(Operation { fresh: FRESH.get(), ..Operation::plain(into, key, write, version) });
    }
    operations
}

pub(crate) fn place(name: &str) -> Place {
    Place::new(name.to_owned(), false)
}

pub(crate) fn config(uri: &str) -> MongoDbConfig {
    MongoDbConfig {
        uri: Secret::new(uri),
        auth: Auth::Auto,
        ca_file: None,
        bulk_bytes: 5_000_000,
        in_flight: 4,
        fences: true,
        guards: true,
        databases: Vec::new(),
    }
}

pub(crate) fn target(uri: &str) -> MongoDbTarget {
    MongoDbTarget::new(config(uri), FromUri).expect("valid settings")
}

/// The time that calls are made at, milliseconds since 1970.
pub(crate) const NOW: i64 = 2_000_000_000_000;

/// A call that may take so long.
pub(crate) fn within(time: Duration) -> Call {
    Call { deadline: Instant::now() + time, now_ms: NOW, truth: false }
}

/// Applies changes to the collection `c`.
pub(crate) async fn apply<C: Credentials>(target: &MongoDbTarget<C>, changes: &[Change]) -> Vec<Outcome> {
    apply_within(target, "c", changes, Duration::from_secs(20)).await
}

pub(crate) async fn apply_within<C: Credentials>(
    target: &MongoDbTarget<C>,
    collection: &str,
    changes: &[Change],
    time: Duration,
) -> Vec<Outcome> {
    let (batch, into) = (batch(changes), place(collection));
    let operations = operations(&batch, &into);
    let call = within(time);
    let outcomes = target.apply(&operations, call).await;
    assert!(Instant::now() < call.deadline, "an answer in time");
    assert_eq!(outcomes.len(), operations.len());
    outcomes
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
