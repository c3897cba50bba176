//! Which document of a collection is meant: the one of an `_id`, and in a sharded collection of a shard key's values, too.
//!
//! A sharded collection may hold an `_id` once on each shard
//! ([unique indexes](https://www.mongodb.com/docs/manual/core/sharding-shard-key/#unique-indexes)), as it does for a moment
//! when a document's shard key changes.

use crate::identity::identity;
use crate::lookup;
use mongodb::bson::{Bson, Document, RawBson, RawBsonRef, RawDocument, error::Error as BsonError};
use tidelock_core::encode::write_bson_shard_value;
use tidelock_core::target::{Operation, Place};

/// One document of a collection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    pub(crate) id: Bson,
    /// Fields of the shard key, by path, and their values; empty where the collection is not sharded.
    pub(crate) shard_key: Document,
}

impl Spot {
    /// Where an operation's document is.
    pub(crate) fn of(operation: &Operation<'_>) -> Result<Self, BsonError> {
        Ok(Self { id: lookup::id(operation.key)?, shard_key: shard_key(operation.into)? })
    }

    /// A document that is known by its `_id` alone.
    pub(crate) fn of_id(id: Bson) -> Self {
        Self { id, shard_key: Document::new() }
    }

    /// The names of the shard key's fields.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.shard_key.keys().cloned().collect()
    }

    /// Equal for what is one document to the server.
    pub(crate) fn identity(&self) -> Result<Vec<u8>, BsonError> {
        let mut whole = identity(RawBson::try_from(self.id.clone())?.as_raw_bson_ref())?;
        for (field, value) in &self.shard_key {
            push(&mut whole, field, RawBson::try_from(value.clone())?.as_raw_bson_ref())?;
        }
        Ok(whole)
    }
}

/// The identity of a document that was read, by its `_id` and these fields; `None` when it has no `_id`.
pub(crate) fn identity_in(document: &RawDocument, fields: &[String]) -> Result<Option<Vec<u8>>, BsonError> {
    let Some(id) = document.get("_id")? else { return Ok(None) };
    let mut whole = identity(id)?;
    for field in fields {
        push(&mut whole, field, at(document, field)?)?;
    }
    Ok(Some(whole))
}

fn push(whole: &mut Vec<u8>, field: &str, value: RawBsonRef<'_>) -> Result<(), BsonError> {
    whole.extend_from_slice(b"\0shard\0");
    whole.extend_from_slice(field.as_bytes());
    whole.push(0);
    whole.extend_from_slice(&identity(value)?);
    Ok(())
}

/// What stands at a path; to the server a field that is missing is null.
fn at<'a>(document: &'a RawDocument, path: &str) -> Result<RawBsonRef<'a>, BsonError> {
    let mut value = RawBsonRef::Document(document);
    for name in path.split('.') {
        let RawBsonRef::Document(inner) = value else { return Ok(RawBsonRef::Null) };
        match inner.get(name)? {
            Some(found) => value = found,
            None => return Ok(RawBsonRef::Null),
        }
    }
    Ok(value)
}

fn shard_key(place: &Place) -> Result<Document, BsonError> {
    if place.shard_key.is_empty() {
        return Ok(Document::new());
    }
    lookup::document(|out| push_shard_key(out, place))
}

/// Appends the shard key's fields as elements.
pub(crate) fn push_shard_key(out: &mut Vec<u8>, place: &Place) {
    for (field, value) in &place.shard_key {
        write_bson_shard_value(out, field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::{RawDocumentBuf, doc};
    use tidelock_core::target::ShardValue;

    fn place() -> Place {
        let mut place = Place::new("c".to_owned(), false);
        place.shard_key = vec![
            ("country".to_owned(), ShardValue::Text("at".to_owned())),
            ("address.zip".to_owned(), ShardValue::Number("1010".to_owned())),
            ("gone".to_owned(), ShardValue::Null),
            ("vip".to_owned(), ShardValue::Boolean(true)),
        ];
        place
    }

    #[test]
    fn what_is_read_is_what_was_meant() {
        let spot = Spot { id: Bson::Int32(7), shard_key: shard_key(&place()).expect("values") };
        assert_eq!(spot.shard_key, doc! {"country": "at", "address.zip": 1010, "gone": null, "vip": true});
        let meant = spot.identity().expect("an identity");
        let read = |document: Document| {
            let raw = RawDocumentBuf::try_from(document).expect("a document");
            identity_in(&raw, &spot.fields()).expect("readable")
        };
        let same = doc! {"_id": 7_i64, "vip": true, "country": "at", "address": {"zip": 1010.0}};
        assert_eq!(read(same), Some(meant.clone()));
        for other in [
            doc! {"_id": 8, "vip": true, "country": "at", "address": {"zip": 1010}},
            doc! {"_id": 7, "vip": true, "country": "de", "address": {"zip": 1010}},
            doc! {"_id": 7, "vip": true, "country": "at", "address": 1010},
            doc! {"_id": 7, "vip": true, "country": "at", "address": {"zip": 1010}, "gone": 1},
            doc! {"_id": 7},
        ] {
            assert_ne!(read(other.clone()), Some(meant.clone()), "{other}");
        }
        assert_eq!(read(doc! {"country": "at"}), None);
    }
}
