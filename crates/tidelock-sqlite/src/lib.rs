//! SQLite as an embedded target: for demonstrations and tests, and the guards in their plainest form.
//!
//! Each target name is a table of three columns:
//!
//! ```sql
//! CREATE TABLE "NAME" (
//!   _id       TEXT PRIMARY KEY NOT NULL,  -- the key as text
//!   document  TEXT NOT NULL,              -- the document as JSON, every digit of its numbers kept
//!   _tidelock TEXT NOT NULL               -- the version that wrote it: {"space", "label", "exact", "at"}
//! )
//! ```
//!
//! All operations of one call go into one transaction that holds the write lock from its start, so that what is read of a
//! document is still so when it is written.

mod apply;
mod error;
mod read;

use rusqlite::Connection;
use std::path::Path;
use std::time::{Duration, Instant};
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::target::{Operation, Outcome, Target};

pub use self::read::{StoredDocument, documents};

/// How long another connection's write lock is waited for, where no deadline comes first.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A database file that documents are written to.
#[derive(Debug)]
pub struct SqliteTarget {
    connection: Connection,
}

impl SqliteTarget {
    /// Opens the file, which is created where it is missing, and sets it to write-ahead logging.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or stays locked.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Failure> {
        let path = path.as_ref();
        let opened = Connection::open(path).and_then(|connection| {
            connection.busy_timeout(LOCK_WAIT)?;
            // The answer is the mode that is in force: "wal", or "memory" for a database without a file.
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => Ok(Self { connection }),
            Err(error) => Err(error::at(path, &error)),
        }
    }
}

impl Target for SqliteTarget {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], deadline: Instant) -> Vec<Outcome> {
        apply::apply(&self.connection, operations, deadline)
    }
}
