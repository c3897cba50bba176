//! What guards and fences cost end to end: the same function with and without them, in pairs, into the same real target.

use super::{Load, Target, feed};
use crate::corpus::{Batch, Shape};
use crate::function::Result;
use crate::measure::USUAL;
use crate::results::{GuardCost, Pairs};
use crate::subjects::{Places, Subject, TIDELOCK, TIDELOCK_UNGUARDED, tidelock, unguarded};

/// Records of a batch: [`USUAL`].
const BATCH: Batch = Batch::Records(500);

/// The function with one request at a time, and these settings.
pub(super) fn one_at_a_time(
    places: &Places,
    id: &'static str,
    target: String,
    more: &[(&'static str, String)],
) -> Subject {
    let mut settings = vec![("TIDELOCK_TARGET", target), ("TIDELOCK_IN_FLIGHT", "1".into())];
    settings.extend_from_slice(more);
    tidelock(places, id, "Tidelock", &settings)
}

/// Measures `rounds` pairs. `name` is the target's in the results.
pub(crate) fn run(
    places: &Places,
    target: &dyn Target,
    name: &str,
    shape: &Shape,
    records: usize,
    rounds: usize,
) -> Result<GuardCost> {
    let load = Load::new(shape, records, BATCH)?;
    let subjects = [
        one_at_a_time(places, TIDELOCK, target.setting(), &[]),
        one_at_a_time(places, TIDELOCK_UNGUARDED, target.setting(), &[unguarded()]),
    ];
    let mut pairs = Vec::new();
    // Round 0 warms the server up.
    for round in 0..=rounds {
        let mut rates = [0.0; 2];
        // Each goes first in every other round.
        for turn in 0..2 {
            let subject = (turn + round) % 2;
            rates[subject] = load.rate(feed(target, places, &load, &subjects[subject])?);
            check_fences(subject == 0, shape, target.fences()?)?;
        }
        let [guarded, unguarded] = rates;
        eprintln!("guards, {name}: round {round} of {rounds}: guarded {guarded:.0}/s, unguarded {unguarded:.0}/s");
        if round > 0 {
            pairs.push((guarded, unguarded));
        }
    }
    Ok(cost(name, records, &pairs))
}

/// # Errors
/// Fences where there must be none, or none where there must be some: a function was run with the other's settings.
fn check_fences(guarded: bool, shape: &Shape, fences: u64) -> Result<()> {
    let expected = guarded && shape.delete_share > 0.0;
    if expected != (fences > 0) {
        let state = if guarded { "guarded" } else { "unguarded" };
        return Err(format!("the {state} function has left {fences} fences").into());
    }
    Ok(())
}

/// The figures of pairs of (guarded, unguarded) changes per second.
fn cost(name: &str, records: usize, pairs: &[(f64, f64)]) -> GuardCost {
    let Pairs { first, second, ratio, lowest, highest } = Pairs::of(pairs);
    GuardCost {
        target: name.into(),
        batch: USUAL.into(),
        rounds: pairs.len(),
        records,
        guarded_per_second: first,
        unguarded_per_second: second,
        ratio,
        lowest,
        highest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_pairs() {
        // A slow round slows both of a pair: the median of the ratios is 0.5, the ratio of the medians is 0.2.
        let found = cost("X", 1, &[(1.0, 2.0), (2.0, 4.0), (100.0, 10.0), (1.0, 5.0), (8.0, 16.0)]);
        assert_eq!((found.ratio, found.lowest, found.highest), (0.5, 0.2, 10.0));
        assert_eq!((found.guarded_per_second, found.unguarded_per_second), (2.0, 5.0));
        assert_eq!(found.rounds, 5);
    }

    #[test]
    fn fences_tell_guarded_from_unguarded_runs() {
        let shape = |delete_share| Shape { delete_share, ..Shape::default() };
        for (guarded, delete_share, fences, right) in [
            (true, 0.1, 3, true),
            (true, 0.1, 0, false),
            (true, 0.0, 0, true),
            (false, 0.1, 0, true),
            (false, 0.1, 3, false),
        ] {
            let verdict = check_fences(guarded, &shape(delete_share), fences);
            assert_eq!(verdict.is_ok(), right, "{guarded} {delete_share} {fences}");
        }
    }
}
