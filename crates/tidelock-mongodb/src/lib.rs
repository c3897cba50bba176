//! MongoDB, Amazon DocumentDB and other servers of MongoDB's wire protocol as a target, and as a source that is read again.
//!
//! ```text
//! operations ─ apply   ─▶ groups by namespace and kind, cut into commands, up to `in_flight` of them at a time
//!              command ─▶ `insert`, `update` and `delete` as raw BSON, one pass, every statement guarded
//!              answer  ─▶ one verdict per statement (the driver's `run_command` turns none of them into an error)
//!              lookup  ─▶ what a refused statement has met, read back from the primary
//!              lane    ─▶ judged on the stored version: stale, replay, or once more by compare-and-set
//!              fence   ─▶ what is remembered of a delete, acknowledged before the delete is sent
//!              caller  ─▶ connection, session, login and patience
//!              error   ─▶ one table: what each server code means
//! keys       ─ source  ─▶ documents read again, through the same callers
//! collection ─ scan    ─▶ all of its documents, segment by segment and page by page
//! scope      ─ change_streams ─▶ enabled or disabled on Amazon DocumentDB, the collection made where it is missing
//! document   ─ documents      ─▶ written to one collection, as an application would
//! ```
//!
//! A document is stored as `{_id, …the item's attributes…, _tidelock}`. Writes ask for the write concern `majority`; an
//! answer with a `writeConcernError` counts as no answer.
//!
//! Slow lanes look and compare-and-set (`store`); the sweep removes what is older than its fence (`sweep`).
//!
//! Collections must have the default collation: under any other, ids that differ only in case would meet.

mod answer;
mod apply;
mod caller;
mod change_streams;
mod clear;
mod command;
mod config;
mod connection;
mod documents;
mod error;
mod fence;
mod identity;
mod lane;
mod login;
mod lookup;
mod preview;
mod scan;
mod source;
mod spot;
mod store;
mod sweep;

use apply::Mode;
use connection::Connector;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Instant;
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::fence::{Cleared, Swept, Window};
use tidelock_core::target::{Call, Found, Operation, Outcome, Place, Put, Store, Target};
use tidelock_core::version::Mark;

pub use self::change_streams::{ChangeStreams, Scope, State};
pub use self::config::{MongoDbConfig, collection_problem, database_problem};
pub use self::documents::{Documents, Inserted};
pub use self::login::{Credentials, FromUri, Login};
pub use self::lookup::Unchanged;
pub use self::preview::{Command, commands};
pub use self::source::{MongoDbSource, MongoDbSourceConfig};

/// A MongoDB deployment that documents are written to.
#[derive(Debug)]
pub struct MongoDbTarget<C = FromUri> {
    connector: Connector<C>,
    bulk_bytes: usize,
    in_flight: usize,
    fences: bool,
    guards: bool,
    /// Databases to sweep besides the default one.
    databases: Vec<String>,
    /// Databases whose fences have their index, or shall do without.
    indexed: RefCell<BTreeSet<String>>,
    /// For so many commands more, fences are taken for known: they are updated rather than inserted.
    known_fences: Cell<u32>,
}

impl<C: Credentials> MongoDbTarget<C> {
    /// A target that connects when it is first used.
    ///
    /// # Errors
    /// All that is wrong with the settings, each problem naming the setting; never a credential.
    pub fn new(config: MongoDbConfig, credentials: C) -> Result<Self, Vec<String>> {
        let MongoDbConfig { bulk_bytes, in_flight, fences, guards, ref databases, .. } = config;
        let databases = databases.clone();
        Ok(Self {
            connector: Connector::new(&config, credentials)?,
            bulk_bytes,
            in_flight: in_flight.max(1),
            fences,
            guards,
            databases,
            indexed: RefCell::default(),
            known_fences: Cell::new(0),
        })
    }

    /// The database of names that give none.
    #[must_use]
    pub fn default_database(&self) -> Option<&str> {
        self.connector.address.default_database.as_deref()
    }

    /// The databases to sweep.
    fn databases(&self) -> BTreeSet<&str> {
        let default = self.default_database();
        self.databases.iter().map(String::as_str).chain(default).collect()
    }

    /// Connects and authenticates, so that the first batch need not.
    ///
    /// # Errors
    /// When no writable server answers before the deadline.
    pub async fn connect(&self, deadline: Instant) -> Result<(), Failure> {
        self.connector.ping(deadline).await
    }
}

impl<C: Credentials> Target for MongoDbTarget<C> {
    fn format(&self) -> Format {
        Format::Bson
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        apply::apply(self, operations, Mode::Live { truth: call.truth }, call).await
    }
}

impl<C: Credentials> Store for MongoDbTarget<C> {
    type Witness = Unchanged;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<Unchanged>, Failure>> {
        store::look(self, operations, call).await
    }

    async fn fences(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        store::fences(self, operations, call).await
    }

    async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        self.connector.ping(deadline).await
    }

    async fn put(&self, puts: &[Put<'_, Unchanged>], call: Call) -> Vec<Result<bool, Failure>> {
        store::put(self, puts, call).await
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        sweep::sweep(self, window, call).await
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        clear::clear(self, into, fence, call).await
    }
}
