//! Adapter on [`lambda_runtime`]: the raw payload in, a serialized answer out.
//!
//! The stock runtime deserializes each event before the handler sees it, so that one odd record would fail its whole batch.
//! Here a layer takes the body off the invocation as bytes, and the runtime is left with `null` to deserialize. Context,
//! error reports and panic catching stay the runtime's own.

mod body;
mod environment;
mod logs;
mod start;

pub use environment::{Environment, environment};
pub use logs::init_logs;
pub use start::{Fatal, Handler, Invocation, run};
