//! `redrive`: what waits is applied, what would expire is sent anew, fences are swept.
//!
//! Event: a schedule, a request (`{"redrive":["dead-letters"]}`), or messages of SQS. Answer: counts. Settings: as of the pipeline's sync function.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_sync::Redrive>()
}
