//! The share of the ceiling that a function reaches: of its own bulk bodies, recorded before and posted by a client that does
//! nothing else, over as many connections, into an index of its own.
//!
//! Both write into the same server, batch by batch in turns: what the server does beside (merges, collections of garbage,
//! compilation) falls on both, where whole runs one after another differ by a tenth. The ceiling is thus that of one shard, whose
//! batches follow each other, not what more connections could bring in at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::servers::{CEILING, SUBJECT};
use super::{Load, OpenSearch, expect_count};
use crate::corpus::{Batch, Event, FULL_EVENT, Shape};
use crate::function::{Function, Result};
use crate::http::Client;
use crate::opensearch::{Bulk, Recorder};
use crate::results::{EndToEnd, Pairs};
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

/// A function asks its target for more at a time when sixteen requests have been taken in a row: it is measured, and recorded, as it
/// is from then on.
const WARM_UP: usize = 1_000;

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
        // The names are of one length, and so are events and documents.
        let load = |table: &str| {
            Load::warmed(&Shape { table: table.into(), ..shape.clone() }, records, setup.batch.1, WARM_UP)
        };
        let recording = record(server, places, &load(CEILING)?, subject)?;
        let load = load(SUBJECT)?;
        if recording.batches.len() != load.events.len() {
            return Err(format!("{} batches were recorded of {}", recording.batches.len(), load.events.len()).into());
        }
        let mut subjects = vec![subject(server.host())];
        let destination = (server.host(), SUBJECT);
        let peer = node(places, NODE_BUNDLED, "Node → OpenSearch, bundled", "dist/handler.mjs", destination);
        if setup.connections == 1 && peer.artifact.exists() {
            subjects.push(peer);
        }
        for subject in &subjects {
            let comparison = Comparison { server, places, setup, load: &load, recording: &recording, subject };
            rows.push(comparison.run(rounds)?);
        }
    }
    server.delete_indices()?;
    Ok(rows)
}

/// The ceiling, and a subject that takes turns with it.
struct Comparison<'a> {
    server: &'a OpenSearch,
    places: &'a Places,
    setup: &'a Setup,
    load: &'a Load,
    recording: &'a Recording,
    subject: &'a Subject,
}

impl Comparison<'_> {
    fn run(&self, rounds: usize) -> Result<EndToEnd> {
        let Self { setup, load, subject, .. } = self;
        let mut pairs = Vec::new();
        // Round 0 warms the server up.
        for round in 0..=rounds {
            let [ceiling, rate] = self.round(round)?.map(|spent| load.rate(spent));
            let (label, connections) = (subject.label, setup.connections);
            eprintln!("{label}, {connections} connections: round {round} of {rounds}: {rate:.0}/s of {ceiling:.0}/s");
            if round > 0 {
                pairs.push((rate, ceiling));
            }
        }
        let Pairs { first, second, ratio, lowest, highest } = Pairs::of(&pairs);
        Ok(EndToEnd {
            subject: subject.id.into(),
            label: subject.label.into(),
            connections: setup.connections,
            batch: setup.batch.0.into(),
            rounds,
            records: load.records,
            records_per_second: first,
            ceiling_records_per_second: second,
            ratio,
            lowest,
            highest,
        })
    }

    /// The time that the ceiling takes for all batches, and the subject. A batch's time lasts until the next could begin.
    fn round(&self, round: usize) -> Result<[Duration; 2]> {
        let Self { server, places, setup, load, recording, subject } = self;
        server.fresh_for(&[SUBJECT])?;
        server.put(&recording.indices)?;
        let mut function = Function::start(&subject.launch, &places.logs())?;
        let next = AtomicUsize::new(0);
        let spent = thread::scope(|scope| {
            let mut posters = Posters::start(scope, server.host(), setup.connections, &next)?;
            posters.post(&recording.warm_up)?;
            load.warm_up(&mut function)?;
            let mut spent = [Duration::ZERO; 2];
            for (number, (event, bulks)) in load.events.iter().zip(&recording.batches).enumerate() {
                // Each follows the other as often as itself.
                let first = (number + round) % 2;
                for side in [first, 1 - first] {
                    spent[side] += if side == 0 { posters.post(bulks)? } else { function.cycle(event)? };
                }
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(spent)
        })?;
        for index in [CEILING, SUBJECT] {
            expect_count(index, server.count(index)?, load.documents)?;
        }
        Ok(spent)
    }
}

/// Runs the function through a recording proxy.
fn record(server: &OpenSearch, places: &Places, load: &Load, subject: impl Fn(&str) -> Subject) -> Result<Recording> {
    let recorder = Recorder::start(server.host())?;
    server.fresh_for(&[CEILING])?;
    let mut function = Function::start(&subject(&recorder.host()).launch, &places.logs())?;
    load.warm_up(&mut function)?;
    let (warm_up, indices) = (recorder.take(), server.describe()?);
    let mut recorded = |event: &Event| function.invoke(event).map(|_| recorder.take());
    let batches = load.events.iter().map(&mut recorded).collect::<Result<Vec<_>>>()?;
    Ok(Recording { indices, warm_up, batches })
}

/// Connections, each with a thread of its own but the first, that post the requests of one batch together.
struct Posters<'s> {
    own: Client,
    others: Vec<Sender<&'s [Bulk]>>,
    done: Receiver<Result<()>>,
    /// The request that the next free connection takes.
    next: &'s AtomicUsize,
}

impl<'s> Posters<'s> {
    fn start(scope: &'s Scope<'s, '_>, host: &str, connections: usize, next: &'s AtomicUsize) -> Result<Self> {
        let (tell, done) = channel();
        let mut others = Vec::new();
        for _ in 1..connections {
            let (give, given) = channel::<&[Bulk]>();
            let (mut client, tell) = (Client::connect(host)?, tell.clone());
            scope.spawn(move || {
                // It ends with the other end, or when nobody listens any more.
                while let Ok(bulks) = given.recv()
                    && tell.send(post_free(&mut client, bulks, next)).is_ok()
                {}
            });
            others.push(give);
        }
        Ok(Self { own: Client::connect(host)?, others, done, next })
    }

    /// Posts requests, each as soon as a connection is free. Tells how long that took.
    fn post(&mut self, bulks: &'s [Bulk]) -> Result<Duration> {
        let busy = self.others.len().min(bulks.len().saturating_sub(1));
        self.next.store(0, Ordering::Relaxed);
        let started = Instant::now();
        for other in &self.others[..busy] {
            other.send(bulks).map_err(|_| "a connection's thread has ended")?;
        }
        let mut posted = post_free(&mut self.own, bulks, self.next);
        for _ in 0..busy {
            posted = posted.and(self.done.recv()?);
        }
        posted.map(|()| started.elapsed())
    }
}

fn post_free(client: &mut Client, bulks: &[Bulk], next: &AtomicUsize) -> Result<()> {
    while let Some(bulk) = bulks.get(next.fetch_add(1, Ordering::Relaxed)) {
        post(client, bulk)?;
    }
    Ok(())
}

fn post(client: &mut Client, bulk: &Bulk) -> Result<()> {
    let answer = client.send("POST", &bulk.target, "application/x-ndjson", &bulk.body)?;
    if answer.status != 200 {
        return Err(format!("{}: {} {}", bulk.target, answer.status, String::from_utf8_lossy(&answer.body)).into());
    }
    Ok(())
}
