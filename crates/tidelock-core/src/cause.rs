//! Why a change was not applied, and what follows from it: one table for all sources and targets.
//!
//! Decoders and targets only name a [`Cause`]. Whether the record is parked or retried, and what the operator is told, is
//! decided here and nowhere else.

use std::fmt;

/// What becomes of a change that was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It can never be applied as it is: to the dead-letter queue, then done.
    Park,
    /// It may pass later: reported to the event source mapping, which sends it again.
    Retry,
}

macro_rules! causes {
    ($($variant:ident $code:literal $disposition:ident $meaning:literal $action:literal;)+) => {
        /// Why a change was not applied.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause {
            $(#[doc = $meaning] $variant,)+
        }

        impl Cause {
            /// Every cause there is, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name used in dead letters (`reason`), logs and metrics. The list is closed.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Parked or retried.
            #[must_use]
            pub fn disposition(self) -> Disposition {
                match self { $(Self::$variant => Disposition::$disposition,)+ }
            }

            /// What happened, for a person.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What the operator should do.
            #[must_use]
            pub fn action(self) -> &'static str {
                match self { $(Self::$variant => $action,)+ }
            }
        }
    };
}

causes! {
    // The record itself.
    MalformedRecord "malformed_record" Park "the record does not have the source's form" "look at the raw record in the letter; fix its producer, or drop the letter";
    UnknownEvent "unknown_event" Park "the record's operation is not one this source has" "look at the raw record; upgrade tidelock if the source has gained an operation";
    InvalidPosition "invalid_position" Park "the record's sequence number is missing or no number of at most 40 digits" "look at the raw record; without a position a change cannot be ordered";
    InvalidVersion "invalid_version" Park "the item has no number where its route looks for its version" "write the item with a whole number there, or take `version` out of the route";
    InvalidSource "invalid_source" Park "the record does not say which stream it comes from in a form tidelock knows" "look at eventSourceARN in the raw record";
    MissingKey "missing_key" Park "the record has no key, or one tidelock cannot read" "look at the raw record";
    MissingImage "missing_image" Park "an insert or a change came without the new image" "let the stream carry whole items (NEW_IMAGE or NEW_AND_OLD_IMAGES; UpdateLookup of DocumentDB) and write the item again, or set TIDELOCK_SOURCE and redrive";
    CollectionDropped "collection_dropped" Park "the collection was dropped, and its documents are still in the target" "delete them from the target where they should go, too; with `on_drop: delete-all` a redrive does it, `on_drop: ignore` leaves such events out";
    CollectionRenamed "collection_renamed" Park "the collection was renamed, and its documents are in the target under the old name" "backfill the new name and delete what is left of the old one; with `on_rename: delete-all` a redrive does it, `on_rename: ignore` leaves such events out";
    DatabaseDropped "database_dropped" Park "the database was dropped, and its documents are still in the target" "delete them from the target where they should go, too; with `on_drop_database: delete-all` a redrive does it, `on_drop_database: ignore` leaves such events out";
    StreamInvalidated "stream_invalidated" Park "the change stream has ended: what it followed was dropped or renamed" "see that the mapping follows what it should; `on_invalidate: ignore` leaves such events out";
    UnknownType "unknown_type" Park "a value carries a type the source does not have" "look at the named field; upgrade tidelock if the source has gained a type";
    InvalidValue "invalid_value" Park "a value does not fit its own type" "look at the named field in the raw record";
    ReservedField "reserved_field" Park "the item has a field of a name the target or tidelock needs for itself" "rename the field in the source";
    UnrepresentableValue "unrepresentable_value" Park "the target has no exact form for a value" "store the value in another form, or choose a target that can hold it";
    NestedTooDeeply "nested_too_deeply" Park "the item is nested more deeply than the target or the source allows" "flatten the item";
    TransformFailed "transform_failed" Park "a step of the route's `transform` cannot be done on this item" "correct the item, or the step (`on_missing`, `on_wrong_type`), then redrive";
    Unmatched "unmatched" Park "no route of the pipeline matches the record's source" "add a route, or set `unmatched: filter`";
    Unroutable "unroutable" Park "the item has no value that its place in the target can be made of" "write the field that the detail names, or give the item a route of its own, then redrive";
    MissingOldImage "missing_old_image" Park "the change may have moved its document, and came without the old image" "set the stream's view type to NEW_AND_OLD_IMAGES, or the route's `locate` to `state`, and write the item again; a document that it had left meanwhile must be deleted by hand";
    // What the target says about one document.
    InvalidId "invalid_id" Park "the target cannot take this id" "shorten the key: OpenSearch allows 512 bytes";
    DocumentTooLarge "document_too_large" Park "the document is over the target's limit" "make the item smaller, or raise TIDELOCK_BULK_BYTES where that is the limit";
    MappingConflict "mapping_conflict" Park "a value does not fit the index's mapping of its field" "correct the mapping or the item, then redrive";
    FieldLimit "field_limit" Park "the document would add more fields than the index allows" "raise index.mapping.total_fields.limit, or map the object as flat_object";
    Salvaged "salvaged" Park "the document is written without fields that the index refused; they are under `_rejected`" "correct the mapping or the item, then redrive: the whole document is written";
    InvalidDocument "invalid_document" Park "the target refuses the document as it is" "see the detail, correct the item or the target's rules, then redrive";
    InvalidTargetName "invalid_target_name" Park "the index or collection cannot have this name" "route the source to another name in the pipeline";
    UniqueConflict "unique_conflict" Park "another document holds the value of a unique index" "drop the index, or correct the other document, then redrive";
    OrderConflict "order_conflict" Park "the target holds a higher version, although this change is later by the source's time" "compare source and target by hand; was the stream replaced, or a database restored?";
    ForeignDocument "foreign_document" Park "the target holds a document that another source has written, or one whose version cannot be read" "look at its _tidelock; set TIDELOCK_SOURCE and redrive, so that the source is read again";
    TargetError "target_error" Park "the target fails on this document again and again while its neighbours pass" "see the target's log for the error, then redrive";
    // The target's state.
    Throttled "throttled" Retry "the target is busy" "nothing if it passes; otherwise more capacity, smaller TIDELOCK_BULK_BYTES or fewer TIDELOCK_IN_FLIGHT";
    Unavailable "unavailable" Retry "the target, or a shard of it, is unavailable" "look at the target's health";
    Unreachable "unreachable" Retry "no connection to the target" "check host, port, TLS and the function's network";
    TimedOut "timed_out" Retry "the target did not answer in time" "look at the target's load, or raise the function's timeout";
    Deadline "deadline" Retry "the invocation's time was over" "raise the function's timeout, or lower the batch size";
    Unauthenticated "unauthenticated" Retry "the target does not accept the credentials" "check TIDELOCK_TARGET_AUTH and the secret";
    Forbidden "forbidden" Retry "the credentials do not allow the write" "grant index, delete, get and mapping rights on the target to the function's role or user";
    Blocked "blocked" Retry "writes to the index are blocked" "free disk space or lift the block (index.blocks.*)";
    TargetMissing "target_missing" Retry "the index or collection is missing and may not be created" "create it, or allow its creation";
    UnsuitableTarget "unsuitable_target" Retry "the name is a data stream or stands for several indices, where a key has no place of its own" "route to an index, or to an alias of one index (docs/indexes.md)";
    NotPrimary "not_primary" Retry "the server is not the primary, or is changing state" "nothing if it passes";
    LostRace "lost_race" Retry "another writer changed the document between reading and writing" "nothing if it passes";
    Tombstone "tombstone" Retry "the target remembers a delete of this id with a higher version, but not which" "nothing: the target forgets it after index.gc_deletes (60 s)";
    FenceUnwritten "fence_unwritten" Retry "a delete's fence could not be written or read" "allow reading and writing `tidelock-fences` (collection `tidelock_fences`) to the function's role or user";
    SourceUnreadable "source_unreadable" Retry "the source could not be read again" "check TIDELOCK_SOURCE, and the right to read the table or collection";
    StateUnreachable "state_unreachable" Retry "where the document has been (`locate: state`) could not be read or stored" "check TIDELOCK_STATE, and the rights to read and write its table (BatchGetItem, PutItem, GetItem)";
    UnexpectedAnswer "unexpected_answer" Retry "the target's answer cannot be matched with what was sent" "check that TIDELOCK_TARGET names the right kind of server";
    // Tidelock's own.
    CrashedFunction "crashed_function" Park "the function's process ended, again and again, while it worked on this record alone" "look for `REPORT` and `Runtime.ExitError` in the function's log: give it more memory or time, or correct the item or the route's steps; then redrive";
    RecordsLost "records_lost" Park "Lambda gave up a batch, and the stream has forgotten its records before they were fetched" "the detail names the records' range: run `tidelock backfill` for the table, which writes every item as it is now; deletes of that time must be found by comparing table and target";
    Buffered "buffered" Retry "the route always holds its changes (`on_outage: always_hold`)" "nothing: `redrive` applies it";
    NotHeld "not_held" Retry "the change could not be put into the fallback queue" "check TIDELOCK_FALLBACK and the right to send to it";
    NotParked "not_parked" Retry "the dead letter could not be stored" "check TIDELOCK_DEAD_LETTERS and the right to send to it; without a queue a refused record is retried until it expires";
}

impl Cause {
    /// It is no change of a document, but of the collection or more. The pipeline says what becomes of it.
    #[must_use]
    pub fn is_of_a_collection(self) -> bool {
        matches!(
            self,
            Self::CollectionDropped | Self::CollectionRenamed | Self::DatabaseDropped | Self::StreamInvalidated
        )
    }

    /// Somebody has to mend it: waiting alone will not help.
    #[must_use]
    pub fn needs_mending(self) -> bool {
        matches!(self, Self::Unauthenticated | Self::Forbidden | Self::TargetMissing | Self::UnsuitableTarget)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One change that was not applied: the cause, and what is particular to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which row of the table.
    pub cause: Cause,
    /// The particulars (field, limit, the target's own words). Never a credential.
    pub detail: String,
}

impl Failure {
    /// A failure with its particulars.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_is_complete_and_its_code_unique() {
        let mut codes = HashSet::new();
        for cause in Cause::ALL {
            assert!(codes.insert(cause.code()), "{cause} twice");
            assert!(cause.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{cause}");
            assert!(!cause.meaning().is_empty() && !cause.action().is_empty(), "{cause}");
        }
    }
}
