//! The types that an `_id` can have, as comparisons see them, and the parts of a collection that follow from it.

use super::id::{Id, elements};
use mongodb::bson::spec::ElementType;
use mongodb::bson::{RawDocumentBuf, error::Error as BsonError, rawdoc};

/// Longer `_id`s are no bounds: a survey's facts are kept and sent around.
const MAX_BOUND: usize = 1_024;

/// Types whose values a query's `$gt`, `$gte` and `$lt` compare with one another, and with no others
/// ([type bracketing](https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#type-bracketing)), in the
/// order in which [sorting](https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/) has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    MinKey,
    Null,
    /// Equal to itself, and in no range of numbers.
    NotANumber,
    Number,
    /// Symbols are texts, too.
    Text,
    Document,
    Binary,
    ObjectId,
    Boolean,
    Date,
    Timestamp,
    Pointer,
    Code,
    CodeWithScope,
    MaxKey,
}

impl Bracket {
    pub(super) const ALL: [Self; 15] = [
        Self::MinKey,
        Self::Null,
        Self::NotANumber,
        Self::Number,
        Self::Text,
        Self::Document,
        Self::Binary,
        Self::ObjectId,
        Self::Boolean,
        Self::Date,
        Self::Timestamp,
        Self::Pointer,
        Self::Code,
        Self::CodeWithScope,
        Self::MaxKey,
    ];

    /// The bracket of an `_id`; `None` for a type that
    /// [none can have](https://www.mongodb.com/docs/manual/core/document/#the-_id-field).
    pub(super) fn of(id: &Id) -> Option<Self> {
        Some(match id.kind() {
            ElementType::MinKey => Self::MinKey,
            ElementType::Null => Self::Null,
            _ if id.is_nan() => Self::NotANumber,
            ElementType::Double | ElementType::Int32 | ElementType::Int64 | ElementType::Decimal128 => Self::Number,
            ElementType::String | ElementType::Symbol => Self::Text,
            ElementType::EmbeddedDocument => Self::Document,
            ElementType::Binary => Self::Binary,
            ElementType::ObjectId => Self::ObjectId,
            ElementType::Boolean => Self::Boolean,
            ElementType::DateTime => Self::Date,
            ElementType::Timestamp => Self::Timestamp,
            ElementType::DbPointer => Self::Pointer,
            ElementType::JavaScriptCode => Self::Code,
            ElementType::JavaScriptCodeWithScope => Self::CodeWithScope,
            ElementType::MaxKey => Self::MaxKey,
            ElementType::Array | ElementType::RegularExpression | ElementType::Undefined => return None,
        })
    }

    /// The brackets at both ends of the order, of types that hardly any `_id` has and that not every server knows: they are
    /// asked for only where the first or the last `_id` of a collection is in one of them.
    pub(super) fn is_rare(self) -> bool {
        matches!(self, Self::MinKey | Self::Pointer | Self::Code | Self::CodeWithScope | Self::MaxKey)
    }

    /// The parts that together are the whole bracket.
    fn spans(self) -> Vec<Span> {
        let only = |kind, raw: &[u8]| vec![Span::Only(Id::new(kind, raw))];
        match self {
            Self::MinKey => only(ElementType::MinKey, &[]),
            Self::Null => only(ElementType::Null, &[]),
            Self::NotANumber => only(ElementType::Double, &f64::NAN.to_le_bytes()),
            Self::MaxKey => only(ElementType::MaxKey, &[]),
            // Not every server takes the lowest date there is.
            Self::Date => self.cut(&[Id::new(ElementType::DateTime, [0; 8])]),
            _ => self.cut(&[]),
        }
    }

    /// The bracket's parts: below the first of these values, from each to below the next, and from the last.
    ///
    /// Together they are the whole bracket whatever the order of the values: who goes through them with any value of the
    /// bracket begins above "nothing", ends below "everything", and so steps over the value somewhere.
    fn cut(self, bounds: &[Id]) -> Vec<Span> {
        let mut from = self.lowest();
        let mut spans = Vec::with_capacity(bounds.len() + 1);
        for bound in bounds {
            spans.push(Span::Range { bracket: self, from: from.replace(bound.clone()), below: Some(bound.clone()) });
        }
        spans.push(Span::Range { bracket: self, from, below: None });
        spans
    }

    /// The lowest value, where a range has no other lower end.
    fn lowest(self) -> Option<Id> {
        /// A length of one byte, and the NUL.
        const EMPTY_TEXT: &[u8] = &[1, 0, 0, 0, 0];
        const EMPTY_DOCUMENT: &[u8] = &[5, 0, 0, 0, 0];
        let id = |kind, parts: &[&[u8]]| Some(Id::new(kind, parts.concat()));
        match self {
            Self::Number => id(ElementType::Double, &[&f64::NEG_INFINITY.to_le_bytes()]),
            Self::Text => id(ElementType::String, &[EMPTY_TEXT]),
            Self::Document => id(ElementType::EmbeddedDocument, &[EMPTY_DOCUMENT]),
            // Binary is compared by its length first, then by its subtype.
            Self::Binary => id(ElementType::Binary, &[&[0; 5]]),
            Self::ObjectId => id(ElementType::ObjectId, &[&[0; 12]]),
            Self::Boolean => id(ElementType::Boolean, &[&[0]]),
            Self::Timestamp => id(ElementType::Timestamp, &[&[0; 8]]),
            Self::Pointer => id(ElementType::DbPointer, &[EMPTY_TEXT, &[0; 12]]),
            Self::Code => id(ElementType::JavaScriptCode, &[EMPTY_TEXT]),
            Self::CodeWithScope => {
                id(ElementType::JavaScriptCodeWithScope, &[&[14, 0, 0, 0], EMPTY_TEXT, EMPTY_DOCUMENT])
            }
            Self::Date | Self::MinKey | Self::Null | Self::NotANumber | Self::MaxKey => None,
        }
    }
}

/// A part of a collection: `_id`s of one bracket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    /// A bracket's only value.
    Only(Id),
    /// At least one of the ends is there: it is what keeps a query within the bracket.
    Range {
        bracket: Bracket,
        /// The lowest value.
        from: Option<Id>,
        /// What all values are below of.
        below: Option<Id>,
    },
}

impl Span {
    /// What the span's documents meet, of those behind `after`.
    pub(super) fn filter(&self, after: Option<&Id>) -> Result<RawDocumentBuf, BsonError> {
        let condition = match self {
            Self::Only(id) => elements([("$eq", id)]),
            Self::Range { from, below, .. } => {
                let lower = after.map(|id| ("$gt", id)).or_else(|| from.as_ref().map(|id| ("$gte", id)));
                elements(lower.into_iter().chain(below.as_ref().map(|id| ("$lt", id))))
            }
        };
        Ok(rawdoc! {"_id": (condition?)})
    }
}

/// What a survey has found out about a collection's `_id`s.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Where segments begin, but for the first: `_id`s of one bracket.
    pub(super) bounds: Vec<Id>,
    /// There are `_id`s of rare types.
    pub(super) rare: bool,
}

impl Outline {
    /// What a segment reads, part by part. Later segments share out the bounds' bracket alone; the first has all the rest.
    pub(super) fn spans(&self, segment: usize) -> Vec<Span> {
        let divided = self.bounds.first().and_then(Bracket::of);
        let mut shares = divided.map(|bracket| bracket.cut(&self.bounds)).unwrap_or_default();
        if segment > 0 {
            return if segment < shares.len() { vec![shares.swap_remove(segment)] } else { Vec::new() };
        }
        let asked =
            Bracket::ALL.into_iter().filter(|bracket| self.rare || !bracket.is_rare() || divided == Some(*bracket));
        asked
            .flat_map(|bracket| match divided == Some(bracket) {
                true => shares.drain(..1).collect(),
                false => bracket.spans(),
            })
            .collect()
    }
}

/// Bounds of so many segments of about equal size, from a sample of `_id`s in their order: those of the bracket that most of
/// them are in.
pub(super) fn bounds(sample: &[Id], segments: usize) -> Vec<Id> {
    let of = |bracket: Bracket| {
        let within = |id: &&Id| Bracket::of(id) == Some(bracket) && id.len() <= MAX_BOUND;
        sample.iter().filter(within).collect::<Vec<_>>()
    };
    let divisible = |bracket: &Bracket| !matches!(bracket.spans().first(), Some(Span::Only(_)));
    let largest = Bracket::ALL.into_iter().filter(divisible).map(of).max_by_key(Vec::len).unwrap_or_default();
    let mut bounds: Vec<Id> =
        (1..segments).filter_map(|n| largest.get(n * largest.len() / segments)).copied().cloned().collect();
    bounds.dedup();
    bounds
}
