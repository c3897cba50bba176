//! What has to be done so that an index, or a template, is as the pipeline wants it.

use super::mapping::compare;
use super::object;
use super::settings::{flat, is_same, is_static, told};
use super::state::State;
use crate::index::{check_name, own_fields, path_segment, with_own_fields};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tidelock_core::pipeline::Index;

/// Templates of tidelock stand above others; the longest pattern above the rest.
const PRIORITY: usize = 1_000;

/// One request that changes something.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it does, for people.
    pub told: Vec<String>,
    pub(super) path: String,
    pub(super) body: Value,
    /// It makes an index.
    pub creates: bool,
}

impl Step {
    /// Leaves an alias out; a step that was nothing else tells of nothing any more.
    pub fn without_alias(&mut self, alias: &str) {
        let told = format!("alias `{alias}` ");
        self.told.retain(|line| !line.starts_with(&told));
        if self.creates
            && let Some(Value::Object(aliases)) = self.body.get_mut("aliases")
        {
            aliases.remove(alias);
        }
    }
}

/// Something that cannot be done in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it is about.
    pub what: String,
    /// Why it cannot be done.
    pub why: String,
    /// What can be done instead.
    pub way_out: String,
}

/// What has to be done for one index or template.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The index, or `template NAME`.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
    /// What stays as it is.
    pub refusals: Vec<Refusal>,
    /// What is there beyond what is wanted.
    pub notes: Vec<String>,
}

impl Plan {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Nothing can be done for a name that takes no changes.
    #[must_use]
    pub fn unsuitable(name: &str, problem: &str) -> Self {
        let mut plan = Self::new(name);
        plan.refuse("the name", problem, "name an index of its own in `to` and in `indexes`");
        plan
    }

    /// Nothing is to be done, and nothing stands against it.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.steps.is_empty() && self.refusals.is_empty()
    }

    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let changes: Vec<&String> = self.steps.iter().flat_map(|step| &step.told).collect();
        let refused = |Refusal { what, why, way_out }: &Refusal| json!({"what": what, "why": why, "way_out": way_out});
        let refused: Vec<Value> = self.refusals.iter().map(refused).collect();
        json!({"index": self.name, "changes": changes, "refused": refused, "notes": self.notes})
    }

    fn refuse(&mut self, what: &str, why: impl Into<String>, way_out: impl Into<String>) {
        self.refusals.push(Refusal { what: what.to_owned(), why: why.into(), way_out: way_out.into() });
    }
}

fn swap(name: &str) -> String {
    format!(
        "describe a new index in `indexes` (say `{}`), lead a route to it, then `tidelock index swap ALIAS --to` it",
        successor(name)
    )
}

/// `orders` → `orders-v2`, `orders-v2` → `orders-v3`.
fn successor(name: &str) -> String {
    let numbered = name.rsplit_once("-v").and_then(|(front, number)| Some((front, number.parse::<u32>().ok()?)));
    match numbered {
        Some((front, number)) => format!("{front}-v{}", number.saturating_add(1)),
        None => format!("{name}-v2"),
    }
}

/// What has to be done for the index `name`. `holders`: which indices hold the aliases it shall have.
#[must_use]
pub fn index_plan(
    name: &str,
    wanted: &Index,
    state: Option<&State>,
    holders: &BTreeMap<String, Vec<String>>,
    salvage: bool,
) -> Plan {
    let mut plan = Plan::new(name);
    if let Err(problem) = check_name(name) {
        plan.refuse("the name", problem, "give it another name");
        return plan;
    }
    let path = path_segment(name);
    let mappings = with_own_fields(&wanted.mappings, own_fields(salvage));
    let mut aliases = Map::new();
    for (alias, definition) in &wanted.aliases {
        let others: Vec<&str> =
            holders.get(alias).into_iter().flatten().map(String::as_str).filter(|held| *held != name).collect();
        // Where fields choose the index, the alias stands for all of them.
        if others.is_empty() || wanted.is_template() {
            aliases.insert(alias.clone(), definition.clone());
        } else {
            plan.refuse(
                &format!("alias `{alias}`"),
                format!("{} holds it, and searches would see both", others.join(", ")),
                format!("`tidelock index swap {alias} --to {name}` moves it when the index is filled"),
            );
        }
    }
    let Some(state) = state else {
        let mut told = vec![format!("created: {}", contents(wanted))];
        told.extend(aliases.keys().map(|alias| format!("alias `{alias}` added")));
        let body = json!({"settings": wanted.settings, "mappings": mappings, "aliases": aliases});
        plan.steps.push(Step { told, path: format!("/{path}"), body, creates: true });
        return plan;
    };
    let step = |told: Vec<String>, path: String, body: Value| Step { told, path, body, creates: false };
    let (mut told_of, mut put) = (Vec::new(), Map::new());
    for (setting, value) in flat(&wanted.settings) {
        let now = state.settings.get(&setting).or_else(|| state.defaults.get(&setting));
        if now.is_some_and(|now| is_same(now, &value)) {
            continue;
        }
        let shown = now.map_or_else(|| "not set".to_owned(), told);
        if is_static(&setting) {
            let why = format!("it is {shown}, and is {} only in a new index", told(&value));
            plan.refuse(&setting, why, swap(name));
        } else {
            told_of.push(format!("{setting} {shown} → {}", told(&value)));
            put.insert(setting, value);
        }
    }
    if !put.is_empty() {
        plan.steps.push(step(told_of, format!("/{path}/_settings"), Value::Object(put)));
    }
    let wanted_mappings = object(Some(&mappings)).cloned().unwrap_or_default();
    let difference = compare(&wanted_mappings, &state.mappings, &state.fields);
    for (what, why) in difference.refused {
        plan.refuse(&what, why, swap(name));
    }
    if !difference.put.is_empty() {
        plan.steps.push(step(difference.told, format!("/{path}/_mapping"), Value::Object(difference.put)));
    }
    for (alias, definition) in aliases {
        let now = state.aliases.get(&alias);
        if now.is_some_and(|now| is_same(now, &alias_form(&definition))) {
            continue;
        }
        let what = if now.is_some() { "changed" } else { "added" };
        let path = format!("/{path}/_alias/{}", path_segment(&alias));
        plan.steps.push(step(vec![format!("alias `{alias}` {what}")], path, definition));
    }
    plan.notes = difference.more.into_iter().map(|field| format!("{field} is not in the file")).collect();
    plan
}

/// An alias as the server tells of it.
fn alias_form(definition: &Value) -> Value {
    let mut form = object(Some(definition)).cloned().unwrap_or_default();
    if let Some(routing) = form.remove("routing") {
        form.entry("index_routing").or_insert_with(|| routing.clone());
        form.entry("search_routing").or_insert(routing);
    }
    Value::Object(form)
}

fn contents(wanted: &Index) -> String {
    let fields = object(wanted.mappings.get("properties")).map_or(0, Map::len);
    format!("{} settings, {fields} fields", flat(&wanted.settings).len())
}

/// The name of the template for a pattern.
#[must_use]
pub fn template_name(pattern: &str) -> String {
    format!("tidelock-{}", pattern.replace('*', "~"))
}

/// What has to be done for a template, of which the server tells `found`.
#[must_use]
pub fn template_plan(wanted: &Index, found: Option<&Value>, salvage: bool) -> Plan {
    let name = template_name(&wanted.name);
    let mut plan = Plan::new(format!("template {name}"));
    if let Err(problem) = check_name(&wanted.name.replace('*', "x")) {
        plan.refuse("the name", problem, "give it another name");
        return plan;
    }
    let body = json!({
        "index_patterns": [wanted.name],
        "priority": PRIORITY + wanted.name.len(),
        "template": {
            "settings": flat(&wanted.settings),
            "mappings": with_own_fields(&wanted.mappings, own_fields(salvage)),
            "aliases": wanted.aliases,
        },
    });
    let part = |of: &Value, part: &str| of.get("template").and_then(|template| template.get(part)).cloned();
    let is_equal = |found: &Value| {
        let aliases = |of: &Value| {
            let aliases = part(of, "aliases").unwrap_or_else(|| json!({}));
            let forms = object(Some(&aliases)).into_iter().flatten();
            Value::Object(forms.map(|(alias, definition)| (alias.clone(), alias_form(definition))).collect())
        };
        let settings = |of: &Value| Value::Object(flat(object(part(of, "settings").as_ref()).unwrap_or(&Map::new())));
        found.get("index_patterns") == body.get("index_patterns")
            && found.get("priority") == body.get("priority")
            && found.get("data_stream").is_none()
            && found.get("composed_of").is_none_or(|parts| parts.as_array().is_none_or(Vec::is_empty))
            && is_same(&settings(found), &settings(&body))
            && is_same(&part(found, "mappings").unwrap_or_default(), &part(&body, "mappings").unwrap_or_default())
            && is_same(&aliases(found), &aliases(&body))
    };
    let told = match found {
        Some(found) if is_equal(found) => return plan,
        Some(_) => format!("changed, for indices that are made from now on: {}", contents(wanted)),
        None => format!("created, for `{}`: {}", wanted.name, contents(wanted)),
    };
    let path = format!("/_index_template/{}", path_segment(&name));
    plan.steps.push(Step { told: vec![told], path, body, creates: false });
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::pipeline::Pipeline;

    fn index(text: &str) -> Index {
        let text = format!("{{version: 1, routes: [{{from: t, to: x}}], indexes: {{{text}}}}}");
        Pipeline::parse(&text).expect("a pipeline").indexes().iter().next().expect("an index").clone()
    }

    const ORDERS: &str = "orders-v2: {settings: {number_of_shards: 3, refresh_interval: 30s, analysis: {analyzer: {a: {type: english}}}},
        mappings: {properties: {n: {type: long}}}, aliases: {orders: {routing: x}}}";

    fn holders(index: &str) -> BTreeMap<String, Vec<String>> {
        BTreeMap::from([("orders".to_owned(), vec![index.to_owned()])])
    }

    #[test]
    fn an_index_that_is_missing_is_made_whole() {
        let plan = index_plan("orders-v2", &index(ORDERS), None, &BTreeMap::new(), false);
        let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
        assert_eq!(step.told, ["created: 3 settings, 1 fields", "alias `orders` added"]);
        assert_eq!((step.path.as_str(), step.creates), ("/orders-v2", true));
        assert_eq!(
            step.body["mappings"]["properties"],
            json!({"n": {"type": "long"}, "_tidelock": {"type": "object", "enabled": false}})
        );
        assert_eq!(step.body["aliases"], json!({"orders": {"routing": "x"}}));
        let beside = index_plan("orders-v2", &index(ORDERS), None, &holders("orders-v1"), false);
        assert_eq!(beside.steps[0].body["aliases"], json!({}), "it would stand for both");
        assert!(beside.refusals[0].way_out.contains("tidelock index swap orders --to orders-v2"), "{beside:?}");
    }

    #[test]
    fn what_can_be_changed_is_and_the_rest_is_refused_with_the_way_out() {
        let mut state = State::read(
            "orders-v2",
            &json!({
                "settings": {"index.number_of_shards": "1", "index.uuid": "x"}, "defaults": {"index.refresh_interval": "1s"},
                "mappings": {"properties": {"n": {"type": "text"}, "m": {"type": "text"}}}, "aliases": {},
            }),
        );
        let plan = index_plan("orders-v2", &index(ORDERS), Some(&state), &holders("orders-v2"), false);
        let told: Vec<&str> = plan.steps.iter().flat_map(|step| &step.told).map(String::as_str).collect();
        assert_eq!(
            told,
            ["index.refresh_interval 1s → 30s", "field `_tidelock` (object) added", "alias `orders` added"]
        );
        let refused: Vec<&str> = plan.refusals.iter().map(|refusal| refusal.what.as_str()).collect();
        assert_eq!(refused, ["index.analysis.analyzer.a.type", "index.number_of_shards", "field `n`"]);
        assert!(plan.refusals.iter().all(|refusal| refusal.way_out.contains("`orders-v3`")), "{plan:?}");
        assert_eq!(plan.notes, ["field `m` (text) is not in the file"]);
        assert_eq!(plan.as_json()["refused"][2]["why"], "it is text, and a field's type never changes to long");
        // As it is once all has been done.
        state = State::read(
            "orders-v2",
            &json!({
                "settings": {"index.number_of_shards": "3", "index.refresh_interval": "30s", "index.analysis.analyzer.a.type": "english"},
                "mappings": {"properties": {"n": {"type": "long"}, "_tidelock": {"type": "object", "enabled": false}}},
                "aliases": {"orders": {"index_routing": "x", "search_routing": "x"}},
            }),
        );
        let plan = index_plan("orders-v2", &index(ORDERS), Some(&state), &holders("orders-v2"), false);
        assert!(plan.is_equal(), "{plan:?}");
        state.mappings = Map::from_iter([(
            "properties".to_owned(),
            json!({"n": {"type": "long"}, "_tidelock": {"properties": {}}}),
        )]);
        let plan = index_plan("orders-v2", &index(ORDERS), Some(&state), &holders("orders-v2"), false);
        assert_eq!(plan.refusals[0].what, "field `_tidelock`", "a mark that is searched is not silently left");
    }

    #[test]
    fn templates_are_compared_whatever_the_notation() {
        let wanted =
            index("'orders-*': {settings: {number_of_shards: 3}, mappings: {dynamic: strict}, aliases: {orders: {}}}");
        let plan = template_plan(&wanted, None, false);
        assert_eq!(plan.name, "template tidelock-orders-~");
        let found = json!({
            "index_patterns": ["orders-*"], "priority": 1_008, "composed_of": [],
            "template": {
                "settings": {"index.number_of_shards": "3"},
                "mappings": {"dynamic": "strict", "properties": {"_tidelock": {"type": "object", "enabled": false}}},
                "aliases": {"orders": {}},
            },
        });
        assert!(template_plan(&wanted, Some(&found), false).is_equal());
        assert!(!template_plan(&wanted, Some(&found), true).is_equal(), "`_rejected` is missing");
        let mut other = found;
        other["template"]["settings"]["index.number_of_shards"] = json!("1");
        assert!(template_plan(&wanted, Some(&other), false).steps[0].told[0].starts_with("changed"));
    }

    #[test]
    fn successors() {
        for (name, next) in [("orders", "orders-v2"), ("orders-v2", "orders-v3"), ("a-vx", "a-vx-v2")] {
            assert_eq!(successor(name), next);
        }
    }
}
