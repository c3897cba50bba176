//! DynamoDB Streams as a source
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>), of AWS or of DynamoDB Local.

mod client;
mod record;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;

pub use self::client::{Connection, connect};

use super::{FailureHandling, Page, ReadFrom, RecordSource, Shard, SourceError, SourceInfo};
use crate::clock::Moment;

/// The most records of one `GetRecords`.
const MAX_PAGE: usize = 1_000;

/// A DynamoDB stream.
#[derive(Debug)]
pub struct DynamoDbSource {
    client: Client,
    arn: String,
    /// The place in each shard that is being read.
    cursors: HashMap<String, Cursor>,
    /// When a shard was first read from its newest record on.
    latest_since: HashMap<String, Moment>,
}

#[derive(Clone, Debug)]
struct Cursor {
    iterator: String,
    /// Records that are older than this are passed over.
    not_before: Option<Moment>,
}

impl DynamoDbSource {
    /// The stream with this ARN. It is not looked at before it is read.
    pub fn new(client: Client, arn: impl Into<String>) -> Self {
        Self { client, arn: arn.into(), cursors: HashMap::new(), latest_since: HashMap::new() }
    }

    /// The newest stream of a table.
    ///
    /// # Errors
    /// The table has no stream, or the service does not answer.
    pub async fn of_table(client: Client, table: &str) -> Result<Self, SourceError> {
        let mut newest: Option<(String, String)> = None;
        let mut from = None;
        loop {
            let page = client
                .list_streams()
                .table_name(table)
                .set_exclusive_start_stream_arn(from)
                .send()
                .await
                .map_err(|error| explain("listing the table's streams", &error))?;
            for stream in page.streams() {
                // Labels are ISO 8601 times: the greatest is the newest, and only the newest can be enabled.
                let found = (stream.stream_label().unwrap_or_default(), stream.stream_arn().unwrap_or_default());
                if newest.as_ref().is_none_or(|(label, _)| found.0 > label.as_str()) {
                    newest = Some((found.0.into(), found.1.into()));
                }
            }
            from = page.last_evaluated_stream_arn;
            if from.is_none() {
                break;
            }
        }
        match newest {
            Some((_, arn)) => Ok(Self::new(client, arn)),
            None => Err(SourceError {
                message: format!(
                    "table `{table}` has no stream here: check endpoint and region, or enable a stream on it \
                     (StreamSpecification)"
                ),
                retryable: false,
            }),
        }
    }

    /// The stream's ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Gets an iterator. What has been trimmed is passed over, and said so.
    async fn open(&self, shard: &str, from: &ReadFrom) -> Result<String, Reopen> {
        let request = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let request = match from {
            ReadFrom::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            ReadFrom::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            ReadFrom::AtTimestamp(_) => {
                return Err(Reopen::Failed(SourceError {
                    message: "a DynamoDB stream is read from TRIM_HORIZON or LATEST, not from a time".into(),
                    retryable: false,
                }));
            }
            ReadFrom::After(sequence) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(sequence.as_str())
            }
        };
        match request.send().await {
            Ok(answer) => answer.shard_iterator.ok_or_else(|| {
                Reopen::Failed(SourceError { message: format!("shard {shard} has no iterator"), retryable: true })
            }),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), GetShardIteratorError::TrimmedDataAccessException(_)) =>
            {
                Err(Reopen::Trimmed)
            }
            Err(error) => Err(Reopen::Failed(explain(&format!("opening shard {shard}"), &error))),
        }
    }

    /// The cursor to read a shard with: the one at hand, or a new one.
    async fn cursor(&mut self, shard: &str, from: &ReadFrom) -> Result<Cursor, Reopen> {
        if let Some(cursor) = self.cursors.get(shard) {
            return Ok(cursor.clone());
        }
        let (from, not_before) = match (from, self.latest_since.get(shard)) {
            // An iterator behind the newest record was lost before anything was read with it. A new one of the kind
            // would miss what came in between, so the shard is read again from its start, up to the time of the first.
            (ReadFrom::Latest, Some(since)) => (&ReadFrom::TrimHorizon, Some(*since)),
            (ReadFrom::Latest, None) => {
                self.latest_since.insert(shard.into(), Moment::now());
                (from, None)
            }
            _ => (from, None),
        };
        let iterator = self.open(shard, from).await?;
        let cursor = Cursor { iterator, not_before };
        self.cursors.insert(shard.into(), cursor.clone());
        Ok(cursor)
    }

    /// Goes to the oldest record there is, and says what that means.
    async fn skip_trimmed(&mut self, shard: &str) -> SourceError {
        match self.open(shard, &ReadFrom::TrimHorizon).await {
            Ok(iterator) => {
                self.cursors.insert(shard.into(), Cursor { iterator, not_before: None });
                SourceError {
                    message: format!(
                        "records of shard {shard} were trimmed before they were read (streams keep 24 hours): going on \
                         with the oldest there is"
                    ),
                    retryable: true,
                }
            }
            Err(Reopen::Failed(error)) => error,
            Err(Reopen::Trimmed) => SourceError { message: format!("shard {shard} is trimmed"), retryable: true },
        }
    }
}

/// Why there is no iterator.
#[derive(Debug)]
enum Reopen {
    Trimmed,
    Failed(SourceError),
}

impl RecordSource for DynamoDbSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            arn: self.arn.clone(),
            event_head: "{\"Records\":[".into(),
            event_tail: "]}".into(),
            batch_info: "DDBStreamBatchInfo",
            failures: FailureHandling::Stream,
        }
    }

    async fn shards(&mut self) -> Result<Vec<Shard>, SourceError> {
        let mut shards = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .describe_stream()
                .stream_arn(&self.arn)
                .set_exclusive_start_shard_id(from)
                .send()
                .await
                .map_err(|error| explain(&format!("describing stream {}", self.arn), &error))?;
            let Some(description) = page.stream_description else { break };
            for shard in description.shards() {
                let ending = shard.sequence_number_range().and_then(|range| range.ending_sequence_number());
                shards.push(Shard {
                    id: shard.shard_id().unwrap_or_default().into(),
                    parent: shard.parent_shard_id().map(Into::into),
                    closed: ending.is_some(),
                });
            }
            from = description.last_evaluated_shard_id;
            if from.is_none() {
                break;
            }
        }
        Ok(shards)
    }

    async fn read(&mut self, shard: &str, from: &ReadFrom, limit: usize) -> Result<Page, SourceError> {
        let limit = i32::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(1);
        // The second round is for an iterator that has expired (they live for 15 minutes).
        for _ in 0..2 {
            let cursor = match self.cursor(shard, from).await {
                Ok(cursor) => cursor,
                Err(Reopen::Trimmed) => return Err(self.skip_trimmed(shard).await),
                Err(Reopen::Failed(error)) => return Err(error),
            };
            let answer = self.client.get_records().shard_iterator(&cursor.iterator).limit(limit).send().await;
            let page = match answer {
                Ok(page) => page,
                Err(SdkError::ServiceError(error)) if is_lost_place(error.err()) => {
                    self.cursors.remove(shard);
                    continue;
                }
                Err(SdkError::ServiceError(error))
                    if matches!(error.err(), GetRecordsError::TrimmedDataAccessException(_)) =>
                {
                    self.cursors.remove(shard);
                    return Err(self.skip_trimmed(shard).await);
                }
                Err(error) => return Err(explain(&format!("reading shard {shard}"), &error)),
            };
            let mut records = Vec::with_capacity(page.records().len());
            for record in page.records() {
                let record = record::to_event_record(record, &self.arn).map_err(|message| SourceError {
                    message: format!("shard {shard}: {message}"),
                    retryable: false,
                })?;
                if cursor.not_before.is_none_or(|moment| !record::is_before(record.arrival, moment)) {
                    records.push(record);
                }
            }
            // Only now, so that a page that could not be read is not passed over.
            match page.next_shard_iterator {
                Some(iterator) => {
                    self.cursors.insert(shard.into(), Cursor { iterator, ..cursor });
                    return Ok(Page { records, ..Page::default() });
                }
                None => {
                    self.cursors.remove(shard);
                    return Ok(Page { records, end: true, ..Page::default() });
                }
            }
        }
        Err(SourceError { message: format!("the iterators of shard {shard} expire at once"), retryable: true })
    }
}

fn is_lost_place(error: &GetRecordsError) -> bool {
    matches!(error, GetRecordsError::ExpiredIteratorException(_))
}

/// An SDK error in words, and whether the call is worth repeating.
fn explain<E, R>(doing: &str, error: &SdkError<E, R>) -> SourceError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug + 'static,
{
    let (detail, retryable) = match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("no error code");
            let message = service.err().message().unwrap_or("no message");
            let retryable = code.contains("Throttl")
                || matches!(
                    code,
                    "LimitExceededException"
                        | "InternalServerError"
                        | "InternalFailure"
                        | "ServiceUnavailable"
                        | "ProvisionedThroughputExceededException"
                        | "RequestLimitExceeded"
                );
            (format!("{code}: {message}"), retryable)
        }
        SdkError::ConstructionFailure(_) => (innermost(error), false),
        // No connection, no answer in time, or an answer that can't be read.
        _ => (innermost(error), true),
    };
    SourceError { message: format!("{doing}: {detail}"), retryable }
}

/// The text of the first cause: the SDK's own text says no more than "dispatch failure".
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
