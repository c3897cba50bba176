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
    /// The collection is made where it is missing.
    pub(super) create: bool,
}

impl Wish {
    /// Reads it from an object that may have these other members as well. Where it names neither a database nor a collection,
    /// `default` is meant. A collection is made to be enabled, not to be disabled.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn read(
        given: &Map<String, Value>,
        names: &Names,
        others: &[&str],
        default: Option<&Scope>,
    ) -> Result<Self, Vec<String>> {
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
        let (mut database, mut collection) = (text(names.database), text(names.collection));
        if let (None, None, Some(default)) = (&database, &collection, default) {
            database = Some(default.database().to_owned());
            collection = Some(default.collection().to_owned());
        }
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
        let scope = Scope::new(database.unwrap_or_default(), collection.unwrap_or_default());
        match scope {
            Ok(scope) if problems.is_empty() => Ok(Self { scope, enable, create: enable }),
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
        Wish::read(given.as_object().expect("an object"), &JSON_NAMES, &["other"], None)
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
            assert_eq!(wish(given), Ok(Wish { scope, enable, create: enable }));
        }
    }

    #[test]
    fn who_names_nothing_means_the_default() {
        let default = Scope::new("demo", "things").expect("a scope");
        let wish = |given: Value| {
            Wish::read(given.as_object().expect("an object"), &JSON_NAMES, &[], Some(&default)).map(|wish| wish.scope)
        };
        for given in [json!({}), json!({"enable": false}), json!({"database": null})] {
            assert_eq!(wish(given), Ok(default.clone()));
        }
        assert_eq!(wish(json!({"database": "d"})), Ok(Scope::new("d", "").expect("a scope")));
        assert_eq!(wish(json!({"database": ""})), Ok(Scope::new("", "").expect("a scope")));
        assert!(wish(json!({"collection": "c"})).is_err());
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
