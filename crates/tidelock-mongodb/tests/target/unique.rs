//! Documents that another unique index refuses.

use crate::events::{Change, apply, mark, run, target, whatever_the_hint};
use crate::scripted::{Reply, Scripted, done, errors, found, ids, name};
use crate::servers::servers;
use mongodb::IndexModel;
use mongodb::bson::doc;
use mongodb::options::IndexOptions;
use tidelock_core::cause::Cause;
use tidelock_core::target::Done;

#[test]
fn a_refused_document_gets_its_second_turn_after_all_others() {
    run(async {
        let mut turns = 0;
        let server = Scripted::start(move |command| match name(command).as_str() {
            "find" => found(vec![]),
            "update" if ids(command).contains(&"a".to_owned()) => {
                turns += 1;
                // At its second turn the value is free.
                if turns == 1 { Reply::Answer(errors(command, &[(0, 11000)])) } else { done(command) }
            }
            _ => done(command),
        })
        .await;
        let changes = [Change::put("a", 5, "v"), Change::put("b", 5, "w"), Change::remove("c", 5)];
        let outcomes = apply(&target(&server.uri("")), &changes).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{outcomes:?}");
        let log = server.log();
        let last = log.last().expect("commands");
        assert_eq!((log.len(), name(last).as_str()), (5, "update"), "{:?}", server.names());
        assert_eq!(ids(last), ["a"], "last of all");
    });
}

#[test]
fn a_document_that_is_refused_again_is_parked() {
    run(async {
        let server = Scripted::start(|command| match name(command).as_str() {
            "find" => found(vec![doc! {"_id": "b", "_tidelock": mark(1)}]),
            _ => Reply::Answer(errors(
                command,
                &(0..ids(command).len() as i32).map(|index| (index, 11000)).collect::<Vec<_>>(),
            )),
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &[Change::put("a", 5, "v"), Change::put("b", 5, "v")]).await;
        for outcome in outcomes {
            let failure = outcome.expect_err("refused");
            assert_eq!(failure.cause, Cause::UniqueConflict);
            assert!(failure.detail.contains("said so"), "{failure}");
        }
    });
}

#[test]
fn real_unique_indexes_refuse_one_document_alone() {
    whatever_the_hint(|| {
        servers().iter().for_each(|server| {
            run(async {
                let database = server.database().await;
                let unique = IndexModel::builder()
                    .keys(doc! {"value": 1})
                    .options(IndexOptions::builder().unique(true).build())
                    .build();
                database.create(&[unique]).await;
                let target = target(&database.uri);
                let put = |key: &str, sequence, value: &str| Change::put(key, sequence, value);
                apply(&target, &[put("a", 1, "one"), put("b", 1, "two")]).await;
                // An insert, and a replacement of an older document, with a value that is taken; neighbours on both sides.
                let outcomes = apply(
                    &target,
                    &[put("c", 2, "three"), put("d", 2, "one"), put("b", 2, "one"), put("e", 2, "five")],
                )
                .await;
                assert_eq!((&outcomes[0], &outcomes[3]), (&Ok(Done::Applied), &Ok(Done::Applied)), "{}", server.name);
                for refused in &outcomes[1..3] {
                    assert_eq!(refused.as_ref().expect_err("refused").cause, Cause::UniqueConflict, "{}", server.name);
                }
                assert_eq!(database.values().await, ["a=one", "b=two", "c=three", "e=five"]);
                // The value becomes free later in the same batch: by a change, and by a delete.
                let outcomes = apply(
                    &target,
                    &[put("x", 3, "one"), put("a", 3, "other"), put("y", 3, "two"), Change::remove("b", 3)],
                )
                .await;
                assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{}: {outcomes:?}", server.name);
                assert_eq!(database.values().await, ["a=other", "c=three", "e=five", "x=one", "y=two"]);
                database.drop().await;
            });
        })
    });
}
