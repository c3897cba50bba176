//! What Lambda leaves of a batch that it gives up, and the stream from which its records can be fetched for a while.
//!
//! In a bucket the whole event, in a queue the records' range only:
//! [on-failure records](https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html).

use super::World;
use super::bucket::FAILURES;
use super::history::{BEGINNING_MS, History};
use super::storm::Hits;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::letter::{LostBatch, timestamp};
use tidelock_core::source::{Fetched, Streams};

/// When a mapping gives a batch up, and what it leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivesUp {
    /// Failures in a row.
    pub(crate) after: usize,
    /// It leaves the whole event, in the bucket.
    pub(crate) whole: bool,
    /// How long the stream keeps records.
    pub(crate) retention: Duration,
}

/// Leaves an on-failure record. What Lambda does itself, it does for sure.
pub(crate) fn give_up(world: &World, how: GivesUp, shard: usize, batch: &[usize]) {
    let changes: Vec<_> = batch.iter().filter_map(|&change| world.history.changes.get(change)).collect();
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return };
    let at = |time: Duration| timestamp(BEGINNING_MS + i64::try_from(time.as_millis()).unwrap_or_default());
    let mut record = json!({
        "requestContext": {"requestId": "r", "functionArn": "f", "condition": "RecordAgeExceeded", "approximateInvokeCount": how.after},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": null},
        "version": "1.0", "timestamp": timestamp(world.now_ms()),
        "DDBStreamBatchInfo": {
            "shardId": format!("shardId-{shard}"),
            "startSequenceNumber": first.record["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": last.record["dynamodb"]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": at(first.time), "approximateArrivalOfLastRecord": at(last.time),
            "batchSize": batch.len(), "streamArn": first.record["eventSourceARN"],
        },
    });
    if how.whole {
        let records: Vec<&Value> = changes.iter().map(|change| &change.record).collect();
        record["payload"] = json!({"Records": records}).to_string().into();
        let name = format!("{FAILURES}uuid/shardId-{shard}/{}-{}", at(first.time), world.between(0, u64::MAX));
        world.shelf.put(&name, record.to_string().into_bytes());
    } else {
        world.failures.put(record.to_string(), Duration::ZERO);
    }
}

/// The stream, as one run sees it.
pub(crate) struct Stream {
    history: Rc<History>,
    began: tokio::time::Instant,
    retention: Option<Duration>,
    rng: RefCell<fastrand::Rng>,
    hits: Hits,
}

impl Stream {
    pub(crate) fn new(world: &World, hits: &Hits) -> Self {
        Self {
            history: Rc::clone(&world.history),
            began: world.began,
            retention: world.climate.gives_up.map(|how| how.retention),
            rng: RefCell::new(fastrand::Rng::with_seed(world.between(0, u64::MAX))),
            hits: hits.clone(),
        }
    }
}

impl Streams for Stream {
    async fn records(&self, batch: &LostBatch, deadline: StdInstant) -> Result<Fetched, Failure> {
        let time = Duration::from_millis(self.rng.borrow_mut().u64(1..200));
        tokio::time::sleep(time).await;
        let over = tokio::time::Instant::now().into_std() >= deadline;
        if over || self.hits.strikes("source unreadable", 8) {
            return Err(Failure::new(Cause::SourceUnreadable, "the stream did not answer"));
        }
        let shard = batch.shard.rsplit_once('-').and_then(|(_, shard)| shard.parse().ok()).unwrap_or(usize::MAX);
        let changes = self.history.between(shard, &batch.start, &batch.end).unwrap_or_default();
        let changes: Vec<_> = changes.iter().filter_map(|&change| self.history.changes.get(change)).collect();
        let age = changes.first().map(|first| self.began.elapsed().saturating_sub(first.time));
        if age.is_none_or(|age| self.retention.is_some_and(|retention| age > retention)) {
            self.hits.note("records forgotten");
            return Ok(Fetched {
                records: "[]".to_owned(),
                forgotten: Some("the stream keeps records for a while only".to_owned()),
            });
        }
        let records: Vec<&Value> = changes.iter().map(|change| &change.record).collect();
        Ok(Fetched { records: json!(records).to_string(), forgotten: None })
    }
}
