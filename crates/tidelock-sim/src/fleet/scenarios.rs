//! What fleets are put through.

use super::{Outcome, Refusal, ServerConfig, Weather, Workload};
use std::ops::Range;
use std::time::Duration;

/// A fleet, its server, and what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// Functions, all of which begin at once and have a backlog that does not end.
    pub functions: usize,
    /// What they deliver.
    pub workload: Workload,
    /// The server.
    pub server: ServerConfig,
    /// What happens to it.
    pub weather: Weather,
    /// How long it goes on.
    pub lasts: Duration,
}

/// What functions may take to find out what a server can do.
const WARM_UP: Duration = Duration::from_secs(5);

const MINUTE: Duration = Duration::from_secs(60);

impl Default for Scenario {
    /// A hundred functions for ten minutes.
    fn default() -> Self {
        Self {
            name: "a hundred functions",
            functions: 100,
            workload: Workload::default(),
            server: ServerConfig::default(),
            weather: Weather::default(),
            lasts: 10 * MINUTE,
        }
    }
}

impl Scenario {
    /// What share of what a server of this capacity, in records per second, could do it has done, from the end of the warm-up on.
    #[must_use]
    pub fn goodput(&self, outcome: &Outcome, capacity: f64) -> f64 {
        let slow = self.weather.slow.as_ref().map_or(0.0, |(when, speed)| length(when) * (1.0 - speed));
        let broken = self.weather.broken.as_ref().map_or(0.0, length);
        let possible = capacity * ((self.lasts - WARM_UP).as_secs_f64() - slow - broken);
        let written: usize = outcome.seconds.iter().skip(WARM_UP.as_secs() as usize).sum();
        written as f64 / possible
    }

    /// When the server is as it was again; `None` when nothing happens to it.
    #[must_use]
    pub fn mended(&self) -> Option<Duration> {
        let Weather { slow, broken } = &self.weather;
        slow.iter().map(|(when, _)| when.end).chain(broken.iter().map(|when| when.end)).max()
    }

    /// The same in a fraction of the time, and with fewer but larger records that are as much work for the server.
    #[must_use]
    pub fn brief(self) -> Self {
        const RECORDS: usize = 20;
        const SHORTER: u32 = 15;
        let Self { workload, server, weather, .. } = self;
        let fewer = (workload.records / RECORDS).max(1);
        let shorter = |when: Range<Duration>| when.start / SHORTER..when.end / SHORTER;
        Self {
            workload: Workload {
                records: workload.records / fewer,
                document_bytes: workload.document_bytes * fewer,
                ..workload
            },
            server: ServerConfig { per_item: server.per_item * fewer as u32, ..server },
            weather: Weather {
                slow: weather.slow.map(|(when, speed)| (shorter(when), speed)),
                broken: weather.broken.map(shorter),
            },
            lasts: self.lasts / SHORTER,
            ..self
        }
    }
}

fn length(when: &Range<Duration>) -> f64 {
    when.end.saturating_sub(when.start).as_secs_f64()
}

/// All of them.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let base = Scenario::default();
    let (server, workload) = (base.server, base.workload);
    // Half a megabyte of documents of 1 KB, written as fast as such are.
    let small = Workload { records: 500, document_bytes: 1_000, ..workload };
    let quick = ServerConfig { cores: 4, per_item: Duration::from_micros(20), ..server };
    // Three megabytes, so that a function has four requests under way.
    let large = Workload { document_bytes: 30_000, ..workload };
    let patient = ServerConfig { per_item: 3 * server.per_item, queue: 10_000, ..server };
    let shards = ServerConfig { nodes: 3, cores: 1, queue: 12, refusal: Refusal::Items, ..server };
    vec![
        base.clone(),
        Scenario { name: "four hundred", functions: 400, ..base.clone() },
        Scenario {
            name: "its speed down to 30 % for two minutes",
            weather: Weather { slow: Some((2 * MINUTE..4 * MINUTE, 0.3)), ..Weather::default() },
            ..base.clone()
        },
        Scenario {
            name: "its circuit breaker open for a minute",
            weather: Weather { broken: Some(2 * MINUTE..3 * MINUTE), ..Weather::default() },
            ..base.clone()
        },
        Scenario { name: "items refused, by queues of three nodes", server: shards, ..base.clone() },
        Scenario { name: "batches of 3 MB, indexing pressure", workload: large, server: patient, ..base.clone() },
        Scenario {
            name: "batches of 6 MB, a circuit breaker that lets 4 MB in",
            workload: Workload { records: 200, ..large },
            server: ServerConfig { breaker_percent: 60, heap_used: 592_000_000, ..patient },
            ..base.clone()
        },
        Scenario {
            name: "batches of 500 small documents",
            workload: small,
            server: quick,
            lasts: 2 * MINUTE,
            ..base.clone()
        },
        Scenario { name: "five functions", functions: 5, ..base.clone() },
        Scenario {
            name: "five functions, batches of 3 MB, a short queue",
            functions: 5,
            workload: large,
            server: ServerConfig { queue: 8, heap: 4 * server.heap, heap_used: 4 * server.heap_used, ..patient },
            ..base
        },
    ]
}
