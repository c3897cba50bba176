//! Worlds are the same whenever they are run, and every kind of fault strikes in some of them.

use tidelock_sim::world::{Counts, simulate};

#[test]
fn equal_seeds_have_equal_traces() {
    let (first, second) = (simulate(3, true), simulate(3, true));
    assert_eq!(first.wrong, Vec::<String>::new());
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.trace, second.trace);
    assert!(first.trace.len() > first.changes);
    assert_ne!(first.hash, simulate(4, false).hash);
    assert!(first.changes >= 2_000 && first.keys >= 50 && first.faults >= 20, "{first:?}");
}

#[test]
fn every_fault_strikes() {
    let mut counts = Counts::default();
    for seed in 1..=12 {
        let outcome = simulate(seed, false);
        assert_eq!(outcome.wrong, Vec::<String>::new(), "seed {seed}");
        counts.add(&outcome.counts);
    }
    for (fault, struck, columns) in counts.rows() {
        assert!(struck > 0 && columns.iter().sum::<usize>() > 0, "{fault}: {struck} {columns:?}");
    }
}
