//! What becomes of an item: the route it takes, and where that leads.

use super::{Pipeline, Policy, Route, Routed, UnmatchedPolicy, matches};
use crate::bson;
use crate::cause::Failure;
use crate::image::{Field, Image};
use crate::key::{Key, KeyKind};
use crate::target::{Deletes, Manner, Namespaces, Place};
use crate::transform::Transform;

/// The routes that a source's items may take.
#[derive(Debug, Clone, PartialEq)]
pub enum Rules<'p> {
    /// The same for all of them, and the route that leads there.
    Same(Routed, Option<&'p Route>),
    /// It depends on the item.
    ByItem(ItemRules<'p>),
}

/// See [`Rules::ByItem`].
#[derive(Debug, Clone, PartialEq)]
pub struct ItemRules<'p> {
    name: String,
    namespaces: &'p Namespaces,
    /// In order; none behind the first that takes every item.
    ways: Vec<Way<'p>>,
    unmatched: Option<UnmatchedPolicy>,
}

/// What a route means for a [branch](crate::batch::Origin::branch).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Way<'p> {
    /// The route that takes the item.
    pub(super) takes: &'p Route,
    /// The route that says what becomes of it: the same, one of its `also`, or none on this branch.
    pub(super) leads: Option<&'p Route>,
}

impl<'p> Way<'p> {
    /// The route that says what becomes of an item that is taken.
    ///
    /// # Errors
    /// When its condition cannot be evaluated.
    fn route(&self, image: &Image<'_>) -> Result<Option<&'p Route>, Failure> {
        match self.leads {
            Some(route) if std::ptr::eq(route, self.takes) || route.holds(image)? => Ok(Some(route)),
            _ => Ok(None),
        }
    }
}

/// What is known of an item: the whole of it, or its key alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) image: Option<Image<'a>>,
    pub(super) key: Key<'a>,
}

impl<'a> Known<'a> {
    /// The field at a path; `None` where nobody knows.
    pub(super) fn field(&self, path: &[String]) -> Option<Field<'a>> {
        match (&self.image, self.key.parts().find(|part| *path == [part.name])) {
            (Some(image), _) => Some(image.field(path)),
            (None, Some(part)) => Some(match part.kind {
                KeyKind::Text => Field::Text(String::from_utf8_lossy(part.value)),
                KeyKind::Number => Field::Number(String::from_utf8_lossy(part.value)),
                KeyKind::Binary => Field::Other("binary"),
                KeyKind::Bson(kind) => bson::value(kind, part.value).map_or(Field::Missing, Field::of_bson),
            }),
            (None, None) => None,
        }
    }
}

impl<'p> Rules<'p> {
    /// Where an item goes.
    #[must_use]
    pub fn locate(&self, image: &Image<'_>, key: Key<'_>) -> Routed {
        match self {
            Self::Same(routed, ..) => routed.clone(),
            Self::ByItem(rules) => rules.locate(image, key),
        }
    }

    /// What becomes of an item's fields.
    #[must_use]
    pub fn transform(&self, image: &Image<'_>) -> Option<&'p Transform> {
        match self {
            Self::Same(_, route) => *route,
            Self::ByItem(rules) => rules.route(image),
        }
        .and_then(|route| route.transform.as_ref())
    }

    /// What an item's route wants when something goes wrong. `images` are the item's, the new one first: the first that takes a
    /// route decides. Where none does, all routes that it might have taken must want the same; else it is `otherwise`.
    #[must_use]
    pub fn policy<'i>(&self, images: impl IntoIterator<Item = Image<'i>>, otherwise: Policy) -> Policy {
        let taken = match self {
            Self::Same(..) => None,
            Self::ByItem(rules) => images.into_iter().find_map(|image| rules.route(&image)),
        };
        taken.map(|route| route.policy).or_else(|| self.common_policy(otherwise)).unwrap_or(otherwise)
    }

    /// What all of the routes want when something goes wrong, `otherwise` where there are none; `None` where they differ.
    #[must_use]
    pub fn common_policy(&self, otherwise: Policy) -> Option<Policy> {
        match self {
            Self::Same(_, route) => Some(route.map_or(otherwise, |route| route.policy)),
            Self::ByItem(rules) => {
                let mut policies = rules.leads().map(|route| route.policy);
                let first = policies.next().unwrap_or(otherwise);
                policies.all(|policy| policy == first).then_some(first)
            }
        }
    }

    /// How an item is written; `None`: plainly. Without its image, and where routes want different things, as one wants it that has to
    /// look at what is stored.
    #[must_use]
    pub fn manner(&self, image: Option<&Image<'_>>) -> Option<&'p Manner> {
        match (self, image) {
            (Self::Same(_, route), _) => route.and_then(Route::manner),
            (Self::ByItem(rules), Some(image)) => rules.route(image).and_then(Route::manner),
            (Self::ByItem(rules), None) => {
                rules.leads().filter_map(Route::manner).max_by_key(|manner| manner.needs_stored())
            }
        }
    }

    /// A manner of these routes that has to look at what is stored, if there is one.
    #[must_use]
    pub fn looks(&self) -> Option<&'p Manner> {
        self.manner(None).filter(|manner| manner.needs_stored())
    }

    /// Whether some of these routes keep documents whose items are deleted.
    #[must_use]
    pub fn keeps_deleted(&self) -> bool {
        let keeps = |manner: &Manner| manner.deletes != Deletes::Hard;
        match self {
            Self::Same(_, route) => route.and_then(Route::manner).is_some_and(keeps),
            Self::ByItem(rules) => rules.leads().filter_map(Route::manner).any(keeps),
        }
    }

    /// What becomes of a document when its item is deleted. `None`: that depends on the item, and nobody knows it.
    #[must_use]
    pub fn deletes(&self, image: Option<&Image<'_>>) -> Option<&'p Deletes> {
        const HARD: &Deletes = &Deletes::Hard;
        let (Self::ByItem(rules), None) = (self, image) else {
            return Some(self.manner(image).map_or(HARD, |manner| &manner.deletes));
        };
        let mut all = rules.leads().map(|route| &route.manner.deletes);
        let first = all.next().unwrap_or(HARD);
        all.all(|deletes| deletes == first).then_some(first)
    }
}

impl<'p> ItemRules<'p> {
    /// The routes that items may take.
    fn leads(&self) -> impl Iterator<Item = &'p Route> {
        self.ways.iter().filter_map(|way| way.leads)
    }

    /// What the first route means that takes an item.
    ///
    /// # Errors
    /// When a condition cannot be evaluated.
    fn way(&self, image: &Image<'_>) -> Result<Option<&Way<'p>>, Failure> {
        for way in &self.ways {
            if way.takes.holds(image)? {
                return Ok(Some(way));
            }
        }
        Ok(None)
    }

    /// The route that an item takes; `None` also where a condition cannot be evaluated.
    fn route(&self, image: &Image<'_>) -> Option<&'p Route> {
        self.way(image).ok().flatten()?.route(image).ok().flatten()
    }

    /// Where an item goes.
    #[must_use]
    pub fn locate(&self, image: &Image<'_>, key: Key<'_>) -> Routed {
        let found = self.way(image).and_then(|way| way.map(|way| way.route(image)).transpose());
        match found {
            Err(failure) => Routed::Refused(failure),
            Ok(None) => self.unmatched.map_or(Routed::Filtered, |policy| policy.routed(&self.name)),
            Ok(Some(None)) => Routed::Filtered,
            Ok(Some(Some(route))) => {
                match route.place(&self.name, Known { image: Some(*image), key }, self.namespaces) {
                    Ok(Some(place)) => Routed::To(place),
                    // With the whole item nothing is unknown.
                    Ok(None) => Routed::Filtered,
                    Err(failure) => Routed::Refused(failure),
                }
            }
        }
    }

    /// Every place that the item of a key may have; `None` where they depend on fields outside of the key.
    #[must_use]
    pub fn places(&self, key: Key<'_>) -> Option<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        for route in self.leads() {
            match route.place(&self.name, Known { image: None, key }, self.namespaces) {
                Ok(Some(place)) if places.contains(&place) => {}
                Ok(Some(place)) => places.push(place),
                Ok(None) => return None,
                // No item of this key was ever there.
                Err(_) => {}
            }
        }
        Some(places)
    }

    /// Where the documents of these routes have been is [remembered](crate::locate): one that wants it is enough, because an item
    /// may go from one to another.
    #[must_use]
    pub fn are_located(&self) -> bool {
        self.leads().any(|route| route.is_located)
    }

    /// Fields of items make the names of places.
    #[must_use]
    pub(crate) fn makes_names(&self) -> bool {
        self.leads().any(Route::is_named_by_items)
    }
}

impl Pipeline {
    /// The routes that items of the source `name` may take, on one of its [branches](Self::branches).
    #[must_use]
    pub fn rules(&self, name: &str, branch: usize) -> Rules<'_> {
        let Some(file) = &self.file else {
            return Rules::Same(Routed::To(Place::new(name.to_owned(), true).within(&self.namespaces)), None);
        };
        let ways = self.ways(name, branch);
        let unmatched = (branch == 0).then_some(file.unmatched);
        if ways.is_empty() {
            return Rules::Same(unmatched.map_or(Routed::Filtered, |policy| policy.routed(name)), None);
        }
        let same = match ways.as_slice() {
            [Way { takes, leads: Some(route) }] if takes.condition.is_none() && route.condition.is_none() => {
                route.fixed(name, &self.namespaces).map(|place| (place, *route))
            }
            _ => None,
        };
        match same {
            Some((place, route)) => Rules::Same(Routed::To(place), Some(route)),
            None => Rules::ByItem(ItemRules { name: name.to_owned(), namespaces: &self.namespaces, ways, unmatched }),
        }
    }

    /// How many routes a change of the source `name` may take at once: one, and each that some `also` names.
    #[must_use]
    pub fn branches(&self, name: &str) -> usize {
        1 + self.further(name).len()
    }

    /// What one of the branches of the source `name` is called, however the routes are ordered: as the route that `also` names,
    /// and nothing for the first.
    #[must_use]
    pub(crate) fn branch_name(&self, name: &str, branch: usize) -> &str {
        let index = branch.checked_sub(1).and_then(|also| self.further(name).get(also).copied());
        index.and_then(|index| self.route(index)).and_then(|route| route.name.as_deref()).unwrap_or_default()
    }

    /// The routes that are named by `also` of those that items of the source may take, in order.
    pub(super) fn further(&self, name: &str) -> Vec<usize> {
        let mut further: Vec<usize> = Vec::new();
        for route in self.routes_of(name) {
            further.extend(route.also.iter().filter(|index| !further.contains(index)).copied().collect::<Vec<_>>());
        }
        further
    }

    /// The routes that match a source's name; none behind the first that takes every item.
    pub(super) fn routes_of(&self, name: &str) -> Vec<&Route> {
        let routes = self.file.iter().flat_map(|file| &file.routes);
        let mut routes: Vec<&Route> =
            routes.filter(|route| route.from.as_ref().is_some_and(|from| matches(from, name))).collect();
        let all = routes.iter().position(|route| route.condition.is_none());
        routes.truncate(all.map_or(routes.len(), |all| all + 1));
        routes
    }

    pub(super) fn ways(&self, name: &str, branch: usize) -> Vec<Way<'_>> {
        let routes = self.routes_of(name);
        let Some(also) = branch.checked_sub(1) else {
            return routes.into_iter().map(|route| Way { takes: route, leads: Some(route) }).collect();
        };
        let further = self.further(name).get(also).copied();
        let further =
            |route: &Route| further.filter(|index| route.also.contains(index)).and_then(|index| self.route(index));
        routes.into_iter().map(|route| Way { takes: route, leads: further(route) }).collect()
    }

    pub(super) fn route(&self, index: usize) -> Option<&Route> {
        self.file.as_ref().and_then(|file| file.routes.get(index))
    }
}
