//! What a mapping tells while it runs, and at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::on_failure::FailureRecord;
use super::sequence::SequenceNumber;
use super::shard::Decision;
use crate::clock::Moment;
use crate::function::Invocation;

/// A batch on its way to the function.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The shard.
    pub shard: String,
    /// The lane within the shard, from 0 (`ParallelizationFactor`).
    pub lane: usize,
    /// The invocation's request id.
    pub request_id: String,
    /// How many records.
    pub records: usize,
    /// The event's size.
    pub bytes: usize,
    /// The first record.
    pub first: SequenceNumber,
    /// The last record.
    pub last: SequenceNumber,
    /// 1 for the first invocation with these records.
    pub attempt: u32,
}

/// An event that is too large for any invocation, and that a DocumentDB mapping drops.
#[derive(Clone, Debug)]
pub struct Oversized {
    /// The shard.
    pub shard: String,
    /// The event's record.
    pub sequence: SequenceNumber,
    /// The size of the invocation's event with this record alone.
    pub bytes: usize,
}

/// Why a DocumentDB mapping has disabled itself: a batch failed until its oldest event had expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// The shard.
    pub shard: String,
    /// The oldest event of the batch.
    pub first: SequenceNumber,
    /// When it happened.
    pub arrival: Moment,
    /// How long the cluster keeps events.
    pub retention: Duration,
    /// Invocations with the batch.
    pub invocations: u32,
}

/// One step of a mapping, for an observer.
#[derive(Debug)]
pub enum Step<'a> {
    /// Reading of a shard has begun.
    ShardOpened {
        /// The shard.
        shard: &'a str,
    },
    /// A closed shard has been read to its end and all its records are finished.
    ShardFinished {
        /// The shard.
        shard: &'a str,
    },
    /// The function is being invoked.
    Invoked(&'a Sent),
    /// The invocation is over, and this is what follows from it.
    Settled {
        /// The batch.
        sent: &'a Sent,
        /// What came back.
        invocation: &'a Invocation,
        /// What the mapping does next.
        decision: &'a Decision,
        /// How long the invocation took.
        duration: Duration,
    },
    /// Records were discarded.
    Discarded {
        /// What is known of them.
        record: &'a FailureRecord,
        /// Where that was written; `None` without a destination.
        written: Option<&'a Path>,
    },
    /// One event was dropped, because it is over 6 MB. Nothing is left of it (DocumentDB only).
    Dropped(&'a Oversized),
    /// The mapping has disabled itself: the run ends (DocumentDB only).
    Disabled(&'a Disabled),
    /// The source could not be read; it is tried again.
    SourceTrouble {
        /// What went wrong.
        message: &'a str,
    },
}

/// One invocation and what followed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The batch.
    pub sent: Sent,
    /// What came back.
    pub invocation: Invocation,
    /// What the mapping did next.
    pub decision: Decision,
    /// How long the invocation took.
    pub duration: Duration,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Batches that were invoked for the first time.
    pub batches: u64,
    /// Invocations, retries included.
    pub invocations: u64,
    /// Records that are done: the function answered for them.
    pub records: u64,
    /// Invocations whose batch, or the rest of it, was tried again.
    pub retried: u64,
    /// Batches that were halved, or cut at the reported record.
    pub bisected: u64,
    /// On-failure records, whether or not there was a destination for them.
    pub on_failure_records: u64,
    /// Records that were discarded.
    pub discarded: u64,
    /// Events that were dropped, because they are over 6 MB (the metric `OversizedRecordCount`; DocumentDB only).
    pub oversized: u64,
    /// Why the mapping has disabled itself, if it has. A further run ends at once in the same way.
    pub disabled: Option<Disabled>,
    /// Whether the run was stopped before the source was drained.
    pub stopped: bool,
    /// The last record of each shard such that it and all before it are finished.
    pub checkpoints: BTreeMap<String, SequenceNumber>,
    /// Every invocation of the run, in the order of their ends. Left empty if the mapping was told so.
    pub answers: Vec<Answer>,
}

impl Summary {
    /// Counts what a verdict led to.
    pub(crate) fn count(&mut self, sent: &Sent, decision: &Decision) {
        self.invocations += 1;
        self.batches += u64::from(sent.attempt == 1);
        match decision {
            Decision::Complete => self.records += sent.records as u64,
            Decision::Retry { done, cut, .. } => {
                self.records += *done as u64;
                self.retried += 1;
                self.bisected += u64::from(*cut);
            }
            Decision::Bisect { .. } => {
                self.retried += 1;
                self.bisected += 1;
            }
            Decision::Exhausted { done, .. } => self.records += *done as u64,
        }
    }
}
