//! What is sent, and how what was refused is read back.

use crate::events::{Change, apply, batch, mark, operations, place, run, target, within};
use crate::fences::id_of;
use crate::scripted::{Reply, Scripted, done, errors, found, ids, name, of_fences, refused};
use mongodb::bson::{Bson, Document, Timestamp, doc};
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_core::target::{Done, Target as _};

fn statement(command: &Document, index: usize) -> Document {
    let list = command.get_array("updates").or_else(|_| command.get_array("deletes")).expect("statements");
    list[index].as_document().expect("a statement").clone()
}

fn read_level(command: &Document) -> Option<&str> {
    command.get_document("readConcern").ok()?.get_str("level").ok()
}

/// Every write is refused by its guard; `find` gives these documents.
async fn refusing(stored: Vec<Document>) -> Scripted {
    Scripted::start(move |command| match name(command).as_str() {
        "find" => found(stored.clone()),
        "update" => Reply::Answer(errors(
            command,
            &(0..ids(command).len() as i32).map(|index| (index, 11000)).collect::<Vec<_>>(),
        )),
        _ => Reply::Answer(doc! {"n": 0, "ok": 1}),
    })
    .await
}

#[test]
fn updates_and_deletes_are_commands_of_their_own() {
    run(async {
        let server = Scripted::start(done).await;
        let changes = [Change::put("a", 5, "v"), Change::remove("b", 6), Change::put("c", 7, "w")];
        assert!(
            apply(&target(&server.uri("?w=1&journal=false")), &changes)
                .await
                .iter()
                .all(|outcome| *outcome == Ok(Done::Applied))
        );
        let log = server.log();
        assert_eq!(log.len(), 3, "the fence has a command of its own");
        for command in &log {
            assert_eq!(
                command.get("writeConcern"),
                Some(&doc! {"w": "majority"}.into()),
                "whatever the connection string says"
            );
            assert_eq!(command.get("ordered"), Some(&false.into()));
            assert!(!command.contains_key("txnNumber"), "no retryable write");
            match (name(command).as_str(), of_fences(command)) {
                ("update", false) => assert_eq!(ids(command), ["a", "c"]),
                ("delete", false) => assert_eq!(ids(command), ["b"]),
                (verb, _) => assert_eq!((verb, ids(command)), ("insert", vec![id_of("b")])),
            }
        }
    });
}

#[test]
fn what_was_refused_is_read_from_the_primary_in_one_query() {
    run(async {
        let server = refusing(vec![
            doc! {"_id": "a", "_tidelock": mark(9)},
            doc! {"_id": "b", "_tidelock": mark(5)},
            doc! {"_id": "c", "_tidelock": doc! {"space": "x"}},
        ])
        .await;
        let target = target(&server.uri("?readPreference=secondaryPreferred&readConcernLevel=local"));
        let outcomes = apply(&target, &[Change::put("a", 5, "v"), Change::put("b", 5, "v")]).await;
        assert_eq!(outcomes, [Ok(Done::Stale), Ok(Done::Applied)]);
        let log = server.log();
        assert_eq!(server.names(), ["update", "find"]);
        let find = &log[1];
        assert_eq!(find.get("filter"), Some(&doc! {"_id": {"$in": ["a", "b"]}}.into()));
        assert_eq!(find.get("projection"), Some(&doc! {"_id": 1, "_tidelock": 1}.into()));
        assert_eq!(read_level(find), Some("majority"));
        let preference =
            find.get_document("$readPreference").ok().and_then(|preference| preference.get_str("mode").ok());
        assert!(matches!(preference, None | Some("primary")), "{find}");
    });
}

#[test]
fn a_read_sees_what_has_refused_the_write() {
    run(async {
        let time = Bson::Timestamp(Timestamp { time: 77, increment: 3 });
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => found(vec![doc! {"_id": "a", "_tidelock": mark(9)}]),
            _ => {
                let mut answer = errors(command, &[(0, 11000)]);
                answer.insert("operationTime", time.clone());
                Reply::Answer(answer)
            }
        })
        .await;
        assert_eq!(apply(&target(&server.uri("")), &[Change::put("a", 5, "v")]).await, [Ok(Done::Stale)]);
        let log = server.log();
        let after = log[1].get_document("readConcern").expect("a read concern").get("afterClusterTime").cloned();
        assert_eq!(after, Some(Bson::Timestamp(Timestamp { time: 77, increment: 3 })));
        assert_eq!(log[0].get_document("lsid").expect("a session"), log[1].get_document("lsid").expect("a session"));
    });
}

#[test]
fn servers_without_sessions_or_majority_reads_are_served_too() {
    run(async {
        let server = Scripted::without_sessions(|command| match name(command).as_str() {
            "find" if read_level(command) == Some("majority") => refused(148),
            "find" => found(vec![doc! {"_id": "a", "_tidelock": mark(9)}]),
            _ => Reply::Answer(errors(command, &[(0, 11000)])),
        })
        .await;
        let target = target(&server.uri(""));
        assert_eq!(apply(&target, &[Change::put("a", 5, "v")]).await, [Ok(Done::Stale)]);
        assert!(server.log().iter().all(|command| !command.contains_key("lsid")));
        assert_eq!(server.names(), ["update", "find", "find"]);
        assert_eq!(apply(&target, &[Change::put("a", 5, "v")]).await, [Ok(Done::Stale)]);
        assert_eq!(server.names().len(), 5, "the second time nothing is asked that was refused before");
    });
}

#[test]
fn a_document_to_be_taken_over_is_compared_whole() {
    for (stored, condition) in [
        (doc! {"_id": "a", "_tidelock": mark(4)}, doc! {"$eq": mark(4)}),
        (doc! {"_id": "a", "_tidelock": Bson::Null}, doc! {"$eq": Bson::Null}),
        (doc! {"_id": "a", "_tidelock": {"$gt": 1}}, doc! {"$eq": {"$gt": 1}}),
        (doc! {"_id": "a"}, doc! {"$exists": false}),
    ] {
        for (change, list) in [(Change::put("a", 5, "v"), "update"), (Change::remove("a", 5), "delete")] {
            let stored = stored.clone();
            run(async {
                let mut writes = 0;
                let server = Scripted::start(move |command| {
                    if name(command) == "find" {
                        return found(vec![stored.clone()]);
                    }
                    if of_fences(command) {
                        return done(command);
                    }
                    writes += 1;
                    match (writes, name(command).as_str()) {
                        (1, "update") => Reply::Answer(errors(command, &[(0, 11000)])),
                        (1, _) => Reply::Answer(doc! {"n": 0, "ok": 1}),
                        _ => done(command),
                    }
                })
                .await;
                assert_eq!(apply(&target(&server.uri("")), std::slice::from_ref(&change)).await, [Ok(Done::Applied)]);
                let log = server.of_documents();
                assert_eq!(log.iter().map(name).collect::<Vec<_>>(), [list, "find", list]);
                let second = statement(&log[2], 0);
                assert_eq!(second.get("q"), Some(&doc! {"_id": "a", "_tidelock": &condition}.into()));
                if list == "update" {
                    assert_eq!(second.get("upsert"), Some(&false.into()));
                }
            });
        }
    }
}

#[test]
fn a_race_that_is_always_lost_ends() {
    run(async {
        let mut exact = 0;
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => {
                exact += 1;
                found(vec![doc! {"_id": "a", "_tidelock": mark(exact)}])
            }
            _ if statement(command, 0).get("upsert") == Some(&true.into()) => {
                Reply::Answer(errors(command, &[(0, 11000)]))
            }
            _ => Reply::Answer(doc! {"n": 0, "ok": 1}),
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &[Change::put("a", 50, "v")]).await;
        assert_eq!(outcomes[0].as_ref().expect_err("lost").cause, Cause::LostRace);
        assert_eq!(server.names().len(), 12);
    });
}

#[test]
fn a_delete_is_judged_when_fewer_were_deleted_than_sent() {
    run(async {
        let newer = doc! {"_id": "c", "_tidelock": mark(9)};
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => found(vec![newer.clone()]),
            "insert" => done(command),
            _ => Reply::Answer(doc! {"n": 1, "ok": 1}),
        })
        .await;
        let changes = [Change::remove("a", 5), Change::remove("b", 5), Change::remove("c", 5)];
        let outcomes = apply(&target(&server.uri("")), &changes).await;
        assert_eq!(outcomes, [Ok(Done::Applied), Ok(Done::Applied), Ok(Done::Stale)]);
    });
}

#[test]
fn a_change_that_is_later_by_the_sources_clock_alone_is_parked() {
    run(async {
        let server = refusing(vec![doc! {"_id": "a", "_tidelock": mark(9)}]).await;
        let outcomes = apply(&target(&server.uri("")), &[Change::put("a", 5, "v").at(1_002)]).await;
        let failure = outcomes[0].as_ref().expect_err("a conflict");
        assert_eq!(failure.cause, Cause::OrderConflict);
        assert!(failure.detail.contains("1002000 ms") && failure.detail.contains("1000000 ms"), "{failure}");
    });
}

#[test]
fn an_id_that_is_read_back_in_another_numeric_type_is_the_same_id() {
    run(async {
        let server = refusing(vec![doc! {"_id": 5.0, "_tidelock": mark(9)}]).await;
        let change = Change { key: serde_json::json!({"id": {"N": "5"}}), ..Change::put("", 5, "v") };
        assert_eq!(apply(&target(&server.uri("")), &[change]).await, [Ok(Done::Stale)]);
    });
}

#[test]
fn a_document_over_the_limit_is_refused_before_it_is_sent() {
    run(async {
        let server = Scripted::start(done).await;
        let large = "x".repeat(16 * 1024 * 1024 - 100);
        let outcomes = apply(
            &target(&server.uri("")),
            &[
                Change::put("a", 5, "v"),
                Change::put("b", 5, &large),
                Change::put("c", 5, &large[..16_000_000]),
                Change::put("d", 5, "v"),
            ],
        )
        .await;
        let failure = outcomes[1].as_ref().expect_err("too large");
        assert_eq!(failure.cause, Cause::DocumentTooLarge);
        assert!(failure.detail.contains("16777216"), "{failure}");
        for neighbour in [0, 2, 3] {
            assert_eq!(outcomes[neighbour], Ok(Done::Applied));
        }
        let mut sent: Vec<String> = server.log().iter().flat_map(ids).collect();
        sent.sort();
        assert_eq!(sent, ["a", "c", "d"]);
    });
}

/// What is said to be new goes by itself, where it is worth a command, and what it meets is judged as what a guard has stopped.
#[test]
fn what_is_new_is_inserted_and_what_it_meets_is_judged() {
    run(async {
        let stored = vec![doc! {"_id": "k0", "_tidelock": mark(4)}, doc! {"_id": "k1", "_tidelock": mark(9)}];
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => found(stored.clone()),
            "insert" => Reply::Answer(errors(command, &[(0, 11000), (1, 11000)])),
            _ => done(command),
        })
        .await;
        let changes: Vec<Change> = (0..10).map(|n| Change::put(&format!("k{n}"), 5, "v")).collect();
        let (batch, into) = (batch(&changes), place("c"));
        let mut operations = operations(&batch, &into);
        for operation in &mut operations[..8] {
            operation.fresh = true;
        }
        let target = target(&server.uri(""));
        let outcomes = target.apply(&operations, within(Duration::from_secs(20))).await;
        let expected: Vec<_> = (0..10).map(|n| Ok(if n == 1 { Done::Stale } else { Done::Applied })).collect();
        assert_eq!(outcomes, expected);
        let sent = |verb: &str| server.log().iter().filter(|one| name(one) == verb).map(ids).collect::<Vec<_>>();
        assert_eq!(sent("insert"), [(0..8).map(|n| format!("k{n}")).collect::<Vec<_>>()]);
        let mut updates = sent("update");
        updates.sort_unstable();
        assert_eq!(updates, [vec!["k0"], vec!["k8", "k9"]]);
        let over = server.log().into_iter().find(|one| name(one) == "update" && ids(one) == ["k0"]).expect("an update");
        let filter = statement(&over, 0).get_document("q").expect("a filter").clone();
        assert_eq!(filter, doc! {"_id": "k0", "_tidelock": {"$eq": mark(4)}}, "by compare-and-set");

        // Fewer go along with the others.
        let before = server.log().len();
        operations[0].fresh = false;
        target.apply(&operations, within(Duration::from_secs(20))).await;
        assert_eq!(server.names()[before..], ["update"]);
    });
}
