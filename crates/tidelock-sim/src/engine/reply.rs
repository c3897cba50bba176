//! Answers in the engine's form.

use bytes::Bytes;
use serde_json::{Value, json};
use tidelock_opensearch::Response;

/// What the engine says no with: to a whole request, or to one item of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(status: u16, kind: &'static str, reason: impl Into<String>) -> Self {
        Self { status, kind, reason: reason.into() }
    }

    pub(crate) fn no_index(name: &str) -> Self {
        Self::new(404, "index_not_found_exception", format!("no such index [{name}]"))
    }

    pub(crate) fn argument(reason: impl Into<String>) -> Self {
        Self::new(400, "illegal_argument_exception", reason)
    }

    pub(crate) fn validation(reason: &str) -> Self {
        Self::new(400, "action_request_validation_exception", format!("Validation Failed: 1: {reason};"))
    }

    /// What OpenSearch may well understand, but the model does not.
    pub(crate) fn unknown(what: &str) -> Self {
        Self::new(400, "parsing_exception", format!("the model does not know {what}"))
    }

    pub(crate) fn rejected() -> Self {
        Self::new(
            429,
            "rejected_execution_exception",
            "rejected execution of coordinating operation [coordinating_and_primary_bytes]",
        )
    }

    /// As the member `error` of an item.
    pub(crate) fn item(&self, index: &str) -> Value {
        json!({"type": self.kind, "reason": self.reason, "index": index})
    }

    /// As the answer to the request.
    pub(crate) fn whole(&self) -> Response {
        let cause = json!({"type": self.kind, "reason": self.reason});
        let mut error = cause.clone();
        error["root_cause"] = json!([cause]);
        answer(self.status, &json!({"error": error, "status": self.status}))
    }
}

pub(crate) fn answer(status: u16, body: &Value) -> Response {
    Response { status, body: Bytes::from(body.to_string()) }
}

/// The answer of an engine, or of a proxy before it, that does not take a request at all.
pub(crate) fn refusal(status: u16) -> Response {
    match status {
        429 => Problem::rejected().whole(),
        500 => Problem::new(500, "exception", "the engine failed").whole(),
        503 => Problem::new(503, "unavailable_shards_exception", "primary shard is not active").whole(),
        _ => Response { status, body: Bytes::from_static(b"<html><body>no answer from upstream</body></html>") },
    }
}
