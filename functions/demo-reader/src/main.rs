//! `demo-reader`: documents of an index, found for an API.
//!
//! Event: `GET demo-data?q=&size=&after=` through API Gateway. Answer: a page of documents. Settings: `TIDELOCK_TARGET` and what goes
//! with it, `TIDELOCK_DEMO_INDEX`; docs/change-streams.md.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_api::DemoReader>()
}
