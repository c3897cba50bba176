//! Reading back what a target holds.

use crate::LOCK_WAIT;
use crate::apply::quoted;
use crate::error::{at, of_table};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::path::Path;
use tidelock_core::cause::Failure;

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// The key as text.
    pub id: String,
    /// The document as JSON.
    pub document: String,
    /// The version that wrote it, as JSON.
    pub mark: String,
}

/// Every document of a table, by id; none where there is no such table yet.
///
/// # Errors
/// When the file cannot be read, or the table is not one that this target has written.
pub fn documents(path: impl AsRef<Path>, table: &str) -> Result<Vec<StoredDocument>, Failure> {
    let path = path.as_ref();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| at(path, &error))?;
    let read = || {
        connection.busy_timeout(LOCK_WAIT)?;
        let there =
            connection.query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [table], |_| Ok(())).optional()?;
        if there.is_none() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT _id, document, _tidelock FROM {} ORDER BY _id", quoted(table));
        let mut select = connection.prepare(&sql)?;
        let rows = select
            .query_map([], |row| Ok(StoredDocument { id: row.get(0)?, document: row.get(1)?, mark: row.get(2)? }))?;
        rows.collect()
    };
    read().map_err(|error| of_table(table, &error))
}
