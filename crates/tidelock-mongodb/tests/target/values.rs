//! Every kind of value arrives exactly, on real servers.

use crate::events::{Change, apply, mark, run, target, whatever_the_hint};
use crate::servers::servers;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Decimal128, Document, doc};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::str::FromStr as _;
use tidelock_core::target::Done;

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, written out here so that it is not the tested code that makes the expectation.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place > chunk.len() { '=' } else { digit });
        }
    }
    text
}

fn number(text: &str) -> Bson {
    match text.parse::<i64>() {
        Ok(small) if i32::try_from(small).is_ok() => Bson::Int32(small as i32),
        Ok(large) => Bson::Int64(large),
        Err(_) => Bson::Decimal128(Decimal128::from_str(text).expect(text)),
    }
}

fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{19,32}[1-9]",
        "-?(0|[1-9][0-9]{0,9})\\.[0-9]{0,20}[1-9]",
    ]
}

/// An attribute value, and what it is to become.
fn attribute() -> impl Strategy<Value = (Value, Bson)> {
    let binary = |bytes: Vec<u8>| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes });
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| (json!({"S": text}), Bson::from(text))),
        number_text().prop_map(|text| (json!({"N": text}), number(&text))),
        any::<Vec<u8>>().prop_map(move |bytes| (json!({"B": base64(&bytes)}), binary(bytes))),
        any::<bool>().prop_map(|value| (json!({"BOOL": value}), Bson::from(value))),
        Just((json!({"NULL": true}), Bson::Null)),
        proptest::collection::btree_set(any::<String>(), 1..4).prop_map(|texts| {
            let texts: Vec<String> = texts.into_iter().collect();
            (json!({"SS": texts}), Bson::from(texts))
        }),
        proptest::collection::btree_set(number_text(), 1..4).prop_map(|texts| {
            let texts: Vec<String> = texts.into_iter().collect();
            (json!({"NS": texts}), Bson::Array(texts.iter().map(|text| number(text)).collect()))
        }),
        proptest::collection::vec(any::<Vec<u8>>(), 1..3).prop_map(move |list| {
            let texts: Vec<String> = list.iter().map(|bytes| base64(bytes)).collect();
            (json!({"BS": texts}), Bson::Array(list.into_iter().map(binary).collect()))
        }),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(|values| {
                let (attributes, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
                (json!({"L": attributes}), Bson::Array(values))
            }),
            members(inner).prop_map(|(attributes, values)| (json!({"M": attributes}), Bson::Document(values))),
        ]
    })
}

/// Names as servers take them: not empty, no NUL, and no `$` in front.
fn members(value: impl Strategy<Value = (Value, Bson)>) -> impl Strategy<Value = (Value, Document)> {
    let name = "[a-zA-Z0-9_ äß☃\\-]{1,12}";
    proptest::collection::btree_map(name, value, 0..6).prop_map(|values| {
        let attributes = values.iter().map(|(name, (attribute, _))| (name.clone(), attribute.clone())).collect();
        (attributes, values.into_iter().map(|(name, (_, value))| (name, value)).collect())
    })
}

#[test]
fn documents_come_back_as_they_went() {
    whatever_the_hint(|| {
        for server in servers() {
            run(async {
                let database = server.database().await;
                let target = target(&database.uri);
                let mut runner = TestRunner::deterministic();
                let item = members(attribute());
                for round in 0..12 {
                    let items: Vec<(Value, Document)> =
                        (0..100).map(|_| item.new_tree(&mut runner).expect("an item").current()).collect();
                    let changes: Vec<Change> = items
                        .iter()
                        .enumerate()
                        .map(|(n, (image, _))| Change {
                            image: Some(image.clone()),
                            ..Change::put(&format!("{n:03}"), round + 1, "")
                        })
                        .collect();
                    let outcomes = apply(&target, &changes).await;
                    for (outcome, (image, _)) in outcomes.iter().zip(&items) {
                        assert_eq!(*outcome, Ok(Done::Applied), "{}: {image}", server.name);
                    }
                    let stored = database.find(doc! {}).await;
                    assert_eq!(stored.len(), items.len(), "{}", server.name);
                    for (n, (document, (image, expected))) in stored.iter().zip(&items).enumerate() {
                        let mut whole = doc! {"_id": format!("{n:03}")};
                        whole.extend(expected.clone());
                        whole.insert("_tidelock", mark(round + 1));
                        // Byte by byte: order of fields, types of numbers and subtypes of binaries are part of it.
                        let whole = whole.to_vec().expect("serializable");
                        assert_eq!(document.as_bytes(), whole, "{}: {image} became {document:?}", server.name);
                    }
                }
                database.drop().await;
            });
        }
    });
}
