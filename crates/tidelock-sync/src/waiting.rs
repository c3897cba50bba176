//! Where letters and packs wait: queues and buckets of this build behind one type each.

use crate::authentication::Authentication;
use crate::folder::FolderBucket;
use crate::lines::LinesQueue;
use std::time::{Duration, Instant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Bucket, Message, Names, Outbox, Queue, QueueFacts};
use tidelock_core::settings::{BucketAddress, QueueAddress};
use tidelock_lambda::{Environment, Fatal};

/// Any queue that this build has.
pub(crate) enum AnyQueue {
    #[cfg(feature = "aws")]
    Sqs(Box<tidelock_aws::SqsQueue<tidelock_aws::AwsCredentials>>),
    Lines(LinesQueue),
}

impl AnyQueue {
    /// The queue that a setting names.
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only queues authenticate"))]
    pub(crate) fn new(
        address: QueueAddress,
        setting: &str,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Self, Fatal> {
        match address {
            QueueAddress::File(path) => Ok(Self::Lines(LinesQueue::new(path))),
            #[cfg(feature = "aws")]
            QueueAddress::Sqs(url) => crate::source::sqs(url, setting, authentication, environment),
            #[cfg(not(feature = "aws"))]
            QueueAddress::Sqs(_) => Err(Fatal::new(
                "Tidelock.Settings",
                format!("{setting}: queues need a build with the feature `aws`; use file:PATH"),
            )),
        }
    }
}

impl Outbox for AnyQueue {
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: Instant) -> Vec<Result<(), String>> {
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.send(letters, delay, deadline).await,
            Self::Lines(queue) => queue.send(letters, delay, deadline).await,
        }
    }
}

impl Queue for AnyQueue {
    async fn take(&self, most: usize, hidden: Duration, deadline: Instant) -> Result<Vec<Message>, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.take(most, hidden, deadline).await,
            Self::Lines(queue) => queue.take(most, hidden, deadline).await,
        }
    }

    async fn delete(&self, receipts: &[String], deadline: Instant) -> Vec<Result<(), String>> {
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.delete(receipts, deadline).await,
            Self::Lines(queue) => queue.delete(receipts, deadline).await,
        }
    }

    async fn hide(&self, receipts: &[String], hidden: Duration, deadline: Instant) {
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.hide(receipts, hidden, deadline).await,
            Self::Lines(queue) => queue.hide(receipts, hidden, deadline).await,
        }
    }

    async fn facts(&self, deadline: Instant) -> Result<QueueFacts, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.facts(deadline).await,
            Self::Lines(queue) => queue.facts(deadline).await,
        }
    }
}

/// Any bucket that this build has.
pub(crate) enum AnyBucket {
    #[cfg(feature = "aws")]
    S3(Box<tidelock_aws::S3Bucket<tidelock_aws::AwsCredentials>>),
    Folder(FolderBucket),
}

impl AnyBucket {
    /// The bucket that a setting names.
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only buckets of S3 authenticate"))]
    pub(crate) fn new(
        address: BucketAddress,
        setting: &str,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Self, Fatal> {
        match address {
            BucketAddress::Folder(path) => Ok(Self::Folder(FolderBucket::new(path))),
            #[cfg(feature = "aws")]
            BucketAddress::S3(name) => crate::source::s3(name, setting, authentication, environment),
            #[cfg(not(feature = "aws"))]
            BucketAddress::S3(_) => Err(Fatal::new(
                "Tidelock.Settings",
                format!("{setting}: S3 needs a build with the feature `aws`; use file:FOLDER"),
            )),
        }
    }
}

impl Bucket for AnyBucket {
    fn name(&self) -> &str {
        match self {
            #[cfg(feature = "aws")]
            Self::S3(bucket) => bucket.name(),
            Self::Folder(bucket) => bucket.name(),
        }
    }

    async fn put(&self, name: &str, body: Vec<u8>, deadline: Instant) -> Result<(), String> {
        match self {
            #[cfg(feature = "aws")]
            Self::S3(bucket) => bucket.put(name, body, deadline).await,
            Self::Folder(bucket) => bucket.put(name, body, deadline).await,
        }
    }

    async fn get(&self, name: &str, deadline: Instant) -> Result<Option<Vec<u8>>, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::S3(bucket) => bucket.get(name, deadline).await,
            Self::Folder(bucket) => bucket.get(name, deadline).await,
        }
    }

    async fn delete(&self, name: &str, deadline: Instant) -> Result<(), String> {
        match self {
            #[cfg(feature = "aws")]
            Self::S3(bucket) => bucket.delete(name, deadline).await,
            Self::Folder(bucket) => bucket.delete(name, deadline).await,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, deadline: Instant) -> Result<Names, String> {
        match self {
            #[cfg(feature = "aws")]
            Self::S3(bucket) => bucket.list(prefix, after, deadline).await,
            Self::Folder(bucket) => bucket.list(prefix, after, deadline).await,
        }
    }
}
