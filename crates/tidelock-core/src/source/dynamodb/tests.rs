//! Every kind of record, good and bad: each is handled alone.

use super::*;
use crate::batch::Content;
use crate::cause::Cause;
use proptest::prelude::*;
use serde_json::{Value, json};

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/mytable/stream/2020-04-29T13:00:00.000";

fn record(dynamodb: Value) -> Value {
    json!({"eventID": "1", "eventName": "INSERT", "dynamodb": dynamodb, "eventSourceARN": ARN})
}

fn image(image: Value) -> Value {
    record(
        json!({"ApproximateCreationDateTime": 1588166528, "Keys": {"id": {"N": "1"}}, "NewImage": image, "SequenceNumber": "42"}),
    )
}

fn decode_records(records: &[Value], format: Format) -> Batch {
    let payload = json!({"Records": records}).to_string();
    decode(payload.as_bytes(), format).expect("an event")
}

/// The document of the only record as JSON, or its failure.
fn document(value: Value) -> Result<Value, (Cause, String)> {
    let batch = decode_records(&[image(value)], Format::Json);
    match &batch.slots[0].content {
        Content::Upsert(range) => {
            let mut text = batch.documents[range.clone()].to_vec();
            text.push(b'}');
            Ok(serde_json::from_slice(&text).expect("valid JSON"))
        }
        Content::Failed(failure) => Err((failure.cause, failure.detail.clone())),
        Content::Delete | Content::Deferred => panic!("not a delete"),
    }
}

fn cause(record: Value) -> Cause {
    let good = image(json!({"id": {"N": "1"}}));
    let batch = decode_records(&[good.clone(), record, good], Format::Json);
    assert!(
        matches!(batch.slots[0].content, Content::Upsert(_)) && matches!(batch.slots[2].content, Content::Upsert(_)),
        "neighbours"
    );
    match &batch.slots[1].content {
        Content::Failed(failure) => failure.cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_type() {
    let all = json!({
        "s": {"S": "text \" \\ \u{1F600} \n"}, "empty": {"S": ""}, "n": {"N": "-12.50"}, "b": {"B": "AAEC"}, "t": {"BOOL": true}, "f": {"BOOL": false},
        "nil": {"NULL": true}, "m": {"M": {"a": {"L": []}, "b": {"M": {}}}}, "l": {"L": [{"S": "x"}, {"N": "1"}, {"L": [{"NULL": true}]}]},
        "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2.5"]}, "bs": {"BS": ["AA==", ""]},
    });
    assert_eq!(
        document(all).expect("valid"),
        json!({
            "s": "text \" \\ \u{1F600} \n", "empty": "", "n": -12.5, "b": "AAEC", "t": true, "f": false, "nil": null,
            "m": {"a": [], "b": {}}, "l": ["x", 1, [null]], "ss": ["a", "b"], "ns": [1, 2.5], "bs": ["AA==", ""],
        })
    );
    assert_eq!(document(json!({})).expect("valid"), json!({}));
}

#[test]
fn numbers_keep_every_digit() {
    let digits = "12345678901234567890123456789012345678";
    let batch = decode_records(&[image(json!({"n": {"N": digits}, "e": {"N": "1E+125"}}))], Format::Json);
    assert!(String::from_utf8_lossy(&batch.documents).contains(digits));
    assert!(String::from_utf8_lossy(&batch.documents).contains("1E+125"));
}

#[test]
fn values_that_cannot_be_used_name_the_field() {
    for (value, cause, field) in [
        (json!({"a": {"X": "1"}}), Cause::UnknownType, "a"),
        (json!({"a": {}}), Cause::UnknownType, "a"),
        (json!({"a": {"S": "x", "N": "1"}}), Cause::UnknownType, "a"),
        (json!({"a": {"M": {"b": {"L": [{"S": "x"}, {"N": "x1"}]}}}}), Cause::InvalidValue, "a.b.1"),
        (json!({"a": {"B": "AAE"}}), Cause::InvalidValue, "a"),
        (json!({"a": {"BS": ["AA==", "%"]}}), Cause::InvalidValue, "a.1"),
        (json!({"a": {"S": 1}}), Cause::InvalidValue, "a"),
        (json!({"a": {"N": 1}}), Cause::InvalidValue, "a"),
        (json!({"a": {"BOOL": "yes"}}), Cause::InvalidValue, "a"),
        (json!({"a": {"L": {}}}), Cause::InvalidValue, "a"),
        (json!({"a": "text"}), Cause::MalformedRecord, "a"),
    ] {
        let (found, detail) = document(value.clone()).expect_err("invalid");
        assert_eq!(found, cause, "{value}");
        assert!(detail.contains(&format!("`{field}`")), "{detail}");
    }
    assert_eq!(document(json!({"_tidelock": {"S": "x"}})).expect_err("reserved").0, Cause::ReservedField);
}

#[test]
fn an_escaped_name_is_the_same_name() {
    let event = |format| {
        let text = image(json!({"#": {"S": "x"}})).to_string().replace('#', r"\u005ftidelock");
        let payload = format!(r#"{{"Records":[{text}]}}"#);
        decode(payload.as_bytes(), format).expect("an event")
    };
    for format in [Format::Json, Format::Bson] {
        let batch = event(format);
        assert!(matches!(&batch.slots[0].content, Content::Failed(failure) if failure.cause == Cause::ReservedField));
    }
}

#[test]
fn nesting_to_the_limit() {
    let nested = |levels: usize| (0..levels).fold(json!({"S": "x"}), |inner, _| json!({"L": [inner]}));
    assert!(document(json!({"a": nested(32)})).is_ok());
    assert_eq!(document(json!({"a": nested(33)})).expect_err("too deep").0, Cause::NestedTooDeeply);
}

#[test]
fn records_that_cannot_be_used_fail_alone() {
    let keys = json!({"id": {"N": "1"}});
    let new = json!({"id": {"N": "1"}});
    let mut cases = vec![
        (json!("text"), Cause::MalformedRecord),
        (json!({}), Cause::MalformedRecord),
        (record(json!("text")), Cause::MalformedRecord),
        (record(json!({"Keys": keys, "SequenceNumber": "1"})), Cause::MissingImage),
        (record(json!({"Keys": keys, "NewImage": "x", "SequenceNumber": "1"})), Cause::MalformedRecord),
        (record(json!({"Keys": keys, "NewImage": new})), Cause::InvalidPosition),
        (record(json!({"Keys": keys, "NewImage": new, "SequenceNumber": 7})), Cause::InvalidPosition),
        (record(json!({"Keys": keys, "NewImage": new, "SequenceNumber": "12ab"})), Cause::InvalidPosition),
        (record(json!({"Keys": keys, "NewImage": new, "SequenceNumber": "1".repeat(41)})), Cause::InvalidPosition),
        (record(json!({"NewImage": new, "SequenceNumber": "1"})), Cause::MissingKey),
        (record(json!({"Keys": {}, "NewImage": new, "SequenceNumber": "1"})), Cause::MissingKey),
        (record(json!({"Keys": {"id": {"BOOL": true}}, "NewImage": new, "SequenceNumber": "1"})), Cause::MissingKey),
        (record(json!({"Keys": {"id": {"N": "x"}}, "NewImage": new, "SequenceNumber": "1"})), Cause::MissingKey),
    ];
    for (member, value, expected) in [
        ("eventName", json!("UPSERT"), Cause::UnknownEvent),
        ("eventName", json!(1), Cause::UnknownEvent),
        ("eventSourceARN", json!("arn:aws:kinesis:us-east-1:1:stream/x"), Cause::InvalidSource),
        ("eventSourceARN", json!(null), Cause::InvalidSource),
    ] {
        let mut changed = image(new.clone());
        changed[member] = value;
        cases.push((changed, expected));
    }
    for (record, expected) in cases {
        assert_eq!(cause(record.clone()), expected, "{record}");
    }
}

#[test]
fn a_refused_record_keeps_its_key_and_position() {
    let batch = decode_records(&[image(json!({"id": {"N": "1"}, "a": {"X": ""}}))], Format::Json);
    let slot = &batch.slots[0];
    assert!(matches!(slot.content, Content::Failed(_)));
    assert_eq!(batch.key(slot).expect("a key").text_id(), "1");
    assert!(slot.sequence.is_some() && slot.position.is_some());
    assert!(batch.documents.is_empty(), "nothing is left of the refused document");
}

#[test]
fn members_may_come_in_any_order() {
    let text = format!(
        r#"{{"Records":[{{"eventSourceARN":"{ARN}","dynamodb":{{"SequenceNumber":"7","NewImage":{{"id":{{"N":"1"}},"a":{{"S":"x"}}}},"Keys":{{"id":{{"N":"1"}}}}}},"eventName":"MODIFY"}}]}}"#
    );
    let batch = decode(text.as_bytes(), Format::Json).expect("an event");
    assert!(matches!(batch.slots[0].content, Content::Upsert(_)));
    assert_eq!(batch.documents, br#"{"id":1,"a":"x""#);
}

#[test]
fn invalid_utf8_fails_its_record_alone() {
    let good = image(json!({"id": {"N": "1"}})).to_string();
    let mut payload = format!(r#"{{"Records":[{good},"#).into_bytes();
    let bad = image(json!({"a": {"S": "#"}})).to_string().into_bytes();
    payload.extend(bad.iter().map(|&byte| if byte == b'#' { 0xff } else { byte }));
    payload.extend_from_slice(format!(",{good}]}}").as_bytes());
    let batch = decode(&payload, Format::Json).expect("an event");
    assert!(matches!(&batch.slots[1].content, Content::Failed(failure) if failure.cause == Cause::MalformedRecord));
    assert!(matches!(batch.slots[2].content, Content::Upsert(_)));
}

#[test]
fn what_is_no_event_is_an_error_that_says_so() {
    for payload in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"Records":{}}"#,
        r#"{"hello":"world"}"#,
        r#"{"Records":[{]}"#,
        r#"{"Records":[]} x"#,
    ] {
        assert!(decode(payload.as_bytes(), Format::Json).is_err(), "{payload}");
    }
    assert!(decode(br#"{"hello":1}"#, Format::Json).expect_err("no event").message.contains("Records"));
    assert!(decode(br#"{"Records":[]}"#, Format::Json).expect("an empty event").slots.is_empty());
}

#[test]
fn milliseconds_of_the_time_of_change() {
    let at = |time: Value| {
        let change = json!({"ApproximateCreationDateTime": time, "Keys": {"id": {"N": "1"}}, "SequenceNumber": "1"});
        decode_records(&[record(change)], Format::Json).slots[0].at
    };
    assert_eq!(at(json!(1_588_166_528)), 1_588_166_528_000);
    assert_eq!(at(json!(1_588_166_528.123)), 1_588_166_528_123);
    assert_eq!(at(json!("x")), 0);
}

#[test]
fn id_of_a_mongodb_document() {
    let batch = |keys: Value, new: Value| {
        decode_records(&[record(json!({"Keys": keys, "NewImage": new, "SequenceNumber": "1"}))], Format::Bson)
    };
    let reserved = batch(json!({"id": {"N": "1"}}), json!({"id": {"N": "1"}, "_id": {"S": "x"}}));
    assert!(matches!(&reserved.slots[0].content, Content::Failed(failure) if failure.cause == Cause::ReservedField));
    let same = batch(json!({"_id": {"S": "x"}}), json!({"_id": {"S": "x"}, "a": {"N": "1"}}));
    assert_eq!(same.documents, b"\x10a\0\x01\0\0\0");
    let wide = "12345678901234567890123456789012345678";
    let inexact = batch(json!({"id": {"N": wide}}), json!({"id": {"N": wide}}));
    assert!(
        matches!(&inexact.slots[0].content, Content::Failed(failure) if failure.cause == Cause::UnrepresentableValue)
    );
}

fn attribute() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| json!({"S": text})),
        any::<i64>().prop_map(|number| json!({"N": number.to_string()})),
        "-?[1-9][0-9]{0,20}\\.[0-9]{0,10}[1-9]".prop_map(|number| json!({"N": number})),
        any::<bool>().prop_map(|value| json!({"BOOL": value})),
        Just(json!({"NULL": true})),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| json!({"B": crate::encode::base64_text(&bytes)})),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(|items| json!({"L": items})),
            proptest::collection::btree_map("[a-z\"\\\\é]{0,4}", inner, 0..5).prop_map(|map| json!({"M": map})),
        ]
    })
}

/// The slow, obviously right way: through a tree.
fn plain(value: &Value) -> Value {
    let (tag, inner) = value.as_object().expect("object").iter().next().expect("one type");
    match tag.as_str() {
        "N" => serde_json::from_str(inner.as_str().expect("text")).expect("number"),
        "NULL" => Value::Null,
        "L" => inner.as_array().expect("list").iter().map(plain).collect(),
        "M" => Value::Object(
            inner.as_object().expect("map").iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        ),
        _ => inner.clone(),
    }
}

/// Whether a BSON value is exactly what an attribute value stands for.
fn same_as_bson(attribute: &Value, bson: &bson::Bson) -> bool {
    use bson::Bson;
    let (tag, inner) = attribute.as_object().expect("object").iter().next().expect("one type");
    let canonical = |text: &str| crate::json::canonical_number(text.as_bytes()).expect("a number").into_owned();
    match (tag.as_str(), bson) {
        ("NULL", Bson::Null) => true,
        ("BOOL", Bson::Boolean(b)) => inner == b,
        ("N", Bson::Int32(_) | Bson::Int64(_) | Bson::Decimal128(_)) => {
            canonical(inner.as_str().expect("text")) == canonical(&bson.to_string())
        }
        ("S", Bson::String(b)) => inner == b,
        ("B", Bson::Binary(b)) => inner == &crate::encode::base64_text(&b.bytes),
        ("L", Bson::Array(b)) => {
            let a = inner.as_array().expect("list");
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_as_bson(a, b))
        }
        ("M", Bson::Document(b)) => {
            let a = inner.as_object().expect("map");
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same_as_bson(value, other)))
        }
        _ => false,
    }
}

fn bson_document(elements: &[u8]) -> bson::Document {
    let mut bytes = i32::try_from(elements.len() + 5).expect("small").to_le_bytes().to_vec();
    bytes.extend_from_slice(elements);
    bytes.push(0);
    bson::Document::try_from(bson::RawDocumentBuf::from_bytes(bytes).expect("a BSON document").as_ref())
        .expect("valid BSON")
}

#[test]
fn decimal_digits() {
    for (text, expected) in [
        ("1.5", "1.5"),
        ("-0.000001", "-0.000001"),
        ("1234567890123456789012345678901234", "1234567890123456789012345678901234"),
        ("1E+125", "1E+125"),
        ("1E-130", "1E-130"),
        ("12345678901234567890.5", "12345678901234567890.5"),
    ] {
        let batch = decode_records(&[image(json!({"n": {"N": text}}))], Format::Bson);
        let document = bson_document(&batch.documents);
        assert_eq!(document.get("n").expect("n").to_string(), expected);
    }
    let refused = decode_records(&[image(json!({"n": {"N": "12345678901234567890123456789012345678"}}))], Format::Bson);
    assert!(
        matches!(&refused.slots[0].content, Content::Failed(failure) if failure.cause == Cause::UnrepresentableValue)
    );
    let integers = decode_records(
        &[image(json!({"a": {"N": "2147483648"}, "b": {"N": "5.0"}, "c": {"N": "1E+3"}}))],
        Format::Bson,
    );
    let document = bson_document(&integers.documents);
    assert_eq!(document, bson::doc! {"a": 2_147_483_648_i64, "b": 5, "c": 1000});
}

proptest! {
    #[test]
    fn json_equals_the_slow_way(map in proptest::collection::btree_map("[a-z]{1,4}", attribute(), 0..6)) {
        let value = json!(map);
        let expected = Value::Object(map.iter().map(|(name, value)| (name.clone(), plain(value))).collect());
        prop_assert_eq!(document(value).expect("valid"), expected);
    }

    #[test]
    fn bson_equals_the_slow_way(map in proptest::collection::btree_map("[a-z]{1,4}", attribute(), 0..6)) {
        let batch = decode_records(&[image(json!(map))], Format::Bson);
        match &batch.slots[0].content {
            Content::Upsert(range) => {
                let document = bson_document(&batch.documents[range.clone()]);
                let item = json!({"M": map});
                prop_assert!(same_as_bson(&item, &bson::Bson::Document(document)));
            }
            Content::Failed(failure) => prop_assert!(failure.detail.contains("NUL"), "{}", failure),
            Content::Delete | Content::Deferred => prop_assert!(false),
        }
    }

    #[test]
    fn no_input_panics(text in r#"[\[\]\{\}",:0-9RecordsdynamoKyNwIgSqu ]{0,120}"#) {
        let _ = decode(text.as_bytes(), Format::Json);
        let _ = decode(text.as_bytes(), Format::Bson);
    }
}

#[test]
fn documents_that_are_made_later_are_told_from_those_that_are_missing() {
    let with = |event: &str, image: Option<Value>| {
        let mut record = record(json!({"Keys": {"id": {"N": "1"}}, "SequenceNumber": "42"}));
        record["eventName"] = json!(event);
        if let Some(image) = image {
            record["dynamodb"]["NewImage"] = image;
        }
        let payload = json!({"Records": [record]}).to_string();
        let batch = decode_deferred(payload.as_bytes(), Format::Bson).expect("an event");
        assert!(batch.documents.is_empty());
        batch.slots[0].content.clone()
    };
    assert_eq!(with("INSERT", Some(json!({"id": {"N": "1"}, "odd": {"X": 1}}))), Content::Deferred);
    assert_eq!(with("REMOVE", None), Content::Delete);
    assert!(matches!(with("MODIFY", None), Content::Failed(failure) if failure.cause == Cause::MissingImage));
}
