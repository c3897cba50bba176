//! What the state holds of a key, and what a batch's changes make of it.

use super::Recall;
use crate::target::{Place, ShardValue};
use crate::version::Mark;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::HashMap;

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Memory {
    /// The newest change that has asked.
    pub(super) newest: Option<Mark>,
    /// Where documents of the key may be.
    pub(super) places: Vec<Known>,
}

/// A place in which a document may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// The [name of the branch](crate::pipeline::Pipeline::branch_name) that put it there.
    pub(super) route: String,
    pub(super) place: Place,
    /// The newest change that had asked before this place was known: it cannot have left it.
    pub(super) after: Option<Mark>,
    /// The older change that was there by truth all the same: it may come again, as a letter.
    pub(super) by: Option<Mark>,
}

/// A change of the key, on one branch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change<'p> {
    pub(super) slot: usize,
    pub(super) route: &'p str,
    pub(super) mark: Mark,
    pub(super) entered: Vec<Place>,
    /// Where its old image says that the document was.
    pub(super) before: Option<Place>,
    /// The document stays, although the item goes.
    pub(super) stays: bool,
}

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// It leaves these places.
    Leaves(Vec<Place>),
    /// A newer change has asked before it, and knew nothing of the place that this one would enter.
    Overtaken,
}

/// What a key's changes and what is remembered make of each other.
#[derive(Debug, PartialEq)]
pub(super) struct Met<'p> {
    pub(super) now: Memory,
    pub(super) told: Vec<(usize, Told)>,
    /// Where documents are when all is done, by branch.
    pub(super) ends: Vec<End<'p>>,
}

/// See [`Met::ends`].
#[derive(Debug, PartialEq)]
pub(super) struct End<'p> {
    pub(super) route: &'p str,
    /// The slots of the branch's changes.
    pub(super) slots: Vec<usize>,
    /// Where the last of them leads.
    pub(super) places: Vec<Place>,
}

fn is_newer(one: Option<&Mark>, other: &Mark) -> bool {
    one.and_then(|one| one.compare(other)) == Some(Ordering::Greater)
}

impl Memory {
    /// The places that a branch has put documents in.
    pub(super) fn places<'a>(&'a self, route: &'a str) -> impl Iterator<Item = &'a Place> {
        self.places.iter().filter(move |known| known.route == route).map(|known| &known.place)
    }

    /// A newer change has asked when nothing was known of this place.
    fn overtakes(&self, change: &Change<'_>, place: &Place) -> bool {
        let known = self.places.iter().find(|known| known.route == change.route && known.place == *place);
        let is_own = known.and_then(|known| known.by.as_ref()?.compare(&change.mark)) == Some(Ordering::Equal);
        is_newer(known.map_or(self.newest.as_ref(), |known| known.after.as_ref()), &change.mark) && !is_own
    }

    /// What becomes of a key's changes, oldest first, and what is to be remembered before any of them is written.
    pub(super) fn meet<'p>(&self, changes: &[Change<'p>], recall: Recall) -> Met<'p> {
        let mut now = self.clone();
        for change in changes {
            if now.newest.as_ref().is_none_or(|newest| is_newer(Some(&change.mark), newest)) {
                now.newest = Some(change.mark.clone());
            }
        }
        let mut told = Vec::with_capacity(changes.len());
        let mut chains: Vec<(&'p str, Vec<&Change<'p>>)> = Vec::new();
        for change in changes.iter().filter(|change| !change.stays) {
            let overtaken = || change.entered.iter().any(|place| self.overtakes(change, place));
            if recall != Recall::Truth && overtaken() {
                told.push((change.slot, Told::Overtaken));
                continue;
            }
            for place in &change.entered {
                if !now.places(change.route).any(|known| known == place) {
                    let (route, after) = (change.route.to_owned(), self.newest.clone());
                    let by = is_newer(after.as_ref(), &change.mark).then(|| change.mark.clone());
                    now.places.push(Known { route, place: place.clone(), after, by });
                }
            }
            match chains.iter_mut().find(|(route, _)| *route == change.route) {
                Some((_, chain)) => chain.push(change),
                None => chains.push((change.route, vec![change])),
            }
        }
        let mut ends = Vec::with_capacity(chains.len());
        for (route, chain) in chains {
            for (index, change) in chain.iter().enumerate() {
                let before = index.checked_sub(1).and_then(|before| chain.get(before));
                let remembered = before.is_none() || index + 1 == chain.len();
                let mut left: Vec<Place> = Vec::new();
                let all = self.places(route).filter(|_| remembered);
                let all = all.chain(before.iter().flat_map(|before| &before.entered)).chain(&change.before);
                for place in all {
                    if !change.entered.contains(place) && !left.contains(place) {
                        left.push(place.clone());
                    }
                }
                told.push((change.slot, Told::Leaves(left)));
            }
            if let Some(last) = chain.last().filter(|last| !is_newer(self.newest.as_ref(), &last.mark)) {
                let slots = chain.iter().map(|change| change.slot).collect();
                ends.push(End { route, slots, places: last.entered.clone() });
            }
        }
        Met { now, told, ends }
    }

    /// Without the places that a branch has left, when its document is in these alone.
    pub(super) fn without(&self, ended: &HashMap<&str, &[Place]>) -> Self {
        let stays = |known: &&Known| ended.get(known.route.as_str()).is_none_or(|places| places.contains(&known.place));
        Self { newest: self.newest.clone(), places: self.places.iter().filter(stays).cloned().collect() }
    }
}

#[derive(Serialize, Deserialize)]
struct RawMemory {
    /// Label and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<(String, String)>,
    places: Vec<RawKnown>,
}

#[derive(Serialize, Deserialize)]
struct RawKnown {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    route: String,
    name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    literal: bool,
    /// Base64 of a key's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routing: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shard_key: Vec<(String, RawValue)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<(String, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawValue {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
}

fn mark(space: &str, (label, exact): (String, String)) -> Mark {
    Mark { space: space.to_owned(), label, exact, token: String::new(), at: 0, part: false }
}

impl Memory {
    /// Reads an entry of the state about a key of this space.
    pub(super) fn read(text: &str, space: &str) -> Result<Self, String> {
        let raw: RawMemory = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let known = |raw: RawKnown| {
            let id = raw.id.map(|id| STANDARD.decode(id)).transpose().map_err(|error| error.to_string())?;
            let value = |value| match value {
                RawValue::Null => ShardValue::Null,
                RawValue::Boolean(value) => ShardValue::Boolean(value),
                RawValue::Number(text) => ShardValue::Number(text),
                RawValue::Text(text) => ShardValue::Text(text),
            };
            let shard_key = raw.shard_key.into_iter().map(|(field, found)| (field, value(found))).collect();
            let place = Place { name: raw.name, literal: raw.literal, shard_key, routing: raw.routing, id };
            let mark = |found: Option<_>| found.map(|found| mark(space, found));
            Ok(Known { route: raw.route, place, after: mark(raw.after), by: mark(raw.by) })
        };
        let places = raw.places.into_iter().map(known).collect::<Result<_, String>>()?;
        Ok(Self { newest: raw.newest.map(|newest| mark(space, newest)), places })
    }

    /// The entry's text.
    pub(super) fn write(&self) -> Result<String, String> {
        let number = |mark: &Mark| (mark.label.clone(), mark.exact.clone());
        let known = |known: &Known| {
            let value = |value: &ShardValue| match value {
                ShardValue::Null => RawValue::Null,
                ShardValue::Boolean(value) => RawValue::Boolean(*value),
                ShardValue::Number(text) => RawValue::Number(text.clone()),
                ShardValue::Text(text) => RawValue::Text(text.clone()),
            };
            RawKnown {
                route: known.route.clone(),
                name: known.place.name.clone(),
                literal: known.place.literal,
                id: known.place.id.as_ref().map(|id| STANDARD.encode(id)),
                routing: known.place.routing.clone(),
                shard_key: known.place.shard_key.iter().map(|(field, found)| (field.clone(), value(found))).collect(),
                after: known.after.as_ref().map(number),
                by: known.by.as_ref().map(number),
            }
        };
        let raw =
            RawMemory { newest: self.newest.as_ref().map(number), places: self.places.iter().map(known).collect() };
        serde_json::to_string(&raw).map_err(|error| error.to_string())
    }
}
