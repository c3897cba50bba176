//! Fences: the target's own memory of deletes.
//!
//! OpenSearch forgets a delete's version after a minute, MongoDB at once. What was delayed for longer (a write of an
//! invocation that has been given up, a redriven letter, a backfilled page) would bring the document back. So every delete
//! leaves a fence with its version, one for each **location** (index or collection, and id), guarded like a document.
//!
//! - **Slow lanes** look at the fence before they write, and once more after: [`crate::slow`].
//! - **The live lane** does not look: that would cost a read for every write. What it may bring back is removed by the
//!   **sweep**: some time after a fence was written, when every write that began before it has either landed or never will,
//!   the document at its location is compared with it and deleted if it is older.
//! - **Expiry**: a fence is dropped when no letter of its age can be redriven blindly any more (15 days by default).
//! - **A collection that was dropped** leaves one fence for all of its documents, at a location of its own in each place that
//!   they went to: [`namespace_key`].

mod namespace;

pub use namespace::{NAMESPACE_ID, check_id, is_of_namespace, namespace_id, namespace_key};

use crate::version::Mark;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;

/// The index of fences. Names with a leading `_` are refused by OpenSearch.
pub const FENCE_INDEX: &str = "tidelock-fences";

/// The collection, or table, of fences; one in each database that is written to.
pub const FENCE_COLLECTION: &str = "tidelock_fences";

/// How long fences live by default, milliseconds: a day longer than any letter.
pub const FENCE_LIFE_MS: i64 = 15 * 86_400_000;

/// How old a fence must be to be swept, milliseconds: twice the longest time an invocation may take
/// ([15 minutes](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)), and five minutes. No write that
/// began before the fence was written can land later.
pub const SWEEP_AGE_MS: i64 = 2 * 15 * 60_000 + 5 * 60_000;

/// How far a sweep goes back behind the one before it, milliseconds: clocks of functions differ.
pub const SWEEP_OVERLAP_MS: i64 = 10 * 60_000;

/// The id of a location's fence: SHA-256 over its parts, as base64url. Different locations have different ids.
#[must_use]
pub fn fence_id(location: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in location {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Which fences a sweep takes, by the time they were written at, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Fences written before this are old enough.
    pub until_ms: i64,
    /// Fences written before this have expired.
    pub expired_ms: i64,
}

impl Window {
    /// The window of a sweep that is made now.
    #[must_use]
    pub fn at(now_ms: i64, fence_life_ms: i64) -> Self {
        Self {
            until_ms: now_ms.saturating_sub(SWEEP_AGE_MS),
            expired_ms: now_ms.saturating_sub(fence_life_ms.max(SWEEP_AGE_MS)),
        }
    }

    /// Where it begins, after a sweep that came as far as `watermark_ms`.
    #[must_use]
    pub fn from_ms(&self, watermark_ms: Option<i64>) -> i64 {
        watermark_ms.map_or(i64::MIN, |mark| mark.min(self.until_ms).saturating_sub(SWEEP_OVERLAP_MS))
    }
}

/// What a sweep has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Fences compared with the document at their location.
    pub compared: usize,
    /// Documents older than their fence, which are deleted now.
    pub removed: usize,
    /// Fences that had expired and are gone.
    pub expired: usize,
    /// All fences of the window have been seen; otherwise time was over and the next sweep goes on.
    pub complete: bool,
}

/// What has been done to [clear](crate::target::Store::clear) a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    /// Documents older than the fence, which are deleted now.
    pub removed: usize,
    /// All documents of the place have been looked at; otherwise time was over.
    pub complete: bool,
}

/// Whether a fence asks for the document's end: it is of the same source, and older than the fence.
///
/// A document of equal version has been written from the source after the delete was known, and stays.
#[must_use]
pub fn overtakes(fence: &Mark, document: Option<&Mark>) -> bool {
    document.and_then(|document| fence.compare(document)) == Some(Ordering::Greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(space: &str, exact: &str) -> Mark {
        Mark {
            space: space.into(),
            label: String::new(),
            exact: format!("{exact:0>20}"),
            token: String::new(),
            at: 0,
            part: false,
        }
    }

    #[test]
    fn ids_keep_locations_apart() {
        assert_eq!(fence_id(&[b"a", b"b"]), fence_id(&[b"a", b"b"]));
        for other in [&[b"ab".as_slice(), b""][..], &[b"", b"ab"], &[b"a", b"b", b""], &[b"b", b"a"]] {
            assert_ne!(fence_id(&[b"a", b"b"]), fence_id(other));
        }
        assert_eq!(fence_id(&[]).len(), 43);
    }

    #[test]
    fn only_what_is_known_to_be_older_is_overtaken() {
        let fence = mark("kafka:s:0", "5");
        assert!(overtakes(&fence, Some(&mark("kafka:s:0", "4"))));
        for kept in [Some(mark("kafka:s:0", "5")), Some(mark("kafka:s:0", "6")), Some(mark("kafka:t:0", "4")), None] {
            assert!(!overtakes(&fence, kept.as_ref()), "{kept:?}");
        }
    }

    #[test]
    fn a_window_leaves_young_fences_alone_and_goes_back_a_little() {
        let now = 100 * 86_400_000;
        let window = Window::at(now, FENCE_LIFE_MS);
        assert_eq!(window.until_ms, now - 35 * 60_000);
        assert_eq!(window.expired_ms, now - FENCE_LIFE_MS);
        assert_eq!(window.from_ms(None), i64::MIN);
        assert_eq!(window.from_ms(Some(now - 60 * 60_000)), now - 70 * 60_000);
        assert_eq!(window.from_ms(Some(now)), window.until_ms - SWEEP_OVERLAP_MS, "a clock that went back");
        assert!(Window::at(now, 0).expired_ms <= window.until_ms, "no fence expires unswept");
    }
}
