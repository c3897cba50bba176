//! A pipeline's file, checked whole: its shape, and its meaning.

use super::commands::deletable;
use super::file::{Mark, Member, Node, Problem, Problems, Severity, Value, deserialize, read};
use super::format::validate;
use super::route::{Route, link};
use super::{File, Indexes, Pipeline, RawIndex, RawRoute, Template, UnmatchedPolicy, matches};
use crate::encode::Format;
use crate::target::Namespaces;
use std::collections::{BTreeMap, HashMap};

/// More routes are not looked at.
const MAX_ROUTES: usize = 2_000;

/// What has come of a file.
#[derive(Debug)]
pub struct Checked {
    pipeline: Option<Pipeline>,
    tree: Option<Node>,
    problems: Vec<Problem>,
}

/// Something of a pipeline that a target refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of what, such as `routes[2].to`; empty where the pipeline does not say it, or there is none.
    pub path: String,
    /// Why.
    pub words: String,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination<'p> {
    /// Which route, from zero.
    pub route: usize,
    /// The name of its sources, as written; empty where only the `also` of others leads there.
    pub from: &'p str,
    /// Its target, as written; `None`: a target of the source's own name.
    pub to: Option<&'p str>,
}

impl Destination<'_> {
    /// The path of its name in the file, or of its route.
    #[must_use]
    pub fn path(&self) -> String {
        let part = if self.to.is_some() { "to" } else { "from" };
        format!("routes[{}].{part}", self.route)
    }

    /// A name such as it leads to: with an `x` where fields and any texts stand.
    #[must_use]
    pub fn sample(&self) -> String {
        let Some(to) = self.to else { return self.from.replace(['*', '?'], "x") };
        let mut name = String::new();
        let mut rest = to;
        while let Some((fixed, field)) = rest.split_once('{') {
            name.push_str(fixed);
            name.push('x');
            rest = field.split_once('}').map_or("", |(_, rest)| rest);
        }
        name + rest
    }
}

impl Checked {
    /// What has come of a file's bytes, which may be no text.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Pipeline::check(text),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok());
                let mark = end(valid.unwrap_or_default());
                let problem = Problem::error(mark, "this is no text: the file must be UTF-8".to_owned());
                Self { pipeline: None, tree: None, problems: vec![problem] }
            }
        }
    }

    /// All problems, in the file's order.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The pipeline; `None` where it cannot be used.
    #[must_use]
    pub fn pipeline(&self) -> Option<&Pipeline> {
        self.pipeline.as_ref()
    }

    /// Adds what a target refuses.
    pub fn refuse(&mut self, refusals: impl IntoIterator<Item = Refusal>) {
        let Some(tree) = &self.tree else { return };
        let mut problems = Problems::new(tree, std::mem::take(&mut self.problems));
        for Refusal { path, words } in refusals {
            problems.wrong(path, words);
        }
        self.problems = problems.found;
        self.order();
    }

    /// The pipeline, where nothing is wrong with it.
    ///
    /// # Errors
    /// All problems found, in the file's order.
    pub fn usable(self) -> Result<Pipeline, Vec<Problem>> {
        let Self { pipeline, problems, .. } = self;
        match pipeline {
            Some(pipeline) if problems.iter().all(|problem| problem.severity != Severity::Error) => Ok(pipeline),
            _ => Err(problems.into_iter().filter(|problem| problem.severity == Severity::Error).collect()),
        }
    }

    fn order(&mut self) {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
    }
}

impl Pipeline {
    /// Reads a pipeline from YAML or JSON text and tells of everything that is wrong or suspicious.
    #[must_use]
    pub fn check(text: &str) -> Checked {
        let (tree, problems) = read(text);
        let (pipeline, problems) = match &tree {
            Some(tree) => meaning(tree, problems),
            None => (None, problems),
        };
        let mut checked = Checked { pipeline, tree, problems };
        checked.order();
        checked
    }

    /// Whether it has been read from a file; without one, every source goes to a target of its own name.
    #[must_use]
    pub fn has_routes(&self) -> bool {
        self.file.is_some()
    }

    /// Where the routes lead, in their order.
    pub fn destinations(&self) -> impl Iterator<Item = Destination<'_>> {
        self.file.iter().flat_map(|file| &file.routes).enumerate().map(|(route, own)| Destination {
            route,
            from: own.from.as_deref().unwrap_or_default(),
            to: own.to.as_ref().map(Template::text),
        })
    }

    /// What of the pipeline documents of a format cannot hold.
    #[must_use]
    pub fn unwritable(&self, format: Format) -> Vec<Refusal> {
        let routes = self.file.iter().flat_map(|file| &file.routes).enumerate();
        let found = routes.flat_map(|(index, route)| {
            let values = route.transform.iter().flat_map(|transform| transform.unwritable(format));
            values.map(move |(path, words)| Refusal { path: format!("routes[{index}].{path}"), words })
        });
        found.collect()
    }

    /// What routes have that is for MongoDB alone.
    #[must_use]
    pub fn of_mongodb_alone(&self) -> Vec<Refusal> {
        self.refused("MongoDB", |route| vec![(!route.shard_key.is_empty(), "shard_key")])
    }

    /// What routes have that is for OpenSearch alone.
    #[must_use]
    pub fn of_opensearch_alone(&self) -> Vec<Refusal> {
        self.refused("OpenSearch", |route| {
            vec![(route.routing.is_some(), "routing"), (route.manner.ingest_pipeline.is_some(), "ingest_pipeline")]
        })
    }

    /// Indices, where the target has none.
    #[must_use]
    pub fn of_indexes(&self) -> Option<Refusal> {
        let words = "is for OpenSearch alone; leave it out for this target".to_owned();
        self.indexes().iter().next().map(|_| Refusal { path: "indexes".to_owned(), words })
    }

    fn refused(&self, kind: &str, has: impl Fn(&Route) -> Vec<(bool, &'static str)>) -> Vec<Refusal> {
        let routes = self.file.iter().flat_map(|file| &file.routes).enumerate();
        let words = format!("is for {kind} alone; leave it out for this target");
        let found = routes.flat_map(|(index, route)| has(route).into_iter().map(move |found| (index, found)));
        let found = found.filter(|(_, (found, _))| *found);
        found
            .map(|(index, (_, field))| Refusal { path: format!("routes[{index}].{field}"), words: words.clone() })
            .collect()
    }
}

/// What the file means; problems of its shape come first.
fn meaning(tree: &Node, mut problems: Vec<Problem>) -> (Option<Pipeline>, Vec<Problem>) {
    let mut sound = tree.clone();
    let usable = validate(&mut sound, &mut problems);
    let mut problems = Problems::new(tree, problems);
    let unmatched = match sound.member("unmatched").map(|member| deserialize(&member.node)) {
        Some(Ok(policy)) => policy,
        Some(Err(words)) => {
            problems.wrong("unmatched", words);
            UnmatchedPolicy::default()
        }
        None => UnmatchedPolicy::default(),
    };
    let mut indexes = BTreeMap::new();
    if let Some(Value::Map(members)) = sound.member("indexes").map(|member| &member.node.value) {
        for Member { name, node, .. } in members {
            match deserialize::<RawIndex>(node) {
                Ok(raw) => drop(indexes.insert(name.clone(), raw)),
                Err(words) => problems.wrong(Problems::join("indexes", name), words),
            }
        }
    }
    let indexes = Indexes::read(indexes, &mut problems);
    let nodes = match sound.member("routes").map(|member| &member.node.value) {
        Some(Value::List(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    if usable && nodes.is_empty() {
        problems.wrong("routes", "there must be at least one");
    }
    if nodes.len() > MAX_ROUTES {
        problems.wrong("routes", format!("there are {}; {MAX_ROUTES} are allowed", nodes.len()));
        return (None, problems.found);
    }
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut further: Vec<Vec<String>> = Vec::with_capacity(nodes.len());
    let mut routes: Vec<Option<Route>> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        // One that cannot be used has been told of.
        if node.value == Value::Null {
            routes.push(None);
            further.push(Vec::new());
            continue;
        }
        let path = format!("routes[{index}]");
        match deserialize::<RawRoute>(node) {
            Ok(raw) => {
                unused(&raw, &path, &mut problems);
                if let Some(name) = &raw.name {
                    match names.get(name) {
                        Some(first) => {
                            let line = problems.line(&format!("routes[{first}].name"));
                            let words = format!("`{name}` is the name of routes[{first}] (line {line}) already");
                            problems.wrong(format!("{path}.name"), words);
                        }
                        None => drop(names.insert(name.clone(), index)),
                    }
                }
                further.push(raw.also.clone());
                routes.push(Some(raw.read(index, &mut problems)));
            }
            Err(words) => {
                problems.wrong(path, words);
                further.push(Vec::new());
                routes.push(None);
            }
        }
    }
    link(&mut routes, &further, &mut problems);
    unreachable(&routes, &mut problems);
    versions(&routes, &mut problems);
    unmoved(&routes, &mut problems);
    deletable(&routes, &mut problems);
    let refused = problems.found.iter().any(|problem| problem.severity == Severity::Error);
    let routes: Option<Vec<Route>> = routes.into_iter().collect();
    let file = routes.filter(|_| usable && !refused).map(|routes| File { unmatched, routes, indexes });
    let pipeline = file.map(|file| Pipeline { file: Some(file), ..Pipeline::default() });
    (pipeline, problems.found)
}

/// Tells of what a route says for steps that it has not.
fn unused(raw: &RawRoute, path: &str, problems: &mut Problems<'_>) {
    if !raw.transform.is_empty() {
        return;
    }
    for (name, value) in [("on_missing", raw.on_missing), ("on_wrong_type", raw.on_wrong_type)] {
        if value.is_some() && !problems.has(&format!("{path}.transform")) {
            problems.suspicious(format!("{path}.{name}"), "is for the steps of a `transform`, which the route has not");
        }
    }
}

/// Tells of routes before which others take all that they might get.
fn unreachable(routes: &[Option<Route>], problems: &mut Problems<'_>) {
    for (index, route) in routes.iter().enumerate() {
        let Some((route, from)) = route.as_ref().and_then(|route| Some((route, route.from.as_ref()?))) else {
            continue;
        };
        let takes_all = |earlier: &Route| {
            (earlier.condition.is_none() || earlier.condition == route.condition)
                && earlier.from.as_ref().is_some_and(|earlier| covers(earlier, from))
        };
        let first = routes.iter().take(index).position(|earlier| earlier.as_ref().is_some_and(takes_all));
        if let Some(first) = first {
            let line = problems.line(&format!("routes[{first}]"));
            let hint = if route.name.is_some() { "; leave `from` out if only `also` is to lead here" } else { "" };
            let words = format!("`{from}` is never reached: routes[{first}] (line {line}) takes all of it{hint}");
            problems.wrong(format!("routes[{index}].from"), words);
        }
    }
}

/// Tells of routes of one source whose changes would be ordered in different ways.
fn versions(routes: &[Option<Route>], problems: &mut Problems<'_>) {
    if routes.iter().flatten().all(|route| route.version.is_none()) {
        return;
    }
    for (index, route) in routes.iter().enumerate() {
        let Some((route, from)) = route.as_ref().and_then(|route| Some((route, route.from.as_ref()?))) else {
            continue;
        };
        let other = |earlier: &Route| {
            earlier.version != route.version && earlier.from.as_ref().is_some_and(|earlier| meet(earlier, from))
        };
        if let Some(first) = routes.iter().take(index).position(|earlier| earlier.as_ref().is_some_and(other)) {
            let line = problems.line(&format!("routes[{first}]"));
            let words = format!(
                "differs from that of routes[{first}] (line {line}), which may take items of the same source: a source has one order"
            );
            let part = if route.version.is_some() { "version" } else { "from" };
            let words = if part == "from" { format!("`version`, which is left out, {words}") } else { words };
            problems.wrong(format!("routes[{index}].{part}"), words);
        }
        let located = |index: &usize| routes.get(*index).and_then(Option::as_ref).is_some_and(|route| route.is_located);
        if route.version.is_some() && route.also.iter().any(located) {
            let words = "a route that it leads to has `locate: state`, which cannot be used with `version: {field}`: numbers that begin anew do not say which place is the latest";
            problems.wrong(format!("routes[{index}].also"), words);
        }
    }
}

/// Tells of places that are remembered although no document ever changes its own.
fn unmoved(routes: &[Option<Route>], problems: &mut Problems<'_>) {
    let stays = |route: &Route| route.condition.is_none() && route.fixed("", &Namespaces::AsWritten).is_some();
    for (index, route) in routes.iter().enumerate() {
        let Some((route, from)) = route.as_ref().and_then(|route| Some((route, route.from.as_ref()?))) else {
            continue;
        };
        let shares = |other: &Option<Route>| match other {
            // Nobody knows what one that cannot be used would take.
            None => true,
            Some(other) => other.from.as_ref().is_some_and(|other| covers(other, from) || covers(from, other)),
        };
        let alone = || !routes.iter().enumerate().any(|(other, route)| other != index && shares(route));
        if route.is_located && stays(route) && alone() {
            let words = "has nothing to remember: all items of the route have one place, and no other route takes them";
            problems.suspicious(format!("routes[{index}].locate"), words);
        }
    }
}

/// Whether some name is matched by both patterns.
fn meet(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Whether what is left of both from here on can match one text, from the ends on.
    let mut below = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            let at = |row: &[bool], j: usize| row.get(j).copied().unwrap_or_default();
            let met = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some('*'), _) if at(&below, j) => true,
                (_, Some('*')) if at(&row, j + 1) => true,
                (Some('*'), Some(_)) => at(&row, j + 1),
                (Some(_), Some('*')) => at(&below, j),
                (Some(a), Some(b)) => (a == b || *a == '?' || *b == '?') && at(&below, j + 1),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if let Some(place) = row.get_mut(j) {
                *place = met;
            }
        }
        below = row;
    }
    below.first().copied().unwrap_or_default()
}

/// Whether every name that one pattern matches is matched by another.
fn covers(outer: &str, inner: &str) -> bool {
    // Letters that stand in no name: `?` stands for one, `*` for none, and for more than `?`s could match.
    let many = "\u{1}".repeat(outer.chars().count() + 1);
    let example = |any: &str| inner.replace('?', "\u{1}").replace('*', any);
    outer == inner || (matches(outer, &example("")) && (!inner.contains('*') || matches(outer, &example(&many))))
}

/// Where a text ends.
fn end(text: &str) -> Mark {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Mark { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}
