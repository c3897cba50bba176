//! The sweep removes what is older than the delete of its location, and nothing else.

use crate::events::{Change, NOW, apply, config, mark, run, target, within};
use crate::fences::id_of;
use crate::model::{Data, Model, everywhere};
use crate::scripted::{Reply, name, of_fences, refused};
use mongodb::bson::{Bson, Document, doc};
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{FENCE_COLLECTION, FENCE_LIFE_MS, SWEEP_AGE_MS, Swept, Window};
use tidelock_core::target::{Call, Store as _};
use tidelock_mongodb::{FromUri, MongoDbConfig, MongoDbTarget};

const ALL: Swept = Swept { compared: 0, removed: 0, expired: 0, complete: true };

async fn sweep_at(target: &MongoDbTarget, now: i64) -> Result<Swept, Failure> {
    let call = Call { now_ms: now, ..within(Duration::from_secs(20)) };
    target.sweep(Window::at(now, FENCE_LIFE_MS), call).await
}

/// Old enough for fences of this time.
fn after(written: i64) -> i64 {
    written + SWEEP_AGE_MS + 1
}

fn document(key: &str, sequence: u64) -> Document {
    doc! {"_id": key, "value": format!("{sequence}"), "_tidelock": mark(sequence)}
}

fn fence(key: &str, sequence: u64, written: i64) -> Document {
    doc! {"_id": id_of(key), "collection": "c", "id": key, "written": written, "_tidelock": mark(sequence)}
}

fn watermark(data: &mut Data) -> Option<Document> {
    data.of(FENCE_COLLECTION).into_iter().find(|one| one.get_str("_id").ok() == Some("watermark"))
}

#[test]
fn a_zombie_is_removed_and_a_newer_and_an_equal_document_stay() {
    everywhere(async |server| {
        let database = server.database().await;
        let live = target(&database.uri);
        let keys = ["equal", "foreign", "newer", "none", "zombie"];
        apply(&live, &keys.map(|key| Change::remove(key, 6))).await;
        // What an invocation that had been given up still had under way: no guard, no look at the fence.
        let blind = MongoDbConfig { fences: false, guards: false, ..config(&database.uri) };
        let blind = MongoDbTarget::new(blind, FromUri).expect("valid settings");
        let late =
            [Change::put("zombie", 5, "late"), Change::put("equal", 6, "equal"), Change::put("newer", 7, "newer")];
        apply(&blind, &late).await;
        let foreign =
            doc! {"_id": "foreign", "value": "kept", "_tidelock": {"space": "other", "label": "", "exact": ""}};
        database.collection().insert_one(foreign).await.expect("inserted");

        assert_eq!(sweep_at(&live, after(NOW) - 1).await, Ok(ALL), "{}: too young", server.name);
        assert_eq!(database.values().await.len(), 4, "{}", server.name);
        let swept = sweep_at(&live, after(NOW)).await;
        assert_eq!(swept, Ok(Swept { compared: 5, removed: 1, ..ALL }), "{}", server.name);
        assert_eq!(database.values().await, ["equal=equal", "foreign=kept", "newer=newer"], "{}", server.name);
        // The next one overlaps, and a late one does not find them again.
        assert_eq!(sweep_at(&live, after(NOW) + 60_000).await, Ok(Swept { compared: 5, ..ALL }), "{}", server.name);
        let later = after(NOW) + 3_600_000;
        assert_eq!(sweep_at(&live, later).await, Ok(Swept { compared: 5, ..ALL }), "{}", server.name);
        assert_eq!(sweep_at(&live, later + 1).await, Ok(ALL), "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn fences_expire_when_they_have_been_compared() {
    everywhere(async |server| {
        let database = server.database().await;
        let collection = database.database.collection::<Document>(FENCE_COLLECTION);
        let now = NOW + FENCE_LIFE_MS;
        let mut damaged = fence("damaged", 6, NOW - 1);
        damaged.insert("_tidelock", "text");
        let rows = [fence("old", 6, NOW - 1), fence("young", 6, NOW), damaged, fence("zombie", 6, NOW - 2)];
        collection.insert_many(rows).await.expect("inserted");
        database.collection().insert_one(document("zombie", 5)).await.expect("inserted");
        let swept = sweep_at(&target(&database.uri), now).await;
        assert_eq!(swept, Ok(Swept { compared: 3, removed: 1, expired: 3, complete: true }), "{}", server.name);
        let left = collection.find_one(doc! {"written": {"$exists": true}}).await.expect("a read").expect("a fence");
        assert_eq!(left.get_str("_id").ok(), Some(id_of("young").as_str()), "{}", server.name);
        assert_eq!(database.values().await, [""; 0], "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn a_fence_that_is_renewed_while_it_expires_stays() {
    run(async {
        let renewed = fence("a", 7, NOW + 1);
        let fresh = renewed.clone();
        let model = Model::with(move |command, data| {
            if name(command) == "delete" && of_fences(command) {
                data.put(FENCE_COLLECTION, fresh.clone());
            }
            None
        })
        .await;
        model.data(|data| data.put(FENCE_COLLECTION, fence("a", 6, NOW - 1)));
        let swept = sweep_at(&target(&model.server.uri("")), NOW + FENCE_LIFE_MS).await;
        assert_eq!(swept, Ok(Swept { compared: 1, ..ALL }));
        assert!(model.data(|data| data.of(FENCE_COLLECTION)).contains(&renewed));
    });
}

#[test]
fn every_fence_is_compared_however_many_there_are() {
    everywhere(async |server| {
        let database = server.database().await;
        let collection = database.database.collection::<Document>(FENCE_COLLECTION);
        // More than two pages, most of them of one time.
        let keys: Vec<String> = (0..1_203).map(|n| format!("{n:04}")).collect();
        let written = |n: usize| if n < 1_100 { NOW } else { NOW + 1 };
        let rows: Vec<_> = keys.iter().enumerate().map(|(n, key)| fence(key, 6, written(n))).collect();
        collection.insert_many(rows).await.expect("inserted");
        let documents = keys.iter().step_by(100).map(|key| document(key, 5));
        database.collection().insert_many(documents).await.expect("inserted");
        let swept = sweep_at(&target(&database.uri), after(NOW + 1)).await;
        assert_eq!(swept, Ok(Swept { compared: 1_203, removed: 13, ..ALL }), "{}", server.name);
        assert_eq!(database.values().await, [""; 0], "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn the_watermark_says_how_far_the_last_sweep_has_come() {
    run(async {
        let model = Model::start().await;
        let target = target(&model.server.uri(""));
        assert_eq!(sweep_at(&target, NOW).await, Ok(ALL));
        let until = NOW - SWEEP_AGE_MS;
        assert_eq!(model.data(watermark), Some(doc! {"_id": "watermark", "watermark": until}));
        assert_eq!(sweep_at(&target, NOW + 1_000).await, Ok(ALL));
        let finds: Vec<_> = model.server.log().into_iter().filter(|one| one.contains_key("sort")).collect();
        let ranges: Vec<_> = finds.iter().map(|find| find.get_document("filter").expect("a filter").clone()).collect();
        let overlap = until - tidelock_core::fence::SWEEP_OVERLAP_MS;
        assert!(ranges.contains(&doc! {"written": {"$gte": i64::MIN, "$lt": until}}), "{ranges:?}");
        assert!(ranges.contains(&doc! {"written": {"$gte": overlap, "$lt": until + 1_000}}), "{ranges:?}");
        for find in &finds {
            assert_eq!(find.get_document("sort").ok(), Some(&doc! {"written": 1, "_id": 1}));
            assert_eq!(find.get_document("readConcern").expect("a concern").get_str("level").ok(), Some("majority"));
        }
    });
}

#[test]
fn a_sweep_that_is_cut_short_is_taken_up_where_it_stopped() {
    run(async {
        // The second page of documents takes too long, once.
        let mut reads = 0;
        let model = Model::with(move |command, _| {
            reads += usize::from(name(command) == "find" && !of_fences(command));
            (name(command) == "find" && !of_fences(command) && reads == 2).then_some(Reply::Silence)
        })
        .await;
        // All of one time, so that a time alone would never get past them.
        let keys: Vec<String> = (0..900).map(|n| format!("{n:03}")).collect();
        model.data(|data| {
            for key in &keys {
                data.put(FENCE_COLLECTION, fence(key, 6, NOW));
                data.put("c", document(key, 5));
            }
        });
        let target = target(&model.server.uri(""));
        let call = within(Duration::from_millis(800));
        let swept = target.sweep(Window::at(after(NOW), FENCE_LIFE_MS), call).await;
        assert!(Instant::now() < call.deadline);
        assert_eq!(swept, Ok(Swept { compared: 500, removed: 500, expired: 0, complete: false }));
        let reached = model.data(watermark).expect("a watermark");
        assert_eq!(reached.get_i64("watermark").ok(), Some(NOW));
        assert!(reached.get_str("last").is_ok(), "{reached}");
        assert_eq!(sweep_at(&target, after(NOW)).await, Ok(Swept { compared: 400, removed: 400, ..ALL }));
        assert_eq!(model.data(|data| data.of("c").len()), 0);
        assert!(!model.data(watermark).expect("a watermark").contains_key("last"));
    });
}

#[test]
fn no_time_means_nothing_is_swept() {
    run(async {
        let model = Model::start().await;
        model.data(|data| data.put(FENCE_COLLECTION, fence("a", 6, NOW)));
        let call = within(Duration::ZERO);
        let swept = target(&model.server.uri("")).sweep(Window::at(after(NOW), FENCE_LIFE_MS), call).await;
        assert_eq!(swept, Ok(Swept { complete: false, ..ALL }));
        assert_eq!(model.data(watermark), None);
    });
}

#[test]
fn a_document_that_changes_meanwhile_is_looked_at_again() {
    // What the other writer leaves, how often, and what becomes of it.
    for (sequence, times, removed, left, complete) in
        [(7, 1, 0, 1, true), (4, 1, 1, 0, true), (4, usize::MAX, 0, 1, false)]
    {
        run(async move {
            let mut turns = 0;
            let model = Model::with(move |command, data| {
                if name(command) == "delete" && turns < times {
                    turns += 1;
                    let mut document = document("a", sequence);
                    document.get_document_mut("_tidelock").expect("a mark").insert("at", turns as i64);
                    data.put("c", document);
                }
                None
            })
            .await;
            model.data(|data| {
                data.put(FENCE_COLLECTION, fence("a", 6, NOW));
                data.put("c", document("a", 5));
            });
            let swept = sweep_at(&target(&model.server.uri("")), after(NOW)).await;
            let compared = usize::from(complete);
            assert_eq!(swept, Ok(Swept { compared, removed, expired: 0, complete }), "{sequence} {times}");
            assert_eq!(model.data(|data| data.of("c").len()), left, "{sequence} {times}");
            assert_eq!(model.data(watermark).is_some(), complete, "{sequence} {times}");
        });
    }
}

#[test]
fn errors_make_the_pass_one_to_be_made_again() {
    for (verb, fences) in [("find", true), ("find", false), ("delete", false), ("update", true)] {
        run(async move {
            let model = Model::with(move |command, _| {
                (name(command) == verb && of_fences(command) == fences).then(|| refused(13))
            })
            .await;
            model.data(|data| {
                data.put(FENCE_COLLECTION, fence("a", 6, NOW));
                data.put("c", document("a", 5));
            });
            let failure = sweep_at(&target(&model.server.uri("")), after(NOW)).await.expect_err("refused");
            assert_eq!(failure.cause, Cause::Forbidden, "{verb}");
            assert_eq!(model.data(watermark), None, "{verb}");
        });
    }
    // What may pass is tried again; an index that may not be made is no reason to stop.
    run(async {
        let mut turns = 0;
        let model = Model::with(move |command, _| {
            turns += 1;
            match name(command).as_str() {
                "createIndexes" => Some(refused(13)),
                _ if turns % 2 == 0 => Some(refused(91)),
                _ => None,
            }
        })
        .await;
        model.data(|data| {
            data.put(FENCE_COLLECTION, fence("a", 6, NOW));
            data.put("c", document("a", 5));
        });
        let target = target(&model.server.uri(""));
        assert_eq!(sweep_at(&target, after(NOW)).await, Ok(Swept { compared: 1, removed: 1, ..ALL }));
        sweep_at(&target, after(NOW)).await.expect("swept");
        let indexes = model.server.names().iter().filter(|name| *name == "createIndexes").count();
        assert_eq!(indexes, 1, "once in a process");
    });
}

#[test]
fn every_database_that_is_named_is_swept_and_a_bad_one_alone_fails() {
    run(async {
        let model = Model::with(|command, _| (command.get_str("$db").ok() == Some("x")).then(|| refused(13))).await;
        model.data(|data| data.put(FENCE_COLLECTION, fence("a", 6, NOW)));
        let databases = vec!["x".to_owned(), "y".to_owned(), "d".to_owned()];
        let target = MongoDbTarget::new(MongoDbConfig { databases, ..config(&model.server.uri("")) }, FromUri);
        let target = target.expect("valid settings");
        assert_eq!(sweep_at(&target, after(NOW)).await.expect_err("refused").cause, Cause::Forbidden);
        let log = model.server.log();
        let indexes = log.iter().filter(|command| name(command) == "createIndexes");
        let mut swept: Vec<_> = indexes.filter_map(|command| command.get_str("$db").ok()).collect();
        swept.sort_unstable();
        assert_eq!(swept, ["d", "x", "y"], "the default one once");
        let kept: Vec<_> = log
            .iter()
            .filter(|one| name(one) == "update")
            .filter_map(|one| one.get("$db").and_then(Bson::as_str))
            .collect();
        assert!(kept.contains(&"y") && kept.contains(&"d") && !kept.contains(&"x"), "{kept:?}");
    });
}
