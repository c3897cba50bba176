//! The fields at the top of an item that steps name. What no step looks into stays as the source has written it.

use super::path::{Part, Path, visit};
use super::value::{Value, member};
use crate::encode::{Sink, Written};
use crate::json::{Cursor, is_number};
use crate::source::dynamodb::write_attribute;
use std::borrow::Cow;

/// Names and values in the item's order; behind them what steps have added.
pub(crate) type Fields<'a> = Vec<(Cow<'a, str>, Held<'a>)>;

/// The value of a field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held<'a> {
    /// An attribute value of DynamoDB that nobody has looked into: its text, `{"S":"text"}`. It stands for the value.
    unread: Option<&'a [u8]>,
    value: Value,
}

impl From<Value> for Held<'_> {
    fn from(value: Value) -> Self {
        Self { unread: None, value }
    }
}

impl<'a> Held<'a> {
    /// An attribute value of DynamoDB.
    pub(crate) fn attribute(text: &'a [u8]) -> Self {
        Self { unread: Some(text), value: Value::Null }
    }

    /// The text of a number that nobody has looked into.
    pub(super) fn number(&self) -> Option<&'a str> {
        let text = self.unread?.strip_prefix(b"{\"N\":\"")?.strip_suffix(b"\"}")?;
        if is_number(text) { std::str::from_utf8(text).ok() } else { None }
    }

    /// The value; nobody looks into it.
    pub(super) fn known(&mut self) -> &mut Value {
        if let Some(text) = self.unread.take() {
            self.value = Value::Unread(text.to_vec());
        }
        &mut self.value
    }

    /// The value, looked into; what has no form here stays as it is.
    pub(super) fn open(&mut self) -> &mut Value {
        if let Some(text) = self.unread.take() {
            self.value = Value::attribute(&mut Cursor::new(text)).unwrap_or_else(|| Value::Unread(text.to_vec()));
        } else {
            self.value.open();
        }
        &mut self.value
    }

    pub(super) fn into_known(mut self) -> Value {
        std::mem::take(self.known())
    }

    /// Expressions know BSON that nobody has looked into; attribute values they do not.
    pub(super) fn into_read(mut self) -> Value {
        if self.unread.is_some() || matches!(self.value, Value::Unread(_)) {
            self.open();
        }
        self.value
    }

    pub(super) fn into_opened(mut self) -> Value {
        std::mem::take(self.open())
    }
}

fn find<'f, 'a>(fields: &'f mut Fields<'a>, name: &str) -> Option<&'f mut Held<'a>> {
    fields.iter_mut().find(|(own, _)| own == name).map(|(_, held)| held)
}

/// The field that the path leads to, where it is one at the top.
pub(super) fn at_top<'f, 'a>(fields: &'f mut Fields<'a>, path: &Path) -> Option<&'f mut Held<'a>> {
    if path.rest.is_empty() { find(fields, &path.top) } else { None }
}

/// Calls `each` with every value that the path leads to, not looked into; the number of them.
pub(super) fn visit_path<E>(
    fields: &mut Fields<'_>,
    path: &Path,
    each: &mut impl FnMut(&mut Value) -> Result<(), E>,
) -> Result<usize, E> {
    find(fields, &path.top).map_or(Ok(0), |held| visit(held.known(), &path.rest, each))
}

/// The same with values that have been looked into.
pub(super) fn visit_opened<E>(
    fields: &mut Fields<'_>,
    path: &Path,
    each: &mut impl FnMut(&mut Value) -> Result<(), E>,
) -> Result<usize, E> {
    let each = &mut |value: &mut Value| {
        value.open();
        each(value)
    };
    find(fields, &path.top).map_or(Ok(0), |held| visit(held.open(), &path.rest, each))
}

/// Takes a field away.
pub(super) fn take<'a>(fields: &mut Fields<'a>, path: &Path) -> Option<Held<'a>> {
    match path.rest.split_last() {
        None => {
            let at = fields.iter().position(|(own, _)| *own == path.top)?;
            Some(fields.remove(at).1)
        }
        Some((Part::Name(name), holder)) => {
            let mut taken = None;
            let _ = visit::<()>(find(fields, &path.top)?.open(), holder, &mut |value| {
                value.open();
                if let Value::Map(members) = value
                    && let Some(at) = members.iter().position(|(own, _)| own == name)
                {
                    taken = Some(members.remove(at).1.into());
                }
                Ok(())
            });
            taken
        }
        Some(_) => None,
    }
}

/// Takes every field away that the path leads to.
pub(super) fn take_all(fields: &mut Fields<'_>, path: &Path) {
    match path.rest.split_last() {
        None => fields.retain(|(own, _)| *own != path.top),
        Some((Part::Name(name), holder)) => {
            let Some(held) = find(fields, &path.top) else { return };
            let _ = visit::<()>(held.open(), holder, &mut |value| {
                value.open();
                if let Value::Map(members) = value {
                    members.retain(|(own, _)| own != name);
                }
                Ok(())
            });
        }
        Some(_) => {}
    }
}

pub(super) fn exists(fields: &mut Fields<'_>, path: &Path) -> bool {
    match (find(fields, &path.top), path.rest.as_slice()) {
        (found, []) => found.is_some(),
        (Some(held), rest) => matches!(visit::<()>(held.open(), rest, &mut |_| Ok(())), Ok(1..)),
        (None, _) => false,
    }
}

pub(super) fn get<'a>(fields: &mut Fields<'a>, path: &Path) -> Option<Held<'a>> {
    let held = find(fields, &path.top)?;
    if path.rest.is_empty() {
        return Some(held.clone());
    }
    let mut found = None;
    let _ = visit::<()>(held.open(), &path.rest, &mut |value| {
        found.get_or_insert_with(|| value.clone().into());
        Ok(())
    });
    found
}

/// Puts a value at a path of names; maps on the way are made where nothing is.
pub(super) fn put<'a>(fields: &mut Fields<'a>, path: &'a Path, value: Held<'a>) -> Result<(), String> {
    put_below(fields, Cow::Borrowed(&path.top), &path.rest, value)
}

/// The same at the path that begins with this name.
pub(super) fn put_below<'a>(
    fields: &mut Fields<'a>,
    top: Cow<'a, str>,
    rest: &[Part],
    value: Held<'a>,
) -> Result<(), String> {
    let at = fields.iter().position(|(own, _)| *own == top).unwrap_or_else(|| {
        fields.push((top, Value::Map(Vec::new()).into()));
        fields.len() - 1
    });
    match fields.get_mut(at) {
        Some((_, held)) if rest.is_empty() => {
            *held = value;
            Ok(())
        }
        Some((_, held)) => put_within(held.open(), rest, value.into_known()),
        None => Ok(()),
    }
}

fn put_within(place: &mut Value, rest: &[Part], value: Value) -> Result<(), String> {
    let Some((first, rest)) = rest.split_first() else {
        *place = value;
        return Ok(());
    };
    place.open();
    match (first, place) {
        (Part::Name(name), Value::Map(members)) => {
            let at = members.iter().position(|(own, _)| own == name).unwrap_or_else(|| {
                members.push((name.clone(), Value::Map(Vec::new())));
                members.len() - 1
            });
            match members.get_mut(at) {
                Some((_, place)) => put_within(place, rest, value),
                None => Ok(()),
            }
        }
        (Part::Index(index), Value::List(items)) => match items.get_mut(*index) {
            Some(place) => put_within(place, rest, value),
            None => Err(format!("the list has no element {index}")),
        },
        (_, other) => Err(format!("{other} stands where a map is needed")),
    }
}

/// Tells a sink of fields.
///
/// # Errors
/// When the format has no exact form for one of them.
pub(crate) fn write_fields<S: Sink>(sink: &mut S, fields: &Fields<'_>) -> Written {
    fields.iter().try_for_each(|(name, held)| {
        member(sink, name, |sink| match held.unread {
            Some(text) => write_attribute(text, sink),
            None => held.value.write(sink),
        })
    })
}
