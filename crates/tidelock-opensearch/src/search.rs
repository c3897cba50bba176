//! A search: what is found, its documents as text, so that no digit of theirs is changed.

use crate::Transport;
use crate::answer::whole_error;
use crate::error::{by_status, classify};
use crate::index::{path_segment, request};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};

/// What a search has found.
#[derive(Debug, Default)]
pub struct Found {
    /// How many documents match.
    pub total: u64,
    /// Those that were asked for.
    pub hits: Vec<Hit>,
}

/// A document that was found.
#[derive(Debug, Deserialize)]
pub struct Hit {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The document, as JSON.
    #[serde(rename = "_source")]
    pub source: Option<Box<RawValue>>,
}

/// Why a search has found nothing.
#[derive(Debug)]
pub enum SearchError {
    /// The engine does not take this search: its words.
    Refused(String),
    /// It cannot be asked.
    Failed(Failure),
}

#[derive(Deserialize)]
struct Answer {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    total: Total,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

/// Searches an index. One that is missing is empty.
///
/// # Errors
/// When the engine refuses the search, or cannot be asked until the deadline.
pub async fn search(
    transport: &impl Transport,
    index: &str,
    body: String,
    deadline: Instant,
) -> Result<Found, SearchError> {
    let path = format!("/{}/_search", path_segment(index));
    let response = transport.send(request("POST", path, body), deadline).await.map_err(SearchError::Failed)?;
    if response.status == 200 {
        return serde_json::from_slice(&response.body)
            .map(|Answer { hits: Hits { total: Total { value }, hits } }| Found { total: value, hits })
            .map_err(|error| SearchError::Failed(Failure::new(Cause::UnexpectedAnswer, error.to_string())));
    }
    let (kind, reason) = whole_error(&response.body).unwrap_or_default();
    match (response.status, kind.as_str()) {
        (404, "index_not_found_exception") => Ok(Found::default()),
        (400, _) => Err(SearchError::Refused(reason)),
        (status, "") => {
            let detail = format!("{}: status {status}", transport.place());
            Err(SearchError::Failed(Failure::new(by_status(status), detail)))
        }
        (status, kind) => Err(SearchError::Failed(Failure::new(classify(status, kind, &reason), reason))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, Response};
    use bytes::Bytes;
    use std::time::Duration;

    struct Answering(u16, &'static str);

    impl Transport for Answering {
        async fn send(&self, request: Request, _deadline: Instant) -> Result<Response, Failure> {
            assert_eq!((request.method, request.path.as_str()), ("POST", "/a%20b/_search"));
            Ok(Response { status: self.0, body: Bytes::from(self.1) })
        }

        fn place(&self) -> &str {
            "h:1"
        }
    }

    fn answered(status: u16, body: &'static str) -> Result<Found, SearchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let deadline = Instant::now() + Duration::from_secs(1);
        runtime.block_on(search(&Answering(status, body), "a b", "{}".to_owned(), deadline))
    }

    #[test]
    fn documents_are_found_as_they_are() {
        let body = r#"{"took":1,"hits":{"total":{"value":7,"relation":"eq"},"hits":[
            {"_id":"1","_source":{"n":12345678901234567890.10}},{"_id":"2"}]}}"#;
        let found = answered(200, body).expect("an answer");
        assert_eq!((found.total, found.hits.len()), (7, 2));
        assert_eq!(found.hits[0].source.as_ref().map(|raw| raw.get()), Some(r#"{"n":12345678901234567890.10}"#));
        assert!(found.hits[1].id == "2" && found.hits[1].source.is_none());
    }

    #[test]
    fn errors_say_what_they_are() {
        let missing = r#"{"error":{"type":"index_not_found_exception","reason":"no such index [a]"},"status":404}"#;
        assert_eq!(answered(404, missing).expect("an empty answer").total, 0);
        let refused = r#"{"error":{"type":"parsing_exception","reason":"not so"},"status":400}"#;
        assert!(matches!(answered(400, refused), Err(SearchError::Refused(words)) if words == "not so"));
        let closed = r#"{"error":{"type":"security_exception","reason":"no"},"status":403}"#;
        for (status, body, cause) in [
            (403, closed, Cause::Forbidden),
            (404, "elsewhere", Cause::TargetMissing),
            (502, "<html>", Cause::Unavailable),
            (200, "<html>", Cause::UnexpectedAnswer),
        ] {
            match answered(status, body) {
                Err(SearchError::Failed(failure)) => assert_eq!(failure.cause, cause),
                other => panic!("{status}: {other:?}"),
            }
        }
    }
}
