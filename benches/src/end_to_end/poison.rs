//! What records that the target refuses take from the rate of a change stream: the same stream with one in a hundred and without,
//! in pairs. Refused records go to a queue as dead letters.

use std::time::{Duration, Instant};

use super::{Load, OpenSearch, Target as _, expect_documents};
use crate::corpus::{Batch, Corpus, Shape, Source};
use crate::function::{Function, Result};
use crate::http::{self, Listener};
use crate::measure::USUAL;
use crate::opensearch;
use crate::results::{Pairs, Poison};
use crate::sqs::Sqs;
use crate::subjects::{DOCUMENTDB, Places, Subject, documentdb};

/// Records of a batch: [`USUAL`].
const BATCH: Batch = Batch::Records(500);

/// One record in this many is refused.
const EVERY: usize = 100;

/// What stands in their documents.
const SIGN: &[u8] = br#""stock":"sold out""#;

/// The index that a server empties for each run; its name alone would be that of database and collection.
const ROUTES: &str = r#"{"version":1,"routes":[{"from":"*","to":"bench"}]}"#;

/// Where the changes go: a real server, or a stub that refuses what such a server would.
enum Destination<'a> {
    Server(&'a OpenSearch),
    Stub(Listener),
}

impl Destination<'_> {
    fn setting(&self) -> String {
        match self {
            Self::Server(server) => server.setting(),
            Self::Stub(listener) => format!("opensearch+http://{}", listener.address()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Server(_) => "a real OpenSearch",
            Self::Stub(_) => "a stub of OpenSearch",
        }
    }

    fn fresh(&self) -> Result<()> {
        match self {
            Self::Server(server) => server.fresh(),
            Self::Stub(_) => Ok(()),
        }
    }

    /// A stub holds nothing.
    fn expect(&self, documents: u64) -> Result<()> {
        match self {
            Self::Server(server) => expect_documents(*server, documents),
            Self::Stub(_) => Ok(()),
        }
    }
}

/// Measures `rounds` pairs, into the server where there is one.
pub(crate) fn run(
    places: &Places,
    server: Option<&OpenSearch>,
    shape: &Shape,
    records: usize,
    rounds: usize,
) -> Result<Poison> {
    let shape = Shape { source: Source::DocumentDb, records, ..shape.clone() };
    let [clean, poisoned] = [Corpus::generate(&shape), Corpus::generate(&shape).poison(EVERY)];
    let first = Corpus::generate(&Shape { records: 50, seed: shape.seed + 1, hot_share: 0.0, ..shape });
    let refused = poisoned.poisoned_records();
    let loads = [(Load::of(&first, &clean, BATCH)?, 0), (Load::of(&first, &poisoned, BATCH)?, refused)];
    let target = match server {
        Some(server) => Destination::Server(server),
        None => Destination::Stub(opensearch::refusing_stub(http::plain(), SIGN)?),
    };
    let sqs = Sqs::start(Duration::ZERO)?;
    let settings = [
        ("TIDELOCK_TARGET", target.setting()),
        ("TIDELOCK_PIPELINE", ROUTES.into()),
        ("TIDELOCK_IN_FLIGHT", "1".into()),
        ("TIDELOCK_DEAD_LETTERS", sqs.queue()),
        ("AWS_ENDPOINT_URL_SQS", sqs.url()),
    ];
    let subject = documentdb(places, DOCUMENTDB, "Tidelock", &settings);
    let mut pairs = Vec::new();
    // Round 0 warms the server up.
    for round in 0..=rounds {
        let mut rates = [0.0; 2];
        // Each goes first in every other round.
        for turn in 0..2 {
            let which = (turn + round) % 2;
            let (load, refused) = &loads[which];
            rates[which] = load.rate(feed(&target, places, load, &subject)?);
            expect_letters(sqs.empty(), *refused)?;
        }
        let [clean, poisoned] = rates;
        eprintln!("poison: round {round} of {rounds}: clean {clean:.0}/s, poisoned {poisoned:.0}/s");
        if round > 0 {
            pairs.push((poisoned, clean));
        }
    }
    if let Some(server) = server {
        server.delete_indices()?;
    }
    Ok(row(target.name(), records, refused, &pairs))
}

fn feed(target: &Destination<'_>, places: &Places, load: &Load, subject: &Subject) -> Result<Duration> {
    target.fresh()?;
    let mut function = Function::start(&subject.launch, &places.logs())?;
    load.warm_up(&mut function)?;
    let started = Instant::now();
    function.invoke_all(&load.events)?;
    let spent = started.elapsed();
    target.expect(load.documents)?;
    Ok(spent)
}

/// # Errors
/// Another number of dead letters than of refused records: some were lost, or none were refused.
fn expect_letters(found: usize, expected: usize) -> Result<()> {
    if found != expected {
        return Err(format!("the queue holds {found} dead letters, expected {expected}").into());
    }
    Ok(())
}

/// The figures of pairs of (poisoned, clean) changes per second.
fn row(target: &str, records: usize, poisoned: usize, pairs: &[(f64, f64)]) -> Poison {
    let Pairs { first, second, ratio, lowest, highest } = Pairs::of(pairs);
    Poison {
        target: target.into(),
        batch: USUAL.into(),
        rounds: pairs.len(),
        records,
        poisoned,
        clean_per_second: second,
        poisoned_per_second: first,
        ratio,
        lowest,
        highest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisoned_stream_is_told_by_its_share_of_the_clean_rate() {
        let found = row("X", 100, 1, &[(9.0, 10.0), (50.0, 100.0), (4.0, 4.0)]);
        assert_eq!((found.ratio, found.lowest, found.highest), (0.9, 0.5, 1.0));
        assert_eq!((found.clean_per_second, found.poisoned_per_second), (10.0, 9.0));
        assert_eq!((found.rounds, found.poisoned), (3, 1));
    }

    #[test]
    fn a_letter_too_few_or_too_many_ends_the_run() {
        expect_letters(3, 3).expect("as expected");
        for found in [2, 4] {
            let error = expect_letters(found, 3).expect_err("wrong").to_string();
            assert!(error.contains(&format!("{found} dead letters, expected 3")), "{error}");
        }
    }
}
