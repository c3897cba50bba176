//! A template as JSON, and how its parts are found.

use serde_json::{Value, json};

type Yaml = serde_norway::Value;

/// Reads YAML with CloudFormation's tags. Functions have what `Globals` gives them.
pub(super) fn parse(text: &str) -> Result<Value, serde_norway::Error> {
    let mut template = serde_norway::from_str(text).map(|yaml| plain(&yaml))?;
    let given = template["Globals"]["Function"].clone();
    for resource in template["Resources"].as_object_mut().into_iter().flatten().map(|(_, resource)| resource) {
        if resource["Type"] == "AWS::Serverless::Function" {
            add(&mut resource["Properties"], &given);
        }
    }
    Ok(template)
}

/// Adds the members that an object lacks.
fn add(to: &mut Value, given: &Value) {
    let (Some(to), Some(given)) = (to.as_object_mut(), given.as_object()) else { return };
    for (name, value) in given {
        let own = to.entry(name).or_insert_with(|| value.clone());
        if value.is_object() {
            add(own, value);
        }
    }
}

/// As JSON: `!Ref x` and `Ref: x` both become `{"!Ref": "x"}`.
fn plain(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Tagged(tagged) => json!({ tagged.tag.to_string(): plain(&tagged.value) }),
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(entries) => {
            let name = |key: &Yaml| match key.as_str() {
                Some("Ref") => "!Ref".to_owned(),
                Some(key) => key.strip_prefix("Fn::").map_or(key.to_owned(), |function| format!("!{function}")),
                None => format!("{key:?}"),
            };
            Value::Object(entries.iter().map(|(key, value)| (name(key), plain(value))).collect())
        }
        scalar => serde_json::to_value(scalar).expect("a scalar"),
    }
}

/// All that a value can be: the branches of `!If`, without `AWS::NoValue`.
pub(super) fn alternatives(value: &Value) -> Vec<&Value> {
    match value["!If"].as_array() {
        Some(branches) => branches.iter().skip(1).flat_map(alternatives).collect(),
        None if value["!Ref"] == "AWS::NoValue" => Vec::new(),
        None => vec![value],
    }
}

/// A value as a template writes it: `!Ref X`, `!GetAtt X.Arn`, `!Sub TEXT`, a text as it is, anything else as JSON.
pub(super) fn written(value: &Value) -> String {
    let call = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    match (value, call) {
        (Value::String(text), _) => text.clone(),
        (_, Some((name, Value::String(text)))) if name.starts_with('!') => format!("{name} {text}"),
        _ => value.to_string(),
    }
}

/// What a statement is for: one resource or several, each as it is [`written`].
pub(super) fn resources_of(statement: &Value) -> Vec<String> {
    match &statement["Resource"] {
        Value::Array(resources) => resources.iter().map(written).collect(),
        Value::Null => vec!["*".to_owned()],
        resource => vec![written(resource)],
    }
}

/// One text or a list of texts.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    value.as_str().into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str)).collect()
}

pub(super) fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}

/// The resource that `!GetAtt RESOURCE.ATTRIBUTE` names.
pub(super) fn attribute_of<'a>(value: &'a Value, attribute: &str) -> Option<&'a str> {
    value["!GetAtt"].as_str()?.strip_suffix(attribute)?.strip_suffix('.')
}
