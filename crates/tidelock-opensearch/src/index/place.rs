//! Whether a name keeps its documents where they are, and the fields that Tidelock maps itself.

use super::UNPARSED;
use serde_json::{Map, Value};
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::pipeline::ROLLOVER;
use tidelock_core::salvage::REJECTED;

/// The fields that Tidelock maps in an index.
pub(crate) fn own_fields(salvage: bool) -> &'static [&'static str] {
    if salvage { &[MARK_FIELD, REJECTED] } else { &[MARK_FIELD] }
}

/// A mapping with Tidelock's fields in it.
pub(crate) fn with_own_fields(mappings: &Map<String, Value>, own: &[&str]) -> Value {
    let mut mappings = mappings.clone();
    let properties = mappings.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(properties) = properties {
        for field in own {
            properties.insert((*field).to_owned(), serde_json::from_str(UNPARSED).unwrap_or_default());
        }
    }
    Value::Object(mappings)
}

/// Why changes by key cannot go to a name, by what `GET /NAME` says of the indices behind it.
pub(crate) fn unsuitable(name: &str, indices: &Value) -> Option<String> {
    let indices = indices.as_object()?;
    if indices.values().any(|index| index.get("data_stream").and_then(Value::as_str) == Some(name)) {
        return Some(format!(
            "`{name}` is a data stream: it can only be appended to, and changes and deletes by id are refused; route to an index"
        ));
    }
    if indices.contains_key(name) {
        return None;
    }
    let rolls_over = |index: &Value| {
        let settings = index.get("settings");
        settings.is_some_and(|settings| rollover_aliases(settings).contains(&name))
    };
    if indices.values().any(rolls_over) {
        return Some(format!("`{name}` is a rollover alias: {ROLLOVER}; route to an index"));
    }
    if indices.len() > 1 {
        let behind: Vec<&str> = indices.keys().map(String::as_str).collect();
        return Some(format!(
            "`{name}` is an alias of {} indices ({}): a key has no place of its own there, whichever of them is written to; \
             route to one of them",
            behind.len(),
            behind.join(", ")
        ));
    }
    None
}

/// The values of every `rollover_alias`, flat or nested.
fn rollover_aliases(settings: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        match value {
            Value::String(alias) if name.ends_with("rollover_alias") => found.push(alias.as_str()),
            other => found.extend(rollover_aliases(other)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_a_key_has_no_place_of_its_own() {
        let ism = json!({"index": {"plugins": {"index_state_management": {"rollover_alias": "n"}}}});
        for (indices, told) in [
            (json!({".ds-n-000001": {"aliases": {}, "data_stream": "n"}}), "is a data stream"),
            (
                json!({"n-1": {"aliases": {"n": {}}}, "n-2": {"aliases": {"n": {"is_write_index": true}}}}),
                "2 indices (n-1, n-2)",
            ),
            (json!({"n-1": {"aliases": {"n": {}}, "settings": ism}}), "rollover alias"),
            (json!({"n-1": {"settings": {"index": {"lifecycle": {"rollover_alias": "n"}}}}}), "rollover alias"),
            (json!({"n-1": {"settings": {"index.lifecycle.rollover_alias": "n"}}}), "rollover alias"),
        ] {
            let problem = unsuitable("n", &indices).expect(told);
            assert!(problem.contains(told), "{problem}");
        }
        for indices in [
            json!({"n": {"aliases": {"a": {}}}}),
            json!({"n-1": {"aliases": {"n": {}, "m": {}}}}),
            json!({"n-1": {"aliases": {"n": {}}, "settings": {"index": {"lifecycle": {"rollover_alias": "m"}}}}}),
            json!({"n": {"settings": {"index": {"lifecycle": {"rollover_alias": "m"}}}}}),
            json!({}),
            json!("?"),
        ] {
            assert_eq!(unsuitable("n", &indices), None, "{indices}");
        }
    }

    #[test]
    fn own_fields_stand_in_every_mapping() {
        let own = json!({"type": "object", "enabled": false});
        assert_eq!(with_own_fields(&Map::new(), own_fields(false)), json!({"properties": {"_tidelock": own}}));
        let given = json!({"dynamic": false, "properties": {"a": {"type": "long"}}});
        let mapped = with_own_fields(given.as_object().expect("an object"), own_fields(true));
        assert_eq!(
            mapped,
            json!({"dynamic": false, "properties": {"a": {"type": "long"}, "_tidelock": own, "_rejected": own}})
        );
    }
}
