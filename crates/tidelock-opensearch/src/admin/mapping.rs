//! A mapping as it should be against one as it is.

use super::object;
use super::settings::{is_same, told};
use serde_json::{Map, Value, json};

/// Parameters of a field that the server changes in place. Source: OpenSearch 3.8's field mappers; the server has the last word.
const UPDATABLE: &[&str] = &[
    "boost",
    "coerce",
    "copy_to",
    "depth_limit",
    "eager_global_ordinals",
    "fielddata",
    "fielddata_frequency_filter",
    "ignore_above",
    "ignore_malformed",
    "meta",
    "norms",
    "search_analyzer",
    "search_quote_analyzer",
    "split_queries_on_whitespace",
];

/// What the root of a mapping has, and its default.
const ROOT: &[(&str, &str)] = &[("dynamic", "true"), ("date_detection", "true"), ("numeric_detection", "false")];

/// What lies between two mappings.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// What is to be put: only what is new or changed.
    pub(super) put: Map<String, Value>,
    /// The same, for people.
    pub(super) told: Vec<String>,
    /// What cannot be changed, and why.
    pub(super) refused: Vec<(String, String)>,
    /// Fields that are there, and not wanted.
    pub(super) more: Vec<String>,
}

/// Compares a mapping that is wanted with that of an index; `fields` knows every parameter of each field.
pub(super) fn compare(
    wanted: &Map<String, Value>,
    actual: &Map<String, Value>,
    fields: &Map<String, Value>,
) -> Difference {
    let mut difference = Difference::default();
    for (name, value) in wanted.iter().filter(|(name, _)| *name != "properties") {
        let default = ROOT.iter().find(|(known, _)| known == name).map(|(_, value)| json!(value));
        let now = actual.get(name).cloned().or(default);
        if now.as_ref().is_some_and(|now| is_same(now, value)) {
            continue;
        }
        let shown = now.map_or_else(|| "not set".to_owned(), |now| told(&now));
        if matches!(name.as_str(), "_source" | "_routing" | "_field_names" | "_size") {
            let why = format!("it is {shown}, and only a new index can have {}", told(value));
            difference.refused.push((format!("mappings.{name}"), why));
        } else {
            difference.told.push(format!("mapping: {name} {shown} → {}", told(value)));
            difference.put.insert(name.clone(), value.clone());
        }
    }
    let properties = expanded(object(wanted.get("properties")));
    let walk = Walk { fields };
    let put = walk.properties("", &properties, object(actual.get("properties")), &mut difference);
    if !put.is_empty() {
        difference.put.insert("properties".to_owned(), Value::Object(put));
    }
    difference
}

/// Properties in which no name has a dot: `a.b` is the field `b` of the object `a`.
pub(crate) fn expanded(properties: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut found = Map::new();
    for (name, definition) in properties.into_iter().flatten() {
        let definition = definition.clone();
        match name.split_once('.') {
            None => match (found.get_mut(name), definition) {
                // An object of which fields have been named by their paths.
                (Some(Value::Object(known)), Value::Object(definition)) => merge(known, definition),
                (_, definition) => drop(found.insert(name.clone(), definition)),
            },
            Some((first, rest)) => {
                let object = found.entry(first).or_insert_with(|| json!({"properties": {}}));
                if let Value::Object(object) = object {
                    let inner = Map::from_iter([("properties".to_owned(), json!({rest: definition}))]);
                    merge(object, inner);
                }
            }
        }
    }
    found
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => merge(known, more),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

fn kind(definition: &Value) -> &str {
    definition.get("type").and_then(Value::as_str).unwrap_or("object")
}

fn is_object(definition: &Value) -> bool {
    matches!(kind(definition), "object" | "nested")
}

struct Walk<'a> {
    fields: &'a Map<String, Value>,
}

impl Walk<'_> {
    /// The properties to put for the object at `above` (its path with a dot behind it).
    fn properties(
        &self,
        above: &str,
        wanted: &Map<String, Value>,
        actual: Option<&Map<String, Value>>,
        found: &mut Difference,
    ) -> Map<String, Value> {
        let mut put = Map::new();
        for (name, definition) in wanted {
            let path = format!("{above}{name}");
            match actual.and_then(|actual| actual.get(name)) {
                None => {
                    found.told.push(format!("field `{path}` ({}) added", kind(definition)));
                    put.insert(name.clone(), definition.clone());
                }
                Some(now) if kind(now) != kind(definition) => {
                    let why = format!("it is {}, and a field's type never changes to {}", kind(now), kind(definition));
                    found.refused.push((format!("field `{path}`"), why));
                }
                Some(now) if is_object(now) => {
                    put.extend(self.object(&path, definition, now, found).map(|definition| (name.clone(), definition)));
                }
                Some(now) => {
                    put.extend(self.field(&path, definition, now, found).map(|definition| (name.clone(), definition)));
                }
            }
        }
        for (name, definition) in actual.into_iter().flatten() {
            // Those that tidelock maps itself are no finding.
            let own = above.is_empty() && name.starts_with('_');
            if !own && !wanted.contains_key(name) {
                found.more.push(format!("field `{above}{name}` ({})", kind(definition)));
            }
        }
        put
    }

    fn object(&self, path: &str, wanted: &Value, now: &Value, found: &mut Difference) -> Option<Value> {
        let mut put = Map::new();
        for (parameter, value) in object(Some(wanted)).into_iter().flatten() {
            if matches!(parameter.as_str(), "type" | "properties") {
                continue;
            }
            // `dynamic` is the root's where the object says nothing.
            let default = if parameter == "enabled" { Some(json!(true)) } else { None };
            let actual = now.get(parameter).cloned().or(default);
            if actual.as_ref().is_some_and(|actual| is_same(actual, value)) {
                continue;
            }
            let shown = actual.map_or_else(|| "not set".to_owned(), |actual| told(&actual));
            if parameter == "dynamic" {
                found.told.push(format!("field `{path}`: {parameter} {shown} → {}", told(value)));
                put.insert(parameter.clone(), value.clone());
            } else {
                let why = format!("{parameter} is {shown} and never changes to {}", told(value));
                found.refused.push((format!("field `{path}`"), why));
            }
        }
        let properties = expanded(object(wanted.get("properties")));
        if now.get("enabled") != Some(&Value::Bool(false)) {
            let inner = self.properties(&format!("{path}."), &properties, object(now.get("properties")), found);
            if !inner.is_empty() {
                put.insert("properties".to_owned(), Value::Object(inner));
            }
        }
        if put.is_empty() {
            return None;
        }
        put.extend(now.get("type").map(|kind| ("type".to_owned(), kind.clone())));
        Some(Value::Object(put))
    }

    /// The whole definition where something is to be changed: what is left out would be taken for its default.
    fn field(&self, path: &str, wanted: &Value, now: &Value, found: &mut Difference) -> Option<Value> {
        let all = self.fields.get(path);
        let mut put = object(Some(now)).cloned().unwrap_or_default();
        let mut changed = false;
        for (parameter, value) in object(Some(wanted)).into_iter().flatten() {
            if matches!(parameter.as_str(), "type" | "fields") {
                continue;
            }
            let actual = now.get(parameter).or_else(|| all.and_then(|all| all.get(parameter)));
            if actual.is_some_and(|actual| is_same(actual, value)) {
                continue;
            }
            let shown = actual.map_or_else(|| "not set".to_owned(), told);
            if UPDATABLE.contains(&parameter.as_str()) {
                found.told.push(format!("field `{path}`: {parameter} {shown} → {}", told(value)));
                put.insert(parameter.clone(), value.clone());
                changed = true;
            } else {
                let why = format!("{parameter} is {shown} and never changes to {}", told(value));
                found.refused.push((format!("field `{path}`"), why));
            }
        }
        if let Some(wanted) = object(wanted.get("fields")) {
            let below = Walk { fields: self.fields };
            let mut unused = Difference::default();
            let fields = below.properties(&format!("{path}."), wanted, object(now.get("fields")), &mut unused);
            changed |= !fields.is_empty();
            found.told.append(&mut unused.told);
            found.refused.append(&mut unused.refused);
            if let Value::Object(known) = put.entry("fields").or_insert_with(|| json!({})) {
                known.extend(fields);
            }
        }
        changed.then_some(Value::Object(put))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(wanted: &Value, actual: &Value, fields: &Value) -> Difference {
        let map = |value: &Value| value.as_object().cloned().expect("an object");
        compare(&map(wanted), &map(actual), &map(fields))
    }

    #[test]
    fn what_is_new_is_added_and_what_is_there_is_told_of() {
        let wanted = json!({"dynamic": false, "properties": {
            "a": {"type": "keyword"}, "o.x": {"type": "long"}, "o": {"properties": {"y": {"type": "date"}}},
            "new": {"properties": {"z": {"type": "long"}}},
        }});
        let actual = json!({"properties": {
            "a": {"type": "keyword"}, "o": {"properties": {"x": {"type": "long"}, "w": {"type": "text"}}},
            "b": {"type": "long"}, "_tidelock": {"type": "object", "enabled": false},
        }});
        let found = difference(&wanted, &actual, &json!({"a": {"type": "keyword", "norms": false}}));
        assert_eq!(
            json!(found.put),
            json!({"dynamic": false, "properties": {
                "new": {"properties": {"z": {"type": "long"}}}, "o": {"properties": {"y": {"type": "date"}}},
            }})
        );
        assert_eq!(
            found.told,
            ["mapping: dynamic true → false", "field `new` (object) added", "field `o.y` (date) added"]
        );
        assert_eq!(found.more, ["field `o.w` (text)", "field `b` (long)"]);
        assert_eq!(found.refused, []);
    }

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        let wanted = json!({"dynamic": true, "date_detection": true, "properties": {
            "a": {"type": "keyword", "index": true, "doc_values": true, "norms": false},
            "o": {"type": "object", "enabled": true, "properties": {}},
        }});
        let actual = json!({"properties": {"a": {"type": "keyword"}, "o": {"type": "object"}}});
        let fields = json!({"a": {"type": "keyword", "index": true, "doc_values": true, "norms": false}});
        assert_eq!(difference(&wanted, &actual, &fields), Difference::default());
    }

    #[test]
    fn what_never_changes_is_refused_and_the_rest_of_a_field_stays() {
        let wanted = json!({"_source": {"enabled": false}, "properties": {
            "a": {"type": "long"}, "k": {"type": "keyword", "ignore_above": 100, "doc_values": false},
            "t": {"type": "text", "analyzer": "english", "fields": {"raw": {"type": "keyword"}, "n": {"type": "keyword"}}},
            "d": {"type": "object", "enabled": false},
        }});
        let actual = json!({"properties": {
            "a": {"type": "keyword"}, "k": {"type": "keyword", "normalizer": "lower"},
            "t": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
            "d": {"properties": {"x": {"type": "long"}}},
        }});
        let fields = json!({
            "k": {"type": "keyword", "doc_values": true, "ignore_above": 2_147_483_647},
            "t": {"type": "text", "analyzer": "default"}, "t.raw": {"type": "keyword"},
        });
        let found = difference(&wanted, &actual, &fields);
        assert_eq!(
            json!(found.put["properties"]),
            json!({
                "k": {"type": "keyword", "normalizer": "lower", "ignore_above": 100},
                "t": {"type": "text", "fields": {"raw": {"type": "keyword"}, "n": {"type": "keyword"}}},
            })
        );
        let refused: Vec<String> = found.refused.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        assert_eq!(
            refused,
            [
                r#"mappings._source: it is not set, and only a new index can have {"enabled":false}"#,
                "field `a`: it is keyword, and a field's type never changes to long",
                "field `d`: enabled is true and never changes to false",
                "field `k`: doc_values is true and never changes to false",
                "field `t`: analyzer is default and never changes to english",
            ]
        );
    }
}
