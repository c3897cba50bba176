//! What there is under a name.

use super::object;
use crate::index::unsuitable;
use serde_json::{Map, Value, json};

/// An index as the server tells of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Its own name.
    pub name: String,
    /// Flat, each with `index.` before it.
    pub settings: Map<String, Value>,
    /// Those that nobody has set.
    pub defaults: Map<String, Value>,
    /// Its mapping.
    pub mappings: Map<String, Value>,
    /// Its aliases.
    pub aliases: Map<String, Value>,
    /// Every parameter of each field, by the field's path.
    pub fields: Map<String, Value>,
}

impl State {
    /// Reads what `GET /NAME?flat_settings=true&include_defaults=true` says of one index.
    #[must_use]
    pub fn read(name: &str, index: &Value) -> Self {
        let part = |part: &str| object(index.get(part)).cloned().unwrap_or_default();
        Self {
            name: name.to_owned(),
            settings: part("settings"),
            defaults: part("defaults"),
            mappings: part("mappings"),
            aliases: part("aliases"),
            fields: Map::new(),
        }
    }

    /// Takes in what `GET /NAME/_mapping/field/*?include_defaults=true` says.
    pub(super) fn learn_fields(&mut self, answer: &Value) {
        let mappings = answer.get(&self.name).and_then(|index| index.get("mappings"));
        for (path, field) in object(mappings).into_iter().flatten() {
            let parameters = object(field.get("mapping")).and_then(|mapping| mapping.values().next());
            self.fields.extend(parameters.map(|parameters| (path.clone(), parameters.clone())));
        }
    }
}

/// What a name is.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Nothing.
    Missing,
    /// An index.
    Index(Box<State>),
    /// An alias of these indices; and why changes cannot go to it, where they cannot.
    Alias(Vec<State>, Option<String>),
    /// A data stream: what is wrong with that.
    DataStream(String),
}

impl Standing {
    /// Why changes by key cannot go there.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Missing | Self::Index(_) => None,
            Self::Alias(_, problem) => problem.clone(),
            Self::DataStream(problem) => Some(problem.clone()),
        }
    }

    /// What is wrong with a data stream of this name.
    #[must_use]
    pub fn stream(name: &str) -> String {
        unsuitable(name, &json!({name: {"data_stream": name}})).unwrap_or_default()
    }
}

/// What a name is, by the answer to [`State::read`]'s question.
#[must_use]
pub fn standing(name: &str, answer: &Value) -> Standing {
    let indices = object(Some(answer)).cloned().unwrap_or_default();
    if let Some(index) = indices.get(name).filter(|index| index.get("data_stream").is_none()) {
        return Standing::Index(Box::new(State::read(name, index)));
    }
    match unsuitable(name, answer) {
        Some(problem) if indices.values().any(|index| index.get("data_stream").is_some()) => {
            Standing::DataStream(problem)
        }
        _ if indices.is_empty() => Standing::Missing,
        problem => Standing::Alias(indices.iter().map(|(name, index)| State::read(name, index)).collect(), problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_is() {
        let index = json!({"aliases": {"a": {}}, "settings": {"index.number_of_shards": "1"}});
        let Standing::Index(state) = standing("x", &json!({"x": index})) else { panic!("no index") };
        assert_eq!((state.name.as_str(), state.settings["index.number_of_shards"].as_str()), ("x", Some("1")));
        let Standing::Alias(states, None) = standing("a", &json!({"x": index})) else { panic!("no alias") };
        assert_eq!(states[0].name, "x");
        let two = standing("a", &json!({"x": index, "y": index}));
        assert!(two.problem().expect("a problem").contains("2 indices"));
        let stream = standing("d", &json!({".ds-d-000001": {"data_stream": "d"}}));
        assert_eq!(stream, Standing::DataStream(Standing::stream("d")));
        assert_eq!(standing("x", &json!({})), Standing::Missing);
    }

    #[test]
    fn fields_with_all_their_parameters() {
        let mut state = State { name: "x".to_owned(), ..State::default() };
        state.learn_fields(&json!({"x": {"mappings": {
            "_id": {"full_name": "_id", "mapping": {}},
            "o.a": {"full_name": "o.a", "mapping": {"a": {"type": "keyword", "norms": false}}},
        }}}));
        assert_eq!(json!(state.fields), json!({"o.a": {"type": "keyword", "norms": false}}));
    }
}
