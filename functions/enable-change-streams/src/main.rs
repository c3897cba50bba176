//! `enable-change-streams`: change streams of a cluster of Amazon DocumentDB, turned on and off.
//!
//! Event: `{"database":"d","collection":"c","enable":true}`, a `POST` through API Gateway with that body, or a request of a custom
//! resource. Answer: the state. Settings: `TIDELOCK_SOURCE` and what goes with it; docs/change-streams.md.

fn main() -> std::process::ExitCode {
    tidelock_lambda::run::<tidelock_api::EnableChangeStreams>()
}
