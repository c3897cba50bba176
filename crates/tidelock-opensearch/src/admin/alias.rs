//! An alias that moves to another index.

use super::state::Standing;
use crate::index::check_name;
use serde_json::{Map, Value, json};

/// An alias leaves all indices that hold it, and comes to another.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Move {
    /// The alias.
    pub alias: String,
    /// Who holds it now, but for `to`.
    pub from: Vec<String>,
    /// Who will hold it.
    pub to: String,
    /// Its filter and routing.
    pub definition: Map<String, Value>,
}

impl Move {
    /// From what the alias is now. Its filter and routing come from the file, else from the index that holds it.
    #[must_use]
    pub fn new(alias: &str, standing: &Standing, to: &str, wanted: Option<&Value>) -> Self {
        let held = match standing {
            Standing::Alias(states, _) => states.as_slice(),
            _ => &[],
        };
        let from = held.iter().map(|state| state.name.clone()).filter(|name| name != to).collect();
        let now = held.iter().find_map(|state| state.aliases.get(alias));
        let definition = wanted.or(now).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { alias: alias.to_owned(), from, to: to.to_owned(), definition }
    }

    /// Whether it has been made already.
    #[must_use]
    pub fn is_made(&self, standing: &Standing) -> bool {
        matches!(standing, Standing::Alias(states, _) if matches!(states.as_slice(), [only] if only.name == self.to))
    }

    /// The body of the one request that does it.
    pub(super) fn body(&self) -> Value {
        let mut add = self.definition.clone();
        add.remove("is_write_index");
        add.insert("index".to_owned(), json!(self.to));
        add.insert("alias".to_owned(), json!(self.alias));
        let removed =
            self.from.iter().map(|index| json!({"remove": {"index": index, "alias": self.alias, "must_exist": true}}));
        json!({"actions": removed.chain([json!({"add": add})]).collect::<Vec<Value>>()})
    }
}

/// Why a name cannot be the alias that moves, and what to do instead.
#[must_use]
pub fn unusable_alias(alias: &str, standing: &Standing, to: &str) -> Option<String> {
    if let Err(problem) = check_name(alias) {
        return Some(problem);
    }
    match standing {
        Standing::Index(_) => Some(format!(
            "`{alias}` is an index itself, and an alias cannot have its name. Either let searches go to an alias of another name, \
             and swap that; or fill `{to}` (`tidelock index swap OTHER-NAME --to {to}`), then delete the index and give its name \
             to the alias in one request: POST _aliases \
             {{\"actions\":[{{\"remove_index\":{{\"index\":\"{alias}\"}}}},{{\"add\":{{\"index\":\"{to}\",\"alias\":\"{alias}\"}}}}]}}"
        )),
        Standing::DataStream(problem) => Some(problem.clone()),
        Standing::Missing | Standing::Alias(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::standing;
    use super::*;

    #[test]
    fn an_alias_leaves_all_and_comes_to_one() {
        let alias = json!({"filter": {"term": {"x": 1}}, "is_write_index": true});
        let now = standing("a", &json!({"x-1": {"aliases": {"a": alias}}, "x-2": {"aliases": {"a": {}}}}));
        let change = Move::new("a", &now, "x-2", None);
        assert!(!change.is_made(&now));
        assert_eq!(
            change.body(),
            json!({"actions": [
                {"remove": {"index": "x-1", "alias": "a", "must_exist": true}},
                {"add": {"index": "x-2", "alias": "a", "filter": {"term": {"x": 1}}}},
            ]})
        );
        let made = standing("a", &json!({"x-2": {"aliases": {"a": {}}}}));
        assert!(Move::new("a", &made, "x-2", None).is_made(&made));
        let new = Move::new("a", &Standing::Missing, "x", Some(&json!({"routing": "1"})));
        assert_eq!(new.body(), json!({"actions": [{"add": {"index": "x", "alias": "a", "routing": "1"}}]}));
    }

    #[test]
    fn an_index_is_no_alias() {
        let index = standing("orders", &json!({"orders": {}}));
        let told = unusable_alias("orders", &index, "orders-v2").expect("a reason");
        assert!(
            told.contains("is an index itself") && told.contains(r#"{"remove_index":{"index":"orders"}}"#),
            "{told}"
        );
        assert_eq!(unusable_alias("orders", &Standing::Missing, "x"), None);
        assert!(unusable_alias("Orders", &Standing::Missing, "x").expect("a reason").contains("lower case"));
    }
}
