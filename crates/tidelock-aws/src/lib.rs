//! AWS services beside the sync itself: letters in SQS, objects in S3, logins in Secrets Manager, keys for signatures.
//!
//! Clients are made when they are first needed: loading the SDK's configuration takes a few milliseconds that a function
//! without refused records need not spend.

mod bucket;
mod error;
mod parameter;
mod queue;
mod sdk;
mod secret;
#[cfg(test)]
mod tests;

pub use bucket::{BucketConfig, S3Bucket, check_bucket_name};
pub use error::ConfigError;
pub use parameter::{ParameterConfig, parameter};
pub use queue::{QueueConfig, SqsQueue, check_queue_url};
pub use sdk::Sdk;
pub use secret::{AwsCredentials, login_from_secret, secret_text};
