//! Target and source against a scripted server, and against real ones where there are any.
//!
//! Real servers: `TIDELOCK_TEST_FERRETDB` and `TIDELOCK_TEST_SECANTUSDB` (connection strings), `TIDELOCK_TEST_FERRETDB_TLS`
//! with `TIDELOCK_TEST_FERRETDB_CA` (TLS and user `tester`). Without them these tests are skipped, unless
//! `TIDELOCK_REQUIRE_SERVICES=1` says that they must run.

mod answers;
#[cfg(feature = "aws")]
mod aws;
mod change_streams;
mod clearing;
mod commands;
mod documents;
mod events;
mod fences;
mod guards;
mod interruptions;
mod lanes;
mod login;
mod model;
mod scan;
mod scan_commands;
mod scripted;
mod servers;
mod source;
mod store;
mod sweep;
mod truth;
mod unique;
mod values;
