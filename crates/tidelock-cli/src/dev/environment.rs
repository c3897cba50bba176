//! The variables a function gets: the caller's, the file's, the command line's.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A variable of this process; `None` if it is unset, empty or no text.
#[expect(clippy::disallowed_methods, reason = "the one place of this subcommand that reads the environment")]
pub(crate) fn callers(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The caller's variables that are handed on: `TIDELOCK_*` and `AWS_*`, without what only Lambda itself may set.
#[expect(clippy::disallowed_methods, reason = "the one place of this subcommand that reads the environment")]
pub(super) fn handed_on() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_handed_on(name))
        .collect()
}

fn is_handed_on(name: &str) -> bool {
    name.starts_with("TIDELOCK_")
        || (name.starts_with("AWS_")
            && (!name.starts_with("AWS_LAMBDA_") || matches!(name, "AWS_LAMBDA_LOG_FORMAT" | "AWS_LAMBDA_LOG_LEVEL")))
}

/// Whether colours are welcome on a terminal (<https://no-color.org>).
pub(crate) fn wants_colours(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_none() && variable("TERM").as_deref() != Some("dumb")
}

/// Reads variables from JSON in the form `sam local` takes, `{"Function": {"NAME": "value"}}`, where `Parameters` stands
/// for every function; or a flat object.
///
/// # Errors
/// Every problem at once; an entry for another function alone is one, because nothing would be set.
pub(super) fn parse_file(text: &str, function: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        vec![format!("not a JSON object: {error} (`{{\"NAME\": \"value\"}}`, or by function as `sam local` takes it)")]
    })?;
    let is_by_function = !object.is_empty() && object.values().all(Value::is_object);
    if !is_by_function {
        return values(&object);
    }
    let entries: Vec<&Map<String, Value>> =
        ["Parameters", function].iter().filter_map(|name| object.get(*name)?.as_object()).collect();
    if entries.is_empty() {
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        return Err(vec![format!(
            "no entry for `{function}`, only for {}: name the function with --function-name",
            names.join(", ")
        )]);
    }
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in entries {
        match values(entry) {
            Ok(found) => variables.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

fn values(object: &Map<String, Value>) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in object {
        match value {
            Value::String(text) => drop(variables.insert(name.clone(), text.clone())),
            Value::Bool(_) | Value::Number(_) => drop(variables.insert(name.clone(), value.to_string())),
            _ => problems.push(format!("`{name}` is neither text, a number, true nor false")),
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(variables: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn both_forms_of_the_file_are_read() {
        let flat = parse_file(r#"{"A": "x", "B": 1, "C": true}"#, "f").unwrap();
        assert_eq!(pairs(&flat), [("A", "x"), ("B", "1"), ("C", "true")]);
        let text = r#"{"Parameters": {"A": "all", "B": "all"}, "f": {"B": "f"}, "g": {"B": "g"}}"#;
        assert_eq!(pairs(&parse_file(text, "f").unwrap()), [("A", "all"), ("B", "f")]);
    }

    #[test]
    fn files_that_set_nothing_are_refused() {
        for (text, part) in [
            (r#"{"g": {"B": "g"}, "h": {}}"#, "no entry for `f`, only for g, h"),
            ("[]", "not a JSON object"),
            (r#"{"A": null, "B": "x"}"#, "`A` is neither"),
            (r#"{"f": {"A": [1]}}"#, "`A` is neither"),
        ] {
            let problems = parse_file(text, "f").unwrap_err();
            assert!(problems[0].contains(part), "{problems:?}");
        }
    }

    #[test]
    fn only_what_concerns_the_function_is_handed_on() {
        for name in ["TIDELOCK_TARGET", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_LAMBDA_LOG_LEVEL"] {
            assert!(is_handed_on(name), "{name}");
        }
        for name in ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "PATH", "SECRET", "XAWS_A"] {
            assert!(!is_handed_on(name), "{name}");
        }
    }

    #[test]
    fn colours_can_be_refused() {
        let with = |name: &'static str, value: &'static str| {
            wants_colours(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(with("TERM", "xterm"));
        assert!(!with("NO_COLOR", "1"));
        assert!(!with("TERM", "dumb"));
    }
}
