//! `insert`, `update` and `delete` commands as raw BSON, written in one pass.
//!
//! Forms: [insert](https://www.mongodb.com/docs/manual/reference/command/insert/),
//! [update](https://www.mongodb.com/docs/manual/reference/command/update/),
//! [delete](https://www.mongodb.com/docs/manual/reference/command/delete/).

use crate::fence::Fence;
use crate::lookup::Unchanged;
use crate::spot::push_shard_key;
use std::io::Write as _;
use tidelock_core::bson::Elements;
use tidelock_core::encode::{MARK_FIELD, write_bson_key, write_bson_mark};
use tidelock_core::key::Key;
use tidelock_core::target::{Operation, Write};
use tidelock_core::version::Version;

const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BOOLEAN: u8 = 0x08;
const INT32: u8 = 0x10;

/// Most bytes of a document that the server stores.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes of a command: the server takes a body of 16 MiB and 16 KiB, into which the driver puts session and database
/// too. The 48 MB of a message are for document sequences, which a command of one's own cannot have.
pub(crate) const MAX_COMMAND_BYTES: usize = 16 * 1024 * 1024;

/// Most statements of a command (`maxWriteBatchSize` of every server since 3.6).
pub(crate) const MAX_STATEMENTS: usize = 100_000;

/// What the statements of a command do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Upsert,
    Delete,
    /// What writes deletes' fences.
    Fence,
}

impl Kind {
    pub(crate) fn of(write: Write<'_>) -> Self {
        match write {
            Write::Upsert(_) => Self::Upsert,
            Write::Delete => Self::Delete,
        }
    }
}

/// On what condition a statement takes effect. An upsert inserts where nothing is stored, unless it compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing is stored: a plain insert, which is cheaper than an upsert with a guard.
    Absent,
    /// What is stored has an older version of the same space. Where it has none, or another's, it is taken over.
    Older,
    /// What is stored has an older version of the same space. Where it has none, or another's, that is the outcome.
    OwnOlder,
    /// None: for measurements.
    Always,
    /// The document is there, and its `_tidelock` is what was read.
    Stored(Unchanged),
    /// And so are the fields that the operation preserves.
    StoredWith(Unchanged),
}

impl Condition {
    /// Compare-and-set, which inserts nothing.
    pub(crate) fn compares(&self) -> bool {
        matches!(self, Self::Stored(_) | Self::StoredWith(_))
    }
}

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Statement<'a> {
    Document(&'a Operation<'a>),
    Fence(Fence<'a>),
}

impl Statement<'_> {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Document(operation) => statement_bytes(operation),
            Self::Fence(fence) => fence.statement_bytes(),
        }
    }
}

/// A command and how many of the statements it was to hold it does hold.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
}

/// Builds a command of as many statements as fit into `max_bytes`, at least one; `expected_bytes` sizes the buffer. Either all
/// statements are inserts ([`Condition::Absent`]) or none is: it ends before the first that differs.
pub(crate) fn build<'a>(
    kind: Kind,
    collection: &str,
    statements: impl Iterator<Item = (Statement<'a>, &'a Condition)>,
    max_bytes: usize,
    expected_bytes: usize,
) -> Built {
    let max_bytes = max_bytes.min(MAX_COMMAND_BYTES);
    let mut out = Vec::with_capacity(expected_bytes.min(max_bytes));
    let whole = open(&mut out);
    let mut statements = statements.peekable();
    let inserts = statements.peek().is_some_and(|(_, condition)| **condition == Condition::Absent);
    let (name, list) = match kind {
        _ if inserts => ("insert", "documents"),
        Kind::Upsert | Kind::Fence => ("update", "updates"),
        Kind::Delete => ("delete", "deletes"),
    };
    string(&mut out, name, collection);
    boolean(&mut out, "ordered", false);
    let concern = begin(&mut out, DOCUMENT, "writeConcern");
    string(&mut out, "w", "majority");
    close(&mut out, concern);
    let array = begin(&mut out, ARRAY, list);
    let mut count = 0;
    for (statement, condition) in statements {
        if (*condition == Condition::Absent) != inserts {
            break;
        }
        let start = out.len();
        push_statement(&mut out, count, &statement, condition);
        // Two closing bytes follow.
        if out.len() + 2 > max_bytes && count > 0 {
            out.truncate(start);
            break;
        }
        count += 1;
        if count == MAX_STATEMENTS {
            break;
        }
    }
    close(&mut out, array);
    close(&mut out, whole);
    Built { bytes: out, count }
}

fn push_statement(out: &mut Vec<u8>, index: usize, statement: &Statement<'_>, condition: &Condition) {
    out.push(DOCUMENT);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{index}\0");
    let whole = open(out);
    match statement {
        Statement::Document(Operation { key, version, write: Write::Upsert(elements), .. })
            if *condition == Condition::Absent =>
        {
            push_document(out, *key, elements, version);
        }
        Statement::Fence(fence) if *condition == Condition::Absent => push_fence(out, fence, &fence.id()),
        Statement::Document(operation) => {
            let Operation { key, version, write, .. } = operation;
            let id = |out: &mut Vec<u8>| {
                write_bson_key(out, "_id", *key);
                push_shard_key(out, operation.into);
            };
            let preserved = |out: &mut Vec<u8>| {
                if let (Condition::StoredWith(Unchanged(_, Some(stored))), Some(manner)) = (condition, operation.manner)
                {
                    push_preserved(out, stored, &manner.preserve);
                }
            };
            push_filter(out, id, condition, version, preserved);
            match write {
                Write::Upsert(elements) => {
                    push_replacement(out, condition, |out| push_document(out, *key, elements, version));
                }
                Write::Delete => {
                    name(out, INT32, "limit");
                    out.extend_from_slice(&1_i32.to_le_bytes());
                }
            }
        }
        Statement::Fence(fence) => {
            let id = fence.id();
            push_filter(out, |out| string(out, "_id", &id), condition, &fence.version, |_| {});
            push_replacement(out, condition, |out| push_fence(out, fence, &id));
        }
    }
    close(out, whole);
}

fn push_fence(out: &mut Vec<u8>, fence: &Fence<'_>, id: &str) {
    string(out, "_id", id);
    fence.push_elements(out);
}

/// That the fields which belong to the target's users are as they were read.
fn push_preserved(out: &mut Vec<u8>, stored: &[u8], preserve: &[String]) {
    let elements: Vec<_> = Elements::new(stored).into_iter().flatten().flatten().collect();
    for field in preserve {
        let expression = begin(out, DOCUMENT, field);
        match elements.iter().find(|element| element.name == field) {
            Some(element) => {
                name(out, element.kind, "$eq");
                out.extend_from_slice(element.raw);
            }
            None => boolean(out, "$exists", false),
        }
        close(out, expression);
    }
}

fn push_filter(
    out: &mut Vec<u8>,
    id: impl Fn(&mut Vec<u8>),
    condition: &Condition,
    version: &Version<'_>,
    preserved: impl Fn(&mut Vec<u8>),
) {
    let filter = begin(out, DOCUMENT, "q");
    id(out);
    match condition {
        Condition::Absent | Condition::Older | Condition::OwnOlder => push_guard(out, version),
        Condition::Always => {}
        Condition::Stored(Unchanged(expression, _)) | Condition::StoredWith(Unchanged(expression, _)) => {
            name(out, DOCUMENT, MARK_FIELD);
            out.extend_from_slice(expression);
            if matches!(condition, Condition::StoredWith(_)) {
                preserved(out);
            }
        }
    }
    close(out, filter);
}

fn push_replacement(out: &mut Vec<u8>, condition: &Condition, elements: impl Fn(&mut Vec<u8>)) {
    let document = begin(out, DOCUMENT, "u");
    elements(out);
    close(out, document);
    boolean(out, "upsert", !condition.compares());
}

fn push_document(out: &mut Vec<u8>, key: Key<'_>, elements: &[u8], version: &Version<'_>) {
    write_bson_key(out, "_id", key);
    out.extend_from_slice(elements);
    write_bson_mark(out, version);
}

/// Whether an insert of it has the outcome that an upsert would have. Names that begin with `$` are inserted by other rules than they
/// are replaced by, which differ from server to server
/// ([field names](https://www.mongodb.com/docs/manual/core/dot-dollar-considerations/)); and in a sharded collection an upsert also
/// makes sure that the document has the shard key it is sent to.
pub(crate) fn takes_inserts(operation: &Operation<'_>) -> bool {
    let Write::Upsert(elements) = operation.write else { return false };
    if !operation.into.shard_key.is_empty() {
        return false;
    }
    // A name follows its type. What else looks like one, within a document or a text, is sent as an upsert to no harm.
    let is_name = |at: usize| {
        at.checked_sub(1).and_then(|at| elements.get(at)).is_some_and(|kind| matches!(kind, 0x01..=0x13 | 0x7f | 0xff))
    };
    !memchr::memchr_iter(b'$', elements).any(is_name)
}

/// How many bytes the stored document will have.
pub(crate) fn document_bytes(key: Key<'_>, elements: &[u8], version: &Version<'_>) -> usize {
    let mut rest = Vec::with_capacity(256);
    push_document(&mut rest, key, &[], version);
    rest.len() + elements.len() + 5
}

/// About how many bytes an operation's statement takes.
fn statement_bytes(operation: &Operation<'_>) -> usize {
    let Operation { key, version, .. } = operation;
    let guard = version.space.len() + version.label.len() + version.exact.len() + key.as_bytes().len();
    // The numbers stand for names, lengths and types.
    match operation.write {
        Write::Upsert(elements) => {
            let mark = version.space.len() + version.label.len() + version.exact.len();
            elements.len() + guard + mark + key.as_bytes().len() + 280
        }
        Write::Delete => guard + 180,
    }
}

/// The same space and label, and an older number: what nearly every write meets. All else (an older label, no version, one
/// of another source) is refused here and judged on what is stored. Servers evaluate this in half the time that the whole
/// rule would take as an `$or`.
fn push_guard(out: &mut Vec<u8>, version: &Version<'_>) {
    string(out, "_tidelock.space", version.space);
    string(out, "_tidelock.label", version.label);
    less_than(out, "_tidelock.exact", version.exact);
}

fn less_than(out: &mut Vec<u8>, field: &str, text: &str) {
    let expression = begin(out, DOCUMENT, field);
    string(out, "$lt", text);
    close(out, expression);
}

fn name(out: &mut Vec<u8>, kind: u8, name: &str) {
    out.push(kind);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
}

fn string(out: &mut Vec<u8>, field: &str, text: &str) {
    name(out, STRING, field);
    out.extend_from_slice(&length(text.len() + 1));
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn boolean(out: &mut Vec<u8>, field: &str, value: bool) {
    name(out, BOOLEAN, field);
    out.push(u8::from(value));
}

fn begin(out: &mut Vec<u8>, kind: u8, field: &str) -> usize {
    name(out, kind, field);
    open(out)
}

fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len() - 4
}

fn close(out: &mut Vec<u8>, start: usize) {
    out.push(0);
    let length = length(out.len() - start);
    if let Some(bytes) = out.get_mut(start..start + 4) {
        bytes.copy_from_slice(&length);
    }
}

fn length(length: usize) -> [u8; 4] {
    // Documents are far below 2 GiB.
    i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes()
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
