//! Every file of `events/dynamodb` once, as its README says.

use crate::support::event::sample;
use crate::support::exact::Exact;
use crate::support::function::{Sync, dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services, unique};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TABLES: [&str; 5] = ["mytable", "orders", "customers", "tokens", "articles"];

/// A file, the documents that are there afterwards (table, id, document), and its letters (reason, position).
type Sample = (&'static str, Vec<(&'static str, &'static str, Value)>, Vec<(&'static str, Option<&'static str>)>);

/// Documents of `mytable` with a name: id, name, and the last four digits of the time.
fn people(people: &[(&'static str, &str, u32)]) -> Vec<(&'static str, &'static str, Value)> {
    let document = |&(id, name, at): &(&'static str, &str, u32)| {
        let number: u32 = id.parse().unwrap();
        ("mytable", id, json!({"id": number, "Name": name, "created_at": 1_588_160_000 + at}))
    };
    people.iter().map(document).collect()
}

/// The one document that is no fun to write out here: all its attributes but the key are texts.
fn large_item() -> Value {
    let event: Value = serde_json::from_slice(&sample("large-item")).unwrap();
    let image = event["Records"][0]["dynamodb"]["NewImage"].as_object().unwrap();
    let mut document = json!({"id": 18});
    for (name, value) in image.iter().filter(|(name, _)| *name != "id") {
        document[name] = value["S"].clone();
    }
    assert!(document.to_string().len() > 399_000);
    document
}

fn all_types() -> Value {
    json!({
        "id": 10, "string": "John", "string_empty": "", "string_unicode": "Zürich 東京 مرحبا e\u{301} 👩\u{200d}👧",
        "string_escapes": "quote \" backslash \\ slash / tab \t newline \n return \r bell \u{7} nul \0 separators \u{2028}\u{2029}",
        "string_escaped": "é 🌊 <tag> /", "number": 42, "number_negative": -1.5,
        "binary": "AAUKDxQZHiMoLTI3PEFGS1BVWl9kaW5zeH2Ch4yRlpugpaqvtLm+w8jN0tfc4ebr8PX6/w==", "binary_empty": "",
        "bool_true": true, "bool_false": false, "null": null,
        "map": {"city": "Zürich", "zip": 8001, "geo": {"lat": 47.3769, "lon": 8.5417}, "blob": "dGlkZQ=="},
        "map_empty": {}, "list": ["first", null, "", ["inner", "list"]], "list_of_numbers": [1, -2, [3]],
        "list_of_booleans": [true, false], "list_of_maps": [{"sku": "a-1", "count": 2}, {"sku": "b-2", "count": 1}],
        "list_empty": [], "string_set": ["alpha", "beta", ""], "number_set": [3, -1, 20],
        "binary_set": ["bG93", "dGlkZQ=="],
    })
}

fn samples() -> Vec<Sample> {
    let order = |pk: &str, sk: u32, total: f64| json!({"pk": pk, "sk": sk, "total": total});
    vec![
        ("insert-three", people(&[("1", "John", 6528), ("2", "Clare", 6535), ("3", "Tom", 6541)]), vec![]),
        ("insert", people(&[("1", "John", 6528)]), vec![]),
        ("modify", people(&[("1", "Johnny", 6528)]), vec![]),
        ("remove", vec![], vec![]),
        ("ttl-remove", vec![], vec![]),
        ("ttl-remove-capitalised", vec![], vec![]),
        ("empty", vec![], vec![]),
        (
            "composite-key",
            vec![
                ("orders", "acme|7", order("acme", 7, 12.5)),
                ("orders", r"acme\|7|1", order("acme|7", 1, 3.0)),
                ("orders", r"acme\\|7", order("acme\\", 7, 4.0)),
            ],
            vec![],
        ),
        ("binary-key", vec![("tokens", "-__-ABA", json!({"token": "+//+ABA=", "owner": "John"}))], vec![]),
        (
            "over-long-key",
            vec![
                ("articles", "first", json!({"slug": "first", "title": "before the long key"})),
                ("articles", "last", json!({"slug": "last", "title": "after the long key"})),
            ],
            vec![("invalid_id", Some("61230245976238985086251"))],
        ),
        (
            "two-tables",
            vec![
                ("orders", "acme|8", order("acme", 8, 89.9)),
                ("customers", "c-1", json!({"id": "c-1", "Name": "Acme Ltd"})),
            ],
            vec![],
        ),
        ("all-types", vec![("mytable", "10", all_types())], vec![]),
        (
            "numbers",
            vec![
                (
                    "mytable",
                    "111",
                    json!({
                        "id": 111, "zero": 0, "negative": -42, "i32_max": i32::MAX, "above_f64_exact": 9_007_199_254_740_993_u64,
                        "i64_max": i64::MAX, "i64_min": i64::MIN,
                    }),
                ),
                (
                    "mytable",
                    "112",
                    json!({
                        "id": 112, "half": 0.5, "negative_fraction": -12.75, "small": 0.000_001,
                        "f64_digits": 0.123_456_789_012_345_6,
                    }),
                ),
                ("mytable", "116", json!({"id": 116, "tiny": 1e-130, "tiny_negative": -1e-130})),
            ],
            vec![
                ("mapping_conflict", Some("448214004552207410441099921")),
                ("mapping_conflict", Some("448214105230804122813416185")),
                ("mapping_conflict", Some("448214205303101568657712977")),
                ("mapping_conflict", Some("448214406372680706050350169")),
            ],
        ),
        ("mixed-list", vec![], vec![("mapping_conflict", Some("448214506673746357696008176"))]),
        ("nested-32", vec![], vec![("nested_too_deeply", Some("448214606770802092731243988"))]),
        ("large-item", vec![("mytable", "18", large_item())], vec![]),
        (
            "mapping-conflict",
            vec![
                ("mytable", "60", json!({"id": 60, "Name": "Ann", "created_at": 1_588_167_098, "age": 42})),
                ("mytable", "62", json!({"id": 62, "Name": "Cleo", "created_at": 1_588_167_100, "age": 27})),
            ],
            vec![("mapping_conflict", Some("448217923424814985577970980"))],
        ),
        (
            "keys-only",
            vec![],
            vec![
                ("missing_image", Some("448214807771942001954039067")),
                ("missing_image", Some("448214908024455353844143419")),
            ],
        ),
        (
            "old-image-only",
            vec![],
            vec![
                ("missing_image", Some("448215109319542454092161122")),
                ("missing_image", Some("448215210310766970101016412")),
            ],
        ),
        ("no-image", vec![], vec![("missing_image", Some("448215411168657665821252489"))]),
        ("duplicate-records", people(&[("70", "Ann", 7128), ("71", "Ben", 7129)]), vec![]),
        ("hot-key", people(&[("72", "four", 7138), ("73", "Ann", 7138), ("74", "Ben", 7139)]), vec![]),
        ("remove-then-poison-insert", vec![], vec![("unknown_type", Some("448219131124611388502789399"))]),
        ("reordered-keys", people(&[("80", "Anna", 7168)]), vec![]),
        (
            "poison-in-the-middle",
            people(&[("30", "Ann", 7028), ("31", "Ben", 7029), ("33", "Dora", 7031), ("34", "Emil", 7032)]),
            vec![("unknown_type", Some("448215712889713170215729258"))],
        ),
        (
            "bad-base64",
            people(&[("40", "Ann", 7038), ("42", "Cleo", 7040)]),
            vec![("invalid_value", Some("448216114926792656147872702"))],
        ),
        ("malformed-record", people(&[("43", "Ann", 7048), ("45", "Cleo", 7050)]), vec![("malformed_record", None)]),
        (
            "unknown-event-name",
            people(&[("46", "Ann", 7058), ("48", "Cleo", 7060)]),
            vec![("unknown_event", Some("448216717245339713305791043"))],
        ),
        (
            "missing-sequence-number",
            people(&[("50", "Ann", 7068), ("52", "Cleo", 7070)]),
            vec![("invalid_position", None)],
        ),
        (
            "bad-sequence-number",
            people(&[("53", "Ann", 7078), ("55", "Cleo", 7080)]),
            vec![("invalid_position", Some("12ab"))],
        ),
        (
            "long-sequence-number",
            people(&[("56", "Ann", 7088), ("58", "Cleo", 7090)]),
            vec![("invalid_position", Some("44821762218090267084570394500000000000000"))],
        ),
    ]
}

/// Indices for the samples' tables.
struct Places(Vec<(&'static str, Index)>);

impl Places {
    fn new(url: &str) -> Self {
        let prefix = unique("sample");
        Self(TABLES.iter().map(|&table| (table, Index::named(url, format!("{prefix}-{table}")))).collect())
    }

    fn routed(&self, sync: Sync) -> Sync {
        let route = |(table, index): &(&str, Index)| json!({"from": table, "to": index.name()});
        let routes: Vec<Value> = self.0.iter().map(route).collect();
        sync.with("TIDELOCK_PIPELINE", &json!({"version": 1, "routes": routes}).to_string())
    }

    async fn documents(&self) -> BTreeMap<(&'static str, String), Exact> {
        let mut all = BTreeMap::new();
        for (table, index) in &self.0 {
            if index.exists().await {
                all.extend(index.fields().await.into_iter().map(|(id, document)| ((*table, id), document)));
            }
        }
        all
    }
}

fn documents(expected: &[(&'static str, &'static str, Value)]) -> BTreeMap<(&'static str, String), Exact> {
    let of =
        |(table, id, document): &(&'static str, &str, Value)| ((*table, (*id).to_owned()), document.clone().into());
    expected.iter().map(of).collect()
}

#[test]
fn the_table_below_knows_every_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/dynamodb");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".json").to_owned())
        .collect();
    files.sort();
    let mut known: Vec<&str> = samples().iter().map(|sample| sample.0).collect();
    // Fails as a whole: see `start`.
    known.push("not-an-event");
    known.sort_unstable();
    assert_eq!(files, known);
}

#[tokio::test]
async fn samples_become_documents_and_letters() {
    let Some(url) = services::opensearch() else { return };
    for (file, expected, expected_letters) in samples() {
        let (places, folder) = (Places::new(&url), Folder::new());
        let Some(sync) = dynamodb_sync(&target(&url)) else { return };
        let path = folder.path("letters");
        let function = places.routed(sync).with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
        assert_eq!(function.answer(sample(file)).await, None, "{file}: {}", function.log());
        assert_eq!(places.documents().await, documents(&expected), "{file}");
        let owned = |(reason, position): &(&str, Option<&str>)| ((*reason).to_owned(), position.map(str::to_owned));
        let expected_letters: Vec<_> = expected_letters.iter().map(owned).collect();
        assert_eq!(reasons(&letters(&path)), expected_letters, "{file}: {:?}", letters(&path));
    }
}

#[tokio::test]
async fn without_a_queue_the_lowest_refused_record_is_reported_and_its_neighbours_are_written() {
    let Some(url) = services::opensearch() else { return };
    for (file, reported) in [
        ("poison-in-the-middle", "448215712889713170215729258"),
        ("bad-base64", "448216114926792656147872702"),
        ("unknown-event-name", "448216717245339713305791043"),
        ("mapping-conflict", "448217923424814985577970980"),
        ("over-long-key", "61230245976238985086251"),
        ("numbers", "448214004552207410441099921"),
        ("keys-only", "448214807771942001954039067"),
        ("remove-then-poison-insert", "448219131124611388502789399"),
        // Records without a usable number are reached through the one before them.
        ("malformed-record", "448216315717433752801867152"),
        ("missing-sequence-number", "448216918544764425859576256"),
        ("bad-sequence-number", "448217219841994725533770857"),
        ("long-sequence-number", "448217521905086147145576049"),
    ] {
        let places = Places::new(&url);
        let Some(sync) = dynamodb_sync(&target(&url)) else { return };
        let function = places.routed(sync).start();
        assert_eq!(function.answer(sample(file)).await.as_deref(), Some(reported), "{file}: {}", function.log());
        let expected = samples().into_iter().find(|sample| sample.0 == file).unwrap().1;
        assert_eq!(places.documents().await, documents(&expected), "{file}");
        let metrics = function.metrics().await;
        let problem = metrics["Failures"]["not_parked"]["example"].as_str();
        assert!(problem.is_some_and(|text| text.contains("TIDELOCK_DEAD_LETTERS is not set")), "{metrics}");
    }
}

#[tokio::test]
async fn the_everyday_story_ends_as_it_should_and_played_again_changes_nothing() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::prepared(&url, "story").await;
    let function = sync.into(index.name()).timeout(std::time::Duration::from_secs(2)).start();
    for file in ["insert-three", "insert", "modify", "remove", "ttl-remove", "ttl-remove-capitalised"] {
        function.succeed(sample(file)).await;
    }
    let before = index.documents().await;
    let johnny = json!({"id": 1, "Name": "Johnny", "created_at": 1_588_166_528});
    assert_eq!(index.fields().await, crate::support::index::expected([("1", johnny)]));
    for (file, applied, stale) in [("insert", 0, 1), ("modify", 1, 0), ("remove", 1, 0), ("ttl-remove", 1, 0)] {
        function.succeed(sample(file)).await;
        let metrics = function.metrics().await;
        assert_eq!((metrics["Applied"].as_u64(), metrics["Stale"].as_u64()), (Some(applied), Some(stale)), "{file}");
        assert_eq!(index.documents().await, before, "{file}");
    }
    // The deletes of Clare and Tom are remembered by their fences: their inserts are stale.
    function.succeed(sample("insert-three")).await;
    let metrics = function.metrics().await;
    assert_eq!((metrics["Applied"].as_u64(), metrics["Stale"].as_u64()), (Some(0), Some(3)));
    assert_eq!(index.documents().await, before);
}
