//! Records from files: an event with `Records`, or with the `events` of a change stream, a JSON array of records, or JSON
//! texts one after another.
//!
//! Every record is kept as the text it has in the file, so that what the function sees is what was captured or written
//! by hand: big numbers, odd order of fields, duplicate fields and all.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use super::{
    DEFAULT_RETENTION, FailureHandling, Page, ReadFrom, RecordSource, Shard, SourceError, SourceInfo, SourceRecord,
};
use crate::clock::Moment;
use crate::mapping::SequenceNumber;

/// The name of the one shard a file has.
pub const FILE_SHARD: &str = "shardId-file";

/// Records from a file, or made in a test, as one closed shard.
///
/// - The sequence number is `dynamodb.SequenceNumber` or `kinesis.sequenceNumber`, of a change event its resume token. A
///   record without one, or with one that already stands for another record of the file, has its position as its number;
///   no answer can name it.
/// - The ordering key is `dynamodb.Keys` or `kinesis.partitionKey`; records without either form one sequence, as the
///   events of a change stream do.
/// - A file of change events, in an envelope or as records `{"event":{…}}`, has a DocumentDB mapping's rules.
/// - The arrival time is the time of reading the file, not the record's own: captured records are old, and an age limit
///   would discard them all.
#[derive(Debug)]
pub struct FileSource {
    records: Vec<SourceRecord>,
    info: SourceInfo,
    position: usize,
}

/// Why a file holds no records, with the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecords(pub String);

impl fmt::Display for InvalidRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidRecords {}

/// A field of a JSON object as it stands in the text; `None` if there is none, or the text is no object. Records are
/// looked into field by field, because a record that is broken on purpose must still reach the function, and a number
/// too big for any machine type is no reason not to find the sequence number beside it.
fn field<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let fields: BTreeMap<String, &'a RawValue> = serde_json::from_str(object).ok()?;
    fields.get(name).map(|value| value.get())
}

/// The string a field holds; `None` for any other type.
fn text_field(object: &str, name: &str) -> Option<String> {
    serde_json::from_str(field(object, name)?).ok()
}

/// An event whose records are one change stream's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentDbEvent {
    #[serde(default)]
    event_source_arn: String,
    events: Vec<Box<RawValue>>,
}

impl FileSource {
    /// Reads a file.
    ///
    /// # Errors
    /// The file can't be read, is not JSON, or holds no records.
    pub fn open(path: &Path) -> Result<Self, InvalidRecords> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| InvalidRecords(format!("reading {}: {error}", path.display())))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Takes the records from a text; `name` stands for it in messages.
    ///
    /// # Errors
    /// The text is not JSON, or holds no records.
    pub fn parse(text: &str, name: &str) -> Result<Self, InvalidRecords> {
        let invalid = |detail: String| InvalidRecords(format!("{name}: {detail}"));
        let text = text.trim_start_matches('\u{feff}');
        let mut records: Vec<Box<RawValue>> = Vec::new();
        let mut change_stream: Option<String> = None;
        let mut is_mixed = false;
        for value in Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
            let value = value.map_err(|error| invalid(format!("not JSON: {error}")))?;
            match Document::of(value) {
                Document::Records(found) => {
                    is_mixed |= change_stream.is_some();
                    records.extend(found);
                }
                Document::ChangeStream(event) => {
                    is_mixed |= change_stream.is_none() && !records.is_empty();
                    // Single records have no ARN; an envelope's stands for all.
                    let known = change_stream.take().filter(|arn| !arn.is_empty());
                    change_stream = Some(known.unwrap_or(event.event_source_arn));
                    records.extend(event.events);
                }
                Document::Kafka => {
                    return Err(invalid(
                        "a Kafka event: its records come from many partitions, and this mapping reads \
                         streams; invoke the function with it instead"
                            .into(),
                    ));
                }
            }
        }
        if records.is_empty() {
            return Err(invalid(
                "holds no records: an event with `Records`, a JSON array, or one record a line".into(),
            ));
        }
        if is_mixed {
            return Err(invalid("holds change stream events and other records: they have different rules".into()));
        }
        Ok(Self::new(records, change_stream))
    }

    /// Records as JSON texts.
    pub fn from_records(records: Vec<Box<RawValue>>) -> Self {
        Self::new(records, None)
    }

    fn new(records: Vec<Box<RawValue>>, change_stream: Option<String>) -> Self {
        let arrival = Moment::now();
        let mut seen = HashSet::new();
        let mut first: Option<(String, bool)> = None;
        let records: Vec<SourceRecord> = records
            .into_iter()
            .enumerate()
            .map(|(position, raw)| {
                let dynamodb = field(raw.get(), "dynamodb").unwrap_or_default();
                let kinesis = field(raw.get(), "kinesis").unwrap_or_default();
                let sequence = text_field(dynamodb, "SequenceNumber")
                    .or_else(|| text_field(kinesis, "sequenceNumber"))
                    .or_else(|| text_field(field(field(raw.get(), "event")?, "_id")?, "_data"))
                    .filter(|number| !number.is_empty() && seen.insert(number.clone()))
                    .unwrap_or_else(|| format!("position-{position:010}"));
                let key =
                    field(dynamodb, "Keys").or_else(|| field(kinesis, "partitionKey")).map_or_else(Vec::new, |key| {
                        // Parsed and written again, so that the same key in another order of fields is the same key.
                        serde_json::from_str::<Value>(key)
                            .map_or_else(|_| key.into(), |key| key.to_string())
                            .into_bytes()
                    });
                first.get_or_insert_with(|| {
                    (text_field(raw.get(), "eventSourceARN").unwrap_or_default(), !kinesis.is_empty())
                });
                SourceRecord { raw, sequence: SequenceNumber::new(sequence), ordering_key: key.into(), arrival }
            })
            .collect();
        let (arn, is_kinesis) = first.unwrap_or_default();
        let info = match change_stream {
            Some(arn) => SourceInfo::documentdb(&arn, DEFAULT_RETENTION),
            None => SourceInfo {
                arn,
                event_head: "{\"Records\":[".into(),
                event_tail: "]}".into(),
                batch_info: if is_kinesis { "KinesisBatchInfo" } else { "DDBStreamBatchInfo" },
                failures: FailureHandling::Stream,
            },
        };
        Self { records, info, position: 0 }
    }

    /// The records, in order.
    pub fn records(&self) -> &[SourceRecord] {
        &self.records
    }
}

/// What a JSON text of the file is.
enum Document {
    Records(Vec<Box<RawValue>>),
    ChangeStream(DocumentDbEvent),
    Kafka,
}

impl Document {
    fn of(value: Box<RawValue>) -> Self {
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "Records")]
            records: Vec<Box<RawValue>>,
        }
        #[derive(Deserialize)]
        struct KafkaEvent {
            #[serde(rename = "records")]
            _records: BTreeMap<String, Vec<serde::de::IgnoredAny>>,
        }
        let text = value.get();
        if let Ok(records) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
            return Self::of_records(records);
        }
        if let Ok(Event { records }) = serde_json::from_str(text) {
            return Self::Records(records);
        }
        if let Ok(event) = serde_json::from_str(text) {
            return Self::ChangeStream(event);
        }
        if serde_json::from_str::<KafkaEvent>(text).is_ok() {
            return Self::Kafka;
        }
        Self::of_records(vec![value])
    }

    /// Records without an envelope say what they are by the first of them.
    fn of_records(records: Vec<Box<RawValue>>) -> Self {
        let change = records.first().and_then(|first| field(first.get(), "event"));
        match change.and_then(|change| text_field(change, "operationType")) {
            Some(_) => Self::ChangeStream(DocumentDbEvent { event_source_arn: String::new(), events: records }),
            None => Self::Records(records),
        }
    }
}

impl RecordSource for FileSource {
    fn info(&self) -> SourceInfo {
        self.info.clone()
    }

    async fn shards(&mut self) -> Result<Vec<Shard>, SourceError> {
        Ok(vec![Shard { id: FILE_SHARD.into(), parent: None, closed: true }])
    }

    async fn read(&mut self, _shard: &str, _from: &ReadFrom, limit: usize) -> Result<Page, SourceError> {
        let end = self.records.len().min(self.position.saturating_add(limit));
        let records = self.records[self.position..end].to_vec();
        self.position = end;
        Ok(Page { records, end: end == self.records.len(), ..Page::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"dynamodb":{"SequenceNumber":"111","Keys":{"b":{"S":"x"},"a":{"N":"1"}}}}"#;
    const TWO: &str = r#"{ "dynamodb": {"Keys":{"a":{"N":"1"},"b":{"S":"x"}}, "SequenceNumber":"222", "n": 1.0e400} }"#;

    fn texts(source: &FileSource) -> Vec<&str> {
        source.records().iter().map(|record| record.raw.get()).collect()
    }

    #[test]
    fn every_layout_gives_the_same_records_unchanged() {
        let layouts = [
            format!("{{\"Records\":[{ONE},{TWO}]}}"),
            format!("[{ONE} , {TWO}]"),
            format!("{ONE}\n{TWO}\n"),
            format!("\u{feff}{{\"Records\":[{ONE}]}}\n{{\"Records\":[{TWO}]}}"),
        ];
        for layout in layouts {
            let source = FileSource::parse(&layout, "file").unwrap();
            assert_eq!(texts(&source), [ONE, TWO], "{layout}");
            assert_eq!(source.records()[0].sequence.as_str(), "111");
            assert_eq!(source.records()[0].ordering_key, source.records()[1].ordering_key);
        }
    }

    #[test]
    fn broken_records_are_records_all_the_same() {
        let source = FileSource::parse(
            "[1, {\"dynamodb\":7}, {\"dynamodb\":{\"SequenceNumber\":\"5\"}}, \
            {\"dynamodb\":{\"SequenceNumber\":\"5\"}}]",
            "file",
        )
        .unwrap();
        let numbers: Vec<&str> = source.records().iter().map(|record| record.sequence.as_str()).collect();
        assert_eq!(numbers, ["position-0000000000", "position-0000000001", "5", "position-0000000003"]);
    }

    #[test]
    fn change_stream_events_keep_their_envelope() {
        let source = FileSource::parse(
            r#"{"eventSourceArn":"arn:x","events":[{"event":{"a":1}}],"eventSource":"aws:docdb"}"#,
            "file",
        )
        .unwrap();
        let info = source.info();
        assert_eq!(info.failures, FailureHandling::RetryWhole { retention: DEFAULT_RETENTION });
        let event = format!("{}{}{}", info.event_head, source.records()[0].raw, info.event_tail);
        assert_eq!(event, r#"{"eventSourceArn":"arn:x","events":[{"event":{"a":1}}],"eventSource":"aws:docdb"}"#);
    }

    #[test]
    fn change_events_are_numbered_by_their_tokens() {
        let one = r#"{"event":{"_id":{"_data":"01aa"},"operationType":"insert","fullDocument":{"n":1.0e400}}}"#;
        let two = r#"{"event":{"_id":{"_data":"01ab"},"operationType":"delete"}}"#;
        let envelope =
            |records: &str| format!(r#"{{"eventSourceArn":"arn:x","events":[{records}],"eventSource":"aws:docdb"}}"#);
        for (layout, arn) in [
            (format!("{one}\n{two}"), ""),
            (format!("[{one},{two}]"), ""),
            (envelope(&format!("{one},{two}")), "arn:x"),
            (format!("{one}\n{}", envelope(two)), "arn:x"),
            (format!("{}\n{two}", envelope(one)), "arn:x"),
        ] {
            let source = FileSource::parse(&layout, "file").unwrap();
            assert_eq!(texts(&source), [one, two], "{layout}");
            let numbers: Vec<&str> = source.records().iter().map(|record| record.sequence.as_str()).collect();
            assert_eq!(numbers, ["01aa", "01ab"]);
            assert_eq!(source.info().arn, arn, "{layout}");
            assert!(matches!(source.info().failures, FailureHandling::RetryWhole { .. }));
            assert!(source.records().iter().all(|record| record.ordering_key.is_empty()));
        }
        for layout in [format!("{one}\n{ONE}"), format!("{ONE}\n{one}"), format!("{ONE}\n{}", envelope(one))] {
            let message = FileSource::parse(&layout, "file").unwrap_err().to_string();
            assert!(message.contains("change stream events and other records"), "{message}");
        }
    }

    #[test]
    fn files_without_records_are_refused_by_name() {
        for (text, part) in [
            ("", "holds no records"),
            ("[]", "holds no records"),
            ("{\"Records\":[]}", "holds no records"),
            ("[{]", "not JSON"),
            (r#"{"eventSource":"aws:kafka","records":{"t-0":[{}]}}"#, "a Kafka event"),
        ] {
            let message = FileSource::parse(text, "orders.json").unwrap_err().to_string();
            assert!(message.starts_with("orders.json: ") && message.contains(part), "{message}");
        }
        let message = FileSource::open(Path::new("/nowhere/orders.json")).unwrap_err().to_string();
        assert!(message.starts_with("reading /nowhere/orders.json: "), "{message}");
    }
}
