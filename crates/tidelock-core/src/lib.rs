//! Tidelock's core: everything that decides, and nothing that does I/O.
//!
//! ```text
//! payload bytes ─ source::dynamodb::decode ─▶ Batch (one slot per record, documents already in the target's format)
//!                 batch::Delivery          ─▶ rounds of operations, one per source key
//!                 target::Target           ─▶ one outcome per operation, by position
//!                 batch::Delivery::finish  ─▶ what to park, and the lowest position to retry
//! ```
//!
//! Two rules hold everywhere: decoding never fails as a whole (a record fails alone), and a version is a pure function of
//! the event (no clock, no counter).

pub mod backfill;
pub mod batch;
pub mod bson;
pub mod cause;
pub mod credentials;
pub mod diff;
pub mod encode;
pub mod explain;
mod expression;
pub mod fence;
pub mod hex;
pub mod image;
pub mod journal;
pub mod json;
pub mod key;
pub mod letter;
pub mod locate;
pub mod pipeline;
pub mod queue;
pub mod redrive;
pub mod salvage;
pub mod settings;
pub mod shadow;
pub mod slow;
pub mod source;
pub mod state;
pub mod target;
#[cfg(test)]
mod testing;
pub mod transform;
pub mod version;
