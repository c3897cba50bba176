//! A source's item in the source's own notation, and the fields that routes look for in it.

use crate::json::{Cursor, Malformed, RawStr, canonical_number, unescape};
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
    /// A number in [canonical](canonical_number) notation.
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
            // Documents of other sources come with their decoder.
            Notation::Bson => Field::Missing,
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
        b"S" if cursor.peek() == Some(b'"') => text(cursor.string()?).map_or(Field::Missing, Field::Text),
        b"N" if cursor.peek() == Some(b'"') => number(cursor.string()?).map_or(Field::Missing, Field::Number),
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

fn text(raw: RawStr<'_>) -> Option<Cow<'_, str>> {
    unescape(raw)
}

fn number(raw: RawStr<'_>) -> Option<Cow<'_, str>> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    match canonical_number(raw.raw)? {
        Cow::Borrowed(bytes) => text(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
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
    fn what_is_no_item_has_no_fields() {
        for item in ["", "{}", "[]", "{\"s\"", r#"{"s":"x"}"#, r#"{"s":{}}"#, r#"{"s":{"N":"x"}}"#, r#"{"s":{"S":1}}"#]
        {
            assert_eq!(field(item, &["s"]), Field::Missing, "{item}");
        }
    }
}
