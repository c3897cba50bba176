//! A source's item in the source's own notation, and the fields that routes look for in it.

use crate::bson::{Elements, Plain, Value, plain, value as bson_value};
use crate::json::{Cursor, Malformed, canonical_text, unescape};
use std::borrow::Cow;

/// How a source writes its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// DynamoDB's attribute values: `{"id":{"N":"1"},…}`.
    DynamoDb,
    /// A BSON document.
    Bson,
}

/// An item as its source wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image<'a> {
    /// How it is written.
    pub notation: Notation,
    /// The item's bytes.
    pub bytes: &'a [u8],
}

/// What stands at a path of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field<'a> {
    /// There is no such field.
    Missing,
    /// Null.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number in [canonical](crate::json::canonical_number) notation.
    Number(Cow<'a, str>),
    /// A text.
    Text(Cow<'a, str>),
    /// Something else: its kind, for messages.
    Other(&'static str),
}

impl<'a> Image<'a> {
    /// The field at a path of names; a name may itself hold any character.
    #[must_use]
    pub fn field(&self, path: &[String]) -> Field<'a> {
        match self.notation {
            Notation::DynamoDb => attribute(self.bytes, path).unwrap_or(Field::Missing),
            Notation::Bson => element(self.bytes, path).unwrap_or(Field::Missing),
        }
    }
}

impl<'a> Image<'a> {
    /// The value at a path of a BSON document: its type's byte, and its bytes.
    pub(crate) fn element(&self, path: &[String]) -> Option<(u8, &'a [u8])> {
        let (last, containers) = path.split_last()?;
        let mut elements = Elements::new(self.bytes).ok()?;
        let named = |elements: Elements<'a>, name: &String| elements.flatten().find(|element| element.name == name);
        for name in containers {
            match plain(named(elements, name)?.value) {
                Plain::Map(inner) => elements = inner,
                _ => return None,
            }
        }
        named(elements, last).map(|element| (element.kind, element.raw))
    }
}

impl Field<'_> {
    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Other(kind) => kind,
        }
    }
}

impl<'a> Field<'a> {
    /// What a value of BSON is to routes.
    pub(crate) fn of_bson(value: Value<'a>) -> Self {
        match plain(value) {
            Plain::Null => Self::Null,
            Plain::Boolean(value) => Self::Boolean(value),
            Plain::Number(text) => match canonical_text(text.as_bytes()) {
                Some(text) => Self::Number(Cow::Owned(text.into_owned())),
                None => Self::Missing,
            },
            Plain::Text(text) => Self::Text(text),
            Plain::Binary(_) => Self::Other("binary"),
            Plain::Map(_) => Self::Other("a map"),
            Plain::List(_) => Self::Other("a list"),
            Plain::Timestamp { .. } => Self::Other("a timestamp"),
            Plain::CodeWithScope { .. } => Self::Other("JavaScript with scope"),
            Plain::Nothing(what) => Self::Other(what),
        }
    }
}

/// The attribute at a path. What is not well-formed is not there: the decoder has refused the record for it.
fn attribute<'a>(item: &'a [u8], path: &[String]) -> Result<Field<'a>, Malformed> {
    let mut cursor = Cursor::new(item);
    let Some((first, rest)) = path.split_first() else { return Ok(Field::Missing) };
    if !member(&mut cursor, first)? {
        return Ok(Field::Missing);
    }
    for name in rest {
        if !cursor.take(b'{') || cursor.name()?.raw != b"M" || !member(&mut cursor, name)? {
            return Ok(Field::Missing);
        }
    }
    value(&mut cursor)
}

/// The element at a path of a document; what JSON writes as text is a text.
fn element<'a>(document: &'a [u8], path: &[String]) -> Option<Field<'a>> {
    let (kind, raw) = Image { notation: Notation::Bson, bytes: document }.element(path)?;
    bson_value(kind, raw).ok().map(Field::of_bson)
}

/// Moves to the value of a member of the object that comes next; `false` when it has none of the name.
fn member(cursor: &mut Cursor<'_>, wanted: &str) -> Result<bool, Malformed> {
    if !cursor.take(b'{') || cursor.take(b'}') {
        return Ok(false);
    }
    loop {
        let name = cursor.name()?;
        let found = match name.escaped {
            false => name.raw == wanted.as_bytes(),
            true => unescape(name).is_some_and(|name| name == wanted),
        };
        if found {
            return Ok(true);
        }
        cursor.skip()?;
        if !cursor.more(b'}')? {
            return Ok(false);
        }
    }
}

fn value<'a>(cursor: &mut Cursor<'a>) -> Result<Field<'a>, Malformed> {
    if !cursor.take(b'{') || cursor.peek() == Some(b'}') {
        return Ok(Field::Missing);
    }
    let tag = cursor.name()?.raw;
    Ok(match tag {
        b"S" if cursor.peek() == Some(b'"') => unescape(cursor.string()?).map_or(Field::Missing, Field::Text),
        b"N" if cursor.peek() == Some(b'"') => {
            canonical_text(cursor.string()?.raw).map_or(Field::Missing, Field::Number)
        }
        b"BOOL" => match cursor.skip()? {
            b"true" => Field::Boolean(true),
            b"false" => Field::Boolean(false),
            _ => Field::Missing,
        },
        b"NULL" => Field::Null,
        b"B" => Field::Other("binary"),
        b"M" => Field::Other("a map"),
        b"L" => Field::Other("a list"),
        b"SS" | b"NS" | b"BS" => Field::Other("a set"),
        _ => Field::Missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<'a>(item: &'a str, path: &[&str]) -> Field<'a> {
        let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        Image { notation: Notation::DynamoDb, bytes: item.as_bytes() }.field(&path)
    }

    #[test]
    fn fields_of_every_kind() {
        let item = r#" {"s":{"S":"a\u0062"}, "n":{"N":"1.50"},"b":{"BOOL":true},"z":{"NULL":true},"x":{"B":"AA=="},
            "m":{"M":{"in.ner":{"M":{"k":{"S":"deep"}}}}},"l":{"L":[]},"ss":{"SS":["a"]},"\u0065":{"S":"escaped"}} "#;
        for (path, expected) in [
            (&["s"][..], Field::Text("ab".into())),
            (&["n"], Field::Number("1.5".into())),
            (&["b"], Field::Boolean(true)),
            (&["z"], Field::Null),
            (&["x"], Field::Other("binary")),
            (&["m"], Field::Other("a map")),
            (&["m", "in.ner", "k"], Field::Text("deep".into())),
            (&["m", "other"], Field::Missing),
            (&["s", "k"], Field::Missing),
            (&["l"], Field::Other("a list")),
            (&["ss"], Field::Other("a set")),
            (&["e"], Field::Text("escaped".into())),
            (&["nothing"], Field::Missing),
            (&[], Field::Missing),
        ] {
            assert_eq!(field(item, path), expected, "{path:?}");
        }
    }

    #[test]
    fn fields_of_documents() {
        use bson::{Bson, DateTime, Decimal128, oid::ObjectId, spec::BinarySubtype};
        let binary = |subtype| bson::Binary { subtype, bytes: vec![0x12; 16] };
        let decimal = |text: &str| text.parse::<Decimal128>().expect("a decimal");
        let document = bson::doc! {
            "_id": ObjectId::from_bytes([0xab; 12]), "s": "text", "i": 5, "l": 5_000_000_000_i64, "d": 1.50, "big": 1e20,
            "m": decimal("1.50"), "tiny": decimal("1E-7"), "nan": f64::NAN, "b": true, "z": Bson::Null,
            "at": DateTime::from_millis(1_588_166_528_000), "u": binary(BinarySubtype::Uuid),
            "x": binary(BinarySubtype::Generic), "in": {"n.er": {"k": "deep"}}, "a": [{"k": 1}], "min": Bson::MinKey,
        };
        let bytes = document.to_vec().expect("serializable");
        let field = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
            Image { notation: Notation::Bson, bytes: &bytes }.field(&path)
        };
        for (path, expected) in [
            (&["_id"][..], Field::Text("abababababababababababab".into())),
            (&["s"], Field::Text("text".into())),
            (&["i"], Field::Number("5".into())),
            (&["l"], Field::Number("5000000000".into())),
            (&["d"], Field::Number("1.5".into())),
            (&["big"], Field::Number("100000000000000000000".into())),
            (&["m"], Field::Number("1.5".into())),
            (&["tiny"], Field::Number("0.0000001".into())),
            (&["nan"], Field::Other("a number that is not finite")),
            (&["b"], Field::Boolean(true)),
            (&["z"], Field::Null),
            (&["at"], Field::Text("2020-04-29T13:22:08.000Z".into())),
            (&["u"], Field::Text("12121212-1212-1212-1212-121212121212".into())),
            (&["x"], Field::Other("binary")),
            (&["in"], Field::Other("a map")),
            (&["in", "n.er", "k"], Field::Text("deep".into())),
            (&["in", "other"], Field::Missing),
            (&["s", "k"], Field::Missing),
            (&["a"], Field::Other("a list")),
            (&["a", "0"], Field::Missing),
            (&["min"], Field::Other("MinKey")),
            (&["nothing"], Field::Missing),
            (&[], Field::Missing),
        ] {
            assert_eq!(field(path), expected, "{path:?}");
        }
        for bytes in [&b""[..], b"\x05\0\0\0", &[6, 0, 0, 0, 1, 0]] {
            assert_eq!(Image { notation: Notation::Bson, bytes }.field(&["s".to_owned()]), Field::Missing);
        }
    }

    #[test]
    fn what_is_no_item_has_no_fields() {
        for item in ["", "{}", "[]", "{\"s\"", r#"{"s":"x"}"#, r#"{"s":{}}"#, r#"{"s":{"N":"x"}}"#, r#"{"s":{"S":1}}"#]
        {
            assert_eq!(field(item, &["s"]), Field::Missing, "{item}");
        }
    }
}
