//! Items of a real DynamoDB, read again.

use super::table::{Table, service};
use super::{LONG, batch, source};
use serde_json::{Value, json};
use std::time::Instant;
use tidelock_core::cause::Cause;
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::slow::Source as _;

/// Reads keys: documents as the format's sink writes them.
async fn read(url: &str, table: &str, keys: &[Value], format: Format) -> Vec<Result<Option<Vec<u8>>, Cause>> {
    let batch = batch(keys);
    let keys: Vec<Key<'_>> = batch.slots.iter().map(|slot| batch.key(slot).expect("a key")).collect();
    let found = source(url).read(table, &keys, format, Instant::now() + LONG).await;
    found.into_iter().map(|found| crate::tests::written(found).map_err(|failure| failure.cause)).collect()
}

#[tokio::test]
async fn numbers_are_found_and_read_to_the_last_digit() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    let numbers = [
        "12345678901234567890123456789012345678",
        "-0.12345678901234567890123456789012345678",
        "1E+125",
        "1E-130",
        "-9.9999999999999999999999999999999999999E+125",
        "0",
        "-7.50",
    ];
    let item = |number: &str| json!({"id": {"N": number}, "same": {"N": number}});
    for number in numbers {
        table.put(&item(number)).await;
    }
    let keys: Vec<Value> = numbers.iter().chain(&["404"]).map(|number| json!({"id": {"N": number}})).collect();
    let found = read(&url, &table.name, &keys, Format::Json).await;
    for (number, found) in numbers.iter().zip(&found) {
        let text = found.as_ref().expect("read").as_deref().expect("an item");
        let text = String::from_utf8(text.to_vec()).expect("text");
        let digits = text.rsplit_once("\"same\":").map(|(_, rest)| rest.split(',').next().expect("a number"));
        let exact = |text: &str| tidelock_core::json::canonical_number(text.as_bytes()).expect("a number").into_owned();
        assert_eq!(exact(digits.expect("the attribute")), exact(number), "{text}");
    }
    assert_eq!(found[numbers.len()], Ok(None));
    // 38 digits do not fit BSON's decimals, the other numbers do.
    let bson = read(&url, &table.name, &keys, Format::Bson).await;
    assert_eq!(bson[0], Err(Cause::UnrepresentableValue));
    assert!(matches!((&bson[2], &bson[5], &bson[7]), (Ok(Some(_)), Ok(Some(_)), Ok(None))), "{bson:?}");
}

#[tokio::test]
async fn texts_and_bytes_find_their_items() {
    let Some(url) = service() else { return };
    for (kind, values) in [("S", ["a\"b\\\n\u{1}", "ü\u{1F600}"]), ("B", ["+/8=", "AA=="])] {
        let table = Table::create(&url, &[("id", kind)]).await;
        let keys: Vec<Value> = values.iter().map(|value| json!({"id": {kind: value}})).collect();
        table.put(&keys[1]).await;
        let found = read(&url, &table.name, &keys, Format::Json).await;
        assert_eq!(found[0], Ok(None));
        let text = found[1].as_ref().expect("read").as_deref().expect("an item");
        let whole: Value = serde_json::from_slice(&[text, b"}"].concat()).expect("a document");
        assert_eq!(whole, json!({"id": values[1]}));
    }
}

#[tokio::test]
async fn more_than_one_answer_can_hold() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    let long = "x".repeat(390_000);
    let key = |number: usize| json!({"id": {"N": number.to_string()}});
    // 24 MB where an answer has 16 at most.
    for number in 0..62 {
        table.put(&json!({"id": {"N": number.to_string()}, "long": {"S": long}})).await;
    }
    let keys: Vec<Value> = (0..70).map(key).collect();
    let found = read(&url, &table.name, &keys, Format::Json).await;
    for (number, found) in found.iter().enumerate() {
        let length = found.as_ref().expect("read").as_ref().map(Vec::len);
        assert_eq!(length.is_some_and(|length| length > 390_000), number < 62, "{number}: {length:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_or_has_other_keys() {
    let Some(url) = service() else { return };
    let key = json!({"id": {"N": "1"}});
    let absent = read(&url, "not-there", std::slice::from_ref(&key), Format::Json).await;
    assert_eq!(absent, [Err(Cause::SourceUnreadable)]);
    let table = Table::create(&url, &[("id", "S")]).await;
    assert_eq!(read(&url, &table.name, &[json!({"id": {"S": "1"}})], Format::Json).await, [Ok(None)]);
    table.put(&json!({"id": {"S": "1"}})).await;
    let found = read(&url, &table.name, &[key, json!({"id": {"S": "1"}})], Format::Json).await;
    assert_eq!(found, [Err(Cause::SourceUnreadable), Ok(Some(br#"{"id":"1""#.to_vec()))]);
}
