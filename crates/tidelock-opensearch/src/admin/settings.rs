//! Settings of an index: in one form, and which of them can be changed.

use serde_json::{Map, Value};

/// Settings that an index keeps for its life, or for as long as it is open; those that begin so, where they end with a dot.
/// Source: OpenSearch 3.8, `Property.Dynamic` missing; the server has the last word.
const STATIC: &[&str] = &[
    "index.analysis.",
    "index.codec",
    "index.codec.",
    "index.knn",
    "index.load_fixed_bitset_filters_eagerly",
    "index.mapping.coerce",
    "index.mapping.ignore_malformed",
    "index.number_of_routing_shards",
    "index.number_of_shards",
    "index.replication.type",
    "index.routing_partition_size",
    "index.shard.check_on_startup",
    "index.similarity.",
    "index.soft_deletes.enabled",
    "index.sort.",
    "index.store.type",
];

/// Whether a setting stays what it was when the index was made.
pub(super) fn is_static(name: &str) -> bool {
    STATIC.iter().any(|fixed| if fixed.ends_with('.') { name.starts_with(fixed) } else { name == *fixed })
}

/// Settings without nesting, each with `index.` before it and its values as text, as the server answers them. Those that are
/// `null` are the default.
pub(crate) fn flat(settings: &Map<String, Value>) -> Map<String, Value> {
    let mut found = Map::new();
    flatten("", settings, &mut found);
    let prefixed = |(name, value): (String, Value)| {
        (if name.starts_with("index.") { name } else { format!("index.{name}") }, value)
    };
    found.into_iter().map(prefixed).collect()
}

fn flatten(above: &str, settings: &Map<String, Value>, found: &mut Map<String, Value>) {
    for (name, value) in settings {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Object(inner) => flatten(&path, inner, found),
            Value::Null => {}
            value => drop(found.insert(path, as_text(value))),
        }
    }
}

/// Scalars as text.
pub(super) fn as_text(value: &Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(as_text).collect()),
        Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), as_text(value))).collect())
        }
        other => other.clone(),
    }
}

/// Whether two values are the same but for their notation: `1` and `"1"`, `0.5` and `0.50`, `x` and `[x]`.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let (one, other) = (as_text(one), as_text(other));
    match (&one, &other) {
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| is_same(one, other))
        }
        (Value::Array(values), single) | (single, Value::Array(values)) if !single.is_array() => {
            matches!(values.as_slice(), [value] if is_same(value, single))
        }
        (Value::Object(ones), Value::Object(others)) => {
            ones.len() == others.len()
                && ones.iter().all(|(name, one)| others.get(name).is_some_and(|other| is_same(one, other)))
        }
        _ => one == other || number(&one).is_some_and(|one| Some(one) == number(&other)),
    }
}

/// A value as people read it.
pub(super) fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_form_for_all() {
        let written = json!({
            "number_of_shards": 3, "index": {"refresh_interval": "5s"}, "index.number_of_replicas": 1,
            "analysis": {"filter": {"s": {"type": "stop", "stopwords": ["a", "b"]}}}, "codec": null,
        });
        let flat = flat(written.as_object().expect("an object"));
        assert_eq!(
            json!(flat),
            json!({
                "index.number_of_shards": "3", "index.refresh_interval": "5s", "index.number_of_replicas": "1",
                "index.analysis.filter.s.type": "stop", "index.analysis.filter.s.stopwords": ["a", "b"],
            })
        );
        let fixed: Vec<&String> = flat.keys().filter(|name| is_static(name)).collect();
        assert_eq!(fixed.len(), 3, "{fixed:?}");
        assert!(!is_static("index.number_of_replicas") && is_static("index.sort.field"));
    }

    #[test]
    fn the_same_in_other_words() {
        for (one, other, same) in [
            (json!(1), json!("1"), true),
            (json!(1.0), json!("1"), true),
            (json!(true), json!("true"), true),
            (json!("a"), json!(["a"]), true),
            (json!(["a", 1]), json!(["a", "1"]), true),
            (json!({"x": 1}), json!({"x": "1"}), true),
            (json!({"x": 1}), json!({"x": 1, "y": 1}), false),
            (json!("a"), json!("b"), false),
            (json!(["a", "b"]), json!("a"), false),
            (json!(null), json!("null"), false),
        ] {
            assert_eq!(is_same(&one, &other), same, "{one} {other}");
        }
    }
}
