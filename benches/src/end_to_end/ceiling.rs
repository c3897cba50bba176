//! The share of the ceiling that a function reaches: of its own bulk bodies, recorded before and posted by a client that does
//! nothing else, over as many connections, into a fresh index.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Load, OpenSearch, Target as _, expect_documents, feed};
use crate::corpus::{Batch, FULL_EVENT, Shape};
use crate::function::{Function, Result};
use crate::http::Client;
use crate::opensearch::{Bulk, Recorder};
use crate::results::{EndToEnd, median, range};
use crate::subjects::{NODE_BUNDLED, Places, Subject, TIDELOCK, node, tidelock};

/// One way of running the function against the real target.
struct Setup {
    connections: usize,
    batch: (&'static str, Batch),
    settings: &'static [(&'static str, &'static str)],
}

const SETUPS: [Setup; 3] = [
    Setup { connections: 1, batch: ("500", Batch::Records(500)), settings: &[("TIDELOCK_IN_FLIGHT", "1")] },
    // As the settings are by default: two requests of a quarter of a megabyte.
    Setup { connections: 2, batch: ("500", Batch::Records(500)), settings: &[] },
    // A full event makes several requests of about half a megabyte.
    Setup {
        connections: 4,
        batch: ("6 MB", FULL_EVENT),
        settings: &[("TIDELOCK_IN_FLIGHT", "4"), ("TIDELOCK_BULK_BYTES", "524288")],
    },
];

/// What the function sent: its warm-up, the timed requests, and the indices between the two.
struct Recording {
    indices: Vec<(String, Value)>,
    warm_up: Vec<Bulk>,
    timed: Vec<Bulk>,
}

/// Measures the function with one and with several connections, and the Node handler with one.
pub(crate) fn run(
    places: &Places,
    server: &OpenSearch,
    shape: &Shape,
    records: usize,
    rounds: usize,
) -> Result<Vec<EndToEnd>> {
    let mut rows = Vec::new();
    for setup in &SETUPS {
        let load = Load::new(shape, records, setup.batch.1)?;
        let subject = |host: &str| {
            let mut settings = vec![("TIDELOCK_TARGET", format!("opensearch+http://{host}"))];
            settings.extend(setup.settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
            tidelock(places, TIDELOCK, "Tidelock → OpenSearch", &settings)
        };
        let recording = record(server, places, &load, subject)?;
        let mut subjects = vec![subject(server.host())];
        let peer = node(places, NODE_BUNDLED, "Node → OpenSearch, bundled", "dist/handler.mjs", server.host());
        if setup.connections == 1 && peer.artifact.exists() {
            subjects.push(peer);
        }
        rows.extend(compare(server, places, setup, &load, &recording, &subjects, rounds)?);
    }
    server.delete_indices()?;
    Ok(rows)
}

fn compare(
    server: &OpenSearch,
    places: &Places,
    setup: &Setup,
    load: &Load,
    recording: &Recording,
    subjects: &[Subject],
    rounds: usize,
) -> Result<Vec<EndToEnd>> {
    let mut ceilings = Vec::new();
    let mut rates = vec![Vec::new(); subjects.len()];
    // Round 0 warms the server up.
    for round in 0..=rounds {
        let mut ceiling = 0.0;
        let mut found = vec![0.0; subjects.len()];
        // The order turns round, so that neither side always follows the other.
        for turn in 0..=subjects.len() {
            match (turn + round) % (subjects.len() + 1) {
                0 => ceiling = load.rate(replay(server, load, recording, setup.connections)?),
                subject => found[subject - 1] = load.rate(feed(server, places, load, &subjects[subject - 1])?),
            }
        }
        eprintln!(
            "end to end, {} connections: round {round} of {rounds}: ceiling {ceiling:.0}/s, {found:.0?}/s",
            setup.connections
        );
        if round > 0 {
            ceilings.push(ceiling);
            found.iter().zip(&mut rates).for_each(|(rate, rates)| rates.push(*rate));
        }
    }
    let rows = subjects.iter().zip(&rates).map(|(subject, rates)| {
        let ratios = rates.iter().zip(&ceilings).map(|(rate, ceiling)| rate / ceiling).collect::<Vec<_>>();
        let (lowest, highest) = range(&ratios);
        EndToEnd {
            subject: subject.id.into(),
            label: subject.label.into(),
            connections: setup.connections,
            batch: setup.batch.0.into(),
            rounds,
            records: load.records,
            records_per_second: median(rates),
            ceiling_records_per_second: median(&ceilings),
            ratio: median(&ratios),
            lowest,
            highest,
        }
    });
    Ok(rows.collect())
}

/// Runs the function through a recording proxy.
fn record(server: &OpenSearch, places: &Places, load: &Load, subject: impl Fn(&str) -> Subject) -> Result<Recording> {
    let recorder = Recorder::start(server.host())?;
    server.fresh()?;
    let mut function = Function::start(&subject(&recorder.host()).launch, &places.logs())?;
    function.invoke(&load.warm_up)?;
    let (warm_up, indices) = (recorder.take(), server.describe()?);
    for event in &load.events {
        function.invoke(event)?;
    }
    expect_documents(server, load.documents)?;
    Ok(Recording { indices, warm_up, timed: recorder.take() })
}

/// Time that the recorded requests take when they are only posted.
fn replay(server: &OpenSearch, load: &Load, recording: &Recording, connections: usize) -> Result<Duration> {
    server.fresh_as(&recording.indices)?;
    let mut clients = (0..connections).map(|_| Client::connect(server.host())).collect::<std::io::Result<Vec<_>>>()?;
    for bulk in &recording.warm_up {
        post(&mut clients[0], bulk)?;
    }
    let (next, fault) = (AtomicUsize::new(0), Mutex::new(None));
    let started = Instant::now();
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                while let Some(bulk) = recording.timed.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = post(client, bulk) {
                        if let Ok(mut fault) = fault.lock() {
                            *fault = Some(error);
                        }
                        return;
                    }
                }
            });
        }
    });
    let spent = started.elapsed();
    if let Some(error) = fault.into_inner().unwrap_or_default() {
        return Err(error);
    }
    expect_documents(server, load.documents)?;
    Ok(spent)
}

fn post(client: &mut Client, bulk: &Bulk) -> Result<()> {
    let answer = client.send("POST", &bulk.target, "application/x-ndjson", &bulk.body)?;
    if answer.status != 200 {
        return Err(format!("{}: {} {}", bulk.target, answer.status, String::from_utf8_lossy(&answer.body)).into());
    }
    Ok(())
}
