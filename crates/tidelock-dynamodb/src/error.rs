//! What the service's refusals mean, and answers that cannot be used.
//!
//! [Common errors](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html).

use crate::json::{members, string};
use std::fmt::Display;
use tidelock_core::json::{Cursor, Malformed};

/// Errors that pass although their status (400) says otherwise.
const PASSING: [&str; 7] = [
    "InternalServerError",
    // Of streams: somebody else reads the shard too.
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
];

/// Most characters of the service's words that are passed on.
const MAX_WORDS: usize = 400;

/// The table, stream or shard is not there.
pub(crate) const NOT_FOUND: &str = "ResourceNotFoundException";

/// A request that was not answered with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Asking again may help.
    pub(crate) passing: bool,
    /// The service's name for it; empty where there is none.
    pub(crate) kind: String,
    /// What happened, in the service's words where it has said any.
    pub(crate) words: String,
}

impl Trouble {
    /// What may be otherwise the next time.
    pub(crate) fn passing(words: String) -> Self {
        Self { passing: true, kind: String::new(), words }
    }

    /// An answer that may come whole the next time.
    pub(crate) fn damaged(why: impl Display) -> Self {
        Self::passing(format!("the answer cannot be used: {why}"))
    }

    /// An answer that makes no sense, and would come again.
    pub(crate) fn senseless(why: impl Display) -> Self {
        Self { passing: false, ..Self::damaged(why) }
    }
}

/// Reads an answer that has to be whole.
pub(crate) fn whole<'a, T>(body: &'a [u8], read: impl FnOnce(&'a [u8]) -> Result<T, Malformed>) -> Result<T, Trouble> {
    if simdutf8::basic::from_utf8(body).is_err() {
        return Err(Trouble::damaged("it is not UTF-8"));
    }
    read(body).map_err(Trouble::damaged)
}

/// Reads a refusal: `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"…"}`.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Trouble {
    let (kind, message) = parts(body).unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default().to_owned();
    let passing = status >= 500 || status == 429 || PASSING.contains(&&*kind);
    let what = if kind.is_empty() { format!("HTTP status {status}") } else { kind.clone() };
    let message = match message.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!(": {}…", message.get(..end).unwrap_or_default()),
        None if message.is_empty() => String::new(),
        None => format!(": {message}"),
    };
    Trouble { passing, kind, words: format!("{what}{message}") }
}

/// Type and message of a refusal, empty where there is none.
fn parts(body: &[u8]) -> Result<(String, String), Malformed> {
    let (mut kind, mut message) = (String::new(), String::new());
    members(&mut Cursor::new(body), |name, cursor| {
        let place = match name {
            b"__type" => &mut kind,
            b"message" | b"Message" => &mut message,
            _ => return cursor.skip().map(drop),
        };
        *place = string(cursor)?.unwrap_or_default();
        Ok(())
    })?;
    Ok((kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        let space = "com.amazonaws.dynamodb.v20120810#";
        for (status, kind, passing) in [
            (400, "ProvisionedThroughputExceededException", true),
            (400, "ThrottlingException", true),
            (400, "RequestLimitExceeded", true),
            (400, "LimitExceededException", true),
            (500, "InternalServerError", true),
            (503, "ServiceUnavailable", true),
            (400, "AccessDeniedException", false),
            (400, "ResourceNotFoundException", false),
            (400, "ValidationException", false),
            (400, "UnrecognizedClientException", false),
        ] {
            let body = format!(r#"{{"__type":"{space}{kind}","message":"the \"words\""}}"#);
            let words = format!("{kind}: the \"words\"");
            let kind = kind.to_owned();
            assert_eq!(refusal(status, body.as_bytes()), Trouble { passing, kind, words });
        }
    }

    #[test]
    fn whatever_answers() {
        for (status, body, passing, words) in [
            (502, "<html>", true, "HTTP status 502"),
            (429, "", true, "HTTP status 429"),
            (403, "{}", false, "HTTP status 403"),
            (400, r#"{"Message":"m","__type":7}"#, false, "HTTP status 400: m"),
        ] {
            let (kind, words) = (String::new(), words.to_owned());
            assert_eq!(refusal(status, body.as_bytes()), Trouble { passing, kind, words });
        }
        let long = format!(r#"{{"__type":"a#B","message":"{}"}}"#, "ü".repeat(1_000));
        assert_eq!(refusal(400, long.as_bytes()).words, format!("B: {}…", "ü".repeat(MAX_WORDS)));
    }
}
