//! Changes per second into real targets. Every run starts with an empty target and counts its documents in the end.

pub(crate) mod answers;
pub(crate) mod backfill;
pub(crate) mod ceiling;
pub(crate) mod conflicts;
pub(crate) mod drain;
pub(crate) mod guards;
pub(crate) mod latency;
pub(crate) mod letters;
pub(crate) mod poison;
mod servers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use servers::{MongoDb, OpenSearch};

use crate::corpus::{Batch, Corpus, Event, Shape};
use crate::function::{Function, Result};
use crate::subjects::{Places, Subject};

/// A real server that the benchmark has for itself, or its own part of one.
pub(crate) trait Target {
    /// The value of `TIDELOCK_TARGET`.
    fn setting(&self) -> String;

    /// Removes all that earlier runs have left; nothing is refreshed while a run lasts.
    fn fresh(&self) -> Result<()>;

    /// How many documents there are.
    fn documents(&self) -> Result<u64>;

    /// How many fences of deletes there are.
    fn fences(&self) -> Result<u64>;
}

/// # Errors
/// Another number of documents than expected: the run was fast because it was wrong.
fn expect_documents(target: &dyn Target, expected: u64) -> Result<()> {
    expect_count("the target", target.documents()?, expected)
}

fn expect_count(place: &str, found: u64, expected: u64) -> Result<()> {
    if found != expected {
        return Err(format!("{place} holds {found} documents, expected {expected}").into());
    }
    Ok(())
}

/// The command `tidelock`, which is built beside what was measured.
fn command(places: &Places) -> Result<PathBuf> {
    let program = Path::new("target/release/tidelock");
    let beside = places.function.ancestors().map(|folder| folder.join("release/tidelock"));
    beside
        .chain([program.to_owned()])
        .find(|program| program.exists())
        .ok_or_else(|| "the command is not built: cargo build --release -p tidelock-cli".into())
}

/// The changes of a run: some that make connections, mappings and indices ready, then those that are timed.
struct Load {
    warm_up: Vec<Event>,
    events: Vec<Event>,
    records: usize,
    /// Documents that the target must hold in the end.
    documents: u64,
}

impl Load {
    fn new(shape: &Shape, records: usize, batch: Batch) -> Result<Self> {
        Self::warmed(shape, records, batch, 50)
    }

    /// With so many changes to warm up, in events of fifty.
    fn warmed(shape: &Shape, records: usize, batch: Batch, warm_up: usize) -> Result<Self> {
        let first =
            Corpus::generate(&Shape { records: warm_up, seed: shape.seed + 1, hot_share: 0.0, ..shape.clone() });
        let corpus = Corpus::generate(&Shape { records, ..shape.clone() });
        Self::of(&first, &corpus, batch)
    }

    fn of(first: &Corpus, corpus: &Corpus, batch: Batch) -> Result<Self> {
        let warm_up = first.all_events(Batch::Records(50));
        let documents = (first.live_keys() + corpus.live_keys()) as u64;
        let events = corpus.all_events(batch);
        let records = events.iter().map(|event| event.records).sum();
        Ok(Self { warm_up, events, records, documents })
    }

    fn warm_up(&self, function: &mut Function) -> Result<()> {
        self.warm_up.iter().try_for_each(|event| function.invoke(event).map(drop))
    }

    fn warm_up_records(&self) -> usize {
        self.warm_up.iter().map(|event| event.records).sum()
    }

    /// Changes per second.
    fn rate(&self, spent: Duration) -> f64 {
        self.records as f64 / spent.as_secs_f64()
    }
}

/// Time that a function takes for the load.
fn feed(target: &dyn Target, places: &Places, load: &Load, subject: &Subject) -> Result<Duration> {
    target.fresh()?;
    let mut function = Function::start(&subject.launch, &places.logs())?;
    load.warm_up(&mut function)?;
    let started = Instant::now();
    function.invoke_all(&load.events)?;
    let spent = started.elapsed();
    expect_documents(target, load.documents)?;
    Ok(spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Holding(u64);

    impl Target for Holding {
        fn setting(&self) -> String {
            String::new()
        }

        fn fresh(&self) -> Result<()> {
            Ok(())
        }

        fn documents(&self) -> Result<u64> {
            Ok(self.0)
        }

        fn fences(&self) -> Result<u64> {
            Ok(0)
        }
    }

    #[test]
    fn a_target_with_too_few_or_too_many_documents_ends_the_run() {
        expect_documents(&Holding(3), 3).expect("as expected");
        for found in [2, 4] {
            let error = expect_documents(&Holding(found), 3).expect_err("wrong").to_string();
            assert!(error.contains(&format!("holds {found} documents, expected 3")), "{error}");
        }
    }

    #[test]
    fn a_load_holds_every_change_and_counts_the_keys_of_the_warm_up() {
        let shape = Shape { hot_share: 0.2, ..Shape::default() };
        let load = Load::new(&shape, 1_234, Batch::Records(500)).expect("a load");
        assert_eq!(load.events.iter().map(|event| event.records).collect::<Vec<_>>(), [500, 500, 234]);
        let timed = Corpus::generate(&Shape { records: 1_234, ..shape }).live_keys() as u64;
        assert!(load.documents > timed && load.documents <= timed + 50, "{} and {timed}", load.documents);
        assert!((load.rate(Duration::from_millis(500)) - 2_468.0).abs() < 1e-6);
    }
}
