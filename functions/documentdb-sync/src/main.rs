//! `documentdb-sync`: keeps a search index or a document store locked to the change stream of Amazon DocumentDB.
//!
//! Event: a batch of change events (`aws:docdb`). Answer: nothing to come again, or an error for the whole batch, which this event
//! source mapping repeats. Settings: README.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_sync::DocumentDbSync>()
}
