//! Events of every kind, and what is refused.

use super::*;
use crate::batch::{Before, Content};
use crate::bson::tests::{any_value, bytes, samples};
use crate::bson::{Elements, Value, write_canonical, write_extended};
use crate::cause::Cause;
use crate::source::mongodb::{DocumentKey, document};
use bson::{Bson, doc};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const ARN: &str = "arn:aws:rds:us-east-1:123456789012:cluster:shop";

/// A change as Lambda delivers it.
fn change(operation: &str, id: &Json, document: Option<&str>) -> String {
    let document = document.map(|document| format!(",\"fullDocument\":{document}")).unwrap_or_default();
    format!(
        r#"{{"event":{{"_id":{{"_data":"0163eeb6e7"}},"clusterTime":{{"$timestamp":{{"t":1588166528,"i":7}}}},"documentKey":{{"_id":{id}}}{document},"ns":{{"db":"demo","coll":"orders"}},"operationType":"{operation}","updateDescription":{{"removedFields":[]}}}}}}"#
    )
}

fn event(changes: &[String]) -> String {
    format!(r#"{{"eventSourceArn":"{ARN}","events":[{}],"eventSource":"aws:docdb"}}"#, changes.join(","))
}

fn decoded(payload: &str) -> Batch {
    decode(payload.as_bytes(), Format::Json).expect("an event")
}

fn cause(batch: &Batch, slot: usize) -> Option<Cause> {
    match &batch.slots[slot].content {
        Content::Failed(failure) => Some(failure.cause),
        _ => None,
    }
}

/// A document in one of the forms of extended JSON.
fn written(of: &bson::Document, write: fn(&mut Vec<u8>, Value<'_>)) -> String {
    let (bytes, mut out) = (bytes(of), Vec::new());
    write(&mut out, Value::Document(Elements::new(&bytes).expect("BSON")));
    String::from_utf8(out).expect("UTF-8")
}

fn content(batch: &Batch, slot: usize) -> Result<Vec<u8>, crate::cause::Failure> {
    match &batch.slots[slot].content {
        Content::Upsert(range) => Ok(batch.documents[range.clone()].to_vec()),
        Content::Failed(failure) => Err((**failure).clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn operations_and_what_belongs_to_them() {
    let id = json!({"$oid": "507f1f77bcf86cd799439011"});
    let changes: Vec<String> = ["insert", "update", "replace", "delete"]
        .iter()
        .map(|operation| {
            change(
                operation,
                &id,
                (*operation != "delete").then_some(r#"{"_id":{"$oid":"507f1f77bcf86cd799439011"},"a":1}"#),
            )
        })
        .collect();
    let payload = event(&changes);
    let batch = decoded(&payload);
    let origin = &batch.origins[0];
    assert_eq!((origin.name.as_str(), origin.arn.as_str()), ("demo.orders", ARN));
    assert_eq!(origin.space, "mongodb:shop.us-east-1:demo.orders");
    for (index, slot) in batch.slots.iter().enumerate() {
        assert_eq!(&payload[slot.raw.clone()], changes[index]);
        assert_eq!(&payload[slot.position.clone().expect("a position")], "0163eeb6e7");
        let version = batch.version(slot).expect("a version");
        assert_eq!(
            (version.exact, version.token, version.at),
            ("06821123298361868295", "0163eeb6e7", 1_588_166_528_000)
        );
        assert_eq!(batch.key(slot).expect("a key").text_id(), "507f1f77bcf86cd799439011");
        assert_eq!((slot.sequence, &slot.image), (None, &None));
    }
    for index in 0..3 {
        assert_eq!(content(&batch, index).as_deref(), Ok(&br#"{"a":1"#[..]));
    }
    assert_eq!(batch.slots[3].content, Content::Delete);
    assert_eq!(
        batch.slots.iter().map(|slot| slot.before == Before::Absent).collect::<Vec<_>>(),
        [true, false, false, false]
    );
}

#[test]
fn fields_come_in_any_order_and_may_be_unknown() {
    let payload = format!(
        r#" {{ "eventSource" : "aws:docdb", "events" : [ {{"x":1,"event":{{"wallTime":{{"$date":"2020-04-29T13:22:08.5Z"}},"fullDocument":{{"\u0061":"\u0062\n","_id":1}},"operationType":"insert","ns":{{"coll":"c.d","db":"a"}},"new":[{{}}],"documentKey":{{"shard":{{"$oid":1}},"_id":1}},"clusterTime":{{"$timestamp":{{"i":1,"t":5}}}},"_id":{{"_data":"aa"}}}}}} ], "eventSourceArn":"{ARN}"}} "#
    );
    let batch = decoded(&payload);
    assert_eq!(content(&batch, 0).as_deref(), Ok(&br#"{"a":"b\u000a""#[..]));
    assert_eq!((batch.origins[0].name.as_str(), batch.slots[0].at), ("a.c.d", 1_588_166_528_500));
    assert_eq!(batch.origins[0].space, "mongodb:shop.us-east-1:a.c.d");
}

#[test]
fn a_bad_change_fails_alone() {
    let good = change("insert", &json!(1), Some(r#"{"_id":1,"a":1}"#));
    let with = |from: &str, to: &str| good.replace(from, to);
    for (bad, cause_of) in [
        ("7".to_owned(), Cause::MalformedRecord),
        ("{}".to_owned(), Cause::MalformedRecord),
        (r#"{"event":null}"#.to_owned(), Cause::MalformedRecord),
        (with("insert", "shardCollection"), Cause::UnknownEvent),
        (with(r#","operationType":"insert""#, ""), Cause::UnknownEvent),
        (with(r#""ns":{"db":"demo","coll":"orders"},"#, ""), Cause::InvalidSource),
        (with(r#""t":1588166528"#, r#""t":0"#), Cause::InvalidPosition),
        (with(r#""t":1588166528"#, r#""t":"x""#), Cause::InvalidPosition),
        (with(r#"{"$timestamp":{"t":1588166528,"i":7}}"#, "5"), Cause::InvalidPosition),
        (with(r#""clusterTime":{"$timestamp":{"t":1588166528,"i":7}},"#, ""), Cause::InvalidPosition),
        (with("0163eeb6e7", ""), Cause::InvalidPosition),
        (with(r#""_id":{"_data":"0163eeb6e7"},"#, ""), Cause::InvalidPosition),
        (with(r#""documentKey":{"_id":1},"#, ""), Cause::MissingKey),
        (with(r#""documentKey":{"_id":1}"#, r#""documentKey":{}"#), Cause::MissingKey),
        (with(r#""documentKey":{"_id":1}"#, r#""documentKey":{"_id":[1]}"#), Cause::MissingKey),
        (with(r#""documentKey":{"_id":1}"#, r#""documentKey":{"_id":{"$oid":"x"}}"#), Cause::InvalidValue),
        (with(r#""a":1"#, r#""a":{"$oid":"x"}"#), Cause::InvalidValue),
        (with(r#""a":1"#, r#""a":{"$oid":"507f1f77bcf86cd799439011","b":1}"#), Cause::InvalidValue),
        (with(r#""a":1"#, r#""a":"\x""#), Cause::InvalidValue),
        (with(r#""a":1"#, r#""_tidelock":1"#), Cause::ReservedField),
        (with(r#""a":1"#, &format!(r#""a":{}1{}"#, "[".repeat(400), "]".repeat(400))), Cause::NestedTooDeeply),
        (with(r#""a":1"#, r#""a":{"$numberDouble":"NaN"}"#), Cause::UnrepresentableValue),
        (with(r#","fullDocument":{"_id":1,"a":1}"#, ""), Cause::MissingImage),
        (with(r#"{"_id":1,"a":1}"#, "null"), Cause::MissingImage),
    ] {
        let batch = decoded(&event(&[good.clone(), bad.clone(), good.clone()]));
        assert_eq!(batch.slots.len(), 3, "{bad}");
        assert_eq!((cause(&batch, 0), cause(&batch, 1), cause(&batch, 2)), (None, Some(cause_of), None), "{bad}");
        let unnamed = matches!(cause_of, Cause::MalformedRecord | Cause::InvalidSource);
        assert_eq!(batch.slots[1].origin.is_none(), unnamed, "no route may leave out what nobody can name: {bad}");
        let documents: usize = [0, 2].iter().map(|slot| content(&batch, *slot).expect("good").len()).sum();
        assert_eq!(batch.documents.len(), documents, "nothing is left of {bad}");
    }
    let mut payload = event(&[good.clone(), good.replace("\"a\":1", "\"a\":\"#\""), good]).into_bytes();
    let at = payload.iter().position(|byte| *byte == b'#').expect("there");
    payload[at] = 0xff;
    let batch = decode(&payload, Format::Json).expect("an event");
    assert_eq!((cause(&batch, 0), cause(&batch, 1), cause(&batch, 2)), (None, Some(Cause::MalformedRecord), None));
}

#[test]
fn collections_and_databases_that_go() {
    let of = |operation: &str, namespace: &str| {
        format!(
            r#"{{"event":{{"_id":{{"_data":"a"}},"clusterTime":{{"$timestamp":{{"t":5,"i":1}}}}{namespace},"operationType":"{operation}"}}}}"#
        )
    };
    let payload = event(&[
        of("drop", r#","ns":{"db":"demo","coll":"orders"}"#),
        of("rename", r#","ns":{"db":"demo","coll":"orders"},"to":{"db":"demo","coll":"sales"}"#),
        of("dropDatabase", r#","ns":{"db":"demo"}"#),
        of("invalidate", ""),
    ]);
    let batch = decoded(&payload);
    let found: Vec<_> =
        (0..4).map(|slot| (cause(&batch, slot), batch.origin(&batch.slots[slot]).map(|o| o.name.as_str()))).collect();
    assert_eq!(
        found,
        [
            (Some(Cause::CollectionDropped), Some("demo.orders")),
            (Some(Cause::CollectionRenamed), Some("demo.orders")),
            (Some(Cause::DatabaseDropped), Some("demo")),
            (Some(Cause::StreamInvalidated), Some("")),
        ]
    );
    assert!(batch.origins.iter().all(|origin| origin.arn == ARN));
}

#[test]
fn only_what_is_no_event_at_all_is_an_error() {
    for (payload, says) in [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("7", "no `events` array"),
        ("[]", "no `events` array"),
        ("[7]", "no `events` array"),
        ("{}", "no `events` array"),
        (r#"{"Records":[]}"#, "no `events` array"),
        (r#"{"events":{}}"#, "no `events` array"),
        (r#"{"events":[],"eventSource":"aws:kafka"}"#, "`eventSource` is `aws:kafka`"),
        (r#"{"events":[{]}"#, "cannot be read"),
        (r#"{"events":[]} x"#, "cannot be read"),
    ] {
        let error = decode(payload.as_bytes(), Format::Json).expect_err(payload);
        assert!(error.message.contains(says), "{payload}: {error}");
    }
    assert!(decoded(r#"{"events":[]}"#).slots.is_empty());
    for arn in ["", r#""eventSourceArn":"arn:aws:dynamodb:us-east-1:1:table/t","#] {
        let payload = format!(r#"{{{arn}"events":[{}]}}"#, change("delete", &json!(1), None));
        assert_eq!(cause(&decoded(&payload), 0), Some(Cause::InvalidSource), "{arn}");
    }
}

#[test]
fn a_list_of_envelopes_keeps_clusters_apart() {
    let one = event(&[change("delete", &json!(1), None)]);
    let two = one.replace("cluster:shop", "cluster:other");
    let batch = decoded(&format!("[{one},{two}]"));
    let spaces: Vec<_> = batch.slots.iter().map(|slot| batch.origin(slot).expect("one").space.as_str()).collect();
    assert_eq!(spaces, ["mongodb:shop.us-east-1:demo.orders", "mongodb:other.us-east-1:demo.orders"]);
}

#[test]
fn images_where_they_are_wanted() {
    let whole = r#"{"_id":{"$numberLong":"1"},"a":{"$minKey":1}}"#;
    let before =
        change("update", &json!(1), Some(whole)).replace("\"ns\"", r#""fullDocumentBeforeChange":{"_id":1},"ns""#);
    let payload = event(&[before]);
    let expected = bytes(&doc! {"_id": 1_i64, "a": Bson::MinKey});
    for (batch, says) in [
        (decode_with_images(payload.as_bytes(), Format::Json).expect("an event"), Some(Cause::UnrepresentableValue)),
        (decode_with_images(payload.as_bytes(), Format::Bson).expect("an event"), None),
        (decode_deferred(payload.as_bytes(), Format::Json).expect("an event"), None),
    ] {
        assert_eq!(cause(&batch, 0), says);
        let slot = &batch.slots[0];
        assert_eq!(batch.image(b"", slot.image.as_ref().expect("an image")).bytes, expected);
        let Before::Image(before) = &slot.before else { panic!("{:?}", slot.before) };
        assert_eq!(batch.image(b"", before).bytes, bytes(&doc! {"_id": 1}));
    }
    let batch = decode_deferred(payload.as_bytes(), Format::Json).expect("an event");
    assert_eq!((&batch.slots[0].content, batch.documents.len()), (&Content::Deferred, 0));
}

#[test]
fn older_and_odd_forms() {
    for (text, expected) in [
        (r#"{"$date":1588166528000}"#, r#""2020-04-29T13:22:08.000Z""#),
        (r#"{"$date":"2020-04-29T15:22:08+02:00"}"#, r#""2020-04-29T13:22:08.000Z""#),
        (r#"{"$binary":"q83v","$type":"00"}"#, r#""q83v""#),
        (r#"{"$binary":{"subType":"0","base64":"q83v"}}"#, r#""q83v""#),
        (r#"{"$uuid":"01234567-89AB-cdef-0123-456789abcdef"}"#, r#""01234567-89ab-cdef-0123-456789abcdef""#),
        (
            r#"{"$ref":"c","$id":{"$oid":"507F1f77bcf86cd799439011"}}"#,
            r#"{"$ref":"c","$id":"507f1f77bcf86cd799439011"}"#,
        ),
        (r#"{"$foo":1}"#, r#"{"$foo":1}"#),
        (r#"{"$type":"string"}"#, r#"{"$type":"string"}"#),
        (
            r#"{"$regex":{"$regularExpression":{"options":"i","pattern":"a"}},"$options":""}"#,
            r#"{"$regex":"/a/i","$options":""}"#,
        ),
        (r#"{"\u0024oid":"507f1f77bcf86cd799439011"}"#, r#""507f1f77bcf86cd799439011""#),
        (r#"{"a":1,"$oid":"x"}"#, r#"{"a":1,"$oid":"x"}"#),
        ("9223372036854775808", "9.223372036854776e18"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("1E2", "100.0"),
        ("0.00001", "1e-5"),
        ("1.50", "1.5"),
        ("{}", "{}"),
    ] {
        let batch = decoded(&event(&[change("insert", &json!(1), Some(&format!(r#"{{"v":{text}}}"#)))]));
        let found = content(&batch, 0).map(|found| String::from_utf8(found).expect("UTF-8"));
        assert_eq!(found, Ok(format!(r#"{{"v":{expected}"#)), "{text}");
    }
    for text in [
        r#"{"$regex":"a","$options":"i"}"#,
        r#"{"$date":{"$numberInt":"1"}}"#,
        r#"{"$date":true}"#,
        r#"{"$date":"yesterday"}"#,
        r#"{"$numberInt":"2147483648"}"#,
        r#"{"$numberInt":5}"#,
        r#"{"$numberLong":"+1"}"#,
        r#"{"$numberDouble":"x"}"#,
        r#"{"$numberDecimal":"12345678901234567890123456789012345"}"#,
        r#"{"$binary":"q83v"}"#,
        r#"{"$binary":{"base64":"q83v"}}"#,
        r#"{"$binary":{"base64":"*","subType":"00"}}"#,
        r#"{"$binary":{"base64":"q83v","subType":"xyz"}}"#,
        r#"{"$uuid":"0"}"#,
        r#"{"$code":"f","a":1}"#,
        r#"{"$timestamp":{"t":-1,"i":1}}"#,
        r#"{"$timestamp":{"t":1,"i":1,"x":1}}"#,
        r#"{"$timestamp":7}"#,
        r#"{"$regularExpression":{"pattern":"a"}}"#,
        r#"{"$dbPointer":{"$ref":"a"}}"#,
        r#"{"$dbPointer":{}}"#,
        r#"{"$minKey":2}"#,
        r#"{"$undefined":false}"#,
        r#"{"$type":"00","$binary":"q83v"}"#,
        "1e999",
    ] {
        let batch = decoded(&event(&[change("insert", &json!(1), Some(&format!(r#"{{"v":{text}}}"#)))]));
        let failure = content(&batch, 0).expect_err(text);
        assert_eq!(failure.cause, Cause::InvalidValue, "{text}: {failure}");
        assert!(failure.detail.starts_with("field `v`: "), "{text}: {failure}");
    }
}

/// Integers as the relaxed form brings them: of the smaller type that holds them.
fn relaxed(value: Bson) -> Bson {
    match value {
        Bson::Int64(number) => i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32),
        Bson::Document(inner) => {
            Bson::Document(inner.into_iter().map(|(name, value)| (name, relaxed(value))).collect())
        }
        Bson::Array(inner) => Bson::Array(inner.into_iter().map(relaxed).collect()),
        Bson::JavaScriptCodeWithScope(mut code) => {
            code.scope = code.scope.into_iter().map(|(name, value)| (name, relaxed(value))).collect();
            Bson::JavaScriptCodeWithScope(code)
        }
        other => other,
    }
}

/// That an event's document is what the document would be that is read again.
fn agrees(whole: &bson::Document) {
    let id = json!(1);
    for (text, expected) in [
        (written(whole, write_canonical), whole.clone()),
        (
            written(whole, write_extended),
            whole.iter().map(|(name, value)| (name.clone(), relaxed(value.clone()))).collect(),
        ),
    ] {
        let payload = event(&[change("insert", &id, Some(&text))]);
        let found = content(&decoded(&payload), 0);
        match document(&bytes(whole), Format::Json) {
            Ok(own) => assert_eq!(
                found.map(|f| String::from_utf8(f).expect("UTF-8")),
                Ok(String::from_utf8(own).expect("UTF-8")),
                "{text}"
            ),
            Err(failure) => assert_eq!(found.map_err(|found| found.cause), Err(failure.cause), "{text}"),
        }
        let batch = decode(payload.as_bytes(), Format::Bson).expect("an event");
        let elements = content(&batch, 0).expect("BSON holds all");
        let length = u32::try_from(elements.len() + 5).expect("short").to_le_bytes();
        let found = bson::Document::from_reader([&length[..], &elements, b"\0"].concat().as_slice()).expect("BSON");
        assert_eq!(written(&found, write_canonical), written(&expected, write_canonical), "{text}");
    }
}

#[test]
fn every_type_is_what_it_is_when_read_again() {
    for (name, value) in samples() {
        agrees(&doc! {name: value});
    }
    agrees(
        &doc! {"a": [[], {}, [{"b": [1.0, 1_i64, 5e-5, 1e-4, 123_456_789_012_345.6, 1e15, 1e16, f64::MIN_POSITIVE]}]]},
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_document_is_what_it_is_when_read_again(a in any_value(), b in any_value()) {
        agrees(&doc! {"a": a, "ü\n": b});
    }

    #[test]
    fn a_key_is_what_it_is_when_read_again(id in any_value()) {
        // Within JavaScript's scope, Decimal128 counts by its bits, of which a text tells only the usual ones.
        prop_assume!(!format!("{id:?}").contains("JavaScriptCodeWithScope"));
        for (own, write) in [
            (doc! {"_id": id.clone()}, write_canonical as fn(&mut Vec<u8>, Value<'_>)),
            (doc! {"_id": relaxed(id)}, write_extended),
        ] {
            let key = DocumentKey::of(&bytes(&own));
            let text = written(&own, write);
            let payload = event(&[change("delete", &json!(1), None).replace(r#""documentKey":{"_id":1}"#, &format!(r#""documentKey":{text}"#))]);
            let batch = decoded(&payload);
            let found = batch.key(&batch.slots[0]);
            match &key {
                Ok(key) => prop_assert_eq!(found, Some(key.key()), "{}", text),
                Err(failure) => {
                    prop_assert_eq!(found, None, "{}", text);
                    prop_assert_eq!(cause(&batch, 0), Some(failure.cause), "{}", text);
                }
            }
        }
    }

    #[test]
    fn doubles_of_any_text_are_one(text in "-?(0|[1-9][0-9]{0,17})\\.[0-9]{1,18}") {
        let batch = decoded(&event(&[change("insert", &json!(1), Some(&format!(r#"{{"v":{text}}}"#)))]));
        let expected = format!("{:?}", text.parse::<f64>().expect("a double"));
        prop_assert_eq!(content(&batch, 0).ok(), Some(format!(r#"{{"v":{expected}"#).into_bytes()));
    }

    #[test]
    fn no_input_panics(text in r#"[\[\]\{\}",:0-9$a-e]{0,60}"#, inner in r#"(\{"\$(oid|date|binary|code|timestamp|dbPointer|regex|type)":|[\[\]\{\}",:0-9$a-e]){0,30}"#) {
        for decode in [decode, decode_with_images, decode_deferred] {
            let _ = decode(text.as_bytes(), Format::Bson);
            let _ = decode(event(&[change("insert", &json!(1), Some(&inner))]).as_bytes(), Format::Json);
            let _ = decode(event(std::slice::from_ref(&inner)).as_bytes(), Format::Json);
        }
    }
}
