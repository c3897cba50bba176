//! The event source mapping: reads a source, invokes a function, and treats its answers as Lambda does.
//!
//! The rules, with AWS's pages for them:
//! - One batch at a time for each shard, or for each lane of it when `ParallelizationFactor` is more than 1; records of
//!   one item stay in order (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>).
//! - An event has at most `BatchSize` records and 6 MB
//!   (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html>).
//! - With `ReportBatchItemFailures` the lowest reported sequence number is the checkpoint, and everything from it on
//!   comes again (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>): [`judge`].
//! - A function error is retried until attempts or age run out; with bisect the batch is halved, which does not count as
//!   an attempt; then the batch is recorded and skipped
//!   (<https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>): [`ShardState`].
//! - A DocumentDB mapping knows none of the last two: one invocation at a time, a failed batch comes again whole until it
//!   passes, one event over 6 MB is dropped, and when the oldest event of a failing batch has expired, the mapping
//!   disables itself (<https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html>).
//!
//! [`LocalMapping`] adds the I/O. Everything that decides is free of it.

mod answer;
mod observe;
mod on_failure;
mod run;
mod sequence;
mod settings;
mod shard;
mod time;

pub use self::answer::{Failure, Identify, Verdict, judge};
pub use self::observe::{Answer, Disabled, Oversized, Sent, Step, Summary};
pub use self::on_failure::{FailureRecord, OnFailure};
pub use self::run::{LocalMapping, MappingError};
pub use self::sequence::SequenceNumber;
pub use self::settings::{InvalidSettings, MappingSettings, Pace, StartingPosition};
pub use self::shard::{Batch, Condition, Decision, ShardState, Take};
