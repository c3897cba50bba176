//! The driver's errors in words, and whether the call is worth repeating.

use mongodb::error::{Error, ErrorKind};

use crate::source::SourceError;

/// Not primary, recovering, shutting down, timed out, cursor lost: the driver's own list of what it goes on after.
const PASSING: [i32; 19] =
    [6, 7, 43, 50, 63, 64, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435];

/// The events that were asked for are no longer kept.
const HISTORY_LOST: [i32; 3] = [136, 280, 286];

/// `InvalidResumeToken`: among others, a token of an invalidate event that was given to `resumeAfter`.
pub(super) const INVALID_RESUME_TOKEN: i32 = 260;

/// The stage `$changeStream` on a server that is no member of a replica set.
const NO_REPLICA_SET: i32 = 40_573;

/// The number of a server's refusal.
pub(super) fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(refusal) => Some(refusal.code),
        _ => None,
    }
}

/// An error of the driver or the server.
pub(super) fn explain(doing: &str, error: &Error) -> SourceError {
    let (detail, retryable) = match &*error.kind {
        ErrorKind::Command(refusal) => {
            let hint = match refusal.code {
                code if HISTORY_LOST.contains(&code) => {
                    "; the events have expired before they were read: begin at LATEST, or keep them longer"
                }
                NO_REPLICA_SET => "; change streams need a replica set",
                13 | 18 => "; check the user and its rights",
                _ => "",
            };
            let text = format!("{} (code {} {}){hint}", refusal.message, refusal.code, refusal.code_name);
            (text, PASSING.contains(&refusal.code))
        }
        ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::DnsResolve { .. } => (error.to_string(), false),
        // No connection, no server to choose, no answer in time.
        _ => (error.to_string(), true),
    };
    SourceError { message: format!("{doing}: {detail}"), retryable }
}
