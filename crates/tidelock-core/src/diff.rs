//! What two items or documents differ in, field by field.

use crate::bson::{self, Elements, Plain, plain, write_extended};
use crate::encode::{Format, MARK_FIELD};
use crate::json::{Cursor, canonical_text, unescape, write_string};

/// A value taken apart as far as it has fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A value without fields.
    Leaf {
        /// Equal for values that are the same.
        same: String,
        /// The value as JSON text.
        shown: String,
    },
    /// A list.
    List(Vec<Self>),
    /// A map, in its own order.
    Map(Vec<(String, Self)>),
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where: `address.zip`, `items[0]`, `["a.b"].c`; empty for the whole.
    pub path: String,
    /// JSON text; `None` where there was nothing.
    pub before: Option<String>,
    /// JSON text; `None` where there is nothing.
    pub after: Option<String>,
}

impl Node {
    /// A value that is the same as those that are shown alike.
    #[must_use]
    pub fn leaf(shown: String) -> Self {
        Self::Leaf { same: shown.clone(), shown }
    }

    /// A number by its value: `1.50` is the same as `15e-1`.
    fn number(shown: String) -> Self {
        let same = canonical_text(shown.as_bytes()).map_or_else(|| shown.clone(), |text| format!("#{text}"));
        Self::Leaf { same, shown }
    }

    /// A whole stored document without what is Tidelock's own, and without the target's `_id`. `None` where it cannot be read.
    #[must_use]
    pub fn document(format: Format, document: &[u8]) -> Option<Self> {
        let mut node = match format {
            Format::Json => {
                let mut cursor = Cursor::new(document);
                let node = json(&mut cursor, 0)?;
                cursor.end().ok()?;
                node
            }
            Format::Bson => Self::Map(elements(Elements::new(document).ok()?)?),
        };
        let Self::Map(members) = &mut node else { return None };
        members.retain(|(name, _)| name != MARK_FIELD && !(format == Format::Bson && name == "_id"));
        Some(node)
    }

    /// Appends it as JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Leaf { shown, .. } => out.push_str(shown),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// What has changed from one to the other: in the order of the first, behind it what is new. Empty where they are the same.
#[must_use]
pub fn diff(before: &Node, after: &Node) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&mut changes, String::new(), before, after);
    changes
}

fn compare(changes: &mut Vec<Change>, path: String, before: &Node, after: &Node) {
    match (before, after) {
        (Node::Leaf { same: one, .. }, Node::Leaf { same: other, .. }) if one == other => {}
        (Node::Map(old), Node::Map(new)) => {
            for (name, value) in old {
                let path = below(&path, name);
                match new.iter().find(|(own, _)| own == name) {
                    Some((_, other)) => compare(changes, path, value, other),
                    None => changes.push(Change { path, before: Some(value.text()), after: None }),
                }
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.iter().any(|(own, _)| own == name)) {
                changes.push(Change { path: below(&path, name), before: None, after: Some(value.text()) });
            }
        }
        (Node::List(old), Node::List(new)) if old.len() == new.len() => {
            for (index, (value, other)) in old.iter().zip(new).enumerate() {
                compare(changes, format!("{path}[{index}]"), value, other);
            }
        }
        _ => changes.push(Change { path, before: Some(before.text()), after: Some(after.text()) }),
    }
}

/// The path of a member, as pipelines write paths.
fn below(path: &str, name: &str) -> String {
    if name.is_empty() || name.contains(['.', '[', ']', '"']) {
        format!("{path}[{}]", quoted(name))
    } else if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// Deeper than any target stores.
const MAX_LEVELS: u32 = 1_000;

fn json(cursor: &mut Cursor<'_>, level: u32) -> Option<Node> {
    if level > MAX_LEVELS {
        return None;
    }
    match cursor.peek()? {
        b'{' => {
            let mut members = Vec::new();
            cursor.take(b'{');
            let mut more = !cursor.take(b'}');
            while more {
                let name = unescape(cursor.name().ok()?)?.into_owned();
                members.push((name, json(cursor, level + 1)?));
                more = cursor.more(b'}').ok()?;
            }
            Some(Node::Map(members))
        }
        b'[' => {
            let mut items = Vec::new();
            cursor.take(b'[');
            let mut more = !cursor.take(b']');
            while more {
                items.push(json(cursor, level + 1)?);
                more = cursor.more(b']').ok()?;
            }
            Some(Node::List(items))
        }
        b'"' => Some(Node::leaf(quoted(&unescape(cursor.string().ok()?)?))),
        _ => {
            let text = String::from_utf8(cursor.scalar().ok()?.to_vec()).ok()?;
            Some(match text.as_str() {
                "true" | "false" | "null" => Node::leaf(text),
                _ => Node::number(text),
            })
        }
    }
}

fn elements(elements: Elements<'_>) -> Option<Vec<(String, Node)>> {
    elements.map(|element| element.ok().and_then(|one| Some((one.name.to_owned(), of_bson(one.value)?)))).collect()
}

fn of_bson(value: bson::Value<'_>) -> Option<Node> {
    Some(match value {
        bson::Value::Document(inner) => Node::Map(elements(inner)?),
        bson::Value::Array(inner) => Node::List(elements(inner)?.into_iter().map(|(_, node)| node).collect()),
        value => {
            let mut shown = Vec::new();
            write_extended(&mut shown, value);
            let shown = String::from_utf8_lossy(&shown).into_owned();
            match plain(value) {
                Plain::Number(number) => match Node::number(number) {
                    Node::Leaf { same, .. } => Node::Leaf { same, shown },
                    other => other,
                },
                _ => Node::leaf(shown),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        Node::document(Format::Json, text.as_bytes()).expect(text)
    }

    fn told(before: &Node, after: &Node) -> Vec<String> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        diff(before, after)
            .into_iter()
            .map(|change| format!("{} {} {}", change.path, text(change.before), text(change.after)))
            .collect()
    }

    #[test]
    fn numbers_are_compared_by_value_with_all_their_digits() {
        let big = "12345678901234567890123456789012345678";
        let same = [
            (r#"{"a":1.50}"#, r#"{"a":15e-1}"#),
            (r#"{"a":100}"#, r#"{"a":1E2}"#),
            (r#"{"a":"\u0062"}"#, r#"{"a":"b"}"#),
        ];
        for (one, other) in same {
            assert!(diff(&node(one), &node(other)).is_empty(), "{one} {other}");
        }
        let (one, other) =
            (format!(r#"{{"a":{big}}}"#), format!(r#"{{"a":{}}}"#, big.replace("345678901", "345678902")));
        assert_eq!(diff(&node(&one), &node(&other)).len(), 1);
        assert_eq!(told(&node(r#"{"a":1}"#), &node(r#"{"a":"1"}"#)), [r#"a 1 "1""#]);
        assert_eq!(told(&node(r#"{"a":null}"#), &node("{}")), ["a null -"]);
    }

    #[test]
    fn fields_are_named_by_their_paths() {
        let before = node(r#"{"a":{"b":1,"x.y":[1,2]},"l":[1],"_tidelock":{"exact":"1"}}"#);
        let after = node(r#"{"a":{"b":2,"x.y":[1,3]},"l":[1,2],"new":{"k":true},"_tidelock":{"exact":"2"}}"#);
        assert_eq!(told(&before, &after), ["a.b 1 2", r#"a["x.y"][1] 2 3"#, "l [1] [1,2]", r#"new - {"k":true}"#]);
    }

    #[test]
    fn bson_is_compared_by_value() {
        let document = |document: ::bson::Document| {
            Node::document(Format::Bson, &document.to_vec().expect("BSON")).expect("a document")
        };
        let decimal = |text: &str| text.parse::<::bson::Decimal128>().expect("a decimal");
        let one = document(::bson::doc! {"_id": 1, "n": 7, "d": 1.5, "t": "x"});
        let other = document(::bson::doc! {"_id": 2, "n": 7_i64, "d": decimal("1.50"), "t": "x", "_tidelock": {}});
        assert!(diff(&one, &other).is_empty());
        let third = document(::bson::doc! {"n": 7, "d": 1.5, "t": ::bson::DateTime::from_millis(0)});
        assert_eq!(told(&one, &third), [r#"t "x" {"$date":"1970-01-01T00:00:00.000Z"}"#]);
        assert_eq!(Node::document(Format::Bson, b"x"), None);
        assert_eq!(Node::document(Format::Json, b"[1]"), None);
    }
}
