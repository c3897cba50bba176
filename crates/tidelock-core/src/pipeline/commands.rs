//! What becomes of events that are no change of a document: a collection is dropped or renamed, a database dropped, a stream ended.

use super::{Pipeline, UnmatchedPolicy, matches};
use crate::cause::Cause;
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
}

/// Why `delete-all` is refused.
pub(super) const NO_DELETE_ALL: &str =
    "`delete-all` is not there yet: with `park`, a letter says when documents are to be deleted by hand";

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
}

impl Pipeline {
    /// Whether an event that is [no change of a document](Cause::is_of_a_collection) is left out: all routes that it concerns want it
    /// so, or it concerns none. `name` is the collection, the database, or empty where the event has neither.
    pub(crate) fn ignores(&self, cause: Cause, name: &str) -> bool {
        let Some(file) = &self.file else { return false };
        let concerned = |from: &str| match cause {
            Cause::StreamInvalidated => true,
            Cause::DatabaseDropped => match from.split_once('.') {
                Some((database, _)) => matches(database, name),
                // A star stands for points, too.
                None => from.contains('*'),
            },
            _ => matches(from, name),
        };
        let mut routes = file.routes.iter().filter(|route| route.from.as_deref().is_some_and(concerned)).peekable();
        match routes.peek() {
            Some(_) => routes.all(|route| route.commands.on(cause) == OnCommand::Ignore),
            None => file.unmatched == UnmatchedPolicy::Filter,
        }
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

    #[test]
    fn to_delete_all_is_refused() {
        let problems =
            Pipeline::parse("version: 1\nroutes: [{from: a.b, on_rename: delete-all}]").expect_err("refused");
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(told.contains("routes[0].on_rename: expected `park` or `ignore`, found `delete-all`"), "{told}");
        assert!(told.contains("is not there yet"), "{told}");
    }
}
