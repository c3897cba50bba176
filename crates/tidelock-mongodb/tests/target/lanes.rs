//! Several commands at a time.

use crate::events::{Change, apply, apply_within, config, run, run_whatever_the_hint};
use crate::scripted::{Reply, Scripted, errors, ids, refused};
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_core::target::Done;
use tidelock_mongodb::{FromUri, MongoDbConfig, MongoDbTarget};

fn puts(count: usize, size: usize) -> Vec<Change> {
    (0..count).map(|n| Change::put(&format!("k{n}"), 5, &"x".repeat(size))).collect()
}

fn target(uri: &str, bulk_bytes: usize, in_flight: usize) -> MongoDbTarget {
    MongoDbTarget::new(MongoDbConfig { bulk_bytes, in_flight, ..config(uri) }, FromUri).expect("valid settings")
}

#[test]
fn as_many_commands_are_under_way_as_may_be_and_no_more() {
    for in_flight in [1, 3] {
        run(async move {
            let server = Scripted::start(move |command| Reply::WithOthers(in_flight, errors(command, &[]))).await;
            let outcomes = apply(&target(&server.uri(""), 20_000, in_flight), &puts(90, 1_000)).await;
            assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{outcomes:?}");
            assert_eq!(server.most_waiting(), in_flight);
            let log = server.log();
            assert!(log.iter().all(|command| command.to_vec().expect("serializable").len() < 20_500));
            let mut all: Vec<String> = log.iter().flat_map(ids).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 90, "each exactly once");
            assert_eq!(log.iter().map(|command| ids(command).len()).sum::<usize>(), 90);
            let mut sessions: Vec<String> =
                log.iter().map(|command| command.get_document("lsid").expect("a session").to_string()).collect();
            sessions.sort();
            sessions.dedup();
            assert_eq!(sessions.len(), in_flight, "one session for each lane");
        });
    }
}

#[test]
fn a_command_that_fails_leaves_the_others_alone() {
    run_whatever_the_hint(async || {
        let server = Scripted::start(|command| match ids(command).iter().any(|id| id == "k0") {
            true => refused(91),
            false => Reply::Answer(errors(command, &[])),
        })
        .await;
        let target = target(&server.uri(""), 10_000, 4);
        let outcomes = apply_within(&target, "c", &puts(30, 1_000), Duration::from_millis(1_500)).await;
        let failed: Vec<usize> = (0..30).filter(|&n| outcomes[n].is_err()).collect();
        assert!(failed.contains(&0) && failed.len() < 10, "{failed:?}");
        for n in failed {
            assert_eq!(outcomes[n].as_ref().expect_err("a failure").cause, Cause::NotPrimary);
        }
    });
}

#[test]
fn every_lane_finds_out_that_there_are_no_sessions() {
    run_whatever_the_hint(async || {
        let server = Scripted::without_sessions(|command| Reply::Answer(errors(command, &[]))).await;
        let outcomes = apply(&target(&server.uri(""), 20_000, 4), &puts(90, 1_000)).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done::Applied)), "{outcomes:?}");
        assert!(server.log().iter().all(|command| !command.contains_key("lsid")));
    });
}
