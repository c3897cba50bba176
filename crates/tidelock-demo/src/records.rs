//! Records as DynamoDB Streams writes them.

use serde_json::value::RawValue;
use std::fmt;

/// A change of an item of `mytable`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// `id`, `Name`, `created_at`.
    Insert(u32, &'static str, u64),
    /// As [`Change::Insert`].
    Modify(u32, &'static str, u64),
    /// `id`.
    Remove(u32),
    /// An insert with an attribute type that does not exist.
    Poison(u32),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert(id, name, created) => {
                write!(f, r#"INSERT {{"id":{id},"Name":"{name}","created_at":{created}}}"#)
            }
            Self::Modify(id, name, created) => {
                write!(f, r#"MODIFY {{"id":{id},"Name":"{name}","created_at":{created}}}"#)
            }
            Self::Remove(id) => write!(f, r#"REMOVE {{"id":{id}}}"#),
            Self::Poison(id) => write!(f, r#"INSERT {{"id":{id},"Name":<a type that does not exist>}}"#),
        }
    }
}

/// The stream record of the `sequence`-th change.
pub(crate) fn record(change: &Change, sequence: u64) -> Result<Box<RawValue>, serde_json::Error> {
    let (name, id, image) = match change {
        Change::Insert(id, name, created) | Change::Modify(id, name, created) => {
            let event = if matches!(change, Change::Insert(..)) { "INSERT" } else { "MODIFY" };
            let image = format!(
                r#","NewImage":{{"id":{{"N":"{id}"}},"Name":{{"S":"{name}"}},"created_at":{{"N":"{created}"}}}}"#
            );
            (event, id, image)
        }
        Change::Remove(id) => ("REMOVE", id, String::new()),
        Change::Poison(id) => ("INSERT", id, format!(r#","NewImage":{{"id":{{"N":"{id}"}},"Name":{{"X":"?"}}}}"#)),
    };
    // Real numbers step by about 10^20 per change.
    let number = format!("4421584500000000{:012}", 17_450_439_091 + sequence * 100_000_000);
    RawValue::from_string(format!(
        r#"{{"eventID":"{sequence:032x}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{{"id":{{"N":"{id}"}}}}{image},"SequenceNumber":"{number}","SizeBytes":64,"StreamViewType":"NEW_IMAGE"}},"eventSourceARN":"arn:aws:dynamodb:us-east-1:123456789012:table/mytable/stream/2020-04-29T13:00:00.000"}}"#,
        1_588_166_528 + sequence
    ))
}
