//! Looking at what is stored, and writing only where nothing has changed since.

use crate::events::{Change, batch, mark, operations, place, run, target, within};
use crate::fences::id_of;
use crate::model::{Data, Model, everywhere};
use crate::scripted::{Reply, Scripted, name, of_fences, refused};
use mongodb::bson::{Bson, Document, doc};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::FENCE_COLLECTION;
use tidelock_core::slow::settle;
use tidelock_core::target::{Call, Done, Found, Outcome, Put, Store as _};
use tidelock_core::version::Mark;
use tidelock_mongodb::{MongoDbTarget, Unchanged};

type Looked = Vec<Result<Found<Unchanged>, Failure>>;

fn soon() -> Call {
    within(Duration::from_secs(20))
}

async fn look(target: &MongoDbTarget, changes: &[Change]) -> Looked {
    let (batch, into) = (batch(changes), place("c"));
    target.look(&operations(&batch, &into), soon()).await
}

/// Writes each change over what was looked at.
async fn put(target: &MongoDbTarget, changes: &[Change], looked: &Looked) -> Vec<Result<bool, Failure>> {
    let (batch, into) = (batch(changes), place("c"));
    let mut puts = Vec::new();
    for (operation, found) in operations(&batch, &into).into_iter().zip(looked) {
        let document = found.as_ref().expect("looked").document.as_ref();
        puts.push(Put { operation, over: document.map(|stored| stored.witness.clone()) });
    }
    target.put(&puts, soon()).await
}

async fn settled(target: &MongoDbTarget, changes: &[Change]) -> Vec<Outcome> {
    let (batch, into) = (batch(changes), place("c"));
    settle(target, &operations(&batch, &into), soon()).await
}

fn version(sequence: u64) -> Mark {
    let mark = mark(sequence);
    let text = |name: &str| mark.get_str(name).expect("text").to_owned();
    let (space, label, exact) = (text("space"), text("label"), text("exact"));
    Mark { space, label, exact, token: String::new(), at: 1_000_000, part: false }
}

fn stored(key: &str, value: &str, mark: Document) -> Document {
    doc! {"_id": key, "id": key, "value": value, "_tidelock": mark}
}

#[test]
fn a_look_finds_document_and_fence() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let changes =
            ["both", "document", "fence", "neither", "foreign", "unmarked"].map(|key| Change::put(key, 5, "v"));
        crate::events::apply(&target, &[Change::remove("both", 6), Change::remove("fence", 7)]).await;
        let documents = [
            stored("both", "v", mark(4)),
            stored("document", "v", mark(5)),
            stored("foreign", "v", doc! {"space": "other", "label": "l", "exact": "e"}),
            doc! {"_id": "unmarked", "_tidelock": "text"},
        ];
        database.collection().insert_many(documents).await.expect("inserted");
        let looked = look(&target, &changes).await;
        let marks: Vec<_> = looked
            .iter()
            .map(|found| found.as_ref().expect("found"))
            .map(|found| (found.document.as_ref().map(|stored| stored.mark.clone()), found.fence.clone()))
            .collect();
        let other = Mark {
            space: "other".into(),
            label: "l".into(),
            exact: "e".into(),
            token: String::new(),
            at: 0,
            part: false,
        };
        let expected = [
            (Some(Some(version(4))), Some(version(6))),
            (Some(Some(version(5))), None),
            (None, Some(version(7))),
            (None, None),
            (Some(Some(other)), None),
            (Some(None), None),
        ];
        assert_eq!(marks, expected, "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn a_look_reads_the_document_first_and_both_from_the_primary() {
    run(async {
        let model = Model::start().await;
        let target = target(&model.server.uri("?readPreference=secondaryPreferred&readConcernLevel=local"));
        look(&target, &[Change::put("a", 5, "v"), Change::remove("b", 5)]).await;
        let log = model.server.log();
        assert_eq!(log.iter().map(of_fences).collect::<Vec<_>>(), [false, true]);
        assert_eq!(log[0].get_document("filter").ok(), Some(&doc! {"_id": {"$in": ["a", "b"]}}));
        assert_eq!(log[1].get_document("filter").ok(), Some(&doc! {"_id": {"$in": [id_of("a"), id_of("b")]}}));
        for command in &log {
            assert_eq!(
                command.get_document("readConcern").expect("a read concern").get_str("level").ok(),
                Some("majority")
            );
            let preference = command.get_document("$readPreference").ok().and_then(|one| one.get_str("mode").ok());
            assert!(matches!(preference, None | Some("primary")), "{command}");
        }
    });
}

#[test]
fn a_fence_that_cannot_be_read_stands_in_the_way() {
    for damaged in [None, Some(Bson::Null), Some(Bson::from("text")), Some(doc! {"space": "s"}.into())] {
        run(async {
            let model = Model::start().await;
            let mut fence = doc! {"_id": id_of("bad"), "written": 5_i64};
            fence.extend(damaged.clone().map(|mark| ("_tidelock".to_owned(), mark)));
            model.data(|data| data.put(FENCE_COLLECTION, fence));
            let target = target(&model.server.uri(""));
            let looked = look(&target, &[Change::put("bad", 5, "v"), Change::put("good", 5, "v")]).await;
            let failure = looked[0].as_ref().expect_err("unreadable");
            assert_eq!(failure.cause, Cause::FenceUnwritten);
            assert!(failure.detail.contains("the fence of `bad` in `c` cannot be read"), "{failure}");
            assert_eq!(looked[1], Ok(Found { document: None, fence: None }));
        });
    }
    for (code, fences, expected) in
        [(13, true, Cause::Forbidden), (73, true, Cause::FenceUnwritten), (13, false, Cause::Forbidden)]
    {
        run(async move {
            let model = Model::with(move |command, _| (of_fences(command) == fences).then(|| refused(code))).await;
            let looked = look(&target(&model.server.uri("")), &[Change::put("a", 5, "v")]).await;
            assert_eq!(looked[0].as_ref().expect_err("refused").cause, expected);
        });
    }
}

#[test]
fn what_has_changed_since_it_was_looked_at_is_left_alone() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let there = |key: &str| stored(key, "old", mark(5));
        let collection = database.collection();
        let keys = ["same", "changed", "gone", "foreign", "kept-delete", "changed-delete", "gone-delete"];
        collection.insert_many(keys.map(there)).await.expect("inserted");
        collection.delete_one(doc! {"_id": "foreign"}).await.expect("deleted");
        collection.insert_one(doc! {"_id": "foreign", "_tidelock": "text"}).await.expect("inserted");
        let changes = [
            Change::put("same", 6, "new"),
            Change::put("changed", 6, "new"),
            Change::put("gone", 6, "new"),
            Change::put("foreign", 6, "new"),
            Change::put("free", 6, "new"),
            Change::put("taken", 6, "new"),
            Change::remove("kept-delete", 6),
            Change::remove("changed-delete", 6),
            Change::remove("gone-delete", 6),
            Change::remove("never", 6),
            Change::remove("came", 6),
        ];
        let looked = look(&target, &changes).await;
        for key in ["changed", "changed-delete", "taken", "came"] {
            // As if written by an even older one: only that it has changed counts.
            collection.delete_one(doc! {"_id": key}).await.expect("deleted");
            collection.insert_one(stored(key, "another", mark(4))).await.expect("inserted");
        }
        collection.delete_many(doc! {"_id": {"$in": ["gone", "gone-delete"]}}).await.expect("deleted");
        let results = put(&target, &changes, &looked).await;
        // Where nothing was, nothing is written over; a delete is guarded by the version alone: what came and is older may go.
        let expected = [true, false, false, true, true, false, true, false, true, true, true].map(Ok);
        assert_eq!(results, expected, "{}", server.name);
        let left =
            ["changed=another", "changed-delete=another", "foreign=new", "free=new", "same=new", "taken=another"];
        assert_eq!(database.values().await, left, "{}", server.name);
        let looked = look(&target, &changes).await;
        let fenced = looked.iter().map(|found| found.as_ref().expect("looked").fence.clone());
        let deletes = [false, false, false, false, false, false, true, true, true, true, true];
        assert_eq!(fenced.collect::<Vec<_>>(), deletes.map(|delete| delete.then(|| version(6))), "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn where_nothing_was_nothing_is_overwritten() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let changes = [
            Change::put("newer", 6, "new"),
            Change::put("older", 6, "new"),
            Change::put("equal", 6, "new"),
            Change::put("foreign", 6, "new"),
            Change::put("unmarked", 6, "new"),
            Change::remove("newer-delete", 6),
            Change::remove("equal-delete", 6),
        ];
        let looked = look(&target, &changes).await;
        let documents = [
            stored("newer", "kept", mark(7)),
            stored("older", "kept", mark(5)),
            stored("equal", "kept", mark(6)),
            stored("foreign", "kept", doc! {"space": "other", "label": "", "exact": ""}),
            doc! {"_id": "unmarked", "value": "kept"},
            stored("newer-delete", "kept", mark(7)),
            stored("equal-delete", "kept", mark(6)),
        ];
        database.collection().insert_many(documents).await.expect("inserted");
        assert_eq!(put(&target, &changes, &looked).await, [const { Ok::<bool, Failure>(false) }; 7], "{}", server.name);
        let values = database.values().await;
        assert!(
            values.len() == 7 && values.iter().all(|value| value.ends_with("=kept")),
            "{}: {values:?}",
            server.name
        );
        database.drop().await;
    });
}

#[test]
fn the_version_that_is_there_can_be_written_with_other_contents() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let keys = ["a", "b", "c"];
        database.collection().insert_many(keys.map(|key| stored(key, "old", mark(5)))).await.expect("inserted");
        let changes = keys.map(|key| Change::put(key, 5, "truth"));
        let looked = look(&target, &changes).await;
        // One has changed, so that the answer does not say which of them were written.
        crate::events::apply(&target, &[Change::put("b", 6, "live")]).await;
        assert_eq!(put(&target, &changes, &looked).await, [Ok(true), Ok(false), Ok(true)], "{}", server.name);
        assert_eq!(database.values().await, ["a=truth", "b=live", "c=truth"], "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn a_newer_fence_is_never_lowered() {
    run(async {
        let model = Model::start().await;
        let target = target(&model.server.uri(""));
        crate::events::apply(&target, &[Change::remove("a", 9)]).await;
        model.data(|data| data.put("c", stored("a", "zombie", mark(4))));
        let fence = model.data(|data| data.only(FENCE_COLLECTION));
        // Whatever the clocks say.
        let changes = [Change::remove("a", 5).at(9_999)];
        let looked = look(&target, &changes).await;
        assert_eq!(put(&target, &changes, &looked).await, [Ok(true)]);
        assert_eq!(model.data(|data| (data.only(FENCE_COLLECTION), data.of("c").len())), (fence, 0));
    });
}

#[test]
fn without_its_fence_a_delete_is_not_done() {
    for (code, cause) in [(121, Cause::FenceUnwritten), (13, Cause::Forbidden)] {
        run(async move {
            let refuse = move |command: &Document, _: &mut Data| {
                (of_fences(command) && name(command) != "find").then(|| refused(code))
            };
            let model = Model::with(refuse).await;
            model.data(|data| data.put("c", stored("a", "v", mark(4))));
            let target = target(&model.server.uri(""));
            let changes = [Change::remove("a", 5), Change::put("b", 5, "v")];
            let looked = look(&target, &changes).await;
            let results = put(&target, &changes, &looked).await;
            assert_eq!(results[0].as_ref().expect_err("no fence").cause, cause);
            assert_eq!(results[1], Ok(true));
            assert!(!model.server.names().contains(&"delete".to_owned()));
        });
    }
}

#[test]
fn another_unique_index_refuses_a_write() {
    run(async {
        let model = Model::start().await;
        model.data(|data| {
            data.make_unique("c", "value");
            data.put("c", stored("other", "taken", mark(1)));
            data.put("c", stored("b", "free", mark(1)));
        });
        let target = target(&model.server.uri(""));
        let changes = [Change::put("a", 5, "taken"), Change::put("b", 5, "taken"), Change::put("d", 5, "w")];
        let looked = look(&target, &changes).await;
        let results = put(&target, &changes, &looked).await;
        for refused in &results[..2] {
            assert_eq!(refused.as_ref().expect_err("refused").cause, Cause::UniqueConflict);
        }
        assert_eq!(results[2], Ok(true));
    });
}

#[test]
fn an_answer_that_is_lost_does_not_hide_the_write() {
    run(async {
        let (lost, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&lost);
        let model = Model::with(move |command, data| {
            if name(command) != "update" || of_fences(command) || count.fetch_add(1, Ordering::SeqCst) > 0 {
                return None;
            }
            // It happens, and nobody hears of it.
            data.put("c", stored("a", "new", mark(6)));
            counted.fetch_add(1, Ordering::SeqCst);
            Some(Reply::Close)
        })
        .await;
        model.data(|data| data.put("c", stored("a", "old", mark(5))));
        let target = target(&model.server.uri(""));
        let changes = [Change::put("a", 6, "new")];
        let looked = look(&target, &changes).await;
        assert_eq!(put(&target, &changes, &looked).await, [Ok(true)]);
        assert_eq!(lost.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_server_that_says_nothing_costs_no_more_than_the_time_there_is() {
    run(async {
        let server = Scripted::start(|_| Reply::Silence).await;
        let target = target(&server.uri(""));
        let (batch, into) = (batch(&[Change::put("a", 5, "v"), Change::remove("b", 5)]), place("c"));
        let operations = operations(&batch, &into);
        let call = within(Duration::from_millis(600));
        let looked = target.look(&operations, call).await;
        assert!(std::time::Instant::now() < call.deadline);
        assert!(
            looked.iter().all(|one| one.as_ref().is_err_and(|failure| failure.cause == Cause::TimedOut)),
            "{looked:?}"
        );
        let call = within(Duration::from_millis(600));
        let puts: Vec<_> = operations.iter().map(|operation| Put { operation: *operation, over: None }).collect();
        let results = target.put(&puts, call).await;
        assert!(std::time::Instant::now() < call.deadline);
        assert!(
            results.iter().all(|one| one.as_ref().is_err_and(|failure| failure.cause == Cause::TimedOut)),
            "{results:?}"
        );
        assert_eq!(target.look(&[], call).await, []);
    });
}

#[test]
fn a_slow_lane_gives_way_to_what_comes_in_between() {
    // What is done before the first write to the documents, the outcome of a change of version 5, and what is left.
    type Between = fn(&mut Data);
    let newer: Between = |data| data.put("c", stored("a", "newer", mark(6)));
    let older: Between = |data| data.put("c", stored("a", "older", mark(3)));
    let deleted: Between = |data| {
        data.put(
            FENCE_COLLECTION,
            doc! {"_id": id_of("a"), "collection": "c", "id": "a", "written": 1_i64, "_tidelock": mark(6)},
        );
        data.drop("c");
    };
    for (between, outcome, left) in
        [(newer, Done::Stale, Some("newer")), (older, Done::Applied, Some("v")), (deleted, Done::Stale, None)]
    {
        for before in [None, Some(stored("a", "before", mark(4)))] {
            run(async {
                let mut turns = 0;
                let model = Model::with(move |command, data| {
                    if matches!(name(command).as_str(), "insert" | "update") && !of_fences(command) {
                        turns += 1;
                        if turns == 1 {
                            between(data);
                        }
                    }
                    None
                })
                .await;
                model.data(|data| before.clone().map(|document| data.put("c", document)));
                let target = target(&model.server.uri(""));
                let outcomes = settled(&target, &[Change::put("a", 5, "v")]).await;
                assert_eq!(outcomes, [Ok(outcome)], "{before:?}");
                let values = model.data(|data| data.of("c"));
                let values: Vec<_> = values.iter().map(|document| document.get_str("value").expect("text")).collect();
                assert_eq!(values, left.into_iter().collect::<Vec<_>>(), "{before:?}");
            });
        }
    }
}

#[test]
fn a_slow_lane_knows_of_a_delete_by_its_fence_alone() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let late = [Change::put("a", 5, "late")];
        crate::events::apply(&target, &[Change::remove("a", 6)]).await;
        assert_eq!(settled(&target, &late).await, [Ok(Done::Stale)], "{}", server.name);
        assert_eq!(database.values().await, [""; 0], "{}", server.name);
        // Dropped by hand, the fences are forgotten.
        database.database.collection::<Document>(FENCE_COLLECTION).drop().await.expect("dropped");
        assert_eq!(settled(&target, &late).await, [Ok(Done::Applied)], "{}", server.name);
        assert_eq!(database.values().await, ["a=late"], "{}", server.name);
        database.drop().await;
    });
}
