//! DynamoDB tables, read again: what an item says *now*, for writes that need the truth.
//!
//! ```text
//! keys ─ question ─▶ BatchGetItem (ConsistentRead) ─ answer ─ by key ─▶ document in the target's format
//!                        ▲ throttled, cut, late            └ UnprocessedKeys ─┐
//!                        └──────────────── jittered pause ◀───────────────────┘
//! ```
//!
//! The protocol is one POST and its JSON
//! ([BatchGetItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html)). Items go from its
//! text straight into the target's format by the decoder of stream records, so that a read item and a record's image are the
//! same bytes; a client's own value tree would cost time and megabytes, and could only lose digits.

mod answer;
mod endpoint;
mod error;
mod question;
mod source;
#[cfg(test)]
mod tests;

pub use endpoint::ConfigError;
pub use source::{DynamoDbConfig, DynamoDbSource};
