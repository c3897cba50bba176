//! From a change of a document to its being seen: a collection with a change stream, the local event source mapping, the built
//! function and a real OpenSearch, with one change under way at a time.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::sync::{Client as Driver, Collection};

use super::{OpenSearch, Target as _, command};
use crate::function::Result;
use crate::http::Client;
use crate::random::Random;
use crate::results::{Latency, quantile};
use crate::subjects::Places;

/// The database that is dropped, and its only collection.
const SOURCE: (&str, &str) = ("bench", "latency");

/// Everything goes to the index that the server empties.
const ROUTES: &str = r#"{"version":1,"routes":[{"from":"*","to":"bench"}]}"#;

/// How long a change may take before the run is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks for a document.
const LOOK: Duration = Duration::from_millis(1);

/// The longest pause between two changes, so that they fall anywhere between two reads of the stream.
const PAUSE: Duration = Duration::from_millis(300);

/// Changes that are not timed: they start the function and make the index ready.
const WARM_UP: usize = 10;

/// A mapping in a process of its own, which is ended with this value.
struct Mapping(Child);

impl Drop for Mapping {
    fn drop(&mut self) {
        // Asked first, so that it ends its function; killed if it does not.
        let asked = i32::try_from(self.0.id()).map(nix::unistd::Pid::from_raw);
        if asked.is_ok_and(|process| nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).is_ok()) {
            let given_up = Instant::now() + Duration::from_secs(5);
            while Instant::now() < given_up && matches!(self.0.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Times `changes` single changes with each batch window: Lambda's default, and none.
pub(crate) fn run(
    places: &Places,
    cluster: &str,
    server: &OpenSearch,
    changes: usize,
    seed: u64,
) -> Result<Vec<Latency>> {
    let source = Driver::with_uri_str(cluster)?.database(SOURCE.0);
    let mut rows = Vec::new();
    for (label, window) in [("half a second (the default)", None), ("none", Some("0"))] {
        source.drop().run()?;
        server.fresh()?;
        let collection = source.collection(SOURCE.1);
        collection.insert_one(doc! {"_id": "first"}).run()?;
        let mut mapping = Mapping(start(places, cluster, server, window)?);
        let mut chain = Chain { collection, client: Client::connect(server.host())?, host: server.host().into() };
        chain.await_mapping(&mut mapping)?;
        let (mut random, mut millis) = (Random::new(seed), Vec::new());
        for number in 0..WARM_UP + changes {
            thread::sleep(PAUSE * u32::try_from(random.below(1_000))? / 1_000);
            let taken = chain.time(number)?;
            if number >= WARM_UP {
                millis.push(taken.as_secs_f64() * 1e3);
            }
        }
        let row = row(label, &millis);
        eprintln!("latency: window {label}: p50 {:.0} ms, p90 {:.0}, max {:.0}", row.p50_ms, row.p90_ms, row.max_ms);
        rows.push(row);
    }
    source.drop().run()?;
    server.delete_indices()?;
    Ok(rows)
}

fn start(places: &Places, cluster: &str, server: &OpenSearch, window: Option<&str>) -> Result<Child> {
    fs::create_dir_all(places.logs())?;
    let log = fs::File::create(places.logs().join("latency.log"))?;
    let held = places.output.join("held");
    let mut dev = Command::new(command(places)?);
    dev.args(["dev", "--cluster", cluster, "--database-name", SOURCE.0, "--collection-name", SOURCE.1]);
    dev.args(["--full-document", "UpdateLookup", "--starting-position", "LATEST", "--function"]);
    dev.arg(places.beside("documentdb-sync"));
    dev.args([
        "--env",
        &format!("TIDELOCK_TARGET={}", server.setting()),
        "--env",
        &format!("TIDELOCK_PIPELINE={ROUTES}"),
    ]);
    dev.args(["--env", &format!("TIDELOCK_FALLBACK=file:{}", held.display())]);
    if let Some(seconds) = window {
        dev.args(["--maximum-batching-window-in-seconds", seconds]);
    }
    // Nothing of the caller's settings reaches the function.
    Ok(dev.env_clear().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// Both ends of the chain.
struct Chain {
    collection: Collection<Document>,
    client: Client,
    host: String,
}

impl Chain {
    /// Changes a document until one of the changes comes through: those before the stream was opened are not in it.
    fn await_mapping(&mut self, mapping: &mut Mapping) -> Result<()> {
        let given_up = Instant::now() + LIMIT;
        for number in 0.. {
            self.collection.update_one(doc! {"_id": "first"}, doc! {"$set": {"n": number}}).run()?;
            let until = Instant::now() + Duration::from_secs(1);
            while Instant::now() < until {
                if self.sees("first", number)? {
                    return Ok(());
                }
                thread::sleep(LOOK);
            }
            if let Some(status) = mapping.0.try_wait()? {
                return Err(format!("tidelock dev ended with {status}; see latency.log").into());
            }
            if Instant::now() > given_up {
                break;
            }
        }
        Err(format!("no change came through within {} s; see latency.log", LIMIT.as_secs()).into())
    }

    /// One change, an insert or an update of the document inserted before: from just before the command is sent until a read of
    /// the document by its id shows it.
    fn time(&mut self, number: usize) -> Result<Duration> {
        let (id, n) = (format!("d{}", number / 2), i32::try_from(number)?);
        let began = Instant::now();
        if number.is_multiple_of(2) {
            self.collection.insert_one(doc! {"_id": &id, "n": n, "name": "John", "age": 42}).run()?;
        } else {
            self.collection.update_one(doc! {"_id": &id}, doc! {"$set": {"n": n}}).run()?;
        }
        while began.elapsed() < LIMIT {
            if self.sees(&id, n)? {
                return Ok(began.elapsed());
            }
            thread::sleep(LOOK);
        }
        Err(format!("change {number} was not seen within {} s; see latency.log", LIMIT.as_secs()).into())
    }

    /// Whether a realtime read shows the document as the change of this number has left it.
    fn sees(&mut self, id: &str, number: i32) -> Result<bool> {
        let target = format!("/bench/_doc/{id}?_source_includes=n");
        let answer = match self.client.send("GET", &target, "application/json", b"") {
            Ok(answer) => answer,
            Err(_) => {
                self.client = Client::connect(&self.host)?;
                return Ok(false);
            }
        };
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        Ok(answer["_source"]["n"].as_i64() == Some(number.into()))
    }
}

fn row(window: &str, millis: &[f64]) -> Latency {
    Latency {
        window: window.into(),
        changes: millis.len(),
        p50_ms: quantile(millis, 0.5),
        p90_ms: quantile(millis, 0.9),
        max_ms: quantile(millis, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_middle_the_slow_and_the_slowest() {
        let millis = (1..=100).rev().map(f64::from).collect::<Vec<_>>();
        let found = row("none", &millis);
        assert_eq!((found.changes, found.p50_ms, found.p90_ms, found.max_ms), (100, 50.0, 90.0, 100.0));
    }
}
