//! Amazon DocumentDB's change events as Lambda delivers them.
//!
//! Form: [Using AWS Lambda with DocumentDB](https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html) and
//! [change events](https://www.mongodb.com/docs/manual/reference/change-events/). The payload is walked over once; the document
//! is written in the target's format on the way, by the same rules as one that is [read again](crate::source::mongodb).
//!
//! Events are in [extended JSON], relaxed or canonical. An object is a type where it is one to the letter; an object that begins with
//! a type's name and is none is refused, for nobody can tell what it stands for. All other names that begin with `$` are names.
//!
//! [extended JSON]: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md

mod date;
mod envelope;
mod event;
mod extended;
mod wrapper;

use super::{EnvelopeError, Reader};
use crate::batch::Batch;
use crate::encode::{BsonSink, Format, JsonSink, Sink};
use event::EventDecoder;

/// How events of DocumentDB are read.
pub const READER: Reader = Reader { decode, decode_with_images, decode_deferred, decode_transformed: None };

/// What is made of the documents in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// The target's documents.
    Documents,
    /// The target's documents, and images for what routes look at.
    Both,
    /// Images alone: documents are made of them later.
    Images,
}

/// Decodes an event, writing documents in `format`.
///
/// A change that cannot be used fails alone: its slot says why.
///
/// # Errors
/// Only when the payload as a whole is no event of DocumentDB.
pub fn decode(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
    decode_for(payload, format, Want::Documents)
}

/// [`decode`] with images of all documents.
///
/// # Errors
/// As of [`decode`].
pub fn decode_with_images(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
    decode_for(payload, format, Want::Both)
}

/// [`decode_with_images`], but for the documents, of which something else is to be made.
///
/// # Errors
/// As of [`decode`].
pub fn decode_deferred(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
    decode_for(payload, format, Want::Images)
}

fn decode_for(payload: &[u8], format: Format, want: Want) -> Result<Batch, EnvelopeError> {
    let capacity = if want == Want::Images { 0 } else { payload.len() * 2 / 3 };
    match format {
        Format::Json => decode_into(payload, JsonSink::with_capacity(capacity), want),
        Format::Bson => decode_into(payload, BsonSink::with_capacity(capacity), want),
    }
}

fn decode_into<S: Sink>(payload: &[u8], sink: S, want: Want) -> Result<Batch, EnvelopeError> {
    let mut decoder = EventDecoder::new(payload, sink, want);
    envelope::walk(payload, &mut decoder)?;
    Ok(decoder.finish())
}

#[cfg(test)]
mod tests;
