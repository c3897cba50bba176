//! Events, and a database file of the test's own.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidelock_core::batch::{Batch, Content};
use tidelock_core::encode::Format;
use tidelock_core::source::dynamodb;
use tidelock_core::target::{Call, Operation, Outcome, Place, Target as _, Write};
use tidelock_sqlite::{SqliteTarget, StoredDocument, documents};

/// A folder that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidelock-sqlite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a writable folder for temporary files");
        Self(path)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("documents.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One change of the item `id` in the table `mytable`.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: Value,
    pub(crate) image: Option<Value>,
    pub(crate) table: &'static str,
    pub(crate) label: &'static str,
    pub(crate) sequence: u64,
    pub(crate) at: u64,
}

impl Change {
    pub(crate) fn put(sequence: u64, value: &str) -> Self {
        let image = json!({"id": {"S": "k"}, "value": {"S": value}});
        Self {
            key: json!({"id": {"S": "k"}}),
            image: Some(image),
            table: "mytable",
            label: "2026-01-01T00:00:00.000",
            sequence,
            at: 1_000,
        }
    }

    pub(crate) fn remove(sequence: u64) -> Self {
        Self { image: None, ..Self::put(sequence, "") }
    }

    pub(crate) fn of(self, key: &str) -> Self {
        Self { key: json!({"id": {"S": key}}), ..self }
    }

    pub(crate) fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    pub(crate) fn label(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    pub(crate) fn table(self, table: &'static str) -> Self {
        Self { table, ..self }
    }

    fn record(&self) -> Value {
        let mut change = json!({"ApproximateCreationDateTime": self.at, "Keys": self.key, "SequenceNumber": self.sequence.to_string()});
        if let Some(image) = &self.image {
            change["NewImage"] = image.clone();
        }
        let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{}/stream/{}", self.table, self.label);
        let name = if self.image.is_some() { "MODIFY" } else { "REMOVE" };
        json!({"eventID": "1", "eventName": name, "dynamodb": change, "eventSourceARN": arn})
    }
}

pub(crate) fn batch(changes: &[Change]) -> Batch {
    let records: Vec<Value> = changes.iter().map(Change::record).collect();
    dynamodb::decode(json!({"Records": records}).to_string().as_bytes(), Format::Json).expect("an event")
}

pub(crate) fn operations<'a>(batch: &'a Batch, into: &'a Place) -> Vec<Operation<'a>> {
    let operation = |slot| {
        let (key, version) = (batch.key(slot).expect("a key"), batch.version(slot).expect("a version"));
        let write = match &slot.content {
            Content::Upsert(range) => Write::Upsert(&batch.documents[range.clone()]),
            Content::Delete => Write::Delete,
            Content::Failed(failure) => panic!("{failure}"),
            Content::Deferred => panic!("no document was made"),
        };
        Operation::plain(into, key, write, version)
    };
    batch.slots.iter().map(operation).collect()
}

pub(crate) fn place(name: &str) -> Place {
    Place::new(name.to_owned(), false)
}

/// The time that calls are made at, milliseconds since 1970.
pub(crate) const NOW: i64 = 2_000_000_000_000;

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

pub(crate) fn by(deadline: Instant) -> Call {
    Call { deadline, now_ms: NOW, truth: false }
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Applies changes to the table `t`.
pub(crate) fn apply(target: &SqliteTarget, changes: &[Change]) -> Vec<Outcome> {
    apply_to(target, "t", changes, soon())
}

pub(crate) fn apply_to(target: &SqliteTarget, table: &str, changes: &[Change], deadline: Instant) -> Vec<Outcome> {
    let (batch, into) = (batch(changes), place(table));
    let operations = operations(&batch, &into);
    let outcomes = run(target.apply(&operations, by(deadline)));
    assert_eq!(outcomes.len(), operations.len());
    outcomes
}

pub(crate) fn stored(path: &Path) -> Vec<StoredDocument> {
    documents(path, "t").expect("readable")
}

/// The field `value` of every document of the table `t`, by id.
pub(crate) fn values(path: &Path) -> Vec<(String, String)> {
    let value = |row: StoredDocument| {
        let document: Value = serde_json::from_str(&row.document).expect("JSON");
        (row.id, document["value"].as_str().unwrap_or_default().to_owned())
    };
    stored(path).into_iter().map(value).collect()
}
