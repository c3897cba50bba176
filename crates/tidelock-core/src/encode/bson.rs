//! Documents as BSON ([specification](https://bsonspec.org/spec.html)): elements are appended as the values come.

use super::{Fault, Sink, Written, base64_bytes, decimal128, parsed_double};
use crate::bson::kind::{ARRAY, BINARY, BOOLEAN, DATE_TIME, DECIMAL128, DOCUMENT, DOUBLE, INT32, INT64, NULL, STRING};
use crate::cause::Cause;
use crate::json::{RawStr, unescape_bytes};
use crate::key::{Key, KeyKind};
use crate::target::ShardValue;
use crate::version::Version;
use std::io::Write as _;

/// Writes a document's elements, without the length before them and the zero after them.
///
/// Integers become Int32 or Int64 by size, all other numbers Decimal128; a number that needs more than 34 digits is refused.
#[derive(Debug, Default)]
pub struct BsonSink {
    out: Vec<u8>,
    /// Where the type byte of the element lies whose name has been written.
    pending: Option<usize>,
    /// Open containers: where their length goes and, for arrays, the next index.
    open: Vec<(usize, Option<u32>)>,
}

impl BsonSink {
    /// A sink with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), pending: None, open: Vec::new() }
    }

    /// What has been written.
    pub(crate) fn written(&self) -> &[u8] {
        &self.out
    }

    /// Writes the element's type, where its name has left room or before the array index it gets now; gives the place.
    #[inline]
    fn element(&mut self, kind: u8) -> usize {
        let at = self.pending.take().unwrap_or_else(|| {
            let at = self.out.len();
            if let Some((_, Some(index))) = self.open.last_mut() {
                self.out.push(kind);
                write_index(&mut self.out, *index);
                self.out.push(0);
                *index += 1;
            }
            at
        });
        self.retype(at, kind);
        at
    }

    #[inline]
    fn retype(&mut self, at: usize, kind: u8) {
        if let Some(byte) = self.out.get_mut(at) {
            *byte = kind;
        }
    }

    fn begin(&mut self, kind: u8, index: Option<u32>) {
        self.element(kind);
        self.open.push((self.out.len(), index));
        self.out.extend_from_slice(&[0; 4]);
    }

    fn end(&mut self) {
        self.out.push(0);
        if let Some((start, _)) = self.open.pop() {
            close(&mut self.out, start);
        }
    }
}

fn write_index(out: &mut Vec<u8>, index: u32) {
    if index < 10 {
        out.push(b'0' + index as u8);
    } else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{index}");
    }
}

/// Fills in the length of a document that began at `start` and ends here.
pub(crate) fn close(out: &mut [u8], start: usize) {
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    if let Some(bytes) = out.get_mut(start..start + 4) {
        bytes.copy_from_slice(&length.to_le_bytes());
    }
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(i32::try_from(text.len()).unwrap_or(i32::MAX - 1) + 1).to_le_bytes());
    out.extend_from_slice(text);
    out.push(0);
}

fn push_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_le_bytes());
    out.push(0);
    out.extend_from_slice(bytes);
}

/// The BSON type and bytes of a number, or `None` when none is exact.
pub(crate) fn push_number(out: &mut Vec<u8>, text: &[u8]) -> Option<u8> {
    if text.len() <= 20
        && let Some(integer) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok())
    {
        return Some(push_integer(out, integer));
    }
    let number = crate::json::Number::parse(text)?;
    // `1E+3` and `5.0` are integers in another spelling.
    if (0..=18).contains(&number.exponent) && number.digits.len() <= 19 {
        let plain = number.plain();
        if let Ok(integer) = std::str::from_utf8(&plain).unwrap_or_default().parse::<i64>() {
            return Some(push_integer(out, integer));
        }
    }
    out.extend_from_slice(&decimal128(&number)?.to_le_bytes());
    Some(DECIMAL128)
}

/// An integer in the smaller type that holds it.
pub(crate) fn push_integer(out: &mut Vec<u8>, integer: i64) -> u8 {
    match i32::try_from(integer) {
        Ok(small) => {
            out.extend_from_slice(&small.to_le_bytes());
            INT32
        }
        Err(_) => {
            out.extend_from_slice(&integer.to_le_bytes());
            INT64
        }
    }
}

impl Sink for BsonSink {
    fn begin_document(&mut self) {
        self.pending = None;
        self.open.clear();
    }

    fn position(&self) -> usize {
        self.out.len()
    }

    fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    #[inline]
    fn name(&mut self, name: RawStr<'_>) -> Written {
        let text = unescape_bytes(name)
            .ok_or_else(|| Fault::new(Cause::InvalidValue, "name with an invalid escape sequence"))?;
        if text.contains(&0) {
            return Err(Fault::new(Cause::UnrepresentableValue, "BSON has no field names with a NUL character"));
        }
        self.pending = Some(self.out.len());
        self.out.push(0);
        self.out.extend_from_slice(&text);
        self.out.push(0);
        Ok(())
    }

    #[inline]
    fn text(&mut self, text: RawStr<'_>) -> Written {
        let text = unescape_bytes(text)
            .ok_or_else(|| Fault::new(Cause::InvalidValue, "text with an invalid escape sequence"))?;
        self.element(STRING);
        push_string(&mut self.out, &text);
        Ok(())
    }

    #[inline]
    fn number(&mut self, text: &[u8]) -> Written {
        // The type is known only with the value.
        let at = self.element(NULL);
        let kind = push_number(&mut self.out, text).ok_or_else(|| {
            Fault::new(
                Cause::UnrepresentableValue,
                "the number has no exact form in BSON: Decimal128 holds 34 digits and exponents from -6176 to 6111",
            )
        })?;
        self.retype(at, kind);
        Ok(())
    }

    #[inline]
    fn string(&mut self, text: &str) -> Written {
        self.element(STRING);
        push_string(&mut self.out, text.as_bytes());
        Ok(())
    }

    #[inline]
    fn double_text(&mut self, text: &[u8]) -> Written {
        self.double(parsed_double(text)?)
    }

    fn binary(&mut self, base64: &[u8]) -> Written {
        let bytes = base64_bytes(base64).ok_or_else(|| Fault::new(Cause::InvalidValue, "binary that is not base64"))?;
        self.element(BINARY);
        push_binary(&mut self.out, &bytes);
        Ok(())
    }

    fn bson(&mut self, kind: u8, raw: &[u8]) -> Written {
        self.element(kind);
        self.out.extend_from_slice(raw);
        Ok(())
    }

    fn date(&mut self, milliseconds: i64) -> Written {
        self.element(DATE_TIME);
        self.out.extend_from_slice(&milliseconds.to_le_bytes());
        Ok(())
    }

    fn double(&mut self, value: f64) -> Written {
        self.element(DOUBLE);
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn boolean(&mut self, value: bool) {
        self.element(BOOLEAN);
        self.out.push(u8::from(value));
    }

    #[inline]
    fn null(&mut self) {
        self.element(NULL);
    }

    fn begin_map(&mut self) {
        self.begin(DOCUMENT, None);
    }

    fn end_map(&mut self) {
        self.end();
    }

    fn begin_list(&mut self) {
        self.begin(ARRAY, Some(0));
    }

    fn end_list(&mut self) {
        self.end();
    }
}

/// Appends a key as the BSON value of the element `name`: one part with its type kept, several as a sub-document in the
/// order of their names.
pub fn write_bson_key(out: &mut Vec<u8>, name: &str, key: Key<'_>) {
    if let Some(part) = key.single() {
        write_part(out, name, part.kind, part.value);
        return;
    }
    out.push(DOCUMENT);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    for part in key.parts() {
        write_part(out, part.name, part.kind, part.value);
    }
    out.push(0);
    close(out, start);
}

fn write_part(out: &mut Vec<u8>, name: &str, kind: KeyKind, value: &[u8]) {
    let at = out.len();
    out.push(STRING);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    let kind = match kind {
        KeyKind::Text => {
            push_string(out, value);
            STRING
        }
        // Keys that BSON cannot hold are refused when they are decoded.
        KeyKind::Number => push_number(out, value).unwrap_or(NULL),
        KeyKind::Binary => {
            push_binary(out, value);
            BINARY
        }
        KeyKind::Bson(kind) => {
            out.extend_from_slice(value);
            kind
        }
    };
    if let Some(byte) = out.get_mut(at) {
        *byte = kind;
    }
}

/// Appends a field of a shard key as the element `name`.
pub fn write_bson_shard_value(out: &mut Vec<u8>, name: &str, value: &ShardValue) {
    match value {
        ShardValue::Text(text) => write_part(out, name, KeyKind::Text, text.as_bytes()),
        ShardValue::Number(text) => write_part(out, name, KeyKind::Number, text.as_bytes()),
        ShardValue::Boolean(_) | ShardValue::Null => {
            out.push(if *value == ShardValue::Null { NULL } else { BOOLEAN });
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            if let ShardValue::Boolean(value) = value {
                out.push(u8::from(*value));
            }
        }
    }
}

/// Appends the `_tidelock` element.
pub fn write_bson_mark(out: &mut Vec<u8>, version: &Version<'_>) {
    out.push(DOCUMENT);
    out.extend_from_slice(super::MARK_FIELD.as_bytes());
    out.push(0);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let texts =
        [("space", version.space), ("label", version.label), ("exact", version.exact), ("token", version.token)];
    for (name, text) in texts {
        if name == "token" && text.is_empty() {
            continue;
        }
        out.push(STRING);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        push_string(out, text.as_bytes());
    }
    out.push(INT64);
    out.extend_from_slice(b"at\0");
    out.extend_from_slice(&version.at.to_le_bytes());
    out.push(0);
    close(out, start);
}
