//! What a target is to the core: something that takes operations and answers each one.

use crate::cause::Failure;
use crate::encode::Format;
use crate::key::Key;
use crate::version::Version;
use std::time::Instant;

/// What is to be written at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<'a> {
    /// This document replaces what is there. The bytes are what the target's [sink](crate::encode::Sink) has stored.
    Upsert(&'a [u8]),
    /// Nothing remains.
    Delete,
}

/// Where in the target documents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name: of an index, a collection, a table; or `database.collection`.
    pub name: String,
    /// The name is the source's own, so that a dot in it separates nothing.
    pub literal: bool,
}

impl Place {
    /// Database and collection, with `default` where the name gives no database; `None` when there is neither.
    #[must_use]
    pub fn namespace<'a>(&'a self, default: Option<&'a str>) -> Option<(&'a str, &'a str)> {
        match self.name.split_once('.').filter(|_| !self.literal) {
            Some((database, collection)) => Some((database, collection)),
            None => default.map(|database| (database, self.name.as_str())),
        }
    }
}

/// One guarded write.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Where the document goes.
    pub into: &'a Place,
    /// The source's key, which gives the id.
    pub key: Key<'a>,
    /// What to write.
    pub write: Write<'a>,
    /// Guards the write: nothing newer is ever overwritten.
    pub version: Version<'a>,
}

/// A write that needs nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Done {
    /// The target holds this change.
    Applied,
    /// The target holds a newer change of the key.
    Stale,
}

/// What became of one operation.
pub type Outcome = Result<Done, Failure>;

/// A store that documents are written to.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Target {
    /// The form in which it takes documents.
    fn format(&self) -> Format;

    /// Applies the operations, each on a key of its own, and gives exactly one outcome for each, by position.
    ///
    /// Retries what may pass within the time left. When it returns, nothing it has sent is still under way.
    async fn apply(&self, operations: &[Operation<'_>], deadline: Instant) -> Vec<Outcome>;
}
