//! Attribute values, `{"S":"text"}`: walked over once, told to a [`Sink`].
//!
//! Types: [AttributeValue](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_AttributeValue.html).
//! Sets become lists.

use crate::cause::Cause;
use crate::encode::{Fault, MARK_FIELD, Sink, Written, is_base64};
use crate::json::{Cursor, Malformed, RawStr, is_number, unescape};
use crate::transform::{Fields, Held, Touch, Transform, write_fields};

/// DynamoDB allows 32 levels.
const MAX_LEVELS: u32 = 32;

/// Why the walk ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The text is not JSON: the event as a whole is unreadable.
    Structure(Malformed),
    /// The value cannot be used: its record fails, the walk can go on behind it.
    Value(Box<Fault>),
}

impl From<Malformed> for Stop {
    fn from(error: Malformed) -> Self {
        Self::Structure(error)
    }
}

impl From<Box<Fault>> for Stop {
    fn from(fault: Box<Fault>) -> Self {
        Self::Value(fault)
    }
}

pub(super) fn stop(cause: Cause, detail: impl Into<String>) -> Stop {
    Stop::Value(Fault::new(cause, detail))
}

/// Names at the top of an item that do not go into the document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    /// `_id` is the target's own.
    pub(super) id: bool,
    /// `_id` is the item's only key attribute, so that the target's `_id` carries it.
    pub(super) id_is_key: bool,
}

/// Walks over an item (a map of names to attribute values) and writes it as a document.
pub(super) fn item<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, reserved: Reserved) -> Result<(), Stop> {
    if !cursor.take(b'{') {
        return Err(stop(Cause::MalformedRecord, "the image is not a map of attributes"));
    }
    sink.begin_document();
    if cursor.take(b'}') {
        return Ok(());
    }
    loop {
        let name = cursor.name()?;
        // A sender may escape any character of a name.
        let unescaped = if name.escaped { unescape(name) } else { None };
        let plain = unescaped.as_deref().map_or(name.raw, str::as_bytes);
        if plain == MARK_FIELD.as_bytes() {
            return Err(stop(Cause::ReservedField, format!("`{MARK_FIELD}` is the field that tidelock adds")));
        }
        if plain == b"_id" && reserved.id_is_key {
            cursor.skip()?;
        } else if plain == b"_id" && reserved.id {
            return Err(stop(Cause::ReservedField, "`_id` is the target's own field and not this item's only key"));
        } else {
            sink.name(name)?;
            value(cursor, sink, 1).map_err(|stop| at(stop, || String::from_utf8_lossy(name.raw).into_owned()))?;
        }
        if !cursor.more(b'}')? {
            return Ok(());
        }
    }
}

/// The same, with the steps of a transform carried out: what they do not touch is written as it comes. `fields` is storage that
/// is empty.
pub(super) fn transformed<'a, S: Sink>(
    cursor: &mut Cursor<'a>,
    sink: &mut S,
    reserved: Reserved,
    transform: &'a Transform,
    fields: &mut Fields<'a>,
) -> Result<(), Stop> {
    if cursor.peek() != Some(b'{') {
        return Err(stop(Cause::MalformedRecord, "the image is not a map of attributes"));
    }
    sink.begin_document();
    cursor.expect(b'{', "an object")?;
    if !cursor.take(b'}') {
        loop {
            let name = cursor.name()?;
            // Most fields are no step's business.
            if !name.escaped && name.raw.first() != Some(&b'_') && transform.is_untouched(name.raw) {
                sink.name(name)?;
                value(cursor, sink, 1).map_err(|stop| at(stop, || String::from_utf8_lossy(name.raw).into_owned()))?;
            } else {
                named(cursor, sink, reserved, transform, fields, name)?;
            }
            if !cursor.more(b'}')? {
                break;
            }
        }
    }
    transform.run(fields)?;
    fields.iter().try_for_each(|(name, _)| check_name(name, reserved))?;
    Ok(write_fields(sink, fields)?)
}

/// A field that steps may name, or whose name may be reserved; the cursor stands before its value.
#[inline(never)]
fn named<'a, S: Sink>(
    cursor: &mut Cursor<'a>,
    sink: &mut S,
    reserved: Reserved,
    transform: &'a Transform,
    fields: &mut Fields<'a>,
    name: RawStr<'a>,
) -> Result<(), Stop> {
    let unescaped = || unescape(name).ok_or_else(|| stop(Cause::InvalidValue, "name with an invalid escape"));
    let escaped = if name.escaped { Some(unescaped()?) } else { None };
    let plain = escaped.as_deref().map_or(name.raw, str::as_bytes);
    if plain == b"_id" && reserved.id_is_key {
        cursor.skip()?;
        return Ok(());
    }
    match transform.touch(plain) {
        Touch::Untouched => {
            let unescaped = unescaped()?;
            check_name(&unescaped, reserved)?;
            sink.name(name)?;
            value(cursor, sink, 1).map_err(|stop| at(stop, || unescaped.into_owned()))?;
        }
        Touch::Touched(known) => {
            let name = known.map_or_else(unescaped, |known| Ok(known.into()))?;
            fields.push((name, Held::attribute(skip(cursor)?)));
        }
        Touch::Dropped => drop(skip(cursor)?),
    }
    Ok(())
}

/// Walks over an attribute value and gives its text.
fn skip<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    cursor.peek();
    let start = cursor.at();
    // Most are a text, or a number, which is written as one.
    if cursor.short_object().is_some() && cursor.peek() == Some(b'"') && cursor.string().is_ok() && cursor.take(b'}') {
        return Ok(cursor.slice(start, cursor.at()));
    }
    cursor.rewind(start);
    cursor.skip()
}

/// Writes an attribute value, `{"S":"text"}`.
///
/// # Errors
/// When it is none, or the format has no exact form for it.
pub(crate) fn write_attribute<S: Sink>(text: &[u8], sink: &mut S) -> Written {
    match value(&mut Cursor::new(text), sink, 1) {
        Ok(()) => Ok(()),
        Err(Stop::Value(fault)) => Err(fault),
        Err(Stop::Structure(error)) => Err(Fault::new(Cause::InvalidValue, format!("no attribute value: {error}"))),
    }
}

fn check_name(name: &str, reserved: Reserved) -> Result<(), Stop> {
    if name == MARK_FIELD {
        return Err(stop(Cause::ReservedField, format!("`{MARK_FIELD}` is the field that tidelock adds")));
    }
    if name == "_id" && reserved.id {
        return Err(stop(Cause::ReservedField, "`_id` is the target's own field and not this item's only key"));
    }
    Ok(())
}

/// Adds a step to the path of a fault on its way out.
fn at(stop: Stop, step: impl FnOnce() -> String) -> Stop {
    match stop {
        Stop::Value(mut fault) => {
            fault.path.push(step());
            Stop::Value(fault)
        }
        structure => structure,
    }
}

/// The one type tag of an attribute value; the cursor stands before the value.
#[inline]
pub(super) fn tag<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    // As DynamoDB writes nearly all of them.
    if let Some(letter) = cursor.short_object() {
        return Ok(letter);
    }
    if !cursor.take(b'{') {
        return Err(stop(Cause::MalformedRecord, "an attribute value must be an object such as {\"S\":\"text\"}"));
    }
    if cursor.peek() == Some(b'}') {
        return Err(stop(Cause::UnknownType, "an attribute value without a type"));
    }
    Ok(cursor.name()?.raw)
}

#[inline]
pub(super) fn end_tag(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    if cursor.more(b'}')? {
        Err(stop(Cause::UnknownType, "an attribute value with more than one type"))
    } else {
        Ok(())
    }
}

/// A string where the type asks for one.
#[inline]
pub(super) fn quoted<'a>(cursor: &mut Cursor<'a>) -> Result<RawStr<'a>, Stop> {
    if cursor.peek() == Some(b'"') {
        return Ok(cursor.string()?);
    }
    Err(stop(Cause::InvalidValue, "the value must be a JSON string"))
}

#[inline]
fn number<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S) -> Result<(), Stop> {
    if let Some(text) = cursor.quoted_decimal() {
        return Ok(sink.number(text)?);
    }
    let text = quoted(cursor)?;
    if !is_number(text.raw) {
        return Err(stop(Cause::InvalidValue, format!("`{}` is no number", shortened(text.raw))));
    }
    Ok(sink.number(text.raw)?)
}

#[inline]
fn binary<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S) -> Result<(), Stop> {
    let text = quoted(cursor)?;
    if text.escaped {
        // A sender may escape the slash of base64; nothing else in it can be.
        let plain = unescape(text).filter(|plain| is_base64(plain.as_bytes()));
        let plain = plain.ok_or_else(|| stop(Cause::InvalidValue, "binary that is not base64"))?;
        return Ok(sink.binary(plain.as_bytes())?);
    }
    Ok(sink.binary(text.raw)?)
}

fn value<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, level: u32) -> Result<(), Stop> {
    // The outermost attribute is level 1; its containers' contents are one level deeper.
    if level > MAX_LEVELS + 1 {
        return Err(stop(Cause::NestedTooDeeply, format!("nested more than {MAX_LEVELS} levels deep")));
    }
    match tag(cursor)? {
        b"S" => {
            let text = quoted(cursor)?;
            sink.text(text)?;
        }
        b"N" => number(cursor, sink)?,
        b"B" => binary(cursor, sink)?,
        b"BOOL" => match cursor.skip()? {
            b"true" => sink.boolean(true),
            b"false" => sink.boolean(false),
            other => {
                return Err(stop(Cause::InvalidValue, format!("`{}` is neither true nor false", shortened(other))));
            }
        },
        b"NULL" => match cursor.skip()? {
            b"true" => sink.null(),
            other => return Err(stop(Cause::InvalidValue, format!("NULL must be true, not `{}`", shortened(other)))),
        },
        b"M" => map(cursor, sink, level)?,
        b"L" => list(cursor, sink, |cursor, sink| value(cursor, sink, level + 1))?,
        b"SS" => list(cursor, sink, |cursor, sink| Ok(sink.text(quoted(cursor)?)?))?,
        b"NS" => list(cursor, sink, number)?,
        b"BS" => list(cursor, sink, binary)?,
        other => return Err(stop(Cause::UnknownType, format!("unknown type `{}`", shortened(other)))),
    }
    end_tag(cursor)
}

fn map<S: Sink>(cursor: &mut Cursor<'_>, sink: &mut S, level: u32) -> Result<(), Stop> {
    if !cursor.take(b'{') {
        return Err(stop(Cause::InvalidValue, "M must be an object"));
    }
    sink.begin_map();
    if !cursor.take(b'}') {
        loop {
            let name = cursor.name()?;
            sink.name(name)?;
            value(cursor, sink, level + 1)
                .map_err(|stop| at(stop, || String::from_utf8_lossy(name.raw).into_owned()))?;
            if !cursor.more(b'}')? {
                break;
            }
        }
    }
    sink.end_map();
    Ok(())
}

fn list<'a, S: Sink>(
    cursor: &mut Cursor<'a>,
    sink: &mut S,
    mut element: impl FnMut(&mut Cursor<'a>, &mut S) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if !cursor.take(b'[') {
        return Err(stop(Cause::InvalidValue, "the value must be a JSON array"));
    }
    sink.begin_list();
    if !cursor.take(b']') {
        let mut index = 0usize;
        loop {
            element(cursor, sink).map_err(|stop| at(stop, || index.to_string()))?;
            index += 1;
            if !cursor.more(b']')? {
                break;
            }
        }
    }
    sink.end_list();
    Ok(())
}

/// At most 40 characters of a text, for messages.
pub(crate) fn shortened(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}
