//! What must be true in the end: the target holds the fold of the source's history, and nothing was lost on the way.

use super::fold::was_planted;
use super::ledger::{Entry, Kind};
use super::race::is_of_a_race;
use super::routing::{Deletes, FLAG, Location, NOTE};
use super::{FOREIGN, World, foreign_object};
use serde_json::Value;
use std::collections::BTreeSet;

/// Compares the target with the source. Before redrive, changes that wait are left out; after it, those that are lost.
pub(crate) fn check(world: &World, redriven: bool) {
    let stage = if redriven { "after redrive" } else { "before redrive" };
    world.ledger.audit(stage);
    check_foreign(world, stage);
    if redriven && !all_is_redriven(world) {
        let queues = [&world.fallback, &world.dead_letters, &world.failures].map(|queue| queue.holds());
        world.complain(format!("{stage}: {queues:?} messages cannot be redriven"));
    }
    let in_doubt: BTreeSet<usize> = match redriven {
        true => lost(world),
        false => (0..world.history.changes.len()).filter(|&change| world.ledger.is_waiting(change)).collect(),
    };
    let mut known: BTreeSet<Location> = BTreeSet::new();
    for key in 0..world.history.keys {
        for location in world.history.locations(key) {
            check_location(world, key, location, &in_doubt, stage);
            known.insert(location.clone());
        }
    }
    for index in world.history.routing.indices() {
        let documents = world.engine.documents(&index);
        world
            .note(|| format!("{stage}: {} documents in {index}, {} changes in doubt", documents.len(), in_doubt.len()));
        for id in documents.into_keys() {
            let location = Location { index: index.clone(), id };
            if !known.contains(&location) && !is_of_a_race(&location.id) {
                world.complain(format!("{stage}: nobody knows of {location:?}"));
            }
        }
    }
}

/// Nothing waits that could be redriven.
pub(crate) fn all_is_redriven(world: &World) -> bool {
    let queues = [&world.fallback, &world.dead_letters, &world.failures];
    let objects = world.shelf.failures();
    queues.iter().all(|queue| queue.holds() == 0) && objects.iter().all(|(_, entry)| entry.kind == Kind::Foreign)
}

/// Changes that some letter says are lost.
fn lost(world: &World) -> BTreeSet<usize> {
    let letters = world.dead_letters.entries();
    let lost = letters.iter().filter(|(entry, _)| entry.kind == Kind::Lost);
    lost.flat_map(|(Entry { changes, .. }, _)| changes.iter().copied()).collect()
}

/// What is none of ours is where it was.
fn check_foreign(world: &World, stage: &str) {
    for (name, queue) in
        [("fallback queue", &world.fallback), ("dead letters", &world.dead_letters), ("failures", &world.failures)]
    {
        let there: BTreeSet<String> = queue.entries().into_iter().map(|(_, body)| body).collect();
        for body in FOREIGN.iter().filter(|body| !there.contains(**body)) {
            world.complain(format!("{stage}: `{body}` is no longer among the {name}"));
        }
    }
    let objects: BTreeSet<String> = world.shelf.failures().into_iter().map(|(name, _)| name).collect();
    for name in (0..FOREIGN.len()).map(foreign_object).filter(|name| !objects.contains(name)) {
        world.complain(format!("{stage}: object {name} is gone"));
    }
}

fn check_location(world: &World, key: usize, location: &Location, in_doubt: &BTreeSet<usize>, stage: &str) {
    let history = &world.history;
    let is_in_doubt = |change: usize| in_doubt.contains(&change);
    let is_loose = |change: usize| world.ledger.is_loose(change, location);
    let stored = world.engine.source(&location.index, &location.id).map(|source| {
        let mut stored = without_mark(&source);
        // That is the users'.
        if history.routing.manner_at(location).merges
            && let Some(fields) = stored.as_object_mut()
        {
            fields.remove(NOTE);
        }
        stored
    });
    let stored = stored.map(|mut stored| {
        // The flag is put on what is stored, whole or not; and where deletes are ignored nobody can complete what is gone.
        let keeps = history.routing.manner_at(location).deletes == Deletes::Ignore || stored[FLAG] == true;
        let may_stay = keeps && history.of_key(key).iter().any(|&change| is_loose(change));
        if make_whole(&mut stored) && !may_stay && !history.of_key(key).iter().any(|&change| is_in_doubt(change)) {
            world.complain(format!("{stage}: {location:?} is there in part, and no letter tells of it"));
        }
        stored
    });
    let stored = stored.as_ref();
    let expected = history.fold(key, location);
    if stored == expected {
        return;
    }
    // A change that waits is as if it had not happened, until it is redriven; a lost one for ever. A truth or a second delivery may have brought
    // it in all the same, so that any of those after the last change that is not parked will do.
    if history.could_be(key, location, stored, is_in_doubt, is_loose) {
        return;
    }
    // A delete that waits may have been half done: the document gone, its fence refused. Then nothing but its redrive keeps
    // an older write from landing.
    if history.removed_in(key, location, is_in_doubt) && history.ever(key, location, stored) {
        return;
    }
    // A document that was there before stays as long as every change that touches its location is parked.
    if stored.is_some_and(was_planted) && history.all_of(key, location, is_in_doubt) {
        return;
    }
    let show = |item: Option<&Value>| item.map_or("absent".to_owned(), Value::to_string);
    let show = |item| show(item).chars().take(200).collect::<String>();
    world.complain(format!("{stage}: {location:?} is {}, the source says {}", show(stored), show(expected)));
}

/// Puts back what was set aside; whether anything was.
fn make_whole(source: &mut Value) -> bool {
    let Some(fields) = source.as_object_mut() else { return false };
    let Some(Value::Object(rejected)) = fields.remove("_rejected") else { return false };
    fields.extend(rejected);
    true
}

fn without_mark(source: &Value) -> Value {
    let mut source = source.clone();
    if let Some(fields) = source.as_object_mut() {
        fields.remove("_tidelock");
    }
    source
}
