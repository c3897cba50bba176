//! Redrive: what waits in queues and buckets is applied, and what cannot be is kept.
//!
//! ```text
//! queue ─ take ─▶ messages ─ read ─▶ parcels ─┬─ foreign, damaged, newer ─────▶ kept, reported
//!                                             └─ records ─ Desk ─▶ applied, stale, filtered ─▶ message deleted
//!                                                  refused for good ─▶ a letter, stored ─┘
//!                                                  not now: all of it ─▶ stays, some ─▶ a pack of the rest, stored ─┘
//! ```
//!
//! A message is deleted only when each of its records is applied, stale, filtered, or stored anew. Whoever dies in between
//! leaves a message that comes again; every write is guarded, so that coming again harms nothing.

mod desk;
mod filter;
mod order;
mod run;
mod survey;

pub use desk::{Desk, Mode};
pub use filter::Filter;
pub use order::{Order, Outlets, Redriven};
pub use run::{PATIENCE, drain_queue, redrive_failures, redrive_messages};
pub use survey::{Discarded, Renewal, Survey, discard, survey};

#[cfg(test)]
mod tests;
