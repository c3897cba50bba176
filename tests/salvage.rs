//! `on_conflict: salvage`: documents without the fields that a real index refuses, a letter that tells of it, and the whole document
//! once the mapping is mended.

use crate::support::event::{AT, Stream, apart, event, named};
use crate::support::exact::Exact;
use crate::support::function::{Running, function, target};
use crate::support::index::Index;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, services};
use serde_json::{Value, json};
use tidelock_local::function::Invocation;

/// A number that no index can hold, and no float either.
const LONG: &str = "12345678901234567890123456789012345678";

struct Place {
    index: Index,
    folder: Folder,
}

impl Place {
    async fn new(purpose: &str) -> Option<Self> {
        let url = services::opensearch()?;
        let place = Self { index: Index::new(&url, purpose), folder: Folder::new() };
        let long = json!({"type": "long"});
        place
            .index
            .create(json!({
                // As many fields as there are, and Tidelock's own two.
                "settings": {"index.mapping.total_fields.limit": 11},
                "mappings": {"properties": {
                    "id": long, "Name": {"type": "text"}, "age": long, "born": {"type": "date"},
                    "o": {"properties": {"x": long, "y": long}}, "list": {"properties": {"x": long}},
                }},
            }))
            .await;
        Some(place)
    }

    fn start(&self, name: &str, on_conflict: &str) -> Option<Running> {
        let url = services::opensearch()?;
        let routes = json!([{"from": "*", "to": self.index.name(), "on_conflict": on_conflict}]);
        let function = function(name, &target(&url))?
            .with("TIDELOCK_PIPELINE", &json!({"version": 1, "routes": routes}).to_string())
            .with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", self.queue()));
        Some(function.start())
    }

    fn queue(&self) -> String {
        self.folder.path("letters.jsonl")
    }

    fn reasons(&self) -> Vec<String> {
        reasons(&letters(&self.queue())).into_iter().map(|(reason, _)| reason).collect()
    }
}

/// Items that do not fit, each in a way of its own; number 1 does.
fn records() -> Vec<Value> {
    let stream = Stream::of("mytable");
    let fields = [
        json!({"age": {"N": "5"}, "o": {"M": {"x": {"N": "1"}}}}),
        json!({"age": {"S": "old"}, "Name": {"S": "two"}}),
        json!({"age": {"N": LONG}, "born": {"S": "not a date"}}),
        json!({"o": {"M": {"x": {"S": "q"}, "y": {"N": "1"}}}}),
        json!({"list": {"L": [{"M": {"x": {"N": "1"}}}, {"M": {"x": {"S": "z"}}}]}}),
        json!({"new": {"S": "n"}, "more": {"M": {"deep": {"N": "1"}}}, "o": {"M": {"y": {"N": "2"}, "z": {"N": "3"}}}}),
        json!({"o": {"N": "7"}}),
    ];
    let item = |(n, attributes): (u32, &Value)| stream.item(&apart(n), &n.to_string(), AT, attributes);
    (1..).zip(&fields).map(item).collect()
}

/// The documents in order of their ids. The mark of those that are there in part says so.
async fn documents(index: &Index) -> Vec<Exact> {
    let found = index.documents().await;
    for (id, document) in &found {
        let is_part = document.fields.get("_rejected").is_some();
        let part = document.mark.as_ref().and_then(|mark| mark.get("part")).cloned();
        assert_eq!(part, is_part.then_some(Exact::from(json!(true))), "{id}: {document:?}");
    }
    found.into_values().map(|document| document.fields).collect()
}

fn exact(text: &str) -> Exact {
    Exact::parse(text)
}

async fn redrive(redrive: &Running, request: Value) -> Value {
    let invocation = redrive.invoke(request.to_string()).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", redrive.log()) };
    serde_json::from_slice::<Value>(body).unwrap()["redriven"]["dead-letters"].clone()
}

#[tokio::test]
async fn what_does_not_fit_is_set_aside_until_the_mapping_is_mended() {
    let Some(place) = Place::new("salvaged").await else { return };
    let Some(sync) = place.start("dynamodb-sync", "salvage") else { return };
    let events = event(&records());
    sync.succeed(events.clone()).await;
    let salvaged = [
        exact(r#"{"id":1,"age":5,"o":{"x":1}}"#),
        exact(r#"{"id":2,"Name":"two","_rejected":{"age":"old"}}"#),
        exact(&format!(r#"{{"id":3,"_rejected":{{"age":{LONG},"born":"not a date"}}}}"#)),
        exact(r#"{"id":4,"o":{"y":1},"_rejected":{"o.x":"q"}}"#),
        exact(r#"{"id":5,"_rejected":{"list":[{"x":1},{"x":"z"}]}}"#),
        exact(r#"{"id":6,"o":{"y":2},"_rejected":{"new":"n","more":{"deep":1},"o.z":3}}"#),
        exact(r#"{"id":7,"_rejected":{"o":7}}"#),
    ];
    assert_eq!(documents(&place.index).await, salvaged);
    assert_eq!(place.reasons(), ["salvaged"; 6]);
    let told = letters(&place.queue());
    let of_three = told.iter().find(|letter| letter["source"]["position"] == apart(3)).expect("a letter");
    let detail = of_three["detail"].as_str().unwrap();
    for words in ["`age`", "`born`", "under `_rejected`", "failed to parse field ["] {
        assert!(detail.contains(words), "{detail}");
    }
    // Nobody finds documents by what does not fit, and the mapping has not grown by it.
    let mapping = place.index.mapping().await;
    assert_eq!(mapping["properties"]["_rejected"], json!({"type": "object", "enabled": false}));
    assert_eq!(mapping["properties"].get("new"), None, "{mapping}");

    // The same event again: the same documents.
    sync.succeed(events).await;
    assert_eq!(documents(&place.index).await, salvaged);

    // As long as nothing is mended they are salvaged again; the letters of one change have become one.
    let Some(again) = place.start("redrive", "salvage") else { return };
    let all = json!({"redrive": ["dead-letters"]});
    let told = redrive(&again, all.clone()).await;
    assert_eq!((&told["messages"], &told["parked"]), (&json!(12), &json!({"salvaged": 6})), "{told}");
    let lenient = json!({"type": "long", "ignore_malformed": true});
    let mended = json!({"properties": {
        "age": lenient, "born": {"type": "date", "ignore_malformed": true},
        "o": {"properties": {"x": lenient}}, "list": {"properties": {"x": lenient}},
    }});
    place.index.update_mapping(mended).await;
    place.index.set(json!({"index.mapping.total_fields.limit": 1_000})).await;
    // Also where the route does not want it any more, what is there only in part is written whole.
    let Some(strict) = place.start("redrive", "park") else { return };
    let told = redrive(&strict, all).await;
    // The one that cannot be mended is still there in part, and still told of, as what it is now.
    assert_eq!((&told["applied"], &told["parked"]), (&json!(5), &json!({"mapping_conflict": 1})), "{told}");
    let whole = [
        exact(r#"{"id":1,"age":5,"o":{"x":1}}"#),
        exact(r#"{"id":2,"Name":"two","age":"old"}"#),
        exact(&format!(r#"{{"id":3,"age":{LONG},"born":"not a date"}}"#)),
        exact(r#"{"id":4,"o":{"x":"q","y":1}}"#),
        exact(r#"{"id":5,"list":[{"x":1},{"x":"z"}]}"#),
        exact(r#"{"id":6,"new":"n","more":{"deep":1},"o":{"y":2,"z":3}}"#),
        exact(r#"{"id":7,"_rejected":{"o":7}}"#),
    ];
    assert_eq!(documents(&place.index).await, whole);
}

#[tokio::test]
async fn a_newer_change_is_never_salvaged_away() {
    let Some(place) = Place::new("salvage-order").await else { return };
    let Some(sync) = place.start("dynamodb-sync", "salvage") else { return };
    let stream = Stream::of("mytable");
    let bad = |n: u32, id: &str| stream.item(&apart(n), id, AT, &json!({"age": {"S": "old"}}));
    sync.succeed(event(&[bad(1, "1"), bad(2, "2"), bad(3, "3")])).await;
    sync.succeed(event(&[stream.upsert(&apart(4), "1", "one"), stream.remove(&apart(5), "2")])).await;
    // Late, and again.
    sync.succeed(event(&[bad(1, "1"), bad(2, "2"), bad(3, "3")])).await;
    let Some(again) = place.start("redrive", "salvage") else { return };
    let told = redrive(&again, json!({"redrive": ["dead-letters"]})).await;
    assert_eq!((&told["stale"], &told["parked"]), (&json!(2), &json!({"salvaged": 1})), "{told}");
    let salvaged = exact(r#"{"id":3,"_rejected":{"age":"old"}}"#);
    assert_eq!(documents(&place.index).await, [named(1, "one"), salvaged]);
}

#[tokio::test]
async fn a_field_of_that_name_is_the_sources_own() {
    let Some(place) = Place::new("salvage-own").await else { return };
    let Some(sync) = place.start("dynamodb-sync", "salvage") else { return };
    let stream = Stream::of("mytable");
    let own = |age: Value| json!({"age": age, "_rejected": {"S": "mine"}});
    let record = |n: u32, age| stream.item(&apart(n), &n.to_string(), AT, &own(age));
    sync.succeed(event(&[record(1, json!({"N": "1"})), record(2, json!({"S": "old"}))])).await;
    assert_eq!(place.reasons(), ["mapping_conflict"]);
    let first = exact(r#"{"id":1,"age":1,"_rejected":"mine"}"#);
    assert_eq!(place.index.fields().await.into_iter().collect::<Vec<_>>(), [("1".to_owned(), first)]);
}
