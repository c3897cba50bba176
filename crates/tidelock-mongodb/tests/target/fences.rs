//! Deletes leave fences, and no delete goes out before its fence is there.

use crate::events::{Change, NOW, apply, apply_within, batch, config, mark, operations, place, run, target, within};
use crate::model::{Model, everywhere};
use crate::scripted::{Reply, Scripted, done, errors, found, ids, name, of_fences, refused};
use mongodb::bson::{Bson, Document, doc};
use std::time::Duration;
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::fence::{FENCE_COLLECTION, fence_id};
use tidelock_core::target::{Call, Done, Outcome, Target as _};
use tidelock_mongodb::{FromUri, MongoDbConfig, MongoDbTarget};

/// The id of the fence of a document in the collection `c` whose id is this text.
pub(crate) fn id_of(key: &str) -> String {
    let element = doc! {"_id": key}.to_vec().expect("serializable");
    fence_id(&[b"c", &element[4..element.len() - 1]])
}

fn fence(key: &str, sequence: u64) -> Document {
    let json = format!(r#"{{"id":{{"S":"{key}"}}}}"#);
    doc! {"_id": id_of(key), "collection": "c", "id": key, "key": json, "written": NOW, "_tidelock": mark(sequence)}
}

/// Applies changes for a caller who can read the source.
async fn apply_with_truth(target: &MongoDbTarget, changes: &[Change]) -> Vec<Outcome> {
    let (batch, into) = (batch(changes), place("c"));
    let call = Call { truth: true, ..within(Duration::from_secs(20)) };
    target.apply(&operations(&batch, &into), call).await
}

fn failure(outcome: &Outcome) -> &Failure {
    outcome.as_ref().expect_err("a failure")
}

#[test]
fn a_delete_leaves_a_fence_guarded_like_a_document() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let fences = database.database.collection::<Document>(FENCE_COLLECTION);
        let stored = async || fences.find_one(doc! {"_id": id_of("k")}).await.expect("a read").expect("a fence");
        apply(&target, &[Change::put("k", 5, "v"), Change::put("other", 5, "v")]).await;
        assert_eq!(fences.count().await, 0, "{}: upserts leave none", server.name);
        // Applied, and there was nothing; each has its fence.
        let outcomes = apply(&target, &[Change::remove("k", 6), Change::remove("never", 6)]).await;
        assert_eq!(outcomes, [Ok(Done::Applied), Ok(Done::Applied)], "{}", server.name);
        assert_eq!((fences.count().await, stored().await), (2, fence("k", 6)), "{}", server.name);
        // An older delete, and the same one: the fence stays, and what is older in its turn is deleted all the same.
        for sequence in [5, 6] {
            let zombie = doc! {"_id": "k", "value": "zombie", "_tidelock": mark(sequence - 1)};
            database.collection().insert_one(zombie).await.expect("inserted");
            assert_eq!(apply(&target, &[Change::remove("k", sequence)]).await, [Ok(Done::Applied)], "{}", server.name);
            assert_eq!(database.values().await, ["other=v"], "{}: {sequence}", server.name);
            assert_eq!(stored().await, fence("k", 6), "{}", server.name);
        }
        // A newer one replaces it. A stale delete leaves one, too.
        apply(&target, &[Change::remove("k", 7), Change::remove("other", 4)]).await;
        assert_eq!((stored().await, database.values().await), (fence("k", 7), vec!["other=v".to_owned()]));
        assert_eq!(fences.count().await, 3, "{}", server.name);
        database.drop().await;
    });
}

trait Count {
    async fn count(&self) -> u64;
}

impl Count for mongodb::Collection<Document> {
    async fn count(&self) -> u64 {
        let mut cursor = self.find(doc! {"written": {"$exists": true}}).await.expect("a read");
        let mut count = 0;
        while cursor.advance().await.expect("a read") {
            count += 1;
        }
        count
    }
}

#[test]
fn fences_of_others_are_taken_over() {
    for damaged in [
        None,
        Some(Bson::Null),
        Some(Bson::from("text")),
        Some(Bson::from(doc! {"space": "other", "label": "z", "exact": "z", "at": i64::MAX})),
    ] {
        for truth in [false, true] {
            everywhere(async |server| {
                let database = server.database().await;
                let fences = database.database.collection::<Document>(FENCE_COLLECTION);
                let mut foreign = doc! {"_id": id_of("k"), "written": 1_i64};
                foreign.extend(damaged.clone().map(|mark| ("_tidelock".to_owned(), mark)));
                fences.insert_one(foreign).await.expect("inserted");
                let target = target(&database.uri);
                let changes = [Change::remove("k", 6)];
                let outcomes =
                    if truth { apply_with_truth(&target, &changes).await } else { apply(&target, &changes).await };
                assert_eq!(outcomes, [Ok(Done::Applied)], "{}: {damaged:?}", server.name);
                assert_eq!(
                    fences.find_one(doc! {}).await.expect("a read"),
                    Some(fence("k", 6)),
                    "{}: {damaged:?}",
                    server.name
                );
                database.drop().await;
            });
        }
    }
}

#[test]
fn the_delete_is_sent_when_its_fence_is_acknowledged_and_not_before() {
    run(async {
        let mut turn = 0;
        let server = Scripted::start(move |command| {
            if !of_fences(command) {
                return done(command);
            }
            turn += 1;
            match turn {
                1 => Reply::Close,
                2 => refused(10107),
                3 => {
                    let mut answer = errors(command, &[]);
                    answer
                        .insert("writeConcernError", doc! {"code": 64, "errmsg": "waiting for replication timed out"});
                    Reply::Answer(answer)
                }
                _ => done(command),
            }
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &[Change::remove("a", 6), Change::remove("b", 6)]).await;
        assert_eq!(outcomes, [Ok(Done::Applied), Ok(Done::Applied)]);
        assert_eq!(server.names(), ["insert", "insert", "insert", "insert", "delete"]);
        let log = server.log();
        for command in &log {
            assert_eq!(command.get("writeConcern"), Some(&doc! {"w": "majority"}.into()));
        }
        assert_eq!((ids(&log[3]), ids(&log[4])), (vec![id_of("a"), id_of("b")], vec!["a".to_owned(), "b".to_owned()]));
    });
}

#[test]
fn no_error_of_a_fence_loses_or_parks_its_delete() {
    // Codes of one statement, and of the command as a whole: a rule of the collection, a view, no right, an unknown one.
    for code in [121, 10334, 11000, 13, 4242] {
        run(async move {
            let server = Scripted::start(move |command| match (name(command).as_str(), of_fences(command)) {
                ("find", _) => found(vec![]),
                ("insert" | "update", true) => {
                    let bad = ids(command).iter().position(|id| *id == id_of("bad"));
                    Reply::Answer(errors(command, bad.map(|index| (index as i32, code)).as_slice()))
                }
                _ => done(command),
            })
            .await;
            let changes = [Change::remove("good", 6), Change::remove("bad", 6), Change::put("put", 6, "v")];
            let outcomes = apply(&target(&server.uri("")), &changes).await;
            assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(Done::Applied), &Ok(Done::Applied)), "{code}");
            let expected = if code == 13 { Cause::Forbidden } else { Cause::FenceUnwritten };
            assert_eq!(failure(&outcomes[1]).cause, expected, "{outcomes:?}");
            assert_eq!(failure(&outcomes[1]).cause.disposition(), Disposition::Retry);
            let deleted: Vec<_> = server.log().iter().filter(|one| name(one) == "delete").flat_map(ids).collect();
            assert_eq!(deleted, ["good"], "{code}");
        });
    }
    for code in [166, 13, 26, 4242] {
        run(async move {
            let server =
                Scripted::start(move |command| if of_fences(command) { refused(code) } else { done(command) }).await;
            let changes: Vec<_> = (0..20).map(|n| Change::remove(&format!("k{n}"), 6)).collect();
            let outcomes = apply(&target(&server.uri("")), &changes).await;
            for outcome in &outcomes {
                assert_eq!(failure(outcome).cause.disposition(), Disposition::Retry, "{code}: {outcome:?}");
            }
            assert!(!server.names().contains(&"delete".to_owned()), "{code}");
        });
    }
}

/// Items that are deleted again and again: their fences are there, and updated at once for a while. One that has expired when it is
/// looked for is no error.
#[test]
fn fences_that_are_there_are_updated_and_one_that_expires_is_written() {
    run(async {
        let model = Model::with(|command, data| {
            if name(command) == "find"
                && of_fences(command)
                && data.of(FENCE_COLLECTION).iter().any(|one| *one == fence("expired", 1))
            {
                data.drop(FENCE_COLLECTION);
            }
            None
        })
        .await;
        let target = target(&model.server.uri(""));
        let sent = async |key: &str, sequence| {
            let before = model.server.names().len();
            assert_eq!(apply(&target, &[Change::remove(key, sequence)]).await, [Ok(Done::Applied)]);
            // There is no document, which is looked up after each delete.
            model.server.names()[before..].join(" ")
        };
        assert_eq!(sent("a", 1).await, "insert delete find");
        assert_eq!(sent("a", 2).await, "insert find update delete find");
        for sequence in 3..23 {
            assert_eq!(sent("a", sequence).await, "update delete find");
        }
        assert_eq!(sent("b", 1).await, "insert delete find");
        assert_eq!(model.data(|data| data.of(FENCE_COLLECTION).len()), 2);
        assert_eq!(sent("expired", 1).await, "insert delete find");
        assert_eq!(sent("expired", 2).await, "insert find update delete find");
        assert_eq!(model.data(|data| data.only(FENCE_COLLECTION)), fence("expired", 2));
    });
}

#[test]
fn a_server_that_is_silent_about_the_fence_costs_the_delete_its_turn() {
    run(async {
        let server = Scripted::start(|command| if of_fences(command) { Reply::Silence } else { done(command) }).await;
        let changes = [Change::remove("a", 6), Change::put("b", 6, "v")];
        let outcomes = apply_within(&target(&server.uri("")), "c", &changes, Duration::from_millis(600)).await;
        assert_eq!((failure(&outcomes[0]).cause, &outcomes[1]), (Cause::TimedOut, &Ok(Done::Applied)));
        assert!(!server.names().contains(&"delete".to_owned()));
    });
}

#[test]
fn a_delete_that_is_later_by_the_clock_than_a_newer_fence_is_a_conflict() {
    run(async {
        let model = Model::start().await;
        let target = target(&model.server.uri(""));
        model.data(|data| data.put("c", doc! {"_id": "a", "_tidelock": mark(4)}));
        model.data(|data| data.put(FENCE_COLLECTION, fence("a", 9)));
        let outcomes = apply(&target, &[Change::remove("a", 5).at(1_002)]).await;
        assert_eq!(failure(&outcomes[0]).cause, Cause::OrderConflict);
        assert!(!model.server.names().contains(&"delete".to_owned()));
        assert_eq!(model.data(|data| data.only(FENCE_COLLECTION)), fence("a", 9));
    });
}

#[test]
fn the_fences_collection_is_no_place_for_documents() {
    run(async {
        let server = Scripted::start(done).await;
        let changes = [Change::put("a", 6, "v"), Change::remove("b", 6)];
        for collection in [FENCE_COLLECTION, "d.tidelock_fences"] {
            let outcomes = apply_within(&target(&server.uri("")), collection, &changes, Duration::from_secs(5)).await;
            for outcome in &outcomes {
                assert_eq!(failure(outcome).cause, Cause::InvalidTargetName, "{outcome:?}");
                assert!(failure(outcome).detail.contains("Tidelock's own"), "{outcome:?}");
            }
        }
        assert!(server.log().is_empty());
    });
}

#[test]
fn each_database_has_fences_of_its_own() {
    run(async {
        let server = Scripted::start(done).await;
        let target = target(&server.uri(""));
        for collection in ["x.c", "y.c", "y.e"] {
            let outcomes = apply_within(&target, collection, &[Change::remove("a", 6)], Duration::from_secs(5)).await;
            assert_eq!(outcomes, [Ok(Done::Applied)]);
        }
        let log = server.log();
        let fences: Vec<_> = log.iter().filter(|one| of_fences(one)).collect();
        let databases: Vec<_> = fences.iter().filter_map(|command| command.get_str("$db").ok()).collect();
        assert_eq!(databases, ["x", "y", "y"]);
        assert_eq!(ids(fences[0]), ids(fences[1]), "the database is the place, not part of the id");
        assert_ne!(ids(fences[1]), ids(fences[2]), "collections are told apart");
    });
}

#[test]
fn fences_that_were_dropped_by_hand_are_written_again() {
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let fences = database.database.collection::<Document>(FENCE_COLLECTION);
        apply(&target, &[Change::remove("a", 6)]).await;
        fences.drop().await.expect("dropped");
        assert_eq!(apply(&target, &[Change::remove("a", 7)]).await, [Ok(Done::Applied)], "{}", server.name);
        assert_eq!(fences.find_one(doc! {}).await.expect("a read"), Some(fence("a", 7)), "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn where_the_source_can_be_read_documents_of_others_are_handed_back() {
    let other = doc! {"space": "other", "label": "z", "exact": "z", "at": i64::MAX};
    let damaged = [None, Some(Bson::Null), Some(Bson::from("text")), Some(doc! {}.into()), Some(other.into())];
    everywhere(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let keys: Vec<String> = (0..damaged.len()).map(|n| format!("k{n}")).collect();
        for (key, mark) in keys.iter().zip(&damaged) {
            let mut document = doc! {"_id": key, "value": "foreign"};
            document.extend(mark.clone().map(|mark| ("_tidelock".to_owned(), mark)));
            database.collection().insert_one(document).await.expect("inserted");
        }
        let put = |key: &String| Change::put(key, 6, "live");
        let remove = |key: &String| Change::remove(key, 7);
        let before = database.values().await;
        for changes in [keys.iter().map(put).collect::<Vec<_>>(), keys.iter().map(remove).collect()] {
            for (outcome, mark) in apply_with_truth(&target, &changes).await.iter().zip(&damaged) {
                assert_eq!(failure(outcome).cause, Cause::ForeignDocument, "{}: {mark:?}", server.name);
            }
        }
        assert_eq!(database.values().await, before, "{}", server.name);
        // Its own are written as ever, and without the source all are taken over.
        let own = [Change::put("own", 5, "v"), Change::put("own", 6, "w"), Change::remove("own", 7)];
        for change in own {
            assert_eq!(apply_with_truth(&target, &[change]).await, [Ok(Done::Applied)], "{}", server.name);
        }
        let outcomes = apply(&target, &keys.iter().map(remove).collect::<Vec<_>>()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{}: {outcomes:?}", server.name);
        assert_eq!(database.values().await, [""; 0], "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn an_order_conflict_is_one_with_the_source_at_hand_too() {
    run(async {
        let model = Model::start().await;
        model.data(|data| data.put("c", doc! {"_id": "a", "_tidelock": mark(9)}));
        let outcomes = apply_with_truth(&target(&model.server.uri("")), &[Change::put("a", 5, "v").at(1_002)]).await;
        assert_eq!(failure(&outcomes[0]).cause, Cause::OrderConflict);
    });
}

#[test]
fn fences_and_guards_can_be_left_out_for_measurements() {
    run(async {
        let server = Scripted::start(|command| match name(command).as_str() {
            "delete" => Reply::Answer(doc! {"n": 0, "ok": 1}),
            _ => done(command),
        })
        .await;
        let bare = MongoDbConfig { fences: false, guards: false, ..config(&server.uri("")) };
        let target = MongoDbTarget::new(bare, FromUri).expect("valid settings");
        let outcomes = apply(&target, &[Change::put("a", 5, "v"), Change::remove("b", 6)]).await;
        assert_eq!(outcomes, [Ok(Done::Applied), Ok(Done::Applied)]);
        let mut names = server.names();
        names.sort();
        assert_eq!(names, ["delete", "update"], "neither a fence nor a look at what was not there");
        for command in server.log() {
            let list = command.get_array("updates").or_else(|_| command.get_array("deletes")).expect("statements");
            let filter = list[0].as_document().and_then(|one| one.get_document("q").ok()).expect("a filter");
            assert_eq!(filter.keys().collect::<Vec<_>>(), ["_id"]);
        }
    });
}
