//! The ids of documents as text.

use super::extended::{write_extended, write_only};
use super::plain::double;
use super::{Value, kind, uuid};
use crate::hex::hex;

/// A document's id for targets whose ids are text.
///
/// | `_id` | id |
/// | --- | --- |
/// | ObjectId | its 24 hex digits |
/// | integer | its digits |
/// | UUID (binary of subtype 4) | `0123abcd-…` |
/// | text | the text itself |
/// | text that reads as one of the above, is empty, begins with `"`, `{` or `[`, or is `true`, `false` or `null` | in quotes, as JSON |
/// | all else | [extended JSON](write_extended): `true`, `{"$date":"2020-04-29T13:22:08.000Z"}`, `{"a":1,"b":2}` |
///
/// So the ids of different values never meet: an ObjectId is not the text of its digits.
///
/// Values are told apart as far as their bytes are; that equal numbers have equal bytes is for
/// [`DocumentKey`](crate::source::mongodb::DocumentKey) to see to.
#[must_use]
pub fn id_text(value: Value<'_>) -> String {
    let mut out = Vec::new();
    match value {
        Value::String(text) if !reads_as_another(text) => return text.to_owned(),
        Value::ObjectId(id) => return hex(&id),
        // In extended JSON it would be bare, as `1.5`, and many a text reads so.
        Value::Double(number) if number.is_finite() => write_only(&mut out, "$numberDouble", &double(number)),
        Value::Binary { subtype: kind::UUID, bytes } if let Some(text) = uuid(bytes) => return text,
        other => write_extended(&mut out, other),
    }
    // Nothing but UTF-8 has been written.
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a text is one that the id of something else could have.
fn reads_as_another(text: &str) -> bool {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let object_id = || text.len() == 24 && text.bytes().all(lower_hex);
    // As written by the machine: neither `+1` nor `01`.
    let integer = || text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let uuid = || {
        text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => lower_hex(byte),
            })
    };
    text.starts_with(['"', '{', '['])
        || matches!(text, "" | "true" | "false" | "null")
        || object_id()
        || integer()
        || uuid()
}
