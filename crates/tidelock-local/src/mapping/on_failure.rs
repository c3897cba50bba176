//! On-failure records: what Lambda leaves behind of a batch it gave up
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>).

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::shard::{Batch, Condition};
use crate::clock::{Moment, iso_date_time};
use crate::source::SourceInfo;
use crate::unique;

/// Where on-failure records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// A folder that stands for an S3 bucket: `aws/lambda/<mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<uuid>`.
    Folder(PathBuf),
    /// A file with one JSON text a line.
    JsonLines(PathBuf),
}

/// What an on-failure record says beyond its batch.
pub(crate) struct FailureContext<'a> {
    pub(crate) request_id: String,
    pub(crate) function_arn: String,
    pub(crate) condition: Condition,
    pub(crate) function_error: Option<bool>,
    pub(crate) shard: &'a str,
    pub(crate) source: &'a SourceInfo,
    pub(crate) now: Moment,
}

/// An on-failure record in the form that goes to S3: metadata, and the event as a JSON string in `payload`.
#[derive(Clone, Debug)]
pub struct FailureRecord {
    /// The request id of the last invocation; empty if there was none.
    pub request_id: String,
    /// The function's ARN.
    pub function_arn: String,
    /// Why the records are discarded.
    pub condition: Condition,
    /// Invocations with these records.
    pub invoke_count: u32,
    /// Whether the last invocation ended in a function error; `None` if there was no invocation.
    pub function_error: Option<bool>,
    /// When the record was made.
    pub timestamp: Moment,
    /// `DDBStreamBatchInfo` or the like.
    pub batch_info: &'static str,
    /// The shard.
    pub shard: String,
    /// The first and last record.
    pub first_sequence: String,
    /// See `first_sequence`.
    pub last_sequence: String,
    /// When the first record arrived.
    pub first_arrival: Moment,
    /// When the last record arrived.
    pub last_arrival: Moment,
    /// How many records.
    pub batch_size: usize,
    /// The stream's ARN.
    pub stream_arn: String,
    /// The whole event.
    pub payload: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: &'a str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo<'a> {
    shard_id: &'a str,
    start_sequence_number: &'a str,
    end_sequence_number: &'a str,
    approximate_arrival_of_first_record: String,
    approximate_arrival_of_last_record: String,
    batch_size: usize,
    stream_arn: &'a str,
}

impl Serialize for FailureRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry(
            "requestContext",
            &RequestContext {
                request_id: &self.request_id,
                function_arn: &self.function_arn,
                condition: self.condition.as_str(),
                approximate_invoke_count: self.invoke_count,
            },
        )?;
        map.serialize_entry(
            "responseContext",
            &self.function_error.map(|failed| ResponseContext {
                status_code: 200,
                executed_version: "$LATEST",
                function_error: failed.then_some("Unhandled"),
            }),
        )?;
        map.serialize_entry("version", "1.0")?;
        map.serialize_entry("timestamp", &self.timestamp.iso_milliseconds())?;
        map.serialize_entry(
            self.batch_info,
            &BatchInfo {
                shard_id: &self.shard,
                start_sequence_number: &self.first_sequence,
                end_sequence_number: &self.last_sequence,
                approximate_arrival_of_first_record: self.first_arrival.iso(),
                approximate_arrival_of_last_record: self.last_arrival.iso(),
                batch_size: self.batch_size,
                stream_arn: &self.stream_arn,
            },
        )?;
        map.serialize_entry("payload", &self.payload)?;
        map.end()
    }
}

impl FailureRecord {
    /// The record for a batch; `None` for an empty one.
    pub(crate) fn of(batch: &Batch, context: FailureContext<'_>) -> Option<Self> {
        let first = batch.records().next()?;
        let last = batch.records().last()?;
        Some(Self {
            request_id: context.request_id,
            function_arn: context.function_arn,
            condition: context.condition,
            invoke_count: batch.invocations(),
            function_error: context.function_error,
            timestamp: context.now,
            batch_info: context.source.batch_info,
            shard: context.shard.into(),
            first_sequence: first.sequence.to_string(),
            last_sequence: last.sequence.to_string(),
            first_arrival: first.arrival,
            last_arrival: last.arrival,
            batch_size: batch.len(),
            stream_arn: context.source.arn.clone(),
            payload: context.source.event(batch.records()),
        })
    }

    /// The record as one line of JSON.
    ///
    /// # Errors
    /// None that is known: all parts are text and numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The key of the S3 object Lambda would write.
    pub fn object_key(&self, mapping_id: &str) -> String {
        let c = self.timestamp.calendar();
        format!(
            "aws/lambda/{mapping_id}/{}/{:04}/{:02}/{:02}/{}-{}",
            self.shard,
            c.year,
            c.month,
            c.day,
            iso_date_time(&c, '.'),
            unique::uuid()
        )
    }
}

impl OnFailure {
    /// Writes a record, and returns the file it is in.
    ///
    /// # Errors
    /// The folder or file can't be written; the message names it.
    pub fn write(&self, record: &FailureRecord, mapping_id: &str) -> io::Result<PathBuf> {
        let (path, outcome) = match self {
            Self::Folder(folder) => {
                let path = folder.join(record.object_key(mapping_id));
                let write = || {
                    if let Some(parent) = path.parent() {
                        fs::create_dir_all(parent)?;
                    }
                    fs::write(&path, record.to_json()?)
                };
                (path.clone(), write())
            }
            Self::JsonLines(path) => {
                let write = || {
                    let mut line = record.to_json()?;
                    line.push('\n');
                    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
                };
                (path.clone(), write())
            }
        };
        outcome.map_err(|error| io::Error::new(error.kind(), format!("writing {}: {error}", path.display())))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record() -> FailureRecord {
        let moment = |millis| Moment::from_epoch(Duration::from_millis(millis));
        FailureRecord {
            request_id: "316aa6d0".into(),
            function_arn: "arn:aws:lambda:us-east-2:123456789012:function:myfunction".into(),
            condition: Condition::RetryAttemptsExhausted,
            invoke_count: 3,
            function_error: Some(true),
            timestamp: moment(1_573_690_429_717),
            batch_info: "DDBStreamBatchInfo",
            shard: "shardId-00000001573689847184-864758bb".into(),
            first_sequence: "800000000003126276362".into(),
            last_sequence: "800000000003126276363".into(),
            first_arrival: moment(1_573_690_399_000),
            last_arrival: moment(1_573_690_399_000),
            batch_size: 2,
            stream_arn: "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388".into(),
            payload: r#"{"Records":[{"a":"é\"\\"}]}"#.into(),
        }
    }

    #[test]
    fn the_shape_is_that_of_the_developer_guide() {
        assert_eq!(
            record().to_json().unwrap(),
            concat!(
                r#"{"requestContext":{"requestId":"316aa6d0","#,
                r#""functionArn":"arn:aws:lambda:us-east-2:123456789012:function:myfunction","#,
                r#""condition":"RetryAttemptsExhausted","approximateInvokeCount":3},"#,
                r#""responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"#,
                r#""version":"1.0","timestamp":"2019-11-14T00:13:49.717Z","#,
                r#""DDBStreamBatchInfo":{"shardId":"shardId-00000001573689847184-864758bb","#,
                r#""startSequenceNumber":"800000000003126276362","endSequenceNumber":"800000000003126276363","#,
                r#""approximateArrivalOfFirstRecord":"2019-11-14T00:13:19Z","#,
                r#""approximateArrivalOfLastRecord":"2019-11-14T00:13:19Z","batchSize":2,"#,
                r#""streamArn":"arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388"},"#,
                r#""payload":"{\"Records\":[{\"a\":\"é\\\"\\\\\"}]}"}"#,
            )
        );
    }

    #[test]
    fn a_partial_answer_has_no_function_error_and_no_invocation_no_response_context() {
        let partial = FailureRecord { function_error: Some(false), ..record() }.to_json().unwrap();
        assert!(partial.contains(r#""responseContext":{"statusCode":200,"executedVersion":"$LATEST"}"#), "{partial}");
        let never = FailureRecord { function_error: None, ..record() }.to_json().unwrap();
        assert!(never.contains(r#""responseContext":null"#), "{never}");
    }

    #[test]
    fn the_folder_is_laid_out_like_the_bucket() {
        let folder = std::env::temp_dir().join(unique::uuid());
        let path = OnFailure::Folder(folder.clone()).write(&record(), "esm").unwrap();
        let relative = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let expected = "aws/lambda/esm/shardId-00000001573689847184-864758bb/2019/11/14/2019-11-14T00.13.49-";
        assert!(relative.starts_with(expected) && relative.len() == expected.len() + 36, "{relative}");
        assert_eq!(fs::read_to_string(&path).unwrap(), record().to_json().unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_gets_a_line_for_each_record() {
        let file = std::env::temp_dir().join(unique::uuid());
        let destination = OnFailure::JsonLines(file.clone());
        destination.write(&record(), "esm").unwrap();
        destination.write(&record(), "esm").unwrap();
        let line = record().to_json().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{line}\n{line}\n"));
        fs::remove_file(file).unwrap();
        let message = OnFailure::JsonLines("/nowhere/x".into()).write(&record(), "esm").unwrap_err().to_string();
        assert!(message.starts_with("writing /nowhere/x: "), "{message}");
    }
}
