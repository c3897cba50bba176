//! Mappings: what is put, what is learnt from documents, and what can be searched by.

use super::reply::Problem;
use serde_json::{Map, Value, json};

/// The mapping of an index, as it is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping(Map<String, Value>);

impl Mapping {
    pub(crate) fn as_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Adds what a body of `PUT /{index}/_mapping` says.
    pub(crate) fn put(&mut self, body: &Map<String, Value>) -> Result<(), Problem> {
        let mut merged = self.0.clone();
        merge(&mut merged, body)?;
        self.0 = merged;
        Ok(())
    }

    /// Grows by the fields of a document, as far as the mapping allows.
    pub(crate) fn learn(&mut self, document: &Map<String, Value>) -> Result<(), Problem> {
        // Each round learns one level more.
        while let Some(missing) = grow(&self.0, document)? {
            self.put(&missing)?;
        }
        Ok(())
    }

    /// The type under which a field can be searched and sorted by; `None` when it cannot.
    pub(crate) fn field(&self, path: &str) -> Option<&str> {
        let mut object = &self.0;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if object.get("enabled") == Some(&Value::Bool(false)) {
                return None;
            }
            let field = object.get("properties").or(object.get("fields"))?.get(part)?.as_object()?;
            if parts.peek().is_none() {
                let searchable = field.get("index") != Some(&Value::Bool(false));
                return field.get("type").and_then(Value::as_str).filter(|kind| searchable && *kind != "object");
            }
            object = field;
        }
        None
    }
}

/// Merges an object's mapping into another.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) -> Result<(), Problem> {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (Some(Value::Object(properties)), Value::Object(more)) if name == "properties" => {
                for (field, definition) in more {
                    let Value::Object(definition) = definition else {
                        let reason = format!("Expected map for property on field [{field}]");
                        return Err(Problem::new(400, "mapper_parsing_exception", reason));
                    };
                    match properties.get_mut(field) {
                        Some(Value::Object(known)) => {
                            compatible(field, known, definition)?;
                            merge(known, definition)?;
                        }
                        _ => drop(properties.insert(field.clone(), Value::Object(definition.clone()))),
                    }
                }
            }
            _ => drop(into.insert(name.clone(), value.clone())),
        }
    }
    Ok(())
}

fn kind(definition: &Map<String, Value>) -> &str {
    definition.get("type").and_then(Value::as_str).unwrap_or("object")
}

fn compatible(field: &str, known: &Map<String, Value>, new: &Map<String, Value>) -> Result<(), Problem> {
    let (from, to) = (kind(known), kind(new));
    if from != to {
        let reason = format!("mapper [{field}] cannot be changed from type [{from}] to [{to}]");
        return Err(Problem::argument(reason));
    }
    let enabled = |of: &Map<String, Value>| of.get("enabled") != Some(&Value::Bool(false));
    if from == "object" && enabled(known) != enabled(new) {
        let reason = format!("the [enabled] parameter can't be updated for the object mapping [{field}]");
        return Err(Problem::new(500, "mapper_exception", reason));
    }
    Ok(())
}

/// What a document would add to an object's mapping; `None` when it is nothing.
fn grow(object: &Map<String, Value>, document: &Map<String, Value>) -> Result<Option<Map<String, Value>>, Problem> {
    if object.get("enabled") == Some(&Value::Bool(false)) {
        return Ok(None);
    }
    let dynamic = object.get("dynamic").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let properties = object.get("properties").and_then(Value::as_object);
    let mut missing = Map::new();
    for (name, value) in document {
        let known = properties.and_then(|properties| properties.get(name)).and_then(Value::as_object);
        // The elements of a list are values of the same field.
        let values = if let Value::Array(values) = value { values.as_slice() } else { std::slice::from_ref(value) };
        for value in values {
            let addition = match (known, value, dynamic.as_deref()) {
                (Some(known), Value::Object(inner), _) if kind(known) == "object" => grow(known, inner)?,
                (Some(_), ..) | (None, Value::Null | Value::Array(_), _) | (None, _, Some("false")) => None,
                (None, _, Some("strict")) => {
                    let reason =
                        format!("mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed");
                    return Err(Problem::new(400, "strict_dynamic_mapping_exception", reason));
                }
                (None, value, _) => Some(dynamic_type(value)),
            };
            if let Some(addition) = addition {
                missing.insert(name.clone(), Value::Object(addition));
                break;
            }
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let mut addition = Map::new();
    addition.insert("properties".to_owned(), Value::Object(missing));
    Ok(Some(addition))
}

fn dynamic_type(value: &Value) -> Map<String, Value> {
    let definition = match value {
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(number) if number.is_f64() => json!({"type": "float"}),
        Value::Number(_) => json!({"type": "long"}),
        Value::String(_) => json!({"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
        // Its own fields are learnt in the next round.
        _ => json!({"properties": {}}),
    };
    definition.as_object().cloned().unwrap_or_default()
}
