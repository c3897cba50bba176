//! The attempt journal: which record ends the function's process.
//!
//! A record that makes the process abort, or exhaust its memory or its time, takes its neighbours with it, and comes again with
//! them: for ever, where the event source mapping knows no limit. Nothing is left of such an invocation but what was written
//! down before it.
//!
//! ```text
//! a fresh environment's first batch    write "the whole of it is on trial" ─▶ work ─▶ remove the entry ─▶ no journal from now on
//! there is an entry already            a death: the part that was on trial is split into ten; one record that was on trial
//!                                      by itself has died once more
//!    each part that has not passed     write "this part is on trial" ─▶ work ─▶ it has passed
//!    each record that died twice       write "being parked" ─▶ letter `crashed_function`
//!    all done                          remove the entry ─▶ answer for the batch
//! ```
//!
//! Why so:
//! - **Only the first batch of an environment is journalled.** A later one that ends the process comes again to a fresh
//!   environment: one more death, and no cost while all goes well. An environment whose last invocation has not come to an orderly
//!   end (a panic that the runtime caught) counts as fresh.
//! - **All of the work is on trial**: decoding, expressions, encoding, writing. A part is an event of its own, made of the
//!   event's text ([`Envelope`]), so that even reading its records is a part's own risk. What is read of all of them is where one
//!   ends and the next begins.
//! - **Ten parts, not two**: a death costs a cold start at least, or the function's whole timeout; a part that passes costs one
//!   write. A poison among n records is found after log10(n) deaths, and two more by itself.
//! - **A record is parked only after two deaths by itself**: an environment may end for other reasons. A target that is slow is
//!   none of them: the delivery stops in time, and the invocation answers.
//! - **What has passed is remembered, and not tried again** until the whole batch is answered for: it is applied, parked or held,
//!   and durably so. As this is more than economy, a part is recognised by a fingerprint of its records' text, and believed to have
//!   passed for half an hour only: a stream may be followed anew into a target that was emptied. The entry is named after
//!   the function and the first record: a batch that comes again longer, or shorter (halved by the mapping), keeps what is
//!   known of the records that it begins with. Another batch begins anew, and converges as well.
//! - **Where nothing passes, it may be the function that is broken, not the records.** A record is parked freely when a neighbour
//!   of its batch has passed; otherwise three in an hour and function, so that a bad release cannot empty a stream into a queue.
//!   A batch on trial of which something passes begins that count anew: a mapping that halves batches leaves a poison alone in the
//!   end. Those that died twice are parked last, when it is known whether others pass.
//! - **A letter wants key and version, and reading them may be what kills**: then the next environment writes it of the bare text.
//! - **The journal never blocks**: where the state cannot be read or written, work goes on without it. The mark of an
//!   earlier part then stands for a death that is not its own; that it happens twice to a record by itself is the price.
//! - Two invocations of one batch at a time would take each other for dead: parts are split, and each has its guards. A mapping
//!   does not do so.

mod envelope;
mod trial;

pub use envelope::Envelope;
pub use trial::{Journal, Step};

use crate::batch::{Batch, Before, Content, Slot};
use crate::cause::{Cause, Failure};
use crate::letter::fingerprint;

/// How many records are parked in an hour although none beside them has passed.
const ALONE_PER_HOUR: usize = 3;

const HOUR_MS: i64 = 3_600_000;

/// Under which name the state keeps the journal of a batch with this first record.
#[must_use]
pub fn name(function: &str, first: &[u8]) -> String {
    format!("journal/{function}/{}", fingerprint(&[first]))
}

/// Under which name the state keeps when records of batches were parked of which nothing passed.
#[must_use]
pub fn alone_name(function: &str) -> String {
    format!("journal/{function}/alone")
}

/// Whether one more record may be parked although nothing beside it has passed; then what the state is to keep. `known` is what
/// it has kept.
#[must_use]
pub fn alone(known: Option<&str>, now_ms: i64) -> Option<String> {
    let mut times: Vec<i64> = known.and_then(|known| serde_json::from_str(known).ok()).unwrap_or_default();
    times.retain(|at| now_ms.saturating_sub(*at) < HOUR_MS);
    if times.len() >= ALONE_PER_HOUR {
        return None;
    }
    times.push(now_ms);
    serde_json::to_string(&times).ok()
}

/// A record that is to be parked, as a batch: all that might be worked on is taken out. `batch` is the record as it was read,
/// or an event without records where reading it is what kills; then `record` is what the payload holds.
#[must_use]
pub fn condemned(mut batch: Batch, record: std::ops::Range<usize>) -> Batch {
    let why = "the function's process ended each time that it worked on this record alone";
    if batch.slots.is_empty() {
        batch.slots.push(Slot {
            raw: record,
            position: None,
            sequence: None,
            order: None,
            at: 0,
            origin: None,
            key: None,
            content: Content::Deferred,
            image: None,
            before: Before::Absent,
        });
    }
    for slot in &mut batch.slots {
        slot.content = Content::Failed(Box::new(Failure::new(Cause::CrashedFunction, why)));
        (slot.image, slot.before) = (None, Before::Absent);
    }
    batch
}

#[cfg(test)]
mod tests;
