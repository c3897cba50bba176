//! The share of the ceiling that a function reaches: of its own bulk bodies, recorded before and posted by a client that does
//! nothing else, over as many connections, into an index of its own.
//!
//! All sides write into the same server, batch by batch in turns: what the server does beside (merges, collections of garbage,
//! compilation) falls on all of them, where whole runs one after another differ by a tenth.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::servers::{CEILING, DOCUMENTS, PEER};
use super::{Load, OpenSearch};
use crate::corpus::{Batch, Event, FULL_EVENT, Shape};
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

/// What the function sent: its warm-up and each batch's requests, and the indices between the two.
struct Recording {
    indices: Vec<(String, Value)>,
    warm_up: Vec<Bulk>,
    batches: Vec<Vec<Bulk>>,
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
        let subject = |host: &str| {
            let mut settings = vec![("TIDELOCK_TARGET", format!("opensearch+http://{host}"))];
            settings.extend(setup.settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
            tidelock(places, TIDELOCK, "Tidelock → OpenSearch", &settings)
        };
        let load = Load::new(&Shape { table: CEILING.into(), ..shape.clone() }, records, setup.batch.1)?;
        let recording = record(server, places, &load, subject)?;
        let mut subjects = vec![(subject(server.host()), DOCUMENTS)];
        let destination = (server.host(), PEER);
        let peer = node(places, NODE_BUNDLED, "Node → OpenSearch, bundled", "dist/handler.mjs", destination);
        if setup.connections == 1 && peer.artifact.exists() {
            subjects.push((peer, PEER));
        }
        let load = Load::new(shape, records, setup.batch.1)?;
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
    subjects: &[(Subject, &str)],
    rounds: usize,
) -> Result<Vec<EndToEnd>> {
    let mut rates = vec![Vec::new(); subjects.len() + 1];
    // Round 0 warms the server up.
    for round in 0..=rounds {
        let spent = side_by_side(server, places, setup, load, recording, subjects)?;
        let found = spent.iter().map(|spent| load.rate(*spent)).collect::<Vec<_>>();
        eprintln!(
            "end to end, {} connections: round {round} of {rounds}: ceiling {:.0}/s, {:.0?}/s",
            setup.connections,
            found[0],
            &found[1..]
        );
        if round > 0 {
            found.iter().zip(&mut rates).for_each(|(rate, rates)| rates.push(*rate));
        }
    }
    let ceilings = &rates[0];
    let rows = subjects.iter().zip(&rates[1..]).map(|((subject, _), rates)| {
        let ratios = rates.iter().zip(ceilings).map(|(rate, ceiling)| rate / ceiling).collect::<Vec<_>>();
        let (lowest, highest) = range(&ratios);
        EndToEnd {
            subject: subject.id.into(),
            label: subject.label.into(),
            connections: setup.connections,
            batch: setup.batch.0.into(),
            rounds,
            records: load.records,
            records_per_second: median(rates),
            ceiling_records_per_second: median(ceilings),
            ratio: median(&ratios),
            lowest,
            highest,
        }
    });
    Ok(rows.collect())
}

/// The time that each side takes for all batches: the ceiling, then the subjects. A batch's time lasts until the next could begin.
fn side_by_side(
    server: &OpenSearch,
    places: &Places,
    setup: &Setup,
    load: &Load,
    recording: &Recording,
    subjects: &[(Subject, &str)],
) -> Result<Vec<Duration>> {
    server.fresh_for(&subjects.iter().map(|(_, index)| *index).collect::<Vec<_>>())?;
    server.put(&recording.indices)?;
    let clients = (0..setup.connections).map(|_| Client::connect(server.host()));
    let mut clients = clients.collect::<std::io::Result<Vec<_>>>()?;
    post_all(&mut clients[..1], &recording.warm_up)?;
    let mut functions = Vec::new();
    for (subject, _) in subjects {
        let mut function = Function::start(&subject.launch, &places.logs())?;
        function.invoke(&load.warm_up)?;
        functions.push(function);
    }
    let sides = functions.len() + 1;
    let mut spent = vec![Duration::ZERO; sides];
    for (number, (event, bulks)) in load.events.iter().zip(&recording.batches).enumerate() {
        // The order turns round, so that neither side always follows the other.
        for side in (0..sides).map(|turn| (turn + number) % sides) {
            spent[side] += match side {
                0 => post_all(&mut clients, bulks)?,
                side => functions[side - 1].cycle(event)?,
            };
        }
    }
    for index in subjects.iter().map(|(_, index)| *index).chain([CEILING]) {
        let found = server.count(index)?;
        if found != load.documents {
            return Err(format!("{index} holds {found} documents, expected {}", load.documents).into());
        }
    }
    Ok(spent)
}

/// Runs the function through a recording proxy.
fn record(server: &OpenSearch, places: &Places, load: &Load, subject: impl Fn(&str) -> Subject) -> Result<Recording> {
    let recorder = Recorder::start(server.host())?;
    server.fresh_for(&[CEILING])?;
    let mut function = Function::start(&subject(&recorder.host()).launch, &places.logs())?;
    function.invoke(&load.warm_up)?;
    let (warm_up, indices) = (recorder.take(), server.describe()?);
    let mut recorded = |event: &Event| function.invoke(event).map(|_| recorder.take());
    let batches = load.events.iter().map(&mut recorded).collect::<Result<Vec<_>>>()?;
    Ok(Recording { indices, warm_up, batches })
}

/// Posts requests over these connections, each as soon as one of them is free. Tells how long that took.
fn post_all(clients: &mut [Client], bulks: &[Bulk]) -> Result<Duration> {
    let (next, fault) = (AtomicUsize::new(0), Mutex::new(None));
    let busy = clients.len().min(bulks.len());
    let started = Instant::now();
    let work = |client: &mut Client| {
        while let Some(bulk) = bulks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = post(client, bulk) {
                if let Ok(mut fault) = fault.lock() {
                    *fault = Some(error);
                }
                return;
            }
        }
    };
    if let Some((own, others)) = clients[..busy].split_first_mut() {
        thread::scope(|scope| {
            others.iter_mut().for_each(|client| drop(scope.spawn(|| work(client))));
            work(own);
        });
    }
    let spent = started.elapsed();
    match fault.into_inner().unwrap_or_default() {
        Some(error) => Err(error),
        None => Ok(spent),
    }
}

fn post(client: &mut Client, bulk: &Bulk) -> Result<()> {
    let answer = client.send("POST", &bulk.target, "application/x-ndjson", &bulk.body)?;
    if answer.status != 200 {
        return Err(format!("{}: {} {}", bulk.target, answer.status, String::from_utf8_lossy(&answer.body)).into());
    }
    Ok(())
}
