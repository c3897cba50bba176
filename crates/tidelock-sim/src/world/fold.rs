//! What a key's changes lead to at a location, and what else may be there while some of them wait.
//!
//! As a rule that is what the last change has done that has something to do with the location. Deletes that leave the document are
//! of less weight where the source has been read instead of the record, because a source says nothing of what is gone:
//! - `deletes: soft` puts the flag on what is stored, if anything is;
//! - with `deletes: ignore` an item that is gone leaves all as it is, also what a change before has not written yet;
//! - what a deleted item would have left somewhere does not come there any more, when the item has come to be again elsewhere.
//!
//! Which changes that concerns, the caller says: those are *loose*.

use super::history::History;
use super::routing::{Deletes, Effect, FLAG, FLAGGED_AT, Location};
use serde_json::Value;
use std::collections::BTreeSet;

impl History {
    /// Every location of a key.
    pub(crate) fn locations(&self, key: usize) -> BTreeSet<&Location> {
        let changes = self.of_key(key).iter().filter_map(|&change| self.changes.get(change));
        changes.flat_map(|change| &change.effects).map(|effect| &effect.location).collect()
    }

    /// What a change does at a location.
    pub(crate) fn effect(&self, change: usize, location: &Location) -> Option<&Effect> {
        self.changes.get(change)?.effects.iter().find(|effect| effect.location == *location)
    }

    /// The effects of a key's changes at a location, in order.
    fn effects_at<'a>(
        &'a self,
        key: usize,
        location: &Location,
    ) -> impl DoubleEndedIterator<Item = (usize, &'a Effect)> {
        self.of_key(key).iter().filter_map(move |&change| Some((change, self.effect(change, location)?)))
    }

    /// What is at a location of a key in the end.
    pub(crate) fn fold(&self, key: usize, location: &Location) -> Option<&Value> {
        self.effects_at(key, location).next_back()?.1.document.as_ref()
    }

    /// Whether what is stored is what a key's changes lead to at a location when some of those `in_doubt` are left out.
    pub(crate) fn could_be(
        &self,
        key: usize,
        location: &Location,
        stored: Option<&Value>,
        in_doubt: impl Fn(usize) -> bool,
        loose: impl Fn(usize) -> bool,
    ) -> bool {
        let effects: Vec<_> = self.effects_at(key, location).collect();
        for (position, &(change, effect)) in effects.iter().enumerate().rev() {
            if effect.document.as_ref() == stored
                || (stored.is_none() && loose(change) && self.is_left_behind(change, location))
            {
                return true;
            }
            let before = effects.get(..position).unwrap_or_default();
            // A truth of a change that is not the delete may have put the flag there.
            let early = in_doubt(change) || !effect.soft;
            let may_be_soft =
                effect.soft || (effect.document.is_some() && self.is_gone_after(change, location, Deletes::Soft));
            if may_be_soft && loose(change) && self.is_soft_of((effect, early), before, stored, &loose) {
                return true;
            }
            let is_open = in_doubt(change) || (loose(change) && self.is_ignored_after(change, location));
            if !is_open {
                return false;
            }
        }
        stored.is_none_or(was_planted)
    }

    /// Whether what is stored is what was there before, told to be deleted; or nothing, where nothing was. An `early` delete waits:
    /// that the item is gone has been told by an older change, at its own time.
    fn is_soft_of(
        &self,
        (effect, early): (&Effect, bool),
        before: &[(usize, &Effect)],
        stored: Option<&Value>,
        loose: impl Fn(usize) -> bool,
    ) -> bool {
        let is_flagged = |stored: &Value| {
            let soft = effect.document.as_ref().unwrap_or(&Value::Null);
            stored[FLAG] == true && (early || soft[FLAGGED_AT] == stored[FLAGGED_AT])
        };
        if !stored.is_none_or(is_flagged) {
            return false;
        }
        let stored = stored.map(without_flag);
        let own = effect.document.as_ref().map(without_flag);
        if stored == own || stored.as_ref().is_some_and(was_planted) {
            return true;
        }
        for &(change, effect) in before.iter().rev() {
            if effect.document.as_ref().map(without_flag) == stored {
                return true;
            }
            if !loose(change) {
                return false;
            }
        }
        stored.is_none()
    }

    /// Whether the item is gone some time after a change, and that is ignored there.
    pub(crate) fn is_ignored_after(&self, change: usize, location: &Location) -> bool {
        self.is_gone_after(change, location, Deletes::Ignore)
    }

    fn is_gone_after(&self, change: usize, location: &Location, deletes: Deletes) -> bool {
        self.routing.manner_at(location).deletes == deletes
            && self.later(change).any(|later| self.changes.get(later).is_some_and(|later| later.item.is_none()))
    }

    /// Whether a change's document stays where a delete has left it, while the item is another one elsewhere.
    fn is_left_behind(&self, change: usize, location: &Location) -> bool {
        let is_gone = |change: usize| self.changes.get(change).is_some_and(|change| change.item.is_none());
        let mut gone = is_gone(change);
        self.routing.manner_at(location).deletes != Deletes::Hard
            && self.later(change).any(|later| {
                let comes_again = gone && !is_gone(later);
                gone |= is_gone(later);
                comes_again
            })
    }

    /// The changes of the same key that are newer.
    fn later(&self, change: usize) -> impl Iterator<Item = usize> {
        let key = self.changes.get(change).map_or(usize::MAX, |change| change.key);
        self.of_key(key).iter().copied().filter(move |&other| other > change)
    }

    /// Whether a change that is newer than this one leaves nothing of its key at a location, or may, and `is_open`.
    pub(crate) fn is_removed_after(&self, change: usize, location: &Location, is_open: impl Fn(usize) -> bool) -> bool {
        let removes = |effect: &Effect| effect.document.is_none() || effect.soft;
        self.later(change).filter(|&later| self.effect(later, location).is_some_and(removes)).any(is_open)
    }

    /// Whether this has ever been at a location of a key.
    pub(crate) fn ever(&self, key: usize, location: &Location, document: Option<&Value>) -> bool {
        document.is_none() || self.effects_at(key, location).any(|(_, effect)| effect.document.as_ref() == document)
    }

    /// Whether one of these changes leaves nothing of a key at a location, or may.
    pub(crate) fn removed_in(&self, key: usize, location: &Location, these: impl Fn(usize) -> bool) -> bool {
        self.effects_at(key, location)
            .any(|(change, effect)| (effect.document.is_none() || effect.soft) && these(change))
    }

    /// Whether every change that enters a location of a key, or leaves it, is one of these; the fence of one that leaves it makes
    /// older ones stale.
    pub(crate) fn all_of(&self, key: usize, location: &Location, these: impl Fn(usize) -> bool) -> bool {
        let effects: Vec<_> = self.effects_at(key, location).collect();
        let leaves = effects
            .iter()
            .rposition(|&(change, effect)| effect.document.is_none() && these(change))
            .unwrap_or_default();
        effects.iter().skip(leaves).all(|&(change, _)| these(change))
    }
}

/// A document that was there before the source.
pub(crate) fn was_planted(stored: &Value) -> bool {
    stored["old"] == true
}

fn without_flag(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.remove(FLAG);
        fields.remove(FLAGGED_AT);
    }
    document
}
