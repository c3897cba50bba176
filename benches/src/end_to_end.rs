//! Changes per second into a real OpenSearch, beside the ceiling: the function's own bulk bodies, recorded before and
//! posted by a client that does nothing else, over as many connections, into a fresh index.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::corpus::{Batch, Corpus, Event, FULL_EVENT, Shape};
use crate::function::{Function, Result};
use crate::http::Client;
use crate::opensearch::{Bulk, Recorder};
use crate::results::{EndToEnd, median, range};
use crate::subjects::{NODE_BUNDLED, Places, Subject, TIDELOCK, node, tidelock};

/// The indices that a run deletes and makes again: documents, and the function's fences.
const INDICES: [&str; 2] = ["bench", "tidelock-fences"];

/// One way of running the function against the real target.
struct Setup {
    connections: usize,
    batch: (&'static str, Batch),
    settings: &'static [(&'static str, &'static str)],
}

const SETUPS: [Setup; 2] = [
    Setup { connections: 1, batch: ("500", Batch::Records(500)), settings: &[("TIDELOCK_IN_FLIGHT", "1")] },
    // A full event makes several requests of about half a megabyte.
    Setup {
        connections: 4,
        batch: ("6 MB", FULL_EVENT),
        settings: &[("TIDELOCK_IN_FLIGHT", "4"), ("TIDELOCK_BULK_BYTES", "524288")],
    },
];

/// The changes of a run: some that make connections, mappings and indices ready, then those that are timed.
struct Load {
    warm_up: Event,
    events: Vec<Event>,
    records: usize,
    /// Documents that the index must hold in the end.
    documents: u64,
}

impl Load {
    fn new(shape: &Shape, records: usize, batch: Batch) -> Result<Self> {
        let first = Corpus::generate(&Shape { records: 50, seed: shape.seed + 1, hot_share: 0.0, ..shape.clone() });
        let corpus = Corpus::generate(&Shape { records, ..shape.clone() });
        let warm_up = first.all_events(Batch::Records(50)).pop().ok_or("the warm-up has no event")?;
        let documents = (first.live_keys() + corpus.live_keys()) as u64;
        Ok(Self { warm_up, events: corpus.all_events(batch), records, documents })
    }
}

/// A real server that the benchmark has for itself.
pub(crate) struct Server {
    host: String,
}

impl Server {
    /// # Errors
    /// A URL other than `http://HOST:PORT`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let host = url
            .strip_prefix("http://")
            .ok_or_else(|| format!("{url}: the URL of the server must begin with http://"))?;
        Ok(Self { host: host.trim_end_matches('/').into() })
    }

    /// Name and version, such as `opensearch 3.8.0`.
    pub(crate) fn version(&self) -> Result<String> {
        let answer = self.ask("GET", "/", None)?;
        let text = |name: &str| answer["version"][name].as_str().unwrap_or_default().to_owned();
        Ok(format!("{} {}", text("distribution"), text("number")))
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut client = Client::connect(&self.host).map_err(|error| format!("http://{}: {error}", self.host))?;
        let answer = client.send(method, target, "application/json", body.as_bytes())?;
        let value = serde_json::from_slice(&answer.body)?;
        if answer.status >= 300 {
            return Err(format!("{method} {target}: {} {value}", answer.status).into());
        }
        Ok(value)
    }

    fn delete_indices(&self) -> Result<()> {
        self.ask("DELETE", &format!("/{}?ignore_unavailable=true", INDICES.join(",")), None)?;
        Ok(())
    }

    /// An empty index for documents that is not refreshed; the function makes its other index itself.
    fn fresh(&self) -> Result<()> {
        self.delete_indices()?;
        let settings =
            json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" } });
        self.ask("PUT", &format!("/{}", INDICES[0]), Some(&settings))?;
        Ok(())
    }

    /// Settings and mappings of the indices as the function has made them.
    fn describe(&self) -> Result<Vec<(String, Value)>> {
        let found = self.ask("GET", &format!("/{}?ignore_unavailable=true", INDICES.join(",")), None)?;
        let mut indices = Vec::new();
        for (name, index) in found.as_object().into_iter().flatten() {
            let mut settings = index["settings"]["index"].clone();
            if let Some(settings) = settings.as_object_mut() {
                // Set by the server alone.
                for own in ["creation_date", "uuid", "version", "provided_name"] {
                    settings.remove(own);
                }
            }
            indices.push((name.clone(), json!({ "settings": { "index": settings }, "mappings": index["mappings"] })));
        }
        Ok(indices)
    }

    fn fresh_as(&self, indices: &[(String, Value)]) -> Result<()> {
        self.delete_indices()?;
        for (name, index) in indices {
            self.ask("PUT", &format!("/{name}"), Some(index))?;
        }
        Ok(())
    }

    /// # Errors
    /// Another number of documents than expected: the run was fast because it was wrong.
    fn expect_documents(&self, expected: u64) -> Result<()> {
        self.ask("POST", &format!("/{}/_refresh", INDICES[0]), None)?;
        let count = self.ask("GET", &format!("/{}/_count", INDICES[0]), None)?["count"].as_u64();
        if count != Some(expected) {
            return Err(format!("the index holds {count:?} documents, expected {expected}").into());
        }
        Ok(())
    }
}

/// What the function sent: its warm-up, the timed requests, and the indices between the two.
struct Recording {
    indices: Vec<(String, Value)>,
    warm_up: Vec<Bulk>,
    timed: Vec<Bulk>,
}

/// Measures the function with one and with several connections, and the Node handler with one.
pub(crate) fn run(
    places: &Places,
    server: &Server,
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
        let mut subjects = vec![subject(&server.host)];
        let peer = node(places, NODE_BUNDLED, "Node → OpenSearch, bundled", "dist/handler.mjs", &server.host);
        if setup.connections == 1 && peer.artifact.exists() {
            subjects.push(peer);
        }
        rows.extend(compare(server, places, setup, &load, &recording, &subjects, rounds)?);
    }
    server.delete_indices()?;
    Ok(rows)
}

fn compare(
    server: &Server,
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
                0 => ceiling = rate(load, replay(server, load, recording, setup.connections)?),
                subject => found[subject - 1] = rate(load, feed(server, places, load, &subjects[subject - 1])?),
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

fn rate(load: &Load, spent: Duration) -> f64 {
    load.records as f64 / spent.as_secs_f64()
}

/// Runs the function through a recording proxy.
fn record(server: &Server, places: &Places, load: &Load, subject: impl Fn(&str) -> Subject) -> Result<Recording> {
    let recorder = Recorder::start(&server.host)?;
    server.fresh()?;
    let mut function = Function::start(&subject(&recorder.host()).launch, &places.logs())?;
    function.invoke(&load.warm_up)?;
    let (warm_up, indices) = (recorder.take(), server.describe()?);
    for event in &load.events {
        function.invoke(event)?;
    }
    server.expect_documents(load.documents)?;
    Ok(Recording { indices, warm_up, timed: recorder.take() })
}

/// Time that a function takes for the load.
fn feed(server: &Server, places: &Places, load: &Load, subject: &Subject) -> Result<Duration> {
    server.fresh()?;
    let mut function = Function::start(&subject.launch, &places.logs())?;
    function.invoke(&load.warm_up)?;
    let started = Instant::now();
    for event in &load.events {
        function.invoke(event)?;
    }
    let spent = started.elapsed();
    server.expect_documents(load.documents)?;
    Ok(spent)
}

/// Time that the recorded requests take when they are only posted.
fn replay(server: &Server, load: &Load, recording: &Recording, connections: usize) -> Result<Duration> {
    server.fresh_as(&recording.indices)?;
    let mut clients = (0..connections).map(|_| Client::connect(&server.host)).collect::<std::io::Result<Vec<_>>>()?;
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
    server.expect_documents(load.documents)?;
    Ok(spent)
}

fn post(client: &mut Client, bulk: &Bulk) -> Result<()> {
    let answer = client.send("POST", &bulk.target, "application/x-ndjson", &bulk.body)?;
    if answer.status != 200 {
        return Err(format!("{}: {} {}", bulk.target, answer.status, String::from_utf8_lossy(&answer.body)).into());
    }
    Ok(())
}
