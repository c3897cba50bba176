//! Deletes leave fences, in the same transaction.

use crate::support::{Change, Folder, NOW, apply, apply_to, batch, by, operations, place, run, soon, stored, values};
use rusqlite::Connection;
use tidelock_core::cause::{Cause, Disposition};
use tidelock_core::fence::{FENCE_COLLECTION, fence_id};
use tidelock_core::target::{Call, Done, Outcome, Target as _};
use tidelock_sqlite::SqliteTarget;

/// A fence: collection, id, key, time and version.
type Fence = (String, String, String, i64, String);

pub(crate) fn connection(folder: &Folder) -> Connection {
    Connection::open(folder.database()).expect("open")
}

/// The fence of an id in the table `t`.
fn fence(folder: &Folder, id: &str) -> Option<Fence> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    let sql = "SELECT collection, id, key, written, _tidelock FROM tidelock_fences WHERE _id = ?1";
    connection(folder).query_row(sql, [fence_id(&[b"t", id.as_bytes()])], read).ok()
}

pub(crate) fn mark(sequence: u64) -> String {
    let exact = format!("{sequence:0>40}");
    format!(
        r#"{{"space":"dynamodb:us-east-1:123456789012:mytable","label":"2026-01-01T00:00:00.000","exact":"{exact}","at":1000000}}"#
    )
}

fn expected(sequence: u64) -> Option<Fence> {
    Some(("t".into(), "k".into(), r#"{"id":{"S":"k"}}"#.into(), NOW, mark(sequence)))
}

/// Applies changes for a caller who can read the source.
fn apply_with_truth(target: &SqliteTarget, changes: &[Change]) -> Vec<Outcome> {
    let (batch, into) = (batch(changes), place("t"));
    run(target.apply(&operations(&batch, &into), Call { truth: true, ..by(soon()) }))
}

fn cause(outcome: &Outcome) -> Cause {
    outcome.as_ref().expect_err("a failure").cause
}

#[test]
fn a_delete_leaves_a_fence_guarded_like_a_document() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::put(5, "v")]);
    assert_eq!(fence(&folder, "k"), None, "upserts leave none");
    assert_eq!(
        apply(&target, &[Change::remove(6), Change::remove(6).of("never")]),
        [Ok(Done::Applied), Ok(Done::Applied)]
    );
    assert_eq!(fence(&folder, "k"), expected(6));
    assert!(fence(&folder, "never").is_some());
    // An older delete, and the same one: the fence stays, and what is older in its turn is deleted all the same.
    for sequence in [5, 6] {
        let zombie = (mark(sequence - 1),);
        connection(&folder).execute("INSERT INTO t VALUES ('k', '{}', ?1)", [zombie.0]).expect("insert");
        assert_eq!(apply(&target, &[Change::remove(sequence)]), [Ok(Done::Applied)]);
        assert_eq!((stored(&folder.database()).len(), fence(&folder, "k")), (0, expected(6)));
    }
    apply(&target, &[Change::remove(7)]);
    assert_eq!(fence(&folder, "k"), expected(7));
    apply(&target, &[Change::put(9, "v").of("kept"), Change::remove(8).of("kept")]);
    assert_eq!(values(&folder.database()), [("kept".to_owned(), "v".to_owned())], "a stale delete");
    assert!(fence(&folder, "kept").is_some(), "leaves its fence");
}

#[test]
fn fences_of_others_are_taken_over_and_newer_ones_of_an_older_time_are_a_conflict() {
    let other = r#"{"space":"other","label":"z","exact":"z","at":9999999999999}"#;
    for damaged in ["NULL", "'text'", "x'00'", &format!("'{other}'")] {
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        apply(&target, &[Change::remove(1)]);
        connection(&folder).execute(&format!("UPDATE tidelock_fences SET _tidelock = {damaged}"), []).expect("update");
        assert_eq!(apply_with_truth(&target, &[Change::remove(6)]), [Ok(Done::Applied)], "{damaged}");
        assert_eq!(fence(&folder, "k"), expected(6), "{damaged}");
        apply(&target, &[Change::put(7, "v")]);
        apply(&target, &[Change::remove(9).of("k2")]);
        let outcomes = apply(&target, &[Change::remove(8).of("k2").at(1_002)]);
        assert_eq!(cause(&outcomes[0]), Cause::OrderConflict);
    }
}

#[test]
fn without_its_fence_a_delete_is_not_done_and_not_parked() {
    for damage in [
        "CREATE TABLE tidelock_fences (a)",
        "CREATE VIEW tidelock_fences AS SELECT 1",
        "CREATE TABLE Tidelock_Fences (a)",
        "CREATE TABLE tidelock_fences (_id TEXT PRIMARY KEY, collection, id, key, written CHECK (written < 0), _tidelock)",
    ] {
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        apply(&target, &[Change::put(5, "v")]);
        connection(&folder).execute_batch(damage).expect(damage);
        let outcomes = apply(&target, &[Change::remove(6), Change::put(6, "w").of("other")]);
        let failure = outcomes[0].as_ref().expect_err(damage);
        assert_eq!(failure.cause.disposition(), Disposition::Retry, "{failure}");
        assert_eq!(failure.cause, Cause::FenceUnwritten, "{damage}: {failure}");
        assert_eq!(outcomes[1], Ok(Done::Applied));
        assert_eq!(values(&folder.database()).len(), 2, "{damage}");
    }
}

#[test]
fn the_fences_table_is_no_place_for_documents() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    for name in [FENCE_COLLECTION, "Tidelock_Fences"] {
        for change in [Change::put(1, "v"), Change::remove(1)] {
            assert_eq!(cause(&apply_to(&target, name, &[change], soon())[0]), Cause::InvalidTargetName);
        }
    }
}

#[test]
fn fences_that_were_dropped_by_hand_are_written_again() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::remove(6)]);
    connection(&folder).execute_batch("DROP TABLE tidelock_fences").expect("drop");
    assert_eq!(apply(&target, &[Change::remove(7)]), [Ok(Done::Applied)]);
    assert_eq!(fence(&folder, "k"), expected(7));
}

#[test]
fn where_the_source_can_be_read_documents_of_others_are_handed_back() {
    let other = r#"{"space":"other","label":"z","exact":"z","at":9999999999999}"#;
    for mark in ["'{}'", "''", "x'ff00'", "7", &format!("'{other}'")] {
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        apply(&target, &[Change::put(9, "x").of("another")]);
        connection(&folder).execute(&format!("INSERT INTO t VALUES ('k', '{{}}', {mark})"), []).expect("insert");
        let before = stored_text(&folder);
        for change in [Change::put(10, "live"), Change::remove(11)] {
            assert_eq!(cause(&apply_with_truth(&target, &[change])[0]), Cause::ForeignDocument, "{mark}");
        }
        assert_eq!(stored_text(&folder), before, "{mark}");
        let own = Change::put(10, "y").of("another");
        assert_eq!(apply_with_truth(&target, &[own]), [Ok(Done::Applied)]);
        let conflict = Change::put(9, "z").of("another").at(1_002);
        assert_eq!(cause(&apply_with_truth(&target, &[conflict])[0]), Cause::OrderConflict);
        assert_eq!(apply(&target, &[Change::put(10, "live")]), [Ok(Done::Applied)], "{mark}");
    }
}

/// The document `k`, whatever its mark is.
fn stored_text(folder: &Folder) -> String {
    let sql = "SELECT document || hex(_tidelock) FROM t WHERE _id = 'k'";
    connection(folder).query_row(sql, [], |row| row.get(0)).expect("a document")
}

#[test]
fn fences_and_guards_can_be_left_out_for_measurements() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open").with_safeguards(false, false);
    apply(&target, &[Change::put(9, "newer")]);
    assert_eq!(apply(&target, &[Change::put(5, "older")]), [Ok(Done::Applied)]);
    assert_eq!(values(&folder.database()), [("k".to_owned(), "older".to_owned())]);
    assert_eq!(apply(&target, &[Change::remove(1)]), [Ok(Done::Applied)]);
    assert_eq!((values(&folder.database()), fence(&folder, "k")), (vec![], None));
}
