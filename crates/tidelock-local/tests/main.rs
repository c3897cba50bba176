//! Tests of the local event source mapping, from the rules down to real processes and a real DynamoDB.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod bootstrap;
mod delivery;
mod documentdb;
mod documentdb_rules;
mod dynamodb;
mod fake_streams;
mod http_invoke;
mod mapping;
mod runtime_api;
mod shard_rules;
