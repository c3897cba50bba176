//! Reading letters, packs, and Lambda's on-failure records.

use super::on_failure::{OnFailure, on_failure};
use super::{FORMAT, parse_timestamp};
use crate::json::Cursor;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One record that could not be applied as it is.
    Letter,
    /// Changes that were held back.
    Pack,
    /// Lambda's record of a batch that it gave up.
    OnFailure,
}

/// A message that has been read.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// What it is.
    pub kind: Kind,
    /// `letter_id` or `pack_id`; of an on-failure record shard and first sequence number.
    pub id: Cow<'a, str>,
    /// Why: a cause's code, of an on-failure record Lambda's condition.
    pub reason: Cow<'a, str>,
    /// What is particular to it.
    pub detail: Cow<'a, str>,
    /// The kind of source.
    pub source_kind: Cow<'a, str>,
    /// The source's name, which routes match.
    pub source: Cow<'a, str>,
    /// The stream's own name in full; empty where none is known.
    pub stream: Cow<'a, str>,
    /// The record's position, as received.
    pub position: Option<Cow<'a, str>>,
    /// The record's key, in the source's notation.
    pub key: Option<&'a RawValue>,
    /// `upsert` or `delete`, of a letter whose record could be read.
    pub op: Option<Cow<'a, str>>,
    /// Index or collection, and id, where a letter's record was to go.
    pub target: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// How often it has been tried.
    pub attempts: u32,
    /// When it failed first, milliseconds since 1970.
    pub first_failed_ms: i64,
    /// The records themselves.
    pub contents: Contents<'a>,
}

/// Where a message's records are.
#[derive(Debug)]
pub enum Contents<'a> {
    /// A record as received, as JSON text.
    Record(&'a str),
    /// Records as received: a JSON array.
    Records(&'a str),
    /// An object of a bucket holds the whole message.
    Elsewhere {
        /// The bucket's name.
        bucket: Cow<'a, str>,
        /// The object's name.
        key: Cow<'a, str>,
    },
    /// A batch that Lambda gave up, with its event or without.
    Batch(OnFailure<'a>),
}

/// Why a message cannot be used. It stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not one of Tidelock's, nor an on-failure record.
    Foreign,
    /// It is one of Tidelock's and damaged: what is wrong.
    Corrupt(String),
    /// It is of a format that only a later release reads.
    Newer(u64),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "the message is neither one of tidelock's nor an on-failure record of Lambda's; who else sends to this queue?",
            ),
            Self::Corrupt(what) => write!(f, "the letter is damaged: {what}"),
            Self::Newer(format) => {
                write!(f, "the letter has format {format}, this tidelock reads {FORMAT}: upgrade the function that reads it")
            }
        }
    }
}

#[derive(Deserialize)]
struct Head {
    tidelock: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    tidelock: u64,
    #[serde(borrow)]
    letter_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pack_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow, default)]
    detail: Cow<'a, str>,
    #[serde(borrow)]
    source: Source<'a>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    s3: Option<S3<'a>>,
    attempts: u32,
    #[serde(borrow)]
    first_failed_at: Cow<'a, str>,
    #[serde(borrow)]
    target: Option<Target<'a>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    position: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct S3<'a> {
    #[serde(borrow)]
    bucket: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    index: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// Reads a message.
///
/// # Errors
/// When it is foreign, damaged, or of a later format; then it must be kept.
pub fn read(text: &str) -> Result<Parcel<'_>, Unreadable> {
    if let Some(parcel) = pack(text) {
        return Ok(parcel);
    }
    // Nearly always it is one of ours, and one pass will do.
    let error = match serde_json::from_str::<Raw<'_>>(text) {
        Ok(raw) if raw.tidelock == FORMAT => return parcel(raw),
        Ok(raw) => return Err(of_format(&raw.tidelock.into())),
        Err(error) => error,
    };
    match serde_json::from_str::<Head>(text).map(|head| head.tidelock) {
        Ok(Some(format)) if format.as_u64() == Some(FORMAT) => Err(Unreadable::Corrupt(error.to_string())),
        Ok(Some(format)) => Err(of_format(&format)),
        Ok(None) => on_failure(text).map(of_lambda).ok_or(Unreadable::Foreign),
        Err(error) if text.contains("\"tidelock\"") => {
            Err(Unreadable::Corrupt(format!("it is no JSON object: {error}")))
        }
        Err(_) => Err(Unreadable::Foreign),
    }
}

/// Reads a pack without looking through its records: whoever applies them does, and megabytes are not read twice. `None` for
/// all that is not a pack without fault; then why is said elsewhere. A letter says early that it is none.
fn pack(text: &str) -> Option<Parcel<'_>> {
    let mut records = None;
    let mut cursor = Cursor::new(text.as_bytes());
    cursor
        .members(|cursor, name| {
            if name.raw == b"letter_id" {
                return Err(cursor.malformed("a pack"));
            }
            if name.raw != b"records" || records.is_some() {
                return cursor.skip().map(drop);
            }
            let array = cursor.skip_array_unread().ok_or(cursor.malformed("an array"))?;
            records = Some(cursor.at() - array.len()..cursor.at());
            Ok(())
        })
        .ok()?;
    cursor.end().ok()?;
    let (from, to) = records.map(|range| (range.start, range.end))?;
    // All else is short.
    let rest = [text.get(..from)?, "[]", text.get(to..)?].concat();
    let raw = serde_json::from_str::<Raw<'_>>(&rest).ok().filter(|raw| raw.tidelock == FORMAT)?;
    let read = parcel(raw).ok().filter(|read| read.kind == Kind::Pack && read.key.is_none())?;
    let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    Some(Parcel {
        kind: Kind::Pack,
        id: owned(read.id),
        reason: owned(read.reason),
        detail: owned(read.detail),
        source_kind: owned(read.source_kind),
        source: owned(read.source),
        stream: owned(read.stream),
        position: read.position.map(owned),
        key: None,
        op: read.op.map(owned),
        target: read.target.map(|(index, id)| (owned(index), owned(id))),
        attempts: read.attempts,
        first_failed_ms: read.first_failed_ms,
        contents: Contents::Records(text.get(from..to)?),
    })
}

fn of_format(format: &serde_json::Value) -> Unreadable {
    match format.as_u64() {
        Some(newer) if newer > FORMAT => Unreadable::Newer(newer),
        _ => Unreadable::Corrupt(format!("`tidelock` is {format}, which is no format")),
    }
}

fn parcel(raw: Raw<'_>) -> Result<Parcel<'_>, Unreadable> {
    let corrupt = |what: &str| Unreadable::Corrupt(what.to_owned());
    let (kind, id) = match (raw.letter_id, raw.pack_id) {
        (Some(id), None) => (Kind::Letter, id),
        (None, Some(id)) => (Kind::Pack, id),
        _ => return Err(corrupt("it has neither `letter_id` nor `pack_id`, or both")),
    };
    let contents = match (kind, raw.record, raw.records, raw.s3) {
        (_, None, None, Some(S3 { bucket, key })) => Contents::Elsewhere { bucket, key },
        (Kind::Letter, Some(record), None, None) => Contents::Record(record.get()),
        (Kind::Pack, None, Some(records), None) if records.get().starts_with('[') => Contents::Records(records.get()),
        _ => return Err(corrupt("its records are missing")),
    };
    Ok(Parcel {
        kind,
        id,
        reason: raw.reason,
        detail: raw.detail,
        source_kind: raw.source.kind,
        source: raw.source.name,
        stream: raw.source.stream,
        position: raw.source.position,
        key: raw.key,
        op: raw.op,
        target: raw.target.map(|target| (target.index, target.id)),
        attempts: raw.attempts,
        first_failed_ms: parse_timestamp(&raw.first_failed_at)
            .ok_or_else(|| corrupt("`first_failed_at` is no time"))?,
        contents,
    })
}

fn of_lambda(found: OnFailure<'_>) -> Parcel<'_> {
    let batch = &found.batch;
    Parcel {
        kind: Kind::OnFailure,
        id: format!("{}/{}", batch.shard, batch.start).into(),
        reason: found.condition.clone(),
        detail: format!(
            "Lambda gave up {} records of shard {}, {} to {}",
            batch.size, batch.shard, batch.start, batch.end
        )
        .into(),
        source_kind: batch.kind.into(),
        source: batch.name().to_owned().into(),
        stream: batch.stream.clone().into(),
        position: Some(batch.start.clone().into()),
        key: None,
        op: None,
        target: None,
        attempts: 1,
        // Changes are at most as old as the stream remembers; a time that cannot be read counts as old.
        first_failed_ms: parse_timestamp(&batch.first_arrival).unwrap_or_default(),
        contents: Contents::Batch(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn letter() -> Value {
        json!({
            "tidelock": 1, "letter_id": "00ff", "reason": "mapping_conflict", "detail": "a \"detail\"", "action": "do",
            "function": "f", "source": {"kind": "dynamodb", "name": "t", "stream": "arn", "position": "42"},
            "key": {"id": {"N": "1"}}, "version": {}, "op": "upsert", "record": {"a": 1.50}, "attempts": 3,
            "first_failed_at": "2026-01-01T00:00:00.000Z", "target": {"index": "i", "id": "1"},
        })
    }

    fn without(field: &str) -> String {
        let mut letter = letter();
        letter.as_object_mut().expect("an object").remove(field);
        letter.to_string()
    }

    #[test]
    fn a_letter() {
        let text = letter().to_string();
        let parcel = read(&text).expect("a letter");
        assert_eq!((parcel.kind, &*parcel.id, &*parcel.reason), (Kind::Letter, "00ff", "mapping_conflict"));
        assert_eq!((&*parcel.detail, parcel.attempts, parcel.first_failed_ms), ("a \"detail\"", 3, 1_767_225_600_000));
        assert_eq!((&*parcel.source_kind, &*parcel.source, parcel.position.as_deref()), ("dynamodb", "t", Some("42")));
        assert!(matches!(parcel.contents, Contents::Record(record) if record == r#"{"a":1.5}"#), "{parcel:?}");
        // What is for people alone may be missing.
        for field in ["detail", "action", "function", "version", "key", "op", "target"] {
            assert!(read(&without(field)).is_ok(), "{field}");
        }
    }

    #[test]
    fn a_large_pack_is_read_as_a_small_one() {
        let pack = |size: usize| {
            let records: Vec<Value> = (0..size).map(|n| json!({"n": n, "text": "a \"text\" ü"})).collect();
            json!({
                "tidelock": 1, "pack_id": "p", "reason": "unreachable", "detail": "d", "attempts": 2, "records": records,
                "source": {"kind": "dynamodb", "name": "t"}, "first_failed_at": "2026-01-01T00:00:00.000Z",
            })
        };
        let (small, large) = (pack(2).to_string(), pack(1_000).to_string());
        for (text, count) in [(&small, 2), (&large, 1_000)] {
            let parcel = read(text).expect("a pack");
            let Contents::Records(records) = parcel.contents else { panic!("no records") };
            assert_eq!(serde_json::from_str::<Vec<Value>>(records).expect("JSON").len(), count);
            assert_eq!((parcel.kind, &*parcel.id, &*parcel.reason), (Kind::Pack, "p", "unreachable"));
            assert_eq!((&*parcel.source, &*parcel.detail, parcel.attempts), ("t", "d", 2));
            assert_eq!(parcel.first_failed_ms, 1_767_225_600_000);
        }
        // What is wrong is said as of small ones.
        for (field, value) in
            [("tidelock", json!(2)), ("reason", Value::Null), ("record", json!({})), ("letter_id", json!("l"))]
        {
            let (mut small, mut large) = (pack(2), pack(1_000));
            for broken in [&mut small, &mut large] {
                broken[field] = value.clone();
            }
            let [small, large] = [small, large].map(|broken| read(&broken.to_string()).expect_err(field));
            assert_eq!(std::mem::discriminant(&small), std::mem::discriminant(&large), "{field}: {small:?} {large:?}");
        }
        assert!(matches!(read(&large[..large.len() - 1]), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for field in ["letter_id", "reason", "source", "record", "attempts", "first_failed_at"] {
            let error = read(&without(field)).expect_err(field);
            assert!(matches!(error, Unreadable::Corrupt(_)), "{field}: {error:?}");
        }
        let mut newer = letter();
        newer["tidelock"] = json!(2);
        newer.as_object_mut().expect("an object").remove("record");
        assert_eq!(read(&newer.to_string()).expect_err("newer"), Unreadable::Newer(2));
        assert!(Unreadable::Newer(2).to_string().contains("upgrade"));
        for (field, value) in [
            ("tidelock", json!("1")),
            ("tidelock", json!(0)),
            ("attempts", json!(-1)),
            ("first_failed_at", json!("then")),
        ] {
            let mut broken = letter();
            broken[field] = value;
            assert!(matches!(read(&broken.to_string()), Err(Unreadable::Corrupt(_))), "{field}");
        }
        assert!(matches!(read("{\"tidelock\":1,\"letter_id\":\"00"), Err(Unreadable::Corrupt(_))), "cut off");
        for foreign in
            ["", "hello", "{}", "[]", "null", r#"{"Records":[]}"#, r#"{"Type":"Notification","Message":"x"}"#]
        {
            assert_eq!(read(foreign).expect_err(foreign), Unreadable::Foreign);
        }
    }

    #[test]
    fn on_failure_records_of_lambda() {
        let mut record = json!({
            "requestContext": {"requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1},
            "responseContext": null, "version": "1.0", "timestamp": "2019-11-14T00:38:06.021Z",
            "DDBStreamBatchInfo": {
                "shardId": "shardId-1", "startSequenceNumber": "800000000003126276362", "endSequenceNumber": "800000000003126276363",
                "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04Z", "approximateArrivalOfLastRecord": "2019-11-14T00:38:05Z",
                "batchSize": 2, "streamArn": "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388",
            },
            "payload": "{\"Records\":[]}",
        });
        let text = record.to_string();
        let parcel = read(&text).expect("an on-failure record");
        assert_eq!(
            (parcel.kind, &*parcel.source, &*parcel.reason),
            (Kind::OnFailure, "mytable", "RetryAttemptsExhausted")
        );
        let Contents::Batch(found) = &parcel.contents else { panic!("{parcel:?}") };
        assert_eq!(found.payload.as_deref(), Some("{\"Records\":[]}"));
        record.as_object_mut().expect("an object").remove("payload");
        record["requestContext"].as_object_mut().expect("an object").remove("condition");
        let text = record.to_string();
        let parcel = read(&text).expect("an on-failure record");
        assert!(matches!(&parcel.contents, Contents::Batch(found) if found.payload.is_none() && found.batch.size == 2));
        record["DDBStreamBatchInfo"].as_object_mut().expect("an object").remove("shardId");
        assert_eq!(read(&record.to_string()).expect_err("damaged"), Unreadable::Foreign);
    }
}
