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
//! Deletes leave their fences in one more table, `tidelock_fences`.
//!
//! All operations of one call go into one transaction that holds the write lock from its start, so that what is read of a
//! document is still so when it is written.

mod apply;
mod clear;
mod error;
mod fence;
mod read;
mod store;
mod sweep;
mod transaction;

use rusqlite::Connection;
use std::path::Path;
use std::time::{Duration, Instant};
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::fence::{Cleared, Swept, Window};
use tidelock_core::target::{Call, Found, Operation, Outcome, Place, Put, Store, Target};
use tidelock_core::version::Mark;

pub use self::read::{StoredDocument, documents};
pub use self::store::Unchanged;

/// How long another connection's write lock is waited for, where no deadline comes first.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What keeps the promise, and may be left out to measure what it costs.
#[derive(Debug, Clone, Copy)]
struct Safeguards {
    fences: bool,
    guards: bool,
}

impl Safeguards {
    const ALL: Self = Self { fences: true, guards: true };
}

/// A database file that documents are written to.
#[derive(Debug)]
pub struct SqliteTarget {
    connection: Connection,
    safeguards: Safeguards,
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
            Ok(connection) => Ok(Self { connection, safeguards: Safeguards::ALL }),
            Err(error) => Err(error::at(path, &error)),
        }
    }

    /// For measurements only: deletes leave no fences, or the live lane overwrites what is newer.
    #[must_use]
    pub fn with_safeguards(self, fences: bool, guards: bool) -> Self {
        Self { safeguards: Safeguards { fences, guards }, ..self }
    }
}

impl Target for SqliteTarget {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        apply::apply(&self.connection, operations, call, self.safeguards)
    }
}

impl Store for SqliteTarget {
    type Witness = Unchanged;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<Unchanged>, Failure>> {
        store::look(&self.connection, operations, call)
    }

    async fn ping(&self, _: Instant) -> Result<(), Failure> {
        let answer = self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        answer.map(drop).map_err(|error| error::failure(&error))
    }

    async fn put(&self, puts: &[Put<'_, Unchanged>], call: Call) -> Vec<Result<bool, Failure>> {
        store::put(&self.connection, puts, call, self.safeguards.fences)
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        sweep::sweep(&self.connection, window, call)
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        clear::clear(&self.connection, &into.name, fence, call)
    }
}
