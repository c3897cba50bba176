//! The table as a JSON Schema, for editors.

use super::{Choice, FILE, Field, Object, Shape, objects};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of the pipeline's file, as text.
#[must_use]
pub fn schema() -> String {
    let mut schema = object(&FILE);
    let definitions: Map<String, Value> =
        objects().into_iter().skip(1).map(|other| (other.name.to_owned(), object(other))).collect();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Tidelock's pipeline");
    schema["$defs"] = Value::Object(definitions);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn object(object: &Object) -> Value {
    let properties: Map<String, Value> =
        object.fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<&str> = object.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({
        "type": "object", "description": object.doc, "properties": properties, "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if object.one {
        schema["minProperties"] = json!(1);
        schema["maxProperties"] = json!(1);
    }
    schema
}

fn property(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    let mut doc = field.doc.to_owned();
    if let Shape::OneOf(choices) | Shape::OneOfOr(choices, _) = &field.shape {
        let line = |Choice { value, doc }: &Choice| format!("\n- {value}: {doc}");
        doc.extend(choices.iter().map(line));
    }
    schema["description"] = json!(doc);
    if !field.default.is_empty() {
        // As YAML would read it: `null` and `0` are no texts.
        schema["default"] = serde_json::from_str(field.default).unwrap_or_else(|_| json!(field.default));
    }
    schema
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Version => json!({"const": 1}),
        Shape::Text | Shape::Expression => json!({"type": "string"}),
        Shape::Count => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Shape::Pattern | Shape::Template | Shape::Path => json!({"type": "string", "minLength": 1}),
        Shape::Json => json!({}),
        Shape::OneOf(choices) => json!({"enum": choices.iter().map(|choice| choice.value).collect::<Vec<_>>()}),
        Shape::OneOfOr(choices, object) => {
            json!({"oneOf": [shape(&Shape::OneOf(choices)), shape(&Shape::Object(object))]})
        }
        Shape::List(of @ Shape::Object(Object { name: "route", .. })) => {
            json!({"type": "array", "items": shape(of), "minItems": 1})
        }
        Shape::List(of) => json!({"type": "array", "items": shape(of)}),
        Shape::OneOrMany(of) => json!({"oneOf": [shape(of), {"type": "array", "items": shape(of)}]}),
        Shape::Map { of, .. } => json!({"type": "object", "additionalProperties": shape(of)}),
        Shape::Object(object) => json!({"$ref": format!("#/$defs/{}", object.name)}),
    }
}
