//! Names, and what goes wrong with a table or the file.

use crate::support::{Change, Folder, apply, apply_to, batch, by, operations, place, run, soon, values};
use std::time::Instant;
use tidelock_core::cause::Cause;
use tidelock_core::target::{Done, Target as _};
use tidelock_sqlite::{SqliteTarget, documents};

fn cause_of(target: &SqliteTarget, table: &str) -> Cause {
    let outcomes = apply_to(target, table, &[Change::put(1, "x")], soon());
    let failure = outcomes[0].as_ref().expect_err(table);
    assert!(failure.detail.contains("table"), "{failure}");
    failure.cause
}

#[test]
fn any_name_that_sqlite_can_quote_is_a_table() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    for name in ["select", "a b", "a\"b", "'; DROP TABLE t; --", "db.collection", "naïve-☃", "[x]"] {
        assert_eq!(apply_to(&target, name, &[Change::put(1, name)], soon()), [Ok(Done::Applied)], "{name}");
        assert_eq!(documents(folder.database(), name).expect(name).len(), 1, "{name}");
    }
    assert_eq!(documents(folder.database(), "not yet").expect("no table is no error"), []);
}

#[test]
fn names_that_cannot_be_are_refused_while_their_neighbours_are_written() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    for name in ["sqlite_x", "a\0b"] {
        assert_eq!(cause_of(&target, name), Cause::InvalidTargetName, "{name}");
    }
    let connection = rusqlite::Connection::open(folder.database()).expect("open");
    connection.execute_batch("CREATE TABLE foreign_table (a, b); CREATE VIEW v AS SELECT 1").expect("create");
    assert_eq!(cause_of(&target, "foreign_table"), Cause::InvalidTargetName);
    assert_eq!(cause_of(&target, "v"), Cause::InvalidTargetName);

    let (bad, good) = (place("sqlite_x"), place("t"));
    let (one, two) = (batch(&[Change::put(1, "lost")]), batch(&[Change::put(2, "kept")]));
    let mixed = [operations(&one, &bad), operations(&two, &good)].concat();
    let outcomes = run(target.apply(&mixed, by(soon())));
    assert!(outcomes[0].is_err());
    assert_eq!(outcomes[1], Ok(Done::Applied));
    assert_eq!(values(&folder.database()), [("k".to_owned(), "kept".to_owned())]);
}

#[test]
fn tables_that_differ_only_in_case_do_not_meet() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply_to(&target, "Orders", &[Change::put(1, "upper").table("Orders")], soon());
    assert_eq!(cause_of(&target, "orders"), Cause::InvalidTargetName);
    assert_eq!(documents(folder.database(), "Orders").expect("readable").len(), 1);
}

#[test]
fn the_users_own_constraints_refuse_one_document_alone() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::put(1, "taken").of("a")]);
    let connection = rusqlite::Connection::open(folder.database()).expect("open");
    connection.execute("CREATE UNIQUE INDEX u ON t (document ->> 'value')", []).expect("index");
    let outcomes =
        apply(&target, &[Change::put(2, "x").of("b"), Change::put(3, "taken").of("c"), Change::put(4, "y").of("d")]);
    assert_eq!((outcomes[0].clone(), outcomes[2].clone()), (Ok(Done::Applied), Ok(Done::Applied)));
    assert_eq!(outcomes[1].as_ref().expect_err("refused").cause, Cause::UniqueConflict);
    assert_eq!(values(&folder.database()).len(), 3);
}

#[test]
fn what_is_no_database_is_said_with_its_path() {
    let folder = Folder::new();
    std::fs::write(folder.database(), "this is no database, whatever its name says").expect("write");
    let failure = SqliteTarget::open(folder.database()).expect_err("no database");
    assert_eq!(failure.cause, Cause::UnexpectedAnswer);
    assert!(failure.detail.contains("documents.db"), "{failure}");
    let missing = SqliteTarget::open(folder.database().join("nowhere/x.db")).expect_err("no folder");
    assert_eq!(missing.cause, Cause::Unreachable);
    assert_eq!(documents(folder.database().join("x"), "t").expect_err("no file").cause, Cause::Unreachable);
}

#[test]
fn a_locked_file_and_a_past_deadline_are_to_be_retried() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    let other = rusqlite::Connection::open(folder.database()).expect("open");
    other.execute_batch("BEGIN IMMEDIATE").expect("lock");
    let begun = Instant::now();
    let deadline = begun + std::time::Duration::from_millis(700);
    let outcomes = apply_to(&target, "t", &[Change::put(1, "x"), Change::put(2, "y").of("b")], deadline);
    assert!(Instant::now() < deadline, "an answer in time");
    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|failure| failure.cause == Cause::Unavailable)),
        "{outcomes:?}"
    );
    other.execute_batch("COMMIT").expect("unlock");
    let outcomes = apply_to(&target, "t", &[Change::put(1, "x")], Instant::now());
    assert_eq!(outcomes[0].as_ref().expect_err("too late").cause, Cause::Deadline);
    assert_eq!(apply(&target, &[Change::put(1, "x")]), [Ok(Done::Applied)]);
}
