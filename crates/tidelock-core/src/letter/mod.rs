//! Letters: records that wait, with the reason and all that is needed to apply them later.
//!
//! - A **dead letter** ([`letter`]) holds one record that can never be applied as it is.
//! - A **pack** ([`packs`]) holds many changes that were held back because the target could not be reached.
//! - What does not fit into a message lies in a bucket, and the message points at it ([`post`]).
//!
//! [`read()`] takes a message apart again, and Lambda's own on-failure records with it.

mod on_failure;
mod post;
mod read;
mod time;
mod write;

pub use on_failure::{LostBatch, OnFailure};
pub use post::{Post, post};
pub use read::{Contents, Kind, Parcel, Unreadable, read};
pub(crate) use time::write_timestamp;
pub use time::{parse_timestamp, timestamp};
pub use write::{Held, History, MAX_PACK_BYTES, letter, lost_records, packs, scanned_letter};

use std::borrow::Cow;

/// The format's number: what `tidelock` says in a message.
pub const FORMAT: u64 = 1;

/// The most a message may weigh: [SQS's limit](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)
/// of 1 MiB, less room for the attributes.
pub const MAX_LETTER_BYTES: usize = 1_048_576 - 1_024;

/// A message, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The closed list's code, also sent as an attribute.
    pub reason: Cow<'static, str>,
    /// The source's name, also sent as an attribute.
    pub source: String,
    /// The message's body.
    pub body: String,
}

/// A name for some texts together that stays the same for ever; where one ends and the next begins matters.
#[must_use]
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_le_bytes()).collect();
    hash(lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), *part]))
}

/// FNV-1a, 128 bits, as 32 hexadecimal digits.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for &byte in parts.into_iter().flatten() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    }
    format!("{hash:032x}")
}
