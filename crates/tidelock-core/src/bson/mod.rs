//! BSON ([specification](https://bsonspec.org/spec.html)), walked over where it lies: elements come as slices of it, and no
//! tree is built.
//!
//! What is read is checked: lengths, ends and UTF-8. What a container holds is checked when its elements are read.

mod decimal;
mod extended;
mod id;
pub(crate) mod kind;
mod plain;

use std::fmt;

pub use decimal::Decimal;
pub use extended::{write_canonical, write_extended};
pub use id::id_text;
pub use plain::{Plain, plain};

/// Levels of containers that are followed. MongoDB's manual promises 100, its servers
/// [refuse more than 200](https://github.com/mongodb/mongo/blob/master/src/mongo/bson/bson_depth.h).
pub const MAX_LEVELS: u32 = 200;

/// Bytes that are no BSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no BSON: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// A value and its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A binary floating point number of 64 bits.
    Double(f64),
    /// Text.
    String(&'a str),
    /// A document within the document.
    Document(Elements<'a>),
    /// A list: the elements' names are its indices and mean nothing else.
    Array(Elements<'a>),
    /// Bytes.
    Binary {
        /// What the bytes are: 0 for nothing in particular, 4 for a UUID.
        subtype: u8,
        /// The bytes; those of the old subtype 2 without the length that is repeated in front of them.
        bytes: &'a [u8],
    },
    /// A deprecated type: no value.
    Undefined,
    /// An ObjectId.
    ObjectId([u8; 12]),
    /// True or false.
    Boolean(bool),
    /// Milliseconds since 1970.
    DateTime(i64),
    /// Null.
    Null,
    /// A regular expression.
    Regex {
        /// The expression.
        pattern: &'a str,
        /// One letter each.
        options: &'a str,
    },
    /// A deprecated type: a document elsewhere.
    DbPointer {
        /// Database and collection.
        namespace: &'a str,
        /// The document's id.
        id: [u8; 12],
    },
    /// JavaScript.
    Code(&'a str),
    /// A deprecated type: text.
    Symbol(&'a str),
    /// A deprecated type: JavaScript and the variables it uses.
    CodeWithScope {
        /// The code.
        code: &'a str,
        /// The variables.
        scope: Elements<'a>,
    },
    /// An integer of 32 bits.
    Int32(i32),
    /// A moment of the server's own: seconds since 1970, and an ordinal within the second.
    Timestamp {
        /// Seconds.
        t: u32,
        /// The ordinal.
        i: u32,
    },
    /// An integer of 64 bits.
    Int64(i64),
    /// A decimal floating point number, in its 128 bits.
    Decimal128(u128),
    /// Below all other values.
    MinKey,
    /// Above all other values.
    MaxKey,
}

/// A named value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element<'a> {
    /// The name.
    pub name: &'a str,
    /// The value.
    pub value: Value<'a>,
    /// The type's byte.
    pub kind: u8,
    /// The value's bytes.
    pub raw: &'a [u8],
    /// The bytes of the whole element: type, name and value.
    pub whole: &'a [u8],
}

/// The elements of a document or list, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The elements of a whole document with its length and end.
    ///
    /// # Errors
    /// When the length is not that of the bytes, or the end is missing.
    pub fn new(document: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(document);
        let elements = reader.document()?;
        if reader.0.is_empty() { Ok(elements) } else { Err(Malformed("bytes follow the end of the document")) }
    }

    fn read(&mut self) -> Result<Element<'a>, Malformed> {
        let start = self.rest;
        let mut reader = Reader(start);
        let kind = reader.byte()?;
        let name = reader.name()?;
        let before = reader.0;
        let value = reader.value(kind)?;
        let left = reader.0.len();
        self.rest = reader.0;
        let of = |bytes: &'a [u8]| bytes.get(..bytes.len() - left).unwrap_or_default();
        Ok(Element { name, value, kind, raw: of(before), whole: of(start) })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self.read();
        if element.is_err() {
            self.rest = &[];
        }
        Some(element)
    }
}

/// The value of a type's bytes, all of them.
///
/// # Errors
/// When the bytes are not one value of that type.
pub fn value(kind: u8, raw: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut reader = Reader(raw);
    let value = reader.value(kind)?;
    if reader.0.is_empty() { Ok(value) } else { Err(Malformed("bytes follow the end of the value")) }
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (&taken, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_| Malformed("a length below zero"))
    }

    /// A text that ends with the first NUL.
    fn name(&mut self) -> Result<&'a str, Malformed> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Malformed("a name without an end"))?;
        let name = self.take(end)?;
        self.byte()?;
        utf8(name)
    }

    /// A text with its length.
    fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = self.length()?;
        match self.take(length)?.split_last() {
            Some((0, text)) => utf8(text),
            _ => Err(Malformed("a text without an end")),
        }
    }

    fn document(&mut self) -> Result<Elements<'a>, Malformed> {
        let whole = self.0;
        let length = self.length()?;
        self.0 = whole;
        match self.take(length)?.get(4..).and_then(<[u8]>::split_last) {
            Some((0, rest)) => Ok(Elements { rest }),
            _ => Err(Malformed("a document without an end")),
        }
    }

    fn binary(&mut self) -> Result<Value<'a>, Malformed> {
        let length = self.length()?;
        let subtype = self.byte()?;
        let mut bytes = self.take(length)?;
        if subtype == kind::OLD_BINARY {
            let mut inner = Reader(bytes);
            if inner.length()? != inner.0.len() {
                return Err(Malformed("binary of subtype 2 with two lengths that differ"));
            }
            bytes = inner.0;
        }
        Ok(Value::Binary { subtype, bytes })
    }

    fn code_with_scope(&mut self) -> Result<Value<'a>, Malformed> {
        let whole = self.0;
        let length = self.length()?;
        self.0 = whole;
        let mut inner = Reader(self.take(length)?);
        inner.length()?;
        let value = Value::CodeWithScope { code: inner.string()?, scope: inner.document()? };
        if inner.0.is_empty() { Ok(value) } else { Err(Malformed("bytes follow the scope of code")) }
    }

    fn value(&mut self, kind: u8) -> Result<Value<'a>, Malformed> {
        Ok(match kind {
            kind::DOUBLE => Value::Double(f64::from_le_bytes(self.array()?)),
            kind::STRING => Value::String(self.string()?),
            kind::DOCUMENT => Value::Document(self.document()?),
            kind::ARRAY => Value::Array(self.document()?),
            kind::BINARY => self.binary()?,
            kind::UNDEFINED => Value::Undefined,
            kind::OBJECT_ID => Value::ObjectId(self.array()?),
            kind::BOOLEAN => match self.byte()? {
                0 => Value::Boolean(false),
                1 => Value::Boolean(true),
                _ => return Err(Malformed("a boolean that is neither true nor false")),
            },
            kind::DATE_TIME => Value::DateTime(i64::from_le_bytes(self.array()?)),
            kind::NULL => Value::Null,
            kind::REGEX => Value::Regex { pattern: self.name()?, options: self.name()? },
            kind::DB_POINTER => Value::DbPointer { namespace: self.string()?, id: self.array()? },
            kind::CODE => Value::Code(self.string()?),
            kind::SYMBOL => Value::Symbol(self.string()?),
            kind::CODE_WITH_SCOPE => self.code_with_scope()?,
            kind::INT32 => Value::Int32(i32::from_le_bytes(self.array()?)),
            // The ordinal comes first.
            kind::TIMESTAMP => {
                let i = u32::from_le_bytes(self.array()?);
                Value::Timestamp { t: u32::from_le_bytes(self.array()?), i }
            }
            kind::INT64 => Value::Int64(i64::from_le_bytes(self.array()?)),
            kind::DECIMAL128 => Value::Decimal128(u128::from_le_bytes(self.array()?)),
            kind::MIN_KEY => Value::MinKey,
            kind::MAX_KEY => Value::MaxKey,
            _ => return Err(Malformed("a type that BSON does not have")),
        })
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Malformed("a text that is not UTF-8"))
}

/// Sixteen bytes as [RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-4) writes a UUID; `None` for other lengths.
#[must_use]
pub fn uuid(bytes: &[u8]) -> Option<String> {
    let number = u128::from_be_bytes(bytes.try_into().ok()?);
    let field = |shift: u32, digits: u32| number >> shift & ((1 << (4 * digits)) - 1);
    let (time, mid, version) = (field(96, 8), field(80, 4), field(64, 4));
    Some(format!("{time:08x}-{mid:04x}-{version:04x}-{:04x}-{:012x}", field(48, 4), field(0, 12)))
}

#[cfg(test)]
pub(crate) mod tests;
