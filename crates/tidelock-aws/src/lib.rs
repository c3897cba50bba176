//! AWS services beside the sync itself: dead letters in SQS, logins in Secrets Manager, keys for signatures.
//!
//! Clients are made when they are first needed: loading the SDK's configuration takes a few milliseconds that a function
//! without refused records need not spend.

mod queue;
mod sdk;
mod secret;

pub use queue::SqsDeadLetters;
pub use sdk::Sdk;
pub use secret::{AwsCredentials, login_from_secret};
