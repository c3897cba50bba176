//! Keys of every form: different keys never meet, one key never splits.

use crate::support::event::{AT, Stream, apart, event};
use crate::support::function::{dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn composite_keys_never_meet() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "composite");
    let function = sync.into(index.name()).start();
    let stream = Stream::of("orders");
    let keys: Vec<(&str, &str)> = vec![
        ("a|b", "c"),
        ("a", "b|c"),
        (r"a\|b", "c"),
        (r"a\", "b|c"),
        (r"a\\", "|bc"),
        ("a", r"\|b|c"),
        ("a|", "bc"),
        ("a", "|bc"),
        ("\u{1}\"", "\n"),
        ("é", "👩\u{200d}👧"),
        ("/", "%2F"),
        ("a b", "?#"),
        (" ", "_"),
        (".", ".."),
    ];
    let record = |(n, (pk, sk)): (u32, &(&str, &str))| {
        let key = json!({"pk": {"S": pk}, "sk": {"S": sk}});
        stream.record("INSERT", &apart(n), AT, key.clone(), Some(key))
    };
    let records: Vec<Value> = (0..).zip(&keys).map(record).collect();
    function.succeed(event(&records)).await;
    let stored: BTreeSet<String> = index.fields().await.into_values().map(|fields| format!("{fields:?}")).collect();
    assert_eq!(stored.len(), keys.len(), "{stored:?}");
    assert!(index.get(r"a\|b|c").await.is_some() && index.get(r"a|b\|c").await.is_some());
    // All of them are found again under the same ids.
    let removed = (100..)
        .zip(&keys)
        .map(|(n, (pk, sk))| stream.record("REMOVE", &apart(n), AT, json!({"sk": {"S": sk}, "pk": {"S": pk}}), None));
    function.succeed(event(&removed.collect::<Vec<_>>())).await;
    assert_eq!(index.fields().await.len(), 0);
}

#[tokio::test]
async fn one_number_is_one_key_in_every_notation() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "number");
    let function = sync.into(index.name()).start();
    let stream = Stream::of("mytable");
    for (n, notation) in (0..).zip(["100", "1E2", "100.0", "1e+2", "0.1E3"]) {
        function.succeed(event(&[stream.upsert(&apart(n), notation, &n.to_string())])).await;
    }
    assert_eq!(index.documents().await.len(), 1);
    assert_eq!(index.get("100").await.unwrap().exact(), apart(4));
    let all_digits = "12345678901234567890123456789012345678";
    function.succeed(event(&[stream.remove(&apart(8), all_digits), stream.remove(&apart(9), "1E+2")])).await;
    assert_eq!(index.documents().await.len(), 0);
}

#[tokio::test]
async fn a_key_may_have_512_bytes_and_no_more() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let (index, folder) = (Index::new(&url, "long"), Folder::new());
    let path = folder.path("letters");
    let function = sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
    let stream = Stream::of("articles");
    let longest = "é".repeat(256);
    let record = |n, slug: &str, name| {
        let key = json!({"slug": {"S": slug}});
        stream.record(name, &apart(n), AT, key.clone(), (name == "INSERT").then_some(key))
    };
    let over = format!("{longest}x");
    let records = [
        record(1, &longest, "INSERT"),
        record(2, &over, "INSERT"),
        record(3, &over, "REMOVE"),
        record(4, "b", "INSERT"),
    ];
    function.succeed(event(&records)).await;
    let ids: Vec<String> = index.fields().await.into_keys().collect();
    assert_eq!(ids, ["b".to_owned(), longest]);
    // The removal stands for the insert, and falls back to it when it is refused: both are parked.
    let parked = reasons(&letters(&path));
    let expected = [2, 3].map(|n| ("invalid_id".to_owned(), Some(apart(n))));
    assert_eq!(parked, expected);
}
