//! Nothing newer is ever overwritten, and nothing that is newer is ever left out.

use crate::support::{Change, Folder, apply, stored, values};
use tidelock_core::cause::Cause;
use tidelock_core::target::Done;
use tidelock_sqlite::SqliteTarget;

fn is(value: &str) -> Vec<(String, String)> {
    vec![("k".to_owned(), value.to_owned())]
}

#[test]
fn inserts_replaces_and_deletes() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    assert_eq!(apply(&target, &[Change::put(5, "five")]), [Ok(Done::Applied)]);
    let rows = stored(&folder.database());
    assert_eq!(rows[0].document, r#"{"id":"k","value":"five"}"#);
    let exact = format!("{:0>40}", 5);
    let mark = format!(
        r#"{{"space":"dynamodb:us-east-1:123456789012:mytable","label":"2026-01-01T00:00:00.000","exact":"{exact}","at":1000000}}"#
    );
    assert_eq!(rows[0].mark, mark);
    assert_eq!(apply(&target, &[Change::put(6, "six")]), [Ok(Done::Applied)]);
    assert_eq!(values(&folder.database()), is("six"));
    assert_eq!(apply(&target, &[Change::remove(7)]), [Ok(Done::Applied)]);
    assert_eq!(values(&folder.database()), []);
    assert_eq!(apply(&target, &[Change::remove(8)]), [Ok(Done::Applied)], "absent already");
}

#[test]
fn an_older_change_is_stale_and_the_same_one_a_replay() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::put(100, "hundred")]);
    for older in
        [Change::put(99, "older"), Change::remove(9), Change::put(500, "older label").label("2025-12-31T23:59:59.999")]
    {
        assert_eq!(apply(&target, &[older]), [Ok(Done::Stale)]);
    }
    assert_eq!(apply(&target, &[Change::put(100, "again")]), [Ok(Done::Applied)]);
    assert_eq!(values(&folder.database()), is("hundred"));
    let newer = Change::put(1, "newer label").label("2026-02-01T00:00:00.000");
    assert_eq!(apply(&target, &[newer]), [Ok(Done::Applied)]);
    assert_eq!(values(&folder.database()), is("newer label"));
}

#[test]
fn an_older_number_of_a_later_time_is_a_conflict() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::put(100, "hundred")]);
    for change in [Change::put(99, "later").at(1_002), Change::remove(99).at(1_002)] {
        let outcomes = apply(&target, &[change]);
        let failure = outcomes[0].as_ref().expect_err("a conflict");
        assert_eq!(failure.cause, Cause::OrderConflict);
        assert!(failure.detail.contains("99") && failure.detail.contains("100"), "{failure}");
    }
    assert_eq!(values(&folder.database()), is("hundred"));
}

#[test]
fn documents_without_a_version_of_the_space_are_taken_over() {
    let other = r#"{"space":"other","label":"z","exact":"z","at":9999999999999}"#;
    for mark in ["'{}'", "''", "'{\"space\": 5}'", "'no json'", "x'ff00'", "7", &format!("'{other}'")] {
        for (change, left) in [(Change::put(1, "live"), is("live")), (Change::remove(1), vec![])] {
            let folder = Folder::new();
            let target = SqliteTarget::open(folder.database()).expect("open");
            apply(&target, &[Change::put(9, "x").of("another")]);
            let connection = rusqlite::Connection::open(folder.database()).expect("open");
            connection.execute(&format!("INSERT INTO t VALUES ('k', '{{}}', {mark})"), []).expect("insert");
            assert_eq!(
                apply(&target, &[change, Change::remove(10).of("another")]),
                [Ok(Done::Applied), Ok(Done::Applied)],
                "{mark}"
            );
            assert_eq!(values(&folder.database()), left, "{mark}");
        }
    }
}

#[test]
fn a_large_batch_has_one_outcome_for_each_operation() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    let change = |n: u64, sequence| Change::put(sequence, "v").of(&format!("{n:05}"));
    apply(&target, &(0..5_000).filter(|n| n % 3 == 0).map(|n| change(n, 10)).collect::<Vec<_>>());
    let outcomes = apply(&target, &(0..5_000).map(|n| change(n, 9)).collect::<Vec<_>>());
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(*outcome, Ok(if n % 3 == 0 { Done::Stale } else { Done::Applied }), "{n}");
    }
    assert_eq!(stored(&folder.database()).len(), 5_000);
}

#[test]
fn two_writers_of_one_file_never_lose_the_newer_change() {
    let folder = Folder::new();
    let path = folder.database();
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let path = &path;
            scope.spawn(move || {
                let target = SqliteTarget::open(path).expect("open");
                for step in 0..50u64 {
                    let sequence = step * 4 + writer + 1;
                    assert!(apply(&target, &[Change::put(sequence, &sequence.to_string())])[0].is_ok());
                }
            });
        }
    });
    assert_eq!(values(&path), is("200"));
}
