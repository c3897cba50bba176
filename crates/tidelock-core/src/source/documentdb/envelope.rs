//! What stands around the events.

use super::event::EventDecoder;
use crate::encode::Sink;
use crate::json::{Cursor, Malformed, unescape};
use crate::source::EnvelopeError;

/// What Lambda calls the source.
const EVENT_SOURCE: &[u8] = b"aws:docdb";

/// Walks over the payload: an envelope, `{"eventSourceArn":…,"events":[…],"eventSource":"aws:docdb"}`, or a list of envelopes, as
/// redrive makes one of letters from several clusters.
pub(super) fn walk<'p, S: Sink>(payload: &'p [u8], decoder: &mut EventDecoder<'p, S>) -> Result<(), EnvelopeError> {
    let mut cursor = Cursor::new(payload);
    let result = match cursor.peek() {
        Some(b'{') => envelope(&mut cursor, decoder),
        Some(b'[') => list(&mut cursor, decoder),
        _ => cursor.skip().map_or_else(|error| Err(unreadable(error)), |_| Err(not_an_event())),
    };
    result?;
    cursor.end().map_err(unreadable)
}

fn list<'p, S: Sink>(cursor: &mut Cursor<'p>, decoder: &mut EventDecoder<'p, S>) -> Result<(), EnvelopeError> {
    cursor.expect(b'[', "an array").map_err(unreadable)?;
    loop {
        if cursor.peek() != Some(b'{') {
            return Err(not_an_event());
        }
        envelope(cursor, decoder)?;
        if !cursor.more(b']').map_err(unreadable)? {
            return Ok(());
        }
    }
}

fn envelope<'p, S: Sink>(cursor: &mut Cursor<'p>, decoder: &mut EventDecoder<'p, S>) -> Result<(), EnvelopeError> {
    let mut found = false;
    // Fields come in any order: to which cluster the events belong may be said behind them.
    let (mut arn, mut other_source) = (None, None);
    decoder.begin();
    let walked = cursor.members(|cursor, name| {
        match name.raw {
            b"events" if cursor.peek() == Some(b'[') => {
                found = true;
                cursor.elements(|cursor| decoder.event(cursor))?;
            }
            b"eventSourceArn" if cursor.peek() == Some(b'"') => arn = unescape(cursor.string()?),
            b"eventSource" if cursor.peek() == Some(b'"') => {
                other_source = Some(cursor.string()?.raw).filter(|source| *source != EVENT_SOURCE);
            }
            _ => {
                cursor.skip()?;
            }
        }
        Ok(())
    });
    walked.map_err(unreadable)?;
    if let Some(other) = other_source {
        let message = format!(
            "not an event of DocumentDB: `eventSource` is `{}`, not `aws:docdb`; is this function mapped to the right source?",
            String::from_utf8_lossy(other)
        );
        return Err(EnvelopeError { message });
    }
    if !found {
        return Err(not_an_event());
    }
    decoder.end(arn.as_deref());
    Ok(())
}

fn unreadable(error: Malformed) -> EnvelopeError {
    EnvelopeError { message: format!("the event cannot be read ({error}); nothing of it was applied") }
}

fn not_an_event() -> EnvelopeError {
    EnvelopeError {
        message: "not an event of DocumentDB: there is no `events` array; is this function mapped to the right source?"
            .to_owned(),
    }
}
