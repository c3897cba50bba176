//! Documents and keys of every type, and what is refused.

use super::*;
use crate::bson::MAX_LEVELS;
use crate::bson::tests::{any_value, binary, bytes, decimal, samples};
use crate::cause::{Cause, Failure};
use crate::encode::{Format, write_bson_key};
use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, doc};
use proptest::prelude::*;

const OID: &str = "507f1f77bcf86cd799439011";
const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn json(document: &Document) -> Result<String, Failure> {
    let mut out = super::document(&bytes(document), Format::Json)?;
    out.push(b'}');
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn key_of(id: impl Into<Bson>) -> DocumentKey {
    DocumentKey::of(&bytes(&doc! {"other": 1, "_id": id.into()})).expect("a key")
}

fn oid(hex: &str) -> Bson {
    Bson::ObjectId(ObjectId::parse_str(hex).expect("hex"))
}

fn uuid(text: &str) -> Bson {
    binary(
        4,
        &(0..16)
            .map(|at| u8::from_str_radix(&text.replace('-', "")[2 * at..][..2], 16).expect("hex"))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn json_follows_the_table() {
    let mut all = samples();
    for refused in ["undefined", "pointer", "min", "max"] {
        let value = all.remove(refused).expect("there");
        let failure = json(&doc! {"a": [1, {"b": value}]}).expect_err(refused);
        assert_eq!(failure.cause, Cause::UnrepresentableValue);
        assert!(failure.detail.starts_with("field `a.1.b`: JSON has no form for "), "{failure}");
    }
    let expected = concat!(
        r#"{"double":1.5,"string":"te\"x\u0000t😀","document":{"a":{"b":1}},"array":[1,[],{"c":"d"}],"#,
        r#""binary":"Ynl0ZXM=","uuid":"abababab-abab-abab-abab-abababababab","old uuid":"q6urq6urq6urq6urq6urqw==","#,
        r#""odd uuid":"c2hvcnQ=","old binary":"Ynl0ZXM=","own binary":"","id":"5f5f5f5f5f5f5f5f5f5f5f5f","#,
        r#""true":true,"false":false,"date":"2020-04-29T13:22:08.123Z","null":null,"regex":"/^a/b/im","code":"f()","#,
        r#""symbol":"s","scoped":{"code":"f(x)","scope":{"x":1}},"int32":-5,"timestamp":{"t":1588166528,"i":7},"#,
        r#""int64":-9223372036854775808,"decimal":1.50}"#,
    );
    assert_eq!(json(&all).as_deref(), Ok(expected));
    assert_eq!(json(&doc! {"_id": 1}).as_deref(), Ok("{}"));
}

#[test]
fn numbers_and_dates_at_their_limits() {
    for (value, text) in [
        (Bson::Double(1.0), "1.0"),
        (Bson::Double(-0.0), "-0.0"),
        (Bson::Double(0.1), "0.1"),
        (Bson::Double(1e300), "1e300"),
        (Bson::Double(5e-324), "5e-324"),
        (Bson::Int64(i64::MAX), "9223372036854775807"),
        (decimal("9999999999999999999999999999999999E+6111"), "9.999999999999999999999999999999999E+6144"),
        (decimal("1E-6176"), "1E-6176"),
        (decimal("-0"), "-0"),
        (DateTime::from_millis(253_402_300_800_000).into(), "\"+010000-01-01T00:00:00.000Z\""),
        (DateTime::from_millis(-62_167_219_200_001).into(), "\"-000001-12-31T23:59:59.999Z\""),
    ] {
        assert_eq!(json(&doc! {"a": value}), Ok(format!("{{\"a\":{text}}}")));
    }
    for value in [Bson::Double(f64::NAN), Bson::Double(f64::INFINITY), decimal("NaN"), decimal("-Infinity")] {
        let failure = json(&doc! {"a": {"b": value.clone()}}).expect_err("not finite");
        assert_eq!(failure.cause, Cause::UnrepresentableValue);
        assert_eq!(failure.detail, "field `a.b`: JSON has no form for a number that is not finite");
        assert!(super::document(&bytes(&doc! {"a": value}), Format::Bson).is_ok());
    }
}

#[test]
fn bson_is_copied_byte_for_byte() {
    let mut with_id = doc! {"first": 1, "_id": oid(OID)};
    let mut without = doc! {"first": 1};
    for document in [&mut with_id, &mut without] {
        document.extend(samples());
    }
    let whole = bytes(&without);
    assert_eq!(super::document(&bytes(&with_id), Format::Bson).as_deref(), Ok(&whole[4..whole.len() - 1]));
}

#[test]
fn what_cannot_be_a_document_is_refused() {
    for format in [Format::Json, Format::Bson] {
        let refused = |document: &[u8]| super::document(document, format).expect_err("refused");
        let failure = refused(&bytes(&doc! {"_id": 1, "_tidelock": 1}));
        assert_eq!(failure.cause, Cause::ReservedField);
        assert!(super::document(&bytes(&doc! {"a": {"_tidelock": 1, "_id": 2}}), format).is_ok());

        let nested = |levels: u32| (0..levels).fold(Bson::from(1), |inner, _| doc! {"a": [inner]}.into());
        assert!(super::document(&bytes(&doc! {"d": nested(MAX_LEVELS / 2)}), format).is_ok());
        let failure = refused(&bytes(&doc! {"d": nested(MAX_LEVELS / 2 + 1)}));
        assert_eq!(failure.cause, Cause::NestedTooDeeply);

        let mut damaged = bytes(&doc! {"_id": 1, "a": {"b": [true]}});
        let at = damaged.iter().rposition(|&byte| byte == 1).expect("true");
        damaged[at] = 2;
        let failure = refused(&damaged);
        assert_eq!(failure.cause, Cause::MalformedRecord);
        assert_eq!(failure.detail, "field `a.b`: no BSON: a boolean that is neither true nor false");
        assert_eq!(refused(b"").cause, Cause::MalformedRecord);
    }
}

#[test]
fn ids_are_natural_where_they_can_be() {
    for (id, text) in [
        (oid(OID), OID),
        (Bson::from("order-17"), "order-17"),
        (Bson::from("1.5"), "1.5"),
        (Bson::from("007"), "007"),
        (Bson::from("Größe \\ | x"), "Größe \\ | x"),
        (Bson::from("507F1F77BCF86CD799439011"), "507F1F77BCF86CD799439011"),
        (Bson::from(7), "7"),
        (Bson::from(-7_000_000_000_i64), "-7000000000"),
        (uuid(UUID), UUID),
        (Bson::from(OID), "\"507f1f77bcf86cd799439011\""),
        (Bson::from(UUID), "\"01234567-89ab-cdef-0123-456789abcdef\""),
        (Bson::from("7"), "\"7\""),
        (Bson::from(""), "\"\""),
        (Bson::from("true"), "\"true\""),
        (Bson::from("{}"), "\"{}\""),
        (Bson::from("\"7\""), r#""\"7\"""#),
        (Bson::from(true), "true"),
        (Bson::Null, "null"),
        (Bson::from(0.5), r#"{"$numberDouble":"0.5"}"#),
        (decimal("0.10"), r#"{"$numberDecimal":"0.1"}"#),
        (DateTime::from_millis(1_588_166_528_000).into(), r#"{"$date":"2020-04-29T13:22:08.000Z"}"#),
        (binary(0, b"a"), r#"{"$binary":{"base64":"YQ==","subType":"00"}}"#),
        (Bson::from(doc! {"b": "x", "a": {"c": 1.0}}), r#"{"b":"x","a":{"c":1}}"#),
    ] {
        let key = key_of(id);
        assert_eq!(key.key().text_id(), text);
    }
    let mut out = Vec::new();
    key_of(oid(OID)).key().write_json(&mut out);
    assert_eq!(String::from_utf8(out).expect("UTF-8"), format!(r#"{{"_id":{{"$oid":"{OID}"}}}}"#));
}

#[test]
fn equal_numbers_are_one_key() {
    let groups: [&[Bson]; 8] = [
        &[1.into(), 1_i64.into(), 1.0.into(), decimal("1"), decimal("1.00"), decimal("10E-1")],
        &[0.into(), (-0.0).into(), decimal("-0"), decimal("0E+99")],
        &[0.5.into(), decimal("0.5"), decimal("0.500")],
        &[1e300.into()],
        &[decimal("0.1"), decimal("0.10")],
        &[f64::NAN.into(), (-f64::NAN).into(), decimal("NaN")],
        &[f64::INFINITY.into(), decimal("Infinity")],
        &[9_223_372_036_854_775_808.0.into(), decimal("9223372036854775808")],
    ];
    for (index, group) in groups.iter().enumerate() {
        for value in *group {
            assert_eq!(key_of(value.clone()), key_of(group[0].clone()), "{value:?}");
            let nested = |value: &Bson| key_of(doc! {"a": [value.clone()]});
            assert_eq!(nested(value), nested(&group[0]), "{value:?}");
            for other in &groups[..index] {
                assert_ne!(key_of(value.clone()), key_of(other[0].clone()), "{value:?}");
            }
        }
    }
    assert_ne!(key_of(0.1), key_of(decimal("0.1")), "the double next to 0.1 is not 0.1");
    assert_ne!(key_of(9_007_199_254_740_993_i64), key_of(9_007_199_254_740_992.0));
    assert_ne!(key_of(doc! {"a": 1, "b": 2}), key_of(doc! {"b": 2, "a": 1}));
}

#[test]
fn targets_are_given_the_value() {
    for id in [oid(OID), "text".into(), 7.into(), 0.5.into(), doc! {"b": oid(OID), "a": [1]}.into(), uuid(UUID)] {
        let mut element = Vec::new();
        write_bson_key(&mut element, "_id", key_of(id.clone()).key());
        let whole = bytes(&doc! {"_id": id});
        assert_eq!(element, whole[4..whole.len() - 1]);
    }
}

#[test]
fn what_cannot_be_an_id_is_refused() {
    let nested = (0..=MAX_LEVELS).fold(Bson::from(1), |inner, _| doc! {"a": inner}.into());
    for (id, cause) in [
        (Bson::from(vec![1]), Cause::MissingKey),
        (Bson::Undefined, Cause::MissingKey),
        (samples().remove("regex").expect("there"), Cause::MissingKey),
        (doc! {"$gt": 1}.into(), Cause::MissingKey),
        (doc! {"a": [{"$oid": OID}]}.into(), Cause::MissingKey),
        (
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: String::new(),
                scope: doc! {"a": {"$oid": OID}},
            }),
            Cause::MissingKey,
        ),
        (nested, Cause::NestedTooDeeply),
    ] {
        let failure = DocumentKey::of(&bytes(&doc! {"_id": id.clone()})).expect_err("no id");
        assert_eq!(failure.cause, cause, "{id}: {failure}");
    }
    assert_eq!(DocumentKey::of(&bytes(&doc! {"id": 1})).expect_err("none").cause, Cause::MissingKey);
    assert_eq!(DocumentKey::of(b"x").expect_err("no BSON").cause, Cause::MalformedRecord);
}

/// As the server compares: numbers by value, all else by type and bytes.
fn same(a: &Bson, b: &Bson) -> bool {
    use crate::bson::Decimal;
    use crate::json::Number;
    let number = |value: &Bson| {
        let text = match value {
            Bson::Int32(number) => number.to_string(),
            Bson::Int64(number) => number.to_string(),
            Bson::Double(number) if number.is_finite() => format!("{number:.1074}"),
            Bson::Double(number) if number.is_nan() => "NaN".to_owned(),
            Bson::Double(number) => (if *number > 0.0 { "Infinity" } else { "-Infinity" }).to_owned(),
            Bson::Decimal128(number) => Decimal::from_bits(u128::from_le_bytes(number.bytes())).to_string(),
            _ => return None,
        };
        Some(Number::parse(text.as_bytes()).ok_or(text))
    };
    match (a, b) {
        (Bson::Document(a), Bson::Document(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((name, a), (other, b))| name == other && same(a, b))
        }
        (Bson::Array(a), Bson::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => bytes(&doc! {"v": a.clone()}) == bytes(&doc! {"v": b.clone()}),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn keys_and_ids_meet_only_where_the_server_sees_one(a in any_value(), b in any_value()) {
        let of = |id: &Bson| DocumentKey::of(&bytes(&doc! {"_id": id.clone()})).ok();
        let (Some(one), Some(two)) = (of(&a), of(&b)) else { return Ok(()) };
        prop_assert_eq!(one == two, same(&a, &b), "{:?} {:?}", a, b);
        prop_assert_eq!(one.key().text_id() == two.key().text_id(), same(&a, &b), "{:?} {:?}", a, b);
    }

    #[test]
    fn the_text_of_any_id_is_no_other_ids(a in any_value()) {
        let Ok(key) = DocumentKey::of(&bytes(&doc! {"_id": a.clone()})) else { return Ok(()) };
        let text = key.key().text_id();
        prop_assert!(!text.is_empty());
        // Only a text may have itself for its id.
        prop_assert_eq!(key_of(text.clone()).key().text_id() == text, a == Bson::from(text.clone()), "{:?}", a);
    }

    #[test]
    fn a_key_of_a_key_is_the_same(a in any_value()) {
        let Ok(key) = DocumentKey::of(&bytes(&doc! {"_id": a})) else { return Ok(()) };
        let mut element = vec![0; 4];
        write_bson_key(&mut element, "_id", key.key());
        element.push(0);
        let length = (element.len() as u32).to_le_bytes();
        element[..4].copy_from_slice(&length);
        prop_assert_eq!(DocumentKey::of(&element), Ok(key));
    }

    #[test]
    fn json_documents_are_json(value in any_value()) {
        if let Ok(text) = json(&doc! {"a": value}) {
            prop_assert!(serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).is_ok(), "{}", text);
        }
    }
}
