//! Which fields an index has refused a document for.

use crate::index::path_segment;
use crate::{Request, Transport};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::json::{Cursor, Malformed, unescape};
use tidelock_core::target::{Operation, Write};

/// How the engine begins to say which field it is, the field behind it, and what follows. Tried on OpenSearch 3.8; the words have
/// been the same since Elasticsearch 7. Only beginnings count: values are quoted further on.
const WORDS: &[(&str, &str)] = &[
    ("failed to parse field [", "] of type ["),
    ("object mapping for [", "] tried to parse field ["),
    ("Could not dynamically add mapping for field [", "]. "),
    ("mapper [", "] cannot be changed from "),
    ("mapper [", "] has different "),
    ("can't merge a non object mapping [", "] with an object mapping"),
    ("can't merge a non-nested mapping [", "] with a nested mapping"),
    ("can't merge a nested mapping [", "] with a non-nested mapping"),
    ("Document contains at least one immense term in field=\"", "\" (whose "),
];

/// Those of a field that a strict mapping does not know.
const STRICT: (&str, &str, &str) =
    ("mapping set to strict, dynamic introduction of [", "] within [", "] is not allowed");

/// By position, the paths of fields to do without.
pub(crate) async fn find<T: Transport>(
    transport: &T,
    refused: &[(Operation<'_>, &Failure)],
    deadline: Instant,
) -> Vec<Vec<String>> {
    let mut mappings: HashMap<&str, Option<Value>> = HashMap::new();
    let mut found = Vec::with_capacity(refused.len());
    for (operation, failure) in refused {
        let paths = match (failure.cause, operation.write) {
            (Cause::FieldLimit, Write::Upsert(document)) => {
                let index = operation.into.name.as_str();
                if !mappings.contains_key(index) {
                    mappings.insert(index, mapping(transport, index, deadline).await);
                }
                mappings
                    .get(index)
                    .and_then(Option::as_ref)
                    .map(|mapping| unmapped(document, mapping))
                    .unwrap_or_default()
            }
            _ => named(&failure.detail).into_iter().collect(),
        };
        found.push(paths);
    }
    found
}

/// The field that the engine names.
fn named(detail: &str) -> Option<String> {
    // Behind its type and status.
    let (_, reason) = detail.split_once("): ")?;
    let reason = without_place(reason);
    let between = |(before, after): &(&str, &str)| {
        let (field, _) = reason.strip_prefix(before)?.split_once(after)?;
        Some(field.to_owned())
    };
    if let Some(field) = WORDS.iter().find_map(between) {
        return Some(field);
    }
    let (field, rest) = reason.strip_prefix(STRICT.0)?.split_once(STRICT.1)?;
    let (object, _) = rest.split_once(STRICT.2)?;
    Some(if object == "_doc" { field.to_owned() } else { format!("{object}.{field}") })
}

/// Elasticsearch 8 begins with the line and column, `[1:12] `.
fn without_place(reason: &str) -> &str {
    let rest = reason.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match rest {
        Some((place, rest)) if place.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') => rest,
        _ => reason,
    }
}

/// The mapping of an index, or of the first one behind an alias; `None` when it cannot be read.
async fn mapping<T: Transport>(transport: &T, index: &str, deadline: Instant) -> Option<Value> {
    let request = Request {
        method: "GET",
        path: format!("/{}/_mapping", path_segment(index)),
        content_type: "application/json",
        body: Bytes::new(),
    };
    let answer = transport.send(request, deadline).await.ok().filter(|answer| answer.status == 200)?;
    let indices: Map<String, Value> = serde_json::from_slice(&answer.body).ok()?;
    indices.into_iter().next().and_then(|(_, mut index)| index.get_mut("mappings").map(Value::take))
}

/// The fields of a document (without its closing brace) by which a mapping would have to grow.
fn unmapped(document: &[u8], mapping: &Value) -> Vec<String> {
    let mut text = document.to_vec();
    text.push(b'}');
    let mut paths = Vec::new();
    match new_fields(&mut Cursor::new(&text), mapping, true, "", &mut paths) {
        Ok(()) => paths,
        Err(_) => Vec::new(),
    }
}

/// Gathers the fields of the object that begins here which its mapping does not know. `above` is the object's path, with a dot at
/// its end.
fn new_fields(
    cursor: &mut Cursor<'_>,
    mapping: &Value,
    dynamic: bool,
    above: &str,
    paths: &mut Vec<String>,
) -> Result<(), Malformed> {
    let dynamic =
        mapping.get("dynamic").map_or(dynamic, |value| matches!(value.as_str(), Some("true")) || *value == true);
    cursor.members(|cursor, name| {
        let path = format!("{above}{}", unescape(name).unwrap_or_default());
        let own = path.get(above.len()..).unwrap_or_default();
        let first = cursor.peek();
        let from = cursor.at();
        let value = cursor.skip()?;
        match (property(mapping, own), first) {
            (None, _) if dynamic && !is_nothing(value) => paths.push(path),
            (Some(field), Some(b'{')) if is_parsed_object(field) => {
                cursor.rewind(from);
                new_fields(cursor, field, dynamic, &format!("{path}."), paths)?;
            }
            (Some(field), Some(b'[')) if is_parsed_object(field) => {
                let mut below = Vec::new();
                cursor.rewind(from);
                of_items(cursor, field, dynamic, &mut below)?;
                paths.extend((!below.is_empty()).then_some(path));
            }
            _ => {}
        }
        Ok(())
    })
}

/// The same for the objects in the array that begins here.
fn of_items(cursor: &mut Cursor<'_>, mapping: &Value, dynamic: bool, paths: &mut Vec<String>) -> Result<(), Malformed> {
    cursor.elements(|cursor| match cursor.peek() {
        Some(b'{') => new_fields(cursor, mapping, dynamic, "", paths),
        Some(b'[') => of_items(cursor, mapping, dynamic, paths),
        _ => cursor.skip().map(drop),
    })
}

/// The mapping of a field, whose name may have dots that stand for objects.
pub(crate) fn property<'m>(mapping: &'m Value, name: &str) -> Option<&'m Value> {
    let properties = mapping.get("properties")?;
    if let Some(field) = properties.get(name) {
        return Some(field);
    }
    let (first, rest) = name.split_once('.')?;
    property(properties.get(first)?, rest)
}

fn is_parsed_object(field: &Value) -> bool {
    let kind = field.get("type").and_then(Value::as_str).unwrap_or("object");
    matches!(kind, "object" | "nested") && field.get("enabled") != Some(&Value::Bool(false))
}

/// No mapping grows by these.
fn is_nothing(value: &[u8]) -> bool {
    value == b"null" || value.iter().all(|byte| matches!(byte, b'[' | b']' | b' ' | b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_engines_words() {
        for (reason, field) in [
            (
                "failed to parse field [age] of type [long] in document with id '1'. Preview of field's value: 'abc': For input string: \"abc\"",
                "age",
            ),
            ("failed to parse field [o.x] of type [date] in document with id '1'.", "o.x"),
            ("[1:12] failed to parse field [age] of type [long] in document with id '1'.", "age"),
            ("object mapping for [o] tried to parse field [o] as object, but found a concrete value", "o"),
            ("object mapping for [v] tried to parse field [null] as object, but found a concrete value", "v"),
            (
                "Could not dynamically add mapping for field [age.x]. Existing mapping for [age] must be of type object but found [long].",
                "age.x",
            ),
            ("mapper [a.b] cannot be changed from type [long] to [float]", "a.b"),
            ("can't merge a non object mapping [nn] with an object mapping", "nn"),
            ("mapping set to strict, dynamic introduction of [zz] within [_doc] is not allowed", "zz"),
            ("mapping set to strict, dynamic introduction of [n] within [s.t] is not allowed", "s.t.n"),
            (
                "Document contains at least one immense term in field=\"k\" (whose UTF8 encoding is longer than the max length 32766), all of which were skipped.",
                "k",
            ),
        ] {
            assert_eq!(named(&format!("some_exception (400): {reason}")).as_deref(), Some(field), "{reason}");
            assert_eq!(
                named(&format!("http://h:1: some_exception (400): {reason}")).as_deref(),
                Some(field),
                "{reason}"
            );
        }
        // Nothing that a document quotes is taken for the engine's words.
        for reason in ["", "failed to parse", "no: failed to parse field [a] of type [long]", "mapper [a"] {
            assert_eq!(named(&format!("e (400): {reason}")), None, "{reason}");
        }
    }

    #[test]
    fn fields_that_a_mapping_would_have_to_grow_by() {
        let mapping = json!({"properties": {
            "a": {"type": "long"}, "text": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
            "o": {"properties": {"x": {"type": "long"}}}, "off": {"type": "object", "enabled": false},
            "fixed": {"dynamic": "false", "properties": {"x": {"type": "long"}, "free": {"dynamic": "true", "properties": {}}}},
            "list": {"type": "nested", "properties": {"x": {"type": "long"}}}, "flat": {"type": "flat_object"},
        }});
        for (document, expected) in [
            (r#"{"a":1,"text":"x""#, &[][..]),
            (r#"{"a":1,"b":2,"c":{"x":1}"#, &["b", "c"]),
            (r#"{"o":{"x":1,"y":{"z":1}}"#, &["o.y"]),
            (r#"{"o.x":1,"o.y":2"#, &["o.y"]),
            (r#"{"off":{"y":1},"flat":{"y":1},"fixed":{"y":1,"free":{"z":1}}"#, &["fixed.free.z"]),
            (r#"{"list":[{"x":1},{"y":2},{"z":3}],"o":[1,[{"x":1}]]"#, &["list"]),
            // By these no mapping grows.
            (r#"{"n":null,"l":[],"m":[[ ],[]]"#, &[]),
            (r#"{"l":[null]"#, &["l"]),
            (r#"{"text":{"sub":1}"#, &[]),
            ("{", &[]),
        ] {
            assert_eq!(unmapped(document.as_bytes(), &mapping), expected, "{document}");
        }
        assert_eq!(unmapped(br#"{"a":1"#, &json!({})), ["a"]);
        assert_eq!(unmapped(br#"{"a":1"#, &json!({"dynamic": false})), [""; 0]);
    }
}
