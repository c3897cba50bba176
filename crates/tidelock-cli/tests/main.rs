//! Tests of the built `tidelock` command.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod backfill;
#[path = "../../tidelock-local/tests/bootstrap.rs"]
mod bootstrap;
mod check;
mod deadletters;
mod dev;
mod explain;
mod index;
mod shadow;
