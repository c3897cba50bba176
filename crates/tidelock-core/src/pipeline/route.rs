//! A route: which items it takes, and where they go.

use super::commands::Commands;
use super::condition::Condition;
use super::id::IdTemplate;
use super::rules::Known;
use super::template::Template;
use super::{Policy, Problems};
use crate::cause::{Cause, Failure};
use crate::fence::fence_id;
use crate::image::{Field, Image};
use crate::key::{Key, KeyKind, push_part};
use crate::target::{Manner, Namespaces, Place, ShardValue};
use crate::transform::Transform;

/// A route of a pipeline; what it holds is the pipeline's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub(super) name: Option<String>,
    /// None: only by the `also` of others.
    pub(super) from: Option<String>,
    /// None: to a place of the source's own name.
    pub(super) to: Option<Template>,
    pub(super) id: Option<IdTemplate>,
    /// An id that is too long becomes its hash.
    pub(super) hashes_long_ids: bool,
    pub(super) routing: Option<Template>,
    pub(super) condition: Option<Condition>,
    /// As it is written.
    pub(super) condition_text: Option<String>,
    /// Further routes of a change, by index.
    pub(super) also: Vec<usize>,
    pub(super) shard_key: Vec<Vec<String>>,
    /// The field with the number that orders changes; `None`: the source's own order.
    pub(super) version: Option<Vec<String>>,
    /// Where its documents have been is remembered.
    pub(super) is_located: bool,
    pub(super) policy: Policy,
    /// What becomes of changes while the target cannot be reached is its own will.
    pub(super) says_on_outage: bool,
    pub(super) commands: Commands,
    pub(super) manner: Manner,
    pub(super) transform: Option<Transform>,
}

/// The longest id that OpenSearch takes, in bytes.
const LONGEST_TEXT_ID: usize = 512;

impl Route {
    /// Whether it takes an item.
    ///
    /// # Errors
    /// When its condition cannot be evaluated.
    pub(super) fn holds(&self, image: &Image<'_>) -> Result<bool, Failure> {
        self.condition.as_ref().map_or(Ok(true), |condition| condition.holds(image))
    }

    /// How it wants documents written; `None`: plainly.
    pub(super) fn manner(&self) -> Option<&Manner> {
        (self.manner != Manner::default()).then_some(&self.manner)
    }

    /// The place of every item of a source, where they all have the same.
    pub(super) fn fixed(&self, name: &str, namespaces: &Namespaces) -> Option<Place> {
        if !self.shard_key.is_empty() || self.id.is_some() || self.routing.is_some() || self.hashes_long_ids {
            return None;
        }
        let place = match &self.to {
            Some(to) => to.fixed(),
            None => Some(Place::new(name.to_owned(), true)),
        };
        place.map(|place| place.within(namespaces))
    }

    /// The name of its place is made of the item.
    pub(super) fn is_named_by_items(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.fixed().is_none())
    }

    /// The place of an item; `None` where it depends on one that is not known.
    pub(super) fn place(
        &self,
        name: &str,
        known: Known<'_>,
        namespaces: &Namespaces,
    ) -> Result<Option<Place>, Failure> {
        let place = match &self.to {
            Some(to) => to.place(known)?,
            None => Some(Place::new(name.to_owned(), true)),
        };
        let Some(mut place) = place else { return Ok(None) };
        if let Some(id) = &self.id {
            let Some(id) = id.of(known)? else { return Ok(None) };
            place.id = match id {
                // Ids that are one text are one id, whatever their parts were.
                Some(id) if *namespaces == Namespaces::Single => text_id(&Key::from_bytes(&id).text_id(), known.key),
                id => id,
            };
        }
        if let Some(routing) = &self.routing {
            place.routing = match self.routing(routing, known)? {
                None => return Ok(None),
                routing => routing,
            };
        }
        if self.hashes_long_ids && *namespaces == Namespaces::Single {
            let id = place.key(known.key).text_id();
            if id.len() > LONGEST_TEXT_ID {
                place.id = text_id(&format!("sha256-{}", fence_id(&[id.as_bytes()])), known.key);
            }
        }
        for path in &self.shard_key {
            match shard_value(path, known)? {
                Some(value) => place.shard_key.push((path.join("."), value)),
                None => return Ok(None),
            }
        }
        Ok(Some(place.within(namespaces)))
    }

    fn routing(&self, template: &Template, known: Known<'_>) -> Result<Option<String>, Failure> {
        let in_id = |path: &[String]| self.id.as_ref().is_some_and(|id| id.fields().iter().any(|own| own == path));
        let in_key = |path: &[String]| known.key.parts().any(|part| *path == [part.name]);
        if let Some(path) = template.fields().find(|path| !in_id(path) && !in_key(path)) {
            let field = path.join(".");
            let detail = format!(
                "`routing` needs field `{field}`, which is neither of the source's key nor in `id`: an item that changes it would leave a second document on another shard; put `{{{field}}}` into `id`, too"
            );
            return Err(Failure::new(Cause::Unroutable, detail));
        }
        template.fill(known, "routing")
    }
}

/// An id that is a text; `None` where the key's own is the same.
fn text_id(text: &str, key: Key<'_>) -> Option<Vec<u8>> {
    if text == key.text_id() {
        return None;
    }
    let mut id = Vec::with_capacity(text.len() + 16);
    push_part(&mut id, "id", KeyKind::Text, text.as_bytes());
    Some(id)
}

/// The value of a field of a shard key; `None` where it depends on an item that is not known.
fn shard_value(path: &[String], known: Known<'_>) -> Result<Option<ShardValue>, Failure> {
    let refused = |kind| {
        let field = path.join(".");
        let detail = format!("field `{field}` is {kind}; a shard key needs text, number, boolean or null");
        Failure::new(Cause::Unroutable, detail)
    };
    // The server would look into each of the list's items.
    let inner = |length| path.get(..length).is_some_and(|path| known.field(path) == Some(Field::Other("a list")));
    if (1..path.len()).any(inner) {
        return Err(refused("inside a list"));
    }
    let Some(field) = known.field(path) else { return Ok(None) };
    Ok(Some(match field {
        Field::Missing | Field::Null => ShardValue::Null,
        Field::Boolean(value) => ShardValue::Boolean(value),
        Field::Number(text) => ShardValue::Number(text.into_owned()),
        Field::Text(text) => ShardValue::Text(text.into_owned()),
        Field::Other(kind) => return Err(refused(kind)),
    }))
}

/// Resolves the names in `also`, and adds what is wrong with them to the problems.
pub(super) fn link(routes: &mut [Option<Route>], further: &[Vec<String>], problems: &mut Problems<'_>) {
    let mut linked: Vec<Vec<usize>> = Vec::with_capacity(further.len());
    for (index, names) in further.iter().enumerate() {
        let mut also = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let mut wrong = |words: String| problems.wrong(format!("routes[{index}].also[{position}]"), words);
            let named = |route: &Option<Route>| route.as_ref().is_some_and(|route| route.name.as_ref() == Some(name));
            let Some(other) = routes.iter().position(named) else {
                // The name of one that cannot be used is not known.
                if routes.iter().all(Option::is_some) {
                    wrong(format!("there is no route with the name `{name}`"));
                }
                continue;
            };
            let of = |index: usize| routes.get(index).and_then(Option::as_ref);
            let target = |route: Option<&Route>| route.and_then(|route| Some(route.to.as_ref()?.fixed()?.name));
            let same_id = of(index).map(|route| &route.id) == of(other).map(|route| &route.id);
            if other == index {
                wrong("a route cannot name itself".to_owned());
            } else if also.contains(&other) {
                wrong(format!("`{name}` is there twice"));
            } else if further.get(other).is_some_and(|names| !names.is_empty()) {
                wrong(format!("`{name}` has an `also` itself: name all of them here"));
            } else if target(of(index)).is_some() && target(of(index)) == target(of(other)) && same_id {
                wrong(format!("`{name}` leads to the same documents"));
            } else {
                also.push(other);
            }
        }
        linked.push(also);
    }
    for (index, route) in routes.iter().enumerate() {
        let Some(route) = route.as_ref().filter(|route| route.from.is_none()) else { continue };
        if !further.iter().flatten().any(|name| route.name.as_ref() == Some(name)) {
            // It may be there under another name, which has been told of.
            let own = format!("routes[{index}].");
            if problems.found.iter().any(|problem| problem.path.starts_with(&own) && problem.help.is_some()) {
                continue;
            }
            problems.wrong(format!("routes[{index}].from"), "is missing, and no `also` names the route");
        } else if route.to.is_none() {
            problems.wrong(
                format!("routes[{index}].to"),
                "is missing: a route that `also` leads to needs a place of its own",
            );
        }
    }
    for (route, also) in routes.iter_mut().zip(linked) {
        if let Some(route) = route {
            route.also = also;
        }
    }
}
