//! Backfill: what was in the source before its stream was followed, brought in beside the live stream.
//!
//! Nothing has to be paused. Where the target holds neither document nor fence, a scanned item goes in with the oldest version
//! there is, so that every change of the stream is newer; anywhere else the scan may be older than what is there, and the source
//! is read again ([`slow::backfill`](crate::slow::backfill)). What cannot be applied becomes a dead letter.

mod write;

pub use write::{Backfill, Written};

use crate::cause::Failure;
use crate::encode::Format;
use crate::slow::{Item, Source};
use crate::version::Mark;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// One of several parts of a scan that together see every item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Which, from 0.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

/// What is scanned, as it is when the scan begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// The version that scanned items are written with where the target holds nothing: not newer than any change that the
    /// stream will still bring, in the space of that stream.
    pub version: Mark,
    /// How many items there are, roughly.
    pub items: Option<u64>,
    /// What [`Scan::page`] needs to know of it again, as JSON text: the names of its key's attributes, the bounds of its
    /// segments.
    pub facts: String,
}

/// An item that a scan has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedItem {
    /// Its key, in the form of [`Key::as_bytes`](crate::key::Key::as_bytes).
    pub key: Vec<u8>,
    /// The item as the target takes it.
    pub item: Item,
}

/// A part of a segment.
#[derive(Debug, Default)]
pub struct Page {
    /// What was found; one that cannot be read fails alone.
    pub items: Vec<Result<ScannedItem, Failure>>,
    /// Where the next page begins, as JSON text; `None` when the segment is at its end.
    pub next: Option<String>,
    /// What reading it has cost, in the source's own units (DynamoDB: read capacity units); 0 where it has none.
    pub units: f64,
}

/// A source whose items can be read from the first to the last.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Scan: Source {
    /// Looks at what is to be scanned. `origin` is its own name: a table's, or `database.collection`.
    ///
    /// # Errors
    /// When it does not exist, or may not be read.
    async fn survey(&self, origin: &str, segments: u32, deadline: Instant) -> Result<Scanned, Failure>;

    /// Reads a page of a segment: from its beginning, or from where the page before it has ended.
    ///
    /// # Errors
    /// When it cannot be read within the time; the same page can be asked for again.
    async fn page(
        &self,
        origin: &str,
        scanned: &Scanned,
        segment: Segment,
        from: Option<&str>,
        format: Format,
        deadline: Instant,
    ) -> Result<Page, Failure>;
}
