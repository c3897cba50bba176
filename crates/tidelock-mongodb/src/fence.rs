//! Fences: one document for each location that a delete was meant for, in the database that it was meant for.
//!
//! ```text
//! {_id, collection, id, key, written, _tidelock}
//! ```
//!
//! `_id` is made of collection and id; `id` is the document's own id, `key` the source's key, `written` the time it was
//! written at and `_tidelock` the version of the delete. A fence is written like a document and guarded like one.

use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::encode::{write_bson_key, write_bson_mark};
use tidelock_core::fence::fence_id;
use tidelock_core::key::Key;
use tidelock_core::target::Operation;
use tidelock_core::version::Version;

/// The fields that a sweep needs of a fence.
pub(crate) const COLLECTION: &str = "collection";
pub(crate) const ID: &str = "id";
pub(crate) const WRITTEN: &str = "written";

/// What is to be remembered of a delete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fence<'a> {
    /// The document's collection.
    pub(crate) collection: &'a str,
    pub(crate) key: Key<'a>,
    pub(crate) version: Version<'a>,
    /// Milliseconds since 1970.
    pub(crate) written: i64,
}

impl<'a> Fence<'a> {
    pub(crate) fn of(operation: &Operation<'a>, collection: &'a str, written: i64) -> Self {
        Self { collection, key: operation.key, version: operation.version, written }
    }

    pub(crate) fn id(&self) -> String {
        let mut element = Vec::with_capacity(self.key.as_bytes().len() + 16);
        write_bson_key(&mut element, "_id", self.key);
        fence_id(&[self.collection.as_bytes(), &element])
    }

    /// Appends all elements but `_id`.
    pub(crate) fn push_elements(&self, out: &mut Vec<u8>) {
        push_string(out, COLLECTION, self.collection.as_bytes());
        write_bson_key(out, ID, self.key);
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
