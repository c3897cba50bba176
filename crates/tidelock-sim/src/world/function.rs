//! One environment of a sync function: the real code, invoked with an event, killed when its time is over.

use super::World;
use super::storm::{Hits, Storm};
use super::users::Witness;
use crate::chaos::Chaos;
use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Batch, Circumstances, Fate, PATIENCE, Posts, Report, deliver};
use tidelock_core::encode::Format;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::source::dynamodb::READER;
use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget};
use tokio::time::{Instant, timeout};

pub(crate) type Target = OpenSearchTarget<Witness>;

/// What came of an invocation, by record: a fate for each route that it takes.
pub(crate) enum Ran {
    /// It answered: the lowest sequence number to retry, if any.
    Answered(Option<String>, Vec<Vec<Fate>>),
    /// It answered with an error.
    Failed(Vec<Vec<Fate>>),
    /// It died.
    Died,
}

/// A new environment's target.
pub(crate) fn target(world: &World) -> Target {
    let chaos: Rc<Storm> = Rc::clone(&world.storm);
    target_under(world, chaos)
}

/// A new environment's target, with other weather on the way.
pub(crate) fn target_under(world: &World, chaos: Rc<dyn Chaos>) -> Target {
    let transport = Witness::new(world, chaos);
    // Small requests, so that a batch takes several at a time.
    let config =
        OpenSearchConfig { salvage: world.climate.on_conflict == "salvage", ..OpenSearchConfig::new(5_000_000, 3) };
    OpenSearchTarget::new(transport, config)
}

/// The fates of each record's slots.
pub(crate) fn by_record(batch: &Batch, fates: &[Fate]) -> Vec<Vec<Fate>> {
    let slots: Vec<_> = batch.slots.iter().zip(fates).collect();
    let records = slots.chunk_by(|(one, _), (other, _)| one.raw == other.raw);
    records.map(|slots| slots.iter().map(|(_, fate)| (*fate).clone()).collect()).collect()
}

/// Invokes a function that has this pipeline; a dead environment is replaced.
pub(crate) async fn invoke(
    world: &Rc<World>,
    environment: &mut Rc<Target>,
    pipeline: &Pipeline,
    records: &[Value],
) -> Ran {
    let payload = serde_json::json!({"Records": records}).to_string();
    let killed = world.storm.strikes("function killed", world.climate.kill_every);
    let time = match killed {
        true => Duration::from_millis(world.between(0, 300)),
        false => world.climate.timeout,
    };
    let target = Rc::clone(environment);
    let hits = Hits::new(&world.storm);
    let (dead_letters, fallback) = (world.dead_letters.client(&hits), world.fallback.client(&hits));
    let bucket = world.shelf.client(&hits);
    let work = async {
        let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).ok()?;
        let now = Instant::now().into_std();
        let at = Circumstances {
            function: "sync",
            now_ms: world.now_ms(),
            started: now,
            // The runtime keeps some time to send the answer.
            deadline: now + world.climate.timeout.mul_f64(0.95),
            patience: PATIENCE,
        };
        let source = world.climate.source.then_some(&world.table);
        let posts = Posts { dead_letters: Some(&dead_letters), fallback: Some(&fallback), bucket: Some(&bucket) };
        let report: Report = deliver(payload.as_bytes(), &batch, pipeline, &*target, source, posts, at).await;
        // What waits for the target must leave time for the queue.
        if let Some((_, failure)) = report.failures.get("not_held")
            && failure.detail.starts_with("time was over")
        {
            world.complain(format!("no time was left to hold what could not be written: {failure}"));
        }
        let fates = by_record(&batch, &report.fates);
        Some((report, fates))
    };
    let ran = match timeout(time, work).await {
        Err(_) => {
            *environment = Rc::new(super::function::target(world));
            Ran::Died
        }
        Ok(None) => {
            world.complain("an event could not be read".to_owned());
            Ran::Died
        }
        Ok(Some((report, fates))) => match report.answer {
            Err(_) => Ran::Failed(fates),
            Ok(answer) => {
                let lowest = serde_json::to_value(&answer)
                    .ok()
                    .and_then(|answer| answer["batchItemFailures"][0]["itemIdentifier"].as_str().map(str::to_owned));
                Ran::Answered(lowest, fates)
            }
        },
    };
    hits.take().into_iter().for_each(|fault| world.storm.note(fault));
    for _ in 0..world.table.take_unreadable() {
        world.storm.note("source unreadable");
    }
    ran
}
