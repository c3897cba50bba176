//! Change events as the server sends them, written as the records that Lambda gives to functions
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html>).

use std::collections::BTreeMap;
use std::time::Duration;

use mongodb::bson::{RawBsonRef, RawDocument};
use serde_json::value::RawValue;

use super::extended_json::{ExtendedJson, plain};
use crate::clock::Moment;
use crate::mapping::SequenceNumber;
use crate::source::SourceRecord;

/// What MongoDB's events have and DocumentDB's have not: a function must not come to need them.
const NOT_DOCUMENTDBS: [&str; 2] = ["wallTime", "collectionUUID"];

/// The record of a change event, `{"event":{…}}`: its fields in the order of their names, as the developer guide shows
/// them, all that is in them as it stands in the event.
pub(super) fn to_record(event: &RawDocument, form: ExtendedJson) -> Result<SourceRecord, String> {
    let mut fields = BTreeMap::new();
    for element in event {
        let (name, value) = element.map_err(|error| format!("a change event that can't be read: {error}"))?;
        fields.insert(name.as_str(), value);
    }
    let sequence = position(&fields)?;
    let describe = |error: String| format!("event {sequence}: {error}");
    let mut out = Vec::with_capacity(event.as_bytes().len() * 2);
    out.extend_from_slice(b"{\"event\":{");
    let mut is_first = true;
    for (name, value) in &fields {
        if NOT_DOCUMENTDBS.contains(name) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        plain(&mut out, name).map_err(describe)?;
        out.push(b':');
        match (*name, value) {
            ("updateDescription", RawBsonRef::Document(description)) => {
                out.extend(update(description, form).map_err(describe)?);
            }
            _ => out.extend(form.value(*value).map_err(describe)?),
        }
    }
    out.extend_from_slice(b"}}");
    let text = String::from_utf8(out).map_err(|error| describe(error.to_string()))?;
    let arrival = match fields.get("clusterTime") {
        Some(RawBsonRef::Timestamp(time)) => Moment::from_epoch(Duration::from_secs(time.time.into())),
        _ => Moment::now(),
    };
    Ok(SourceRecord {
        raw: RawValue::from_string(text).map_err(|error| describe(error.to_string()))?,
        sequence: SequenceNumber::new(sequence),
        // A change stream is one sequence.
        ordering_key: Box::default(),
        arrival,
    })
}

/// The event's resume token, by which reading goes on behind it.
fn position<'a>(fields: &BTreeMap<&str, RawBsonRef<'a>>) -> Result<&'a str, String> {
    let Some(RawBsonRef::Document(id)) = fields.get("_id") else {
        return Err("a change event without a resume token in `_id`".into());
    };
    match id.get("_data") {
        Ok(Some(RawBsonRef::String(token))) if !token.is_empty() => Ok(token),
        _ => Err("a change event whose resume token (`_id._data`) is no text".into()),
    }
}

/// What an update changed. DocumentDB's events have no `truncatedArrays`; where MongoDB's say something, it is kept.
fn update(description: &RawDocument, form: ExtendedJson) -> Result<Vec<u8>, String> {
    let mut out = vec![b'{'];
    for element in description {
        let (name, value) = element.map_err(|error| error.to_string())?;
        let is_empty_list = matches!(value, RawBsonRef::Array(list) if list.into_iter().next().is_none());
        if name.as_str() == "truncatedArrays" && is_empty_list {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        plain(&mut out, name.as_str())?;
        out.push(b':');
        out.extend(form.value(value)?);
    }
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, Timestamp, doc};

    use super::*;

    fn record(event: &Document, form: ExtendedJson) -> Result<SourceRecord, String> {
        to_record(&RawDocumentBuf::try_from(event).unwrap(), form)
    }

    #[test]
    fn an_insert_is_the_developer_guides_example() {
        let id = ObjectId::parse_str("63eeb6e7d418cd98afb1c1d7").unwrap();
        // The order of a server of MongoDB's kind, with what only MongoDB's events have.
        let event = doc! {
            "_id": {"_data": "0163eeb6e7000000090100000009000041e1"},
            "operationType": "insert",
            "clusterTime": Timestamp { time: 1_676_588_775, increment: 9 },
            "wallTime": DateTime::from_millis(1_676_588_775_123),
            "fullDocument": {"_id": id, "anyField": "sampleValue"},
            "ns": {"db": "test_database", "coll": "test_collection"},
            "documentKey": {"_id": id},
        };
        let record = record(&event, ExtendedJson::Relaxed).unwrap();
        assert_eq!(
            record.raw.get(),
            concat!(
                r#"{"event":{"_id":{"_data":"0163eeb6e7000000090100000009000041e1"},"#,
                r#""clusterTime":{"$timestamp":{"t":1676588775,"i":9}},"#,
                r#""documentKey":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"}},"#,
                r#""fullDocument":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"},"anyField":"sampleValue"},"#,
                r#""ns":{"db":"test_database","coll":"test_collection"},"operationType":"insert"}}"#,
            )
        );
        assert_eq!(record.sequence.as_str(), "0163eeb6e7000000090100000009000041e1");
        assert_eq!(record.arrival.iso(), "2023-02-16T23:06:15Z");
        assert!(record.ordering_key.is_empty());
    }

    #[test]
    fn an_update_says_what_it_changed_and_null_stays_null() {
        let event = |truncated: Bson| {
            doc! {
                "_id": {"_data": "01"},
                "operationType": "update",
                "fullDocument": null,
                "updateDescription": {
                    "updatedFields": {"n": 2_i64, "a.b": 1}, "removedFields": ["z"], "truncatedArrays": truncated,
                },
            }
        };
        let relaxed = record(&event(Bson::Array(vec![])), ExtendedJson::Relaxed).unwrap();
        assert_eq!(
            relaxed.raw.get(),
            concat!(
                r#"{"event":{"_id":{"_data":"01"},"fullDocument":null,"operationType":"update","#,
                r#""updateDescription":{"updatedFields":{"n":2,"a.b":1},"removedFields":["z"]}}}"#,
            )
        );
        let truncated = Bson::Array(vec![doc! {"field": "l", "newSize": 1}.into()]);
        let canonical = record(&event(truncated), ExtendedJson::Canonical).unwrap();
        let expected = concat!(
            r#""updatedFields":{"n":{"$numberLong":"2"},"a.b":{"$numberInt":"1"}},"removedFields":["z"],"#,
            r#""truncatedArrays":[{"field":"l","newSize":{"$numberInt":"1"}}]"#,
        );
        assert!(canonical.raw.get().contains(expected), "{}", canonical.raw);
    }

    #[test]
    fn an_event_without_a_text_for_a_token_is_an_error() {
        for (event, part) in [
            (doc! {"operationType": "insert"}, "without a resume token"),
            (doc! {"_id": {"_data": ""}}, "is no text"),
            (doc! {"_id": {"_data": 1}}, "is no text"),
            (doc! {"_id": {}}, "is no text"),
        ] {
            let error = record(&event, ExtendedJson::Relaxed).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
