//! A batch: one slot per record, in the order of the event; and what becomes of it.

mod deliver;
mod delivery;
mod endings;
mod plan;
mod policy;
mod response;
mod writing;

use crate::cause::Failure;
use crate::image::{Image, Notation};
use crate::key::Key;
use crate::version::field::FieldVersion;
use crate::version::mongodb::ClusterTime;
use crate::version::{Position as _, Sequence, StreamLabel, Version};
use std::cmp::Ordering;
use std::ops::Range;

pub use deliver::{Circumstances, PATIENCE, Posts, Report, deliver, deliver_located};
pub use delivery::{Delivery, Fate, Round};
pub use endings::{Ending, Removed};
pub(crate) use endings::{cleared_by, fences_by};
pub use plan::{Act, Group, Plan};
pub(crate) use plan::{Entered, entered};
pub use response::BatchResponse;
pub use writing::Lane;

/// By slot, whether its route sends it to the fallback queue in any case; empty where none does.
pub(crate) fn buffered(payload: &[u8], batch: &Batch, pipeline: &crate::pipeline::Pipeline) -> Vec<bool> {
    policy::Policies::new(payload, batch, pipeline).buffered()
}

/// Where records come from: one stream of one table, or one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name that routes match: the table's, or `database.collection`.
    pub name: String,
    /// The stream's own name in full: its ARN.
    pub arn: String,
    /// The version space of its records.
    pub space: String,
    /// When the stream was enabled, where that is the first thing to compare.
    pub label: Option<StreamLabel>,
    /// Which of the routes that take a change it is for: 0, or one that some `also` names.
    pub branch: usize,
}

/// What a record asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The document, as a range of [`Batch::documents`].
    Upsert(Range<usize>),
    /// There is an item, of which no document has been made: [`Pipeline::decode`](crate::pipeline::Pipeline::decode) makes it.
    Deferred,
    /// The document's end.
    Delete,
    /// The record cannot be used.
    Failed(Box<Failure>),
}

/// What the item was before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// There was none: the change is an insert.
    Absent,
    /// The old image, as [`Slot::image`] is.
    Image(Range<usize>),
    /// The record does not say.
    Unknown,
}

impl Before {
    /// Where the old image is, if the record has it.
    #[must_use]
    pub fn image(&self) -> Option<&Range<usize>> {
        match self {
            Self::Image(range) => Some(range),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// A change's place in the order of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Its [sequence number](Slot::sequence), within the [label](Origin::label) of its stream.
    Sequence,
    /// The time of a cluster, and a token that tells changes of one time apart, as a range of [`Batch::keys`].
    Cluster(ClusterTime, Range<usize>),
    /// A number that the item has itself.
    Field(Box<Counted>),
}

/// A change's place in the order of its item's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The number, and whether it is the item's end.
    pub version: FieldVersion,
    /// The end of all documents that the item had until then, by which truth leaves a place: one of the number before may be there,
    /// or may yet land there.
    pub leaving: FieldVersion,
    /// The number is above the one before.
    pub rises: bool,
    /// The source's own position as a token, as [`Order::Cluster`] has it.
    pub token: Range<usize>,
}

/// One record of a batch.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The record as received, as a range of the payload.
    pub raw: Range<usize>,
    /// The position as received, as a range of the payload (the text between the quotes): what an answer names.
    pub position: Option<Range<usize>>,
    /// The position as a number; `None` when it is missing or no number, or where nothing can be retried from a position.
    pub sequence: Option<Sequence>,
    /// The place in the source's order; `None` when it cannot be read.
    pub order: Option<Order>,
    /// The source's time of the change, milliseconds since 1970; 0 when the record has none.
    pub at: i64,
    /// Index into [`Batch::origins`]; `None` when the record does not name its stream.
    pub origin: Option<usize>,
    /// The source's key, as a range of [`Batch::keys`]; `None` when it cannot be read.
    pub key: Option<Range<usize>>,
    /// What the record asks for.
    pub content: Content,
    /// The new image, as a range of what [`Batch::image`] reads.
    pub image: Option<Range<usize>>,
    /// What was there before.
    pub before: Before,
}

/// A decoded batch.
#[derive(Debug)]
pub struct Batch {
    /// One slot per record, in the event's order.
    pub slots: Vec<Slot>,
    /// Where the records come from.
    pub origins: Vec<Origin>,
    /// The kind of source, as letters name it.
    pub kind: &'static str,
    /// How the records' images are written.
    pub notation: Notation,
    /// Storage of the keys, and of what else is short.
    pub keys: Vec<u8>,
    /// Storage of images that are not in the payload as they are: those in BSON.
    pub images: Vec<u8>,
    /// Storage of the documents in the target's format.
    pub documents: Vec<u8>,
}

impl Batch {
    /// A batch without records, of a kind of source whose images are in `notation`.
    #[must_use]
    pub fn new(kind: &'static str, notation: Notation) -> Self {
        let (slots, origins) = (Vec::new(), Vec::new());
        let (keys, images, documents) = (Vec::new(), Vec::new(), Vec::new());
        Self { slots, origins, kind, notation, keys, images, documents }
    }

    /// The key of a slot.
    #[must_use]
    pub fn key(&self, slot: &Slot) -> Option<Key<'_>> {
        slot.key.clone().and_then(|range| self.keys.get(range)).map(Key::from_bytes)
    }

    /// The origin of a slot.
    #[must_use]
    pub fn origin(&self, slot: &Slot) -> Option<&Origin> {
        slot.origin.and_then(|index| self.origins.get(index))
    }

    /// Whether two slots are of one record, which further routes take: such slots are neighbours.
    #[must_use]
    pub fn same_record(&self, a: usize, b: usize) -> bool {
        let start = |slot: usize| self.slots.get(slot).map(|slot| slot.raw.start);
        start(a) == start(b)
    }

    /// An image: of the payload that the batch was decoded from, or of the batch's own.
    #[must_use]
    pub fn image<'a>(&'a self, payload: &'a [u8], range: &Range<usize>) -> Image<'a> {
        let text = match self.notation {
            Notation::DynamoDb => payload,
            Notation::Bson => &self.images,
        };
        Image { notation: self.notation, bytes: text.get(range.clone()).unwrap_or_default() }
    }

    /// The version of a slot.
    #[must_use]
    pub fn version<'a>(&'a self, slot: &'a Slot) -> Option<Version<'a>> {
        let origin = self.origin(slot)?;
        Some(match slot.order.as_ref()? {
            Order::Sequence => {
                let (label, sequence) = (origin.label.as_ref()?, slot.sequence.as_ref()?);
                Version {
                    space: &origin.space,
                    label: label.as_str(),
                    exact: sequence.as_str(),
                    token: "",
                    coarse: label.coarse(sequence),
                    at: slot.at,
                }
            }
            Order::Cluster(time, token) => time.version(&origin.space, self.text(token), slot.at),
            Order::Field(counted) => counted.version.version(&origin.space, self.text(&counted.token), slot.at),
        })
    }

    /// The version by which truth leaves a place: see [`Counted::leaving`].
    fn leaving_version<'a>(&'a self, slot: &'a Slot) -> Option<Version<'a>> {
        match slot.order.as_ref()? {
            Order::Field(counted) => {
                let space = &self.origin(slot)?.space;
                Some(counted.leaving.version(space, self.text(&counted.token), slot.at))
            }
            _ => self.version(slot),
        }
    }

    /// Whether a place may hold, or yet get, a document of the same number as the change that leaves it, or of a higher one. `before`
    /// is the change before it there. In a stream of a cluster, changes of one time are told apart by their tokens, and delivered in
    /// their order.
    fn is_left_in_doubt(&self, slot: usize, before: Option<usize>) -> bool {
        match self.slots.get(slot).and_then(|slot| slot.order.as_ref()) {
            Some(Order::Field(counted)) => !counted.rises || before.is_some_and(|before| self.is_tie(before, slot)),
            _ => false,
        }
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.keys.get(range.clone()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// Whether two slots of a key are different changes of one number.
    fn is_tie(&self, a: usize, b: usize) -> bool {
        let token = |slot: usize| match self.slots.get(slot).and_then(|slot| slot.order.as_ref()) {
            Some(Order::Cluster(_, token)) => self.text(token),
            Some(Order::Field(counted)) => self.text(&counted.token),
            _ => "",
        };
        let (one, other) = (token(a), token(b));
        self.compare(a, b) == Ordering::Equal && one != other && !one.is_empty() && !other.is_empty()
    }

    /// Which of two slots of a key is the newer change; equal where the version does not say.
    pub(crate) fn compare(&self, a: usize, b: usize) -> Ordering {
        let (Some(a), Some(b)) = (self.slots.get(a), self.slots.get(b)) else { return Ordering::Equal };
        match (&a.order, &b.order) {
            (Some(Order::Cluster(a, _)), Some(Order::Cluster(b, _))) => a.cmp(b),
            (Some(Order::Field(a)), Some(Order::Field(b))) => a.version.cmp(&b.version),
            _ => {
                let label = |slot| self.origin(slot).and_then(|origin| origin.label.as_ref()).map(StreamLabel::as_str);
                label(a).cmp(&label(b)).then(a.sequence.cmp(&b.sequence))
            }
        }
    }
}

#[cfg(test)]
mod hold_tests;
#[cfg(test)]
mod move_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tied_tests;
