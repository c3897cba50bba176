//! A collection of a target, walked through from its first document to its last: ids and marks alone.

use super::bracket::{Bracket, Outline, Span};
use super::id::Id;
use super::place::Place;
use mongodb::bson::{RawDocument, RawDocumentBuf, cstr, error::Error as BsonError, rawdoc};
use tidelock_core::encode::MARK_FIELD;

/// Documents of a page.
const PAGE: i64 = 1_000;

/// Where a walk has come to.
#[derive(Debug)]
pub(crate) struct Walk {
    spans: Vec<Span>,
    place: Place,
}

/// What reads the `_id` at one end of a collection: 1 or -1.
pub(crate) fn end_of(collection: &str, order: i32, majority: bool) -> RawDocumentBuf {
    find(collection, RawDocumentBuf::new(), order, 1, majority)
}

fn find(collection: &str, filter: RawDocumentBuf, order: i32, limit: i64, majority: bool) -> RawDocumentBuf {
    let mut projection = rawdoc! {"_id": 1};
    if let Ok(field) = mongodb::bson::raw::CString::try_from(MARK_FIELD) {
        projection.append(&*field, 1);
    }
    let mut command = rawdoc! {
        "find": collection, "filter": filter, "sort": {"_id": order}, "projection": projection,
        "limit": limit, "batchSize": limit, "singleBatch": true,
    };
    command.append(cstr!("readConcern"), rawdoc! {"level": (if majority { "majority" } else { "local" })});
    command
}

impl Walk {
    /// Begins, or goes on where another one has come to. `ends` are the documents at both ends.
    pub(crate) fn new<'d>(ends: impl IntoIterator<Item = &'d RawDocument>, from: Option<&str>) -> Self {
        let rare = ends.into_iter().filter_map(Id::of).filter_map(|id| Bracket::of(&id)).any(Bracket::is_rare);
        let spans = Outline { bounds: Vec::new(), rare }.spans(0);
        // What cannot be read begins anew.
        Self { spans, place: from.and_then(Place::parse).unwrap_or_default() }
    }

    /// What reads the next page; `None` at the end.
    pub(crate) fn command(&self, collection: &str, majority: bool) -> Option<Result<RawDocumentBuf, BsonError>> {
        let filter = self.spans.get(self.place.span)?.filter(self.place.after.as_ref());
        Some(filter.map(|filter| find(collection, filter, 1, PAGE, majority)))
    }

    /// Steps behind a page; `false` where there is no getting behind it.
    pub(crate) fn step(&mut self, page: &[&RawDocument]) -> bool {
        let Some(span) = self.spans.get(self.place.span) else { return true };
        if page.is_empty() {
            self.place = self.place.of_next_span();
            return true;
        }
        let ids: Vec<Option<Id>> = page.iter().map(|document| Id::of(document)).collect();
        let next = self.place.behind(span, &ids, 0);
        let steps = next.is_some();
        if let Some(next) = next {
            self.place = next;
        }
        steps
    }

    /// Where it has come to.
    pub(crate) fn to_text(&self) -> String {
        self.place.to_text()
    }
}
