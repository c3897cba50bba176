//! What a target is to the core: something that takes operations and answers each one.

use crate::cause::Failure;
use crate::encode::Format;
use crate::fence::{Cleared, Swept, Window};
use crate::key::Key;
use crate::version::{Mark, Version};
use std::time::Instant;

/// What is to be written at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<'a> {
    /// This document replaces what is there. The bytes are what the target's [sink](crate::encode::Sink) has stored.
    Upsert(&'a [u8]),
    /// Nothing remains.
    Delete,
}

/// Where in the target documents go. Together with the key it is the **location** of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The name: of an index, a collection, a table; or `database.collection`.
    pub name: String,
    /// The name is the source's own, so that a dot in it separates nothing.
    pub literal: bool,
    /// Fields of a sharded collection's key and their values, in the key's order; empty elsewhere.
    pub shard_key: Vec<(String, ShardValue)>,
    /// OpenSearch: what decides the shard; `None`: the id. It is a part of the id, or of the source's key, so that one id never has
    /// two of them.
    pub routing: Option<String>,
    /// The document's id where it is not the source's key, in the form of a [`Key`].
    pub id: Option<Vec<u8>>,
}

/// How a route wants documents written, beside where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// OpenSearch: the [ingest pipeline](https://docs.opensearch.org/latest/ingest-pipelines/) that documents go through.
    pub ingest_pipeline: Option<String>,
    /// Fields at the top of the stored document that belong to the target's users: they are kept as they are.
    pub preserve: Vec<String>,
    /// What becomes of deletes.
    pub deletes: Deletes,
}

/// See [`Manner::deletes`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Deletes {
    /// The document goes.
    #[default]
    Hard,
    /// The document stays and says that it is deleted: in the field `flag`, and, in the field `at`, since when.
    Soft {
        /// True in deleted documents.
        flag: String,
        /// The source's time of the delete; empty: it is not told.
        at: String,
    },
    /// The document stays as it is.
    Ignore,
}

impl Manner {
    /// What is stored has to be read before it is written over.
    #[must_use]
    pub fn needs_stored(&self) -> bool {
        !self.preserve.is_empty() || matches!(self.deletes, Deletes::Soft { .. })
    }
}

/// How a target reads the names of places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespaces {
    /// Not known yet.
    #[default]
    AsWritten,
    /// A dot separates nothing: indices, tables.
    Single,
    /// What stands before the first dot is a database, unless the name is literal; the default one where there is none.
    Databases(Option<String>),
}

/// The value of a shard key's field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ShardValue {
    /// Null, or no such field.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number in [canonical](crate::json::canonical_number) notation.
    Number(String),
    /// A text.
    Text(String),
}

impl Place {
    /// A place that is not sharded.
    #[must_use]
    pub fn new(name: String, literal: bool) -> Self {
        // One place has one form: where there is no dot, nothing can be separated.
        let literal = literal && name.contains('.');
        Self { name, literal, shard_key: Vec::new(), routing: None, id: None }
    }

    /// All of what this name stands for, whatever document was meant.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self::new(self.name.clone(), self.literal)
    }

    /// The key that gives the id of a document here; `source` is the source's.
    #[must_use]
    pub fn key<'a>(&'a self, source: Key<'a>) -> Key<'a> {
        self.id.as_deref().map_or(source, Key::from_bytes)
    }

    /// The form that all names of one place have in a target.
    #[must_use]
    pub fn within(self, namespaces: &Namespaces) -> Self {
        let (shard_key, routing, id) = (self.shard_key, self.routing, self.id);
        let place = match namespaces {
            Namespaces::AsWritten => Self::new(self.name, self.literal),
            Namespaces::Single => Self::new(self.name, true),
            Namespaces::Databases(Some(default)) if self.literal || !self.name.contains('.') => {
                Self::new(format!("{default}.{}", self.name), false)
            }
            Namespaces::Databases(_) => Self::new(self.name, self.literal),
        };
        Self { shard_key, routing, id, ..place }
    }

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
    /// What gives the id: the source's key, or [the place's own](Place::key).
    pub key: Key<'a>,
    /// What to write.
    pub write: Write<'a>,
    /// Guards the write: nothing newer is ever overwritten.
    pub version: Version<'a>,
    /// What may become of fields that the target has no place for.
    pub salvage: Salvage,
    /// How the route wants it written; `None`: plainly.
    pub manner: Option<&'a Manner>,
    /// The source says that its key did not exist before. A hint which write is likely to succeed, never what guards it.
    pub fresh: bool,
}

impl<'a> Operation<'a> {
    /// Written whole or not at all, in no manner of its route's, and where something may be stored.
    #[must_use]
    pub fn plain(into: &'a Place, key: Key<'a>, write: Write<'a>, version: Version<'a>) -> Self {
        Self { into, key, write, version, salvage: Salvage::Never, manner: None, fresh: false }
    }
}

/// Whether fields of a document are [set aside](crate::salvage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Salvage {
    /// They are not: the document is written whole, or not at all.
    #[default]
    Never,
    /// They may be.
    Allowed,
    /// They have been: the stored [mark](crate::version::Mark::part) says so.
    Done,
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

/// The circumstances of one call to a target.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When the call must have returned.
    pub deadline: Instant,
    /// The time, milliseconds since 1970: when a fence was written. It decides nothing about order.
    pub now_ms: i64,
    /// The caller can read the source again: what only the source can settle is handed back as
    /// [`Cause::ForeignDocument`](crate::cause::Cause) or [`Cause::OrderConflict`](crate::cause::Cause) instead of being
    /// overwritten.
    pub truth: bool,
}

/// A store that documents are written to.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Target {
    /// The form in which it takes documents.
    fn format(&self) -> Format;

    /// The live lane: applies the operations, each on a location of its own, and gives exactly one outcome for each, by position.
    ///
    /// A delete is applied only when its [fence](crate::fence) is, too. Retries what may pass within the time left. When it
    /// returns, nothing it has sent is still under way.
    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome>;

    /// Documents that were refused for a field's sake, each with its failure: by position, dotted paths of fields without which the
    /// document might be taken. None where the target cannot tell.
    async fn misfits(&self, refused: &[(Operation<'_>, &Failure)], _deadline: Instant) -> Vec<Vec<String>> {
        vec![Vec::new(); refused.len()]
    }
}

/// What is stored where an operation wants to write, read from where writes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<W> {
    /// The document, if there is one.
    pub document: Option<Stored<W>>,
    /// The version of the delete that the location's fence remembers.
    pub fence: Option<Mark>,
}

/// A document that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<W> {
    /// What proves, when it is written over, that it is still the one that was read.
    pub witness: W,
    /// The version that wrote it; `None` when it has none that can be read.
    pub mark: Option<Mark>,
    /// All of it, in the target's format, where the operation's manner [needs it](Manner::needs_stored).
    pub body: Option<Vec<u8>>,
}

/// A write by compare-and-set.
#[derive(Debug, Clone)]
pub struct Put<'a, W> {
    /// What to write; its version becomes the document's.
    pub operation: Operation<'a>,
    /// The document that must still be there; `None` where nothing was: then the write is guarded by its version alone.
    pub over: Option<W>,
}

/// A target that can be looked at before it is written to: what slow lanes (redrive, truth, backfill, repair) need.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Store: Target {
    /// What proves that a document has not changed.
    type Witness: Clone + std::fmt::Debug;

    /// Reads document and fence of each operation's location, by position; the whole document where the operation's manner needs
    /// what is stored. The witness proves of what the manner preserves that it has not changed, either.
    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<Self::Witness>, Failure>>;

    /// Reads the fence of each operation's location alone, by position.
    async fn fences(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        self.look(operations, call).await.into_iter().map(|found| found.map(|found| found.fence)).collect()
    }

    /// Whether the store answers at all.
    ///
    /// # Errors
    /// When it cannot be reached, does not let the caller in, or says that it cannot work.
    async fn ping(&self, deadline: Instant) -> Result<(), Failure>;

    /// Writes, each only if nothing has changed since it was looked at; by position, `false` where something has.
    ///
    /// A delete writes its fence as well, and is not done before that is.
    async fn put(&self, puts: &[Put<'_, Self::Witness>], call: Call) -> Vec<Result<bool, Failure>>;

    /// One pass of the [sweep](crate::fence).
    ///
    /// # Errors
    /// When the fences cannot be read or an overtaken document cannot be removed: the pass must be made again.
    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure>;

    /// Deletes the documents of a [whole](Place::whole) place that a [fence of its namespace](crate::fence::namespace_key)
    /// overtakes, each only if nothing has changed since it was looked at. Documents of other spaces, and those whose version
    /// cannot be read, stay.
    ///
    /// # Errors
    /// When the place cannot be read or a document cannot be removed. What has been removed until then stays removed.
    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure>;
}
