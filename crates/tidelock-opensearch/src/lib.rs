//! OpenSearch, OpenSearch Serverless and Elasticsearch as a target.
//!
//! ```text
//! Operation ─ bulk ─▶ `_bulk` bodies ─ Transport ─▶ answer ─ by position ─▶ outcome
//!                                                    └ 409 ─ judge (`_mget`, stored `_tidelock`) ─▶ compare-and-set
//! ```
//!
//! Writes carry an external version, so that the engine itself refuses an older change. A refusal (409) is never taken for
//! *stale* unread: it is judged on the exact version stored in the document.

mod answer;
mod bulk;
mod error;
mod http;
mod index;
mod judge;
mod sign;
mod target;

pub use http::{HttpConfig, HttpTransport, TlsError};
pub use sign::Scheme;
pub use target::{OpenSearchConfig, OpenSearchTarget};

use bytes::Bytes;
use std::time::Instant;
use tidelock_core::cause::Failure;

/// A request to the engine.
#[derive(Debug, Clone)]
pub struct Request {
    /// GET, PUT or POST.
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub path: String,
    /// The body's media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// The engine's answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

/// Carries requests to the engine.
///
/// When it returns, or its future is dropped, nothing of the request is still under way.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Transport {
    /// Sends one request and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// When there is no answer: no connection, no credentials, or no time.
    async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure>;

    /// Where requests go, for messages: host and port.
    fn place(&self) -> &str;
}
