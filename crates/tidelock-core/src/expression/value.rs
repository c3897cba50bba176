//! Values as expressions see them: their order, their parts, their text.

use super::number::compare_texts;
use crate::bson;
use crate::json::{Cursor, Malformed, canonical_text, unescape, write_string};
use crate::letter::timestamp;
use crate::transform::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// What stands where something has been taken away, until it is swept out. BSON has no type 0.
pub(super) const GONE: Value = Value::Raw(0, Vec::new());

/// The value, looked into. What is text where there is no BSON is text; what nobody can look into stays as it is.
pub(super) fn viewed(value: &Value) -> Cow<'_, Value> {
    if !matches!(value, Value::Raw(..) | Value::Unread(_)) {
        return Cow::Borrowed(value);
    }
    let opened = value.opened();
    let (true, Value::Raw(kind, bytes)) = (matches!(opened, Value::Raw(..)), value) else {
        return Cow::Owned(opened);
    };
    match bson::value(*kind, bytes).map(bson::plain) {
        Ok(bson::Plain::Text(text)) => Cow::Owned(Value::Text(text.into_owned())),
        _ => Cow::Borrowed(value),
    }
}

/// The kind of a value, for messages.
pub(super) fn word(value: &Value) -> String {
    match viewed(value).as_ref() {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// What `type` says.
pub(super) fn kind(value: &Value) -> &'static str {
    match viewed(value).as_ref() {
        Value::Null => "null",
        Value::Boolean(_) => "boolean",
        Value::Number(_) | Value::Double(_) => "number",
        Value::Text(_) => "string",
        Value::Date(_) => "date",
        Value::List(_) => "array",
        Value::Map(_) => "object",
        Value::Binary(_) => "binary",
        Value::Raw(..) | Value::Unread(_) => "other",
    }
}

/// Null and false do not hold, all else does.
pub(super) fn truth(value: &Value) -> bool {
    !matches!(viewed(value).as_ref(), Value::Null | Value::Boolean(false))
}

/// The text of a number, if it is one.
pub(super) fn number_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(text) => Some(Cow::Borrowed(text)),
        Value::Double(double) => Some(Cow::Owned(format!("{double:?}"))),
        Value::Raw(..) => match viewed(value).as_ref() {
            Value::Raw(..) => None,
            opened => number_text(opened).map(|text| Cow::Owned(text.into_owned())),
        },
        _ => None,
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Boolean(false) => 1,
        Value::Boolean(true) => 2,
        Value::Number(_) | Value::Double(_) => 3,
        Value::Text(_) | Value::Date(_) => 4,
        Value::List(_) => 5,
        Value::Map(_) => 6,
        Value::Binary(_) => 7,
        Value::Raw(..) | Value::Unread(_) => 8,
    }
}

/// jq's order: null, false, true, numbers, texts and dates, lists, maps; behind them binary, and what only its source knows.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (viewed(a).as_ref(), viewed(b).as_ref()) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Date(a), Value::Text(b)) => timestamp(*a).as_str().cmp(b),
        (Value::Text(a), Value::Date(b)) => a.as_str().cmp(&timestamp(*b)),
        (Value::List(a), Value::List(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| compare(a, b));
            pairs.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Map(a), Value::Map(b)) => {
            let (a, b) = (sorted(a), sorted(b));
            let names = |members: &[(&'_ str, &'_ Value)]| {
                members.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()
            };
            names(&a).cmp(&names(&b)).then_with(|| {
                let pairs = a.iter().zip(&b).map(|((_, a), (_, b))| compare(a, b));
                pairs.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            })
        }
        (Value::Binary(a), Value::Binary(b)) => a.cmp(b),
        (Value::Raw(kind, a), Value::Raw(other, b)) => kind.cmp(other).then_with(|| a.cmp(b)),
        (a, b) => match (number_text(a), number_text(b)) {
            (Some(a), Some(b)) => compare_texts(&a, &b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

fn sorted(members: &[(String, Value)]) -> Vec<(&str, &Value)> {
    let mut sorted: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
    sorted.sort_by_key(|(name, _)| *name);
    sorted
}

/// The member of a name. A path that leads nowhere gives null.
pub(super) fn member<'v>(value: Cow<'v, Value>, name: &str) -> Cow<'v, Value> {
    let null = Cow::Owned(Value::Null);
    match value {
        Cow::Borrowed(Value::Map(members)) => {
            members.iter().find(|(own, _)| own == name).map_or(null, |(_, value)| Cow::Borrowed(value))
        }
        Cow::Owned(Value::Map(members)) => {
            members.into_iter().find(|(own, _)| own == name).map_or(null, |(_, value)| Cow::Owned(value))
        }
        value => match value.as_ref() {
            // Only the one member is looked into.
            Value::Raw(kind, bytes) => match bson::value(*kind, bytes) {
                Ok(bson::Value::Document(elements)) => {
                    let found = elements.flatten().find(|element| element.name == name);
                    found.map_or(null, |element| Cow::Owned(Value::element(&element)))
                }
                _ => null,
            },
            _ => null,
        },
    }
}

/// The element of an index; negative ones count from the end.
pub(super) fn element(value: Cow<'_, Value>, index: i64) -> Cow<'_, Value> {
    let place = |length: usize| {
        let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 { length.checked_sub(back) } else { Some(back) }
    };
    let null = Cow::Owned(Value::Null);
    match value {
        Cow::Borrowed(Value::List(items)) => {
            place(items.len()).and_then(|at| items.get(at)).map_or(null, Cow::Borrowed)
        }
        value => match opened(value).into_owned() {
            Value::List(mut items) => match place(items.len()) {
                Some(at) if at < items.len() => Cow::Owned(items.swap_remove(at)),
                _ => null,
            },
            _ => null,
        },
    }
}

/// As [`viewed`].
pub(super) fn opened(value: Cow<'_, Value>) -> Cow<'_, Value> {
    match value {
        Cow::Owned(raw @ Value::Raw(..)) => Cow::Owned(viewed(&raw).into_owned()),
        Cow::Borrowed(raw @ Value::Raw(..)) => viewed(raw),
        value => value,
    }
}

/// The place of a slice's bounds among `length` elements.
pub(super) fn bounds(length: usize, from: Option<i64>, to: Option<i64>) -> (usize, usize) {
    let place = |bound: Option<i64>, other: usize| match bound {
        None => other,
        Some(at) if at < 0 => length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)),
        Some(at) => usize::try_from(at).unwrap_or(usize::MAX).min(length),
    };
    let (from, to) = (place(from, 0), place(to, length));
    (from, to.max(from))
}

/// What it costs to copy or compare a value: one for each value in it, and one for every 64 bytes.
pub(super) fn size(value: &Value) -> u64 {
    let bytes = |length: usize| length as u64 / 64;
    1 + match value {
        Value::Number(text) | Value::Text(text) => bytes(text.len()),
        Value::Binary(data) | Value::Raw(_, data) | Value::Unread(data) => bytes(data.len()),
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(members) => members.iter().map(|(name, value)| bytes(name.len()) + size(value)).sum(),
        Value::Null | Value::Boolean(_) | Value::Double(_) | Value::Date(_) => 0,
    }
}

/// Whether lists and maps are nested deeper than so many levels; adds how many values have been looked at.
pub(super) fn is_deeper(value: &Value, levels: usize, visited: &mut u64) -> bool {
    *visited += 1;
    let mut inside = |value: &Value| levels.checked_sub(1).is_none_or(|levels| is_deeper(value, levels, visited));
    match value {
        Value::List(items) => levels == 0 || items.iter().any(inside),
        Value::Map(members) => levels == 0 || members.iter().any(|(_, value)| inside(value)),
        _ => false,
    }
}

/// What `tostring` says.
///
/// # Errors
/// When the value has no text.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match viewed(value).as_ref() {
        Value::Text(text) => Ok(text.clone()),
        Value::Date(milliseconds) => Ok(timestamp(*milliseconds)),
        other => json(other),
    }
}

/// The value as JSON.
///
/// # Errors
/// When JSON has no form for it.
pub(super) fn json(value: &Value) -> Result<String, String> {
    let mut out = Vec::new();
    write_json(&mut out, value)?;
    String::from_utf8(out).map_err(|_| "no UTF-8".to_owned())
}

fn write_json(out: &mut Vec<u8>, value: &Value) -> Result<(), String> {
    match viewed(value).as_ref() {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Text(text) => write_string(out, text),
        Value::Date(milliseconds) => write_string(out, &timestamp(*milliseconds)),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_json(out, item)?;
            }
            out.push(b']');
        }
        Value::Map(members) => {
            out.push(b'{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(out, name);
                out.push(b':');
                write_json(out, value)?;
            }
            out.push(b'}');
        }
        other => match number_text(other) {
            Some(text) => {
                let plain = canonical_text(text.as_bytes()).ok_or_else(|| format!("`{text}` is out of range"))?;
                out.extend_from_slice(plain.as_bytes());
            }
            None => return Err(format!("{other} has no text: `@base64` writes binary")),
        },
    }
    Ok(())
}

/// Reads JSON, every digit of its numbers.
pub(super) fn from_json(text: &str) -> Option<Value> {
    /// Deeper than any item may be.
    const LEVELS: usize = 100;
    fn read(cursor: &mut Cursor<'_>, levels: usize) -> Result<Value, Malformed> {
        let inside = levels.checked_sub(1).ok_or_else(|| cursor.malformed("less nesting"));
        Ok(match cursor.peek() {
            Some(b'"') => {
                let text = unescape(cursor.string()?);
                Value::Text(text.ok_or_else(|| cursor.malformed("valid escapes"))?.into_owned())
            }
            Some(b'[') => {
                let (inside, mut items) = (inside?, Vec::new());
                cursor.elements(|cursor| {
                    items.push(read(cursor, inside)?);
                    Ok(())
                })?;
                Value::List(items)
            }
            Some(b'{') => {
                let (inside, mut members) = (inside?, Vec::<(String, Value)>::new());
                cursor.members(|cursor, name| {
                    let name = unescape(name).ok_or_else(|| cursor.malformed("valid escapes"))?.into_owned();
                    let value = read(cursor, inside)?;
                    members.push((name, value));
                    Ok(())
                })?;
                Value::Map(last_wins(members))
            }
            _ => match cursor.scalar()? {
                b"null" => Value::Null,
                b"true" => Value::Boolean(true),
                b"false" => Value::Boolean(false),
                number => Value::Number(String::from_utf8_lossy(number).into_owned()),
            },
        })
    }
    let mut cursor = Cursor::new(text.as_bytes());
    let value = read(&mut cursor, LEVELS).ok()?;
    cursor.end().ok()?;
    Some(value)
}

/// Of members of one name, the last one's value in the first one's place.
pub(super) fn last_wins(members: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut places = std::collections::BTreeMap::<String, usize>::new();
    let mut kept: Vec<(String, Value)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        match places.get(&name).and_then(|at| kept.get_mut(*at)) {
            Some(place) => place.1 = value,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
}

/// Puts a member where it is, or behind the others.
pub(super) fn insert(members: &mut Vec<(String, Value)>, name: String, value: Value) {
    match members.iter_mut().find(|(own, _)| *own == name) {
        Some((_, place)) => *place = value,
        None => members.push((name, value)),
    }
}

/// Sweeps out what has been taken away.
pub(super) fn sweep(value: &mut Value) {
    match value {
        Value::List(items) => {
            items.retain(|item| *item != GONE);
            items.iter_mut().for_each(sweep);
        }
        Value::Map(members) => {
            members.retain(|(_, value)| *value != GONE);
            members.iter_mut().for_each(|(_, value)| sweep(value));
        }
        _ => {}
    }
}
