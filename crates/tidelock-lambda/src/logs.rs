//! Logs on standard output, in the form that Lambda's logging configuration asks for.
//!
//! [`AWS_LAMBDA_LOG_LEVEL` and `AWS_LAMBDA_LOG_FORMAT`](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html);
//! `RUST_LOG` stands in for the level outside Lambda.

use crate::Environment;
use tracing::level_filters::LevelFilter;

/// Sets the process's log subscriber; a second call changes nothing.
pub fn init_logs(environment: &Environment) {
    let level = environment.get("AWS_LAMBDA_LOG_LEVEL").or_else(|| environment.get("RUST_LOG"));
    let level = match level.map(str::to_ascii_lowercase).as_deref() {
        // Lambda has a level that tracing lacks.
        Some("fatal") => LevelFilter::ERROR,
        Some(level) => level.parse().unwrap_or(LevelFilter::INFO),
        None => LevelFilter::INFO,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_target(false);
    // Lambda stamps each line itself.
    if environment.get("AWS_LAMBDA_LOG_FORMAT") == Some("JSON") {
        let _ = lines.json().flatten_event(true).try_init();
    } else {
        let _ = lines.without_time().try_init();
    }
}
