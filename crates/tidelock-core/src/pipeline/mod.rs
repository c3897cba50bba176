//! The pipeline: which source goes where.
//!
//! ```yaml
//! version: 1
//! unmatched: filter            # filter | error
//! routes:
//!   - name: orders
//!     from: mytable            # the table's name; * and ? match
//!     where: .status == "paid" # which items; see `condition`
//!     to: shop.orders-{country} # index for OpenSearch, collection or database.collection for MongoDB
//!     shard_key: [country]     # fields of a sharded MongoDB collection's key
//!     on_outage: retry         # retry | hold | always_hold
//!     on_conflict: park        # park | salvage
//! indexes:                     # how OpenSearch's indices are made; see `indexes`
//!   paid: {mappings: {properties: {total: {type: double}}}}
//! ```
//!
//! The first route that matches wins, `where` included. An item that comes to match another route, or whose `to` changes,
//! leaves its old place. Without a pipeline every source goes to a target of its own name, as it is.

mod condition;
mod grammar;
mod indexes;
mod shape;
mod template;

use crate::cause::{Cause, Failure};
use crate::encode::MARK_FIELD;
use crate::image::{Field, Image};
use crate::target::{Namespaces, Place, ShardValue};
use crate::transform::{Otherwise, RawStep, Transform};
use condition::Condition;
use indexes::RawIndex;
pub use indexes::{Index, Indexes, ROLLOVER};
use serde::Deserialize;
pub(crate) use shape::document;
use std::collections::BTreeMap;
use template::Template;

/// What follows from an item, or from its source's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    /// To this place.
    To(Place),
    /// Left out.
    Filtered,
    /// There is no route and the pipeline says that there must be one, or no place can be made of the item.
    Refused(Failure),
}

/// A validated pipeline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pipeline {
    file: Option<File>,
    namespaces: Namespaces,
}

#[derive(Debug, Clone, PartialEq)]
struct File {
    unmatched: UnmatchedPolicy,
    routes: Vec<Route>,
    indexes: Indexes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnmatchedPolicy {
    #[default]
    Filter,
    Error,
}

impl UnmatchedPolicy {
    fn routed(self, name: &str) -> Routed {
        match self {
            Self::Filter => Routed::Filtered,
            Self::Error => Routed::Refused(Failure::new(Cause::Unmatched, format!("no route matches `{name}`"))),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Route {
    from: String,
    /// None: to a place of the source's own name.
    to: Option<Template>,
    condition: Option<Condition>,
    shard_key: Vec<Vec<String>>,
    policy: Policy,
    transform: Option<Transform>,
}

/// What a route wants done where a change cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// While the target cannot be reached.
    pub on_outage: OnOutage,
    /// When the target refuses a field.
    pub on_conflict: OnConflict,
}

/// See [`Policy::on_outage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOutage {
    /// The event source mapping repeats the change until it passes.
    #[default]
    Retry,
    /// The change goes to the fallback queue and counts as done; `redrive` applies it later.
    Hold,
    /// Every change goes to the fallback queue, whatever the target's state: `redrive` alone writes.
    AlwaysHold,
}

/// See [`Policy::on_conflict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The change is parked.
    #[default]
    Park,
    /// The document is written without the field, which is kept under `_rejected`, and a letter tells of it.
    Salvage,
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    version: u32,
    #[serde(default)]
    unmatched: UnmatchedPolicy,
    #[serde(default)]
    routes: Vec<RawRoute>,
    #[serde(default)]
    indexes: BTreeMap<String, RawIndex>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    /// For people.
    #[serde(default, rename = "name")]
    _name: Option<String>,
    from: String,
    to: Option<String>,
    #[serde(rename = "where")]
    condition: Option<String>,
    #[serde(default)]
    shard_key: Vec<String>,
    #[serde(default)]
    on_outage: OnOutage,
    #[serde(default)]
    on_conflict: OnConflict,
    on_missing: Option<Otherwise>,
    on_wrong_type: Option<Otherwise>,
    #[serde(default)]
    transform: Vec<RawStep>,
}

impl RawRoute {
    /// Adds what is wrong with it to the problems.
    fn read(self, index: usize, problems: &mut Vec<String>) -> Route {
        let mut wrong = |field: &str, problem: String| problems.push(format!("routes[{index}].{field}: {problem}"));
        if self.from.is_empty() {
            wrong("from", "must not be empty".to_owned());
        }
        let to = self.to.and_then(|to| grammar::template(&to).map_err(|problem| wrong("to", problem)).ok());
        let condition = self.condition.and_then(|text| {
            grammar::condition(&text).map_err(|problem| wrong("where", format!("{problem} in `{text}`"))).ok()
        });
        let mut shard_key: Vec<Vec<String>> = Vec::new();
        for field in self.shard_key {
            let path: Vec<String> = field.split('.').map(str::to_owned).collect();
            let twice = shard_key.contains(&path);
            // The document's own id stands in every filter anyway.
            if field == "_id" {
                continue;
            }
            if field == MARK_FIELD
                || field.starts_with("_id.")
                || path.iter().any(|name| name.is_empty() || name.starts_with('$') || name.contains('\0'))
                || twice
            {
                let why = if twice { "is there twice" } else { "is no field" };
                wrong("shard_key", format!("`{field}` {why}"));
            }
            shard_key.push(path);
        }
        let policy = Policy { on_outage: self.on_outage, on_conflict: self.on_conflict };
        let transform = match self.transform {
            steps if steps.is_empty() => None,
            steps => Transform::read(steps, self.on_missing, self.on_wrong_type)
                .map_err(|found| problems.extend(found.into_iter().map(|problem| format!("routes[{index}].{problem}"))))
                .ok(),
        };
        Route { from: self.from, to, condition, shard_key, policy, transform }
    }
}

impl Route {
    /// The place of every item of a source, where they all have the same.
    fn fixed(&self, name: &str, namespaces: &Namespaces) -> Option<Place> {
        let place = match &self.to {
            _ if !self.shard_key.is_empty() => None,
            Some(to) => to.fixed(),
            None => Some(Place::new(name.to_owned(), true)),
        };
        place.map(|place| place.within(namespaces))
    }

    fn place(&self, name: &str, image: &Image<'_>, namespaces: &Namespaces) -> Result<Place, Failure> {
        let mut place = match &self.to {
            Some(to) => to.place(image)?,
            None => Place::new(name.to_owned(), true),
        };
        for path in &self.shard_key {
            let field = path.join(".");
            let refused = |kind| {
                let detail = format!("field `{field}` is {kind}; a shard key needs text, number, boolean or null");
                Failure::new(Cause::Unroutable, detail)
            };
            // The server would look into each of the list's items.
            let inner = |length| path.get(..length).is_some_and(|path| image.field(path) == Field::Other("a list"));
            if (1..path.len()).any(inner) {
                return Err(refused("inside a list"));
            }
            let value = match image.field(path) {
                Field::Missing | Field::Null => ShardValue::Null,
                Field::Boolean(value) => ShardValue::Boolean(value),
                Field::Number(text) => ShardValue::Number(text.into_owned()),
                Field::Text(text) => ShardValue::Text(text.into_owned()),
                Field::Other(kind) => return Err(refused(kind)),
            };
            place.shard_key.push((field, value));
        }
        Ok(place.within(namespaces))
    }
}

/// The routes that a source's items may take.
#[derive(Debug, Clone, PartialEq)]
pub enum Rules<'p> {
    /// The same for all of them; and what becomes of their fields.
    Same(Routed, Option<&'p Transform>),
    /// It depends on the item.
    ByItem(ItemRules<'p>),
}

/// See [`Rules::ByItem`].
#[derive(Debug, Clone, PartialEq)]
pub struct ItemRules<'p> {
    name: String,
    namespaces: &'p Namespaces,
    /// In order; none behind the first that takes every item.
    routes: Vec<&'p Route>,
    unmatched: UnmatchedPolicy,
    /// Every place that an item may have; `None` where they depend on its fields.
    places: Option<Vec<Place>>,
}

impl Rules<'_> {
    /// Where an item goes.
    #[must_use]
    pub fn locate(&self, image: &Image<'_>) -> Routed {
        match self {
            Self::Same(routed, _) => routed.clone(),
            Self::ByItem(rules) => rules.locate(image),
        }
    }

    /// What becomes of an item's fields.
    #[must_use]
    pub fn transform(&self, image: &Image<'_>) -> Option<&Transform> {
        match self {
            Self::Same(_, transform) => *transform,
            Self::ByItem(rules) => {
                let takes = |route: &&&Route| {
                    route.condition.as_ref().is_none_or(|condition| condition.holds(image) == Ok(true))
                };
                rules.routes.iter().find(takes).and_then(|route| route.transform.as_ref())
            }
        }
    }
}

impl ItemRules<'_> {
    /// Where an item goes.
    #[must_use]
    pub fn locate(&self, image: &Image<'_>) -> Routed {
        for route in &self.routes {
            match route.condition.as_ref().map_or(Ok(true), |condition| condition.holds(image)) {
                Err(failure) => return Routed::Refused(failure),
                Ok(false) => {}
                Ok(true) => {
                    return route.place(&self.name, image, self.namespaces).map_or_else(Routed::Refused, Routed::To);
                }
            }
        }
        self.unmatched.routed(&self.name)
    }

    /// Every place that an item may have; `None` where they depend on its fields.
    #[must_use]
    pub fn places(&self) -> Option<&[Place]> {
        self.places.as_deref()
    }
}

/// Every place that the routes lead to; `None` where one depends on the item's fields.
fn fixed_places(routes: &[&Route], name: &str, namespaces: &Namespaces) -> Option<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    for route in routes {
        let place = route.fixed(name, namespaces)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Some(places)
}

impl Pipeline {
    /// Reads a pipeline from YAML or JSON text.
    ///
    /// # Errors
    /// All problems found, each with its place where it has one.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let file: RawFile = serde_norway::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut problems = Vec::new();
        if file.version != 1 {
            problems.push(format!("version {} is not known; this tidelock reads version 1", file.version));
        }
        if file.routes.is_empty() {
            problems.push("routes: there must be at least one".to_owned());
        }
        let routes: Vec<Route> =
            file.routes.into_iter().enumerate().map(|(index, route)| route.read(index, &mut problems)).collect();
        for (index, route) in routes.iter().enumerate() {
            let takes_all = |earlier: &Route| earlier.condition.is_none() && matches(&earlier.from, &route.from);
            if let Some(first) = routes.iter().take(index).position(takes_all) {
                problems.push(format!(
                    "routes[{index}].from: `{}` is never reached: routes[{first}] matches it",
                    route.from
                ));
            }
        }
        let indexes = Indexes::read(file.indexes, &mut problems);
        let file = File { unmatched: file.unmatched, routes, indexes };
        let (file, namespaces) = (Some(file), Namespaces::AsWritten);
        if problems.is_empty() { Ok(Self { file, namespaces }) } else { Err(problems) }
    }

    /// The pipeline for a target: names that are one place to it become one.
    #[must_use]
    pub fn within(self, namespaces: Namespaces) -> Self {
        Self { namespaces, ..self }
    }

    /// Every `to` of the routes, with `*` for fields, and whether some source goes to a target of its own name.
    pub fn targets(&self) -> (Vec<&str>, bool) {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let own_name = self.file.is_none() || routes.iter().any(|route| route.to.is_none());
        (routes.iter().filter_map(|route| route.to.as_ref().map(Template::outline)).collect(), own_name)
    }

    /// Whether some route has a shard key, which only MongoDB knows.
    #[must_use]
    pub fn has_shard_keys(&self) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| !route.shard_key.is_empty())
    }

    /// Whether some route has a policy that `wanted` finds.
    #[must_use]
    pub fn has(&self, wanted: impl Fn(&Policy) -> bool) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| wanted(&route.policy))
    }

    /// What the route of an item of the source `name` wants. `images` are the item's, the new one first: the first that takes a
    /// route decides. Where none does, all routes that it might have taken must want the same.
    #[must_use]
    pub fn policy<'i>(&self, name: &str, images: impl IntoIterator<Item = Image<'i>>) -> Policy {
        let Some(file) = &self.file else { return Policy::default() };
        let routes = || file.routes.iter().filter(|route| matches(&route.from, name));
        let takes = |image: &Image<'_>| {
            routes().find(|route| route.condition.as_ref().is_none_or(|condition| condition.holds(image) == Ok(true)))
        };
        if let Some(route) = images.into_iter().find_map(|image| takes(&image)) {
            return route.policy;
        }
        self.common_policy(name).unwrap_or_default()
    }

    /// What every route wants that items of the source `name` may take; `None` where they differ.
    #[must_use]
    pub fn common_policy(&self, name: &str) -> Option<Policy> {
        let routes = self.file.iter().flat_map(|file| &file.routes).filter(|route| matches(&route.from, name));
        let mut policies = routes.map(|route| route.policy);
        let first = policies.next().unwrap_or_default();
        policies.all(|policy| policy == first).then_some(first)
    }

    /// The routes that items of the source `name` may take.
    #[must_use]
    pub fn rules(&self, name: &str) -> Rules<'_> {
        let Some(file) = &self.file else {
            return Rules::Same(Routed::To(Place::new(name.to_owned(), true).within(&self.namespaces)), None);
        };
        let mut routes: Vec<&Route> = file.routes.iter().filter(|route| matches(&route.from, name)).collect();
        let all = routes.iter().position(|route| route.condition.is_none());
        routes.truncate(all.map_or(routes.len(), |all| all + 1));
        if routes.is_empty() {
            return Rules::Same(file.unmatched.routed(name), None);
        }
        let takes_all = matches!(routes.as_slice(), [only] if only.condition.is_none());
        let transform = routes.first().and_then(|route| route.transform.as_ref());
        match (fixed_places(&routes, name, &self.namespaces), takes_all) {
            (Some(mut places), true) => Rules::Same(places.pop().map_or(Routed::Filtered, Routed::To), transform),
            (places, _) => Rules::ByItem(ItemRules {
                name: name.to_owned(),
                namespaces: &self.namespaces,
                routes,
                unmatched: file.unmatched,
                places,
            }),
        }
    }
}

/// Whether `name` matches a pattern in which `*` stands for any text and `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // The greedy match with one point to return to is linear in practice and never exponential.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "order", false),
            ("*", "", true),
            ("o*s", "orders", true),
            ("o*s*", "orders", true),
            ("o?ders", "orders", true),
            ("?", "", false),
            ("*a*b", "xxaxxab", true),
            ("*a*b", "xxaxxabc", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    fn to(name: &str, literal: bool) -> Routed {
        Routed::To(Place::new(name.to_owned(), literal))
    }

    fn same(pipeline: &Pipeline, name: &str) -> Routed {
        match pipeline.rules(name) {
            Rules::Same(routed, _) => routed,
            Rules::ByItem(rules) => panic!("{rules:?}"),
        }
    }

    fn located(rules: &Rules<'_>, item: &str) -> Routed {
        rules.locate(&Image { notation: crate::image::Notation::DynamoDb, bytes: item.as_bytes() })
    }

    #[test]
    fn first_match_wins_and_the_rest_is_filtered_or_refused() {
        let text = "version: 1\nroutes:\n  - {name: o, from: 'orders-*', to: orders}\n  - {from: customers}\n";
        let pipeline = Pipeline::parse(text).expect("valid");
        assert_eq!(same(&pipeline, "orders-eu"), to("orders", false));
        assert_eq!(same(&pipeline, "customers"), to("customers", true));
        assert_eq!(same(&pipeline, "other"), Routed::Filtered);
        let strict = Pipeline::parse(&format!("unmatched: error\n{text}")).expect("valid");
        assert!(matches!(same(&strict, "other"), Routed::Refused(_)));
        assert_eq!(same(&Pipeline::default(), "other"), to("other", true));
    }

    #[test]
    fn where_and_fields_decide_item_by_item() {
        let text = r#"
version: 1
routes:
  - {from: orders, where: .status == "paid", to: "paid-{country}"}
  - {from: orders, where: .status == "new"}
  - {from: customers, to: people, shard_key: [country, address.zip]}
"#;
        let pipeline = Pipeline::parse(text).expect("valid");
        let orders = pipeline.rules("orders");
        assert_eq!(located(&orders, r#"{"status":{"S":"paid"},"country":{"S":"at"}}"#), to("paid-at", true));
        assert_eq!(located(&orders, r#"{"status":{"S":"new"}}"#), to("orders", true));
        assert_eq!(located(&orders, "{}"), Routed::Filtered);
        assert!(
            matches!(located(&orders, r#"{"status":{"S":"paid"}}"#), Routed::Refused(failure) if failure.cause == Cause::Unroutable)
        );
        assert_eq!(located(&orders, r#"{"status":{"S":"paid"},"country":{"S":"at"}}"#), to("paid-at", true));
        let customers = pipeline.rules("customers");
        let item = r#"{"country":{"S":"at"},"address":{"M":{"zip":{"N":"1010"}}}}"#;
        let mut place = Place::new("people".to_owned(), false);
        place.shard_key = vec![
            ("country".to_owned(), ShardValue::Text("at".to_owned())),
            ("address.zip".to_owned(), ShardValue::Number("1010".to_owned())),
        ];
        assert_eq!(located(&customers, item), Routed::To(place));
        assert!(matches!(located(&customers, r#"{"country":{"L":[]}}"#), Routed::Refused(_)));
    }

    #[test]
    fn places_are_known_only_where_no_field_makes_them() {
        let places = |routes: &str| {
            let pipeline = Pipeline::parse(&format!("version: 1\nroutes: [{routes}]")).expect(routes);
            match pipeline.rules("t") {
                Rules::ByItem(rules) => {
                    rules.places().map(|places| places.iter().map(|place| place.name.clone()).collect())
                }
                Rules::Same(routed, _) => panic!("{routed:?}"),
            }
        };
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(places("{from: t, where: .a, to: x}, {from: t, where: .b}"), names(&["x", "t"]));
        assert_eq!(places("{from: t, where: .a, to: x}, {from: '*', to: x}"), names(&["x"]));
        assert_eq!(places("{from: t, to: 'x-{a}'}"), None);
        assert_eq!(places("{from: t, to: x, shard_key: [a]}"), None);
        // Behind a route that takes every item there is none.
        assert_eq!(places("{from: t, where: .a, to: x}, {from: '*', to: y}"), names(&["x", "y"]));
    }

    #[test]
    fn a_route_says_what_becomes_of_what_cannot_be_applied() {
        let text = r#"
version: 1
routes:
  - {from: orders, where: .status == "paid", to: paid, on_outage: hold, on_conflict: salvage}
  - {from: orders, to: rest}
  - {from: far, on_outage: always_hold}
"#;
        let pipeline = Pipeline::parse(text).expect("valid");
        let image = |bytes: &'static str| Image { notation: crate::image::Notation::DynamoDb, bytes: bytes.as_bytes() };
        let outage = |name, images: &[&'static str]| pipeline.policy(name, images.iter().map(|i| image(i))).on_outage;
        let (paid, new) = (r#"{"status":{"S":"paid"}}"#, r#"{"status":{"S":"new"}}"#);
        assert_eq!(pipeline.policy("orders", [image(paid)]).on_conflict, OnConflict::Salvage);
        assert_eq!(outage("orders", &[paid]), OnOutage::Hold);
        assert_eq!(outage("orders", &[new, paid]), OnOutage::Retry, "the new image's route");
        assert_eq!(outage("orders", &[]), OnOutage::Retry, "nobody knows which");
        assert_eq!(outage("far", &[]), OnOutage::AlwaysHold);
        assert_eq!(outage("unknown", &[paid]), OnOutage::Retry);
        assert!(pipeline.has(|policy| policy.on_outage == OnOutage::AlwaysHold) && !Pipeline::default().has(|_| true));
    }

    #[test]
    fn says_all_that_is_wrong() {
        let problems = Pipeline::parse("version: 2\nroutes: [{from: '*'}, {from: a, to: ''}]").expect_err("invalid");
        assert_eq!(problems.len(), 3, "{problems:?}");
        let text = "version: 1\nroutes: [{from: a, to: '{x', where: .a =, shard_key: [b, b, '$c']}]";
        let problems = Pipeline::parse(text).expect_err("invalid");
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[1].starts_with("routes[0].where: character 4"), "{problems:?}");
        let unknown = Pipeline::parse("version: 1\nroutes: [{form: a}]").expect_err("invalid");
        assert!(unknown[0].contains("form") && unknown[0].contains("line"), "{unknown:?}");
    }
}
