//! Nothing newer is ever overwritten, and nothing that is newer is ever left out: on real servers.

use crate::events::{Change, apply, apply_within, config, is_hinted, mark, run, target, whatever_the_hint};
use crate::servers::{Server, servers};
use mongodb::bson::{Bson, doc};
use serde_json::json;
use std::cell::RefCell;
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_core::target::Done;
use tidelock_mongodb::{FromUri, MongoDbConfig, MongoDbTarget};

fn on_each(test: impl AsyncFn(&Server)) {
    whatever_the_hint(|| servers().iter().for_each(|server| run(test(server))));
}

#[test]
fn inserts_replaces_and_deletes() {
    on_each(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        assert_eq!(target.connect(std::time::Instant::now() + Duration::from_secs(10)).await, Ok(()));
        assert_eq!(apply(&target, &[Change::put("k", 5, "five")]).await, [Ok(Done::Applied)], "{}", server.name);
        let expected = doc! {"_id": "k", "id": "k", "value": "five", "_tidelock": mark(5)};
        assert_eq!(database.only().await, expected, "{}", server.name);
        assert_eq!(apply(&target, &[Change::put("k", 6, "six")]).await, [Ok(Done::Applied)]);
        assert_eq!(database.values().await, ["k=six"]);
        assert_eq!(
            apply(&target, &[Change::remove("k", 7), Change::remove("never", 7)]).await,
            [Ok(Done::Applied), Ok(Done::Applied)]
        );
        assert_eq!(database.values().await, [""; 0], "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn fields_that_are_gone_from_the_item_are_gone_from_the_document() {
    on_each(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        apply(&target, &[Change::put("k", 5, "five")]).await;
        let image = serde_json::json!({"id": {"S": "k"}, "other": {"M": {"a.b": {"N": "1"}}}});
        let outcomes = apply(&target, &[Change { image: Some(image), ..Change::put("k", 6, "") }]).await;
        assert_eq!(outcomes, [Ok(Done::Applied)], "{}", server.name);
        let expected = doc! {"_id": "k", "id": "k", "other": {"a.b": 1}, "_tidelock": mark(6)};
        assert_eq!(database.only().await, expected, "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn an_older_change_is_stale_and_the_same_one_a_replay() {
    on_each(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        apply(&target, &[Change::put("k", 100, "hundred")]).await;
        let older_label = "2025-12-31T23:59:59.999";
        for older in
            [Change::put("k", 99, "older"), Change::remove("k", 9), Change::put("k", 500, "older").label(older_label)]
        {
            assert_eq!(
                apply(&target, std::slice::from_ref(&older)).await,
                [Ok(Done::Stale)],
                "{}: {older:?}",
                server.name
            );
        }
        assert_eq!(apply(&target, &[Change::put("k", 100, "again")]).await, [Ok(Done::Applied)]);
        assert_eq!(database.values().await, ["k=hundred"]);
        for conflicting in [Change::put("k", 99, "later").at(1_002), Change::remove("k", 99).at(1_002)] {
            let outcomes = apply(&target, &[conflicting]).await;
            assert_eq!(outcomes[0].as_ref().expect_err("a conflict").cause, Cause::OrderConflict, "{}", server.name);
        }
        let newer = Change::put("k", 1, "newer label").label("2026-02-01T00:00:00.000");
        assert_eq!(apply(&target, &[newer]).await, [Ok(Done::Applied)]);
        assert_eq!(database.values().await, ["k=newer label"]);
        database.drop().await;
    });
}

#[test]
fn documents_without_a_version_of_the_space_are_taken_over() {
    on_each(async |server| {
        let other = doc! {"space": "zzz", "label": "zzz", "exact": "zzz", "at": i64::MAX};
        let damaged = [
            None,
            Some(Bson::Null),
            Some(Bson::from("text")),
            Some(Bson::from(5)),
            Some(Bson::from(vec![1, 2])),
            Some(Bson::from(doc! {})),
            Some(Bson::from(doc! {"space": mark(1).get_str("space").expect("text"), "label": "zzz"})),
            Some(Bson::from(doc! {"space": mark(1).get_str("space").expect("text"), "label": 7, "exact": 8})),
            Some(Bson::from(other)),
        ];
        let database = server.database().await;
        let target = target(&database.uri);
        for change in [Change::put("", 1, "live"), Change::remove("", 1)] {
            let keys: Vec<String> = (0..damaged.len()).map(|n| format!("k{n}")).collect();
            let documents = keys.iter().zip(&damaged).map(|(key, mark)| {
                let mut document = doc! {"_id": key, "value": "foreign", "extra": true};
                if let Some(mark) = mark {
                    document.insert("_tidelock", mark.clone());
                }
                document
            });
            database.collection().insert_many(documents).await.expect("inserted");
            let changes: Vec<Change> = keys
                .iter()
                .map(|key| if change.image.is_some() { Change::put(key, 1, "live") } else { Change::remove(key, 1) })
                .collect();
            let outcomes = apply(&target, &changes).await;
            for (outcome, mark) in outcomes.iter().zip(&damaged) {
                assert_eq!(*outcome, Ok(Done::Applied), "{}: {mark:?}", server.name);
            }
            let expected: Vec<String> = if change.image.is_some() {
                keys.iter().map(|key| format!("{key}=live")).collect()
            } else {
                Vec::new()
            };
            assert_eq!(database.values().await, expected, "{}", server.name);
            database.database.drop().await.expect("dropped");
        }
    });
}

#[test]
fn every_kind_of_key_is_an_id_of_its_own() {
    on_each(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let keys = [
            serde_json::json!({"id": {"S": "5"}}),
            serde_json::json!({"id": {"N": "5"}}),
            serde_json::json!({"id": {"N": "5000000000"}}),
            serde_json::json!({"id": {"N": "5.25"}}),
            serde_json::json!({"id": {"B": "AP8="}}),
            serde_json::json!({"pk": {"S": "5"}, "sk": {"N": "5"}}),
            serde_json::json!({"pk": {"S": "5"}, "sk": {"S": "5"}}),
        ];
        let change = |sequence| {
            keys.iter()
                .map(move |key| Change { key: key.clone(), ..Change::put("", sequence, "v") })
                .collect::<Vec<_>>()
        };
        for (sequence, expected) in [(5, Done::Applied), (4, Done::Stale), (6, Done::Applied)] {
            let outcomes = apply(&target, &change(sequence)).await;
            for (outcome, key) in outcomes.iter().zip(&keys) {
                assert_eq!(*outcome, Ok(expected), "{}: {key} {sequence}", server.name);
            }
        }
        assert_eq!(database.find(doc! {}).await.len(), keys.len(), "{}", server.name);
        let mut ids = doc! {};
        for (index, document) in database.find(doc! {}).await.iter().enumerate() {
            ids.insert(
                index.to_string(),
                Bson::try_from(document.get("_id").expect("readable").expect("an id")).expect("a value"),
            );
        }
        for id in [
            Bson::from("5"),
            Bson::from(5),
            Bson::from(5_000_000_000_i64),
            doc! {"pk": "5", "sk": 5}.into(),
            doc! {"pk": "5", "sk": "5"}.into(),
        ] {
            assert!(ids.values().any(|stored| *stored == id), "{}: {id} in {ids}", server.name);
        }
        let removes: Vec<_> = change(7).into_iter().map(|change| Change { image: None, ..change }).collect();
        assert!(apply(&target, &removes).await.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{}", server.name);
        assert!(database.find(doc! {}).await.is_empty(), "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn a_large_batch_in_many_commands_has_one_outcome_for_each_operation() {
    on_each(async |server| {
        let database = server.database().await;
        let config = MongoDbConfig { bulk_bytes: 200_000, in_flight: 4, ..config(&database.uri) };
        let target = MongoDbTarget::new(config, FromUri).expect("valid settings");
        let put = |n: usize, sequence, value: &str| Change::put(&format!("{n:05}"), sequence, value);
        let newer: Vec<_> = (0..server.large_batch).filter(|n| n % 5 == 0).map(|n| put(n, 10, "newer")).collect();
        let outcomes = apply_within(&target, "c", &newer, Duration::from_secs(60)).await;
        assert!(outcomes.iter().all(Result::is_ok), "{}", server.name);
        let change =
            |n: usize| if n.is_multiple_of(7) { Change::remove(&format!("{n:05}"), 9) } else { put(n, 9, "v") };
        let changes: Vec<_> = (0..server.large_batch).map(change).collect();
        let outcomes = apply_within(&target, "c", &changes, Duration::from_secs(60)).await;
        for (n, outcome) in outcomes.iter().enumerate() {
            assert_eq!(*outcome, Ok(if n % 5 == 0 { Done::Stale } else { Done::Applied }), "{}: {n}", server.name);
        }
        let left = |n: usize| match (n % 5, n % 7) {
            (0, _) => Some(format!("{n:05}=newer")),
            (_, 0) => None,
            _ => Some(format!("{n:05}=v")),
        };
        let expected: Vec<String> = (0..server.large_batch).filter_map(left).collect();
        assert_eq!(database.values().await, expected, "{}", server.name);
        database.drop().await;
    });
}

#[test]
fn writers_that_race_for_one_document_leave_the_newest_change() {
    on_each(async |server| {
        let database = server.database().await;
        let targets: Vec<_> = (0..4).map(|_| target(&database.uri)).collect();
        for round in 0..15 {
            let writes = targets.iter().zip(1..).map(|(target, n)| async move {
                let sequence = round * 4 + n;
                let value = sequence.to_string();
                let changes = [Change::put("k", sequence, &value), Change::put(&value, sequence, &value)];
                loop {
                    // Losing a race is to be retried, as the event source mapping would.
                    let outcomes = apply(target, &changes).await;
                    match &outcomes[0] {
                        Ok(_) => break,
                        Err(failure) => assert_eq!(failure.cause, Cause::LostRace, "{}: {failure}", server.name),
                    }
                }
            });
            futures_util::future::join_all(writes).await;
            let newest = format!("k={}", (round + 1) * 4);
            assert!(database.values().await.contains(&newest), "{}: {:?}", server.name, database.values().await);
        }
        database.drop().await;
    });
}

#[test]
fn documents_that_break_the_collections_rules_are_refused_alone() {
    on_each(async |server| {
        let database = server.database().await;
        let create = doc! {"create": "c", "validator": {"value": {"$ne": "bad"}}};
        if let Err(error) = database.database.run_command(create).await {
            // Not every server knows rules; the code is in the error table's own test.
            println!("{}: no validation: {error}", server.name);
            return;
        }
        if database.collection().insert_one(doc! {"_id": "probe", "value": "bad"}).await.is_ok() {
            println!("{}: takes a validator and does not heed it", server.name);
            return database.drop().await;
        }
        let changes = [Change::put("a", 1, "good"), Change::put("b", 1, "bad"), Change::put("c", 1, "good")];
        let outcomes = apply(&target(&database.uri), &changes).await;
        assert_eq!(outcomes[1].as_ref().expect_err("refused").cause, Cause::InvalidDocument, "{}", server.name);
        assert_eq!(database.values().await, ["a=good", "c=good"], "{}", server.name);
        database.drop().await;
    });
}

/// Servers insert what they would not replace; that must not depend on what a source calls new.
#[test]
fn a_name_with_a_dollar_is_treated_alike_whatever_the_hint() {
    let by_hint = RefCell::new(Vec::new());
    on_each(async |server| {
        let database = server.database().await;
        let image = json!({"id": {"S": "k"}, "$price": {"N": "1"}});
        let change = Change { image: Some(image), ..Change::put("k", 6, "") };
        let neighbour = Change::put("l", 6, "v");
        let outcomes = apply(&target(&database.uri), &[change, neighbour]).await;
        assert_eq!(outcomes[1], Ok(Done::Applied), "{}", server.name);
        let cause = outcomes[0].as_ref().copied().map_err(|failure| failure.cause);
        by_hint.borrow_mut().push((server.name, is_hinted(), cause));
        database.drop().await;
    });
    let by_hint = by_hint.into_inner();
    let of =
        |hinted: bool| by_hint.iter().filter(move |one| one.1 == hinted).map(|one| (one.0, one.2)).collect::<Vec<_>>();
    assert_eq!(of(true), of(false));
}

#[test]
fn names_that_the_server_refuses_are_parked() {
    on_each(async |server| {
        let database = server.database().await;
        let target = target(&database.uri);
        let outcomes = apply_within(&target, "c$d", &[Change::put("a", 1, "v")], Duration::from_secs(5)).await;
        let failure = outcomes[0].as_ref().expect_err("refused");
        assert_eq!(failure.cause, Cause::InvalidTargetName, "{}: {failure}", server.name);
        database.drop().await;
    });
}
