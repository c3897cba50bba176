//! `demo-writer`: documents that are posted to an API, written to a collection.
//!
//! Event: `POST demo-data`, `PUT` or `DELETE demo-data/{id}` through API Gateway. Answer: the id. Settings: `TIDELOCK_SOURCE` and what
//! goes with it, `TIDELOCK_DEMO_DATABASE`, `TIDELOCK_DEMO_COLLECTION`; docs/change-streams.md.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_api::DemoWriter>()
}
