//! What decoding an event costs, without and with the five transforms of the benchmarks.
//!
//! ```sh
//! cargo run --release --package tidelock-bench -- event > event.json
//! cargo run --release --package tidelock-core --example decode -- event.json
//! ```

use std::time::{Duration, Instant};
use tidelock_core::encode::Format;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::source::dynamodb::READER;

const STEPS: &str = r#"[{"default": {"note": null}}, {"convert": {"field": ["created_at", "updated_at"], "from": "epoch_seconds", "to": "date"}},
    {"rename": {"title": "name"}}, {"drop": ["discount", "sizes"]}, {"convert": {"field": "price", "to": "scaled", "scale": 2}}]"#;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let payload = std::fs::read(arguments.next().expect("an event")).expect("an event");
    let rounds: usize = arguments.next().map_or(200, |rounds| rounds.parse().expect("a number of rounds"));
    let only = arguments.next().unwrap_or_default();
    let pipeline = |steps: &str| {
        Pipeline::parse(&format!(r#"{{"version": 1, "routes": [{{"from": "bench"{steps}}}]}}"#)).expect("a pipeline")
    };
    let ways = [
        ("none", Pipeline::default()),
        ("routes", pipeline("")),
        ("five", pipeline(&format!(r#", "transform": {STEPS}"#))),
    ];
    for format in [Format::Json, Format::Bson] {
        let mut best = [Duration::MAX; 3];
        let mut records = 0;
        for _ in 0..rounds {
            for ((name, pipeline), best) in ways.iter().zip(&mut best) {
                if !only.is_empty() && only != format!("{format:?}-{name}") {
                    continue;
                }
                let started = Instant::now();
                let batch = pipeline.decode(&READER, &payload, format).expect("an event");
                *best = started.elapsed().min(*best);
                records = batch.slots.len().max(1);
            }
        }
        for ((name, _), best) in ways.iter().zip(best) {
            if best != Duration::MAX {
                println!("{format:?} {name:>8} {:>8.3} µs a record", best.as_secs_f64() * 1e6 / records as f64);
            }
        }
    }
}
