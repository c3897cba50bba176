//! Fences: a table of their own in the same file, written in the same transaction as the delete.

use crate::apply::{mark_text, read_mark};
use crate::error::of_table;
use rusqlite::{OptionalExtension as _, Transaction, params, types::Value};
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::fence::{FENCE_COLLECTION, fence_id};
use tidelock_core::target::Operation;
use tidelock_core::version::{Judgement, Mark};

/// Whether a table would be the fences': to SQLite the case of letters makes no difference.
pub(crate) fn is_reserved(table: &str) -> bool {
    table.eq_ignore_ascii_case(FENCE_COLLECTION)
}

/// The id of a location's fence.
pub(crate) fn id(table: &str, id: &str) -> String {
    fence_id(&[table.as_bytes(), id.as_bytes()])
}

/// The failure of a delete whose fence has failed: a document must never be given up because of its fence.
pub(crate) fn unwritten(failure: Failure) -> Failure {
    match failure.cause {
        Cause::OrderConflict => failure,
        cause if cause.disposition() == Disposition::Park => {
            Failure::new(Cause::FenceUnwritten, format!("{cause}: {}", failure.detail))
        }
        _ => failure,
    }
}

fn explain(error: rusqlite::Error) -> Failure {
    unwritten(of_table(FENCE_COLLECTION, &error))
}

/// Whether there is a table of this name.
pub(crate) fn exists(transaction: &Transaction<'_>, table: &str) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')";
    let found = transaction.prepare_cached(sql).and_then(|mut select| select.exists([table]));
    found.map_err(|error| of_table(table, &error))
}

/// Creates the table where it is missing. The last column is the sweep's.
pub(crate) fn prepare(transaction: &Transaction<'_>) -> Result<(), Failure> {
    if exists(transaction, FENCE_COLLECTION).map_err(unwritten)? {
        return Ok(());
    }
    let create = format!(
        "CREATE TABLE {FENCE_COLLECTION} (_id TEXT PRIMARY KEY NOT NULL, collection TEXT, id TEXT, key TEXT, \
         written INTEGER, _tidelock TEXT, watermark INTEGER); \
         CREATE INDEX IF NOT EXISTS {FENCE_COLLECTION}_written ON {FENCE_COLLECTION} (written, _id)"
    );
    transaction.execute_batch(&create).map_err(explain)
}

/// Writes the fence of a delete, unless there is a newer one.
///
/// With `strict`, one that is newer by number and older by the source's clock is a conflict.
pub(crate) fn write(
    transaction: &Transaction<'_>,
    operation: &Operation<'_>,
    now_ms: i64,
    strict: bool,
) -> Result<(), Failure> {
    prepare(transaction)?;
    let (table, id) = (operation.into.name.as_str(), operation.key.text_id());
    let fence = self::id(table, &id);
    let stored = stored(transaction, &fence)?;
    match operation.version.judge(stored.as_ref().and_then(read_mark).as_ref()) {
        Judgement::OrderConflict if strict => {
            let version = &operation.version;
            let (label, exact, at) = (version.label, version.exact, version.at);
            let detail = format!("the delete has {label} {exact} of {at} ms, the fence {stored:?}");
            return Err(Failure::new(Cause::OrderConflict, detail));
        }
        Judgement::Stale | Judgement::OrderConflict => return Ok(()),
        // An equal one is written anew: a write of before may have landed since, and the sweep must come to it again.
        Judgement::Replay | Judgement::Newer | Judgement::Tie | Judgement::Foreign => {}
    }
    let mut key = Vec::new();
    operation.key.write_json(&mut key);
    let key = String::from_utf8_lossy(&key);
    let sql = format!(
        "INSERT INTO {FENCE_COLLECTION} (_id, collection, id, key, written, _tidelock) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (_id) DO UPDATE SET key = excluded.key, written = excluded.written, _tidelock = excluded._tidelock, \
         collection = excluded.collection, id = excluded.id"
    );
    let row = params![fence, table, id, key, now_ms, mark_text(&operation.version)];
    transaction.prepare_cached(&sql).and_then(|mut insert| insert.execute(row)).map_err(explain)?;
    Ok(())
}

fn stored(transaction: &Transaction<'_>, fence: &str) -> Result<Option<Value>, Failure> {
    let sql = format!("SELECT _tidelock FROM {FENCE_COLLECTION} WHERE _id = ?1");
    let read = transaction.prepare_cached(&sql);
    read.and_then(|mut select| select.query_row([fence], |row| row.get(0)).optional()).map_err(explain)
}

/// The version that a location's fence remembers.
pub(crate) fn read(transaction: &Transaction<'_>, table: &str, id: &str) -> Result<Option<Mark>, Failure> {
    if !exists(transaction, FENCE_COLLECTION).map_err(unwritten)? {
        return Ok(None);
    }
    let Some(stored) = stored(transaction, &self::id(table, id))? else { return Ok(None) };
    match read_mark(&stored) {
        Some(mark) => Ok(Some(mark)),
        None => {
            let detail = format!("the fence of `{id}` in `{table}` cannot be read: it has no whole version");
            Err(Failure::new(Cause::FenceUnwritten, detail))
        }
    }
}
