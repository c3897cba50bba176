//! One index: documents, the memory of deletes, sequence numbers, and what searches see of it.
//!
//! The rules are those of OpenSearch's `InternalEngine` and `VersionType`.

use super::mapping::Mapping;
use super::reply::Problem;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tokio::time::Instant;

/// The term of every shard: the model never elects another primary.
pub(crate) const PRIMARY_TERM: i64 = 1;

#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) version: i64,
    pub(crate) seq_no: i64,
    pub(crate) routing: Option<String>,
    pub(crate) source: Rc<Value>,
}

/// A delete that is remembered.
#[derive(Debug, Clone, Copy)]
struct Tombstone {
    version: i64,
    /// Until then, and including it.
    until: Instant,
}

/// What a write is.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Index(Rc<Value>),
    Create(Rc<Value>),
    Delete,
}

/// What must hold for a write to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    None,
    External { version: i64, or_equal: bool },
    Seen { seq_no: i64, primary_term: i64 },
}

/// A write that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) status: u16,
    pub(crate) result: &'static str,
    pub(crate) version: i64,
    pub(crate) seq_no: i64,
}

#[derive(Default)]
pub(crate) struct Index {
    pub(crate) mapping: Mapping,
    live: BTreeMap<String, Document>,
    tombstones: BTreeMap<String, Tombstone>,
    visible: BTreeMap<String, Document>,
    /// Written since the last refresh.
    dirty: BTreeSet<String>,
    next_seq_no: i64,
}

impl Index {
    pub(crate) fn new(mapping: Mapping) -> Self {
        Self { mapping, ..Self::default() }
    }

    pub(crate) fn live(&self) -> &BTreeMap<String, Document> {
        &self.live
    }

    pub(crate) fn visible(&self) -> &BTreeMap<String, Document> {
        &self.visible
    }

    pub(crate) fn tombstones(&mut self, now: Instant) -> BTreeMap<String, i64> {
        self.tombstones.retain(|_, tombstone| now <= tombstone.until);
        self.tombstones.iter().map(|(id, tombstone)| (id.clone(), tombstone.version)).collect()
    }

    pub(crate) fn refresh(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            match self.live.get(&id) {
                Some(document) => self.visible.insert(id, document.clone()),
                None => self.visible.remove(&id),
            };
        }
    }

    /// Does one write, if its guard allows it. A delete is remembered until `remembered`.
    pub(crate) fn write(
        &mut self,
        id: &str,
        routing: Option<&str>,
        write: Write,
        guard: Guard,
        now: Instant,
        remembered: Instant,
    ) -> Result<Written, Problem> {
        if self.tombstones.get(id).is_some_and(|tombstone| now > tombstone.until) {
            self.tombstones.remove(id);
        }
        let live = self.live.get(id);
        let known =
            live.map(|document| document.version).or(self.tombstones.get(id).map(|tombstone| tombstone.version));
        if let Some(why) = refused(&write, guard, live, known) {
            return Err(Problem::new(
                409,
                "version_conflict_engine_exception",
                format!("[{id}]: version conflict, {why}"),
            ));
        }
        let existed = live.is_some();
        let version = match guard {
            Guard::External { version, .. } => version,
            Guard::None | Guard::Seen { .. } => known.unwrap_or(0) + 1,
        };
        let seq_no = self.next_seq_no;
        self.next_seq_no += 1;
        self.dirty.insert(id.to_owned());
        let (status, result) = match write {
            Write::Index(source) | Write::Create(source) => {
                self.tombstones.remove(id);
                let routing = routing.map(str::to_owned);
                self.live.insert(id.to_owned(), Document { version, seq_no, routing, source });
                if existed { (200, "updated") } else { (201, "created") }
            }
            Write::Delete => {
                self.live.remove(id);
                self.tombstones.insert(id.to_owned(), Tombstone { version, until: remembered });
                if existed { (200, "deleted") } else { (404, "not_found") }
            }
        };
        Ok(Written { status, result, version, seq_no })
    }

    /// Puts a document there with any version, whatever was there.
    pub(crate) fn plant(&mut self, id: &str, source: Rc<Value>, version: i64) {
        let document = Document { version, seq_no: self.next_seq_no, routing: None, source };
        self.next_seq_no += 1;
        self.tombstones.remove(id);
        self.visible.insert(id.to_owned(), document.clone());
        self.live.insert(id.to_owned(), document);
    }
}

/// Why a guard refuses a write; `known` is the version of the document or of its remembered delete.
fn refused(write: &Write, guard: Guard, live: Option<&Document>, known: Option<i64>) -> Option<String> {
    match guard {
        Guard::External { version, or_equal: false } => known
            .filter(|known| *known >= version)
            .map(|known| format!("current version [{known}] is higher or equal to the one provided [{version}]")),
        Guard::External { version, or_equal: true } => known
            .filter(|known| *known > version)
            .map(|known| format!("current version [{known}] is higher than the one provided [{version}]")),
        Guard::Seen { seq_no, primary_term } => {
            let wanted = format!("required seqNo [{seq_no}], primary term [{primary_term}]");
            match live {
                None => Some(format!("{wanted}. but no document was found")),
                Some(live) if (live.seq_no, PRIMARY_TERM) != (seq_no, primary_term) => Some(format!(
                    "{wanted}. current document has seqNo [{}] and primary term [{PRIMARY_TERM}]",
                    live.seq_no
                )),
                Some(_) => None,
            }
        }
        Guard::None => match (write, live) {
            (Write::Create(_), Some(live)) => {
                Some(format!("document already exists (current version [{}])", live.version))
            }
            _ => None,
        },
    }
}
