//! The schema, by what it says of files.

use super::schema;
use crate::pipeline::file::{deserialize, read};
use crate::pipeline::{Pipeline, Severity};
use serde_json::Value;

/// As much of JSON Schema as the schema uses.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let object = schema.as_object().expect("an object");
    object.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" => true,
        "$ref" => {
            let name = rule.as_str().and_then(|path| path.strip_prefix("#/$defs/")).expect("a definition");
            fits(root, &root["$defs"][name], value)
        }
        "type" => match rule.as_str().expect("a type") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            other => panic!("{other}"),
        },
        "const" => value == rule,
        "enum" => rule.as_array().is_some_and(|values| values.contains(value)),
        "minimum" => value.as_f64().zip(rule.as_f64()).is_some_and(|(value, least)| value >= least),
        "maximum" => value.as_f64().zip(rule.as_f64()).is_some_and(|(value, most)| value <= most),
        "minLength" => value.as_str().is_some_and(|text| !text.is_empty()),
        "minItems" => value.as_array().is_some_and(|items| !items.is_empty()),
        "minProperties" => value.as_object().is_some_and(|members| !members.is_empty()),
        "maxProperties" => value.as_object().is_some_and(|members| members.len() <= 1),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(root, rule, item))),
        "oneOf" => rule.as_array().is_some_and(|all| all.iter().filter(|one| fits(root, one, value)).count() == 1),
        "required" => {
            let names = rule.as_array().expect("names");
            names.iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
        }
        "properties" => value.as_object().is_none_or(|members| {
            members.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| fits(root, rule, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let known = |name: &str| object.get("properties").is_some_and(|known| known.get(name).is_some());
            members
                .iter()
                .filter(|(name, _)| !known(name))
                .all(|(_, value)| rule.is_object() && fits(root, rule, value))
        }),
        other => panic!("the schema has learnt `{other}`, and this test has not"),
    })
}

fn both(text: &str) -> (bool, bool) {
    let schema: Value = serde_json::from_str(&schema()).expect("JSON");
    let (tree, _) = read(text);
    let value: Value = deserialize(&tree.expect("a tree")).expect("a value");
    let errors = Pipeline::check(text).problems().iter().any(|problem| problem.severity == Severity::Error);
    (fits(&schema, &schema, &value), !errors)
}

#[test]
fn schema_and_check_agree_on_shapes() {
    let route = |fields: &str| format!("version: 1\nroutes: [{{from: a, {fields}}}]");
    for (text, valid) in [
        ("$schema: x\nversion: 1\nunmatched: error\nroutes: [{from: a}]".to_owned(), true),
        (
            route("name: x, to: y, where: .z, shard_key: [a], on_outage: hold, on_conflict: salvage, on_missing: park"),
            true,
        ),
        (
            route(
                "transform: [{default: {a: [1, {b: null}]}}, {rename: {c: d}}, {drop: [e]}, {mask: {field: [f], keep_last: 2}}]",
            ),
            true,
        ),
        (route("transform: [{convert: {field: a, to: date, from: rfc3339}}, {split: {field: b, separator: x}}]"), true),
        ("version: 1".to_owned(), false),
        ("version: 1\nroutes: []".to_owned(), false),
        ("version: 2\nroutes: [{from: a}]".to_owned(), false),
        (
            route("id: '{k}', also: [], write: merge, preserve: [n], deletes: soft, soft: {flag: d}, long_id: hash"),
            true,
        ),
        (route("to: 'x-{f}', locate: state"), true),
        (route("locate: table"), false),
        (route("soft: {flags: d}"), false),
        ("version: 1\nroutes: [{from: 1}]".to_owned(), false),
        ("version: 1\nroutes: [a]".to_owned(), false),
        ("version: 1\nroutes: {from: a}".to_owned(), false),
        (route("index: x"), false),
        (route("to: ''"), false),
        (route("on_outage: never"), false),
        (route("shard_key: a"), false),
        (route("transform: {drop: [a]}"), false),
        (route("transform: [{}]"), false),
        (route("transform: [{drop: [a], keep: [b]}]"), false),
        (route("transform: [{dorp: [a]}]"), false),
        (route("transform: [{rename: {a: 1}}]"), false),
        (route("transform: [{convert: {to: text}}]"), false),
        (route("transform: [{convert: {field: {}, to: text}}]"), false),
        (route("transform: [{mask: {field: a, keep_last: -1}}]"), false),
    ] {
        assert_eq!(both(&text), (valid, valid), "{text}");
    }
}
