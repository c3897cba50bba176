//! Fleets get done what their server can do, whatever happens to it; clients without manners do not.

use std::time::Duration;
use tidelock_sim::fleet::{
    Client, GOODPUT, Outcome, Scenario, Workload, capacity, capacity_curve, scenarios, simulate,
};

/// Runs a fleet; nothing of it may be late, and nothing lost.
fn run(seed: u64, scenario: &Scenario) -> Outcome {
    let outcome = simulate(seed, scenario, Client::Tidelock);
    let Outcome { late, killed, lost, .. } = outcome;
    assert_eq!((late, killed, lost), (0, 0, 0), "{}, seed {seed}", scenario.name);
    outcome
}

/// Runs a scenario with its pace and without any; gives the server's capacity and how it went.
fn check(scenario: &Scenario) -> (f64, Outcome) {
    let (name, capacity) = (scenario.name, capacity(scenario));
    let outcome = run(1, scenario);
    let goodput = scenario.goodput(&outcome, capacity);
    assert!((GOODPUT..1.1).contains(&goodput), "{name}: {goodput} {outcome:?}");
    if let Some(since) = scenario.mended() {
        let recovered = outcome.recovered(since, GOODPUT * capacity);
        assert!(recovered.is_some_and(|seconds| seconds <= 10), "{name}: {recovered:?} {outcome:?}");
    }
    if scenario.functions != 100 {
        return (capacity, outcome);
    }
    assert!(outcome.refusals > 0, "{name}: {outcome:?}");
    // The scenario can be failed: it is, by clients that only insist.
    let lasts = scenario.mended().map_or(Duration::from_secs(8), |mended| mended + Duration::from_secs(3));
    let short = Scenario { lasts, ..scenario.clone() };
    let plain = simulate(1, &short, Client::Plain);
    assert!(short.goodput(&plain, capacity) < 0.6, "{name}: {plain:?}");
    (capacity, outcome)
}

fn brief(choice: impl Fn(&Scenario) -> bool) -> impl Iterator<Item = Scenario> {
    scenarios().into_iter().filter(choice).map(Scenario::brief)
}

fn is_large(scenario: &Scenario) -> bool {
    scenario.workload.records * scenario.workload.document_bytes > 1_000_000
}

#[test]
fn a_server_has_a_capacity_and_falls_below_it_when_too_many_insist() {
    let curve = capacity_curve(&Scenario::default().brief(), &[1, 2, 8, 16, 32, 64]);
    let [one, two, eight, sixteen, more @ ..] = curve.as_slice() else { panic!("{curve:?}") };
    // Two cores: each client keeps one of them busy, but for the time on the way.
    assert!(two.1 > 1.8 * one.1 && eight.1 > two.1, "{curve:?}");
    // Two cores, 102 ms of writing and 1.6 ms of receiving for each batch.
    assert!((eight.1 - 2.0 / 0.1036 * 20.0).abs() < 0.02 * eight.1, "{curve:?}");
    assert!((sixteen.1 - eight.1).abs() < 0.02 * eight.1, "{curve:?}");
    assert!(more.windows(2).all(|pair| pair[1].1 < pair[0].1), "{curve:?}");
    assert!(more.last().is_some_and(|last| last.1 < 0.5 * eight.1), "{curve:?}");
}

#[test]
fn fleets_get_done_what_their_server_can() {
    brief(|scenario| scenario.functions <= 100 && scenario.mended().is_none() && !is_large(scenario))
        .for_each(|scenario| drop(check(&scenario)));
}

#[test]
fn fleets_find_out_how_large_their_requests_may_be() {
    brief(is_large).for_each(|scenario| drop(check(&scenario)));
}

#[test]
fn fleets_recover_with_their_server() {
    brief(|scenario| scenario.mended().is_some()).for_each(|scenario| drop(check(&scenario)));
}

#[test]
fn deadlines_are_kept() {
    // Less time than many of them have to wait for a turn.
    let scenario = Scenario::default().brief();
    let scenario = Scenario { workload: Workload { timeout: Duration::from_secs(6), ..scenario.workload }, ..scenario };
    let outcome = run(1, &scenario);
    assert!(outcome.failed > 20, "{outcome:?}");
    // What nobody could wait for is the exception: an answer that took longer than those before it.
    assert!(outcome.abandoned * 100 <= outcome.requests, "{outcome:?}");
    let goodput = scenario.goodput(&outcome, capacity(&scenario));
    assert!(goodput >= GOODPUT, "{goodput} {outcome:?}");
}

#[test]
fn full_jitter_alone_does_not_suffice() {
    for scenario in brief(|scenario| scenario.functions > 100) {
        let (capacity, paced) = check(&scenario);
        let short = Scenario { lasts: scenario.lasts / 2, ..scenario };
        let unpaced = simulate(1, &short, Client::Unpaced);
        assert!(short.goodput(&unpaced, capacity) < 0.8, "{unpaced:?}");
        assert!(3.0 * paced.refused_per_taken() < unpaced.refused_per_taken(), "{paced:?} {unpaced:?}");
    }
}

#[test]
fn equal_seeds_give_equal_fleets() {
    let scenario = Scenario { lasts: Duration::from_secs(10), ..Scenario::default().brief() };
    let (first, second) = (run(1, &scenario), run(1, &scenario));
    assert_eq!(first, second);
    assert_ne!(first.hash, run(2, &scenario).hash);
}
