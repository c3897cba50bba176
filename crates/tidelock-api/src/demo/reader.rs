//! `GET demo-data`: documents of the demo's index, all of them or those that match.
//!
//! Pages are in the order of ids, last ones first: ObjectIds begin with the time, so that the newest come first. An id is
//! the one thing that every document has, that no two share, and that a page can go on behind.

use crate::gateway::{Refused, Request, answer, until};
use aws_lambda_events::apigw::ApiGatewayProxyResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::time::Instant;
use tidelock_core::encode::MARK_FIELD;
use tidelock_core::json::Cursor;
use tidelock_core::settings::SearchSettings;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};
use tidelock_opensearch::{Found, Hit, SearchError, name_problem, search};
use tidelock_sync::{OpenSearchTransport, open_search};

/// Documents of a page.
const SIZE: usize = 10;
const MAX_SIZE: usize = 100;

/// Most characters of a query.
const MAX_QUERY: usize = 1_000;

/// Most bytes of documents in an answer: Lambda allows 6 MB in all.
const MAX_ANSWER: usize = 5_000_000;

/// The longest id there is.
const MAX_ID: usize = 512;

/// Finds documents.
pub struct DemoReader {
    transport: OpenSearchTransport,
    index: String,
}

/// What is to be found.
#[derive(Debug, PartialEq, Eq)]
struct Question<'r> {
    query: Option<&'r str>,
    size: usize,
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct Page<'h> {
    /// How many documents match.
    total: u64,
    documents: Vec<Shown<'h>>,
    /// Asks for the page behind this one; `null` behind the last.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown<'h> {
    id: &'h str,
    /// `null` where it alone is more than an answer may hold.
    document: Option<Box<RawValue>>,
}

impl<'r> Question<'r> {
    fn of(request: &'r Request) -> Result<Self, Refused> {
        if let Some(other) = request.query.keys().find(|name| !matches!(name.as_str(), "q" | "size" | "after")) {
            let message = format!("there is no parameter `{other}`; known are q, size and after");
            return Err(Refused::bad("unknown_parameter", message));
        }
        let given = |name: &str| request.query.get(name).map(String::as_str).filter(|value| !value.trim().is_empty());
        let query = given("q");
        if query.is_some_and(|query| query.chars().count() > MAX_QUERY) {
            return Err(Refused::bad("invalid_query", format!("q has more than {MAX_QUERY} characters")));
        }
        let size =
            match given("size") {
                None => SIZE,
                Some(text) => text.parse().ok().filter(|size| (1..=MAX_SIZE).contains(size)).ok_or_else(|| {
                    Refused::bad("invalid_size", format!("size is no whole number from 1 to {MAX_SIZE}"))
                })?,
            };
        let after = given("after").map(|token| {
            let id = URL_SAFE_NO_PAD.decode(token).ok().and_then(|id| String::from_utf8(id).ok());
            let words = "after is no token; take it from `next` of the page before";
            id.filter(|id| !id.is_empty() && id.len() <= MAX_ID).ok_or_else(|| Refused::bad("invalid_after", words))
        });
        Ok(Self { query, size, after: after.transpose()? })
    }

    fn body(&self) -> String {
        let query = match self.query {
            None => json!({"match_all": {}}),
            Some(query) => {
                json!({"simple_query_string": {"query": query, "default_operator": "and", "lenient": true}})
            }
        };
        let mut body = json!({
            "query": query,
            // One more than asked for says whether there are more.
            "size": self.size + 1,
            "sort": [{"_id": "desc"}],
            "track_total_hits": true,
        });
        if let Some(after) = &self.after {
            body["search_after"] = json!([after]);
        }
        body.to_string()
    }

    /// As many of the hits as were asked for, and as fit.
    fn page<'h>(&self, found: &'h Found) -> Page<'h> {
        let mut left = MAX_ANSWER;
        let mut documents = Vec::new();
        for Hit { id, source } in found.hits.iter().take(self.size) {
            let document = source.as_deref().and_then(without_mark);
            let bytes = document.as_ref().map_or(0, |document| bytes_within_text(document.get()));
            let alone = documents.is_empty() && bytes > left;
            if bytes > left && !alone {
                break;
            }
            left = left.saturating_sub(bytes);
            documents.push(Shown { id, document: document.filter(|_| !alone) });
        }
        let more = found.hits.len() > documents.len();
        let last = documents.last().filter(|_| more);
        let next = last.map(|last| URL_SAFE_NO_PAD.encode(last.id));
        Page { total: found.total, documents, next }
    }
}

/// A document without what Tidelock has added. The engine could leave it out as well, but then writes all numbers anew, and
/// digits are lost.
fn without_mark(document: &RawValue) -> Option<Box<RawValue>> {
    let text = document.get();
    let mut cursor = Cursor::new(text.as_bytes());
    let mut shown = String::with_capacity(text.len());
    let read = cursor.members(|cursor, name| {
        let value = cursor.skip()?;
        if name.raw != MARK_FIELD.as_bytes() {
            shown.push(if shown.is_empty() { '{' } else { ',' });
            shown.push('"');
            shown.push_str(&String::from_utf8_lossy(name.raw));
            shown.push_str("\":");
            shown.push_str(&String::from_utf8_lossy(value));
        }
        Ok(())
    });
    read.ok()?;
    if shown.is_empty() {
        shown.push('{');
    }
    shown.push('}');
    RawValue::from_string(shown).ok()
}

/// How long a text is as a string within JSON, as an answer's body is.
fn bytes_within_text(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')).count()
}

impl DemoReader {
    async fn respond(&self, request: &Request, deadline: Instant) -> Result<ApiGatewayProxyResponse, Refused> {
        if request.method != "GET" {
            return Err(Refused::method(&request.method, "GET"));
        }
        let question = Question::of(request)?;
        match search(&self.transport, &self.index, question.body(), deadline).await {
            Ok(found) => Ok(answer(200, &question.page(&found))),
            Err(SearchError::Refused(words)) => {
                tracing::warn!("the search is refused: {words}");
                Err(Refused::bad("invalid_query", "the search engine does not take this query; make it simpler"))
            }
            Err(SearchError::Failed(failure)) => Err(Refused::failed("the search engine", &failure)),
        }
    }
}

impl Handler for DemoReader {
    type Answer = ApiGatewayProxyResponse;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let variables = environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = SearchSettings::read(variables);
        let SearchSettings { settings, index } =
            settings.map_err(|problems| Fatal::new("Tidelock.Settings", problems.to_string()))?;
        if let Some(problem) = name_problem(&index) {
            let words = format!("TIDELOCK_DEMO_INDEX: `{index}` cannot be an index: {problem}");
            return Err(Fatal::new("Tidelock.Settings", words));
        }
        let transport = open_search(&settings, environment)?;
        transport.warm().await;
        Ok(Self { transport, index })
    }

    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<ApiGatewayProxyResponse, Fatal> {
        let request = Request::read(&payload)?;
        let answered = self.respond(&request, until(invocation.deadline)).await;
        Ok(answered.unwrap_or_else(ApiGatewayProxyResponse::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn request(query: &[(&str, &str)]) -> Request {
        let query: serde_json::Map<String, Value> =
            query.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        let event = json!({"httpMethod": "GET", "queryStringParameters": query});
        Request::of(event.as_object().expect("an object")).expect("a request")
    }

    fn hits(documents: &[(&str, String)]) -> Found {
        let hit = |(id, text): &(&str, String)| Hit {
            id: (*id).to_owned(),
            source: Some(RawValue::from_string(text.clone()).expect("JSON")),
        };
        Found { total: 9, hits: documents.iter().map(hit).collect() }
    }

    #[test]
    fn parameters_are_read_or_refused() {
        let plain = request(&[]);
        assert_eq!(Question::of(&plain), Ok(Question { query: None, size: 10, after: None }));
        let blank = request(&[("q", " "), ("size", ""), ("after", "")]);
        assert_eq!(Question::of(&blank), Ok(Question { query: None, size: 10, after: None }));
        let full = request(&[("q", "john"), ("size", "100"), ("after", "YQ")]);
        assert_eq!(Question::of(&full), Ok(Question { query: Some("john"), size: 100, after: Some("a".to_owned()) }));
        let long = "x".repeat(1_001);
        for (name, value, code) in [
            ("size", "0", "invalid_size"),
            ("size", "101", "invalid_size"),
            ("size", "-1", "invalid_size"),
            ("size", "ten", "invalid_size"),
            ("after", "!", "invalid_after"),
            ("after", "_w", "invalid_after"),
            ("q", long.as_str(), "invalid_query"),
            ("sort", "name", "unknown_parameter"),
        ] {
            let request = request(&[(name, value)]);
            let refused = Question::of(&request).expect_err(value);
            assert_eq!((refused.status, refused.code), (400, code), "{name}={value}");
        }
    }

    #[test]
    fn a_page_says_how_to_go_on() {
        let two = Question { query: None, size: 2, after: None };
        let found = hits(&[("c", "{}".to_owned()), ("b", r#"{"n":1.10}"#.to_owned()), ("a", "{}".to_owned())]);
        let page = serde_json::to_string(&two.page(&found)).expect("JSON");
        let expected =
            r#"{"total":9,"documents":[{"id":"c","document":{}},{"id":"b","document":{"n":1.10}}],"next":"Yg"}"#;
        assert_eq!(page, expected);
        let last = hits(&[("b", "{}".to_owned()), ("a", "{}".to_owned())]);
        assert_eq!(two.page(&last).next, None);
        let on = Question { query: Some("x"), size: 2, after: Some("b".to_owned()) }.body();
        assert!(on.contains(r#""search_after":["b"]"#) && on.contains(r#""size":3"#), "{on}");
    }

    #[test]
    fn what_tidelock_has_added_is_not_shown() {
        for (stored, shown) in [
            (
                r#"{ "n" : 1.10, "_tidelock": {"a":[{}]}, "_tidelock_2":"\u00e9" }"#,
                r#"{"n":1.10,"_tidelock_2":"\u00e9"}"#,
            ),
            (r#"{"_tidelock":{}}"#, "{}"),
            ("{}", "{}"),
            (r#"{"a":{"_tidelock":1}}"#, r#"{"a":{"_tidelock":1}}"#),
        ] {
            let stored = RawValue::from_string(stored.to_owned()).expect("JSON");
            assert_eq!(without_mark(&stored).expect("a document").get(), shown);
        }
    }

    #[test]
    fn an_answer_is_never_larger_than_lambda_allows() {
        let of = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes));
        let question = Question { query: None, size: 10, after: None };
        let found = hits(&[("c", of(3_000_000)), ("b", of(3_000_000)), ("a", of(1))]);
        let page = question.page(&found);
        assert_eq!(page.documents.len(), 1);
        assert_eq!(page.next.as_deref(), Some("Yw"), "the others are on the next page");
        let found = hits(&[("b", of(7_000_000)), ("a", of(1))]);
        let page = question.page(&found);
        assert!(page.documents[0].document.is_none() && page.documents[0].id == "b");
        assert_eq!(serde_json::to_string("\"\\\n").expect("JSON").len() - 2, bytes_within_text("\"\\\n"));
    }
}
