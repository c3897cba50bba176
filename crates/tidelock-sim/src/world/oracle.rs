//! What must be true in the end: the target holds the fold of the source's history, and nothing was lost on the way.

use super::World;
use super::history::id;
use serde_json::Value;
use std::collections::BTreeSet;

/// Compares the target with the source. Before redrive, changes that wait in the dead-letter queue are left out.
pub(crate) fn check(world: &World, redriven: bool) {
    let parked = parked(world);
    let stage = if redriven { "after redrive" } else { "before redrive" };
    if redriven && !parked.is_empty() {
        world.complain(format!("{stage}: letters of changes {parked:?} cannot be redriven"));
    }
    for place in world.history.routing.places() {
        check_place(world, &place, &parked, redriven);
    }
    for (change, acknowledged) in world.acknowledged.borrow().iter().enumerate() {
        if !acknowledged {
            world.complain(format!("{stage}: change {change} was never acknowledged"));
        }
    }
}

fn check_place(world: &World, place: &str, parked: &BTreeSet<usize>, redriven: bool) {
    let stage = if redriven { "after redrive" } else { "before redrive" };
    let documents = world.engine.documents(place);
    for key in 0..world.history.keys {
        let stored = documents.get(&id(key)).map(|(_, source)| without_mark(source));
        let expected = world.history.fold(key, place).cloned();
        if stored == expected {
            continue;
        }
        // A parked change is as if it had not happened, until it is redriven. A truth or a second delivery may have brought
        // it in all the same, so that any of those after the last change that is not parked will do.
        if !redriven && world.history.could_be(key, place, stored.as_ref(), |change| parked.contains(&change)) {
            continue;
        }
        // A delete that waits may have been half done: the document gone, its fence refused. Then nothing but its redrive keeps
        // an older write from landing.
        if !redriven
            && world.history.removed_in(key, place, |change| parked.contains(&change))
            && world.history.ever(key, place, stored.as_ref())
        {
            continue;
        }
        if !redriven
            && was_planted(stored.as_ref())
            && world.history.all_of(key, place, |change| parked.contains(&change))
        {
            continue;
        }
        let show = |item: Option<&Value>| item.map_or("absent".to_owned(), |item| format!("n={}", item["n"]));
        let (stored, expected) = (show(stored.as_ref()), show(expected.as_ref()));
        world.complain(format!("{stage}: {} in {place} is {stored}, the source says {expected}", id(key)));
    }
    world.note(|| format!("{stage}: {} documents in {place}, {} letters wait", documents.len(), parked.len()));
}

/// A document that was there before; it stays as long as every change that touches its place is parked.
fn was_planted(stored: Option<&Value>) -> bool {
    stored.is_some_and(|stored| stored["old"] == true)
}

fn without_mark(source: &Value) -> Value {
    let mut source = source.clone();
    if let Some(fields) = source.as_object_mut() {
        fields.remove("_tidelock");
    }
    source
}

/// Changes that wait in the queue.
fn parked(world: &World) -> BTreeSet<usize> {
    let positions: BTreeSet<(String, String)> =
        world.letters.waiting().iter().map(|(_, letter)| place(&letter["record"])).collect();
    let changes = world.history.changes.iter().enumerate();
    changes.filter(|(_, change)| positions.contains(&place(&change.record))).map(|(index, _)| index).collect()
}

fn place(record: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&record["eventSourceARN"]), text(&record["dynamodb"]["SequenceNumber"]))
}
