//! What SQS answers. Bodies of messages are read in a pass: they hold megabytes.

use std::collections::HashMap;
use tidelock_core::json::{Cursor, Malformed};
use tidelock_core::queue::Message;

/// Most characters of the service's words that are passed on.
const MAX_WORDS: usize = 400;

/// Walks over an object's members, or over nothing where something else stands.
fn members<'a>(
    cursor: &mut Cursor<'a>,
    mut member: impl FnMut(&mut Cursor<'a>, &[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if cursor.peek() != Some(b'{') {
        return cursor.skip().map(drop);
    }
    cursor.members(|cursor, name| member(cursor, name.raw))
}

/// The same for the items of an array.
fn items<'a>(
    cursor: &mut Cursor<'a>,
    item: impl FnMut(&mut Cursor<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if cursor.peek() != Some(b'[') {
        return cursor.skip().map(drop);
    }
    cursor.elements(item)
}

/// A string; `None` where something else stands.
fn text(cursor: &mut Cursor<'_>) -> Result<Option<String>, Malformed> {
    if cursor.peek() != Some(b'"') {
        return cursor.skip().map(|_| None);
    }
    let text = cursor.text()?;
    // Checked in wide steps, and copied once more, which costs less than checking it as the standard library does.
    let text = simdutf8::basic::from_utf8(&text).map_err(|_| cursor.malformed("UTF-8"))?;
    Ok(Some(text.to_owned()))
}

/// Name and words of a refusal: `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"…"}`.
pub(crate) fn refusal(body: &[u8]) -> (String, String) {
    let (mut kind, mut message) = (None, None);
    let read = members(&mut Cursor::new(body), |cursor, name| {
        match name {
            b"__type" => kind = text(cursor)?,
            b"message" | b"Message" => message = text(cursor)?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    });
    if read.is_err() {
        return (String::new(), String::new());
    }
    let (kind, message) = (kind.unwrap_or_default(), message.unwrap_or_default());
    let message = match message.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    };
    (kind.rsplit('#').next().unwrap_or_default().to_owned(), message)
}

/// What an answer says of each entry of a batch, whose ids are their positions.
pub(super) fn outcomes(count: usize, body: &[u8]) -> Result<Vec<Result<(), String>>, Malformed> {
    let mut results = vec![Err("the queue did not answer for this message".to_owned()); count];
    let mut cursor = Cursor::new(body);
    members(&mut cursor, |cursor, name| {
        let failed = match name {
            b"Successful" => false,
            b"Failed" => true,
            _ => return cursor.skip().map(drop),
        };
        items(cursor, |cursor| {
            let (mut id, mut code, mut words) = (None, None, None);
            members(cursor, |cursor, name| {
                match name {
                    b"Id" => id = text(cursor)?,
                    b"Code" => code = text(cursor)?,
                    b"Message" => words = text(cursor)?,
                    _ => drop(cursor.skip()?),
                }
                Ok(())
            })?;
            if let Some(result) = id.and_then(|id| id.parse::<usize>().ok()).and_then(|index| results.get_mut(index)) {
                let (code, words) = (code.unwrap_or_default(), words.unwrap_or_default());
                *result = if failed { Err(format!("the queue refused the message: {code} {words}")) } else { Ok(()) };
            }
            Ok(())
        })
    })?;
    cursor.end()?;
    Ok(results)
}

/// Attributes: all of their values are texts.
fn attributes(cursor: &mut Cursor<'_>) -> Result<HashMap<String, String>, Malformed> {
    let mut found = HashMap::new();
    members(cursor, |cursor, name| {
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(value) = text(cursor)? {
            found.insert(name, value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// A number among attributes.
pub(super) fn number<T: std::str::FromStr>(attributes: &HashMap<String, String>, name: &str) -> Result<T, String> {
    let text = attributes.get(name);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("the queue's answer lacks {name}"))
}

/// The attributes of a queue.
pub(super) fn queue_attributes(body: &[u8]) -> Result<HashMap<String, String>, Malformed> {
    let mut found = HashMap::new();
    let mut cursor = Cursor::new(body);
    members(&mut cursor, |cursor, name| {
        match name {
            b"Attributes" => found = attributes(cursor)?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    })?;
    cursor.end()?;
    Ok(found)
}

/// The messages of an answer; one that lacks something spoils the others, which come again.
pub(super) fn messages(body: &[u8]) -> Result<Result<Vec<Message>, String>, Malformed> {
    let mut found: Result<Vec<Message>, String> = Ok(Vec::new());
    let mut cursor = Cursor::new(body);
    members(&mut cursor, |cursor, name| {
        if name != b"Messages" {
            return cursor.skip().map(drop);
        }
        items(cursor, |cursor| {
            let message = message(cursor)?;
            if let Ok(messages) = &mut found {
                match message {
                    Ok(message) => messages.push(message),
                    Err(why) => found = Err(why),
                }
            }
            Ok(())
        })
    })?;
    cursor.end()?;
    Ok(found)
}

fn message(cursor: &mut Cursor<'_>) -> Result<Result<Message, String>, Malformed> {
    let (mut id, mut receipt, mut body, mut of) = (None, None, None, HashMap::new());
    members(cursor, |cursor, name| {
        match name {
            b"MessageId" => id = text(cursor)?,
            b"ReceiptHandle" => receipt = text(cursor)?,
            b"Body" => body = text(cursor)?,
            b"Attributes" => of = attributes(cursor)?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    })?;
    let lacks = |what: &str| format!("the queue's answer lacks a message's {what}");
    let whole = || {
        Ok(Message {
            sent_ms: number(&of, "SentTimestamp")?,
            taken: number(&of, "ApproximateReceiveCount")?,
            id: id.ok_or_else(|| lacks("id"))?,
            receipt: receipt.ok_or_else(|| lacks("receipt"))?,
            body: body.ok_or_else(|| lacks("body"))?,
        })
    };
    Ok(whole())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_named() {
        let name = |body: &str| refusal(body.as_bytes());
        let pair = |kind: &str, words: &str| (kind.to_owned(), words.to_owned());
        assert_eq!(
            name(r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"m"}"#),
            pair("QueueDoesNotExist", "m")
        );
        assert_eq!(
            name(r#"{"__type":"AccessDenied","Message":"the \"words\""}"#),
            pair("AccessDenied", "the \"words\"")
        );
        for body in ["", "<html>", "[]", r#"{"__type":7}"#, r#"{"message":"#] {
            assert_eq!(name(body), pair("", ""), "{body}");
        }
        let long = format!(r#"{{"__type":"a#B","message":"{}"}}"#, "ü".repeat(1_000));
        assert_eq!(refusal(long.as_bytes()).1, format!("{}…", "ü".repeat(MAX_WORDS)));
    }

    #[test]
    fn messages_are_read_as_they_are() {
        let body = r#"{"Messages":[{"MessageId":"i","ReceiptHandle":"r","MD5OfBody":"x","Body":"{\"a\":\"\\u00fc\\n\"}",
            "Attributes":{"SentTimestamp":"1700000000000","ApproximateReceiveCount":"3"}}]}"#;
        let found = messages(body.as_bytes()).expect("JSON").expect("whole");
        assert_eq!(
            (found[0].body.as_str(), found[0].sent_ms, found[0].taken),
            ("{\"a\":\"\\u00fc\\n\"}", 1_700_000_000_000, 3)
        );
        for none in ["{}", r#"{"Messages":null}"#, r#"{"Messages":[]}"#] {
            assert_eq!(messages(none.as_bytes()), Ok(Ok(Vec::new())), "{none}");
        }
        for broken in ["", r#"{"Messages":[{"Body":"\ud800"}]}"#, r#"{"Messages":["#, "{} {}"] {
            assert!(messages(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
