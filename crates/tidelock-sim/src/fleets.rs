//! `--fleet`: every scenario with some seeds, as a table.

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tidelock_sim::fleet::{Client, GOODPUT, Outcome, Scenario, capacity, scenarios, simulate};

/// Runs all scenarios and prints a line for each; in brief, only what has failed. It is a failure when one of them gets too little
/// done, is late or loses something.
pub(crate) fn run(seeds: RangeInclusive<u64>, brief: bool) -> ExitCode {
    let scenarios: Vec<Scenario> = match brief {
        true => scenarios().into_iter().map(Scenario::brief).collect(),
        false => scenarios(),
    };
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else { break };
                    let row = row(scenario, seeds.clone(), brief);
                    let Ok(mut rows) = rows.lock() else { break };
                    rows.push((index, row));
                }
            });
        }
    });
    let Ok(mut rows) = rows.into_inner() else { return ExitCode::FAILURE };
    rows.sort_unstable_by_key(|(index, _)| *index);
    if !brief {
        print(&rows);
    }
    let complaints: Vec<&str> = rows.iter().filter_map(|(_, row)| row.complaint.as_deref()).collect();
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(rows: &[(usize, Row)]) {
    println!(
        "| fleet | capacity (records/s) | goodput (lowest) | refused per taken | without the pace: goodput | refused per taken | \
         plain clients: goodput | slowest / mean | invocations | failed | back to {GOODPUT} after (s) |"
    );
    println!("| --- |{}", " ---: |".repeat(10));
    rows.iter().for_each(|(_, row)| println!("{}", row.text));
    let hash = rows.iter().fold(0, |hash: u64, (_, row)| hash.rotate_left(1) ^ row.hash);
    println!("\nnone late, none lost, unless said below; trace hash {hash:016x}");
}

struct Row {
    text: String,
    /// What is wrong.
    complaint: Option<String>,
    /// Over all that has happened.
    hash: u64,
}

fn row(scenario: &Scenario, seeds: RangeInclusive<u64>, brief: bool) -> Row {
    let (name, capacity) = (scenario.name, capacity(scenario));
    let outcomes: Vec<(u64, Outcome)> = seeds.map(|seed| (seed, simulate(seed, scenario, Client::Tidelock))).collect();
    let goodput = |outcome: &Outcome| scenario.goodput(outcome, capacity);
    let complaint = outcomes.iter().find_map(|(seed, outcome)| {
        let (goodput, Outcome { late, lost, .. }) = (goodput(outcome), outcome);
        (goodput < GOODPUT || late + lost > 0)
            .then(|| format!("seed {seed}: {name}: goodput {goodput:.3}, {late} late, {lost} lost"))
    });
    if brief {
        return Row { text: String::new(), complaint, hash: 0 };
    }
    let mean = |of: &dyn Fn(&Outcome) -> f64| {
        outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<f64>() / outcomes.len().max(1) as f64
    };
    let lowest =
        |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(|(_, outcome)| of(outcome)).fold(f64::INFINITY, f64::min);
    let (unpaced, plain) = (simulate(1, scenario, Client::Unpaced), simulate(1, scenario, Client::Plain));
    let back = scenario.mended().map_or("–".to_owned(), |since| {
        let seconds = outcomes.iter().map(|(_, outcome)| outcome.recovered(since, GOODPUT * capacity));
        seconds
            .map(|seconds| seconds.map_or("never".to_owned(), |seconds| seconds.to_string()))
            .max()
            .unwrap_or_default()
    });
    let text = format!(
        "| {name} | {capacity:.0} | {:.3} ({:.3}) | {:.1} | {:.3} | {:.1} | {:.3} | {:.2} | {:.0} | {:.0} | {back} |",
        mean(&goodput),
        lowest(&goodput),
        mean(&Outcome::refused_per_taken),
        goodput(&unpaced),
        unpaced.refused_per_taken(),
        goodput(&plain),
        lowest(&|outcome| outcome.slowest),
        mean(&|outcome| outcome.invocations as f64),
        mean(&|outcome| outcome.failed as f64),
    );
    let all = outcomes.iter().map(|(_, outcome)| outcome).chain([&unpaced, &plain]);
    let hash = all.fold(0, |hash: u64, outcome| hash.rotate_left(1) ^ outcome.hash);
    Row { text, complaint, hash }
}
