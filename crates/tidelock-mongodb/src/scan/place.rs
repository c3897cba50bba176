//! What a scan keeps between its calls, as JSON.

use super::bracket::{Bracket, Outline, Span};
use super::id::Id;
use serde_json::{Value, json};

/// Most documents of a page.
const DOCUMENTS: usize = 1_000;

/// Documents of a segment's first page, when nobody knows yet how large they are.
const FIRST_DOCUMENTS: usize = 100;

/// Most bytes of a page's documents, unless a single one has more.
pub(super) const PAGE_BYTES: usize = 4_000_000;

impl Outline {
    pub(super) fn to_text(&self) -> String {
        let bounds: Vec<String> = self.bounds.iter().map(Id::to_text).collect();
        json!({"bounds": bounds, "rare": self.rare}).to_string()
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let bounds = value.get("bounds")?.as_array()?.iter();
        let bounds: Vec<Id> = bounds.map(|bound| Id::parse(bound.as_str()?)).collect::<Option<_>>()?;
        let divided = bounds.first().map(Bracket::of);
        let sound = bounds.iter().all(|bound| Some(Bracket::of(bound)) == divided) && divided != Some(None);
        sound.then_some(Self { bounds, rare: value.get("rare")?.as_bool()? })
    }
}

/// Where a page begins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the segment's spans.
    pub(super) span: usize,
    /// Behind which of its `_id`s.
    pub(super) after: Option<Id>,
    /// Bytes of a document, on the average of the page before; 0 where there was none.
    size: usize,
}

impl Place {
    pub(super) fn to_text(&self) -> String {
        let after = self.after.as_ref().map(Id::to_text);
        json!({"span": self.span, "after": after, "size": self.size}).to_string()
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| usize::try_from(value.get(name)?.as_u64()?).ok();
        let after = match value.get("after")? {
            Value::Null => None,
            after => Some(Id::parse(after.as_str()?)?),
        };
        Some(Self { span: number("span")?, after, size: number("size")? })
    }

    /// How many documents to ask for, so that they are as many as a page should have.
    pub(super) fn documents(&self) -> usize {
        match PAGE_BYTES.checked_div(self.size) {
            None => FIRST_DOCUMENTS,
            Some(documents) => documents.clamp(1, DOCUMENTS),
        }
    }

    /// The beginning of the next span.
    pub(super) fn of_next_span(&self) -> Self {
        Self { span: self.span + 1, after: None, size: self.size }
    }

    /// The place behind documents of the span that have these `_id`s and so many bytes. `None` when there is no getting
    /// behind them: a query within the span's bracket can begin at none of these `_id`s.
    pub(super) fn behind(&self, span: &Span, ids: &[Option<Id>], bytes: usize) -> Option<Self> {
        let size = bytes.checked_div(ids.len()).unwrap_or_default().max(1);
        match span {
            Span::Only(_) => Some(Self { size, ..self.of_next_span() }),
            Span::Range { bracket, .. } => {
                let last = ids.iter().rev().flatten().find(|id| Bracket::of(id) == Some(*bracket))?;
                Some(Self { span: self.span, after: Some(last.clone()), size })
            }
        }
    }
}
