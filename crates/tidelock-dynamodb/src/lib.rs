//! DynamoDB without its SDK: items read again for writes that need the truth, tables scanned for backfill, stream records
//! fetched for redrive, and a table for what functions remember.
//!
//! ```text
//! source  keys ─────────────────────▶ BatchGetItem ─▶ items    ┐
//! scan    segment, position ────────▶ Scan ─────────▶ items    │ by the decoder of stream records:
//! stream  two sequence numbers ─────▶ GetRecords ───▶ records  ┘ documents in the target's format
//! state   name, value, revision ────▶ GetItem, PutItem, DeleteItem
//!
//! client  every request ─ signed POST ─▶ answer that can be read
//!             ▲ throttled, cut, late, damaged  │
//!             └──────── jittered pause ◀───────┘ until the deadline
//! ```
//!
//! The protocol is one POST and its JSON. Items go from its text straight into the target's format by the decoder of stream
//! records, so that a read item and a record's image are the same bytes; a client's own value tree would cost time and
//! megabytes, and could only lose digits.

mod answer;
mod client;
mod endpoint;
mod error;
mod json;
mod question;
mod scan;
mod source;
mod state;
mod stream;
#[cfg(test)]
mod tests;

pub use client::DynamoDbConfig;
pub use endpoint::ConfigError;
pub use source::DynamoDbSource;
pub use state::DynamoDbState;
pub use stream::{DynamoDbStreams, Fetched};
