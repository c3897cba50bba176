//! DynamoDB Streams batches as Lambda delivers them.
//!
//! Form: [Using AWS Lambda with DynamoDB](https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html) and
//! [StreamRecord](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html). The
//! payload is walked over once; the new image is written in the target's format on the way.

mod attribute;
mod item;
mod key;
mod record;

use super::{EnvelopeError, Reader, Transforms};
use crate::batch::{Batch, Origin};
use crate::encode::{BsonSink, Format, JsonSink, Sink};
use crate::json::{Cursor, Malformed};
use crate::version::StreamLabel;
use record::{Making, RecordDecoder};

pub(crate) use attribute::{Stop, shortened, write_attribute};
pub(crate) use item::transformed;
pub use item::{Item, decode_item, item_key};

/// Decodes an event, writing documents in `format`.
///
/// A record that cannot be used fails alone: its slot says why.
///
/// # Errors
/// Only when the payload as a whole is no DynamoDB Streams event.
pub fn decode(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
    match format {
        Format::Json => decode_into(payload, format, json_sink(payload), Making::Plain),
        Format::Bson => decode_into(payload, format, bson_sink(payload), Making::Plain),
    }
}

/// [`decode`], but for the documents, of which something else is to be made.
///
/// # Errors
/// As of [`decode`].
pub fn decode_deferred(payload: &[u8], format: Format) -> Result<Batch, EnvelopeError> {
    decode_into(payload, format, JsonSink::with_capacity(0), Making::Later)
}

/// [`decode`] with the documents that transforms make, where all items of an origin have the same. All others are made later.
///
/// # Errors
/// As of [`decode`].
pub fn decode_transformed<'t>(
    payload: &'t [u8],
    format: Format,
    transforms: &'t Transforms<'t>,
) -> Result<Batch, EnvelopeError> {
    match format {
        Format::Json => decode_into(payload, format, json_sink(payload), Making::Transformed(transforms)),
        Format::Bson => decode_into(payload, format, bson_sink(payload), Making::Transformed(transforms)),
    }
}

/// How events of DynamoDB Streams are read.
pub const READER: Reader =
    Reader { decode, decode_with_images: decode, decode_deferred, decode_transformed: Some(decode_transformed) };

/// A sink with room for all documents of an event.
fn json_sink(payload: &[u8]) -> JsonSink {
    JsonSink::with_capacity(payload.len() * 2 / 3)
}

fn bson_sink(payload: &[u8]) -> BsonSink {
    BsonSink::with_capacity(payload.len() * 2 / 3)
}

fn decode_into<'p, S: Sink>(
    payload: &'p [u8],
    format: Format,
    sink: S,
    making: Making<'p>,
) -> Result<Batch, EnvelopeError> {
    let utf8 = simdutf8::basic::from_utf8(payload).is_ok();
    let mut decoder = RecordDecoder::new(payload, sink, format, utf8, making);
    walk_event(payload, &mut decoder)?;
    Ok(decoder.finish())
}

fn walk_event<'p, S: Sink>(payload: &'p [u8], decoder: &mut RecordDecoder<'p, S>) -> Result<(), EnvelopeError> {
    let unreadable = |error: Malformed| EnvelopeError {
        message: format!("the event cannot be read ({error}); nothing of it was applied"),
    };
    let not_an_event = || EnvelopeError {
        message:
            "not a DynamoDB Streams event: there is no `Records` array; is this function mapped to the right source?"
                .to_owned(),
    };
    let mut cursor = Cursor::new(payload);
    if cursor.peek() != Some(b'{') {
        return Err(cursor.skip().map_or_else(unreadable, |_| not_an_event()));
    }
    cursor.take(b'{');
    let mut found = false;
    if !cursor.take(b'}') {
        loop {
            let name = cursor.name().map_err(unreadable)?;
            if name.raw == b"Records" && cursor.peek() == Some(b'[') {
                found = true;
                cursor.take(b'[');
                if !cursor.take(b']') {
                    loop {
                        decoder.record(&mut cursor).map_err(unreadable)?;
                        if !cursor.more(b']').map_err(unreadable)? {
                            break;
                        }
                    }
                }
            } else {
                cursor.skip().map_err(unreadable)?;
            }
            if !cursor.more(b'}').map_err(unreadable)? {
                break;
            }
        }
    }
    cursor.end().map_err(unreadable)?;
    if found { Ok(()) } else { Err(not_an_event()) }
}

/// Takes a stream's ARN apart: `arn:PARTITION:dynamodb:REGION:ACCOUNT:table/TABLE/stream/LABEL`.
///
/// The space names region, account and table: replicas of a global table count for themselves.
fn origin(arn: &str) -> Option<Origin> {
    let mut parts = arn.splitn(6, ':');
    let (scheme, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let (table, label) = resource.strip_prefix("table/")?.split_once("/stream/")?;
    if scheme != "arn" || service != "dynamodb" || table.is_empty() {
        return None;
    }
    Some(Origin {
        branch: 0,
        name: table.to_owned(),
        arn: arn.to_owned(),
        space: format!("dynamodb:{region}:{account}:{table}"),
        label: Some(StreamLabel::parse(label)?),
    })
}

#[cfg(test)]
mod tests;
