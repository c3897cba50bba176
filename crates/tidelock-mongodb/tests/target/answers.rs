//! What the target makes of a server's answers.

use crate::events::{Change, apply, apply_within, is_hinted, mark, run, run_whatever_the_hint, target, within};
use crate::scripted::{Reply, Scripted, done, errors, found, ids, name, refused};
use mongodb::bson::doc;
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_core::target::{Done, Outcome};

fn puts(count: usize) -> Vec<Change> {
    (0..count).map(|n| Change::put(&format!("k{n}"), 5, "v")).collect()
}

fn cause(outcome: &Outcome) -> Cause {
    outcome.as_ref().expect_err("a failure").cause
}

#[test]
fn a_write_concern_that_was_not_met_is_no_answer() {
    run_whatever_the_hint(async || {
        let mut updates = 0;
        let server = Scripted::start(move |command| {
            if name(command) == "find" {
                return found(vec![doc! {"_id": "k0", "_tidelock": mark(5)}, doc! {"_id": "k1", "_tidelock": mark(5)}]);
            }
            updates += 1;
            let mut answer = match updates {
                1 => errors(command, &[]),
                // The writes of the first attempt stop those of the second.
                _ => errors(command, &[(0, 11000), (1, 11000)]),
            };
            if updates < 3 {
                answer.insert("writeConcernError", doc! {"code": 64, "errmsg": "waiting for replication timed out"});
            }
            Reply::Answer(answer)
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &puts(2)).await;
        assert_eq!(outcomes, [Ok(Done::Applied), Ok(Done::Applied)]);
        let write = if is_hinted() { "insert" } else { "update" };
        assert_eq!(server.names(), [write, write, write, "find"]);
    });
}

#[test]
fn a_write_concern_that_is_never_met_is_retried_from_outside() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(|command| {
            let refused = ids(command).iter().position(|id| id == "k1").map(|index| (index as i32, 121));
            let mut answer = errors(command, refused.as_slice());
            answer.insert("writeConcernError", doc! {"code": 100, "errmsg": "not enough data-bearing nodes"});
            Reply::Answer(answer)
        })
        .await;
        let outcomes = apply_within(&target(&server.uri("")), "c", &puts(2), Duration::from_millis(700)).await;
        assert_eq!(cause(&outcomes[0]), Cause::Unavailable);
        assert_eq!(cause(&outcomes[1]), Cause::InvalidDocument, "the document is refused whatever the write concern");
        let detail = &outcomes[0].as_ref().expect_err("a failure").detail;
        assert!(detail.contains("write concern: not enough") && detail.starts_with(server.address()), "{detail}");
    });
}

#[test]
fn what_may_pass_is_sent_again_alone() {
    run_whatever_the_hint(async || {
        let mut round = 0;
        let server = Scripted::start(move |command| {
            round += 1;
            match round {
                1 => refused(10107),
                2 => Reply::Close,
                3 => Reply::Answer(errors(command, &[(0, 112), (2, 16500)])),
                _ => done(command),
            }
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &puts(4)).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{outcomes:?}");
        let log = server.log();
        assert_eq!(log.iter().map(|command| ids(command).len()).collect::<Vec<_>>(), [4, 4, 4, 2]);
        assert_eq!(ids(&log[3]), ["k0", "k2"]);
    });
}

#[test]
fn a_document_with_an_unknown_error_is_parked_while_its_neighbours_pass() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(|command| {
            let bad = ids(command).iter().position(|id| id == "k1").map(|index| (index as i32, 4242));
            Reply::Answer(errors(command, bad.as_slice()))
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &puts(3)).await;
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(Done::Applied), &Ok(Done::Applied)));
        assert_eq!(cause(&outcomes[1]), Cause::TargetError);
        assert_eq!(server.names().len(), 3, "three attempts");
        assert!(outcomes[1].as_ref().expect_err("a failure").detail.contains("said so (code 4242)"));
    });
}

#[test]
fn an_unknown_error_of_all_documents_is_not_the_documents_fault() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(|command| {
            let all: Vec<(i32, i32)> = (0..ids(command).len() as i32).map(|index| (index, 4242)).collect();
            Reply::Answer(errors(command, &all))
        })
        .await;
        let outcomes = apply(&target(&server.uri("")), &puts(3)).await;
        assert!(outcomes.iter().all(|outcome| cause(outcome) == Cause::UnexpectedAnswer), "{outcomes:?}");

        let server = Scripted::start(|_| refused(4242)).await;
        let outcomes = apply(&target(&server.uri("")), &puts(64)).await;
        assert!(outcomes.iter().all(|outcome| cause(outcome) == Cause::UnexpectedAnswer), "{outcomes:?}");
        assert!(server.names().len() < 30, "no document is tried alone when all fail: {}", server.names().len());
    });
}

#[test]
fn a_document_for_which_the_whole_command_is_refused_is_found() {
    for (code, expected) in [(10334, Cause::DocumentTooLarge), (4242, Cause::TargetError)] {
        run(async {
            let server = Scripted::start(move |command| match ids(command).iter().any(|id| id == "k37") {
                true => refused(code),
                false => done(command),
            })
            .await;
            let outcomes = apply(&target(&server.uri("")), &puts(100)).await;
            for (n, outcome) in outcomes.iter().enumerate() {
                match n {
                    37 => assert_eq!(cause(outcome), expected),
                    _ => assert_eq!(*outcome, Ok(Done::Applied), "{n}"),
                }
            }
        });
    }
}

#[test]
fn several_bad_documents_in_a_row_do_not_speak_for_the_others() {
    run_whatever_the_hint(async || {
        let server =
            Scripted::start(|command| match ids(command).iter().any(|id| id.len() == 2 && id.as_str() < "k6") {
                true => refused(4242),
                false => done(command),
            })
            .await;
        let outcomes = apply(&target(&server.uri("")), &puts(100)).await;
        for (n, outcome) in outcomes.iter().enumerate() {
            match n {
                0..6 => assert_eq!(cause(outcome), Cause::TargetError, "{n}"),
                _ => assert_eq!(*outcome, Ok(Done::Applied), "{n}"),
            }
        }
    });
}

#[test]
fn an_id_that_would_be_a_condition_is_refused() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(done).await;
        let keys = [r#"{"$gt":{"S":"a"},"sk":{"S":"b"}}"#, r#"{"id":{"S":"$gt"}}"#, r#"{"$gt":{"S":"a"}}"#];
        let changes: Vec<_> = keys
            .iter()
            .map(|key| Change { key: serde_json::from_str(key).expect("JSON"), ..Change::remove("", 5) })
            .collect();
        let outcomes = apply(&target(&server.uri("")), &changes).await;
        assert_eq!(cause(&outcomes[0]), Cause::InvalidId);
        assert_eq!(outcomes[1..], [Ok(Done::Applied), Ok(Done::Applied)]);
        assert_eq!(server.of_documents().iter().flat_map(ids).collect::<Vec<_>>(), ["$gt", "a"]);
    });
}

#[test]
fn an_answer_that_does_not_fit_says_nothing() {
    for answer in
        [doc! {"ok": 1}, doc! {"n": 7, "ok": 1}, doc! {"n": 1, "ok": 1}, doc! {"n": 2, "writeErrors": 1, "ok": 1}]
    {
        run(async {
            let server = Scripted::start(move |_| Reply::Answer(answer.clone())).await;
            let outcomes = apply(&target(&server.uri("")), &puts(2)).await;
            assert!(outcomes.iter().all(|outcome| cause(outcome) == Cause::UnexpectedAnswer), "{outcomes:?}");
            assert_eq!(server.names().len(), 3, "three attempts");
        });
    }
}

#[test]
fn what_waiting_cannot_mend_is_not_tried_again() {
    for (code, expected) in [
        (13, Cause::Forbidden),
        (14031, Cause::Blocked),
        (26, Cause::TargetMissing),
        (73, Cause::InvalidTargetName),
        (166, Cause::InvalidTargetName),
    ] {
        run(async {
            let server = Scripted::start(move |_| refused(code)).await;
            let outcomes = apply(&target(&server.uri("")), &puts(3)).await;
            assert!(outcomes.iter().all(|outcome| cause(outcome) == expected), "{outcomes:?}");
            assert_eq!(server.names().len(), 1, "{code}");
        });
    }
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_time_there_is() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(|_| Reply::Silence).await;
        let outcomes = apply_within(&target(&server.uri("")), "c", &puts(2), Duration::from_millis(600)).await;
        assert!(outcomes.iter().all(|outcome| cause(outcome) == Cause::TimedOut), "{outcomes:?}");
    });
}

#[test]
fn a_collection_without_a_database_is_refused_and_nothing_is_sent() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(done).await;
        let target = target(&format!("mongodb://{}", server.address()));
        for (name, words) in
            [("c", "mongodb://HOST/DATABASE"), (".c", "DATABASE.COLLECTION"), ("d.", "DATABASE.COLLECTION")]
        {
            let outcomes = apply_within(&target, name, &puts(1), Duration::from_secs(5)).await;
            let failure = outcomes[0].as_ref().expect_err("a failure");
            assert_eq!(failure.cause, Cause::InvalidTargetName);
            assert!(failure.detail.contains(words), "{failure}");
        }
        assert_eq!(apply_within(&target, "x.c.y", &puts(1), Duration::from_secs(5)).await, [Ok(Done::Applied)]);
        // A source's own name is a collection's, dots and all.
        let (batch, mut into) = (crate::events::batch(&puts(1)), crate::events::place("x.c"));
        into.literal = true;
        let operations = crate::events::operations(&batch, &into);
        let soon = within(Duration::from_secs(5));
        let outcomes = tidelock_core::target::Target::apply(&target, &operations, soon).await;
        assert_eq!(cause(&outcomes[0]), Cause::InvalidTargetName);
        let log = server.log();
        assert_eq!(
            (log.len(), log[0].get("$db"), log[0].get(if is_hinted() { "insert" } else { "update" })),
            (1, Some(&"x".into()), Some(&"c.y".into()))
        );
    });
}

#[test]
fn nothing_is_sent_when_no_time_is_left() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(done).await;
        let (batch, into) = (crate::events::batch(&puts(2)), crate::events::place("c"));
        let operations = crate::events::operations(&batch, &into);
        let target = target(&server.uri(""));
        let outcomes = tidelock_core::target::Target::apply(&target, &operations, within(Duration::ZERO)).await;
        assert!(outcomes.iter().all(|outcome| cause(outcome) == Cause::Deadline), "{outcomes:?}");
        assert!(server.log().is_empty());
        assert_eq!(apply(&target, &[]).await, []);
    });
}
