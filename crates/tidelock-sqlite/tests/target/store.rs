//! Looking at what is stored, and writing only where nothing has changed since.

use crate::fences::{connection, mark};
use crate::support::{Change, Folder, apply, batch, by, operations, place, run, soon, values};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::fence_id;
use tidelock_core::target::{Done, Found, Put, Store as _};
use tidelock_core::version::Mark;
use tidelock_sqlite::{SqliteTarget, Unchanged};

type Looked = Vec<Result<Found<Unchanged>, Failure>>;

fn look(target: &SqliteTarget, changes: &[Change]) -> Looked {
    let (batch, into) = (batch(changes), place("t"));
    run(target.look(&operations(&batch, &into), by(soon())))
}

/// Writes each change over what was looked at.
fn put(target: &SqliteTarget, changes: &[Change], looked: &Looked) -> Vec<Result<bool, Failure>> {
    let (batch, into) = (batch(changes), place("t"));
    let mut puts = Vec::new();
    for (operation, found) in operations(&batch, &into).into_iter().zip(looked) {
        let document = found.as_ref().expect("looked").document.as_ref();
        puts.push(Put { operation, over: document.map(|stored| stored.witness.clone()) });
    }
    run(target.put(&puts, by(soon())))
}

fn version(sequence: u64) -> Option<Mark> {
    serde_json::from_str(&mark(sequence)).ok()
}

#[test]
fn a_look_finds_document_and_fence_and_makes_no_table() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    let changes = ["both", "document", "fence", "neither", "foreign"].map(|key| Change::put(5, "v").of(key));
    for found in look(&target, &changes) {
        assert_eq!(found, Ok(Found { document: None, fence: None }));
    }
    let tables: i64 =
        connection(&folder).query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("a count");
    assert_eq!(tables, 0);
    apply(&target, &[Change::remove(6).of("both"), Change::remove(7).of("fence"), Change::put(5, "v").of("document")]);
    connection(&folder)
        .execute("INSERT INTO t VALUES ('both', '{}', ?1), ('foreign', '{}', 'text')", [mark(4)])
        .expect("insert");
    let looked = look(&target, &changes);
    let marks: Vec<_> = looked
        .iter()
        .map(|found| found.as_ref().expect("found"))
        .map(|found| (found.document.as_ref().map(|stored| stored.mark.clone()), found.fence.clone()))
        .collect();
    let expected = [
        (Some(version(4)), version(6)),
        (Some(version(5)), None),
        (None, version(7)),
        (None, None),
        (Some(None), None),
    ];
    assert_eq!(marks, expected);
}

#[test]
fn a_fence_that_cannot_be_read_stands_in_the_way() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::remove(6), Change::remove(6).of("good")]);
    let damage = "UPDATE tidelock_fences SET _tidelock = 'text' WHERE _id = ?1";
    connection(&folder).execute(damage, [fence_id(&[b"t", b"k"])]).expect("update");
    let looked = look(&target, &[Change::put(5, "v"), Change::put(5, "v").of("good")]);
    let failure = looked[0].as_ref().expect_err("unreadable");
    assert_eq!(failure.cause, Cause::FenceUnwritten);
    assert!(failure.detail.contains("the fence of `k` in `t` cannot be read"), "{failure}");
    assert_eq!(looked[1], Ok(Found { document: None, fence: version(6) }));
}

#[test]
fn what_has_changed_since_it_was_looked_at_is_left_alone() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    let there = ["same", "changed", "gone", "kept-delete", "changed-delete", "gone-delete"];
    apply(&target, &there.map(|key| Change::put(5, "old").of(key)));
    let other = connection(&folder);
    other.execute("INSERT INTO t VALUES ('blob', '{}', x'00'), ('blob-changed', '{}', x'00')", []).expect("insert");
    let changes = [
        Change::put(6, "new").of("same"),
        Change::put(6, "new").of("changed"),
        Change::put(6, "new").of("gone"),
        Change::put(6, "new").of("blob"),
        Change::put(6, "new").of("blob-changed"),
        Change::put(6, "new").of("free"),
        Change::put(6, "new").of("taken"),
        Change::put(6, "new").of("newer"),
        Change::remove(6).of("kept-delete"),
        Change::remove(6).of("changed-delete"),
        Change::remove(6).of("gone-delete"),
        Change::remove(6).of("never"),
    ];
    let looked = look(&target, &changes);
    other.execute("UPDATE t SET _tidelock = ?1 WHERE _id IN ('changed', 'changed-delete')", [mark(4)]).expect("update");
    other.execute("UPDATE t SET _tidelock = x'01' WHERE _id = 'blob-changed'", []).expect("update");
    other.execute("DELETE FROM t WHERE _id IN ('gone', 'gone-delete')", []).expect("delete");
    other.execute("INSERT INTO t VALUES ('taken', '{}', ?1), ('newer', '{}', ?2)", [mark(4), mark(6)]).expect("insert");
    let expected = [true, false, false, true, false, true, true, false, true, false, true, true].map(Ok);
    assert_eq!(put(&target, &changes, &looked), expected);
    let new = "SELECT group_concat(_id, ' ' ORDER BY _id) FROM t WHERE document ->> 'value' = 'new'";
    let new: String = other.query_row(new, [], |row| row.get(0)).expect("documents");
    assert_eq!(new, "blob free same taken");
    let fenced = look(&target, &changes).into_iter().map(|found| found.expect("looked").fence.is_some());
    assert_eq!(fenced.filter(|fenced| *fenced).count(), 4, "each delete, whatever came of it");
}

#[test]
fn a_newer_fence_is_never_lowered() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::remove(9)]);
    connection(&folder).execute("INSERT INTO t VALUES ('k', '{}', ?1)", [mark(4)]).expect("insert");
    // Whatever the clocks say.
    let changes = [Change::remove(5).at(9_999)];
    let looked = look(&target, &changes);
    assert_eq!(put(&target, &changes, &looked), [Ok(true)]);
    assert_eq!(look(&target, &changes), [Ok(Found { document: None, fence: version(9) })]);
}

#[test]
fn another_unique_index_refuses_a_write() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::put(1, "taken").of("a"), Change::put(1, "free").of("b")]);
    connection(&folder).execute("CREATE UNIQUE INDEX u ON t (document ->> 'value')", []).expect("index");
    let changes = [Change::put(5, "taken").of("b"), Change::put(5, "taken").of("c"), Change::put(5, "w").of("d")];
    let results = put(&target, &changes, &look(&target, &changes));
    for refused in &results[..2] {
        assert_eq!(refused.as_ref().expect_err("refused").cause, Cause::UniqueConflict);
    }
    assert_eq!(results[2], Ok(true));
}

#[test]
fn nothing_is_done_when_no_time_is_left() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    assert_eq!(apply(&target, &[Change::put(5, "v")]), [Ok(Done::Applied)]);
    let (batch, into) = (batch(&[Change::remove(6)]), place("t"));
    let operations = operations(&batch, &into);
    let late = by(Instant::now());
    let looked = run(target.look(&operations, late));
    assert_eq!(looked[0].as_ref().expect_err("late").cause, Cause::Deadline);
    let results = run(target.put(&[Put { operation: operations[0], over: None }], late));
    assert_eq!(results[0].as_ref().expect_err("late").cause, Cause::Deadline);
    assert_eq!(values(&folder.database()).len(), 1);
}
