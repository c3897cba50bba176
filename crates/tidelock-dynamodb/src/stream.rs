//! Records of a stream, read again between two of them: what Lambda names when it gives up on a batch without storing it.
//!
//! ```text
//! GetShardIterator (AT_SEQUENCE_NUMBER) ─▶ GetRecords ─ records ─▶ range ─▶ texts as Lambda's event has them
//!      ▲ expired: AFTER the last one           │  ▲ NextShardIterator
//!      └ trimmed: from TRIM_HORIZON, and told ─┘  └ until `to`, the shard's end, or 8 MB
//! ```
//!
//! Operations:
//! [GetShardIterator](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetShardIterator.html),
//! [GetRecords](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html).
//!
//! A record of the API is one of [Lambda's event](https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html) but for three
//! things. It has no `eventSourceARN`, which is added here. `ApproximateCreationDateTime` may be written `1.46480646E9` or
//! `1464806460.000`, which the decoder reads like the event's `1464806460`. `userIdentity` has `PrincipalId` and `Type` where
//! the event has `principalId` and `type`; nobody asks for it, so that it stays as it comes.

mod page;
mod range;

use crate::client::{Client, DynamoDbConfig, Tries};
use crate::endpoint::ConfigError;
use crate::error::{NOT_FOUND, Trouble};
use crate::json::quoted;
use bytes::Bytes;
use page::{Page, Record};
use range::{Range, Start};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::credentials::Credentials;

const GET_SHARD_ITERATOR: &str = "DynamoDBStreams_20120810.GetShardIterator";
const GET_RECORDS: &str = "DynamoDBStreams_20120810.GetRecords";

const EXPIRED: &str = "ExpiredIteratorException";
const TRIMMED: &str = "TrimmedDataAccessException";

/// The most bytes of records that one call gives, unless a single record has more.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What of a range of records could be had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// The records in the shard's order, each as Lambda's event has it.
    pub records: Vec<String>,
    /// The sequence number to go on from, where this is not yet all there is.
    pub next: Option<String>,
    /// Why records of the range are missing for good: the stream has forgotten them, or is gone. `None`: none is missing.
    pub forgotten: Option<String>,
}

impl Fetched {
    /// The records as one event, for [`decode`](tidelock_core::source::dynamodb::decode).
    #[must_use]
    pub fn event(&self) -> String {
        format!(r#"{{"Records":[{}]}}"#, self.records.join(","))
    }
}

/// Reads DynamoDB streams.
pub struct DynamoDbStreams<C> {
    client: Client<C>,
    /// The region that the public endpoint is in.
    region: Option<String>,
    limit: usize,
}

impl<C: Credentials> DynamoDbStreams<C> {
    /// Prepares a client that signs with the credentials' AWS keys; nothing is connected yet.
    ///
    /// # Errors
    /// When region, endpoint or certificates cannot be used.
    pub fn new(config: DynamoDbConfig, credentials: C) -> Result<Self, ConfigError> {
        let region = config.endpoint.is_none().then(|| config.region.clone());
        Ok(Self { client: Client::new("streams.dynamodb", config, credentials)?, region, limit: MAX_BYTES })
    }

    /// With another limit for the bytes of one call.
    #[cfg(test)]
    pub(crate) fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// The records of a shard from the sequence number `from` to `to`, both included, as far as 8 MB and the deadline go.
    ///
    /// A shard that ends before `to` has no more of them. What was read before time was over, or the service refused to go
    /// on, is given with where to go on.
    ///
    /// # Errors
    /// [`Cause::InvalidPosition`] when one of the numbers is none, or `from` is above `to`. [`Cause::SourceUnreadable`] when
    /// nothing could be read now; the same can be asked for again.
    pub async fn records(
        &self,
        stream_arn: &str,
        shard_id: &str,
        from: &str,
        to: &str,
        deadline: Instant,
    ) -> Result<Fetched, Failure> {
        let failed = |cause, words: &str| {
            let place = self.client.place();
            Failure::new(cause, format!("shard `{shard_id}` of stream `{stream_arn}` at {place}: {words}"))
        };
        let mut range = Range::new(from, to, self.limit).map_err(|why| failed(Cause::InvalidPosition, &why))?;
        // In another region the stream would not be found, and all of its records be taken for forgotten.
        let region = stream_arn.split(':').nth(3).unwrap_or_default();
        if let Some(own) = self.region.as_ref().filter(|own| *own != region) {
            let words = format!("the stream is in region `{region}`, and is looked for in `{own}`: check AWS_REGION");
            return Err(failed(Cause::SourceUnreadable, &words));
        }
        let (mut tries, mut iterator) = (Tries::default(), None);
        loop {
            let page = self.next(stream_arn, shard_id, &range, &mut iterator, deadline, &mut tries).await;
            let trouble = match page {
                Ok(records) => {
                    let empty = records.is_empty();
                    if range.take(records) || iterator.is_none() {
                        return Ok(range.finish());
                    }
                    if !empty {
                        tries.progress();
                        continue;
                    }
                    // An empty page proves nothing: records may lie behind it.
                    Trouble::passing(format!("the record {to} has not come yet"))
                }
                Err(trouble) => match &*trouble.kind {
                    EXPIRED => {
                        iterator = None;
                        Trouble { passing: true, ..trouble }
                    }
                    TRIMMED => {
                        iterator = None;
                        range.trimmed(&trouble.words);
                        Trouble { passing: true, ..trouble }
                    }
                    NOT_FOUND => {
                        range.forgotten(&trouble.words);
                        return Ok(range.finish());
                    }
                    _ => trouble,
                },
            };
            if let Err(trouble) = tries.again(trouble, deadline).await {
                return range.break_off().ok_or_else(|| failed(Cause::SourceUnreadable, &trouble.words));
            }
        }
    }

    /// The next records, by the iterator at hand or a new one, which is moved on; `None` is the shard's end.
    async fn next(
        &self,
        stream_arn: &str,
        shard_id: &str,
        range: &Range,
        iterator: &mut Option<String>,
        deadline: Instant,
        tries: &mut Tries,
    ) -> Result<Vec<Record>, Trouble> {
        let arn = quoted(stream_arn);
        let at = match &*iterator {
            Some(at) => at,
            None => {
                let body = open(&arn, shard_id, range.start());
                let answer = self.client.attempt(GET_SHARD_ITERATOR, body, deadline, tries).await?;
                iterator.insert(page::iterator(&answer)?)
            }
        };
        let body = format!(r#"{{"ShardIterator":{}}}"#, quoted(at)).into();
        let answer = self.client.attempt(GET_RECORDS, body, deadline, tries).await?;
        let Page { records, next } = page::page(&answer, &arn)?;
        *iterator = next;
        Ok(records)
    }
}

/// The request for an iterator. `arn` is the stream's, as JSON.
fn open(arn: &str, shard_id: &str, start: Start<'_>) -> Bytes {
    let start = match start {
        Start::At(number) => format!(r#""AT_SEQUENCE_NUMBER","SequenceNumber":{}"#, quoted(number)),
        Start::After(number) => format!(r#""AFTER_SEQUENCE_NUMBER","SequenceNumber":{}"#, quoted(number)),
        Start::Horizon => r#""TRIM_HORIZON""#.to_owned(),
    };
    let shard = quoted(shard_id);
    format!(r#"{{"StreamArn":{arn},"ShardId":{shard},"ShardIteratorType":{start}}}"#).into()
}
