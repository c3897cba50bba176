//! AWS services beside the sync itself: letters in SQS, objects in S3, logins in Secrets Manager, keys for signatures.
//!
//! All by signed requests of our own: the SDK's clients would make a function larger by a third, and slower to start. The SDK's
//! provider chain of credentials is a feature, for what runs outside Lambda.

mod bucket;
mod error;
mod keys;
mod queue;
#[cfg(feature = "chain")]
mod sdk;
mod secret;
mod service;
#[cfg(test)]
mod tests;

pub use bucket::{BucketConfig, S3Bucket, check_bucket_name};
pub use error::ConfigError;
pub use keys::Keys;
pub use queue::{QueueConfig, SqsQueue, check_queue_url};
#[cfg(feature = "chain")]
pub use sdk::Sdk;
pub use secret::{AwsCredentials, Secrets, login_from_secret};
pub use service::{ServiceConfig, parameter};
