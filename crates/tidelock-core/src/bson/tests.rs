//! What is read is what the bson crate has written.

use super::*;
use bson::oid::ObjectId;
use bson::{Bson, DateTime, Decimal128, JavaScriptCodeWithScope, Regex, Timestamp, doc};
use proptest::prelude::*;

fn regex(pattern: &str, options: &str) -> Bson {
    let text = |text: &str| text.to_owned().try_into().expect("no NUL");
    Bson::RegularExpression(Regex { pattern: text(pattern), options: text(options) })
}

/// A deprecated value, which the bson crate only reads.
fn db_pointer() -> Bson {
    let mut bytes = vec![0, 0, 0, 0, kind::DB_POINTER, b'p', 0, 4, 0, 0, 0, b'd', b'.', b'c', 0];
    bytes.extend_from_slice(&[7; 12]);
    bytes.push(0);
    bytes[0] = bytes.len() as u8;
    bson::Document::from_reader(bytes.as_slice()).expect("a document").remove("p").expect("there")
}

pub(crate) fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary { subtype: subtype.into(), bytes: bytes.to_vec() })
}

pub(crate) fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().expect("a decimal"))
}

pub(crate) fn bytes(document: &bson::Document) -> Vec<u8> {
    document.to_vec().expect("serializable")
}

/// One value of each type, with its name.
pub(crate) fn samples() -> bson::Document {
    doc! {
        "double": 1.5, "string": "te\"x\0t\u{1F600}", "document": {"a": {"b": 1}}, "array": [1, [], {"c": "d"}],
        "binary": binary(0, b"bytes"), "uuid": binary(4, &[0xab; 16]), "old uuid": binary(3, &[0xab; 16]),
        "odd uuid": binary(4, b"short"), "old binary": binary(2, b"bytes"), "own binary": binary(0x80, b""),
        "undefined": Bson::Undefined, "id": ObjectId::from_bytes([0x5f; 12]), "true": true, "false": false,
        "date": DateTime::from_millis(1_588_166_528_123), "null": Bson::Null, "regex": regex("^a/b", "im"),
        "pointer": db_pointer(), "code": Bson::JavaScriptCode("f()".into()), "symbol": Bson::Symbol("s".into()),
        "scoped": Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "f(x)".into(), scope: doc! {"x": 1} }),
        "int32": -5, "timestamp": Bson::Timestamp(Timestamp { time: 1_588_166_528, increment: 7 }),
        "int64": i64::MIN, "decimal": decimal("1.50"), "min": Bson::MinKey, "max": Bson::MaxKey,
    }
}

/// Values of every type that an `_id` can hold.
pub(crate) fn any_value() -> impl Strategy<Value = Bson> {
    values(any::<f64>())
}

fn values(doubles: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = Bson> {
    let number = prop_oneof![
        (-3..3_i32).prop_map(Bson::Int32),
        (-3..3_i64).prop_map(Bson::Int64),
        any::<i64>().prop_map(Bson::Int64),
        (-3..3_i8).prop_map(|n| Bson::Double(f64::from(n) / 2.0)),
        doubles.prop_map(Bson::Double),
        "-?[0-2](\\.[05]0?)?(E[+-]?[0-2])?".prop_map(|text| decimal(&text)),
        any::<[u8; 16]>().prop_map(|bytes| Bson::Decimal128(Decimal128::from_bytes(bytes))),
        Just(decimal("NaN")),
        Just(decimal("-Infinity")),
    ];
    let text = prop_oneof![
        "[0-9a-f]{24}",
        "-?[0-9]{1,2}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "true|false|null|\"a\"|\\{\\}|\\[\\]|\\{\"\\$oid\":\"[01]{24}\"\\}",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        number,
        text.prop_map(Bson::from),
        any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(ObjectId::from_bytes(bytes))),
        (0..6_u8, proptest::collection::vec(0..2_u8, 15..17)).prop_map(|(subtype, bytes)| binary(subtype, &bytes)),
        any::<bool>().prop_map(Bson::Boolean),
        prop_oneof![any::<i64>(), 0..2_i64].prop_map(|ms| Bson::DateTime(DateTime::from_millis(ms))),
        (0..2_u32, 0..2_u32).prop_map(|(time, increment)| Bson::Timestamp(Timestamp { time, increment })),
        "[ab]{0,2}".prop_map(Bson::Symbol),
        "[ab]{0,2}".prop_map(Bson::JavaScriptCode),
        Just(Bson::Null),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let members = proptest::collection::vec(("[ab.\"]{0,2}", inner.clone()), 0..3);
        let members = members.prop_map(|members| members.into_iter().collect::<bson::Document>());
        prop_oneof![
            members.clone().prop_map(Bson::Document),
            proptest::collection::vec(inner, 0..3).prop_map(Bson::Array),
            members.prop_map(|scope| {
                Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "f".into(), scope })
            }),
        ]
    })
}

/// Everything inside, to the last value.
fn walk(elements: Elements<'_>, level: u32) -> Result<usize, Malformed> {
    let mut count = 0;
    for element in elements {
        let element = element?;
        assert_eq!(value(element.kind, element.raw), Ok(element.value));
        assert_eq!(element.whole.len(), 2 + element.name.len() + element.raw.len());
        count += 1;
        if let Value::Document(inner) | Value::Array(inner) | Value::CodeWithScope { scope: inner, .. } = element.value
            && level > 0
        {
            count += walk(inner, level - 1)?;
        }
    }
    Ok(count)
}

fn read(document: &[u8]) -> Result<usize, Malformed> {
    walk(Elements::new(document)?, 10)
}

#[test]
fn every_type_is_read() {
    let bytes = bytes(&samples());
    let of = |name: &str| {
        let mut elements = Elements::new(&bytes).expect("a document").flatten();
        elements.find(|element| element.name == name).expect(name).value
    };
    let uuid = [0xab; 16];
    for (name, expected) in [
        ("double", Value::Double(1.5)),
        ("string", Value::String("te\"x\0t\u{1F600}")),
        ("binary", Value::Binary { subtype: 0, bytes: b"bytes" }),
        ("uuid", Value::Binary { subtype: 4, bytes: &uuid }),
        ("old binary", Value::Binary { subtype: 2, bytes: b"bytes" }),
        ("undefined", Value::Undefined),
        ("id", Value::ObjectId([0x5f; 12])),
        ("true", Value::Boolean(true)),
        ("false", Value::Boolean(false)),
        ("date", Value::DateTime(1_588_166_528_123)),
        ("null", Value::Null),
        ("regex", Value::Regex { pattern: "^a/b", options: "im" }),
        ("pointer", Value::DbPointer { namespace: "d.c", id: [7; 12] }),
        ("code", Value::Code("f()")),
        ("symbol", Value::Symbol("s")),
        ("int32", Value::Int32(-5)),
        ("timestamp", Value::Timestamp { t: 1_588_166_528, i: 7 }),
        ("int64", Value::Int64(i64::MIN)),
        ("decimal", Value::Decimal128(0x303c_u128 << 112 | 150)),
        ("min", Value::MinKey),
        ("max", Value::MaxKey),
    ] {
        assert_eq!(of(name), expected, "{name}");
    }
    assert!(matches!(of("scoped"), Value::CodeWithScope { code: "f(x)", .. }));
    assert_eq!(read(&bytes), Ok(samples().len() + 7));
}

#[test]
fn damaged_bytes_are_noticed_or_harmless() {
    let whole = bytes(&samples());
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(read(&longer).is_err());
    for at in 0..whole.len() {
        for change in [0xff, 0x80, 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            let _ = read(&damaged);
        }
    }
    for (what, bytes) in [
        ("a document without an end", &[5, 0, 0, 0, 1][..]),
        ("a document without an end", &[4, 0, 0, 0]),
        ("a length below zero", &[0xff, 0xff, 0xff, 0xff, 0]),
        ("it ends too early", &[0xff, 0xff, 0xff, 0x7f, 0]),
        ("a name without an end", &[7, 0, 0, 0, kind::NULL, b'a', 0]),
        ("a type that BSON does not have", &[8, 0, 0, 0, 0x20, b'a', 0, 0]),
        ("a boolean that is neither true nor false", &[9, 0, 0, 0, kind::BOOLEAN, b'a', 0, 2, 0]),
        ("a text without an end", &[12, 0, 0, 0, kind::STRING, b'a', 0, 0, 0, 0, 0, 0]),
        ("a text that is not UTF-8", &[14, 0, 0, 0, kind::STRING, b'a', 0, 2, 0, 0, 0, 0xff, 0, 0]),
        ("a text that is not UTF-8", &[8, 0, 0, 0, kind::NULL, 0xff, 0, 0]),
    ] {
        assert_eq!(read(bytes), Err(Malformed(what)), "{bytes:?}");
    }
}

fn extended(value: &Bson) -> String {
    let bytes = bytes(&doc! {"v": value.clone()});
    let element = Elements::new(&bytes).expect("a document").next().expect("one").expect("readable");
    let mut out = Vec::new();
    write_extended(&mut out, element.value);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn extended_json_of_every_type() {
    for (name, value) in &samples() {
        let back: Bson = serde_json::from_str(&extended(value)).expect(name);
        // An integer's size is not part of relaxed extended JSON.
        let expected = value.as_i32().map_or_else(|| value.clone(), |number| i64::from(number).into());
        assert_eq!(back, expected, "{name}");
    }
    for (value, text) in [
        (Bson::Double(f64::NAN), r#"{"$numberDouble":"NaN"}"#),
        (Bson::Double(f64::NEG_INFINITY), r#"{"$numberDouble":"-Infinity"}"#),
        (DateTime::from_millis(0).into(), r#"{"$date":"1970-01-01T00:00:00.000Z"}"#),
        (DateTime::from_millis(LAST).into(), r#"{"$date":"9999-12-31T23:59:59.999Z"}"#),
        (DateTime::from_millis(LAST + 1).into(), r#"{"$date":{"$numberLong":"253402300800000"}}"#),
        (DateTime::from_millis(-1).into(), r#"{"$date":{"$numberLong":"-1"}}"#),
        (binary(4, &[0xab; 16]), r#"{"$uuid":"abababab-abab-abab-abab-abababababab"}"#),
    ] {
        assert_eq!(extended(&value), text);
    }
}

const LAST: i64 = 253_402_300_799_999;

proptest! {
    #[test]
    fn extended_json_is_read_back(value in values(any::<i16>().prop_map(|n| f64::from(n) / 64.0))) {
        // Doubles that serde_json reads exactly.
        let text = extended(&value);
        let back: Bson = serde_json::from_str(&text).expect("extended JSON");
        prop_assert_eq!(extended(&back), text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut framed = (bytes.len() as u32 + 5).to_le_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        framed.push(0);
        let _ = read(&framed);
    }
}
