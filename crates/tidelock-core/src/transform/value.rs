//! A part of an item, taken apart: only what a transform touches becomes one of these.

use crate::bson;
use crate::encode::{Fault, Sink, Written, base64_bytes, base64_text};
use crate::json::{Cursor, RawStr, is_number, unescape, write_string};
use crate::source::dynamodb::write_attribute;
use std::fmt;

/// A value of an item. Numbers keep every digit.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Value {
    #[default]
    Null,
    Boolean(bool),
    /// As the source writes it, in JSON's grammar.
    Number(String),
    /// A number that a `convert` has made a double.
    Double(f64),
    Text(String),
    Binary(Vec<u8>),
    /// Milliseconds since 1970.
    Date(i64),
    List(Vec<Self>),
    /// In the item's order.
    Map(Vec<(String, Self)>),
    /// BSON that nobody has looked into: the type's byte and the value's bytes.
    Raw(u8, Vec<u8>),
    /// An attribute value of DynamoDB that nobody has looked into: its text, `{"S":"text"}`.
    Unread(Vec<u8>),
}

/// The kind of a value, for messages.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) | Self::Double(_) => "a number",
            Self::Text(_) => "a text",
            Self::Binary(_) => "binary",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Raw(..) | Self::Unread(_) => "a value of the source's own",
        })
    }
}

impl Value {
    /// Takes an attribute value of DynamoDB apart, `{"S":"text"}`. Sets become lists. `None` where it is none.
    pub(crate) fn attribute(cursor: &mut Cursor<'_>) -> Option<Self> {
        cursor.take(b'{').then_some(())?;
        let tag = cursor.name().ok()?.raw;
        let value = match tag {
            b"S" => Self::Text(unescape(cursor.string().ok()?)?.into_owned()),
            b"N" => Self::Number(number(cursor)?),
            b"B" => Self::Binary(binary(cursor)?),
            b"BOOL" => Self::Boolean(cursor.skip().ok()? == b"true"),
            b"NULL" => {
                cursor.skip().ok()?;
                Self::Null
            }
            b"M" => {
                let mut members = Vec::new();
                let mut whole = true;
                cursor
                    .members(|cursor, name| {
                        let name = unescape(name).map(std::borrow::Cow::into_owned);
                        match name.zip(Self::attribute(cursor)) {
                            Some(member) => members.push(member),
                            None => whole = false,
                        }
                        if whole { Ok(()) } else { Err(cursor.malformed("an attribute value")) }
                    })
                    .ok()?;
                Self::Map(members)
            }
            b"L" => Self::List(list(cursor, Self::attribute)?),
            b"SS" => {
                Self::List(list(cursor, |cursor| Some(Self::Text(unescape(cursor.string().ok()?)?.into_owned())))?)
            }
            b"NS" => Self::List(list(cursor, |cursor| number(cursor).map(Self::Number))?),
            b"BS" => Self::List(list(cursor, |cursor| binary(cursor).map(Self::Binary))?),
            _ => return None,
        };
        cursor.take(b'}').then_some(value)
    }

    /// An element of BSON, not looked into.
    pub(crate) fn element(element: &bson::Element<'_>) -> Self {
        Self::Raw(element.kind, element.raw.to_vec())
    }

    /// Looks into what nobody has looked into; what has no form here stays as it is.
    pub(crate) fn open(&mut self) {
        let (kind, bytes) = match self {
            Self::Raw(kind, bytes) => (kind, bytes),
            Self::Unread(text) => {
                if let Some(value) = Self::attribute(&mut Cursor::new(text)) {
                    *self = value;
                }
                return;
            }
            _ => return,
        };
        let Ok(value) = bson::value(*kind, bytes) else { return };
        let opened = match value {
            bson::Value::Null => Self::Null,
            bson::Value::Boolean(value) => Self::Boolean(value),
            bson::Value::Int32(number) => Self::Number(number.to_string()),
            bson::Value::Int64(number) => Self::Number(number.to_string()),
            bson::Value::Double(number) if number.is_finite() => Self::Double(number),
            bson::Value::Decimal128(_) => match bson::plain(value) {
                bson::Plain::Number(text) => Self::Number(text),
                _ => return,
            },
            bson::Value::String(text) => Self::Text(text.to_owned()),
            bson::Value::DateTime(milliseconds) => Self::Date(milliseconds),
            bson::Value::Binary { subtype: 0, bytes } => Self::Binary(bytes.to_vec()),
            bson::Value::Document(elements) => {
                let members =
                    elements.map(|element| element.map(|element| (element.name.to_owned(), Self::element(&element))));
                match members.collect() {
                    Ok(members) => Self::Map(members),
                    Err(_) => return,
                }
            }
            bson::Value::Array(elements) => {
                match elements.map(|element| element.map(|element| Self::element(&element))).collect() {
                    Ok(items) => Self::List(items),
                    Err(_) => return,
                }
            }
            _ => return,
        };
        *self = opened;
    }

    /// The value, looked into.
    pub(crate) fn opened(&self) -> Self {
        let mut value = self.clone();
        value.open();
        value
    }

    /// Tells a sink of it.
    ///
    /// # Errors
    /// When the format has no exact form for it; the path is from here on.
    pub(crate) fn write<S: Sink>(&self, sink: &mut S) -> Written {
        match self {
            Self::Null => sink.null(),
            Self::Boolean(value) => sink.boolean(*value),
            Self::Number(text) => sink.number(text.as_bytes())?,
            Self::Double(value) => sink.double(*value)?,
            Self::Text(text) => write_text(sink, text)?,
            Self::Binary(bytes) => sink.binary(base64_text(bytes).as_bytes())?,
            Self::Date(milliseconds) => sink.date(*milliseconds)?,
            Self::List(items) => {
                sink.begin_list();
                for (index, item) in items.iter().enumerate() {
                    item.write(sink).map_err(|fault| at(fault, &index.to_string()))?;
                }
                sink.end_list();
            }
            Self::Map(members) => {
                sink.begin_map();
                for (name, value) in members {
                    member(sink, name, |sink| value.write(sink))?;
                }
                sink.end_map();
            }
            Self::Raw(kind, bytes) => sink.bson(*kind, bytes)?,
            Self::Unread(text) => write_attribute(text, sink)?,
        }
        Ok(())
    }
}

/// Tells a sink of a member, whose value `write` tells of.
pub(super) fn member<S: Sink>(sink: &mut S, name: &str, write: impl FnOnce(&mut S) -> Written) -> Written {
    if is_plain(name) {
        sink.name(RawStr { raw: name.as_bytes(), escaped: false })?;
    } else {
        sink.name(json_text(name).as_raw())?;
    }
    write(sink).map_err(|fault| at(fault, name))
}

fn at(mut fault: Box<Fault>, step: &str) -> Box<Fault> {
    fault.path.push(step.to_owned());
    fault
}

/// A text as JSON writes it, without its quotes: what sinks take.
struct JsonText(Vec<u8>, bool);

impl JsonText {
    fn as_raw(&self) -> RawStr<'_> {
        RawStr { raw: &self.0, escaped: self.1 }
    }
}

fn json_text(text: &str) -> JsonText {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_string(&mut quoted, text);
    quoted.pop();
    quoted.remove(0);
    let escaped = quoted.contains(&b'\\');
    JsonText(quoted, escaped)
}

/// A text that stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
}

fn write_text<S: Sink>(sink: &mut S, text: &str) -> Written {
    if is_plain(text) {
        return sink.text(RawStr { raw: text.as_bytes(), escaped: false });
    }
    sink.text(json_text(text).as_raw())
}

fn number(cursor: &mut Cursor<'_>) -> Option<String> {
    let text = cursor.string().ok()?;
    is_number(text.raw).then(|| String::from_utf8(text.raw.to_vec()).ok())?
}

fn binary(cursor: &mut Cursor<'_>) -> Option<Vec<u8>> {
    base64_bytes(unescape(cursor.string().ok()?)?.as_bytes())
}

fn list<'a, T>(cursor: &mut Cursor<'a>, mut element: impl FnMut(&mut Cursor<'a>) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    cursor
        .elements(|cursor| match element(cursor) {
            Some(item) => {
                items.push(item);
                Ok(())
            }
            None => Err(cursor.malformed("a value of the list's type")),
        })
        .ok()?;
    Some(items)
}
