//! A file as a tree that knows where each of its parts stands.

use crate::transform::{Part, Path};
use std::fmt;

/// A place in a text; lines and columns count from one, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Mark {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
    /// Where the first character of a text stands, when the file spells the text as it is, without escapes or line breaks.
    pub(crate) spelled: Option<Mark>,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    /// In JSON's grammar, every digit of it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the file's order; no name is there twice.
    Map(Vec<Member>),
}

/// A value with its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) mark: Mark,
    pub(crate) node: Node,
}

/// What it is, for messages.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("nothing"),
            Value::Boolean(value) => write!(f, "the boolean {value}"),
            Value::Number(text) => write!(f, "the number {text}"),
            Value::Text(_) => f.write_str("a text"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("an object"),
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'n> {
    /// The value, or the innermost on the way to it where the file has none.
    pub(crate) node: &'n Node,
    /// Where its name stands; for what has none, where it begins.
    pub(crate) name: Mark,
    /// Whether the path was gone to its end.
    pub(crate) whole: bool,
}

impl Node {
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        match &self.value {
            Value::Map(members) => members.iter().find(|member| member.name == name),
            _ => None,
        }
    }

    /// Goes along a path such as `routes[0].to`, as far as it leads.
    pub(crate) fn find(&self, path: &str) -> Found<'_> {
        let mut found = Found { node: self, name: self.mark, whole: true };
        let Ok(Path { top, rest }) = Path::parse(path) else {
            return Found { whole: path.is_empty(), ..found };
        };
        for part in std::iter::once(Part::Name(top)).chain(rest) {
            let next = match (&part, &found.node.value) {
                (Part::Name(name), Value::Map(_)) => found.node.member(name).map(|member| (&member.node, member.mark)),
                (Part::Index(index), Value::List(items)) => items.get(*index).map(|item| (item, item.mark)),
                _ => None,
            };
            let Some((node, name)) = next else { return Found { whole: false, ..found } };
            found = Found { node, name, whole: true };
        }
        found
    }
}

/// A path with one name more: `routes[0]` and `to`, or a name that needs quotes.
pub(crate) fn joined(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && !name.contains(['.', '[', ']', '"']);
    match (plain, path.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{name:?}]"),
    }
}
