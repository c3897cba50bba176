//! Tests of the built `tidelock` command.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "../../tidelock-local/tests/bootstrap.rs"]
mod bootstrap;
mod dev;
