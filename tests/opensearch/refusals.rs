//! Documents the index refuses, and what follows for the others.

use crate::support::event::{AT, Stream, apart, event, named};
use crate::support::exact::Exact;
use crate::support::function::{Sync, dynamodb_sync, target};
use crate::support::index::{Index, expected};
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services};
use serde_json::json;

/// A function with its index and a file for letters.
struct Bench {
    sync: Sync,
    index: Index,
    folder: Folder,
}

impl Bench {
    fn new(purpose: &str) -> Option<Self> {
        let url = services::opensearch()?;
        let (index, folder) = (Index::new(&url, purpose), Folder::new());
        let letters = format!("file:{}", folder.path("letters"));
        let sync = dynamodb_sync(&target(&url))?.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &letters);
        Some(Self { sync, index, folder })
    }
}

#[tokio::test]
async fn what_the_index_refuses_is_parked_and_its_neighbours_are_written() {
    let Some(Bench { sync, index, folder }) = Bench::new("refused") else { return };
    index
        .create(json!({
            "settings": {"index.mapping.total_fields.limit": 12, "index.mapping.depth.limit": 3},
            "mappings": {"properties": {
                "age": {"type": "long"}, "at": {"type": "date"}, "fixed": {"type": "object", "dynamic": "strict"},
                "word": {"type": "keyword"},
            }},
        }))
        .await;
    let function = sync.start();
    let stream = Stream::of("mytable");
    let many: serde_json::Map<_, _> = (0..20).map(|n| (format!("f{n}"), json!({"S": "x"}))).collect();
    let cases = [
        ("mapping_conflict", json!({"age": {"S": "old"}})),
        ("mapping_conflict", json!({"age": {"M": {"years": {"N": "1"}}}})),
        ("mapping_conflict", json!({"at": {"S": "yesterday"}})),
        ("mapping_conflict", json!({"fixed": {"M": {"new": {"S": "x"}}}})),
        ("field_limit", json!(many)),
        ("nested_too_deeply", json!({"a": {"M": {"b": {"M": {"c": {"M": {"d": {"S": "x"}}}}}}}})),
        ("reserved_field", json!({"_id": {"S": "x"}})),
        ("reserved_field", json!({"_tidelock": {"S": "x"}})),
        ("invalid_document", json!({"word": {"S": "x".repeat(40_000)}})),
    ];
    let mut records = vec![stream.upsert(&apart(0), "0", "before")];
    records.extend((1..).zip(&cases).map(|(n, (_, item))| stream.item(&apart(n), &n.to_string(), AT, item)));
    records.push(stream.upsert(&apart(50), "50", "after"));
    function.succeed(event(&records)).await;
    let parked = reasons(&letters(&folder.path("letters")));
    let wanted = (1..).zip(&cases).map(|(n, (reason, _))| ((*reason).to_owned(), Some(apart(n))));
    assert_eq!(parked, wanted.collect::<Vec<_>>(), "{:?}", letters(&folder.path("letters")));
    assert_eq!(index.fields().await.into_values().collect::<Vec<_>>(), [named(0, "before"), named(50, "after")]);
}

#[tokio::test]
async fn a_refused_newest_change_leaves_the_one_before_it() {
    let Some(Bench { sync, index, folder }) = Bench::new("fallback") else { return };
    let function = sync.start();
    let stream = Stream::of("mytable");
    let age = |n, id, age: serde_json::Value| stream.item(&apart(n), id, AT, &json!({ "age": age }));
    let number = |text: &str| json!({ "N": text });
    function.succeed(event(&[age(1, "1", number("1")), age(2, "2", number("1")), age(3, "3", number("1"))])).await;
    let conflict = || json!({"M": {"years": {"N": "1"}}});
    let records = [
        // Refused by the target: the change before it goes out, not the one before that.
        age(11, "1", number("2")),
        age(12, "1", number("3")),
        age(13, "1", conflict()),
        // Refused by the target, after a removal.
        stream.remove(&apart(14), "2"),
        age(15, "2", conflict()),
        // Refused while decoding, after a removal.
        stream.remove(&apart(16), "3"),
        stream.poison(&apart(17), "3"),
        // Refused, and then good again: nobody ever sees it.
        age(18, "4", conflict()),
        age(19, "4", number("4")),
    ];
    function.succeed(event(&records)).await;
    assert_eq!(index.fields().await, expected([("1", json!({"id": 1, "age": 3})), ("4", json!({"id": 4, "age": 4}))]));
    assert_eq!(index.get("1").await.unwrap().exact(), apart(12));
    let parked: Vec<_> = reasons(&letters(&folder.path("letters")));
    let wanted = [("mapping_conflict", 13), ("mapping_conflict", 15), ("unknown_type", 17)];
    assert_eq!(parked, wanted.map(|(reason, n)| (reason.to_owned(), Some(apart(n)))));
}

#[tokio::test]
async fn a_blocked_index_is_waited_for_and_nothing_is_parked() {
    let Some(Bench { sync, index, folder }) = Bench::new("blocked") else { return };
    index.create(json!({})).await;
    index.set(json!({"index.blocks.write": true})).await;
    let function = sync.start();
    let stream = Stream::of("mytable");
    let records = event(&[stream.upsert(&apart(1), "1", "one"), stream.poison(&apart(2), "2")]);
    assert_eq!(function.answer(records.clone()).await, Some(apart(1)));
    let metrics = function.metrics().await;
    assert_eq!(metrics["Failures"]["blocked"]["count"], 1, "{metrics}");
    // The poison comes again with the others, and is parked then.
    assert_eq!(letters(&folder.path("letters")).len(), 0);
    index.set(json!({"index.blocks.write": false})).await;
    function.succeed(records).await;
    assert_eq!(index.fields().await, expected([("1", json!({"id": 1, "Name": "one"}))]));
    assert_eq!(reasons(&letters(&folder.path("letters"))), [("unknown_type".to_owned(), Some(apart(2)))]);
}

#[tokio::test]
async fn one_blocked_index_does_not_hold_up_another() {
    let Some(Bench { sync, index: blocked, folder: _folder }) = Bench::new("one-blocked") else { return };
    let Some(Bench { index: open, .. }) = Bench::new("one-open") else { return };
    blocked.prepare().await;
    blocked.set(json!({"index.blocks.write": true})).await;
    let routes = json!([{"from": "blocked", "to": blocked.name()}, {"from": "open", "to": open.name()}]);
    let function = sync.with("TIDELOCK_PIPELINE", &json!({"version": 1, "routes": routes}).to_string()).start();
    let record = |n, table: &str| Stream::of(table).upsert(&apart(n), &n.to_string(), table);
    let records = [record(1, "open"), record(2, "blocked"), record(3, "open"), record(4, "blocked")];
    assert_eq!(function.answer(event(&records)).await, Some(apart(2)));
    assert_eq!(open.fields().await.into_values().collect::<Vec<_>>(), [named(1, "open"), named(3, "open")]);
}

#[tokio::test]
async fn a_delete_of_nothing_is_done() {
    let Some(Bench { sync, index, folder }) = Bench::new("absent") else { return };
    let function = sync.start();
    let stream = Stream::of("mytable");
    function.succeed(event(&[stream.remove(&apart(1), "1"), stream.remove(&apart(2), "2")])).await;
    assert_eq!(function.metrics().await["Applied"], 2);
    assert!(!index.exists().await);
    assert_eq!(letters(&folder.path("letters")).len(), 0);
}

#[tokio::test]
async fn numbers_keep_every_digit_where_the_mapping_lets_them_in() {
    let Some(Bench { sync, index, folder }) = Bench::new("digits") else { return };
    index.create(json!({"mappings": {"dynamic": false, "properties": {"id": {"type": "long"}}}})).await;
    let function = sync.start();
    let stream = Stream::of("mytable");
    let numbers = [
        "12345678901234567890123456789012345678",
        "-98765432109876543210.987654321098765432",
        "1E+125",
        "-1E-130",
        "9.9999999999999999999999999999999999999E+125",
        "0.1",
        "18446744073709551615",
        "100",
    ];
    let records =
        (0..).zip(numbers).map(|(n, number)| stream.item(&apart(n), &n.to_string(), AT, &json!({"n": {"N": number}})));
    function.succeed(event(&records.collect::<Vec<_>>())).await;
    let documents = index.fields().await;
    for (n, number) in (0..).zip(numbers) {
        assert_eq!(documents[&format!("{n}")].get("n"), Some(&Exact::number(number)), "{number}");
    }
    assert_eq!(letters(&folder.path("letters")).len(), 0);
}
