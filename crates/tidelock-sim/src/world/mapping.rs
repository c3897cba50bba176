//! The event source mapping of one shard: batches in order, from the checkpoint, again until they are done; with the
//! duplicates, bisections and retries that Lambda is free to make.

use super::World;
use super::function::{Ran, invoke, target};
use super::given_up::give_up;
use super::history::stranger;
use super::redrive::redrive_at_once;
use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::Fate;

/// Most records that are held at once without need.
const HELD: usize = 12;

/// Delivers a shard from its beginning to its end.
pub(crate) async fn follow(world: &Rc<World>, shard: usize) {
    let changes = world.history.shards.get(shard).cloned().unwrap_or_default();
    let mut environment = Rc::new(target(world));
    let mut checkpoint = 0;
    // What the next delivery is hit by, beside what strikes during it.
    let mut hit: Vec<&'static str> = Vec::new();
    let mut redrives = Vec::new();
    let mut most = world.climate.batch;
    let mut failures = 0;
    while checkpoint < changes.len() {
        // A record can be read a moment after it happened.
        let next = changes.get(checkpoint).and_then(|&change| world.history.changes.get(change));
        let visible = next.map_or(Duration::ZERO, |change| change.time + Duration::from_millis(world.between(20, 400)));
        tokio::time::sleep_until(world.began + visible).await;
        // As if somebody had told the routes for a moment to hold whatever comes.
        let held = world.storm.strikes("batch held", 30);
        let pipeline = if held { &world.holding } else { &world.pipeline };
        let now = world.since();
        let ready = |change: &usize| world.history.changes.get(*change).is_some_and(|change| change.time <= now);
        let batch: Vec<usize> = changes
            .iter()
            .skip(checkpoint)
            .take(if held { HELD } else { most.max(1) })
            .take_while(|change| ready(change))
            .copied()
            .collect();
        let mut records: Vec<Value> =
            batch.iter().filter_map(|&change| Some(world.history.changes.get(change)?.record.clone())).collect();
        let strange = world.chance(10);
        if strange {
            records.push(stranger(checkpoint + 1));
        }
        let _ = world.storm.take();
        if held {
            world.storm.note("batch held");
        }
        if batch.len() > 1 && world.storm.strikes("older record repeated", 12) {
            // As streams may that know no exactly-once: after a newer record of its key.
            let again = usize::try_from(world.between(0, u64::try_from(batch.len()).unwrap_or(1) - 1)).unwrap_or(0);
            records.extend(records.get(again).cloned());
        }
        let ran = invoke(world, &mut environment, pipeline, &records).await;
        hit.extend(world.storm.take());
        if let Ran::Answered(_, fates) | Ran::Failed(fates) = &ran {
            let mut counts = world.counts.borrow_mut();
            counts.became(&hit, &fates.concat());
        }
        note(world, shard, &batch, &ran, &hit);
        let died = matches!(ran, Ran::Died);
        {
            let mut counts = world.counts.borrow_mut();
            hit.iter().for_each(|fault| counts.struck(fault));
        }
        hit.clear();
        let before = checkpoint;
        match ran {
            Ran::Answered(None, fates) => {
                acknowledge(world, &batch, &fates);
                checkpoint += batch.len();
                if held && world.chance(2) {
                    // While its keys' newer changes go on.
                    let world = Rc::clone(world);
                    redrives.push(tokio::task::spawn_local(async move { redrive_at_once(&world).await }));
                }
                most = world.climate.batch;
                if checkpoint > 0 && !world.storm.is_over() && world.chance(world.climate.duplicate_every) {
                    // A checkpoint that was lost: what was done comes again.
                    checkpoint -= usize::try_from(world.between(1, 40)).unwrap_or(1).min(checkpoint);
                    hit.push("batch delivered again");
                }
            }
            Ran::Answered(Some(lowest), fates) => {
                let failed = batch.iter().position(|&change| sequence(world, change) == Some(lowest.as_str()));
                match failed {
                    Some(failed) => {
                        acknowledge(
                            world,
                            batch.get(..failed).unwrap_or_default(),
                            fates.get(..failed).unwrap_or_default(),
                        );
                        checkpoint += failed;
                    }
                    // Lambda takes an unknown identifier for the failure of all.
                    None if strange => {}
                    None => world.complain(format!("`{lowest}` is not in the batch")),
                }
                backoff(world).await;
            }
            Ran::Failed(_) | Ran::Died => {
                if batch.len() > 1 && world.chance(3) {
                    most = batch.len() / 2;
                    hit.push("bisected");
                }
                backoff(world).await;
            }
        }
        if died {
            hit.push("function killed");
        }
        failures = if checkpoint == before { failures + 1 } else { 0 };
        if let Some(how) = world.climate.gives_up.filter(|how| failures >= how.after && !world.storm.is_over()) {
            give_up(world, how, shard, &batch);
            world.note(|| format!("shard {shard} gives up {:?}..{:?}", batch.first(), batch.last()));
            batch.iter().for_each(|&change| world.ledger.acknowledge(change));
            checkpoint += batch.len();
            failures = 0;
            hit.push("batch given up");
        }
    }
    join(world, redrives).await;
}

async fn join(world: &World, tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        if let Err(error) = task.await {
            world.complain(format!("a redrive ended: {error}"));
        }
    }
}

async fn backoff(world: &World) {
    tokio::time::sleep(Duration::from_millis(world.between(50, 2_000))).await;
}

fn sequence(world: &World, change: usize) -> Option<&str> {
    world.history.changes.get(change)?.record["dynamodb"]["SequenceNumber"].as_str()
}

/// The mapping goes on behind these records: each must be accounted for.
fn acknowledge(world: &World, batch: &[usize], fates: &[Vec<Fate>]) {
    for (&change, fates) in batch.iter().zip(fates) {
        for fate in fates.iter().filter(|fate| matches!(fate, Fate::Failed(_) | Fate::Pending)) {
            world.complain(format!("change {change} was acknowledged as {fate:?}"));
        }
        world.ledger.acknowledge(change);
    }
    if batch.len() > fates.len() {
        world.complain(format!("{} records have {} fates", batch.len(), fates.len()));
    }
}

fn note(world: &World, shard: usize, batch: &[usize], ran: &Ran, hit: &[&str]) {
    world.note(|| {
        let what = match ran {
            Ran::Answered(lowest, fates) => format!("retry from {lowest:?}, {}", summary(fates)),
            Ran::Failed(fates) => format!("failed, {}", summary(fates)),
            Ran::Died => "died".to_owned(),
        };
        format!("shard {shard} changes {:?}..{:?} {hit:?}: {what}", batch.first(), batch.last())
    });
}

fn summary(fates: &[Vec<Fate>]) -> String {
    fates
        .iter()
        .flatten()
        .map(|fate| match fate {
            Fate::Done(done) => format!("{done:?} ").chars().next().unwrap_or('?').to_string(),
            Fate::Filtered => "f".to_owned(),
            Fate::Parked(cause) => format!("[parked {cause}]"),
            Fate::Held(cause) => format!("[held {cause}]"),
            Fate::Failed(failure) => format!("[{failure}]"),
            Fate::Pending => "?".to_owned(),
        })
        .collect()
}
