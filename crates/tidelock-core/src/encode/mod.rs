//! Writing documents in a target's own format, in one pass and without a tree.
//!
//! A decoder walks over a record's image and tells a [`Sink`] what it meets; the sink appends to the batch's document
//! storage. What is stored is the document *without its end*, so that `_id` and `_tidelock` can be put around it when the
//! operation is sent.

mod bson;
mod decimal128;
mod json;

use crate::cause::{Cause, Failure};
use crate::json::{NumberForm, RawStr};

pub use self::bson::{BsonSink, write_bson_key, write_bson_mark, write_bson_shard_value};
pub(crate) use self::bson::{close, push_integer, push_number};
pub use self::decimal128::decimal128;
pub use self::json::JsonSink;

/// The form in which a target takes documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON text: OpenSearch, Elasticsearch, SQLite, standard output.
    Json,
    /// BSON: MongoDB, Amazon DocumentDB.
    Bson,
}

/// The one field that Tidelock adds to a document.
pub const MARK_FIELD: &str = "_tidelock";

/// A value that cannot be written; the decoder adds the path on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub cause: Cause,
    /// The particulars.
    pub detail: String,
    /// Names and indices from the inside out.
    pub path: Vec<String>,
}

impl Fault {
    /// A fault at the value that is being written.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self { cause, detail: detail.into(), path: Vec::new() })
    }

    /// The failure of the record that holds the value.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        if self.path.is_empty() {
            return Failure::new(self.cause, self.detail);
        }
        let mut path = String::new();
        for (index, name) in self.path.iter().rev().enumerate() {
            if index > 0 {
                path.push('.');
            }
            path.push_str(name);
        }
        Failure::new(self.cause, format!("field `{path}`: {}", self.detail))
    }
}

/// What writing a value gives.
pub type Written = Result<(), Box<Fault>>;

/// Takes a document value by value and appends it in some format.
///
/// Texts come as they stand in JSON, escapes unresolved; numbers follow JSON's grammar and are exact decimals.
pub trait Sink {
    /// Starts a document at the end of the storage.
    fn begin_document(&mut self);
    /// The storage's length; a document is what lies between two of these.
    fn position(&self) -> usize;
    /// Forgets all from `position` on: the way back after a fault.
    fn truncate(&mut self, position: usize);
    /// The storage.
    fn into_bytes(self) -> Vec<u8>;

    /// The name of the member whose value comes next.
    ///
    /// # Errors
    /// When the format cannot hold the name.
    fn name(&mut self, name: RawStr<'_>) -> Written;
    /// A text.
    ///
    /// # Errors
    /// When it holds an invalid escape, or the format cannot hold it.
    fn text(&mut self, text: RawStr<'_>) -> Written;
    /// A text, as it is.
    ///
    /// # Errors
    /// When the format cannot hold it.
    fn string(&mut self, text: &str) -> Written;
    /// A number.
    ///
    /// # Errors
    /// When the format has no exact form for it.
    fn number(&mut self, text: &[u8]) -> Written;
    /// The double that is read of a number, in JSON's grammar.
    ///
    /// # Errors
    /// When it is beyond all doubles.
    fn double_text(&mut self, text: &[u8]) -> Written;
    /// The same of a text with a point, no exponent, and at most 15 digits.
    #[inline]
    fn short_double(&mut self, text: &[u8], _: NumberForm) -> Written {
        self.double_text(text)
    }
    /// Bytes, as canonical base64 ([RFC 4648 §4](https://www.rfc-editor.org/rfc/rfc4648#section-4)).
    ///
    /// # Errors
    /// When it is no base64.
    fn binary(&mut self, base64: &[u8]) -> Written;
    /// A date, milliseconds since 1970.
    ///
    /// # Errors
    /// When the format cannot hold it.
    fn date(&mut self, milliseconds: i64) -> Written;
    /// A double.
    ///
    /// # Errors
    /// When the format cannot hold it: it is not finite.
    fn double(&mut self, value: f64) -> Written;
    /// A value of BSON: the type's byte and the value's bytes.
    ///
    /// # Errors
    /// When the format has no form for it.
    fn bson(&mut self, kind: u8, raw: &[u8]) -> Written;
    /// True or false.
    fn boolean(&mut self, value: bool);
    /// Null.
    fn null(&mut self);
    /// The start of a map; names and values follow.
    fn begin_map(&mut self);
    /// The end of a map.
    fn end_map(&mut self);
    /// The start of a list; values follow.
    fn begin_list(&mut self);
    /// The end of a list.
    fn end_list(&mut self);
}

/// The double that is read of a number's text.
fn parsed_double(text: &[u8]) -> Result<f64, Box<Fault>> {
    let double = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    let double = double.filter(|double| double.is_finite());
    double.ok_or_else(|| Fault::new(Cause::InvalidValue, "a number beyond all doubles"))
}

/// Whether `text` is canonical base64 with padding, checked without decoding.
#[must_use]
pub fn is_base64(text: &[u8]) -> bool {
    if !text.len().is_multiple_of(4) {
        return false;
    }
    let data = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let pad = text.len() - data.len();
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    // The last character's unused bits are zero in canonical form.
    let last = data.last().copied().and_then(value).unwrap_or(0);
    let unused = match pad {
        1 => 0b11,
        2 => 0b1111,
        _ => 0,
    };
    data.iter().all(|&byte| value(byte).is_some()) && last & unused == 0
}

/// The bytes that canonical base64 stands for.
#[must_use]
pub fn base64_bytes(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Bytes as base64 with padding.
#[must_use]
pub fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn base64_check_agrees_with_the_decoder(text in "[A-Da-d0-1+/=]{0,8}") {
            prop_assert_eq!(is_base64(text.as_bytes()), base64_bytes(text.as_bytes()).is_some(), "{}", text);
        }
    }
}
