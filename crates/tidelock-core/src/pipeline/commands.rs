//! What becomes of events that are no change of a document: a collection is dropped or renamed, a database dropped, a stream ended.

use super::{Pipeline, Problems, Route, UnmatchedPolicy, matches};
use crate::cause::Cause;
use crate::target::{Deletes, Namespaces, Place};
use serde::Deserialize;

/// What a route wants of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Commands {
    pub(super) drop: OnCommand,
    pub(super) rename: OnCommand,
    pub(super) drop_database: OnCommand,
    pub(super) invalidate: OnCommand,
}

/// See `on_drop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnCommand {
    /// It becomes a dead letter, and the documents stay.
    #[default]
    Park,
    /// It is left out, and the documents stay.
    Ignore,
    /// The documents go that are older than the event.
    #[serde(rename = "delete-all")]
    DeleteAll,
}

/// What deletes documents with their collection.
pub(super) const DELETE_ALL: &str = "delete-all";

/// Why the end of a stream deletes none.
pub(super) const NOTHING_NAMED: &str = "the event does not name what is gone: the drop or rename that has ended the stream came before it, and `on_drop` and `on_rename` deal with that";

/// Documents that an event takes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The collection that they are from.
    pub(crate) source: String,
    /// Where they are: a [whole](Place::whole) place.
    pub(crate) place: Place,
}

impl Commands {
    fn on(&self, cause: Cause) -> OnCommand {
        match cause {
            Cause::CollectionDropped => self.drop,
            Cause::CollectionRenamed => self.rename,
            Cause::DatabaseDropped => self.drop_database,
            Cause::StreamInvalidated => self.invalidate,
            _ => OnCommand::Park,
        }
    }

    /// Each with the field that says it.
    fn named(self) -> impl Iterator<Item = (&'static str, OnCommand)> {
        let Self { drop, rename, drop_database, invalidate } = self;
        [("on_drop", drop), ("on_rename", rename), ("on_drop_database", drop_database), ("on_invalidate", invalidate)]
            .into_iter()
    }
}

/// Tells of routes that cannot delete what they want to.
pub(super) fn deletable(routes: &[Option<Route>], problems: &mut Problems<'_>) {
    let of = |index: usize| routes.get(index).and_then(Option::as_ref);
    for (index, route) in routes.iter().enumerate() {
        let Some(route) = route else { continue };
        for (field, _) in route.commands.named().filter(|(_, command)| *command == OnCommand::DeleteAll) {
            let mut wrong = |words: &str| problems.wrong(format!("routes[{index}].{field}"), words.to_owned());
            if let Some(why) = undeletable(route, field) {
                wrong(&format!("`delete-all` {why}"));
                continue;
            }
            let wants = |other: &Route| other.commands.named().any(|named| named == (field, OnCommand::DeleteAll));
            if let Some(other) = route.also.iter().find(|&&also| of(also).is_some_and(|other| !wants(other))) {
                wrong(&format!(
                    "`delete-all` must be what routes[{other}] wants, too, to which `also` leads: an event is dealt with everywhere alike"
                ));
            }
        }
    }
}

/// Why a route cannot delete all that has come of a collection.
fn undeletable(route: &Route, field: &str) -> Option<&'static str> {
    let is_pattern = route.from.as_deref().is_some_and(|from| from.contains(['*', '?']));
    if field == "on_drop_database" && is_pattern {
        return Some(
            "needs a `from` without `*` and `?`: the event does not say which collections there were; the server sends a `drop` for each of them first, so use `on_drop: delete-all`, and `ignore` here",
        );
    }
    if route.is_named_by_items() {
        return Some(
            "needs a `to` without fields and dates: the event does not say which places the documents went to; use `park`, and delete them by hand",
        );
    }
    if route.version.is_some() {
        return Some(
            "cannot be used with `version: {field}`: between numbers of items and a drop there is no order; use `park`, and delete the documents by hand",
        );
    }
    if route.manner.deletes != Deletes::Hard {
        return Some("contradicts `deletes`, which keeps the documents of what is deleted; use `park` or `ignore`");
    }
    (!route.manner.preserve.is_empty())
        .then_some("contradicts `write: merge`: a part of each document is its users' own; use `park` or `ignore`")
}

impl Route {
    /// All of the place that a source's documents go to; `None` where there may be several.
    fn whole(&self, source: &str, namespaces: &Namespaces) -> Option<Place> {
        let place = match &self.to {
            Some(to) => to.fixed()?,
            None => Place::new(source.to_owned(), true),
        };
        Some(place.within(namespaces))
    }
}

impl Pipeline {
    /// Whether an event that is [no change of a document](Cause::is_of_a_collection) is left out: all routes that it concerns want it
    /// so, or it concerns none. `name` is the collection, the database, or empty where the event has neither.
    pub(crate) fn ignores(&self, cause: Cause, name: &str) -> bool {
        let Some(file) = &self.file else { return false };
        let mut routes = self.concerned(cause, name).peekable();
        match routes.peek() {
            Some(_) => routes.all(|route| route.commands.on(cause) == OnCommand::Ignore),
            None => file.unmatched == UnmatchedPolicy::Filter,
        }
    }

    /// The documents that such an event takes with it: all routes that it concerns want it so, and those that they lead to. None
    /// where they do not agree.
    pub(crate) fn ended(&self, cause: Cause, name: &str) -> Vec<Ended> {
        let mut ended: Vec<Ended> = Vec::new();
        for route in self.concerned(cause, name) {
            let source = match cause {
                Cause::DatabaseDropped => route.from.as_deref().unwrap_or_default(),
                _ => name,
            };
            for lead in std::iter::once(route).chain(route.also.iter().filter_map(|&index| self.route(index))) {
                let all = lead.commands.on(cause) == OnCommand::DeleteAll;
                let Some(place) = lead.whole(source, &self.namespaces).filter(|_| all) else { return Vec::new() };
                let one = Ended { source: source.to_owned(), place };
                if !ended.contains(&one) {
                    ended.push(one);
                }
            }
        }
        ended
    }

    /// Whether some event may take documents with it: then fences of [whole namespaces](crate::fence::namespace_key) count.
    #[must_use]
    pub(crate) fn may_delete_all(&self) -> bool {
        let mut routes = self.file.iter().flat_map(|file| &file.routes);
        routes.any(|route| route.commands.named().any(|(_, command)| command == OnCommand::DeleteAll))
    }

    /// The routes that such an event concerns.
    fn concerned(&self, cause: Cause, name: &str) -> impl Iterator<Item = &Route> {
        let concerned = move |from: &str| match cause {
            Cause::StreamInvalidated => true,
            Cause::DatabaseDropped => match from.split_once('.') {
                Some((database, _)) => matches(database, name),
                // A star stands for points, too.
                None => from.contains('*'),
            },
            _ => matches(from, name),
        };
        let routes = self.file.iter().flat_map(|file| &file.routes);
        routes.filter(move |route| route.from.as_deref().is_some_and(concerned))
    }

    /// Whether it depends on the items what becomes of them, at least for some source.
    pub(super) fn looks_at_items(&self) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| {
            route.condition.is_some()
                || !route.also.is_empty()
                || route.manner().is_some()
                || route.fixed("", &self.namespaces).is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_routes_that_an_event_concerns_must_agree() {
        let text = "
version: 1
routes:
  - {from: shop.orders, on_drop: ignore, on_drop_database: ignore, on_invalidate: ignore}
  - {from: shop.*, on_rename: ignore, on_drop_database: ignore}
  - {from: crm.people, on_drop: ignore, on_invalidate: ignore}
";
        let pipeline = Pipeline::parse(text).expect("a pipeline");
        for (cause, name, ignored) in [
            (Cause::CollectionDropped, "shop.orders", false),
            (Cause::CollectionDropped, "crm.people", true),
            (Cause::CollectionDropped, "other.x", true),
            (Cause::CollectionRenamed, "shop.things", true),
            (Cause::CollectionRenamed, "shop.orders", false),
            (Cause::DatabaseDropped, "shop", true),
            (Cause::DatabaseDropped, "crm", false),
            (Cause::StreamInvalidated, "", false),
        ] {
            assert_eq!(pipeline.ignores(cause, name), ignored, "{cause} {name}");
        }
        assert!(!Pipeline::default().ignores(Cause::CollectionDropped, "shop.orders"));
        let strict = Pipeline::parse("version: 1\nunmatched: error\nroutes: [{from: a.b}]").expect("a pipeline");
        assert!(!strict.ignores(Cause::CollectionDropped, "c.d"));
    }

    const DELETING: &str = "
version: 1
routes:
  - {from: shop.orders, to: all, on_drop: delete-all, on_drop_database: delete-all, also: [audit]}
  - {from: shop.things, id: '{tenant}|{n}', on_drop: delete-all, on_rename: delete-all, on_drop_database: delete-all}
  - {from: crm.*, to: all, on_drop: delete-all, on_drop_database: ignore}
  - {from: crm.people, to: people, where: .x == 1, on_drop: park}
  - {name: audit, to: audit, on_drop: delete-all, on_drop_database: delete-all}
";

    #[test]
    fn an_event_takes_the_documents_of_all_places_with_it_or_of_none() {
        // No more than two routes may take one collection, the first of them not all of it.
        let text = DELETING.replace("{from: crm.*, to: all,", "{from: crm.*, where: .y == 1, to: all,");
        let pipeline = Pipeline::parse(&text).expect("a pipeline").within(Namespaces::Databases(Some("d".to_owned())));
        assert!(pipeline.may_delete_all() && !Pipeline::default().may_delete_all());
        let told = |cause, name: &str| {
            let ended = pipeline.ended(cause, name).into_iter();
            ended.map(|one| format!("{} {} {}", one.source, one.place.name, one.place.literal)).collect::<Vec<_>>()
        };
        let orders = ["shop.orders d.all false", "shop.orders d.audit false"];
        assert_eq!(told(Cause::CollectionDropped, "shop.orders"), orders);
        assert_eq!(told(Cause::CollectionDropped, "shop.things"), ["shop.things d.shop.things false"]);
        assert_eq!(told(Cause::CollectionRenamed, "shop.things"), ["shop.things d.shop.things false"]);
        assert_eq!(told(Cause::CollectionDropped, "crm.other"), ["crm.other d.all false"]);
        assert_eq!(told(Cause::DatabaseDropped, "shop").len(), 3);
        let none: [&str; 0] = [];
        assert_eq!(told(Cause::CollectionRenamed, "shop.orders"), none);
        assert_eq!(told(Cause::CollectionDropped, "crm.people"), none, "one route wants something else");
        assert_eq!(told(Cause::CollectionDropped, "other.x"), none);
        assert_eq!(told(Cause::DatabaseDropped, "crm"), none);
        assert_eq!(told(Cause::StreamInvalidated, ""), none);
    }

    #[test]
    fn what_cannot_be_deleted_is_refused_with_the_way_out() {
        for (route, field, words) in [
            ("from: a.b, to: 'x-{country}', on_drop: delete-all", "on_drop", "without fields and dates"),
            ("from: a.b, to: 'x-{at:%Y}', on_rename: delete-all", "on_rename", "without fields and dates"),
            ("from: a.b, version: {field: n}, on_drop: delete-all", "on_drop", "no order"),
            ("from: a.b, deletes: soft, on_drop: delete-all", "on_drop", "contradicts `deletes`"),
            ("from: a.b, deletes: ignore, on_drop_database: delete-all", "on_drop_database", "contradicts `deletes`"),
            ("from: a.b, write: merge, preserve: [x], on_drop: delete-all", "on_drop", "contradicts `write: merge`"),
            ("from: 'a.*', on_drop_database: delete-all", "on_drop_database", "use `on_drop: delete-all`"),
            ("from: a.b, also: [c], on_drop: delete-all}, {name: c, to: c", "on_drop", "`also` leads"),
        ] {
            let problems = Pipeline::parse(&format!("{{version: 1, routes: [{{{route}}}]}}")).expect_err(route);
            let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(told.contains(&format!("routes[0].{field}: `delete-all` ")) && told.contains(words), "{told}");
        }
        let problems =
            Pipeline::parse("{version: 1, routes: [{from: a.b, on_invalidate: delete-all}]}").expect_err("none");
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(told.contains("expected `park` or `ignore`") && told.contains("came before it"), "{told}");
    }
}
