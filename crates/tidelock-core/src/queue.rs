//! Where changes wait: queues of letters and packs, and a bucket for what does not fit into a message.
//!
//! A queue is at-least-once and knows no order
//! ([SQS standard queues](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/standard-queues-at-least-once-delivery.html)):
//! a message may come twice, and comes again when whoever took it has not deleted it within the time it was hidden for.

use crate::letter::Letter;
use std::time::{Duration, Instant};

/// Stores letters durably.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Outbox {
    /// Stores the letters and says of each, by position, whether it is stored; the error tells why not.
    ///
    /// Nobody gets to see them before `delay` is over (at most 15 minutes).
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: Instant) -> Vec<Result<(), String>>;
}

/// A message that has been taken from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The queue's name for it, the same each time it is taken.
    pub id: String,
    /// What deletes it or gives it back; new each time it is taken.
    pub receipt: String,
    /// What was sent.
    pub body: String,
    /// When it was sent, milliseconds since 1970.
    pub sent_ms: i64,
    /// How often it has been taken, this time included.
    pub taken: u32,
}

/// What a queue says of itself; figures are approximate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueFacts {
    /// Messages that can be taken.
    pub waiting: u64,
    /// Messages that somebody has taken and not deleted.
    pub hidden: u64,
    /// Messages that are delayed.
    pub delayed: u64,
    /// How long a message is kept from the time it was sent, milliseconds; `None`: for ever.
    pub retention_ms: Option<i64>,
}

/// A queue that messages can be taken from.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Queue: Outbox {
    /// Takes some messages, `most` at most, and hides them from everybody for `hidden`. None is no proof that there is none.
    ///
    /// # Errors
    /// When the queue cannot be reached, or does not allow it.
    async fn take(&self, most: usize, hidden: Duration, deadline: Instant) -> Result<Vec<Message>, String>;

    /// Deletes messages for good, by receipt; by position, the error tells why not.
    async fn delete(&self, receipts: &[String], deadline: Instant) -> Vec<Result<(), String>>;

    /// Lets messages be taken again after `hidden` (zero: at once), counted from now. What fails is taken again later.
    async fn hide(&self, receipts: &[String], hidden: Duration, deadline: Instant);

    /// See [`QueueFacts`].
    ///
    /// # Errors
    /// When the queue cannot be reached, or does not allow it.
    async fn facts(&self, deadline: Instant) -> Result<QueueFacts, String>;
}

/// One page of a bucket's names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The objects' names, in order.
    pub names: Vec<String>,
    /// There are more behind the last one.
    pub more: bool,
}

/// A bucket of objects ([S3](https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html)).
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Bucket {
    /// The bucket's name, as pointers name it.
    fn name(&self) -> &str;

    /// Stores an object durably; one of the same name is replaced.
    ///
    /// # Errors
    /// When it is not known to be stored.
    async fn put(&self, name: &str, body: Vec<u8>, deadline: Instant) -> Result<(), String>;

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// When nobody knows whether there is one, or it cannot be read.
    async fn get(&self, name: &str, deadline: Instant) -> Result<Option<Vec<u8>>, String>;

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// When it may still be there.
    async fn delete(&self, name: &str, deadline: Instant) -> Result<(), String>;

    /// The names that begin with `prefix` and stand behind `after`, in order of their bytes.
    ///
    /// # Errors
    /// When they cannot be listed.
    async fn list(&self, prefix: &str, after: Option<&str>, deadline: Instant) -> Result<Names, String>;
}

/// No queue, no bucket: what a caller has where a setting is left out.
#[derive(Debug, Clone, Copy)]
pub enum Nowhere {}

impl Outbox for Nowhere {
    async fn send(&self, _: &[Letter], _: Duration, _: Instant) -> Vec<Result<(), String>> {
        match *self {}
    }
}

impl Bucket for Nowhere {
    fn name(&self) -> &str {
        match *self {}
    }

    async fn put(&self, _: &str, _: Vec<u8>, _: Instant) -> Result<(), String> {
        match *self {}
    }

    async fn get(&self, _: &str, _: Instant) -> Result<Option<Vec<u8>>, String> {
        match *self {}
    }

    async fn delete(&self, _: &str, _: Instant) -> Result<(), String> {
        match *self {}
    }

    async fn list(&self, _: &str, _: Option<&str>, _: Instant) -> Result<Names, String> {
        match *self {}
    }
}
