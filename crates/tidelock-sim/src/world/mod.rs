//! A world with a seed: a table, its stream, functions that follow it, and an engine that all of it ends in, while
//! everything that can go wrong does. What runs in the functions is the real code.

mod counts;
mod function;
mod history;
mod letters;
mod mapping;
mod operator;
mod oracle;
mod race;
mod table;

pub use counts::{COLUMNS, Counts};

use crate::engine::{Engine, EngineConfig};
use counts::Storm;
use history::{History, Routing, Shape, Step};
use letters::Letters;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use table::Table;
use tidelock_core::pipeline::Pipeline;
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

/// What one world is like.
#[derive(Debug, Clone, Copy)]
struct Climate {
    shape: Shape,
    /// Functions can read the table again.
    source: bool,
    batch: usize,
    timeout: Duration,
    /// A fault in so many requests.
    fault_every: u32,
    /// An invocation in so many dies half-way.
    kill_every: u32,
    /// A batch in so many is delivered again after it was done.
    duplicate_every: u32,
}

impl Climate {
    fn new(rng: &mut fastrand::Rng) -> Self {
        let source = rng.u32(..10) < 7;
        let routing = *rng.choice(&[Routing::Fixed, Routing::Home, Routing::Hidden]).unwrap_or(&Routing::Fixed);
        Self {
            shape: Shape {
                changes: rng.usize(2_000..2_200),
                keys: rng.usize(50..90),
                step: *rng.choice(&[Step::Huge, Step::One, Step::Mixed]).unwrap_or(&Step::Huge),
                shards: rng.usize(1..4),
                relabel: rng.u32(..4) == 0,
                clock_steps: rng.u32(..4) == 0,
                // Where an item was that has no image, only fixed places tell.
                keys_only: source && routing != Routing::Home && rng.u32(..3) == 0,
                poison: rng.u32(..30),
                routing,
            },
            source,
            batch: rng.usize(5..120),
            timeout: Duration::from_secs(rng.u64(3..30)),
            fault_every: rng.u32(6..30),
            kill_every: rng.u32(8..40),
            duplicate_every: rng.u32(6..30),
        }
    }
}

/// What all parts of a world share.
struct World {
    began: Instant,
    climate: Climate,
    pipeline: Pipeline,
    history: Rc<History>,
    engine: Engine,
    storm: Rc<Storm>,
    table: Table,
    letters: Letters,
    rng: RefCell<fastrand::Rng>,
    counts: RefCell<Counts>,
    /// Changes that have been acknowledged, by index.
    acknowledged: RefCell<Vec<bool>>,
    wrong: RefCell<Vec<String>>,
    hash: Cell<u64>,
    /// The stream has been read to its end.
    drained: Cell<bool>,
    trace: Option<RefCell<Vec<String>>>,
}

/// Letters are redriven and scans made until nothing is left to happen; then faults end.
const ROUNDS: usize = 12;

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
        let world = Rc::new(World {
            began: Instant::now(),
            climate,
            pipeline: Pipeline::parse(climate.shape.routing.pipeline()).expect("a pipeline"),
            engine: Engine::new(config),
            storm: Rc::clone(&storm),
            table: Table::new(Rc::clone(&history)),
            letters: Letters::new(Rc::clone(&storm)),
            acknowledged: RefCell::new(vec![false; history.changes.len()]),
            history,
            rng: RefCell::new(fastrand::Rng::with_seed(rng.u64(..))),
            counts: RefCell::default(),
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
        self.plant();
        let mut shards = Vec::new();
        for shard in 0..self.history.shards.len() {
            let world = Rc::clone(self);
            shards.push(tokio::task::spawn_local(async move { mapping::follow(&world, shard).await }));
        }
        let world = Rc::clone(self);
        let operator = tokio::task::spawn_local(async move { operator::work(&world).await });
        for shard in shards {
            if let Err(error) = shard.await {
                self.complain(format!("a mapping ended: {error}"));
            }
        }
        self.drained.set(true);
        if let Err(error) = operator.await {
            self.complain(format!("the operator ended: {error}"));
        }
        // What is still under way lands; fences become old enough; sweeps find what has come back.
        self.settle().await;
        oracle::check(self, false);
        self.storm.end();
        self.table.heal();
        self.engine.accept_poison();
        for _ in 0..ROUNDS {
            if operator::redrive_all(self, true).await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_secs(70)).await;
        }
        oracle::check(self, true);
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
            wrong: self.wrong.borrow().clone(),
            trace,
        }
    }

    /// Documents that were there before: without a version, damaged, or of another source.
    fn plant(&self) {
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
            if source["_tidelock"].is_null() {
                source.as_object_mut().map(|source| source.remove("_tidelock"));
            }
            let version = if rng.bool() { rng.i64(1..100) } else { i64::MAX - rng.i64(1_000_000..2_000_000) };
            // Only where the source speaks of: nobody is asked about others.
            let place = rng.choice(self.history.routing.places()).unwrap_or_default();
            if self.history.touches(key, &place) {
                self.engine.plant(&place, &history::id(key), source, version);
            }
        }
    }
}
