//! Every kind of value and of key arrives exactly.

use crate::support::{Change, Folder, apply, stored};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidelock_core::target::Done;
use tidelock_sqlite::SqliteTarget;

/// An attribute value, and the JSON text that stands for it in a document.
fn attribute() -> impl Strategy<Value = (Value, String)> {
    let quoted = |text: &str| Value::from(text).to_string();
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{0,37}",
        "-?(0|[1-9][0-9]{0,9})\\.[0-9]{1,20}",
        "[1-9]E[+-][1-9][0-9]"
    ];
    let leaf = prop_oneof![
        any::<String>().prop_map(move |text| (json!({"S": text}), quoted(&text))),
        number.prop_map(|text| (json!({"N": text}), text)),
        "([A-Za-z0-9+/]{4}){0,4}".prop_map(move |text| (json!({"B": text}), quoted(&text))),
        any::<bool>().prop_map(|value| (json!({"BOOL": value}), value.to_string())),
        Just((json!({"NULL": true}), "null".to_owned())),
        proptest::collection::vec(any::<String>(), 1..4)
            .prop_map(|texts| (json!({"SS": texts}), json!(texts).to_string())),
        proptest::collection::vec("[1-9][0-9]{0,30}", 1..4)
            .prop_map(|texts| (json!({"NS": texts}), format!("[{}]", texts.join(",")))),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|values| {
                let (attributes, texts): (Vec<_>, Vec<_>) = values.into_iter().unzip();
                (json!({"L": attributes}), format!("[{}]", texts.join(",")))
            }),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(move |values| {
                let attributes: Value =
                    values.iter().map(|(name, (attribute, _))| (name.clone(), attribute.clone())).collect();
                let members: Vec<_> =
                    values.iter().map(|(name, (_, text))| format!("{}:{text}", quoted(name))).collect();
                (json!({"M": attributes}), format!("{{{}}}", members.join(",")))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn documents_come_back_as_they_went(values in proptest::collection::vec(attribute(), 1..8)) {
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        let change = |n: usize, attribute: &Value| {
            Change { image: Some(json!({"value": attribute})), ..Change::put(1, "").of(&format!("{n}")) }
        };
        let changes: Vec<_> = values.iter().enumerate().map(|(n, (attribute, _))| change(n, attribute)).collect();
        prop_assert!(apply(&target, &changes).iter().all(|outcome| *outcome == Ok(Done::Applied)));
        let rows = stored(&folder.database());
        prop_assert_eq!(rows.len(), values.len());
        for (row, (_, text)) in rows.iter().zip(&values) {
            prop_assert_eq!(&row.document, &format!("{{\"value\":{text}}}"));
        }
    }
}

#[test]
fn every_kind_of_key_is_an_id_of_its_own() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    let keys = [
        (json!({"id": {"S": "nul \u{0} and \u{1F600}"}}), "nul \u{0} and \u{1F600}"),
        (json!({"id": {"S": "nul "}}), "nul "),
        (json!({"id": {"N": "12345678901234567890123456789012345678"}}), "12345678901234567890123456789012345678"),
        (json!({"id": {"B": "AP8="}}), "AP8"),
        (json!({"sk": {"N": "7"}, "pk": {"S": "a|b"}}), r"a\|b|7"),
    ];
    let changes: Vec<_> = keys.iter().map(|(key, _)| Change { key: key.clone(), ..Change::put(1, "v") }).collect();
    assert!(apply(&target, &changes).iter().all(Result::is_ok));
    let mut expected: Vec<_> = keys.iter().map(|(_, id)| (*id).to_owned()).collect();
    expected.sort();
    assert_eq!(stored(&folder.database()).into_iter().map(|row| row.id).collect::<Vec<_>>(), expected);
}
