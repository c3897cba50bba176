//! Extended JSON, told to a [`Sink`] in one pass.

use super::wrapper::wrapper;
use crate::bson::MAX_LEVELS;
use crate::cause::Cause;
use crate::encode::{Fault, MARK_FIELD, Sink, Written};
use crate::json::{Cursor, NumberForm, RawStr, unescape, write_string};
use crate::source::dynamodb::Stop;
use crate::source::mongodb::ID_FIELD;
use std::borrow::Cow;

/// Writes the members of a document, but for `_id`, which the target's id carries.
pub(super) fn document<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S) -> Result<(), Stop> {
    sink.begin_document();
    members(cursor, |cursor, name| {
        // Nearly no name needs a closer look.
        if name.escaped || name.raw.first() == Some(&b'_') {
            let plain = plain(name)?;
            if plain == MARK_FIELD {
                return Err(stop(Cause::ReservedField, format!("`{MARK_FIELD}` is the field that tidelock adds")));
            }
            if plain == ID_FIELD {
                cursor.skip()?;
                return Ok(());
            }
        }
        member(cursor, sink, name, 1)
    })
}

/// Writes a document as a whole.
pub(super) fn image<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S) -> Result<(), Stop> {
    sink.begin_document();
    sink.begin_map();
    members(cursor, |cursor, name| member(cursor, sink, name, 1))?;
    sink.end_map();
    Ok(())
}

/// Writes a value.
pub(super) fn value<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, level: u32) -> Result<(), Stop> {
    match cursor.peek() {
        Some(b'"') => Ok(text(cursor.string()?, sink)?),
        Some(b'{') => object(cursor, sink, level),
        Some(b'[') => {
            check_level(level)?;
            sink.begin_list();
            cursor.take(b'[');
            if !cursor.take(b']') {
                let mut index = 0_usize;
                loop {
                    value(cursor, sink, level + 1).map_err(|stop| at(stop, || index.to_string()))?;
                    index += 1;
                    if !cursor.more(b']')? {
                        break;
                    }
                }
            }
            sink.end_list();
            Ok(())
        }
        _ => {
            if let Some((number, form)) = cursor.decimal() {
                return Ok(decimal(number, form, sink)?);
            }
            match cursor.scalar()? {
                b"true" => sink.boolean(true),
                b"false" => sink.boolean(false),
                b"null" => sink.null(),
                number => relaxed(number, sink)?,
            }
            Ok(())
        }
    }
}

/// Writes the document that comes next and is no type.
pub(super) fn map<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, level: u32) -> Result<(), Stop> {
    check_level(level)?;
    sink.begin_map();
    members(cursor, |cursor, name| member(cursor, sink, name, level + 1))?;
    sink.end_map();
    Ok(())
}

/// A document, or a type in the form of one.
fn object<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, level: u32) -> Result<(), Stop> {
    let start = cursor.at();
    cursor.take(b'{');
    if cursor.peek() == Some(b'"') {
        let name = cursor.name()?;
        let dollar = match name.escaped {
            false => name.raw.first() == Some(&b'$'),
            true => plain(name)?.starts_with('$'),
        };
        if dollar && wrapper(cursor, sink, &plain(name)?, level)? {
            return Ok(());
        }
    }
    cursor.rewind(start);
    map(cursor, sink, level)
}

fn members<'p>(
    cursor: &mut Cursor<'p>,
    mut member: impl FnMut(&mut Cursor<'p>, RawStr<'p>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if !cursor.take(b'{') {
        return Err(stop(Cause::MalformedRecord, "not a document: it must be a JSON object"));
    }
    if cursor.take(b'}') {
        return Ok(());
    }
    loop {
        let name = cursor.name()?;
        member(cursor, name)?;
        if !cursor.more(b'}')? {
            return Ok(());
        }
    }
}

fn member<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, name: RawStr<'_>, level: u32) -> Result<(), Stop> {
    if name.escaped {
        // As every other writer of the name would write it.
        let mut written = Vec::with_capacity(name.raw.len() + 2);
        let plain = plain(name)?;
        write_string(&mut written, &plain);
        let raw = written.get(1..written.len() - 1).unwrap_or_default();
        sink.name(RawStr { raw, escaped: raw.contains(&b'\\') })?;
        return value(cursor, sink, level).map_err(|stop| at(stop, || plain.into_owned()));
    }
    sink.name(name)?;
    value(cursor, sink, level).map_err(|stop| at(stop, || String::from_utf8_lossy(name.raw).into_owned()))
}

/// A text as every other writer would write it.
pub(super) fn text<S: Sink>(text: RawStr<'_>, sink: &mut S) -> Result<(), Box<Fault>> {
    if !text.escaped {
        return sink.text(text);
    }
    sink.string(&unescape(text).ok_or_else(|| Fault::new(Cause::InvalidValue, BAD_ESCAPE))?)
}

/// A number without its type and without an exponent, as of [`relaxed`].
#[inline]
fn decimal<S: Sink>(number: &[u8], form: NumberForm, sink: &mut S) -> Written {
    match form {
        _ if form.integer + form.fraction > 15 || number == b"-0" => relaxed(number, sink),
        NumberForm { fraction: 0, .. } => sink.number(number),
        _ => sink.short_double(number, form),
    }
}

/// A number without its type: an integer where it is written as one and fits into 64 bits, else a double.
fn relaxed<S: Sink>(number: &[u8], sink: &mut S) -> Written {
    if number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return sink.double_text(number);
    }
    match number {
        b"-0" => sink.number(b"0"),
        _ if number.len() <= 18 || is_long(number) => sink.number(number),
        _ => sink.double_text(number),
    }
}

fn is_long(number: &[u8]) -> bool {
    std::str::from_utf8(number).is_ok_and(|text| text.parse::<i64>().is_ok())
}

const BAD_ESCAPE: &str = "text with an invalid escape sequence";

/// A string's value.
pub(super) fn plain(text: RawStr<'_>) -> Result<Cow<'_, str>, Stop> {
    unescape(text).ok_or_else(|| stop(Cause::InvalidValue, BAD_ESCAPE))
}

fn check_level(level: u32) -> Result<(), Stop> {
    if level > MAX_LEVELS {
        return Err(stop(Cause::NestedTooDeeply, format!("nested more than {MAX_LEVELS} levels deep")));
    }
    Ok(())
}

pub(super) fn stop(cause: Cause, detail: impl Into<String>) -> Stop {
    Stop::Value(Fault::new(cause, detail))
}

/// Adds a step to the path of a fault on its way out.
pub(super) fn at(stop: Stop, step: impl FnOnce() -> String) -> Stop {
    match stop {
        Stop::Value(mut fault) => {
            fault.path.push(step());
            Stop::Value(fault)
        }
        structure => structure,
    }
}
