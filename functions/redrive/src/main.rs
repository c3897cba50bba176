//! `redrive`: what a pipeline needs done on a schedule. Today the sweep of fences.
//!
//! Event: a schedule, or a direct invoke with anything. Answer: counts. Settings: as of the pipeline's sync function.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_sync::Redrive>()
}
