//! What an invocation's outcome means for the batch
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>).

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::sequence::SequenceNumber;
use crate::function::Invocation;

/// The verdict on one invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole batch is done.
    Done,
    /// Everything before this index of the batch is done; everything from it on comes again.
    Partial {
        /// The index of the record with the lowest reported sequence number.
        first_failed: usize,
    },
    /// Nothing is done.
    Failed(Failure),
}

/// Why a whole batch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The function failed: an error, a timeout, a crash. This is what a batch is halved for.
    Function {
        /// The error's name.
        error_type: String,
        /// The error's text.
        message: String,
    },
    /// The function answered, but its `batchItemFailures` can't be read; with the reason.
    InvalidResponse(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { error_type, message } => write!(f, "{error_type}: {message}"),
            Self::InvalidResponse(reason) => write!(f, "invalid response: {reason}"),
        }
    }
}

/// What an `itemIdentifier` stands for: a sequence number, or nothing if it is no identifier at all.
pub type Identify<'a> = &'a dyn Fn(&Value) -> Option<String>;

/// Judges an invocation. `identified` turns an `itemIdentifier` into a sequence number; it is `None` where partial
/// answers are not asked for, and then any response means success.
pub fn judge(invocation: &Invocation, batch: &[&SequenceNumber], identified: Option<Identify<'_>>) -> Verdict {
    let body = match (invocation, invocation.error()) {
        (_, Some((error_type, message))) => {
            return Verdict::Failed(Failure::Function { error_type: error_type.into(), message });
        }
        (Invocation::Response(body), None) => body,
        // Every other outcome has an error.
        (_, None) => return Verdict::Done,
    };
    let Some(identified) = identified else { return Verdict::Done };
    match lowest_reported(body, batch, identified) {
        Ok(None) => Verdict::Done,
        Ok(Some(first_failed)) => Verdict::Partial { first_failed },
        Err(reason) => Verdict::Failed(Failure::InvalidResponse(reason)),
    }
}

/// The index of the reported record with the lowest sequence number; `None` if none is reported.
fn lowest_reported(body: &[u8], batch: &[&SequenceNumber], identified: Identify<'_>) -> Result<Option<usize>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let response: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let failures = match &response {
        Value::Null => return Ok(None),
        Value::Object(fields) => match fields.get("batchItemFailures") {
            // A misspelt `batchItemFailures` ends here too: to Lambda it is an empty response, a success.
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(failures)) => failures,
            Some(_) => return Err("`batchItemFailures` is not a list".into()),
        },
        _ => return Err("neither an object nor null".into()),
    };
    let places: HashMap<&str, usize> =
        batch.iter().enumerate().map(|(index, sequence)| (sequence.as_str(), index)).collect();
    let mut lowest: Option<usize> = None;
    for failure in failures {
        let identifier = match failure.get("itemIdentifier") {
            Some(identifier) => identifier,
            None => return Err(format!("an item without `itemIdentifier`: {failure}")),
        };
        let sequence = identified(identifier).ok_or_else(|| format!("not an item identifier: {identifier}"))?;
        let index = *places.get(sequence.as_str()).ok_or_else(|| format!("`{sequence}` is not in the batch"))?;
        if lowest.is_none_or(|lowest| batch[index] < batch[lowest]) {
            lowest = Some(index);
        }
    }
    Ok(lowest)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stream_identifier(value: &Value) -> Option<String> {
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Judges a response for a batch of 9, 10, 100 and two numbers beyond any integer type.
    fn judged(body: &str) -> Verdict {
        let numbers =
            ["9", "10", "100", "3000000000000000000000000000000000000001", "3000000000000000000000000000000000000002"]
                .map(SequenceNumber::new);
        let batch: Vec<&SequenceNumber> = numbers.iter().collect();
        judge(&Invocation::Response(Bytes::copy_from_slice(body.as_bytes())), &batch, Some(&stream_identifier))
    }

    #[test]
    fn empty_and_null_responses_are_success() {
        for body in [
            "",
            " \n",
            "null",
            "{}",
            r#"{"batchItemFailures":null}"#,
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailure":[{"itemIdentifier":"9"}]}"#,
        ] {
            assert_eq!(judged(body), Verdict::Done, "{body}");
        }
    }

    #[test]
    fn the_lowest_reported_number_wins_compared_as_a_number() {
        for (reported, first_failed) in [
            (&["100"][..], 2),
            (&["100", "10", "9"], 0),
            (&["100", "10"], 1),
            // As text "10" and "100" come before "9".
            (&["10", "9"], 0),
            (&["3000000000000000000000000000000000000002", "3000000000000000000000000000000000000001"], 3),
            (&["3000000000000000000000000000000000000001", "100"], 2),
        ] {
            let items: Vec<Value> =
                reported.iter().map(|number| serde_json::json!({ "itemIdentifier": number })).collect();
            let body = serde_json::json!({ "batchItemFailures": items }).to_string();
            assert_eq!(judged(&body), Verdict::Partial { first_failed }, "{body}");
        }
    }

    #[test]
    fn invalid_responses_fail_the_whole_batch() {
        for (body, reason) in [
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, "not an item identifier"),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, "not an item identifier"),
            (r#"{"batchItemFailures":[{"itemIdentifier":9}]}"#, "not an item identifier"),
            (r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"t-0","offset":9}}]}"#, "not an item identifier"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#, "is not in the batch"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"100"},{"itemIdentifier":"11"}]}"#, "is not in the batch"),
            (r#"{"batchItemFailures":[{"itemidentifier":"9"}]}"#, "without `itemIdentifier`"),
            (r#"{"batchItemFailures":["9"]}"#, "without `itemIdentifier`"),
            (r#"{"batchItemFailures":{}}"#, "is not a list"),
            (r#"{"batchItemFailures":"9"}"#, "is not a list"),
            ("\"ok\"", "neither an object nor null"),
            ("{", "not JSON"),
        ] {
            match judged(body) {
                Verdict::Failed(Failure::InvalidResponse(text)) => assert!(text.contains(reason), "{body}: {text}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn without_reporting_every_response_is_success() {
        let number = SequenceNumber::new("1");
        for body in [r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#, "{", ""] {
            let response = Invocation::Response(Bytes::copy_from_slice(body.as_bytes()));
            assert_eq!(judge(&response, &[&number], None), Verdict::Done);
        }
    }

    #[test]
    fn every_kind_of_error_fails_the_whole_batch() {
        let number = SequenceNumber::new("1");
        for (invocation, name) in [
            (
                Invocation::FunctionError {
                    error_type: "E".into(),
                    message: "m".into(),
                    raw: Bytes::from_static(br#"{"batchItemFailures":[]}"#),
                },
                "E",
            ),
            (Invocation::Timeout, "Sandbox.Timedout"),
            (Invocation::Crashed { status: "exit status: 1".into() }, "Runtime.ExitError"),
            (Invocation::InitError { error_type: "I".into(), message: "m".into() }, "I"),
        ] {
            for identified in [None, Some(&stream_identifier as Identify<'_>)] {
                match judge(&invocation, &[&number], identified) {
                    Verdict::Failed(Failure::Function { error_type, .. }) => assert_eq!(error_type, name),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
