//! Races that chance brings too seldom: a delete that comes between a redrive's look and its write, and is forgotten by the engine
//! before the write lands; a change that comes between what a truth reads in the source and in the target.

use super::World;
use super::function::{Ran, Target, by_record, invoke, target, target_under};
use super::history::{BEGINNING_MS, LABELS, TABLE, attributes, id, record};
use super::operator::call;
use super::redrive::redrive_letter;
use super::routing::{Deletes, FLAG};
use super::singly::write_one;
use crate::chaos::{Chaos, RequestKind, Strike};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::batch::{Delivery, Fate, Lane, Plan};
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::letter::timestamp;
use tidelock_core::slow::{Item, ReadResult, Source};
use tidelock_core::source::dynamodb::{READER, decode_item};
use tidelock_core::target::Call;

/// Keys from here on belong to races; the table knows nothing of them.
const FIRST_KEY: usize = 1_000_000;

/// Whether a document belongs to a race.
pub(crate) fn is_of_a_race(id: &str) -> bool {
    id.rsplit_once('k').and_then(|(_, key)| key.parse().ok()).is_some_and(|key: usize| key >= FIRST_KEY)
}

/// An insert is redriven; between its look and its write its delete arrives. When both are done the document is not there, or says
/// that it is deleted.
pub(crate) async fn race(world: &Rc<World>, number: usize) {
    world.storm.note("delete between look and write");
    let key = FIRST_KEY + number;
    let at = world.now_ms() / 1000;
    let image = json!({"id": id(key), "n": number, "home": "a", "owner": "x", "hidden": false});
    let insert = record("INSERT", LABELS[0], key, "100000000000000000000", at, (None, Some(&image)));
    let remove = record("REMOVE", LABELS[0], key, "200000000000000000000", at, (Some(&image), None));

    let slow = Strike::SlowAnswer(Duration::from_millis(world.between(70_000, 200_000)));
    let target_of_redrive = first_look(world, slow);
    let whole = world.chance(2);
    let redriven = async {
        if !whole {
            return matches!(write_one(world, &target_of_redrive, &insert, false, true).await, Some(Ok(_)));
        }
        let letter = json!({
            "tidelock": 1, "letter_id": format!("race {number}"), "reason": "unavailable", "record": insert,
            "source": {"kind": "dynamodb", "name": TABLE}, "attempts": 1, "first_failed_at": timestamp(BEGINNING_MS),
        });
        redrive_letter(world, target_of_redrive, letter.to_string()).await
    };
    let deleted = async {
        tokio::time::sleep(Duration::from_millis(world.between(50, 5_000))).await;
        delivered(world, &remove).await
    };
    let (redriven, deleted) = tokio::join!(redriven, deleted);
    world.note(|| format!("race {number}: deleted {deleted}, redriven {redriven}, as a whole {whole}"));
    if !(deleted && redriven) {
        return;
    }
    for location in world.history.routing.locations(&image) {
        let document = world.engine.source(&location.index, &location.id);
        let gone = match world.history.routing.manner_at(&location).deletes {
            Deletes::Hard => document.is_none(),
            Deletes::Soft => document.is_none_or(|document| document[FLAG] == true),
            Deletes::Ignore => true,
        };
        if !gone {
            world
                .complain(format!("{location:?} is there when its delete and the redrive of its insert are both done"));
        }
    }
}

/// A target to whose first look this happens.
fn first_look(world: &World, strike: Strike) -> Target {
    let (first, storm) = (Cell::new(Some(strike)), Rc::clone(&world.storm));
    let chaos = move |kind| match (kind == RequestKind::MultiGet).then(|| first.take()).flatten() {
        Some(strike) => strike,
        None => Chaos::strike(&*storm, kind),
    };
    target_under(world, Rc::new(chaos))
}

/// Whether a record is applied that the mapping repeats.
async fn delivered(world: &Rc<World>, record: &Value) -> bool {
    let mut environment = Rc::new(target(world));
    for _ in 0..200 {
        let ran = invoke(world, &mut environment, &world.plain, std::slice::from_ref(record)).await;
        if let Ran::Answered(None, fates) = ran {
            return are_done(&fates);
        }
        tokio::time::sleep(Duration::from_millis(world.between(50, 1_000))).await;
    }
    false
}

/// Whether the one record that there is has come to its end on all of its routes.
fn are_done(fates: &[Vec<Fate>]) -> bool {
    matches!(fates, [fates] if fates.iter().all(|fate| matches!(fate, Fate::Done(_) | Fate::Filtered)))
}

/// A table of one item.
struct One(RefCell<Value>);

impl Source for One {
    async fn read(&self, _: &str, keys: &[Key<'_>], _: Format, _: Instant) -> Vec<ReadResult> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let text = attributes(&self.0.borrow()).to_string();
        let item = || {
            let document = decode_item(text.as_bytes(), &["id"], Format::Json)?.document;
            Ok(Some(Item { document, notation: Notation::DynamoDb, bytes: text.clone().into_bytes() }))
        };
        keys.iter().map(|_| item()).collect()
    }
}

/// A change is settled by truth, whose look at the target is on its way for long; meanwhile the next change arrives. In the end
/// the target holds what the source does.
pub(crate) async fn truth_race(world: &Rc<World>, number: usize) {
    world.storm.note("change between look and truth");
    let key = FIRST_KEY + FIRST_KEY + number;
    let at = world.now_ms() / 1000;
    let image = |n: usize| json!({"id": id(key), "n": n, "home": "a", "owner": "x", "hidden": false});
    let (before, after) = (image(1), image(2));
    let insert = record("INSERT", LABELS[0], key, "100000000000000000000", at, (None, Some(&before)));
    let change = record("MODIFY", LABELS[0], key, "200000000000000000000", at, (Some(&before), Some(&after)));
    if !delivered(world, &insert).await {
        return;
    }
    let locations = world.history.routing.locations(&before);
    let source = One(RefCell::new(before));
    let slow_target = first_look(world, Strike::Late(Duration::from_millis(world.between(5_000, 30_000))));
    let settled = async {
        let payload = json!({"Records": [insert]}).to_string();
        let Ok(batch) = world.plain.decode(&READER, payload.as_bytes(), Format::Json) else { return false };
        let plan = Plan::new(payload.as_bytes(), &batch, &world.plain);
        let call = Call { truth: true, ..call(world, Duration::from_secs(world.between(60, 500))) };
        let mut delivery = Delivery::new(&batch, &plan, true);
        delivery.write(&slow_target, Some(&source), Lane::Truth, call, call).await;
        are_done(&by_record(&batch, delivery.fates()))
    };
    let changed = async {
        tokio::time::sleep(Duration::from_millis(world.between(100, 2_000))).await;
        source.0.replace(after);
        delivered(world, &change).await
    };
    let (settled, changed) = tokio::join!(settled, changed);
    world.note(|| format!("truth race {number}: changed {changed}, settled {settled}"));
    for location in locations {
        let stored = world.engine.source(&location.index, &location.id).map(|document| document["n"].clone());
        if settled && changed && stored != Some(json!(2)) {
            world.complain(format!("{location:?} is {stored:?} when its truth and its last change are both done"));
        }
    }
}
