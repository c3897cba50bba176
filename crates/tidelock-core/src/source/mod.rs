//! Sources: from an invocation's payload to a batch of changes.

pub mod documentdb;
pub mod dynamodb;
pub mod mongodb;

use crate::batch::{Batch, Origin};
use crate::cause::Failure;
use crate::encode::Format;
use crate::letter::LostBatch;
use crate::transform::Transform;
use std::fmt;
use std::time::Instant;

/// Reads an event, writing documents in a format.
pub type Decode = fn(&[u8], Format) -> Result<Batch, EnvelopeError>;

/// The transform that all items of an origin have; `None`: that depends on the item.
pub type Transforms<'t> = dyn Fn(&Origin) -> Option<&'t Transform> + 't;

/// The same with the documents that transforms make.
pub type DecodeTransformed = for<'t> fn(&'t [u8], Format, &'t Transforms<'t>) -> Result<Batch, EnvelopeError>;

/// How a source's events are read.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// With a document for every item.
    pub decode: Decode,
    /// With a document and an image for every item: where what becomes of an item depends on its fields.
    pub decode_with_images: Decode,
    /// With an image, and no document: they are [made later](crate::batch::Content::Deferred).
    pub decode_deferred: Decode,
    /// In one pass with the documents that transforms make of items, where the source can do that. Documents of origins whose
    /// transform depends on the item, and those that cannot be made, are left for later.
    pub decode_transformed: Option<DecodeTransformed>,
}

/// A kind of source whose changes come as events.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// As letters name it.
    pub name: &'static str,
    /// How its events are read.
    pub reader: Reader,
    /// What stands around the records of an event.
    pub envelope: Envelope,
}

/// What stands around the records of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// `{"Records":[…]}`: each record names its stream.
    Records,
    /// `{"eventSourceArn":…,"events":[…]}`.
    Events,
}

/// DynamoDB's streams.
pub const DYNAMODB: Kind =
    Kind { name: crate::version::dynamodb::KIND, reader: dynamodb::READER, envelope: Envelope::Records };

/// DocumentDB's change streams.
pub const DOCUMENTDB: Kind =
    Kind { name: crate::version::mongodb::KIND, reader: documentdb::READER, envelope: Envelope::Events };

/// Every kind there is.
pub const KINDS: &[Kind] = &[DYNAMODB, DOCUMENTDB];

/// The kind of an event, by its shape. What has no known shape is for the first kind to refuse.
#[must_use]
pub fn kind_of(event: &[u8]) -> Kind {
    let mut cursor = crate::json::Cursor::new(event);
    let mut found = None;
    if cursor.peek() == Some(b'{') {
        // What follows is for its reader to look at.
        let _ = cursor.members(|cursor, name| {
            found = match name.raw {
                b"events" => Some(DOCUMENTDB),
                b"Records" => Some(DYNAMODB),
                _ => return cursor.skip().map(drop),
            };
            Err(cursor.malformed("nothing more"))
        });
    }
    found.unwrap_or(DYNAMODB)
}

impl Envelope {
    /// What stands before the records of one stream; `first`, where none come before them.
    pub(crate) fn open(self, event: &mut String, stream: &str, first: bool) {
        match self {
            Self::Records => event.push_str(if first { "{\"Records\":[" } else { "" }),
            Self::Events => {
                event.push_str(if first { "[" } else { "," });
                let mut arn = Vec::new();
                crate::json::write_string(&mut arn, stream);
                event.push_str("{\"eventSourceArn\":");
                event.push_str(&String::from_utf8_lossy(&arn));
                event.push_str(",\"events\":[");
            }
        }
    }

    /// What stands behind the records of one stream; `last`, where none come behind them.
    pub(crate) fn close(self, event: &mut String, last: bool) {
        event.push_str(match (self, last) {
            (Self::Records, true) => "]}",
            (Self::Records, false) => "",
            (Self::Events, true) => "],\"eventSource\":\"aws:docdb\"}]",
            (Self::Events, false) => "],\"eventSource\":\"aws:docdb\"}",
        });
    }
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
