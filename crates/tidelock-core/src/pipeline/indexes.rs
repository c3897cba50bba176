//! `indexes`: how OpenSearch's indices are made.
//!
//! ```yaml
//! indexes:
//!   orders-v2:                # an index; with `*` a template for all that match
//!     settings: {number_of_shards: 3}
//!     mappings: {properties: {total: {type: double}}}
//!     aliases: {orders: {}}
//! ```
//!
//! What is inside is as OpenSearch's own API takes it, and is not looked into any further than a key's place demands.

use super::route::Route;
use super::{File, Pipeline, Problems, matches};
use crate::encode::MARK_FIELD;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An index as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIndex {
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    mappings: Map<String, Value>,
    #[serde(default)]
    aliases: Map<String, Value>,
}

/// What an index shall be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Index {
    /// Its name, in which `*` stands for any text.
    pub name: String,
    /// Flat or nested, with or without `index.` before them.
    pub settings: Map<String, Value>,
    /// `properties`, `dynamic` and what else a mapping has.
    pub mappings: Map<String, Value>,
    /// By name.
    pub aliases: Map<String, Value>,
}

impl Index {
    /// Whether it stands for every index that matches its name.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.name.contains('*')
    }
}

/// The indices that a pipeline describes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Indexes(Vec<Index>);

impl Indexes {
    /// No index is described.
    pub const NONE: &'static Self = &Self(Vec::new());

    /// Takes over what is written, and adds what is wrong with it to the problems.
    pub(super) fn read(raw: BTreeMap<String, RawIndex>, problems: &mut Problems<'_>) -> Self {
        let index = |(name, raw): (String, RawIndex)| {
            if let Some(words) = problem(&name, &raw) {
                problems.wrong(Problems::join("indexes", &name), words);
            }
            Index { name, settings: raw.settings, mappings: raw.mappings, aliases: raw.aliases }
        };
        Self(raw.into_iter().map(index).collect())
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Index> {
        self.0.iter()
    }

    /// What the index `name` shall be: the one of that name, else the longest pattern that matches.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Index> {
        let own = self.0.iter().find(|index| index.name == name);
        own.or_else(|| {
            let templates = self.0.iter().filter(|index| index.is_template() && matches(&index.name, name));
            templates.max_by_key(|index| index.name.len())
        })
    }
}

/// What would keep documents from staying where they are, or from being guarded.
fn problem(name: &str, raw: &RawIndex) -> Option<String> {
    if name.is_empty() || name.contains('?') {
        return Some("the name must not be empty, and only * stands for any text".to_owned());
    }
    if has_rollover(&raw.settings) {
        return Some(format!(
            "rollover_alias: {ROLLOVER}; leave it out, and divide by a field of the item (`to: orders-{{year}}`) instead"
        ));
    }
    let own = raw.mappings.get("properties").and_then(|properties| properties.get(MARK_FIELD));
    own.map(|_| format!("mappings.properties.{MARK_FIELD} is tidelock's own, which maps it itself; leave it out"))
}

/// Why nothing that is rolled over takes changes.
pub const ROLLOVER: &str =
    "after a rollover a key's older document lies in another index, where no version and no fence guards it";

fn has_rollover(settings: &Map<String, Value>) -> bool {
    settings.iter().any(|(name, value)| {
        name.ends_with("rollover_alias") && !value.is_null() || value.as_object().is_some_and(has_rollover)
    })
}

impl Pipeline {
    /// How indices are made.
    #[must_use]
    pub fn indexes(&self) -> &Indexes {
        self.file.as_ref().map_or(Indexes::NONE, |file| &file.indexes)
    }

    /// The pattern of the route that has made this place of an item's fields, with `*` for each; the place itself where a route
    /// leads to it directly.
    #[must_use]
    pub fn outline_of<'a>(&'a self, place: &'a str) -> &'a str {
        let (targets, _) = self.targets();
        if targets.contains(&place) {
            return place;
        }
        targets.into_iter().find(|outline| outline.contains('*') && matches(outline, place)).unwrap_or(place)
    }

    /// The `from` of every route that leads to this place whatever the item's fields are, by itself or by its `also`.
    #[must_use]
    pub fn sources(&self, place: &str) -> Vec<&str> {
        let Some(File { routes, .. }) = &self.file else { return Vec::new() };
        let leads = |route: &Route| match (&route.to, &route.from) {
            (Some(to), _) => to.fixed().is_some_and(|to| to.name == place),
            (None, Some(from)) => matches(from, place),
            (None, None) => false,
        };
        let mirrors = |route: &Route| route.also.iter().any(|&index| routes.get(index).is_some_and(leads));
        let leading = routes.iter().filter(|route| leads(route) || mirrors(route));
        leading.filter_map(|route| route.from.as_deref()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: &str = "
version: 1
routes:
  - {from: t, to: orders-v2}
  - {from: 'eu-*', to: 'orders-{country}'}
  - {from: 'own*'}
";

    #[test]
    fn the_own_name_comes_before_patterns_and_the_longest_pattern_before_others() {
        let text = format!(
            "{FILE}
indexes:
  orders-*: {{settings: {{number_of_shards: 1}}}}
  '*': {{}}
  orders-v2: {{mappings: {{dynamic: false, properties: {{a: {{type: keyword}}}}}}, aliases: {{orders: {{}}}}}}
"
        );
        let pipeline = Pipeline::parse(&text).expect("a pipeline");
        let of = |name: &str| pipeline.indexes().of(name).map(|index| index.name.as_str());
        assert_eq!((of("orders-v2"), of("orders-at"), of("x")), (Some("orders-v2"), Some("orders-*"), Some("*")));
        let index = pipeline.indexes().of("orders-v2").expect("an index");
        assert_eq!(json!(index.mappings), json!({"dynamic": false, "properties": {"a": {"type": "keyword"}}}));
        assert!(!index.is_template() && index.aliases.contains_key("orders"));
        assert_eq!(Pipeline::default().indexes().of("x"), None);
    }

    #[test]
    fn sources_of_a_place() {
        let pipeline = Pipeline::parse(FILE).expect("a pipeline");
        assert_eq!(pipeline.sources("orders-v2"), ["t"]);
        assert_eq!(pipeline.sources("own-1"), ["own*"]);
        assert!(pipeline.sources("orders-at").is_empty(), "fields decide");
        let mirrored = format!("{FILE}  - {{from: m, to: old, also: [new]}}\n  - {{name: new, to: orders-v3}}\n");
        assert_eq!(Pipeline::parse(&mirrored).expect("a pipeline").sources("orders-v3"), ["m"]);
        let outlines = ["orders-at", "orders-v2", "own-1"].map(|place| pipeline.outline_of(place));
        assert_eq!(outlines, ["orders-*", "orders-v2", "own-1"]);
    }

    #[test]
    fn what_cannot_be() {
        for (index, told) in [
            ("a: {settings: {index.lifecycle.rollover_alias: x}}", "indexes.a: rollover_alias: after a rollover"),
            ("a: {settings: {plugins: {index_state_management: {rollover_alias: x}}}}", "rollover_alias"),
            ("'a?': {}", "only *"),
            ("'': {}", "must not be empty"),
            ("a: {mappings: {properties: {_tidelock: {type: keyword}}}}", "is tidelock's own"),
            ("a: {data_stream: {}}", "data_stream"),
            ("a: {settings: 1}", "settings"),
        ] {
            let problems = Pipeline::parse(&format!("{FILE}indexes:\n  {index}\n")).expect_err(index);
            let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(problems.contains(told), "{problems}");
        }
    }
}
