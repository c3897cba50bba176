//! Sources: from an invocation's payload to a batch of changes.

pub mod dynamodb;
pub mod mongodb;

use std::fmt;

/// The payload is not an event of this source at all: nothing in it can be told apart, so the invocation fails whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeError {
    /// What was expected, what was found, and what to do.
    pub message: String,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EnvelopeError {}
