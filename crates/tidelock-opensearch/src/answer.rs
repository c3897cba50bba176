//! Reading a `_bulk` answer: item by item, by position, without a tree.

use tidelock_core::json::{Cursor, Malformed, RawStr, unescape};

/// What the engine says of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// HTTP status of the action.
    pub(crate) status: u16,
    /// Type and reason of the error, if there is one.
    pub(crate) error: Option<(String, String)>,
}

/// The items of an answer in the order of the actions.
///
/// # Errors
/// When the body is no bulk answer.
pub(crate) fn items(body: &[u8], expected: usize) -> Result<Vec<Item>, Malformed> {
    let mut items = Vec::with_capacity(expected);
    let mut cursor = Cursor::new(body);
    cursor.members(|cursor, name| {
        if name.raw != b"items" {
            return cursor.skip().map(drop);
        }
        cursor.expect(b'[', "the list of items")?;
        if cursor.take(b']') {
            return Ok(());
        }
        loop {
            items.push(item(cursor)?);
            if !cursor.more(b']')? {
                return Ok(());
            }
        }
    })?;
    cursor.end()?;
    Ok(items)
}

/// Type and reason of the error that answers a request as a whole.
pub(crate) fn whole_error(body: &[u8]) -> Option<(String, String)> {
    let mut found = None;
    let mut cursor = Cursor::new(body);
    cursor
        .members(|cursor, name| {
            if name.raw == b"error" && cursor.peek() == Some(b'{') {
                found = Some(error(cursor)?);
                return Ok(());
            }
            cursor.skip().map(drop)
        })
        .ok()?;
    found
}

fn item(cursor: &mut Cursor<'_>) -> Result<Item, Malformed> {
    let mut found = Item { status: 0, error: None };
    cursor.members(|cursor, _action| {
        cursor.members(|cursor, name| {
            match name.raw {
                b"status" => {
                    let text = cursor.scalar()?;
                    let status = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                    found.status = status.ok_or_else(|| cursor.malformed("a status"))?;
                }
                b"error" if cursor.peek() == Some(b'{') => found.error = Some(error(cursor)?),
                _ => {
                    cursor.skip()?;
                }
            }
            Ok(())
        })
    })?;
    Ok(found)
}

fn error(cursor: &mut Cursor<'_>) -> Result<(String, String), Malformed> {
    let (mut kind, mut reason) = (String::new(), String::new());
    cursor.members(|cursor, name| {
        match name.raw {
            b"type" if cursor.peek() == Some(b'"') => kind = text(cursor.string()?),
            b"reason" if cursor.peek() == Some(b'"') => reason = text(cursor.string()?),
            // The innermost cause says most: "For input string: …".
            b"caused_by" if cursor.peek() == Some(b'{') => {
                let (_, cause) = error(cursor)?;
                if !cause.is_empty() {
                    reason = format!("{reason}: {cause}");
                }
            }
            _ => {
                cursor.skip()?;
            }
        }
        Ok(())
    })?;
    Ok((kind, reason))
}

fn text(raw: RawStr<'_>) -> String {
    unescape(raw).map_or_else(|| String::from_utf8_lossy(raw.raw).into_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_by_position() {
        let body = br#"{"took":3,"errors":true,"items":[{"index":{"_id":"1","status":201}},{"delete":{"status":404}},
            {"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed \"x\"","caused_by":{"type":"a","reason":"inner"}}}}]}"#;
        let items = items(body, 3).expect("an answer");
        assert_eq!(items.iter().map(|item| item.status).collect::<Vec<_>>(), [201, 404, 400]);
        assert_eq!(items[2].error, Some(("mapper_parsing_exception".into(), "failed \"x\": inner".into())));
    }

    #[test]
    fn what_is_no_answer() {
        for body in [
            &b""[..],
            b"<html>",
            br#"{"items":[{"index":{"status":"x"}}]}"#,
            br#"{"items":{}}"#,
            br#"{"items":[{"index":{"status":200}}"#,
        ] {
            assert!(items(body, 1).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(items(b"{}", 1), Ok(Vec::new()));
    }

    #[test]
    fn errors_of_a_whole_request() {
        let body = br#"{"error":{"root_cause":[{"type":"illegal_argument_exception"}],"type":"illegal_argument_exception","reason":"id is too long"},"status":400}"#;
        assert_eq!(whole_error(body), Some(("illegal_argument_exception".into(), "id is too long".into())));
        assert_eq!(whole_error(br#"{"error":"no handler found"}"#), None);
        assert_eq!(whole_error(b"Request size exceeded 10485760 bytes"), None);
    }
}
