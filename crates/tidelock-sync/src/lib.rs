//! Sync functions put together: settings, target, dead letters, metrics, and the handler of each source.

mod app;
mod authentication;
mod dynamodb;
mod letters;
mod metrics;
mod redrive;
mod source;
mod stdout;
mod targets;

pub use app::App;
pub use dynamodb::DynamoDbSync;
pub use redrive::{Redrive, Redriven};
