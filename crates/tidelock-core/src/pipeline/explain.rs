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
    /// Whether it was asked at all: no route before it has taken the item, and where it is a further route, the item's own names it.
    pub asked: bool,
    /// Its `from` names other sources.
    pub of_others: bool,
}

impl Pipeline {
    /// What the routes say to an item of the source `name` on one of its [branches](Self::branches): on the first, each of them in
    /// the file's order; on another, the one that `also` names. Empty without a pipeline. Without an image nobody knows whether
    /// a `where` holds.
    #[must_use]
    pub fn ask(&self, name: &str, branch: usize, image: Option<&Image<'_>>) -> Vec<Asked> {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let (mut taken, mut stopped, mut unknown) = (None, None, false);
        let mut asked = Vec::with_capacity(routes.len());
        for (index, route) in routes.iter().enumerate() {
            let answer = match (taken, stopped, &route.from) {
                (Some(taken), ..) => Answer::not_asked(format!("not asked: {} takes it", label(routes, taken))),
                (_, Some(stopped), _) => Answer::not_asked(format!("not asked: {} fails", label(routes, stopped))),
                (.., None) => Answer::no("has no `from`: only `also` leads here".to_owned()),
                (.., Some(from)) if !matches(from, name) => {
                    Answer { of_others: true, ..Answer::no(format!("`from: {from}` does not match `{name}`")) }
                }
                (.., Some(from)) => route.answer(format!("`from: {from}` matches"), image),
            };
            let takes = answer.holds == Some(true) && !unknown;
            let said = if answer.holds == Some(true) && unknown {
                format!("{}: taken where none before it is", answer.said)
            } else {
                answer.said
            };
            taken = taken.or(takes.then_some(index));
            stopped = stopped.or(answer.fails.then_some(index));
            unknown |= answer.holds.is_none();
            let (asks, of_others) = (answer.asked, answer.of_others);
            asked.push(Asked { route: index, name: route.name.clone(), said, takes, asked: asks, of_others });
        }
        let Some(also) = branch.checked_sub(1) else { return asked };
        let further = self.further(name).get(also).copied();
        further.map(|index| self.ask_further(index, taken, unknown, image)).into_iter().collect()
    }

    /// What a route says that the `also` of another may name.
    fn ask_further(&self, index: usize, taken: Option<usize>, unknown: bool, image: Option<&Image<'_>>) -> Asked {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let answer = match taken {
            None if unknown => Answer::no("taken where the item's own route names it in `also`".to_owned()),
            None => Answer::not_asked("no route takes the item that could name this one".to_owned()),
            Some(taken) if !routes.get(taken).is_some_and(|route| route.also.contains(&index)) => {
                Answer::not_asked(format!("{} takes it, whose `also` does not name this one", label(routes, taken)))
            }
            Some(taken) => {
                let said = format!("`also` of {}", label(routes, taken));
                routes.get(index).map_or_else(|| Answer::no(String::new()), |route| route.answer(said, image))
            }
        };
        let name = routes.get(index).and_then(|route| route.name.clone());
        let takes = answer.holds == Some(true);
        Asked { route: index, name, said: answer.said, takes, asked: answer.asked, of_others: false }
    }
}

/// Whether a route takes an item.
struct Answer {
    said: String,
    /// `None`: nobody knows.
    holds: Option<bool>,
    /// It cannot be evaluated, and no further route is asked.
    fails: bool,
    asked: bool,
    of_others: bool,
}

impl Answer {
    fn no(said: String) -> Self {
        Self { said, holds: Some(false), fails: false, asked: true, of_others: false }
    }

    fn not_asked(said: String) -> Self {
        Self { asked: false, ..Self::no(said) }
    }
}

impl Route {
    /// What its condition says, behind other words.
    fn answer(&self, said: String, image: Option<&Image<'_>>) -> Answer {
        let Some(text) = &self.condition_text else { return Answer { holds: Some(true), ..Answer::no(said) } };
        let (words, holds, fails) = match image.map(|image| self.holds(image)) {
            None => ("depends on the item, which the record does not carry".to_owned(), None, false),
            Some(Ok(true)) => ("holds".to_owned(), Some(true), false),
            Some(Ok(false)) => ("does not hold".to_owned(), Some(false), false),
            Some(Err(failure)) => (format!("cannot be evaluated: {}", failure.detail), Some(false), true),
        };
        Answer { said: format!("{said}, `where: {text}` {words}"), holds, fails, asked: true, of_others: false }
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
        assert_eq!(said(None, 0)[3], "`from: t` matches: taken where none before it is");
        assert_eq!(said(None, 1), ["taken where the item's own route names it in `also`"]);
        let lists = Some(r#"{"s":{"L":[]},"l":{"L":[]}}"#);
        assert!(said(lists, 0)[2].contains("cannot be evaluated: "), "{:?}", said(lists, 0));
        assert_eq!(said(lists, 0)[3], "not asked: routes[2] fails");
        assert!(Pipeline::default().ask("t", 0, None).is_empty());
    }
}
