//! Writing letters and packs.

use super::{FORMAT, Letter, MAX_LETTER_BYTES, OnFailure, hash, timestamp};
use crate::batch::{Batch, Content, Slot};
use crate::bson::{Elements, Value, write_canonical};
use crate::cause::{Cause, Failure};
use crate::image::Notation;
use crate::json::write_string;
use crate::key::Key;
use crate::target::Place;
use crate::version::dynamodb::{KIND, oldest};
use crate::version::mongodb;
use serde::Serialize;
use serde_json::value::RawValue;

/// The most records' text that goes into one pack.
pub const MAX_PACK_BYTES: usize = MAX_LETTER_BYTES - 8 * 1_024;

/// The most of a failure's particulars that is repeated in a pack.
const MAX_PACK_DETAIL: usize = 2_000;

/// What a record has been through before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// How often it has been tried, this time included.
    pub attempts: u32,
    /// When it failed first, milliseconds since 1970.
    pub first_failed_ms: i64,
}

impl History {
    /// It fails for the first time.
    #[must_use]
    pub fn first(now_ms: i64) -> Self {
        Self { attempts: 1, first_failed_ms: now_ms }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    tidelock: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    letter_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pack_id: Option<String>,
    reason: &'a str,
    detail: &'a str,
    action: &'a str,
    function: &'a str,
    source: Source<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Box<RawValue>>,
    attempts: u32,
    first_failed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetPlace<'a>>,
}

#[derive(Serialize)]
struct Source<'a> {
    kind: &'a str,
    name: &'a str,
    stream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<&'a str>,
}

#[derive(Serialize)]
struct TargetPlace<'a> {
    index: &'a str,
    id: String,
}

/// Writes the letter for a refused slot.
///
/// `payload` is the event the batch was decoded from, `into` where the change was to go.
#[must_use]
pub fn letter(
    payload: &[u8],
    batch: &Batch,
    slot: &Slot,
    failure: &Failure,
    into: Option<&Place>,
    function: &str,
    history: History,
) -> Letter {
    let origin = batch.origin(slot);
    let position =
        slot.position.clone().and_then(|range| payload.get(range)).and_then(|text| std::str::from_utf8(text).ok());
    let raw = payload.get(slot.raw.clone()).unwrap_or_default();
    let stream = origin.map_or("", |origin| origin.arn.as_str());
    let key = batch.key(slot);
    let body = Body {
        tidelock: FORMAT,
        letter_id: Some(letter_id(stream, position, raw)),
        pack_id: None,
        reason: failure.cause.code(),
        detail: &failure.detail,
        action: failure.cause.action(),
        function,
        source: Source { kind: batch.kind, name: origin.map_or("", |origin| origin.name.as_str()), stream, position },
        key: key.and_then(|key| json(|out| key.write_json(out))),
        version: batch.version(slot).and_then(|version| json(|out| version.write_json(out))),
        op: match slot.content {
            Content::Upsert(_) | Content::Deferred => Some("upsert"),
            Content::Delete => Some("delete"),
            Content::Failed(_) => None,
        },
        record: Some(record(raw)),
        records: None,
        attempts: history.attempts,
        first_failed_at: timestamp(history.first_failed_ms),
        target: into.zip(key).map(|(place, key)| TargetPlace { index: &place.name, id: place.key(key).text_id() }),
    };
    body.seal()
}

impl Body<'_> {
    fn seal(&self) -> Letter {
        Letter {
            reason: self.reason.to_owned().into(),
            source: self.source.name.to_owned(),
            body: sendable(serde_json::to_string(self).unwrap_or_default()),
        }
    }
}

/// A change that is held back.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// Index into the batch's slots.
    pub slot: usize,
    /// Why.
    pub failure: &'a Failure,
}

/// Puts changes into packs, in order: one cause and one origin each, and not more than fits into a message. Beside each pack
/// stand its slots.
#[must_use]
pub fn packs(
    payload: &[u8],
    batch: &Batch,
    held: &[Held<'_>],
    function: &str,
    history: History,
) -> Vec<(Letter, Vec<usize>)> {
    // A record that several routes hold waits once: it is for all of them. Its slots are neighbours.
    let records =
        || held.chunk_by(|a, b| batch.same_record(a.slot, b.slot)).filter_map(|same| Some((same.first()?, same)));
    let mut kinds: Vec<(Cause, Option<usize>)> = Vec::new();
    let kind = |held: &Held<'_>| (held.failure.cause, batch.slots.get(held.slot).and_then(|slot| slot.origin));
    for (first, _) in records() {
        if !kinds.contains(&kind(first)) {
            kinds.push(kind(first));
        }
    }
    let mut packs = Vec::new();
    for wanted in kinds {
        let mut open = Pack { batch, function, history, records: Vec::new(), slots: Vec::new(), why: None };
        for (first, same) in records().filter(|(first, _)| kind(first) == wanted) {
            let raw = batch.slots.get(first.slot).and_then(|slot| payload.get(slot.raw.clone())).unwrap_or_default();
            if !open.slots.is_empty() && open.records.len() + raw.len() > MAX_PACK_BYTES {
                packs.push(open.close());
            }
            open.add(first, raw);
            open.slots.extend(same.iter().skip(1).map(|other| other.slot));
        }
        packs.push(open.close());
    }
    packs
}

/// A pack that is being filled.
struct Pack<'a> {
    batch: &'a Batch,
    function: &'a str,
    history: History,
    /// `[`, and the records' text.
    records: Vec<u8>,
    slots: Vec<usize>,
    why: Option<&'a Failure>,
}

impl<'a> Pack<'a> {
    fn add(&mut self, held: &Held<'a>, raw: &[u8]) {
        self.records.push(if self.slots.is_empty() { b'[' } else { b',' });
        match std::str::from_utf8(raw) {
            Ok(_) => self.records.extend_from_slice(raw),
            Err(_) => self.records.extend_from_slice(record(raw).get().as_bytes()),
        }
        self.slots.push(held.slot);
        self.why.get_or_insert(held.failure);
    }

    fn close(&mut self) -> (Letter, Vec<usize>) {
        let slots = std::mem::take(&mut self.slots);
        let mut records = std::mem::take(&mut self.records);
        records.push(b']');
        let first = slots.first().and_then(|&slot| self.batch.slots.get(slot));
        let origin = first.and_then(|slot| self.batch.origin(slot));
        let why = self.why.take();
        let detail = why.map_or("", |failure| failure.detail.as_str());
        let detail =
            detail.char_indices().nth(MAX_PACK_DETAIL).map_or(detail, |(end, _)| detail.get(..end).unwrap_or(detail));
        let id = hash([&records[..]]);
        let body = Body {
            tidelock: FORMAT,
            letter_id: None,
            pack_id: Some(id),
            reason: why.map_or("", |failure| failure.cause.code()),
            detail,
            action: why.map_or("", |failure| failure.cause.action()),
            function: self.function,
            source: Source {
                kind: self.batch.kind,
                name: origin.map_or("", |origin| origin.name.as_str()),
                stream: origin.map_or("", |origin| origin.arn.as_str()),
                position: None,
            },
            key: None,
            version: None,
            op: None,
            record: None,
            records: String::from_utf8(records).ok().and_then(|text| RawValue::from_string(text).ok()),
            attempts: self.history.attempts,
            first_failed_at: timestamp(self.history.first_failed_ms),
            target: None,
        };
        (body.seal(), slots)
    }
}

/// The letter for a batch that Lambda gave up and the stream has forgotten: nobody can apply it any more.
#[must_use]
pub fn lost_records(lost: &OnFailure<'_>, text: &str, failure: &Failure, function: &str, history: History) -> Letter {
    let batch = &lost.batch;
    let body = Body {
        tidelock: FORMAT,
        letter_id: Some(letter_id(&batch.stream, Some(&batch.start), text.as_bytes())),
        pack_id: None,
        reason: failure.cause.code(),
        detail: &failure.detail,
        action: failure.cause.action(),
        function,
        source: Source { kind: batch.kind, name: batch.name(), stream: &batch.stream, position: Some(&batch.start) },
        key: None,
        version: None,
        op: None,
        record: Some(record(text.as_bytes())),
        records: None,
        attempts: history.attempts,
        first_failed_at: timestamp(history.first_failed_ms),
        target: None,
    };
    body.seal()
}

/// The letter for an item that a scan has found and that could not be written.
///
/// Its record is what the stream would have brought for a change of the item at the oldest version there is, so that it can be
/// redriven like any other.
#[must_use]
#[expect(clippy::too_many_arguments, reason = "all that is known of the item")]
pub fn scanned_letter(
    origin: &str,
    space: &str,
    key: Option<Key<'_>>,
    (notation, bytes): (Notation, &[u8]),
    failure: &Failure,
    into: Option<&Place>,
    function: &str,
    history: History,
) -> Letter {
    let stream = stream_of(space);
    let key_json = key.and_then(|key| json(|out| key.write_json(out)));
    let text = match (notation, std::str::from_utf8(bytes), &key_json) {
        (Notation::DynamoDb, Ok(item), Some(key)) => RawValue::from_string(format!(
            r#"{{"eventName":"INSERT","eventSource":"aws:dynamodb","eventSourceARN":"{stream}","dynamodb":{{"Keys":{key},"NewImage":{item},"SequenceNumber":"0"}}}}"#
        ))
        .ok(),
        (Notation::Bson, _, Some(key)) => json(|out| scanned_event(out, origin, key.get(), bytes)),
        _ => None,
    };
    let kind = space.split_once(':').map_or("", |(kind, _)| kind);
    let id = key.map_or(bytes, |key| key.as_bytes());
    let body = Body {
        tidelock: FORMAT,
        letter_id: Some(hash([space.as_bytes(), b"\nscan\n", id])),
        pack_id: None,
        reason: failure.cause.code(),
        detail: &failure.detail,
        action: failure.cause.action(),
        function,
        source: Source { kind, name: origin, stream: &stream, position: None },
        key: key_json,
        version: None,
        op: Some("upsert"),
        record: Some(text.unwrap_or_else(|| record(bytes))),
        records: None,
        attempts: history.attempts,
        first_failed_at: timestamp(history.first_failed_ms),
        target: into.zip(key).map(|(place, key)| TargetPlace { index: &place.name, id: place.key(key).text_id() }),
    };
    body.seal()
}

/// The event that a change stream would have brought for a document, at the oldest time there is.
fn scanned_event(out: &mut Vec<u8>, origin: &str, key: &str, document: &[u8]) {
    let (database, collection) = origin.split_once('.').unwrap_or((origin, ""));
    let Ok(elements) = Elements::new(document) else { return };
    out.extend_from_slice(
        b"{\"event\":{\"_id\":{\"_data\":\"scan\"},\"clusterTime\":{\"$timestamp\":{\"t\":1,\"i\":0}},\"documentKey\":",
    );
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b",\"fullDocument\":");
    write_canonical(out, Value::Document(elements));
    out.extend_from_slice(b",\"ns\":{\"db\":");
    write_string(out, database);
    out.extend_from_slice(b",\"coll\":");
    write_string(out, collection);
    out.extend_from_slice(b"},\"operationType\":\"insert\"}}");
}

/// A stream older than all others of the table that a space names.
fn stream_of(space: &str) -> String {
    let mut parts = space.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(KIND), Some(region), Some(account), Some(table)) => {
            format!("arn:aws:dynamodb:{region}:{account}:table/{table}/stream/{}", oldest(space).label)
        }
        // Of a cluster nobody knows the account; its name and region are what counts.
        (Some(mongodb::KIND), Some(cluster), ..) if let Some((name, region)) = cluster.split_once('.') => {
            format!("arn:aws:rds:{region}:000000000000:cluster:{name}")
        }
        _ => String::new(),
    }
}

/// Queues refuse, or replace, two characters that JSON and DynamoDB allow
/// ([SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html)). They stand in strings
/// only, where they can be escaped.
fn sendable(body: String) -> String {
    if !body.contains(['\u{fffe}', '\u{ffff}']) {
        return body;
    }
    body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

fn json(write: impl FnOnce(&mut Vec<u8>)) -> Option<Box<RawValue>> {
    let mut out = Vec::new();
    write(&mut out);
    RawValue::from_string(String::from_utf8(out).ok()?).ok()
}

/// The record as received; one that is not UTF-8 as `{"base64": …}`.
fn record(raw: &[u8]) -> Box<RawValue> {
    let text = std::str::from_utf8(raw).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    text.or_else(|| {
        json(|out| {
            out.extend_from_slice(b"{\"base64\":");
            write_string(out, &crate::encode::base64_text(raw));
            out.push(b'}');
        })
    })
    .unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// The same for every delivery of one record: over stream and position, or over the record itself where it has no position.
fn letter_id(stream: &str, position: Option<&str>, raw: &[u8]) -> String {
    hash([stream.as_bytes(), b"\n", position.map_or(raw, str::as_bytes)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_queues_refuse_are_escaped() {
        let body = "{\"a\":\"x\u{fffe}y\u{ffff}\u{e000}\"}";
        let sent = sendable(body.to_owned());
        assert!(sent.chars().all(|c| c < '\u{fffe}'), "{sent}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(&sent), value(body));
    }

    #[test]
    fn a_scanned_document_is_redriven_as_its_stream_would_have_brought_it() {
        use crate::letter::{Contents, read};
        use crate::source::mongodb::{DocumentKey, document};
        use crate::source::{DOCUMENTDB, Envelope};
        let own = bson::doc! {"_id": {"b": 1_i64, "a": "\u{ffff}"}, "n": 5_i64, "m": bson::Bson::MinKey, "d": 1.0};
        let bytes = own.to_vec().expect("serializable");
        let key = DocumentKey::of(&bytes).expect("a key");
        let failure = Failure::new(Cause::MappingConflict, "x");
        let (space, history) = ("mongodb:shop.us-east-1:demo.a.b", History::first(0));
        let image = (Notation::Bson, bytes.as_slice());
        let letter = scanned_letter("demo.a.b", space, Some(key.key()), image, &failure, None, "f", history);
        let parcel = read(&letter.body).expect("a letter");
        assert_eq!((&*parcel.source_kind, &*parcel.source), (DOCUMENTDB.name, "demo.a.b"));
        let Contents::Record(record) = parcel.contents else { panic!("{parcel:?}") };
        let mut event = String::new();
        Envelope::Events.open(&mut event, &parcel.stream, true);
        event.push_str(record);
        Envelope::Events.close(&mut event, true);
        let format = crate::encode::Format::Bson;
        let batch = (DOCUMENTDB.reader.decode)(event.as_bytes(), format).expect("an event");
        let slot = &batch.slots[0];
        let Content::Upsert(range) = slot.content.clone() else { panic!("{:?}", slot.content) };
        assert_eq!(Ok(batch.documents[range].to_vec()), document(&bytes, format));
        assert_eq!(batch.key(slot), Some(key.key()));
        let version = batch.version(slot).expect("a version");
        assert_eq!((version.space, version.exact), (space, "00000000004294967296"));
    }

    #[test]
    fn ids_depend_on_stream_and_position_alone() {
        assert_eq!(letter_id("a", Some("1"), b"x"), letter_id("a", Some("1"), b"y"));
        assert_ne!(letter_id("a", Some("1"), b"x"), letter_id("b", Some("1"), b"x"));
        assert_ne!(letter_id("a", None, b"x"), letter_id("a", None, b"y"));
    }
}
