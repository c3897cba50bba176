//! A fleet of functions against one server that cannot keep up with it: how much of what it can do gets done.
//!
//! ```text
//! mapping ─ deliver ─ OpenSearchTarget ─ Way ─▶ Server ─ circuit breaker, indexing pressure, write queues ─▶ Node
//!    × functions, each with a backlog              └ Tally: which records are written, when, for whom
//! ```
//!
//! What a server can do is measured, not assumed: clients with one request each at a time, of which there are not too many for
//! its queue ([`capacity`]). Goodput counts every record once, however often it was sent.

mod function;
mod node;
mod plain;
mod records;
mod scenarios;
mod server;
mod tally;

pub use scenarios::{Scenario, scenarios};
pub use server::{Refusal, ServerConfig, Weather};

use function::{Invocations, follow};
use records::Records;
use server::Server;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tally::Tally;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// A fleet must get so much done of what its server can do.
pub const GOODPUT: f64 = 0.9;

/// What functions have to deliver, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Records of a batch.
    pub records: usize,
    /// Bytes of each document.
    pub document_bytes: usize,
    /// Most bytes of a bulk request: `TIDELOCK_BULK_BYTES`.
    pub bulk_bytes: usize,
    /// Requests of a function at a time: `TIDELOCK_IN_FLIGHT`.
    pub in_flight: usize,
    /// The function's timeout.
    pub timeout: Duration,
}

impl Default for Workload {
    /// Batches of half a megabyte, and the settings that functions have by default.
    fn default() -> Self {
        Self {
            records: 100,
            document_bytes: 5_000,
            bulk_bytes: 5_000_000,
            in_flight: 4,
            timeout: Duration::from_secs(60),
        }
    }
}

/// Who delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The real code.
    Tidelock,
    /// The real code, but for its pace: each request is repeated by itself, with full jitter.
    Unpaced,
    /// One that sends a whole batch at a time, and what was refused again after 50 ms.
    Plain,
}

/// A workload with its records made.
pub(crate) struct Load {
    records: Records,
    bulk_bytes: usize,
    in_flight: usize,
    timeout: Duration,
}

impl Load {
    fn new(workload: Workload) -> Self {
        let Workload { records, document_bytes, bulk_bytes, in_flight, timeout } = workload;
        Self { records: Records::new(records, document_bytes), bulk_bytes, in_flight, timeout }
    }
}

/// What a run has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Records written, each counted once, second by second.
    pub seconds: Vec<usize>,
    /// Requests that the server has received.
    pub requests: usize,
    /// Those of them that it refused, as a whole or in part.
    pub refusals: usize,
    /// Requests that were not answered in the time of their invocation.
    pub abandoned: usize,
    /// Writes of what was written already.
    pub repeated: usize,
    /// Records that have not been written although their batch counts as done.
    pub lost: usize,
    /// Over all that the server has answered, and when: equal seeds have equal hashes.
    pub hash: u64,
    /// Invocations; 0 for plain clients.
    pub invocations: usize,
    /// Invocations after which records had to come again.
    pub failed: usize,
    /// Invocations that Lambda had to end because their time was over.
    pub killed: usize,
    /// Invocations that answered after their deadline, these included.
    pub late: usize,
    /// What the slowest function has written, as a share of the mean.
    pub slowest: f64,
}

impl Outcome {
    /// How many records have been written.
    #[must_use]
    pub fn records(&self) -> usize {
        self.seconds.iter().sum()
    }

    /// How many requests were refused, as a whole or in part, for each that was not.
    #[must_use]
    pub fn refused_per_taken(&self) -> f64 {
        self.refusals as f64 / (self.requests - self.refusals).max(1) as f64
    }

    /// Records per second from one second to another.
    #[must_use]
    pub fn rate(&self, from: usize, until: usize) -> f64 {
        let written: usize = self.seconds.iter().skip(from).take(until.saturating_sub(from)).sum();
        written as f64 / until.saturating_sub(from).max(1) as f64
    }

    /// How many seconds after this time the fleet has done so many records per second for five seconds; `None` when it never has.
    #[must_use]
    pub fn recovered(&self, since: Duration, rate: f64) -> Option<usize> {
        const STEADY: usize = 5;
        let since = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        (since..=self.seconds.len().checked_sub(STEADY)?)
            .find(|from| self.rate(*from, from + STEADY) >= rate)
            .map(|from| from - since)
    }
}

/// Runs a fleet on a virtual clock for some time.
#[must_use]
pub fn simulate(seed: u64, scenario: &Scenario, client: Client) -> Outcome {
    let Scenario { functions, workload, server, weather, lasts, .. } = scenario.clone();
    crate::run(seed, async move {
        let load = Rc::new(Load::new(workload));
        let server = Server::new(seed, server, weather, workload, Tally::new(functions, workload.records));
        let invocations: Vec<Rc<Cell<Invocations>>> = (0..functions).map(|_| Rc::default()).collect();
        let request = plain::request(&load).await;
        let paced = client == Client::Tidelock;
        for (function, invocations) in invocations.iter().enumerate() {
            match (client, &request) {
                (Client::Plain, Some(request)) => {
                    drop(spawn_local(plain::insist(server.clone(), function, request.clone())));
                }
                _ => {
                    let (load, server, invocations) = (Rc::clone(&load), server.clone(), Rc::clone(invocations));
                    drop(spawn_local(async move { follow(&load, server, function, paced, &invocations).await }));
                }
            }
        }
        sleep(lasts).await;
        outcome(&server, &invocations, lasts)
    })
}

fn outcome(server: &Server, invocations: &[Rc<Cell<Invocations>>], lasts: Duration) -> Outcome {
    let sum = |of: fn(Invocations) -> usize| invocations.iter().map(|cell| of(cell.get())).sum();
    server.tally(|tally| {
        let mut seconds = tally.seconds.clone();
        seconds.resize(usize::try_from(lasts.as_secs()).unwrap_or(0), 0);
        let mean = tally.by_function().sum::<usize>() as f64 / invocations.len().max(1) as f64;
        Outcome {
            seconds,
            requests: tally.requests,
            refusals: tally.refusals,
            abandoned: tally.abandoned,
            repeated: tally.repeated,
            lost: tally.lost,
            hash: tally.hash,
            invocations: sum(|counts| counts.count),
            failed: sum(|counts| counts.failed),
            killed: sum(|counts| counts.killed),
            late: sum(|counts| counts.late),
            slowest: tally.by_function().min().unwrap_or(0) as f64 / mean.max(1.0),
        }
    })
}

/// What so many plain clients get done, records per second, by their number.
#[must_use]
pub fn capacity_curve(scenario: &Scenario, clients: &[usize]) -> Vec<(usize, f64)> {
    const WARM: usize = 2;
    const LASTS: usize = 17;
    let rate = |functions: usize| {
        let (lasts, weather) = (Duration::from_secs(LASTS as u64), Weather::default());
        let scenario = Scenario { functions, lasts, weather, ..scenario.clone() };
        simulate(1, &scenario, Client::Plain).rate(WARM, LASTS)
    };
    clients.iter().map(|clients| (*clients, rate(*clients))).collect()
}

/// The most that a scenario's server can do, records per second: the best of its curve, if memory were no matter.
#[must_use]
pub fn capacity(scenario: &Scenario) -> f64 {
    let server = ServerConfig { heap: 1 << 40, heap_used: 0, ..scenario.server };
    let curve = capacity_curve(&Scenario { server, ..scenario.clone() }, &[4, 8, 16]);
    curve.into_iter().map(|(_, rate)| rate).fold(0.0, f64::max)
}
