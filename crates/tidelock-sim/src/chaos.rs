//! What may happen to a request on its way.

use crate::path::Route;
use std::time::Duration;
use tidelock_opensearch::Request;

/// Which API a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// `_bulk`.
    Bulk,
    /// `_mget`.
    MultiGet,
    /// `_search`.
    Search,
    /// `GET /{index}/_mapping`.
    GetMapping,
    /// `PUT /{index}/_mapping`.
    PutMapping,
    /// `PUT /{index}`.
    CreateIndex,
    /// `GET /{index}`.
    GetIndex,
    /// `_refresh`.
    Refresh,
    /// `GET /{index}/_doc/{id}`.
    GetDocument,
    /// `PUT /{index}/_doc/{id}`.
    PutDocument,
    /// What the model does not know.
    Other,
}

impl RequestKind {
    /// The kind of a request, by its method and path.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        match Route::of(request.method, &request.path) {
            Route::Bulk(..) => Self::Bulk,
            Route::MultiGet(..) => Self::MultiGet,
            Route::Search(..) => Self::Search,
            Route::GetMapping(_) => Self::GetMapping,
            Route::PutMapping(_) => Self::PutMapping,
            Route::CreateIndex(_) => Self::CreateIndex,
            Route::GetIndex(_) => Self::GetIndex,
            Route::Refresh(_) => Self::Refresh,
            Route::GetDocument(..) => Self::GetDocument,
            Route::PutDocument(..) => Self::PutDocument,
            Route::Unknown => Self::Other,
        }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It is applied and answered.
    None,
    /// It is not applied; the whole answer is this status: 429, 503, 500.
    Refuse(u16),
    /// The connection breaks before it arrives.
    CutBefore,
    /// It is applied, and the connection breaks before the answer arrives.
    CutAfter,
    /// It is not applied, and nothing ever answers: whoever waits, waits until his time is over.
    Hang,
    /// It is applied now and answered later by this much.
    SlowAnswer(Duration),
    /// It is applied, and answered, later by this much, although nobody may wait for it any more.
    Late(Duration),
    /// Each item of a bulk request is at random applied or refused with 429. Nothing for others.
    Half,
    /// It is applied and answered with 200, but not as it should be: one item too few, or half a body.
    Garble,
}

/// Decides what happens to requests. It must be deterministic: its choices come from a seed, or from a script.
pub trait Chaos {
    /// What happens to this request.
    fn strike(&self, kind: RequestKind) -> Strike;
}

impl<F: Fn(RequestKind) -> Strike> Chaos for F {
    fn strike(&self, kind: RequestKind) -> Strike {
        self(kind)
    }
}

/// Nothing ever happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calm;

impl Chaos for Calm {
    fn strike(&self, _kind: RequestKind) -> Strike {
        Strike::None
    }
}
