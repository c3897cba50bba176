//! The pipeline: which source goes where.
//!
//! ```yaml
//! version: 1
//! unmatched: filter            # filter | error
//! routes:
//!   - name: orders
//!     from: mytable            # the table's name; * and ? match
//!     to: replicatest.mytable  # index for OpenSearch, collection or database.collection for MongoDB
//! ```
//!
//! Without a pipeline every source goes to a target of its own name, as it is.

use crate::cause::{Cause, Failure};
use crate::target::Place;
use serde::Deserialize;

/// What follows from a source's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    /// To this index, collection or table.
    To(Place),
    /// Left out.
    Filtered,
    /// No route, and the pipeline says that there must be one.
    Refused(Failure),
}

/// A validated pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pipeline {
    file: Option<File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    unmatched: UnmatchedPolicy,
    #[serde(default)]
    routes: Vec<Route>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnmatchedPolicy {
    #[default]
    Filter,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    /// For people.
    #[serde(default)]
    name: Option<String>,
    from: String,
    to: Option<String>,
}

impl Pipeline {
    /// Reads a pipeline from YAML or JSON text.
    ///
    /// # Errors
    /// All problems found, each with its place where it has one.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let file: File = serde_norway::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut problems = Vec::new();
        if file.version != 1 {
            problems.push(format!("version {} is not known; this tidelock reads version 1", file.version));
        }
        if file.routes.is_empty() {
            problems.push("routes: there must be at least one".to_owned());
        }
        for (index, route) in file.routes.iter().enumerate() {
            if route.from.is_empty() {
                problems.push(format!("routes[{index}].from: must not be empty"));
            }
            if let Some(to) = &route.to
                && (to.is_empty() || to.contains(['{', '}']))
            {
                problems.push(format!("routes[{index}].to: `{to}` must be a plain name"));
            }
            if let Some(first) = file.routes.iter().take(index).position(|earlier| matches(&earlier.from, &route.from))
            {
                problems.push(format!(
                    "routes[{index}].from: `{}` is never reached: routes[{first}] matches it",
                    route.from
                ));
            }
        }
        if problems.is_empty() { Ok(Self { file: Some(file) }) } else { Err(problems) }
    }

    /// Every `to` of the routes, and whether some source goes to a target of its own name.
    pub fn targets(&self) -> (Vec<&str>, bool) {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let own_name = self.file.is_none() || routes.iter().any(|route| route.to.is_none());
        (routes.iter().filter_map(|route| route.to.as_deref()).collect(), own_name)
    }

    /// Where changes of the source `name` go: the first route that matches.
    #[must_use]
    pub fn route(&self, name: &str) -> Routed {
        let Some(file) = &self.file else { return Routed::To(Place { name: name.to_owned(), literal: true }) };
        match (file.routes.iter().find(|route| matches(&route.from, name)), file.unmatched) {
            (Some(route), _) => Routed::To(match &route.to {
                Some(to) => Place { name: to.clone(), literal: false },
                None => Place { name: name.to_owned(), literal: true },
            }),
            (None, UnmatchedPolicy::Filter) => Routed::Filtered,
            (None, UnmatchedPolicy::Error) => {
                Routed::Refused(Failure::new(Cause::Unmatched, format!("no route matches `{name}`")))
            }
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
        Routed::To(Place { name: name.to_owned(), literal })
    }

    #[test]
    fn first_match_wins_and_the_rest_is_filtered_or_refused() {
        let text = "version: 1\nroutes:\n  - {name: o, from: 'orders-*', to: orders}\n  - {from: customers}\n";
        let pipeline = Pipeline::parse(text).expect("valid");
        assert_eq!(pipeline.route("orders-eu"), to("orders", false));
        assert_eq!(pipeline.route("customers"), to("customers", true));
        assert_eq!(pipeline.route("other"), Routed::Filtered);
        let strict = Pipeline::parse(&format!("unmatched: error\n{text}")).expect("valid");
        assert!(matches!(strict.route("other"), Routed::Refused(_)));
        assert_eq!(Pipeline::default().route("other"), to("other", true));
    }

    #[test]
    fn says_all_that_is_wrong() {
        let problems = Pipeline::parse("version: 2\nroutes: [{from: '*'}, {from: a, to: ''}]").expect_err("invalid");
        assert_eq!(problems.len(), 3, "{problems:?}");
        let unknown = Pipeline::parse("version: 1\nroutes: [{form: a}]").expect_err("invalid");
        assert!(unknown[0].contains("form") && unknown[0].contains("line"), "{unknown:?}");
    }
}
