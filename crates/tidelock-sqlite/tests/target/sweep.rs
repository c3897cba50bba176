//! The sweep removes what is older than the delete of its location, and nothing else.

use crate::fences::{connection, mark};
use crate::support::{Change, Folder, NOW, apply, by, run, soon, stored};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{FENCE_LIFE_MS, SWEEP_AGE_MS, Swept, Window};
use tidelock_core::target::Store as _;
use tidelock_sqlite::SqliteTarget;

const ALL: Swept = Swept { compared: 0, removed: 0, expired: 0, complete: true };

/// Old enough for fences written at [`NOW`].
const AFTER: i64 = NOW + SWEEP_AGE_MS + 1;

fn sweep_at(target: &SqliteTarget, now: i64) -> Result<Swept, Failure> {
    run(target.sweep(Window::at(now, FENCE_LIFE_MS), by(soon())))
}

fn left(folder: &Folder) -> Vec<String> {
    stored(&folder.database()).into_iter().map(|row| row.id).collect()
}

fn watermark(folder: &Folder) -> Option<i64> {
    connection(folder)
        .query_row("SELECT watermark FROM tidelock_fences WHERE _id = 'watermark'", [], |row| row.get(0))
        .ok()
}

#[test]
fn a_zombie_is_removed_and_a_newer_and_an_equal_document_stay() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    assert_eq!(sweep_at(&target, NOW), Ok(ALL), "a new file");
    apply(&target, &["equal", "foreign", "newer", "none", "zombie"].map(|key| Change::remove(6).of(key)));
    // What an invocation that had been given up still had under way: no guard, no look at the fence.
    let blind = SqliteTarget::open(folder.database()).expect("open").with_safeguards(false, false);
    let late = [(5, "zombie"), (6, "equal"), (7, "newer")].map(|(sequence, key)| Change::put(sequence, "late").of(key));
    apply(&blind, &late);
    connection(&folder).execute("INSERT INTO t VALUES ('foreign', '{}', 'text')", []).expect("insert");

    assert_eq!(sweep_at(&target, AFTER - 1), Ok(ALL), "too young");
    assert_eq!(left(&folder).len(), 4);
    assert_eq!(sweep_at(&target, AFTER), Ok(Swept { compared: 5, removed: 1, ..ALL }));
    assert_eq!(left(&folder), ["equal", "foreign", "newer"]);
    assert_eq!(watermark(&folder), Some(NOW + 1));
    // The next one overlaps, and a late one does not find them again.
    assert_eq!(sweep_at(&target, AFTER + 3_600_000), Ok(Swept { compared: 5, ..ALL }));
    assert_eq!(sweep_at(&target, AFTER + 3_600_001), Ok(ALL));
}

#[test]
fn every_fence_is_compared_however_many_there_are() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    // All of one time, and more than two pages.
    let keys: Vec<String> = (0..1_203).map(|n| format!("{n:04}")).collect();
    apply(&target, &keys.iter().map(|key| Change::remove(6).of(key)).collect::<Vec<_>>());
    let connection = connection(&folder);
    for key in keys.iter().step_by(100) {
        connection.execute("INSERT INTO t VALUES (?1, '{}', ?2)", [key, &mark(5)]).expect("insert");
    }
    assert_eq!(sweep_at(&target, AFTER), Ok(Swept { compared: 1_203, removed: 13, ..ALL }));
    assert_eq!(left(&folder), [""; 0]);
}

#[test]
fn a_sweep_that_was_cut_short_is_taken_up_where_it_stopped() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &["a", "b", "c"].map(|key| Change::remove(6).of(key)));
    let connection = connection(&folder);
    // Behind the second fence of one time.
    let second = "SELECT _id FROM tidelock_fences ORDER BY _id LIMIT 1 OFFSET 1";
    let sql = format!("INSERT INTO tidelock_fences (_id, watermark, id) VALUES ('watermark', {NOW}, ({second}))");
    connection.execute(&sql, []).expect("insert");
    assert_eq!(sweep_at(&target, AFTER), Ok(Swept { compared: 1, ..ALL }));
    assert_eq!(watermark(&folder), Some(NOW + 1));
    let late = run(target.sweep(Window::at(AFTER, FENCE_LIFE_MS), by(Instant::now())));
    assert_eq!(late, Ok(Swept { complete: false, ..ALL }));
}

#[test]
fn fences_expire_when_they_have_been_compared() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &["old", "young", "zombie", "damaged"].map(|key| Change::remove(6).of(key)));
    let connection = connection(&folder);
    connection.execute("UPDATE tidelock_fences SET written = written - 1 WHERE id <> 'young'", []).expect("update");
    connection.execute("UPDATE tidelock_fences SET _tidelock = 'text' WHERE id = 'damaged'", []).expect("update");
    connection.execute("INSERT INTO t VALUES ('zombie', '{}', ?1)", [mark(5)]).expect("insert");
    let swept = sweep_at(&target, NOW + FENCE_LIFE_MS);
    assert_eq!(swept, Ok(Swept { compared: 3, removed: 1, expired: 3, complete: true }));
    let sql = "SELECT id FROM tidelock_fences WHERE written IS NOT NULL";
    assert_eq!(connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("one"), "young");
    assert_eq!(left(&folder), [""; 0]);
}

#[test]
fn fences_of_tables_that_are_gone_are_passed_over_and_errors_are_told() {
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    apply(&target, &[Change::remove(6)]);
    connection(&folder).execute_batch("DROP TABLE t").expect("drop");
    assert_eq!(sweep_at(&target, AFTER), Ok(Swept { compared: 1, ..ALL }));
    connection(&folder).execute_batch("DROP TABLE tidelock_fences; CREATE TABLE tidelock_fences (a)").expect("damage");
    assert_eq!(sweep_at(&target, AFTER).expect_err("no such column").cause, Cause::FenceUnwritten);
}
