//! `tidelock-sim`: runs worlds by their seeds, and says what each fault led to.
//!
//! ```text
//! tidelock-sim --seeds 500            seeds 1 to 500; stops at the first that breaks the promise
//! tidelock-sim --seed 17 [--trace]    one seed again, with everything that happened
//! tidelock-sim --fleet [--seeds 3]    a hundred functions against a server that cannot keep up with them (minutes)
//! tidelock-sim --fleet --terse        the same in brief (seconds); only what has failed is printed
//! ```

mod fleets;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use tidelock_sim::world::{COLUMNS, Counts, Outcome, simulate};

/// What was asked for.
struct Options {
    first: u64,
    last: u64,
    /// Fleets instead of worlds.
    fleet: bool,
    trace: bool,
    /// Print one line only: a mutant's caller reads it.
    terse: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { first: 1, last: 0, fleet: false, trace: false, terse: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse::<u64>().map_err(|_| format!("{argument} needs a number, not `{text}`"))
        };
        match argument.as_str() {
            "--seeds" => options.last = number()?,
            "--seed" => {
                options.first = number()?;
                options.last = options.first;
            }
            "--from" => options.first = number()?,
            "--fleet" => options.fleet = true,
            "--trace" => options.trace = true,
            "--terse" => options.terse = true,
            other => {
                return Err(format!(
                    "unknown argument {other}; known: --seeds N, --from N, --seed N, --fleet, --trace, --terse"
                ));
            }
        }
    }
    if options.last == 0 {
        options.last = if options.fleet { 3 } else { 500 };
    }
    Ok(options)
}

/// What all seeds together have shown.
#[derive(Default)]
struct Sum {
    counts: Counts,
    hash: u64,
    seeds: u64,
    changes: usize,
    faults: usize,
    failed: Option<(u64, Outcome)>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("tidelock-sim: {problem}");
            return ExitCode::from(2);
        }
    };
    if options.fleet {
        return fleets::run(options.first..=options.last, options.terse);
    }
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(options.first), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > options.last {
                        break;
                    }
                    let outcome = simulate(seed, options.trace);
                    let Ok(mut sum) = sum.lock() else { break };
                    sum.seeds += 1;
                    sum.changes += outcome.changes;
                    sum.faults += outcome.faults;
                    // Whatever order the threads come in.
                    sum.hash = sum.hash.wrapping_add(outcome.hash.rotate_left((seed % 64) as u32));
                    sum.counts.add(&outcome.counts);
                    if options.trace {
                        outcome.trace.iter().for_each(|line| println!("{line}"));
                    }
                    if !outcome.wrong.is_empty() {
                        stop.store(true, Ordering::Relaxed);
                        if sum.failed.as_ref().is_none_or(|(failed, _)| seed < *failed) {
                            sum.failed = Some((seed, outcome));
                        }
                    }
                }
            });
        }
    });
    let Ok(sum) = sum.into_inner() else { return ExitCode::FAILURE };
    if let Some((seed, outcome)) = &sum.failed {
        println!("seed {seed}: {}", outcome.wrong.first().map_or("", String::as_str));
        if !options.terse {
            outcome.wrong.iter().skip(1).take(9).for_each(|wrong| println!("  {wrong}"));
            println!("see it happen: make sim SEED={seed}");
        }
        return ExitCode::FAILURE;
    }
    if !options.terse {
        print_table(&sum.counts);
    }
    println!(
        "{} seeds, {} changes, {} faults: every target equals its source; trace hash {:016x}; {:.1} s",
        sum.seeds,
        sum.changes,
        sum.faults,
        sum.hash,
        began.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn print_table(counts: &Counts) {
    println!("{:<30} {:>9}   what became of the records at hand", "fault", "struck");
    print!("{:<30} {:>9}  ", "", "");
    COLUMNS.iter().for_each(|column| print!(" {column:>9}"));
    println!();
    for (fault, struck, columns) in counts.rows() {
        print!("{fault:<30} {struck:>9}  ");
        columns.iter().for_each(|count| print!(" {count:>9}"));
        println!();
    }
}
