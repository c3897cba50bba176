//! The answer that the event source mapping understands.

use serde::Serialize;

/// `{"batchItemFailures":[{"itemIdentifier":"…"}]}`: everything from the named position on comes again.
///
/// At most one identifier, and never an empty one: null or `""` would mean the whole batch. Form:
/// [Lambda, DynamoDB batch failure reporting](https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<ItemFailure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ItemFailure {
    #[serde(rename = "itemIdentifier")]
    identifier: String,
}

impl BatchResponse {
    /// Every record is done.
    #[must_use]
    pub fn success() -> Self {
        Self { failures: Vec::new() }
    }

    /// Nothing comes again.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures.is_empty()
    }

    /// All from `position` on comes again; `None` when the position is empty, which no answer may name.
    #[must_use]
    pub fn retry_from(position: &str) -> Option<Self> {
        (!position.is_empty()).then(|| Self { failures: vec![ItemFailure { identifier: position.to_owned() }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_form_lambda_reads() {
        let json = |response| serde_json::to_string(&response).expect("serializes");
        assert_eq!(json(BatchResponse::success()), r#"{"batchItemFailures":[]}"#);
        let failed = BatchResponse::retry_from("007").expect("not empty");
        assert_eq!(json(failed), r#"{"batchItemFailures":[{"itemIdentifier":"007"}]}"#);
        assert_eq!(BatchResponse::retry_from(""), None);
    }
}
