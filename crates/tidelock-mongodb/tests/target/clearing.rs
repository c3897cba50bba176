//! Collections that are cleared of what was dropped at the source: ids of every type, page by page.

use crate::events::{NOW, target, within};
use crate::model::everywhere;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use std::time::Duration;
use tidelock_core::fence::{FENCE_COLLECTION, FENCE_LIFE_MS, SWEEP_AGE_MS, Window, namespace_id};
use tidelock_core::target::{Call, Place, Store as _};
use tidelock_core::version::Mark;

const SPACE: &str = "mongodb:demo.us-east-1:shop.orders";

fn exact(time: u64) -> String {
    format!("{:020}", (1_600_000_000 + time) << 32)
}

fn fence(time: u64) -> Mark {
    let (label, token) = (String::new(), String::new());
    Mark { space: SPACE.to_owned(), label, exact: exact(time), token, at: 0, part: false }
}

fn document(id: impl Into<Bson>, space: &str, time: u64) -> Document {
    doc! {"_id": id.into(), "_tidelock": {"space": space, "label": "", "exact": exact(time), "at": 0_i64}}
}

/// Documents that stay, whatever ends.
fn kept() -> Vec<Document> {
    vec![
        document("other", "mongodb:demo.us-east-1:shop.things", 1),
        document("equal", SPACE, 5),
        document("newer", SPACE, 6),
        doc! {"_id": "foreign", "a": 1},
        doc! {"_id": "damaged", "_tidelock": {"space": SPACE, "label": "", "exact": "1"}},
    ]
}

/// More than a page of them, with ids between which no query steps by itself.
fn older(server: &str) -> Vec<Document> {
    let ids = [
        Bson::Null,
        Bson::from(7),
        Bson::from(7.5),
        Bson::from(i64::MAX),
        Bson::from(true),
        Bson::from(DateTime::from_millis(-5)),
        Bson::from(ObjectId::from_bytes([3; 12])),
        Bson::from(doc! {"a": 1}),
    ];
    let texts = (0..1_200).map(|number| Bson::from(format!("k{number:04}")));
    // The model compares texts alone.
    let ids = if server == "the model" { &ids[..0] } else { &ids[..] };
    ids.iter().cloned().chain(texts).map(|id| document(id, SPACE, 4)).collect()
}

#[test]
fn all_that_is_older_goes_and_nothing_else() {
    everywhere(async |server| {
        let database = server.database().await;
        let live = target(&database.uri);
        let place = Place::new("c".to_owned(), true);
        let none = live.clear(&place, &fence(5), within(Duration::from_secs(20))).await.expect("nothing there");
        assert!(none.complete && none.removed == 0);
        let older = older(server.name);
        database.collection().insert_many(kept().iter().chain(&older)).await.expect("inserted");
        let cleared = live.clear(&place, &fence(5), within(Duration::from_secs(40))).await.expect("cleared");
        assert_eq!((cleared.removed, cleared.complete), (older.len(), true), "{}", server.name);
        assert_eq!(database.values().await, ["damaged=", "equal=", "foreign=", "newer=", "other="], "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn a_sweep_clears_what_a_namespaces_fence_is_about_and_passes_it_only_then() {
    everywhere(async |server| {
        let database = server.database().await;
        let live = target(&database.uri);
        let fences = database.database.collection::<Document>(FENCE_COLLECTION);
        let id = namespace_id(SPACE);
        let mut row = document("f", SPACE, 5);
        row.extend(doc! {"collection": "c", "id": &id, "written": NOW});
        fences.insert_one(row).await.expect("inserted");
        let older = older(server.name);
        database.collection().insert_many(kept().iter().chain(&older)).await.expect("inserted");
        let now = NOW + SWEEP_AGE_MS + 1;
        let call = |left: u64| Call { now_ms: now, ..within(Duration::from_millis(left)) };
        let (mut removed, mut passes) = (0, 0);
        loop {
            // Little time at first; what was done then is not lost.
            let left = if passes < 3 { 60 } else { 40_000 };
            let swept = live.sweep(Window::at(now, FENCE_LIFE_MS), call(left)).await;
            passes += 1;
            let Ok(swept) = swept else { continue };
            removed += swept.removed;
            let watermark = fences.find_one(doc! {"_id": "watermark"}).await.expect("a read").unwrap_or_default();
            let passed = watermark.get_i64("watermark").is_ok_and(|reached| reached > NOW);
            assert_eq!(passed, swept.complete, "{}: {watermark}", server.name);
            if swept.complete {
                break;
            }
        }
        assert!(passes > 1 && removed <= older.len(), "{}: {removed} in {passes}", server.name);
        assert_eq!(database.values().await, ["damaged=", "equal=", "foreign=", "newer=", "other="], "{}", server.name);
        database.drop().await;
    });
}
