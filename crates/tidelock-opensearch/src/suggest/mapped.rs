//! What the pipeline's own mapping does with what was seen: only the rest is mapped by OpenSearch itself.

use super::conflict::Conflict;
use super::field::{Field, Kind};
use crate::admin::expanded;
use crate::misfit::property;
use serde_json::{Map, Value};

/// The mapping of the pipeline.
#[derive(Debug, Default)]
pub(super) struct Mapped(Value);

/// What a mapping says of a field.
pub(super) enum Standing<'m> {
    /// It is kept, and not looked into.
    Unparsed,
    /// It has this type, which is no object's.
    Typed(&'m str),
    /// It is an object, and fields below it may be mapped as well.
    Object,
    /// OpenSearch will map it.
    Dynamic,
    /// A document with it is refused.
    Forbidden,
}

impl Mapped {
    pub(super) fn new(mappings: &Map<String, Value>) -> Self {
        let mut mappings = mappings.clone();
        if let Some(Value::Object(properties)) = mappings.get_mut("properties") {
            *properties = expanded(Some(properties));
        }
        Self(Value::Object(mappings))
    }

    pub(super) fn detects_dates(&self) -> bool {
        self.0.get("date_detection") != Some(&Value::Bool(false))
    }

    pub(super) fn standing(&self, path: &str) -> Standing<'_> {
        let mut dynamic = self.0.get("dynamic");
        for (at, _) in path.match_indices('.') {
            let Some(object) = path.get(..at).and_then(|above| property(&self.0, above)) else { continue };
            if is_unparsed(object) {
                return Standing::Unparsed;
            }
            dynamic = object.get("dynamic").or(dynamic);
        }
        let Some(field) = property(&self.0, path) else {
            return match dynamic.map(|dynamic| dynamic.as_str().map_or_else(|| dynamic.to_string(), str::to_owned)) {
                Some(dynamic) if dynamic == "false" => Standing::Unparsed,
                Some(dynamic) if dynamic == "strict" => Standing::Forbidden,
                _ => Standing::Dynamic,
            };
        };
        match field.get("type").and_then(Value::as_str).unwrap_or("object") {
            _ if is_unparsed(field) => Standing::Unparsed,
            "object" | "nested" => Standing::Object,
            kind => Standing::Typed(kind),
        }
    }

    /// How many fields it has, subfields included.
    pub(super) fn count(&self) -> usize {
        fn below(definition: &Value) -> usize {
            let inner = ["properties", "fields"].into_iter().filter_map(|part| definition.get(part)?.as_object());
            inner.flatten().map(|(_, field)| 1 + below(field)).sum()
        }
        below(&self.0)
    }
}

fn is_unparsed(definition: &Value) -> bool {
    let kind = definition.get("type").and_then(Value::as_str);
    definition.get("enabled") == Some(&Value::Bool(false)) || matches!(kind, Some("flat_object" | "flattened"))
}

/// What does not go with the type that a field has in the pipeline.
pub(super) fn of_typed(field: &Field, path: &str, kind: &str, found: &mut Vec<Conflict>) {
    let refused = |seen: Kind| match kind {
        "keyword" | "text" | "match_only_text" | "wildcard" | "constant_keyword" => seen == Kind::Object,
        "long" | "integer" | "short" | "byte" | "unsigned_long" => seen != Kind::Integer,
        "double" | "float" | "half_float" | "scaled_float" => !matches!(seen, Kind::Integer | Kind::Decimal),
        "date" | "date_nanos" => !matches!(seen, Kind::Date | Kind::Integer),
        "boolean" => seen != Kind::Boolean,
        "binary" => !matches!(seen, Kind::Binary | Kind::Text),
        // Of other types only the server knows.
        _ => false,
    };
    for (seen, sample) in field.kinds.iter().filter(|(seen, _)| refused(**seen)) {
        let way_out = "another type in `indexes`, or a `convert` step";
        found.push(Conflict::new(
            path,
            format!("{} where the pipeline says {kind}", seen.told()),
            sample,
            None,
            way_out,
        ));
    }
    let is_integer = matches!(kind, "long" | "integer" | "short" | "byte");
    if let Some(sample) = field.beyond_long.as_ref().filter(|_| is_integer) {
        let what = format!("an integer beyond a long where the pipeline says {kind}");
        found.push(Conflict::new(path, what, sample, None, "keyword in `indexes`, or `convert` to text"));
    }
}
