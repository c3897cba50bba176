//! Dead letters: a record that can never be applied as it is, with the reason and all that is needed to apply it later.

use crate::batch::{Batch, Content, Slot};
use crate::cause::Failure;
use crate::json::write_string;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The most a message may weigh: [SQS's limit](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)
/// of 1 MiB, less room for the attributes.
pub const MAX_LETTER_BYTES: usize = 1_048_576 - 1_024;

/// A letter, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The closed list's code, also sent as an attribute.
    pub reason: Cow<'static, str>,
    /// The source's name, also sent as an attribute.
    pub source: String,
    /// The message's body.
    pub body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    tidelock: u32,
    letter_id: String,
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
    record: Box<RawValue>,
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
    position: Option<&'a str>,
}

#[derive(Serialize)]
struct TargetPlace<'a> {
    index: &'a str,
    id: String,
}

/// Writes the letter for a refused slot.
///
/// `payload` is the event the batch was decoded from, `into` where the change was to go, `now_ms` the time in milliseconds
/// since 1970.
#[must_use]
pub fn letter(
    payload: &[u8],
    batch: &Batch,
    slot: &Slot,
    failure: &Failure,
    into: Option<&str>,
    function: &str,
    now_ms: i64,
) -> Letter {
    let origin = batch.origin(slot);
    let position =
        slot.position.clone().and_then(|range| payload.get(range)).and_then(|text| std::str::from_utf8(text).ok());
    let raw = payload.get(slot.raw.clone()).unwrap_or_default();
    let stream = origin.map_or("", |origin| origin.arn.as_str());
    let key = batch.key(slot);
    let body = Body {
        tidelock: 1,
        letter_id: letter_id(stream, position, raw),
        reason: failure.cause.code(),
        detail: &failure.detail,
        action: failure.cause.action(),
        function,
        source: Source { kind: "dynamodb", name: origin.map_or("", |origin| origin.name.as_str()), stream, position },
        key: key.and_then(|key| json(|out| key.write_json(out))),
        version: batch.version(slot).and_then(|version| json(|out| version.write_json(out))),
        op: match slot.content {
            Content::Upsert(_) => Some("upsert"),
            Content::Delete => Some("delete"),
            Content::Failed(_) => None,
        },
        record: record(raw),
        attempts: 1,
        first_failed_at: timestamp(now_ms),
        target: into.zip(key).map(|(index, key)| TargetPlace { index, id: key.text_id() }),
    };
    Letter {
        reason: failure.cause.code().into(),
        source: body.source.name.to_owned(),
        body: sendable(&serde_json::to_string(&body).unwrap_or_default()),
    }
}

/// Queues refuse, or replace, two characters that JSON and DynamoDB allow
/// ([SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html)). They stand in strings
/// only, where they can be escaped.
fn sendable(body: &str) -> String {
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

/// The same for every delivery of one record: FNV-1a (128 bits) over stream and position, or over the record itself where it
/// has no position.
fn letter_id(stream: &str, position: Option<&str>, raw: &[u8]) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let tail = position.map_or(raw, str::as_bytes);
    for &byte in stream.as_bytes().iter().chain(b"\n").chain(tail) {
        hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    }
    format!("{hash:032x}")
}

/// Milliseconds since 1970 as `2019-02-19T13:24:19.184Z` ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)); years that
/// four digits do not hold with a sign and at least six, as
/// [ECMAScript](https://tc39.es/ecma262/#sec-expanded-years) writes them.
#[must_use]
pub fn timestamp(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Hinnant's civil_from_days.
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let year = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+07}") };
    format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(1_550_582_659_184), "2019-02-19T13:24:19.184Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(timestamp(-62_167_219_200_000), "0000-01-01T00:00:00.000Z");
        assert_eq!(timestamp(-62_167_219_200_001), "-000001-12-31T23:59:59.999Z");
        assert_eq!(timestamp(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(timestamp(253_402_300_800_000), "+010000-01-01T00:00:00.000Z");
        assert_eq!(timestamp(i64::MAX), "+292278994-08-17T07:12:55.807Z");
        assert_eq!(timestamp(i64::MIN), "-292275055-05-16T16:47:04.192Z");
    }

    #[test]
    fn characters_that_queues_refuse_are_escaped() {
        let body = "{\"a\":\"x\u{fffe}y\u{ffff}\u{e000}\"}";
        let sent = sendable(body);
        assert!(sent.chars().all(|c| c < '\u{fffe}'), "{sent}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(&sent), value(body));
    }

    #[test]
    fn ids_depend_on_stream_and_position_alone() {
        assert_eq!(letter_id("a", Some("1"), b"x"), letter_id("a", Some("1"), b"y"));
        assert_ne!(letter_id("a", Some("1"), b"x"), letter_id("b", Some("1"), b"x"));
        assert_ne!(letter_id("a", None, b"x"), letter_id("a", None, b"y"));
    }
}
