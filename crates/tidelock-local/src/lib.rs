//! Lambda on a laptop: a Runtime API server that runs a function's real bootstrap, and an event source mapping that
//! reads a stream, builds the events Lambda builds, invokes the function and treats its answer as Lambda does.
//!
//! - [`function`]: what can be invoked, and what comes back.
//! - [`runtime_api`]: execution environments, one process each, behind a Runtime API server of their own.
//! - [`http_invoke`]: a function served by someone else, such as `cargo lambda watch`.
//! - [`gateway`]: functions behind an HTTP API.
//! - [`source`]: where records come from: DynamoDB Streams, a change stream of DocumentDB, or a file.
//! - [`mapping`]: the event source mapping itself.
//!
//! `tidelock dev`, the demonstrations and the integration tests are its users. Nothing here runs inside Lambda.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
pub mod function;
pub mod gateway;
pub mod http_invoke;
pub mod mapping;
pub mod runtime_api;
pub mod source;

mod unique;
