//! What goes on beside the stream: redrive, sweep, backfill, reindexing.

use super::World;
use super::function::target;
use super::history::{SPACE, TABLE, id};
use super::race::{race, truth_race};
use super::singly::{dawdling, write_one};
use super::storm::Hits;
use super::users::edit;
use super::{redrive, singly};
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::cause::Disposition;
use tidelock_core::encode::Format;
use tidelock_core::fence::{FENCE_INDEX, FENCE_LIFE_MS, Window};
use tidelock_core::key::Key;
use tidelock_core::pipeline::{Routed, Rules};
use tidelock_core::redrive::Renewal;
use tidelock_core::slow::{Item, Wish, backfill};
use tidelock_core::source::dynamodb::decode_item;
use tidelock_core::target::{Call, Manner, Place, Salvage, Store as _};
use tidelock_core::version::dynamodb::oldest;
use tokio::time::{Instant, timeout};

/// Works until the stream has been read to its end.
pub(crate) async fn work(world: &Rc<World>) {
    let mut beside = Vec::new();
    while !world.drained.get() {
        tokio::time::sleep(Duration::from_millis(world.between(2_000, 20_000))).await;
        match world.between(0, 23 + if world.history.routing.merges() { 4 } else { 0 }) {
            23.. => edit(world),
            22 => {
                let (world, number) = (Rc::clone(world), beside.len());
                beside.push(tokio::task::spawn_local(async move { truth_race(&world, number).await }));
            }
            21 => survey(world).await,
            20 => beside.push(tokio::task::spawn_local(singly::write(Rc::clone(world)))),
            18..=19 => take_down(world),
            17 => beside.push(tokio::task::spawn_local(redrive::by_mapping(Rc::clone(world)))),
            16 => {
                let (world, number) = (Rc::clone(world), beside.len());
                beside.push(tokio::task::spawn_local(async move { race(&world, number).await }));
            }
            10..=15 => {
                let world = Rc::clone(world);
                beside.push(tokio::task::spawn_local(async move { replay(&world).await }));
            }
            0..=3 => beside.push(tokio::task::spawn_local(redrive::at_random(Rc::clone(world)))),
            4..=5 => sweep(world, false).await,
            6 => block(world),
            7..=8 if world.climate.source => scan(world).await,
            9 if world.chance(3) => reindex(world),
            _ => {}
        }
    }
    for replay in beside {
        if let Err(error) = replay.await {
            world.complain(format!("work beside the stream ended: {error}"));
        }
    }
}

pub(crate) fn call(world: &World, time: Duration) -> Call {
    let deadline = Instant::now().into_std() + time;
    Call { deadline, now_ms: world.now_ms(), truth: world.climate.source }
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
        .filter(|&change| world.ledger.is_acknowledged(change))
        .collect();
    if picked.is_empty() {
        return;
    }
    world.storm.note("record replayed");
    let time = Duration::from_millis(world.between(20, 200_000));
    let work = async {
        for change in picked {
            let Some(change) = world.history.changes.get(change) else { continue };
            let by_truth = world.climate.source && world.chance(4);
            let outcome = write_one(world, &target, &change.record, by_truth, by_truth).await;
            world.note(|| format!("replay {}: {outcome:?}", change.record["dynamodb"]["SequenceNumber"]));
        }
    };
    let _ = timeout(time, work).await;
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
    let rules: Vec<_> = (0..world.pipeline.branches(TABLE)).map(|branch| world.pipeline.rules(TABLE, branch)).collect();
    let items: Vec<(Item, Vec<u8>)> =
        keys.into_iter().filter_map(|key| Some((world.table.item(key, read_at)?, source_key(key)?))).collect();
    let mut found: Vec<Going<'_>> = Vec::new();
    for item in &items {
        for rules in &rules {
            let Routed::To(place) = rules.locate(&item.0.image(), Key::from_bytes(&item.1)) else { continue };
            found.push((rules, place, rules.manner(Some(&item.0.image())), item));
        }
    }
    tokio::time::sleep(Duration::from_millis(world.between(0, 3_000))).await;
    world.storm.note("backfill beside the stream");
    let wishes: Vec<Wish<'_>> = found
        .iter()
        .map(|(rules, into, manner, (_, key))| Wish {
            origin: TABLE,
            rules,
            into,
            key: Key::from_bytes(key),
            version: oldest(SPACE),
            salvage: Salvage::Never,
            manner: *manner,
        })
        .collect();
    let items: Vec<&[u8]> = found.iter().map(|(.., (item, _))| item.document.as_deref().unwrap_or_default()).collect();
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

/// A scanned item with its key, and a place it goes to by some rules.
type Going<'a> = (&'a Rules<'a>, Place, Option<&'a Manner>, &'a (Item, Vec<u8>));

/// The source's key, as the decoder writes it.
fn source_key(key: usize) -> Option<Vec<u8>> {
    let item = serde_json::json!({"id": {"S": id(key)}}).to_string();
    Some(decode_item(item.as_bytes(), &["id"], Format::Json).ok()?.key)
}

fn an_index(world: &World) -> String {
    world.rng.borrow_mut().choice(world.history.routing.indices()).unwrap_or_default()
}

/// The target is away for a while: seldom long where everything waits for it.
fn take_down(world: &World) {
    let waits = world.climate.on_outage.contains(&"retry");
    let time = Duration::from_millis(world.between(5_000, if waits && !world.chance(4) { 60_000 } else { 240_000 }));
    world.note(|| format!("the target is down for {time:?}"));
    world.storm.take_down(time);
}

/// Looks through a queue; what is older than some time is sent anew. Dies half-way as functions do.
pub(crate) async fn survey(world: &Rc<World>) {
    let hits = Hits::new(&world.storm);
    let queue = if world.chance(2) { &world.fallback } else { &world.dead_letters };
    let (queue, bucket) = (queue.client(&hits), world.shelf.client(&hits));
    let age = i64::try_from(world.between(0, 400_000)).unwrap_or_default();
    let renewal = world.chance(2).then(|| Renewal { before_ms: world.now_ms() - age });
    let deadline = Instant::now().into_std() + Duration::from_secs(world.between(4, 60));
    let most = usize::try_from(world.between(1, 300)).unwrap_or_default();
    let mut seen = 0;
    let work = tidelock_core::redrive::survey(&queue, Some(&bucket), renewal, redrive::clock, deadline, |_, _| {
        seen += 1;
        seen < most
    });
    let time = if world.chance(3) { world.between(10, 2_000) } else { 3_600_000 };
    let survey = timeout(Duration::from_millis(time), work).await;
    world.note(|| format!("survey: {survey:?}"));
    if renewal.is_none() && queue.changes.get() > 0 {
        world.complain("a survey has changed what it looked at".to_owned());
    }
    if renewal.is_some() {
        hits.note("queue sent anew");
    }
    let hits = hits.take();
    hits.iter().for_each(|fault| world.counts.borrow_mut().struck(fault));
    // Whoever comes next finds what it has left.
    world.left_behind.borrow_mut().extend(hits);
}

/// A disk is full for a while.
fn block(world: &World) {
    let index = an_index(world);
    let index = if world.chance(3) { index.as_str() } else { FENCE_INDEX };
    let time = Duration::from_millis(world.between(2_000, 90_000));
    world.note(|| format!("{index} blocked for {time:?}"));
    world.engine.block(index, time);
    world.storm.note("index blocked");
}

/// The operator copies the index there and back, keeping versions, as the documentation tells.
fn reindex(world: &World) {
    world.storm.note("reindexed");
    let copied = world.engine.reindex(&an_index(world), "orders-copy", true);
    world.note(|| format!("{copied} documents reindexed"));
}
