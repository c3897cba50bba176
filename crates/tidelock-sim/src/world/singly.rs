//! Records of messages written one by one, by the careful lane: what one does who has no redrive, only its parts.

use super::World;
use super::function::{Target, target, target_under};
use super::operator::call;
use super::storm::Hits;
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Delivery, Fate, Lane, Plan};
use tidelock_core::encode::Format;
use tidelock_core::queue::{Message, Queue as _};
use tidelock_core::source::dynamodb::READER;
use tidelock_core::target::{Done, Outcome};
use tokio::time::{Instant, timeout};

/// Messages of more records are left alone.
const MOST_RECORDS: usize = 12;

/// Takes some messages of a queue and deletes those of which every record is written.
pub(crate) async fn write(world: Rc<World>) {
    let hits = Hits::new(&world.storm);
    hits.note("written singly");
    let dawdles = world.chance(2);
    let target = if dawdles { dawdling(&world) } else { target(&world) };
    let queue = if world.chance(3) { &world.fallback } else { &world.dead_letters };
    let queue = queue.client(&hits);
    let hidden = Duration::from_secs(world.between(30, 600));
    let deadline = Instant::now().into_std() + Duration::from_secs(3_600);
    let mut fates = Vec::new();
    let work = async {
        let Ok(messages) = queue.take(8, hidden, deadline).await else { return };
        for message in messages {
            let done = write_message(&world, &target, &message, dawdles, &mut fates).await;
            match done {
                true => drop(queue.delete(&[message.receipt], deadline).await),
                false => queue.hide(&[message.receipt], Duration::ZERO, deadline).await,
            }
        }
    };
    let _ = timeout(Duration::from_millis(world.between(1_000, 900_000)), work).await;
    let hits = hits.take();
    let mut counts = world.counts.borrow_mut();
    hits.iter().for_each(|fault| counts.struck(fault));
    counts.became(&hits, &fates);
}

/// Whether every record of a message is written, or need not be.
async fn write_message(
    world: &World,
    target: &Target,
    message: &Message,
    patient: bool,
    fates: &mut Vec<Fate>,
) -> bool {
    let Ok(body) = serde_json::from_str::<Value>(&message.body) else { return false };
    let of_pack = body["records"].as_array().cloned();
    let records = of_pack.unwrap_or_else(|| body.get("record").cloned().into_iter().collect());
    if records.is_empty() || records.len() > MOST_RECORDS || body["reason"] == "records_lost" {
        return false;
    }
    let mut done = true;
    for record in records {
        let by_truth = world.climate.source && world.chance(3);
        let outcome = write_one(world, target, &record, by_truth, patient).await;
        world.note(|| format!("{} singly, truth={by_truth}: {outcome:?}", record["dynamodb"]["SequenceNumber"]));
        match outcome {
            Some(Ok(written)) => fates.push(Fate::Done(written)),
            Some(Err(failure)) => {
                done = false;
                fates.push(Fate::Failed(failure));
            }
            None => done = false,
        }
    }
    done
}

/// Writes one record; `None` when it cannot be tried in this way.
pub(crate) async fn write_one(
    world: &World,
    target: &Target,
    record: &Value,
    by_truth: bool,
    patient: bool,
) -> Option<Outcome> {
    let payload = serde_json::json!({"Records": [record]}).to_string();
    let batch = world.pipeline.decode(&READER, payload.as_bytes(), Format::Json).ok()?;
    let plan = Plan::new(payload.as_bytes(), &batch, &world.pipeline);
    // Some runs have time enough to wait for a write that lands when deletes have been forgotten.
    let patience = if patient || world.chance(3) { world.between(60, 500) } else { world.between(3, 20) };
    let call = call(world, Duration::from_secs(patience));
    let lane = if by_truth { Lane::Truth } else { Lane::Slow };
    let source = (by_truth || call.truth).then_some(&world.table);
    let mut delivery = Delivery::new(&batch, &plan, source.is_some());
    delivery.write(target, source, lane, call, call).await;
    // It is done when it is on all of its routes.
    let mut outcome = Ok(Done::Stale);
    for fate in delivery.fates() {
        match fate {
            Fate::Done(Done::Applied) => outcome = outcome.map(|_| Done::Applied),
            Fate::Done(Done::Stale) | Fate::Filtered => {}
            Fate::Failed(failure) => outcome = Err(failure.clone()),
            Fate::Parked(_) | Fate::Held(_) | Fate::Pending => return None,
        }
    }
    Some(outcome)
}

/// A target whose looks take long and whose writes are patient: what happens between look and write is what a slow lane has to
/// find out about.
pub(crate) fn dawdling(world: &World) -> Target {
    let storm = Rc::clone(&world.storm);
    let rng = RefCell::new(fastrand::Rng::with_seed(world.between(0, u64::MAX)));
    target_under(world, Rc::new(move |kind| storm.dawdle(kind, &mut rng.borrow_mut())))
}

/// As [`dawdling`], and writes land late.
pub(crate) fn lingering(world: &World) -> Target {
    let storm = Rc::clone(&world.storm);
    let rng = RefCell::new(fastrand::Rng::with_seed(world.between(0, u64::MAX)));
    target_under(world, Rc::new(move |kind| storm.linger(kind, &mut rng.borrow_mut())))
}
