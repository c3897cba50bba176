//! Fences: one document for each location that a delete was meant for, in the database that it was meant for.
//!
//! ```text
//! {_id, collection, id, shard_key, key, written, _tidelock}
//! ```
//!
//! `_id` is made of collection, id and shard key; `id` is the document's own id, `shard_key` there only in sharded
//! collections, a list of `{field, value}`; `key` is the source's key, `written` the time it was
//! written at and `_tidelock` the version of the delete. A fence is written like a document and guarded like one.

use crate::spot::push_shard_key;
use mongodb::bson::{Bson, Document};
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::encode::{write_bson_key, write_bson_mark, write_bson_shard_value};
use tidelock_core::fence::fence_id;
use tidelock_core::key::Key;
use tidelock_core::target::{Operation, Place};
use tidelock_core::version::Version;

/// The fields that a sweep needs of a fence.
pub(crate) const COLLECTION: &str = "collection";
pub(crate) const ID: &str = "id";
pub(crate) const SHARD_KEY: &str = "shard_key";
const FIELD: &str = "field";
const VALUE: &str = "value";
pub(crate) const WRITTEN: &str = "written";

/// What is to be remembered of a delete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fence<'a> {
    /// The document's collection.
    pub(crate) collection: &'a str,
    pub(crate) place: &'a Place,
    pub(crate) key: Key<'a>,
    pub(crate) version: Version<'a>,
    /// Milliseconds since 1970.
    pub(crate) written: i64,
}

impl<'a> Fence<'a> {
    pub(crate) fn of(operation: &Operation<'a>, collection: &'a str, written: i64) -> Self {
        Self { collection, place: operation.into, key: operation.key, version: operation.version, written }
    }

    pub(crate) fn id(&self) -> String {
        let mut element = Vec::with_capacity(self.key.as_bytes().len() + 16);
        write_bson_key(&mut element, "_id", self.key);
        if self.place.shard_key.is_empty() {
            return fence_id(&[self.collection.as_bytes(), &element]);
        }
        let mut shard_key = Vec::with_capacity(64);
        push_shard_key(&mut shard_key, self.place);
        fence_id(&[self.collection.as_bytes(), &element, &shard_key])
    }

    /// Appends all elements but `_id`.
    pub(crate) fn push_elements(&self, out: &mut Vec<u8>) {
        push_string(out, COLLECTION, self.collection.as_bytes());
        write_bson_key(out, ID, self.key);
        if !self.place.shard_key.is_empty() {
            embed(out, 0x04, SHARD_KEY, |out| {
                // Paths have dots in them, which not every server takes in the name of a stored field.
                for (index, (field, value)) in self.place.shard_key.iter().enumerate() {
                    embed(out, 0x03, &index.to_string(), |out| {
                        push_string(out, FIELD, field.as_bytes());
                        write_bson_shard_value(out, VALUE, value);
                    });
                }
            });
        }
        let mut key = Vec::with_capacity(self.key.as_bytes().len() + 32);
        self.key.write_json(&mut key);
        push_string(out, "key", &key);
        out.push(0x12);
        out.extend_from_slice(WRITTEN.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.written.to_le_bytes());
        write_bson_mark(out, &self.version);
    }

    /// About how many bytes its statement takes.
    pub(crate) fn statement_bytes(&self) -> usize {
        let Version { space, label, exact, .. } = self.version;
        3 * (space.len() + label.len() + exact.len()) + self.collection.len() + 2 * self.key.as_bytes().len() + 600
    }
}

/// Appends an element that has elements of its own.
fn embed(out: &mut Vec<u8>, kind: u8, name: &str, elements: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    elements(out);
    out.push(0);
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX).to_le_bytes();
    if let Some(bytes) = out.get_mut(start..start + 4) {
        bytes.copy_from_slice(&length);
    }
}

/// The shard key of a fence that was read: fields and values.
pub(crate) fn shard_key(value: Option<Bson>) -> Document {
    let Some(Bson::Array(parts)) = value else { return Document::new() };
    let part = |part: Bson| match part {
        Bson::Document(mut part) => Some((part.get_str(FIELD).ok()?.to_owned(), part.remove(VALUE)?)),
        _ => None,
    };
    parts.into_iter().filter_map(part).collect()
}

fn push_string(out: &mut Vec<u8>, name: &str, text: &[u8]) {
    out.push(0x02);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    // Texts are far below 2 GiB.
    out.extend_from_slice(&i32::try_from(text.len() + 1).unwrap_or(i32::MAX).to_le_bytes());
    out.extend_from_slice(text);
    out.push(0);
}

/// The failure of a delete whose fence has failed: a document must never be given up because of its fence.
pub(crate) fn unwritten(failure: Failure) -> Failure {
    match failure.cause {
        Cause::OrderConflict => failure,
        cause if cause.disposition() == Disposition::Park => {
            Failure::new(Cause::FenceUnwritten, format!("{cause}: {}", failure.detail))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_a_fence_parks_its_delete() {
        for &cause in Cause::ALL {
            let failure = unwritten(Failure::new(cause, "words"));
            let parks = cause.disposition() == Disposition::Park && cause != Cause::OrderConflict;
            assert_eq!(failure.cause, if parks { Cause::FenceUnwritten } else { cause });
            assert!(failure.detail.contains("words"));
            assert!(!parks || failure.detail.contains(cause.code()), "{failure}");
        }
    }
}
