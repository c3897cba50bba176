//! Which of two changes stays, in whatever order they come and whatever was there before.

use crate::support::event::{AT, Stream, apart, close, event, named};
use crate::support::exact::Exact;
use crate::support::function::{Running, dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::queue::letters;
use crate::support::{Folder, services};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

/// All orders of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn start(url: &str, index: &Index) -> Option<Running> {
    Some(dynamodb_sync(&target(url))?.into(index.name()).start())
}

/// Delivers the changes of one item in every order, each order to an item of its own, one change at a time.
async fn in_every_order(function: &Running, changes: impl Fn(&str) -> [Value; 3]) {
    join_all(ORDERS.iter().enumerate().map(async |(id, order)| {
        let changes = changes(&id.to_string());
        for &change in order {
            function.succeed(event(&changes[change..=change])).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn numbers_that_differ_in_the_last_digit_converge_in_every_order() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "close");
    let Some(function) = start(&url, &index) else { return };
    let stream = Stream::of("mytable");
    in_every_order(&function, |id| {
        [(1, "one"), (2, "two"), (3, "three")].map(|(n, name)| stream.upsert(&close(n), id, name))
    })
    .await;
    let documents = index.documents().await;
    assert_eq!(documents.len(), 6);
    for (id, found) in documents {
        assert_eq!(found.fields, named(id.parse().unwrap(), "three"));
        assert_eq!(found.exact(), close(3));
    }
}

#[tokio::test]
async fn numbers_as_real_streams_have_them_converge_in_every_order() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "apart");
    let Some(function) = start(&url, &index) else { return };
    let stream = Stream::of("mytable");
    in_every_order(&function, |id| {
        [
            stream.upsert(&apart(1), id, "one"),
            stream.upsert(&apart(2), id, "two"),
            stream.upsert(&apart(3), id, "three"),
        ]
    })
    .await;
    let documents = index.documents().await;
    assert_eq!(documents.len(), 6);
    for (id, found) in documents {
        assert_eq!((found.exact(), found.fields), (apart(3), named(id.parse().unwrap(), "three")));
    }
}

#[tokio::test]
async fn an_item_removed_and_inserted_again_is_there_in_every_order() {
    let Some(url) = services::opensearch() else { return };
    for numbers in [close, apart] {
        let index = Index::new(&url, "again");
        // How long OpenSearch remembers deletes: a change that meets such a memory waits within the invocation.
        index.create(json!({"settings": {"index.gc_deletes": "1s"}})).await;
        let Some(function) = start(&url, &index) else { return };
        let stream = Stream::of("mytable");
        in_every_order(&function, |id| {
            [
                stream.upsert(&numbers(1), id, "one"),
                stream.remove(&numbers(2), id),
                stream.upsert(&numbers(3), id, "three"),
            ]
        })
        .await;
        let documents = index.documents().await;
        assert_eq!(documents.len(), 6, "{documents:?}");
        assert!(documents.values().all(|found| found.exact() == numbers(3)), "{documents:?}");
    }
}

#[tokio::test]
async fn an_insert_that_meets_a_remembered_delete_comes_again_and_is_not_lost() {
    let Some(url) = services::opensearch() else { return };
    let (index, folder) = (Index::prepared(&url, "tombstone").await, Folder::new());
    let path = folder.path("letters");
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let sync = sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}"));
    let function = sync.timeout(Duration::from_secs(1)).start();
    let stream = Stream::of("mytable");
    function.succeed(event(&[stream.upsert(&close(1), "1", "one")])).await;
    function.succeed(event(&[stream.remove(&close(2), "1")])).await;
    let insert = event(&[stream.upsert(&close(3), "2", "other"), stream.upsert(&close(4), "1", "again")]);
    assert_eq!(function.answer(insert.clone()).await, Some(close(4)));
    assert_eq!(function.metrics().await["Failures"]["tombstone"]["count"], 1);
    assert!(index.get("1").await.is_none());
    assert_eq!(index.get("2").await.unwrap().fields, named(2, "other"));
    index.set(json!({"index.gc_deletes": "1ms"})).await;
    function.succeed(insert).await;
    assert_eq!(index.get("1").await.unwrap().fields, named(1, "again"));
    assert_eq!(letters(&path), Vec::<Value>::new());
}

#[tokio::test]
async fn an_older_change_is_stale_and_a_delivered_one_is_not_written_again() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "stale");
    let Some(function) = start(&url, &index) else { return };
    let stream = Stream::of("mytable");
    let newest = event(&[stream.upsert(&close(5), "1", "new"), stream.upsert(&apart(5), "2", "new")]);
    function.succeed(newest.clone()).await;
    let before = index.documents().await;
    for old in [
        event(&[stream.upsert(&close(4), "1", "old"), stream.upsert(&apart(4), "2", "old")]),
        event(&[stream.remove(&close(4), "1"), stream.remove(&apart(4), "2")]),
    ] {
        function.succeed(old).await;
        assert_eq!(function.metrics().await["Stale"], 2);
        assert_eq!(index.documents().await, before);
    }
    function.succeed(newest).await;
    assert_eq!(function.metrics().await["Applied"], 2);
    assert_eq!(index.documents().await, before);
}

#[tokio::test]
async fn a_stream_enabled_anew_is_newer_although_its_numbers_are_lower() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "label");
    let Some(function) = start(&url, &index) else { return };
    let old = Stream::of("mytable");
    let new = Stream { label: "2020-04-29T13:00:00.001", ..old.clone() };
    function.succeed(event(&[old.upsert("900000000000000000000000009", "1", "old stream")])).await;
    // Within one second of the old label the coarse versions order wrongly; the exact ones decide.
    function.succeed(event(&[new.upsert("100000000000000000000000001", "1", "new stream")])).await;
    let found = index.get("1").await.unwrap();
    assert_eq!(found.fields, named(1, "new stream"));
    assert_eq!(found.mark.unwrap().get("label"), Some(&Exact::Text(new.label.to_owned())));
    function.succeed(event(&[old.upsert("900000000000000000000000010", "1", "old stream")])).await;
    assert_eq!(index.get("1").await.unwrap().fields, named(1, "new stream"));
}

#[tokio::test]
async fn the_mark_says_whose_change_it_was() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "mark");
    let Some(function) = start(&url, &index) else { return };
    let stream = Stream::of("mytable");
    function.succeed(event(&[stream.upsert_at(&close(7), "1", "one", AT + 3)])).await;
    let mark = json!({
        "space": stream.space(), "label": stream.label, "exact": format!("{:0>40}", close(7)), "at": (AT + 3) * 1000,
    });
    assert_eq!(index.get("1").await.unwrap().mark, Some(Exact::from(mark)));
}

/// Higher than every version of ours: a write that trusts OpenSearch's comparison alone is refused for ever.
const FOREIGN_VERSION: i64 = i64::MAX - 10;

#[tokio::test]
async fn documents_that_were_there_before_are_taken_over() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::prepared(&url, "before").await;
    let elsewhere = Stream { region: "eu-west-1", ..Stream::of("mytable") };
    let mark = |space: &str, exact: Value| json!({"space": space, "label": elsewhere.label, "exact": exact, "at": AT});
    let nines = || json!("9".repeat(40));
    let old: Vec<(&str, Value)> = vec![
        ("none", json!({"kept": "by no one"})),
        ("text", json!({"_tidelock": "damaged"})),
        ("null", json!({"_tidelock": null})),
        ("half", json!({"_tidelock": {"exact": "9"}})),
        ("typed", json!({"_tidelock": mark(&Stream::of("mytable").space(), json!(9))})),
        ("elsewhere", json!({"_tidelock": mark(&elsewhere.space(), nines())})),
    ];
    for version in [None, Some(FOREIGN_VERSION)] {
        for (purpose, document) in &old {
            for end in ["write", "delete"] {
                index.put(&format!("{purpose}-{end}-{}", version.is_some()), version, document.clone()).await;
            }
        }
    }
    let Some(function) = start(&url, &index) else { return };
    let stream = Stream::of("mytable");
    let mut records = Vec::new();
    for (number, id) in (0..).zip(index.documents().await.into_keys()) {
        let key = json!({"id": {"S": id}});
        let image = (!id.contains("delete")).then(|| json!({"id": {"S": id}, "n": {"N": "1"}}));
        let name = if image.is_some() { "INSERT" } else { "REMOVE" };
        records.push(stream.record(name, &close(number), AT, key, image));
    }
    assert_eq!(records.len(), 24);
    function.succeed(event(&records)).await;
    let documents = index.documents().await;
    assert_eq!(documents.len(), 12, "{documents:?}");
    for (id, found) in &documents {
        assert_eq!(found.fields, Exact::from(json!({"id": id, "n": 1})));
        assert_eq!(found.mark.as_ref().unwrap().get("space"), Some(&Exact::Text(stream.space())));
        assert!(found.exact().starts_with("4421"));
    }
    // Ours now: an older change no longer gets in, and a newer one does.
    let id = "elsewhere-write-true";
    let (older, newer) = ("442158450000000000017450", close(99_999));
    for (sequence, n) in [(older, 2), (newer.as_str(), 3)] {
        let image = json!({"id": {"S": id}, "n": {"N": n.to_string()}});
        function.succeed(event(&[stream.record("MODIFY", sequence, AT, json!({"id": {"S": id}}), Some(image))])).await;
        let expected = if n == 2 { 1 } else { 3 };
        assert_eq!(index.get(id).await.unwrap().fields, Exact::from(json!({"id": id, "n": expected})));
    }
}

#[tokio::test]
async fn a_later_change_with_a_lower_number_is_parked() {
    let Some(url) = services::opensearch() else { return };
    let (index, folder) = (Index::new(&url, "order"), Folder::new());
    let path = folder.path("letters");
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let function = sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
    let stream = Stream::of("mytable");
    function
        .succeed(event(&[stream.upsert_at(&close(9), "1", "high", AT), stream.upsert_at(&close(9), "2", "high", AT)]))
        .await;
    let (late, close_by) =
        (stream.upsert_at(&close(3), "1", "late", AT + 2), stream.upsert_at(&close(4), "2", "close", AT + 1));
    function.succeed(event(&[late.clone(), close_by])).await;
    // Within the clock's grain a lower number is simply older.
    assert_eq!(function.metrics().await["Stale"], 1);
    let letters = letters(&path);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["reason"], "order_conflict");
    assert_eq!(letters[0]["record"], late);
    assert!(letters[0]["detail"].as_str().unwrap().contains(&close(9)), "{}", letters[0]);
    assert_eq!(index.fields().await.into_values().collect::<Vec<_>>(), [named(1, "high"), named(2, "high")]);
}

#[tokio::test]
async fn functions_side_by_side_agree_on_the_newest() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::new(&url, "race");
    let Some(function) = start(&url, &index) else { return };
    let stream = Stream::of("mytable");
    // Every change of every item in an invocation of its own, all at once: environments race for each document.
    let changes = (0..8).flat_map(|n| (0..4).map(move |id| (n, id)));
    join_all(changes.map(async |(n, id)| {
        function.succeed(event(&[stream.upsert(&close(n), &format!("{id}"), &format!("name {n}"))])).await;
    }))
    .await;
    let fields: Vec<Exact> = index.fields().await.into_values().collect();
    assert_eq!(fields, (0..4).map(|id| named(id, "name 7")).collect::<Vec<_>>());
}
