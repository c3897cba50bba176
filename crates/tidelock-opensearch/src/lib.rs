//! OpenSearch, OpenSearch Serverless and Elasticsearch as a target.
//!
//! ```text
//! Operation ─ bulk ─▶ `_bulk` bodies ─ Transport ─▶ answer ─ by position ─▶ outcome
//!                                                    └ 409 ─ judge (`_mget`, stored `_tidelock`) ─▶ compare-and-set
//! ```
//!
//! Writes carry an external version, so that the engine itself refuses an older change. A refusal (409) is never taken for
//! *stale* unread: it is judged on the exact version stored in the document.

pub mod admin;
mod answer;
mod bulk;
mod clear;
mod error;
mod fence;
mod index;
mod judge;
mod lane;
mod misfit;
mod pace;
mod preview;
mod search;
mod store;
pub mod suggest;
mod target;

pub use index::{name_problem, refusals};
pub use judge::Seen;
pub use preview::{BulkLines, bulk_lines};
pub use search::{Found, Hit, SearchError, search};
pub use target::{OpenSearchConfig, OpenSearchTarget};
pub use tidelock_http::{HttpConfig, HttpTransport, Request, Response, Scheme, TlsError, Transport};
