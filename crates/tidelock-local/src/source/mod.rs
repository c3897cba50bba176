//! Where records come from. A source has shards; a shard has records in order. The mapping knows no more than this, so
//! that a topic partition, a Kinesis shard or a change stream can stand here too.

pub mod documentdb;
pub mod dynamodb;
pub mod file;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock::Moment;
use crate::mapping::SequenceNumber;

/// One record as the function is to see it.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    /// The record's JSON text. It goes into the event byte for byte.
    pub raw: Box<RawValue>,
    /// Its position in the shard.
    pub sequence: SequenceNumber,
    /// Records with the same key are never processed at the same time, nor out of order.
    pub ordering_key: Box<[u8]>,
    /// When the source took the record in: the age limit counts from here.
    pub arrival: Moment,
}

/// A shard, partition or the like: a sequence of records that is read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: String,
    /// The shard it continues: that one is finished first.
    pub parent: Option<String>,
    /// Whether it takes no more records.
    pub closed: bool,
}

/// Where to begin reading a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record there is.
    TrimHorizon,
    /// Behind the newest record there is.
    Latest,
    /// At the first record of this moment or later.
    AtTimestamp(Moment),
    /// Behind the record with this number.
    After(SequenceNumber),
}

/// What one read gave.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, in order; empty if there is nothing new.
    pub records: Vec<SourceRecord>,
    /// Whether the shard is closed and this was the last of it.
    pub end: bool,
    /// Whether there was nothing behind these when they were read. A page without records says so anyway.
    pub caught_up: bool,
}

/// How a mapping treats failed batches of this source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureHandling {
    /// Streams: partial answers, limits on retries and age, bisecting, on-failure records.
    Stream,
    /// DocumentDB: a batch is retried whole until it succeeds. No answer is partial, there is no limit, no bisecting and
    /// no on-failure destination; one event over 6 MB is dropped; when the oldest event of a failing batch expires, the
    /// mapping disables itself (<https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html>).
    RetryWhole {
        /// How long the cluster keeps events.
        retention: Duration,
    },
}

/// How long DocumentDB keeps change events unless it is told otherwise (`change_stream_log_retention_duration`).
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(3 * 3_600);

/// What a mapping needs to know about a source.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// The ARN, or what stands for one.
    pub arn: String,
    /// What stands in the event before the first record: `{"Records":[`.
    pub event_head: String,
    /// What stands in the event behind the last record: `]}`.
    pub event_tail: String,
    /// The key that describes the batch in an on-failure record: `DDBStreamBatchInfo`, `KinesisBatchInfo`.
    pub batch_info: &'static str,
    /// How failures are treated.
    pub failures: FailureHandling,
}

impl SourceInfo {
    /// The event for these records: their texts, unchanged, in the source's frame.
    pub fn event<'a>(&self, records: impl ExactSizeIterator<Item = &'a SourceRecord> + Clone) -> String {
        let mut event = String::with_capacity(event_size(self.frame(), records.clone()));
        event.push_str(&self.event_head);
        for (index, record) in records.enumerate() {
            if index > 0 {
                event.push(',');
            }
            event.push_str(record.raw.get());
        }
        event.push_str(&self.event_tail);
        event
    }

    /// The bytes of an event around its records.
    pub(crate) fn frame(&self) -> usize {
        self.event_head.len() + self.event_tail.len()
    }
}

/// The bytes of an event with these records.
pub(crate) fn event_size<'a>(frame: usize, records: impl ExactSizeIterator<Item = &'a SourceRecord>) -> usize {
    let commas = records.len().saturating_sub(1);
    frame + commas + records.map(|record| record.raw.get().len()).sum::<usize>()
}

/// Why a source could not be read.
#[derive(Clone, Debug)]
pub struct SourceError {
    /// What went wrong, for the user.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SourceError {}

/// A source of records.
pub trait RecordSource: Send {
    /// What the mapping needs to know about the source.
    fn info(&self) -> SourceInfo;

    /// All shards there are now, in any order. Shards that have gone from the answer keep their state in the mapping.
    fn shards(&mut self) -> impl Future<Output = Result<Vec<Shard>, SourceError>> + Send;

    /// The next records of a shard, at most `limit`. `from` says where to begin when the source has no place of its own
    /// in this shard yet, or has lost it; otherwise the read continues behind the last one.
    fn read(
        &mut self,
        shard: &str,
        from: &ReadFrom,
        limit: usize,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// Waits until a read has something to tell before its time: sources that are told of new records by their server. It may
    /// be given up at any point. Default: never.
    fn ready(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The sequence number that an `itemIdentifier` of a partial answer stands for; `None` if it is not a valid
    /// identifier for this source. Streams use the sequence number itself, as a string that is not empty.
    fn identified(&self, identifier: &Value) -> Option<String> {
        identifier.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}
