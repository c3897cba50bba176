//! What the service's refusals mean.
//!
//! [Common errors](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html).

use tidelock_core::json::{Cursor, Malformed, unescape};

/// Errors that pass although their status (400) says otherwise.
const PASSING: [&str; 6] = [
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
];

/// Most characters of the service's words that are passed on.
const MAX_WORDS: usize = 400;

/// A request that was not answered with items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Asking again may help.
    pub(crate) passing: bool,
    /// What happened, in the service's words where it has said any.
    pub(crate) words: String,
}

/// Reads a refusal: `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"…"}`.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Trouble {
    let (kind, message) = parts(body).unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default();
    let passing = status >= 500 || status == 429 || PASSING.contains(&kind);
    let what = if kind.is_empty() { format!("HTTP status {status}") } else { kind.to_owned() };
    let message = match message.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!(": {}…", message.get(..end).unwrap_or_default()),
        None if message.is_empty() => String::new(),
        None => format!(": {message}"),
    };
    Trouble { passing, words: format!("{what}{message}") }
}

/// Type and message of a refusal, empty where there is none.
fn parts(body: &[u8]) -> Result<(String, String), Malformed> {
    let mut cursor = Cursor::new(body);
    let (mut kind, mut message) = (String::new(), String::new());
    cursor.expect(b'{', "an object")?;
    if cursor.take(b'}') {
        return Ok((kind, message));
    }
    loop {
        let name = cursor.name()?;
        let place = match name.raw {
            b"__type" => Some(&mut kind),
            b"message" | b"Message" => Some(&mut message),
            _ => None,
        };
        match place.filter(|_| cursor.peek() == Some(b'"')) {
            Some(place) => *place = unescape(cursor.string()?).unwrap_or_default().into_owned(),
            None => drop(cursor.skip()?),
        }
        if !cursor.more(b'}')? {
            return Ok((kind, message));
        }
    }
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
            (500, "InternalServerError", true),
            (503, "ServiceUnavailable", true),
            (400, "AccessDeniedException", false),
            (400, "ResourceNotFoundException", false),
            (400, "ValidationException", false),
            (400, "UnrecognizedClientException", false),
        ] {
            let body = format!(r#"{{"__type":"{space}{kind}","message":"the \"words\""}}"#);
            let words = format!("{kind}: the \"words\"");
            assert_eq!(refusal(status, body.as_bytes()), Trouble { passing, words });
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
            assert_eq!(refusal(status, body.as_bytes()), Trouble { passing, words: words.to_owned() });
        }
        let long = format!(r#"{{"__type":"a#B","message":"{}"}}"#, "ü".repeat(1_000));
        assert_eq!(refusal(400, long.as_bytes()).words, format!("B: {}…", "ü".repeat(MAX_WORDS)));
    }
}
