//! Integration tests: the built, unchanged functions, driven as Lambda drives them, against real servers.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TIDELOCK_TEST_BOOTSTRAPS` | folder with `NAME/bootstrap`, as `cargo lambda build` lays them out |
//! | `TIDELOCK_TEST_OPENSEARCH` | URL of an OpenSearch without a login |
//! | `TIDELOCK_TEST_FERRETDB` | connection string of a FerretDB without a login |
//! | `TIDELOCK_TEST_FERRETDB_TLS`, `TIDELOCK_TEST_FERRETDB_CA` | one with TLS and the user `tester`, and its certificates |
//! | `TIDELOCK_TEST_SECANTUSDB` | connection string of a SecantusDB without a login |
//! | `TIDELOCK_TEST_DYNAMODB` | URL of a DynamoDB with streams |
//! | `TIDELOCK_TEST_AWS` | URL of SQS, Secrets Manager, CloudFormation and others |
//! | `TIDELOCK_REQUIRE_SERVICES=1` | a missing one is a failure; otherwise its tests say that they are skipped |
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

mod backfill;
mod bson_types;
mod chain;
mod change_streams;
mod convergence;
mod cookbook;
mod counted;
mod crashes;
mod dead_letters;
mod demo_api;
mod documentdb;
mod faults;
mod large_documents;
mod opensearch;
mod redrive;
mod routes;
mod salvage;
mod start;
mod stream;
mod templates;
mod tidy;
mod transform;

mod walls;
