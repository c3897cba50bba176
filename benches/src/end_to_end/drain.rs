//! What draining held changes costs a function, beside writing them as they come: processor time into the same real target.

use std::sync::Arc;
use std::time::Duration;

use super::{Load, OpenSearch, Target, expect_documents};
use crate::corpus::{Batch, Event, Shape};
use crate::function::{Function, Launch, Result};
use crate::results::{Drain, median};
use crate::sqs::Sqs;
use crate::subjects::{Places, Subject, TIDELOCK, tidelock};

/// Records of a batch: [`USUAL`](crate::measure::USUAL).
const BATCH: Batch = Batch::Records(500);

/// Holds every change, and changes nothing else.
const HOLDS: &str = r#"{"version":1,"routes":[{"from":"*","to":"bench","on_outage":"always_hold"}]}"#;

/// What a live function is given instead.
const WRITES: &str = r#"{"version":1,"routes":[{"from":"*","to":"bench"}]}"#;

/// The settings of a function that writes to the target, or holds.
fn settings(server: &OpenSearch, sqs: &Sqs, pipeline: &str) -> Vec<(&'static str, String)> {
    vec![
        ("TIDELOCK_TARGET", server.setting()),
        ("TIDELOCK_PIPELINE", pipeline.to_owned()),
        ("TIDELOCK_FALLBACK", sqs.queue()),
        ("AWS_ENDPOINT_URL_SQS", sqs.url()),
    ]
}

fn sync(places: &Places, settings: &[(&'static str, String)]) -> Subject {
    tidelock(places, TIDELOCK, "Tidelock", settings)
}

/// `redrive`, which lies beside the measured function.
fn redrive(places: &Places, settings: &[(&'static str, String)]) -> Launch {
    let Subject { launch, .. } = sync(places, settings);
    Launch { name: "redrive".into(), program: places.beside("redrive"), ..launch }
}

/// Microseconds of processor time a change.
fn micros(function: &mut Function, changes: usize, work: impl FnOnce(&mut Function) -> Result<()>) -> Result<f64> {
    let before = function.cpu()?;
    work(function)?;
    Ok((function.cpu()? - before).as_secs_f64() * 1e6 / changes as f64)
}

/// Drains what the fallback queue holds.
fn drain(function: &mut Function, held: usize) -> Result<()> {
    let told = function.ask(&Event { body: Arc::from(&br#"{"redrive":["fallback"]}"#[..]), records: 0 })?;
    let drained = &told["redriven"]["fallback"];
    let done = ["applied", "stale", "filtered"].iter().filter_map(|name| drained[name].as_u64()).sum::<u64>();
    if done != held as u64 || drained.get("stopped").is_some() {
        return Err(format!("{held} changes were held, and redrive says {told}").into());
    }
    Ok(())
}

/// Measures `rounds` pairs: changes written as they come, and the same changes held and drained.
pub(crate) fn run(places: &Places, server: &OpenSearch, shape: &Shape, records: usize, rounds: usize) -> Result<Drain> {
    let load = Load::new(shape, records, BATCH)?;
    let sqs = Sqs::start(Duration::ZERO)?;
    let (mut live, mut drained, mut ratios, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        server.fresh()?;
        let mut function = Function::start(&sync(places, &settings(server, &sqs, WRITES)).launch, &places.logs())?;
        load.warm_up(&mut function)?;
        let one = micros(&mut function, load.records, |function| {
            load.events.iter().try_for_each(|event| function.invoke(event).map(drop))
        })?;
        expect_documents(server, load.documents)?;
        server.fresh()?;
        let mut holding = Function::start(&sync(places, &settings(server, &sqs, HOLDS)).launch, &places.logs())?;
        let mut draining = Function::start(&redrive(places, &settings(server, &sqs, WRITES)), &places.logs())?;
        load.warm_up(&mut holding)?;
        drain(&mut draining, load.warm_up_records())?;
        for event in &load.events {
            holding.invoke(event)?;
        }
        let other = micros(&mut draining, load.records, |function| drain(function, load.records))?;
        expect_documents(server, load.documents)?;
        memory.push(draining.peak_memory()? as f64 / 1e6);
        eprintln!("drain: round {round} of {rounds}: live {one:.2} µs a change, drained {other:.2} µs");
        live.push(one);
        drained.push(other);
        ratios.push(other / one);
    }
    Ok(Drain {
        changes: records,
        rounds,
        live_micros: median(&live),
        drained_micros: median(&drained),
        ratio: median(&ratios),
        megabytes: median(&memory),
    })
}
