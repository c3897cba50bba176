//! Clearing a table: all documents that are older than the end of the collection they are from.
//!
//! Page by page, in the order of their ids, each in a transaction that holds the write lock.

use crate::apply::{Table, quoted, read_mark};
use crate::error::of_table;
use crate::fence;
use crate::transaction::{begin, has_time};
use rusqlite::{Connection, Transaction, TransactionBehavior, types::Value};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::fence::{Cleared, overtakes};
use tidelock_core::target::Call;
use tidelock_core::version::Mark;

/// Documents looked at at a time.
const PAGE: usize = 500;

/// Clears a table.
pub(crate) fn clear(connection: &Connection, table: &str, mark: &Mark, call: Call) -> Result<Cleared, Failure> {
    let (mut cleared, mut after) = (Cleared::default(), String::new());
    while !cleared.complete {
        let transaction = match begin(connection, TransactionBehavior::Immediate, call.deadline) {
            Ok(transaction) => transaction,
            Err(failure) if failure.cause == Cause::Deadline => return Ok(cleared),
            Err(failure) => return Err(failure),
        };
        let (removed, last) = page(&transaction, table, mark, &after)?;
        transaction.commit().map_err(|error| of_table(table, &error))?;
        cleared.removed += removed;
        match last {
            Some(last) => after = last,
            None => cleared.complete = true,
        }
    }
    Ok(cleared)
}

/// The same within a transaction, until there is no more time.
pub(crate) fn clear_within(
    transaction: &Transaction<'_>,
    table: &str,
    mark: &Mark,
    deadline: Instant,
) -> Result<Cleared, Failure> {
    let (mut cleared, mut after) = (Cleared::default(), Some(String::new()));
    while let Some(from) = after.take() {
        if !has_time(deadline) {
            return Ok(cleared);
        }
        let (removed, last) = page(transaction, table, mark, &from)?;
        cleared.removed += removed;
        after = last;
    }
    cleared.complete = true;
    Ok(cleared)
}

/// Removes what the fence overtakes of a page; gives how many that were, and the page's last id where there are more.
fn page(
    transaction: &Transaction<'_>,
    table: &str,
    mark: &Mark,
    after: &str,
) -> Result<(usize, Option<String>), Failure> {
    if fence::is_reserved(table) || !fence::exists(transaction, table)? {
        return Ok((0, None));
    }
    let explain = |error| of_table(table, &error);
    let sql = format!("SELECT _id, _tidelock FROM {} WHERE _id > ?1 ORDER BY _id LIMIT {PAGE}", quoted(table));
    let mut select = transaction.prepare_cached(&sql).map_err(explain)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let rows = select.query_map([after], read).and_then(Iterator::collect);
    let rows: Vec<(String, Value)> = rows.map_err(explain)?;
    let mut removed = 0;
    for (id, stored) in &rows {
        if overtakes(mark, read_mark(stored).as_ref()) {
            Table::new(table).remove(transaction, id)?;
            removed += 1;
        }
    }
    let full = rows.len() == PAGE;
    Ok((removed, rows.into_iter().next_back().filter(|_| full).map(|(id, _)| id)))
}
