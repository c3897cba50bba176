//! MongoDB, Amazon DocumentDB and other servers of MongoDB's wire protocol as a target.
//!
//! ```text
//! operations ─ apply   ─▶ groups by namespace and kind, cut into commands, up to `in_flight` of them at a time
//!              command ─▶ `update` and `delete` as raw BSON, one pass, every statement guarded by the stored version
//!              answer  ─▶ one verdict per statement (the driver's `run_command` turns none of them into an error)
//!              lookup  ─▶ what a refused statement has met, read back from the primary
//!              lane    ─▶ judged on the stored version: stale, replay, or once more by compare-and-set
//!              error   ─▶ one table: what each server code means
//! ```
//!
//! A document is stored as `{_id, …the item's attributes…, _tidelock}`. Writes ask for the write concern `majority`; an
//! answer with a `writeConcernError` counts as no answer.
//!
//! Collections must have the default collation: under any other, ids that differ only in case would meet.

mod answer;
mod apply;
mod command;
mod config;
mod connection;
mod error;
mod identity;
mod lane;
mod login;
mod lookup;

use connection::Connector;
use std::cell::Cell;
use std::time::Instant;
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::target::{Operation, Outcome, Target};

pub use self::config::MongoDbConfig;
pub use self::login::{Credentials, FromUri, Login};

/// A MongoDB deployment that documents are written to.
#[derive(Debug)]
pub struct MongoDbTarget<C = FromUri> {
    connector: Connector<C>,
    bulk_bytes: usize,
    in_flight: usize,
    /// The server has turned read concern `majority` down.
    no_majority_reads: Cell<bool>,
}

impl<C: Credentials> MongoDbTarget<C> {
    /// A target that connects when it is first used.
    ///
    /// # Errors
    /// All that is wrong with the settings, each problem naming the setting; never a credential.
    pub fn new(config: MongoDbConfig, credentials: C) -> Result<Self, Vec<String>> {
        let (bulk_bytes, in_flight) = (config.bulk_bytes, config.in_flight.max(1));
        let connector = Connector::new(config, credentials)?;
        Ok(Self { connector, bulk_bytes, in_flight, no_majority_reads: Cell::new(false) })
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

    async fn apply(&self, operations: &[Operation<'_>], deadline: Instant) -> Vec<Outcome> {
        apply::apply(self, operations, deadline).await
    }
}
