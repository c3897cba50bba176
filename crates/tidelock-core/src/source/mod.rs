//! Sources: from an invocation's payload to a batch of changes.

pub mod documentdb;
pub mod dynamodb;
pub mod mongodb;

use crate::batch::Batch;
use crate::cause::Failure;
use crate::encode::Format;
use crate::letter::LostBatch;
use std::fmt;
use std::time::Instant;

/// Reads an event, writing documents in a format.
pub type Decode = fn(&[u8], Format) -> Result<Batch, EnvelopeError>;

/// How a source's events are read.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// With a document for every item.
    pub decode: Decode,
    /// With a document and an image for every item: where what becomes of an item depends on its fields.
    pub decode_with_images: Decode,
    /// With an image, and no document: they are [made later](crate::batch::Content::Deferred).
    pub decode_deferred: Decode,
}

/// The payload is not an event of this source at all: nothing in it can be told apart, so the invocation fails whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeError {
    /// What was expected, what was found, and what to do.
    pub message: String,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EnvelopeError {}

/// What a stream still knows of some records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Those that it knows: a JSON array of records as Lambda delivers them.
    pub records: String,
    /// Why others are gone for good, where some are.
    pub forgotten: Option<String>,
}

/// Streams whose records can be read again for as long as they are kept.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Streams {
    /// The records of a batch.
    ///
    /// # Errors
    /// When they cannot be read now.
    async fn records(&self, batch: &LostBatch, deadline: Instant) -> Result<Fetched, Failure>;
}

/// No stream can be read.
#[derive(Debug, Clone, Copy)]
pub enum NoStreams {}

impl Streams for NoStreams {
    async fn records(&self, _: &LostBatch, _: Instant) -> Result<Fetched, Failure> {
        match *self {}
    }
}
