//! Where the records of an event lie, and events of some of them.

use crate::json::Cursor;
use std::ops::Range;

/// What events call their records: those of streams, and those of DocumentDB.
const NAMES: [&[u8]; 2] = [b"Records", b"events"];

/// An event, taken apart into its records and the text around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Each record's text, as a range of the payload.
    pub records: Vec<Range<usize>>,
}

impl Envelope {
    /// Finds the records; `None` where there are none, or the payload is no event.
    #[must_use]
    pub fn find(payload: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        let mut cursor = Cursor::new(payload);
        cursor
            .members(|cursor, name| {
                if !(records.is_empty() && NAMES.contains(&name.raw) && cursor.peek() == Some(b'[')) {
                    return cursor.skip().map(drop);
                }
                cursor.elements(|cursor| {
                    cursor.peek();
                    let from = cursor.at();
                    records.push(from..from + cursor.skip()?.len());
                    Ok(())
                })
            })
            .ok()?;
        cursor.end().ok()?;
        (!records.is_empty()).then_some(Self { records })
    }

    /// An event of these records alone; of none it is an event too.
    #[must_use]
    pub fn part(&self, payload: &[u8], records: Range<usize>) -> Vec<u8> {
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else { return payload.to_vec() };
        let texts = self.records.get(records).unwrap_or_default();
        let mut event = payload.get(..first.start).unwrap_or_default().to_vec();
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                event.push(b',');
            }
            event.extend_from_slice(payload.get(text.clone()).unwrap_or_default());
        }
        event.extend_from_slice(payload.get(last.end..).unwrap_or_default());
        event
    }
}
