//! Which part of a document's source is answered.

use crate::path::Parameters;
use serde_json::{Map, Value};

/// A filter by paths; a path names everything below it, and may end with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceFilter {
    hidden: bool,
    includes: Vec<String>,
    excludes: Vec<String>,
}

impl SourceFilter {
    /// By `_source`, `_source_includes` and `_source_excludes` of a path.
    pub(crate) fn of_parameters(parameters: &Parameters) -> Self {
        let list = |name: &str| -> Vec<String> {
            let given = parameters.get(name).map(String::as_str).unwrap_or_default();
            given.split(',').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        };
        let mut filter = Self { hidden: false, includes: list("_source_includes"), excludes: list("_source_excludes") };
        match parameters.get("_source").map(String::as_str) {
            Some("false") => filter.hidden = true,
            None | Some("true" | "") => {}
            Some(_) => filter.includes.extend(list("_source")),
        }
        filter
    }

    /// By the member `_source` of a body; `None` when it is of no known form.
    pub(crate) fn of_json(given: &Value) -> Option<Self> {
        let list = |value: &Value| match value {
            Value::String(path) => Some(vec![path.clone()]),
            Value::Array(paths) => paths.iter().map(|path| path.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        match given {
            Value::Bool(shown) => Some(Self { hidden: !shown, ..Self::default() }),
            Value::Object(members) => {
                let mut filter = Self::default();
                for (name, value) in members {
                    match name.as_str() {
                        "includes" | "include" => filter.includes = list(value)?,
                        "excludes" | "exclude" => filter.excludes = list(value)?,
                        _ => return None,
                    }
                }
                Some(filter)
            }
            _ => Some(Self { includes: list(given)?, ..Self::default() }),
        }
    }

    /// What is left of a source; `None` when it is not answered at all.
    pub(crate) fn apply(&self, source: &Value) -> Option<Value> {
        match source {
            _ if self.hidden => None,
            Value::Object(fields) if !self.includes.is_empty() || !self.excludes.is_empty() => {
                Some(Value::Object(self.fields("", fields)))
            }
            _ => Some(source.clone()),
        }
    }

    fn fields(&self, prefix: &str, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in fields {
            let path = format!("{prefix}{name}");
            if self.excludes.iter().any(|pattern| covers(pattern, &path)) {
                continue;
            }
            let below = format!("{path}.");
            let whole = self.includes.is_empty() || self.includes.iter().any(|pattern| covers(pattern, &path));
            let narrower = |patterns: &[String]| patterns.iter().any(|pattern| pattern.starts_with(&below));
            match value {
                Value::Object(inner) if !whole && narrower(&self.includes) || whole && narrower(&self.excludes) => {
                    kept.insert(name.clone(), Value::Object(self.fields(&below, inner)));
                }
                _ if whole => drop(kept.insert(name.clone(), value.clone())),
                _ => {}
            }
        }
        kept
    }
}

fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left() {
        let source = json!({"a": 1, "_tidelock": {"exact": "5", "at": 7}, "b": {"c": 2, "d": 3}});
        for (given, left) in [
            (json!(true), Some(source.clone())),
            (json!(false), None),
            (json!("_tidelock"), Some(json!({"_tidelock": {"exact": "5", "at": 7}}))),
            (json!(["_tidelock.at", "b.*"]), Some(json!({"_tidelock": {"at": 7}, "b": {"c": 2, "d": 3}}))),
            (json!({"includes": ["b"], "excludes": ["b.c"]}), Some(json!({"b": {"d": 3}}))),
            (json!({"excludes": ["_tide*", "b"]}), Some(json!({"a": 1}))),
            (json!(["tidelock"]), Some(json!({}))),
        ] {
            assert_eq!(SourceFilter::of_json(&given).and_then(|filter| filter.apply(&source)), left, "{given}");
        }
        assert_eq!(SourceFilter::of_json(&json!(3)), None);
        let parameters = |name: &str, value: &str| Parameters::from([(name.to_owned(), value.to_owned())]);
        let filter = SourceFilter::of_parameters(&parameters("_source_includes", "a,b.c"));
        assert_eq!(filter.apply(&source), Some(json!({"a": 1, "b": {"c": 2}})));
        assert_eq!(SourceFilter::of_parameters(&parameters("_source", "false")).apply(&source), None);
    }
}
