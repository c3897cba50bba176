//! Why an item takes a route: what each of them says, in order.

use super::{Pipeline, Route, matches};
use crate::image::Image;

/// What a route says to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its number in the file, from 0.
    pub route: usize,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// In words.
    pub said: String,
    /// Whether it takes the item.
    pub takes: bool,
}

impl Pipeline {
    /// What the routes say to an item of the source `name` on one of its [branches](Self::branches): on the first, each of them in
    /// the file's order; on another, the one that `also` names. Empty without a pipeline. Without an image nobody knows whether
    /// a `where` holds.
    #[must_use]
    pub fn ask(&self, name: &str, branch: usize, image: Option<&Image<'_>>) -> Vec<Asked> {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let mut taken: Option<usize> = None;
        let mut asked = Vec::with_capacity(routes.len());
        for (index, route) in routes.iter().enumerate() {
            let (said, takes) = match (taken, &route.from) {
                (Some(taken), _) => (format!("not asked: {} takes it", label(routes, taken)), false),
                (None, None) => ("has no `from`: only `also` leads here".to_owned(), false),
                (None, Some(from)) if !matches(from, name) => {
                    (format!("`from: {from}` does not match `{name}`"), false)
                }
                (None, Some(from)) => {
                    let (said, takes) = route.answer(image);
                    (format!("`from: {from}` matches{said}"), takes)
                }
            };
            taken = taken.or(takes.then_some(index));
            asked.push(Asked { route: index, name: route.name.clone(), said, takes });
        }
        match branch.checked_sub(1) {
            None => asked,
            Some(also) => {
                self.further(name).get(also).map(|&index| self.ask_further(index, taken, image)).into_iter().collect()
            }
        }
    }

    /// What a route says that the `also` of another may name.
    fn ask_further(&self, index: usize, taken: Option<usize>, image: Option<&Image<'_>>) -> Asked {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let (said, takes) = match taken {
            None => ("no route takes the item that could name this one".to_owned(), false),
            Some(taken) if !routes.get(taken).is_some_and(|route| route.also.contains(&index)) => {
                (format!("{} takes it, whose `also` does not name this one", label(routes, taken)), false)
            }
            Some(taken) => {
                let (said, takes) = routes.get(index).map_or((String::new(), false), |route| route.answer(image));
                (format!("`also` of {}{said}", label(routes, taken)), takes)
            }
        };
        Asked { route: index, name: routes.get(index).and_then(|route| route.name.clone()), said, takes }
    }
}

impl Route {
    /// What its condition says, behind other words.
    fn answer(&self, image: Option<&Image<'_>>) -> (String, bool) {
        let Some(text) = &self.condition_text else { return (String::new(), true) };
        match image.map(|image| self.holds(image)) {
            None => {
                (format!("; whether `where: {text}` holds depends on the item, which the record does not carry"), false)
            }
            Some(Ok(true)) => (format!(", `where: {text}` holds"), true),
            Some(Ok(false)) => (format!(", `where: {text}` does not hold"), false),
            Some(Err(failure)) => (format!(", `where: {text}` cannot be evaluated: {}", failure.detail), false),
        }
    }
}

/// A route as messages name it.
fn label(routes: &[Route], index: usize) -> String {
    match routes.get(index).and_then(|route| route.name.as_ref()) {
        Some(name) => format!("routes[{index}] `{name}`"),
        None => format!("routes[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Notation;

    #[test]
    fn each_route_says_why() {
        let text = "
version: 1
routes:
  - {name: other, from: x*}
  - {name: paid, from: t, where: .s == \"paid\", also: [audit]}
  - {from: t, where: .s < .l}
  - {from: t}
  - {name: audit, where: .big, to: audit}
";
        let pipeline = Pipeline::parse(text).expect("a pipeline");
        let said = |item: Option<&str>, branch: usize| -> Vec<String> {
            let image = item.map(|item| Image { notation: Notation::DynamoDb, bytes: item.as_bytes() });
            let asked = pipeline.ask("t", branch, image.as_ref());
            asked.into_iter().map(|asked| format!("{}{}", asked.said, if asked.takes { " *" } else { "" })).collect()
        };
        let open = Some(r#"{"s":{"S":"open"},"l":{"S":"a"}}"#);
        assert_eq!(
            said(open, 0),
            [
                "`from: x*` does not match `t`",
                "`from: t` matches, `where: .s == \"paid\"` does not hold",
                "`from: t` matches, `where: .s < .l` does not hold",
                "`from: t` matches *",
                "not asked: routes[3] takes it",
            ]
        );
        assert_eq!(said(open, 1), ["routes[3] takes it, whose `also` does not name this one"]);
        let paid = Some(r#"{"s":{"S":"paid"},"big":{"BOOL":true}}"#);
        assert_eq!(said(paid, 1), ["`also` of routes[1] `paid`, `where: .big` holds *"]);
        assert_eq!(said(paid, 0)[2], "not asked: routes[1] `paid` takes it");
        assert!(said(None, 0)[1].contains("which the record does not carry"));
        assert!(Pipeline::default().ask("t", 0, None).is_empty());
    }
}
