//! `backfill`: a slice of a scan of a table or collection, written into the target beside the live stream.
//!
//! Event: `{"origin":"mytable","segments":8,"segment":0,"position":null}`, from a state machine (infra/backfill.yaml) or by hand.
//! Answer: counts, and where the next slice begins. Settings: as of the pipeline's sync function, with `TIDELOCK_SOURCE`.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_sync::BackfillSlice>()
}
