//! What is asked for: a scope, and whether its change streams shall be on.

use serde_json::{Map, Value};
use tidelock_mongodb::Scope;

/// What the members are called in a request of JSON.
pub(super) const JSON_NAMES: Names = Names { database: "database", collection: "collection", enable: "enable" };

/// What the properties of a resource are called.
pub(super) const RESOURCE_NAMES: Names = Names { database: "Database", collection: "Collection", enable: "Enable" };

/// What members are called.
pub(super) struct Names {
    database: &'static str,
    collection: &'static str,
    enable: &'static str,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) scope: Scope,
    pub(super) enable: bool,
}

impl Wish {
    /// Reads it from an object that may have these other members as well.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn read(given: &Map<String, Value>, names: &Names, others: &[&str]) -> Result<Self, Vec<String>> {
        let known = [names.database, names.collection, names.enable];
        let is_known = |name: &str| known.contains(&name) || others.contains(&name);
        let mut problems: Vec<String> = given
            .keys()
            .filter(|name| !is_known(name))
            .map(|name| format!("`{}` is not known; known are {}", name.escape_debug(), known.join(", ")))
            .collect();
        let mut text = |name: &str| match given.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                problems.push(format!("`{name}` is no text"));
                Some(String::new())
            }
        };
        let (database, collection) = (text(names.database), text(names.collection).unwrap_or_default());
        let enable = match given.get(names.enable) {
            None | Some(Value::Null | Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            // CloudFormation makes text of every value.
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => {
                problems.push(format!("`{}` is neither true nor false", names.enable));
                true
            }
        };
        // All there is must be asked for in so many words.
        if database.is_none() {
            problems.push(format!("`{}` is missing; \"\" stands for all databases", names.database));
        }
        let scope = Scope::new(database.unwrap_or_default(), collection);
        match scope {
            Ok(scope) if problems.is_empty() => Ok(Self { scope, enable }),
            Ok(_) => Err(problems),
            Err(problem) => {
                if problems.is_empty() {
                    problems.push(problem);
                }
                Err(problems)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wish(given: Value) -> Result<Wish, Vec<String>> {
        Wish::read(given.as_object().expect("an object"), &JSON_NAMES, &["other"])
    }

    #[test]
    fn a_wish_is_read() {
        for (given, database, collection, enable) in [
            (json!({"database": "d", "collection": "c", "enable": true}), "d", "c", true),
            (json!({"database": "d", "collection": "c"}), "d", "c", true),
            (json!({"database": "d", "enable": "false", "other": 1}), "d", "", false),
            (json!({"database": "", "collection": null, "enable": "True"}), "", "", true),
        ] {
            let scope = Scope::new(database, collection).expect("a scope");
            assert_eq!(wish(given), Ok(Wish { scope, enable }));
        }
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let problems = wish(json!({"Database": "d", "collection": 7, "enable": "yes"})).expect_err("wrong");
        assert_eq!(problems.len(), 4, "{problems:?}");
        for given in [
            json!({}),
            json!({"database": null}),
            json!({"database": "", "collection": "c"}),
            json!({"database": "a b"}),
        ] {
            assert_eq!(wish(given.clone()).expect_err("wrong").len(), 1, "{given}");
        }
    }
}
