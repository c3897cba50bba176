//! Lambda's own on-failure records: what it leaves of a batch that it gave up.
//!
//! In a bucket they hold the whole event as text, in a queue only where the records are in the stream
//! ([DynamoDB](https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html),
//! [Kinesis](https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html)).

use serde::Deserialize;
use std::borrow::Cow;

/// A batch that Lambda gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnFailure<'a> {
    /// Why: `RetryAttemptsExhausted` and others; any text.
    pub condition: Cow<'a, str>,
    /// Which records.
    pub batch: LostBatch,
    /// The event, where it was kept.
    pub payload: Option<Cow<'a, str>>,
}

/// Which records of which stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostBatch {
    /// The kind of source: `dynamodb`, `kinesis`.
    pub kind: &'static str,
    /// The stream's ARN.
    pub stream: String,
    /// The shard.
    pub shard: String,
    /// The first record's sequence number.
    pub start: String,
    /// The last record's sequence number.
    pub end: String,
    /// When the first record arrived, as written.
    pub first_arrival: String,
    /// How many records.
    pub size: u64,
}

impl LostBatch {
    /// The table's or stream's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.stream.split('/').nth(1).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow, default)]
    request_context: RequestContext<'a>,
    #[serde(rename = "DDBStreamBatchInfo")]
    dynamodb: Option<BatchInfo>,
    #[serde(rename = "KinesisBatchInfo")]
    kinesis: Option<BatchInfo>,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct RequestContext<'a> {
    #[serde(borrow, default)]
    condition: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo {
    shard_id: String,
    start_sequence_number: String,
    end_sequence_number: String,
    #[serde(default)]
    approximate_arrival_of_first_record: String,
    #[serde(default)]
    batch_size: u64,
    stream_arn: String,
}

/// Reads an on-failure record; `None` when the text is none.
pub(super) fn on_failure(text: &str) -> Option<OnFailure<'_>> {
    let raw: Raw<'_> = serde_json::from_str(text).ok()?;
    let (kind, info) = match (raw.dynamodb, raw.kinesis) {
        (Some(info), _) => ("dynamodb", info),
        (None, Some(info)) => ("kinesis", info),
        (None, None) => return None,
    };
    Some(OnFailure {
        condition: raw.request_context.condition,
        batch: LostBatch {
            kind,
            stream: info.stream_arn,
            shard: info.shard_id,
            start: info.start_sequence_number,
            end: info.end_sequence_number,
            first_arrival: info.approximate_arrival_of_first_record,
            size: info.batch_size,
        },
        payload: raw.payload,
    })
}
