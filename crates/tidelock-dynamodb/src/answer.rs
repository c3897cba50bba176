//! `BatchGetItem`'s answer: its items and unprocessed keys as slices of the text.

use crate::json::{elements, members};
use tidelock_core::json::{Cursor, Malformed};

/// What an answer holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// Items, each as it stands in the answer. `None` when the answer does not speak of the table: then nothing follows from
    /// what it lacks.
    pub(crate) items: Option<Vec<&'a [u8]>>,
    /// Keys that have not been looked at.
    pub(crate) unprocessed: Vec<&'a [u8]>,
}

/// Reads an answer about one table:
/// `{"Responses":{"TABLE":[ITEM,…]},"UnprocessedKeys":{"TABLE":{"Keys":[KEY,…]}}}`.
pub(crate) fn answer(body: &[u8]) -> Result<Answer<'_>, Malformed> {
    let mut answer = Answer::default();
    let mut cursor = Cursor::new(body);
    members(&mut cursor, |name, cursor| match name {
        b"Responses" => members(cursor, |_, cursor| slices(cursor, answer.items.get_or_insert_default())),
        b"UnprocessedKeys" => members(cursor, |_, cursor| {
            members(cursor, |name, cursor| match name {
                b"Keys" => slices(cursor, &mut answer.unprocessed),
                _ => cursor.skip().map(drop),
            })
        }),
        _ => cursor.skip().map(drop),
    })?;
    cursor.end()?;
    Ok(answer)
}

/// Adds an array's elements as they stand.
fn slices<'a>(cursor: &mut Cursor<'a>, found: &mut Vec<&'a [u8]>) -> Result<(), Malformed> {
    elements(cursor, |cursor| {
        found.push(cursor.skip()?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let both = br#" {"UnprocessedKeys": {"t": {"ConsistentRead": true, "Keys": [{"id":{"N":"2"}}]}},
            "ConsumedCapacity": [{"TableName": "t"}], "Responses": {"t": [{"id":{"N":"1"}}, {"id":{"N":"3"}}]}} "#;
        let items: Vec<&[u8]> = vec![br#"{"id":{"N":"1"}}"#, br#"{"id":{"N":"3"}}"#];
        let unprocessed: Vec<&[u8]> = vec![br#"{"id":{"N":"2"}}"#];
        assert_eq!(answer(both), Ok(Answer { items: Some(items), unprocessed }));
        let none = br#"{"Responses":{"t":[]},"UnprocessedKeys":{}}"#;
        assert_eq!(answer(none), Ok(Answer { items: Some(Vec::new()), unprocessed: Vec::new() }));
        for silent in [&b"{}"[..], br#"{"Responses":{},"UnprocessedKeys":{}}"#] {
            assert_eq!(answer(silent), Ok(Answer::default()));
        }
        for text in [&b""[..], b"[]", b"<html>", br#"{"Responses":{"t":{}}}"#, br#"{"Responses":{"t":[{}"#] {
            assert!(answer(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
