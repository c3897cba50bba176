//! What a value is where there is no BSON: in JSON documents, and to routes.

use super::{Decimal, Elements, Value, kind, uuid};
use crate::hex::hex;
use crate::letter::timestamp;
use std::borrow::Cow;

/// A value in JSON's terms. [`source::mongodb`](crate::source::mongodb) has the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plain<'a> {
    /// Null.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, in JSON's grammar.
    Number(String),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Binary(&'a [u8]),
    /// A document within the document.
    Map(Elements<'a>),
    /// A list.
    List(Elements<'a>),
    /// Seconds since 1970 and an ordinal within the second.
    Timestamp {
        /// Seconds.
        t: u32,
        /// The ordinal.
        i: u32,
    },
    /// JavaScript and the variables it uses.
    CodeWithScope {
        /// The code.
        code: &'a str,
        /// The variables.
        scope: Elements<'a>,
    },
    /// JSON has no form for it: what it is.
    Nothing(&'static str),
}

/// The value in JSON's terms.
#[must_use]
pub fn plain(value: Value<'_>) -> Plain<'_> {
    match value {
        Value::Double(number) if number.is_finite() => Plain::Number(double(number)),
        Value::Decimal128(bits) => match Decimal::from_bits(bits) {
            number @ Decimal::Finite { .. } => Plain::Number(number.to_string()),
            Decimal::Infinite { .. } | Decimal::NotANumber => Plain::Nothing(NOT_FINITE),
        },
        Value::Double(_) => Plain::Nothing(NOT_FINITE),
        Value::Int32(number) => Plain::Number(number.to_string()),
        Value::Int64(number) => Plain::Number(number.to_string()),
        Value::String(text) | Value::Symbol(text) | Value::Code(text) => Plain::Text(Cow::Borrowed(text)),
        Value::ObjectId(bytes) => Plain::Text(Cow::Owned(hex(&bytes))),
        Value::DateTime(ms) => Plain::Text(Cow::Owned(timestamp(ms))),
        Value::Regex { pattern, options } => Plain::Text(Cow::Owned(format!("/{pattern}/{options}"))),
        Value::Binary { subtype, bytes } => match uuid(bytes).filter(|_| subtype == kind::UUID) {
            Some(text) => Plain::Text(Cow::Owned(text)),
            None => Plain::Binary(bytes),
        },
        Value::Boolean(value) => Plain::Boolean(value),
        Value::Null => Plain::Null,
        Value::Document(elements) => Plain::Map(elements),
        Value::Array(elements) => Plain::List(elements),
        Value::Timestamp { t, i } => Plain::Timestamp { t, i },
        Value::CodeWithScope { code, scope } => Plain::CodeWithScope { code, scope },
        Value::Undefined => Plain::Nothing("`undefined`"),
        Value::DbPointer { .. } => Plain::Nothing("a DBPointer"),
        Value::MinKey => Plain::Nothing("MinKey"),
        Value::MaxKey => Plain::Nothing("MaxKey"),
    }
}

const NOT_FINITE: &str = "a number that is not finite";

/// The shortest text that is read back as this very number; that it is no integer's shows in it.
pub(super) fn double(number: f64) -> String {
    format!("{number:?}")
}
