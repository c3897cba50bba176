//! The few steps that walk over every answer, and texts for requests.

use tidelock_core::json::{Cursor, Malformed, unescape, write_string};

/// Walks over an object's members.
pub(crate) fn members<'a>(
    cursor: &mut Cursor<'a>,
    mut member: impl FnMut(&'a [u8], &mut Cursor<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    cursor.members(|cursor, name| member(name.raw, cursor))
}

/// Walks over an array's elements.
pub(crate) fn elements<'a>(
    cursor: &mut Cursor<'a>,
    element: impl FnMut(&mut Cursor<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    cursor.elements(element)
}

/// A string's value; `None` where another value stands, or an escape that means nothing.
pub(crate) fn string(cursor: &mut Cursor<'_>) -> Result<Option<String>, Malformed> {
    if cursor.peek() != Some(b'"') {
        cursor.skip()?;
        return Ok(None);
    }
    Ok(unescape(cursor.string()?).map(|text| text.into_owned()))
}

/// A value as it stands; `None` where it is null.
pub(crate) fn raw(cursor: &mut Cursor<'_>) -> Result<Option<String>, Malformed> {
    let text = cursor.skip()?;
    Ok((text != b"null").then(|| String::from_utf8_lossy(text).into_owned()))
}

/// A number that Rust can read; `None` where another value stands.
pub(crate) fn number<T: std::str::FromStr>(cursor: &mut Cursor<'_>) -> Result<Option<T>, Malformed> {
    let text = cursor.skip()?;
    Ok(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()))
}

/// The attributes of an item whose values are texts, `{"name":{"S":"text"},…}`; others are passed over.
pub(crate) fn texts<'a>(cursor: &mut Cursor<'a>, mut text: impl FnMut(&'a [u8], String)) -> Result<(), Malformed> {
    members(cursor, |attribute, cursor| {
        members(cursor, |kind, cursor| {
            if kind != b"S" {
                return cursor.skip().map(drop);
            }
            if let Some(value) = string(cursor)? {
                text(attribute, value);
            }
            Ok(())
        })
    })
}

/// A text as a JSON string with its quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}
