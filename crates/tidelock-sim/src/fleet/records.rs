//! The records that every function of a fleet delivers, made once: each batch holds the same ones.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use tidelock_core::batch::Batch;
use tidelock_core::encode::Format;
use tidelock_core::source::dynamodb::decode;

/// Where they go.
pub(crate) const INDEX: &str = "orders";

const LABEL: &str = "2026-01-01T00:00:01.000";
const AT: i64 = 1_767_225_600;

/// The part of a batch that begins with some record.
pub(crate) struct Delivered {
    pub(crate) payload: Vec<u8>,
    pub(crate) batch: Batch,
}

/// The records of a batch.
pub(crate) struct Records {
    records: Vec<Value>,
    /// What somebody delivers at the moment, by its first record.
    made: RefCell<BTreeMap<usize, Weak<Delivered>>>,
}

impl Records {
    /// So many records with documents of this size.
    pub(crate) fn new(count: usize, document_bytes: usize) -> Self {
        let text = "x".repeat(document_bytes);
        let record = |position: usize| {
            let key = json!({"id": {"S": format!("r{position}")}});
            json!({
                "eventName": "MODIFY",
                "eventSourceARN": format!("arn:aws:dynamodb:us-east-1:1:table/{INDEX}/stream/{LABEL}"),
                "dynamodb": {
                    "ApproximateCreationDateTime": AT, "Keys": key, "SequenceNumber": sequence(position),
                    "NewImage": {"id": key["id"], "text": {"S": text}},
                },
            })
        };
        Self { records: (0..count).map(record).collect(), made: RefCell::default() }
    }

    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// The records from a position on.
    pub(crate) fn from(&self, position: usize) -> Rc<Delivered> {
        if let Some(delivered) = self.made.borrow().get(&position).and_then(Weak::upgrade) {
            return delivered;
        }
        let records = self.records.get(position..).unwrap_or_default();
        let payload = json!({"Records": records}).to_string().into_bytes();
        let batch = decode(&payload, Format::Json).expect("an event of records made here");
        let delivered = Rc::new(Delivered { payload, batch });
        self.made.borrow_mut().insert(position, Rc::downgrade(&delivered));
        delivered
    }

    /// The position of a record by its sequence number.
    pub(crate) fn at(&self, number: &str) -> Option<usize> {
        (0..self.count()).find(|position| sequence(*position) == number)
    }
}

/// Neighbours differ by more than the engine's version can tell apart, as those of DynamoDB do.
fn sequence(position: usize) -> String {
    format!("44215845{:04}00000000000000000000", position)
}

/// The position of a record by its id.
pub(crate) fn position(id: &str) -> Option<usize> {
    id.strip_prefix('r')?.parse().ok()
}

/// The version that a document carries.
pub(crate) fn mark(position: usize) -> Value {
    json!({
        "space": format!("dynamodb:us-east-1:1:{INDEX}"), "label": LABEL,
        "exact": format!("{:0>40}", sequence(position)), "at": AT * 1_000,
    })
}
