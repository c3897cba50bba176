//! Paths of fields: `address.zip`, `items[].price`, `items[0]`, `["a.b"].c`.

use super::value::Value;
use std::fmt;

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A member of a map.
    Name(String),
    /// An element of a list.
    Index(usize),
    /// Each element of a list.
    Each,
}

/// Where a field is. The first step is a name at the top of the item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) top: String,
    pub(crate) rest: Vec<Part>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |f: &mut fmt::Formatter<'_>, name: &str, first: bool| match name.contains(['.', '[', ']', '"'])
            || name.is_empty()
        {
            true => write!(f, "[{name:?}]"),
            false if first => f.write_str(name),
            false => write!(f, ".{name}"),
        };
        name(f, &self.top, true)?;
        self.rest.iter().try_for_each(|part| match part {
            Part::Name(text) => name(f, text, false),
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Each => f.write_str("[]"),
        })
    }
}

impl Path {
    /// Reads a path; a leading dot, as jq writes it, is allowed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('.').unwrap_or(text);
        let mut parts = Vec::new();
        loop {
            let part;
            (part, rest) = match rest.strip_prefix('[') {
                Some(inside) => {
                    bracketed(inside).ok_or_else(|| format!("`{text}`: `[` without a number, a \"name\", or `]`"))?
                }
                None => {
                    let end = rest.find(['.', '[']).unwrap_or(rest.len());
                    let (name, rest) = rest.split_at(end);
                    if name.is_empty() {
                        return Err(format!("`{text}`: a name is missing"));
                    }
                    (Part::Name(name.to_owned()), rest)
                }
            };
            parts.push(part);
            rest = match rest.strip_prefix('.') {
                Some(after) if !after.starts_with('[') => after,
                _ if rest.is_empty() => break,
                _ if rest.starts_with('[') => rest,
                _ => return Err(format!("`{text}`: expected `.` or `[` before `{rest}`")),
            };
        }
        let mut parts = parts.into_iter();
        match parts.next() {
            Some(Part::Name(top)) => Ok(Self { top, rest: parts.collect() }),
            _ => Err(format!("`{text}`: must begin with a name")),
        }
    }

    /// Every list on the way is walked through.
    pub(crate) fn is_many(&self) -> bool {
        self.rest.contains(&Part::Each)
    }

    /// The last name, and the path of what holds it; `None` where the path ends in a list's element.
    pub(crate) fn split_last(&self) -> Option<(Option<Self>, &str)> {
        match self.rest.split_last() {
            None => Some((None, &self.top)),
            Some((Part::Name(name), rest)) => Some((Some(Self { top: self.top.clone(), rest: rest.to_vec() }), name)),
            Some(_) => None,
        }
    }
}

fn bracketed(inside: &str) -> Option<(Part, &str)> {
    if let Some(rest) = inside.strip_prefix(']') {
        return Some((Part::Each, rest));
    }
    if inside.starts_with('"') {
        let mut names = serde_json::Deserializer::from_str(inside).into_iter::<String>();
        let name = names.next()?.ok()?;
        let rest = inside.get(names.byte_offset()..)?.strip_prefix(']')?;
        return Some((Part::Name(name), rest));
    }
    let (digits, rest) = inside.split_once(']')?;
    Some((Part::Index(digits.parse().ok()?), rest))
}

/// Calls `visit` with every value that the path leads to below `value`; the number of them. Where a step leads nowhere, nothing
/// is visited.
pub(crate) fn visit<E>(
    value: &mut Value,
    path: &[Part],
    visit_one: &mut impl FnMut(&mut Value) -> Result<(), E>,
) -> Result<usize, E> {
    let Some((first, rest)) = path.split_first() else {
        return visit_one(value).map(|()| 1);
    };
    value.open();
    match (first, value) {
        (Part::Name(name), Value::Map(members)) => match members.iter_mut().find(|(own, _)| own == name) {
            Some((_, value)) => visit(value, rest, visit_one),
            None => Ok(0),
        },
        (Part::Index(index), Value::List(items)) => match items.get_mut(*index) {
            Some(value) => visit(value, rest, visit_one),
            None => Ok(0),
        },
        (Part::Each, Value::List(items)) => {
            let mut found = 0;
            for item in items {
                found += visit(item, rest, visit_one)?;
            }
            Ok(found)
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for text in ["a", "a.b", "a[].b", "a[0][2].c", "[\"a.b\"].c", "a[\"x\\\"y\"]", "größe"] {
            assert_eq!(Path::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(Path::parse(".a.b"), Path::parse("a.b"));
        for text in ["", ".", "a..b", "a.", "[0]", "a[", "a[x]", "a]b[", "a[0]b", "[]"] {
            assert!(Path::parse(text).is_err(), "{text}: {:?}", Path::parse(text));
        }
    }
}
