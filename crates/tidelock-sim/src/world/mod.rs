//! A world with a seed: a table, its stream, functions that follow it, queues and a bucket in which changes wait, functions
//! that redrive them, and an engine that all of it ends in, while everything that can go wrong does. What runs in the
//! functions is the real code.

mod bucket;
mod climate;
mod counts;
mod fold;
mod function;
mod given_up;
mod history;
mod ledger;
mod mapping;
mod operator;
mod oracle;
mod race;
mod redrive;
mod routing;
mod singly;
mod sqs;
mod storm;
mod table;
mod users;

pub use counts::{COLUMNS, Counts};

use crate::engine::{Engine, EngineConfig};
use bucket::{FAILURES, Shelf};
use climate::Climate;
use history::History;
use ledger::Ledger;
use sqs::Sqs;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use storm::Storm;
use table::Table;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::target::Namespaces;
use tokio::time::Instant;

/// What a seed has shown.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Every fault and what became of the records it hit.
    pub counts: Counts,
    /// Equal for equal runs.
    pub hash: u64,
    /// How many changes there were, of how many keys, and how many faults.
    pub changes: usize,
    /// See [`Outcome::changes`].
    pub keys: usize,
    /// See [`Outcome::changes`].
    pub faults: usize,
    /// What is wrong; empty when everything that was promised held.
    pub wrong: Vec<String>,
    /// What happened, when it was asked for.
    pub trace: Vec<String>,
}

/// What all parts of a world share.
struct World {
    began: Instant,
    climate: Climate,
    pipeline: Pipeline,
    /// The same for changes that are held whatever the target's state, and for such as never are.
    holding: Pipeline,
    plain: Pipeline,
    /// Nothing is salvaged any more.
    careful: Pipeline,
    history: Rc<History>,
    engine: Engine,
    storm: Rc<Storm>,
    table: Table,
    ledger: Rc<Ledger>,
    fallback: Rc<Sqs>,
    dead_letters: Rc<Sqs>,
    /// Lambda's on-failure records, where they do not go into the bucket.
    failures: Rc<Sqs>,
    shelf: Rc<Shelf>,
    rng: RefCell<fastrand::Rng>,
    counts: RefCell<Counts>,
    /// What has hit a redrive that died: the next one finds what it has left.
    left_behind: RefCell<Vec<&'static str>>,
    wrong: RefCell<Vec<String>>,
    hash: Cell<u64>,
    /// The stream has been read to its end.
    drained: Cell<bool>,
    trace: Option<RefCell<Vec<String>>>,
}

/// Letters are redriven until nothing is left to happen.
const ROUNDS: usize = 3;

/// Messages that are none of ours, or that nobody can use. Whatever happens, they stay.
const FOREIGN: [&str; 4] = [
    "hello",
    r#"{"Records":[{"eventSource":"aws:s3"}]}"#,
    r#"{"tidelock":1,"letter_id":"00"}"#,
    r#"{"tidelock":2,"letter_id":"00","reason":"mapping_conflict"}"#,
];

/// Runs the world of a seed to its end and compares what the target holds with what the source has gone through.
#[must_use]
pub fn simulate(seed: u64, keep_trace: bool) -> Outcome {
    crate::run(seed, async move {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let climate = Climate::new(&mut rng);
        let history = Rc::new(History::new(&mut rng, climate.shape));
        let config = EngineConfig {
            seed: rng.u64(..),
            prune_jitter: Duration::from_secs(rng.u64(0..60)),
            keep_trace,
            ..EngineConfig::default()
        };
        let storm = Rc::new(Storm::new(rng.u64(..), climate.fault_every));
        let engine = Engine::new(config);
        let ledger = Rc::new(Ledger::new(Rc::clone(&history), engine.clone(), climate.shape.clock_steps));
        let shelf = Shelf::new(rng.u64(..), &ledger);
        let pipeline = |on_outage, on_conflict| {
            let text = climate.shape.routing.pipeline(on_outage, on_conflict);
            Pipeline::parse(&text).expect("a pipeline").within(Namespaces::Single)
        };
        let mut queue = |name| Sqs::new(name, rng.u64(..), &ledger, &shelf);
        let world = Rc::new(World {
            began: Instant::now(),
            climate,
            pipeline: pipeline(climate.on_outage, climate.on_conflict),
            holding: pipeline(["always_hold"; 2], climate.on_conflict),
            plain: pipeline(["retry"; 2], climate.on_conflict),
            careful: pipeline(climate.on_outage, "park"),
            engine,
            storm,
            table: Table::new(Rc::clone(&history)),
            fallback: queue("the fallback queue"),
            dead_letters: queue("the dead letters"),
            failures: queue("the failures"),
            shelf,
            ledger,
            history,
            rng: RefCell::new(fastrand::Rng::with_seed(rng.u64(..))),
            counts: RefCell::default(),
            left_behind: RefCell::default(),
            wrong: RefCell::default(),
            hash: Cell::new(0),
            drained: Cell::new(false),
            trace: keep_trace.then(RefCell::default),
        });
        world.run().await;
        world.outcome()
    })
}

impl World {
    async fn run(self: &Rc<Self>) {
        self.tell();
        self.plant();
        let mut shards = Vec::new();
        for shard in 0..self.history.shards.len() {
            let world = Rc::clone(self);
            shards.push(tokio::task::spawn_local(async move { mapping::follow(&world, shard).await }));
        }
        let (world, scheduled) = (Rc::clone(self), Rc::clone(self));
        let beside = [
            tokio::task::spawn_local(async move { operator::work(&world).await }),
            tokio::task::spawn_local(async move { redrive::on_schedule(&scheduled).await }),
        ];
        for shard in shards {
            if let Err(error) = shard.await {
                self.complain(format!("a mapping ended: {error}"));
            }
        }
        self.drained.set(true);
        for task in beside {
            if let Err(error) = task.await {
                self.complain(format!("the operator or the schedule ended: {error}"));
            }
        }
        // What is still under way lands; fences become old enough; sweeps find what has come back.
        self.settle().await;
        // What is redriven now is older than fences that have been swept: nobody will look for it again.
        redrive::late(self).await;
        self.settle().await;
        oracle::check(self, false);
        self.storm.end();
        self.table.heal();
        self.engine.accept_poison();
        for _ in 0..ROUNDS {
            let waits = [&self.fallback, &self.dead_letters, &self.failures].map(|queue| queue.all_visible());
            if let Some(last) = waits.into_iter().flatten().max() {
                tokio::time::sleep_until(last).await;
            }
            redrive::all(self).await;
            if oracle::all_is_redriven(self) {
                break;
            }
            tokio::time::sleep(Duration::from_secs(70)).await;
        }
        oracle::check(self, true);
    }

    /// Says what will happen in the source, and what it should lead to.
    fn tell(&self) {
        let Some(trace) = &self.trace else { return };
        let text = self.climate.shape.routing.pipeline(self.climate.on_outage, self.climate.on_conflict);
        trace.borrow_mut().push(format!("0.000 {}", text.replace('\n', " ")));
        let told = self.history.changes.iter().enumerate().map(|(number, change)| {
            let (record, (label, exact)) = (&change.record["eventName"], &change.version);
            let does = change.effects.iter().map(|effect| {
                let what = match (&effect.document, effect.soft) {
                    (None, _) => "-",
                    (_, true) => "soft",
                    (_, false) => "item",
                };
                format!("{}/{} {what}", effect.location.index, effect.location.id)
            });
            let (at, does) = (change.time.as_secs_f64(), does.collect::<Vec<_>>().join(", "));
            format!("{at:.3} change {number} {record} of k{} at {label} {exact}: {does}", change.key)
        });
        trace.borrow_mut().extend(told);
    }

    /// Lets time pass until no write is under way, and sweeps as the schedule does.
    async fn settle(self: &Rc<Self>) {
        loop {
            let now = Instant::now();
            match self.engine.last_arrival() {
                Some(last) if last > now => tokio::time::sleep_until(last).await,
                _ => break,
            }
        }
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(36 * 60)).await;
            operator::sweep(self, true).await;
        }
    }

    /// The time, milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        history::BEGINNING_MS + i64::try_from(self.since().as_millis()).unwrap_or_default()
    }

    /// Time since the beginning.
    fn since(&self) -> Duration {
        self.began.elapsed()
    }

    fn chance(&self, one_in: u32) -> bool {
        self.rng.borrow_mut().u32(..one_in.max(1)) == 0
    }

    fn between(&self, from: u64, to: u64) -> u64 {
        self.rng.borrow_mut().u64(from..to)
    }

    fn complain(&self, what: String) {
        self.note(|| format!("WRONG: {what}"));
        self.wrong.borrow_mut().push(what);
    }

    /// Takes a line into the hash, and into the trace.
    fn note(&self, line: impl FnOnce() -> String) {
        let line = line();
        self.hash.set(crate::engine::hash(self.hash.get(), line.as_bytes()));
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(format!("{:.3} {line}", self.since().as_secs_f64()));
        }
    }

    fn outcome(&self) -> Outcome {
        let counts = self.counts.borrow().clone();
        let mut trace = self.trace.as_ref().map(|trace| trace.borrow().clone()).unwrap_or_default();
        trace.extend(self.engine.trace());
        let second = |line: &String| line.split(' ').next().and_then(|time| time.parse::<f64>().ok()).unwrap_or(0.0);
        trace.sort_by(|a, b| second(a).total_cmp(&second(b)));
        Outcome {
            faults: counts.faults(),
            counts,
            hash: self.engine.trace_hash() ^ self.hash.get(),
            changes: self.history.changes.len(),
            keys: self.history.keys,
            wrong: self.wrong.take().into_iter().chain(self.ledger.take_wrong()).collect(),
            trace,
        }
    }

    /// Documents and messages that were there before. Documents are without a version, damaged, or of another source.
    fn plant(&self) {
        for queue in [&self.fallback, &self.dead_letters, &self.failures] {
            FOREIGN.iter().for_each(|body| queue.put((*body).to_owned(), Duration::ZERO));
        }
        FOREIGN
            .iter()
            .enumerate()
            .for_each(|(number, body)| self.shelf.put(&foreign_object(number), body.as_bytes().to_vec()));
        // What one route's index refuses, that of the other may take.
        if self.chance(2) {
            self.engine.tolerate(routing::AUDIT);
        }
        let mut rng = self.rng.borrow_mut();
        for key in 0..self.history.keys {
            if rng.u32(..12) != 0 {
                continue;
            }
            let mark = match rng.u32(..4) {
                0 => serde_json::Value::Null,
                1 => serde_json::json!("damaged"),
                2 => {
                    serde_json::json!({"space": "kafka:other:0", "label": "", "exact": "00000000000000000007", "at": 1})
                }
                _ => serde_json::json!({"format": 9, "clock": [1, 2]}),
            };
            let mut source = serde_json::json!({"old": true, "_tidelock": mark});
            if rng.bool() {
                source[routing::NOTE] = serde_json::json!("a note of before");
            }
            if source["_tidelock"].is_null() {
                source.as_object_mut().map(|source| source.remove("_tidelock"));
            }
            let version = if rng.bool() { rng.i64(1..100) } else { i64::MAX - rng.i64(1_000_000..2_000_000) };
            // Only where the source speaks of: nobody is asked about others.
            let holds = |location: &&routing::Location| {
                let of_key = self.history.of_key(key).iter();
                let mut effects = of_key.filter_map(|&change| self.history.effect(change, location));
                effects.any(|effect| effect.document.is_some())
            };
            let locations: Vec<_> = self.history.locations(key).into_iter().filter(holds).collect();
            if let Some(location) = rng.choice(locations) {
                self.engine.plant(&location.index, &location.id, source, version);
                self.ledger.planted(location.clone());
            }
        }
    }
}

/// The name of an object that is none of ours, among those that Lambda leaves.
fn foreign_object(number: usize) -> String {
    format!("{FAILURES}uuid/what-is-this/{number}")
}
