//! What must be true in the end: the target holds the fold of the source's history, and nothing was lost on the way.

use super::history::id;
use super::ledger::{Entry, Kind};
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
    for place in world.history.routing.places() {
        check_place(world, &place, &in_doubt, stage);
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

fn check_place(world: &World, place: &str, in_doubt: &BTreeSet<usize>, stage: &str) {
    let is_in_doubt = |change: usize| in_doubt.contains(&change);
    let documents = world.engine.documents(place);
    for key in 0..world.history.keys {
        let stored = documents.get(&id(key)).map(|(_, source)| without_mark(source));
        let stored = stored.map(|mut stored| {
            if make_whole(&mut stored) && !in_doubt.iter().any(|&change| world.history.changes[change].key == key) {
                world.complain(format!("{stage}: {} in {place} is there in part, and no letter tells of it", id(key)));
            }
            stored
        });
        let expected = world.history.fold(key, place).cloned();
        if stored == expected {
            continue;
        }
        // A change that waits is as if it had not happened, until it is redriven; a lost one for ever. A truth or a second delivery may have brought
        // it in all the same, so that any of those after the last change that is not parked will do.
        if world.history.could_be(key, place, stored.as_ref(), is_in_doubt) {
            continue;
        }
        // A delete that waits may have been half done: the document gone, its fence refused. Then nothing but its redrive keeps
        // an older write from landing.
        if world.history.removed_in(key, place, is_in_doubt) && world.history.ever(key, place, stored.as_ref()) {
            continue;
        }
        if was_planted(stored.as_ref()) && world.history.all_of(key, place, is_in_doubt) {
            continue;
        }
        let show = |item: Option<&Value>| item.map_or("absent".to_owned(), |item| format!("n={}", item["n"]));
        let (stored, expected) = (show(stored.as_ref()), show(expected.as_ref()));
        world.complain(format!("{stage}: {} in {place} is {stored}, the source says {expected}", id(key)));
    }
    world.note(|| format!("{stage}: {} documents in {place}, {} changes in doubt", documents.len(), in_doubt.len()));
}

/// A document that was there before; it stays as long as every change that touches its place is parked.
fn was_planted(stored: Option<&Value>) -> bool {
    stored.is_some_and(|stored| stored["old"] == true)
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
