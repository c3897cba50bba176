//! Taking fields out of a JSON document, byte by byte as they are.

use crate::encode::MARK_FIELD;
use crate::json::{Cursor, Malformed, unescape, write_string};
use std::ops::Range;

/// The field that holds what was set aside.
pub const REJECTED: &str = "_rejected";

/// Fields that are Tidelock's own.
const OWN: [&str; 2] = [REJECTED, MARK_FIELD];

/// A document (without its closing brace, as a [`JsonSink`](crate::encode::JsonSink) leaves it) of which some fields have been
/// set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    kept: Vec<u8>,
    /// Paths and the text of their values.
    rejected: Vec<(String, Vec<u8>)>,
}

/// A member of an object within a document.
struct Member {
    /// Its path from the top.
    path: String,
    value: Range<usize>,
    /// All that goes with it, a comma included.
    all: Range<usize>,
}

impl Remains {
    /// All of a document; `None` when it has a field `_rejected` of its own.
    pub(super) fn of(document: &[u8]) -> Option<Self> {
        let remains = Self { kept: document.to_vec(), rejected: Vec::new() };
        match remains.find(REJECTED) {
            Ok(None) => Some(remains),
            _ => None,
        }
    }

    /// Sets a field aside: a dotted path, through objects, or the name of a field that has dots itself. Where an array is on the
    /// way, the whole array goes. `false` when there is no such field.
    pub(super) fn set_aside(&mut self, path: &str) -> bool {
        let top = path.split('.').next().unwrap_or_default();
        if OWN.contains(&top) {
            return false;
        }
        let Ok(Some(Member { path, value, all })) = self.find(path) else { return false };
        if self.rejected.iter().any(|(known, _)| *known == path) {
            return false;
        }
        let text = self.kept.get(value).unwrap_or_default().to_vec();
        self.rejected.push((path, text));
        self.kept.drain(all);
        true
    }

    /// The paths of what has been set aside.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.rejected.iter().map(|(path, _)| path.as_str())
    }

    /// The document as it can be written, again without its closing brace.
    pub(super) fn document(&self) -> Vec<u8> {
        let mut out = self.kept.clone();
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write_string(&mut out, REJECTED);
        out.push(b':');
        for (index, (path, value)) in self.rejected.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            write_string(&mut out, path);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        out
    }

    fn find(&self, path: &str) -> Result<Option<Member>, Malformed> {
        let mut text = self.kept.clone();
        text.push(b'}');
        find(&mut Cursor::new(&text), "", path)
    }
}

/// Looks for a field in the object that begins here. `above` is the object's own path, with a dot at its end.
fn find(cursor: &mut Cursor<'_>, above: &str, path: &str) -> Result<Option<Member>, Malformed> {
    cursor.expect(b'{', "an object")?;
    if cursor.take(b'}') {
        return Ok(None);
    }
    let mut from = cursor.at();
    let mut is_first = true;
    loop {
        let name = cursor.name()?;
        let begins = cursor.peek();
        let value_from = cursor.at();
        cursor.skip()?;
        let value = value_from..cursor.at();
        let name = unescape(name).unwrap_or_default();
        let rest = path.strip_prefix(&*name);
        let below = rest.and_then(|rest| rest.strip_prefix('.')).filter(|_| !name.is_empty());
        let is_it = rest == Some("") || below.is_some() && begins == Some(b'[');
        if is_it {
            // The comma before it goes with it; of the first one, the comma behind it.
            let to = match is_first {
                true if cursor.take(b',') => cursor.at(),
                _ => value.end,
            };
            return Ok(Some(Member { path: format!("{above}{name}"), value, all: from..to }));
        }
        if let Some(below) = below.filter(|_| begins == Some(b'{')) {
            let after = cursor.at();
            cursor.rewind(value_from);
            let found = find(cursor, &format!("{above}{name}."), below)?;
            if found.is_some() {
                return Ok(found);
            }
            cursor.rewind(after);
        }
        from = cursor.at();
        is_first = false;
        if !cursor.more(b'}')? {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(document: &str, paths: &[&str]) -> Option<String> {
        let mut remains = Remains::of(document.as_bytes())?;
        paths.iter().all(|path| remains.set_aside(path)).then(|| String::from_utf8(remains.document()).expect("UTF-8"))
    }

    #[test]
    fn fields_go_as_they_are_and_all_else_stays_as_it_is() {
        let number = "1.00000000000000000000000000000000000001";
        for (document, paths, expected) in [
            (r#"{"a":1"#, &["a"][..], r#"{"_rejected":{"a":1}"#),
            (r#"{"a":1,"b":2"#, &["a"], r#"{"b":2,"_rejected":{"a":1}"#),
            (r#"{"a":1,"b":2"#, &["b"], r#"{"a":1,"_rejected":{"b":2}"#),
            (r#"{"a":1,"b":[{"x":null}],"c":3"#, &["b"], r#"{"a":1,"c":3,"_rejected":{"b":[{"x":null}]}"#),
            (r#"{"a":1,"b":2,"c":3"#, &["a", "c", "b"], r#"{"_rejected":{"a":1,"c":3,"b":2}"#),
            (r#"{"o":{"x":1,"y":{"z":2}}"#, &["o.y.z"], r#"{"o":{"x":1,"y":{}},"_rejected":{"o.y.z":2}"#),
            (r#"{"o":{"x":1,"y":2}"#, &["o.x"], r#"{"o":{"y":2},"_rejected":{"o.x":1}"#),
            // A name with a dot, also below.
            (r#"{"o.x":1"#, &["o.x"], r#"{"_rejected":{"o.x":1}"#),
            (r#"{"o":{"x.y":1}"#, &["o.x.y"], r#"{"o":{},"_rejected":{"o.x.y":1}"#),
            (r#"{"o":{"y":1},"o.x":2"#, &["o.x"], r#"{"o":{"y":1},"_rejected":{"o.x":2}"#),
            // Which item of an array it is, no target says.
            (r#"{"o":[{"x":1},{"x":"q"}],"p":0"#, &["o.x"], r#"{"p":0,"_rejected":{"o":[{"x":1},{"x":"q"}]}"#),
            (r#"{"o":{"l":[[1]]}"#, &["o.l.x"], r#"{"o":{},"_rejected":{"o.l":[[1]]}"#),
            (r#"{"\"q\"":1"#, &["\"q\""], r#"{"_rejected":{"\"q\"":1}"#),
            (r#"{"x":{},"é":"a,}{\"""#, &["é"], r#"{"x":{},"_rejected":{"é":"a,}{\""}"#),
        ] {
            assert_eq!(without(document, paths).as_deref(), Some(expected), "{document}");
        }
        let exact = format!(r#"{{"n":{number},"a":{number}"#);
        assert_eq!(without(&exact, &["a"]), Some(format!(r#"{{"n":{number},"_rejected":{{"a":{number}}}"#)));
    }

    #[test]
    fn what_cannot_be_set_aside() {
        for (document, paths) in [
            (r#"{"a":1"#, &["b"][..]),
            (r#"{"a":1"#, &["a.b"]),
            (r#"{"a":{"b":1}"#, &["a.c"]),
            (r#"{"a":1"#, &[""]),
            ("{", &["a"]),
            (r#"{"a":1"#, &["a", "a"]),
            // Both cannot be under one name.
            (r#"{"a":{"b":1},"a.b":2"#, &["a.b", "a.b"]),
            // A field of the source's own would be hidden by Tidelock's.
            (r#"{"_rejected":1,"a":1"#, &["a"]),
            (r#"{"_tidelock":1"#, &["_tidelock"]),
        ] {
            assert_eq!(without(document, paths), None, "{document} {paths:?}");
        }
    }
}
