//! What goes on beside the stream: redrive, sweep, backfill, reindexing.

use super::World;
use super::function::{Target, target, target_under};
use super::history::{TABLE, id};
use super::race::race;
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Delivery, Fate, Lane, Plan};
use tidelock_core::cause::Disposition;
use tidelock_core::encode::Format;
use tidelock_core::fence::{FENCE_INDEX, FENCE_LIFE_MS, Window};
use tidelock_core::pipeline::Routed;
use tidelock_core::slow::{Wish, backfill};
use tidelock_core::source::dynamodb::decode;
use tidelock_core::target::{Call, Done, Outcome, Place, Store as _};
use tidelock_core::version::dynamodb::oldest;
use tokio::time::{Instant, timeout};

const SPACE: &str = "dynamodb:eu-west-1:123456789012:orders";

/// Works until the stream has been read to its end.
pub(crate) async fn work(world: &Rc<World>) {
    let mut beside = Vec::new();
    while !world.drained.get() {
        tokio::time::sleep(Duration::from_millis(world.between(2_000, 20_000))).await;
        match world.between(0, 17) {
            16 => {
                let (world, number) = (Rc::clone(world), beside.len());
                beside.push(tokio::task::spawn_local(async move { race(&world, number).await }));
            }
            10.. => {
                let world = Rc::clone(world);
                beside.push(tokio::task::spawn_local(async move { replay(&world).await }));
            }
            0..=3 => {
                redrive_all(world, false).await;
            }
            4..=5 => sweep(world, false).await,
            6 => block(world),
            7..=8 if world.climate.source => scan(world).await,
            9 if world.chance(3) => reindex(world),
            _ => {}
        }
    }
    for replay in beside {
        if let Err(error) = replay.await {
            world.complain(format!("a replay ended: {error}"));
        }
    }
}

fn call(world: &World, time: Duration) -> Call {
    let deadline = Instant::now().into_std() + time;
    Call { deadline, now_ms: world.now_ms(), truth: world.climate.source }
}

/// One pass over the letters; says how many wait still. Dies half-way as functions do. `last`: everything is well by now,
/// and the source can be read whatever the pipeline's setting was.
pub(crate) async fn redrive_all(world: &Rc<World>, last: bool) -> usize {
    let target = target(world);
    let letters = world.letters.waiting();
    let time = if last { Duration::from_secs(3_600) } else { Duration::from_millis(world.between(50, 300_000)) };
    let work = async {
        for (number, letter) in &letters {
            let by_truth = (last || world.climate.source) && world.chance(2);
            let outcome = redrive(world, &target, letter, by_truth, false).await;
            world.note(|| format!("redrive {number} truth={by_truth}: {outcome:?}"));
            if let Some(Ok(_)) = outcome {
                world.letters.complete(*number);
            }
        }
    };
    if timeout(time, work).await.is_err() {
        world.note(|| "redrive died".to_owned());
    }
    world.letters.waiting().len()
}

/// Redrives records that have been dealt with, most of them a moment ago: what an operator does who takes an on-failure
/// record for lost.
async fn replay(world: &Rc<World>) {
    let target = if world.chance(3) { dawdling(world) } else { target(world) };
    let happened = world.history.changes.partition_point(|change| change.time <= world.since());
    let span = if world.chance(3) { happened } else { happened.min(40) };
    let picked: Vec<usize> = (0..12)
        .filter_map(|_| {
            let back = usize::try_from(world.between(0, u64::try_from(span).unwrap_or(1).max(1))).ok()?;
            happened.checked_sub(back + 1)
        })
        .filter(|&change| world.acknowledged.borrow().get(change) == Some(&true))
        .collect();
    if picked.is_empty() {
        return;
    }
    world.storm.note("record replayed");
    let time = Duration::from_millis(world.between(20, 200_000));
    let work = async {
        for change in picked {
            let Some(change) = world.history.changes.get(change) else { continue };
            let letter = serde_json::json!({"record": change.record});
            let outcome = redrive(world, &target, &letter, world.climate.source && world.chance(4), false).await;
            world.note(|| format!("replay {}: {outcome:?}", change.record["dynamodb"]["SequenceNumber"]));
        }
    };
    let _ = timeout(time, work).await;
}

/// A target whose looks take long and whose writes are patient: what happens between look and write is what a slow lane has to
/// find out about.
fn dawdling(world: &World) -> Target {
    let storm = Rc::clone(&world.storm);
    let rng = RefCell::new(fastrand::Rng::with_seed(world.between(0, u64::MAX)));
    target_under(world, Rc::new(move |kind| storm.dawdle(kind, &mut rng.borrow_mut())))
}

/// Redrives what has just been held, while its keys' newer changes go on.
pub(crate) async fn redrive_held(world: &Rc<World>, letters: Vec<(usize, Value)>) {
    let target = dawdling(world);
    world.storm.note("redriven at once");
    for (number, letter) in letters {
        let by_truth = world.climate.source && world.chance(3);
        let outcome = redrive(world, &target, &letter, by_truth, true).await;
        world.note(|| format!("redrive {number} at once truth={by_truth}: {outcome:?}"));
        if let Some(Ok(_)) = outcome {
            world.letters.complete(number);
        }
    }
}

/// Redrives one letter; `None` when it cannot be tried in this way.
pub(crate) async fn redrive(
    world: &World,
    target: &Target,
    letter: &Value,
    by_truth: bool,
    patient: bool,
) -> Option<Outcome> {
    let payload = serde_json::json!({"Records": [letter["record"]]}).to_string();
    let batch = decode(payload.as_bytes(), Format::Json).ok()?;
    let plan = Plan::new(payload.as_bytes(), &batch, &world.pipeline);
    // Some runs have time enough to wait for a write that lands when deletes have been forgotten.
    let patience = if patient || world.chance(3) { world.between(60, 500) } else { world.between(3, 20) };
    let call = call(world, Duration::from_secs(patience));
    let lane = if by_truth { Lane::Truth } else { Lane::Slow };
    let source = (by_truth || call.truth).then_some(&world.table);
    let mut delivery = Delivery::new(&batch, &plan, source.is_some());
    delivery.write(target, source, lane, call, call).await;
    match delivery.fates().first()? {
        Fate::Done(done) => Some(Ok(*done)),
        Fate::Filtered => Some(Ok(Done::Stale)),
        Fate::Failed(failure) => Some(Err(failure.clone())),
        Fate::Parked(_) | Fate::Held(_) | Fate::Pending => None,
    }
}

/// A sweep; in a storm it may die half-way.
pub(crate) async fn sweep(world: &Rc<World>, calm: bool) {
    let target = target(world);
    let time = if calm { Duration::from_secs(3_600) } else { Duration::from_millis(world.between(10, 30_000)) };
    let window = Window::at(world.now_ms(), FENCE_LIFE_MS);
    for _ in 0..if calm { 60 } else { 1 } {
        let swept = timeout(time, target.sweep(window, call(world, Duration::from_secs(60)))).await;
        world.note(|| format!("sweep: {swept:?}"));
        if matches!(swept, Ok(Ok(swept)) if swept.complete) {
            return;
        }
    }
    if calm {
        world.complain("the sweep never came to its end".to_owned());
    }
}

/// Reads a part of the table and writes what was read some time later, as a backfill does.
async fn scan(world: &Rc<World>) {
    let target = target(world);
    let from = usize::try_from(world.between(0, 90)).unwrap_or_default();
    let keys: Vec<usize> = (from..from + 25).filter(|&key| key < world.history.keys).collect();
    let read_at = world.since();
    let rules = world.pipeline.rules(TABLE);
    let found: Vec<(usize, Place, Vec<u8>)> = keys
        .into_iter()
        .filter_map(|key| {
            let item = world.table.item(key, read_at)?;
            let Routed::To(place) = rules.locate(&item.image()) else { return None };
            Some((key, place, item.document.ok()?))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(world.between(0, 3_000))).await;
    world.storm.note("backfill beside the stream");
    let payload = serde_json::json!({"Records": found.iter().map(|(key, ..)| scanned(*key)).collect::<Vec<_>>()});
    let payload = payload.to_string();
    let Ok(batch) = decode(payload.as_bytes(), Format::Json) else { return };
    let wishes: Vec<Wish<'_>> = batch
        .slots
        .iter()
        .zip(&found)
        .filter_map(|(slot, (_, into, _))| {
            Some(Wish { origin: TABLE, rules: &rules, into, key: batch.key(slot)?, version: oldest(SPACE) })
        })
        .collect();
    let items: Vec<&[u8]> = found.iter().map(|(_, _, item)| item.as_slice()).collect();
    let time = Duration::from_millis(world.between(10, 10_000));
    let work = backfill(&target, &world.table, &wishes, &items, call(world, Duration::from_secs(10)));
    let outcomes = timeout(time, work).await;
    world.note(|| format!("backfill of {} from {from}: {outcomes:?}", wishes.len()));
    if let Ok(outcomes) = outcomes {
        for told in outcomes {
            if let Err(failure) = told.nowhere.map_or(told.outcome, Err)
                && failure.cause.disposition() == Disposition::Park
                && !failure.detail.contains("poison")
            {
                world.complain(format!("backfill: {failure}"));
            }
        }
    }
}

/// A record that carries a key, as the decoder writes it.
fn scanned(key: usize) -> Value {
    serde_json::json!({
        "eventName": "MODIFY",
        "eventSourceARN": format!("arn:aws:dynamodb:eu-west-1:123456789012:table/{TABLE}/stream/2012-01-01T00:00:00.000"),
        "dynamodb": {"Keys": {"id": {"S": id(key)}}, "NewImage": {"id": {"S": id(key)}}, "SequenceNumber": "1"},
    })
}

fn a_place(world: &World) -> String {
    world.rng.borrow_mut().choice(world.history.routing.places()).unwrap_or_default()
}

/// A disk is full for a while.
fn block(world: &World) {
    let place = a_place(world);
    let index = if world.chance(3) { place.as_str() } else { FENCE_INDEX };
    let time = Duration::from_millis(world.between(2_000, 90_000));
    world.note(|| format!("{index} blocked for {time:?}"));
    world.engine.block(index, time);
    world.storm.note("index blocked");
}

/// The operator copies the index there and back, keeping versions, as the documentation tells.
fn reindex(world: &World) {
    world.storm.note("reindexed");
    let copied = world.engine.reindex(&a_place(world), "orders-copy", true);
    world.note(|| format!("{copied} documents reindexed"));
}
