//! OpenSearch as the functions see it: a stub that accepts every bulk at once, and a proxy that records the bulk bodies on
//! their way to a real server.

use std::io;
use std::sync::{Arc, Mutex};

use memchr::{memchr, memmem};

use crate::http::{self, Accept, Client, Listener, Request, Response};

/// One bulk request as a function sent it.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    /// What the server answered.
    pub(crate) answer: Arc<[u8]>,
}

fn is_bulk(request: &Request) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    path.ends_with("/_bulk")
}

/// Starts a server that answers every bulk at once with success for each of its actions, every `_mget` with nothing found,
/// and all else with `{}`.
pub(crate) fn stub(accept: Accept) -> io::Result<Listener> {
    answering(accept, accepted)
}

/// The same, but for documents in which `poison` stands: their writes are refused as a mapping refuses them.
pub(crate) fn refusing_stub(accept: Accept, poison: &'static [u8]) -> io::Result<Listener> {
    answering(accept, move |body, items| judged(body, items, poison))
}

/// Answers every bulk as `answer` says, from its body and what items of an answer look like.
fn answering(
    accept: Accept,
    answer: impl Fn(&[u8], &[&str; 2]) -> Vec<u8> + Copy + Send + Sync + 'static,
) -> io::Result<Listener> {
    http::serve(accept, move || {
        Box::new(move |request| {
            if request.target.contains("/_mget") {
                return Response::json(200, nothing_found(&request.body));
            }
            if !is_bulk(&request) {
                return Response::json(200, *b"{}");
            }
            let items: &[&str; 2] = if request.target.contains("filter_path=") { &SHORT_ITEMS } else { &FULL_ITEMS };
            Response::json(200, answer(&request.body, items))
        })
    })
}

/// The answer to an `_mget` of documents that are not there.
fn nothing_found(body: &[u8]) -> Vec<u8> {
    const NOTHING: &[u8] = br#"{"found":false}"#;
    #[derive(serde::Deserialize)]
    struct Asked {
        #[serde(default)]
        docs: Vec<serde::de::IgnoredAny>,
        #[serde(default)]
        ids: Vec<serde::de::IgnoredAny>,
    }
    let asked = serde_json::from_slice(body).map_or(0, |asked: Asked| asked.docs.len() + asked.ids.len());
    [&br#"{"docs":["#[..], &vec![NOTHING; asked].join(&b','), b"]}"].concat()
}

/// Items of an answer that `filter_path=errors,items.*.status,items.*.error` has shortened: index, delete.
const SHORT_ITEMS: [&str; 2] = [r#"{"index":{"status":200}}"#, r#"{"delete":{"status":200}}"#];

/// Items as long as those of a whole answer.
const FULL_ITEMS: [&str; 2] = [
    r#"{"index":{"_index":"bench","_id":"item-00000000-000000","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1,"status":201}}"#,
    r#"{"delete":{"_index":"bench","_id":"item-00000000-000000","_version":2,"result":"deleted","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1,"status":200}}"#,
];

/// The answer to a bulk body whose actions have all succeeded: an item for each.
fn accepted(body: &[u8], items: &[&str; 2]) -> Vec<u8> {
    let mut answer = Vec::with_capacity(16 * 1024);
    answer.extend_from_slice(br#"{"errors":false,"items":["#);
    let mut first = true;
    for action in actions(body) {
        if !first {
            answer.push(b',');
        }
        first = false;
        answer.extend_from_slice(items[usize::from(is_delete(action))].as_bytes());
    }
    answer.extend_from_slice(b"]}");
    answer
}

/// What OpenSearch says of a document that its mapping does not bear.
const REFUSED: &str = r#"{"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse field [stock] of type [long]","caused_by":{"type":"illegal_argument_exception","reason":"For input string: \"sold out\""}}}}"#;

/// The answer to a bulk body of which documents with `poison` are refused.
fn judged(body: &[u8], items: &[&str; 2], poison: &[u8]) -> Vec<u8> {
    if memmem::find(body, poison).is_none() {
        return accepted(body, items);
    }
    let mut rest = body;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let action = take_line(&mut rest);
        if action.is_empty() {
            continue;
        }
        let delete = is_delete(action);
        let refused = !delete && memmem::find(take_line(&mut rest), poison).is_some();
        answers.push(if refused { REFUSED } else { items[usize::from(delete)] });
    }
    format!(r#"{{"errors":true,"items":[{}]}}"#, answers.join(",")).into_bytes()
}

fn is_delete(action: &[u8]) -> bool {
    action.starts_with(br#"{"delete""#) || action.starts_with(br#"{ "delete""#)
}

/// The action lines of a bulk body. Only deletes have no second line; blank lines do not count.
pub(crate) fn actions(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let line = take_line(&mut rest);
            if line.is_empty() {
                continue;
            }
            if !is_delete(line) {
                take_line(&mut rest);
            }
            return Some(line);
        }
    })
}

fn take_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let all = *rest;
    match memchr(b'\n', all) {
        Some(end) => {
            *rest = &all[end + 1..];
            &all[..end]
        }
        None => {
            *rest = &[];
            all
        }
    }
}

/// A proxy to `upstream` (`HOST:PORT`) that keeps every bulk request with its answer.
pub(crate) struct Recorder {
    listener: Listener,
    bulks: Arc<Mutex<Vec<Bulk>>>,
}

impl Recorder {
    pub(crate) fn start(upstream: &str) -> io::Result<Self> {
        let bulks = Arc::new(Mutex::new(Vec::new()));
        let (upstream, kept) = (upstream.to_owned(), Arc::clone(&bulks));
        let listener = http::serve(http::plain(), move || {
            let (upstream, kept) = (upstream.clone(), Arc::clone(&kept));
            let mut client = None;
            Box::new(move |request| {
                let answer = forward(&mut client, &upstream, &request)
                    .unwrap_or_else(|error| Response::json(502, format!("{{\"error\":\"{error}\"}}").into_bytes()));
                if let (true, Ok(mut kept)) = (is_bulk(&request), kept.lock()) {
                    let answer = Arc::clone(&answer.body);
                    kept.push(Bulk { target: request.target, body: request.body, answer });
                }
                answer
            })
        })?;
        Ok(Self { listener, bulks })
    }

    /// `HOST:PORT` of the proxy.
    pub(crate) fn host(&self) -> String {
        self.listener.address().to_string()
    }

    /// Takes the requests recorded so far.
    pub(crate) fn take(&self) -> Vec<Bulk> {
        self.bulks.lock().map(|mut bulks| std::mem::take(&mut *bulks)).unwrap_or_default()
    }
}

fn forward(client: &mut Option<Client>, upstream: &str, request: &Request) -> io::Result<Response> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(upstream)?),
    };
    let content_type = http::header(&request.headers, "content-type").unwrap_or("application/json");
    client.send(&request.method, &request.target, content_type, &request.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"{\"index\":{\"_id\":\"1\"}}\n{\"delete\":true}\n{\"delete\":{\"_id\":\"2\"}}\n\
        {\"update\":{\"_id\":\"3\"}}\n{}\n{\"create\":{\"_id\":\"4\"}}\n{\"a\":1}\n";

    #[test]
    fn actions_are_counted_and_a_document_that_looks_like_a_delete_is_none() {
        let deletes = |body| actions(body).map(is_delete).collect::<Vec<_>>();
        assert_eq!(deletes(BODY), [false, true, false, false]);
        assert_eq!(actions(b"").count(), 0);
        assert_eq!(deletes(b"\n{\"delete\":{}}\n\n{\"index\":{}}\n{}"), [true, false]);
    }

    #[test]
    fn the_stub_answers_an_item_per_action_and_braces_for_all_else() {
        let stub = stub(http::plain()).expect("it starts");
        let mut client = Client::connect(&stub.address().to_string()).expect("it accepts");
        let short =
            client.send("POST", "/_bulk?filter_path=errors,items.*.status,items.*.error", "application/x-ndjson", BODY);
        let short = String::from_utf8(short.expect("answered").body.to_vec()).expect("text");
        let item = |name: &str| format!(r#"{{"{name}":{{"status":200}}}}"#);
        let items = [item("index"), item("delete"), item("index"), item("index")].join(",");
        assert_eq!(short, format!(r#"{{"errors":false,"items":[{items}]}}"#));
        let full = client.send("POST", "/bench/_bulk", "application/x-ndjson", BODY).expect("answered");
        let full: serde_json::Value = serde_json::from_slice(&full.body).expect("JSON");
        assert_eq!(full["items"].as_array().map(Vec::len), Some(4));
        assert_eq!(&*client.send("GET", "/", "", b"").expect("answered").body, b"{}");
    }

    #[test]
    fn the_refusing_stub_refuses_what_is_poisoned_alone() {
        let stub = refusing_stub(http::plain(), b"poison").expect("it starts");
        let mut client = Client::connect(&stub.address().to_string()).expect("it accepts");
        let body = b"{\"index\":{\"_id\":\"poison\"}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"2\"}}\n\
            {\"index\":{\"_id\":\"3\"}}\n{\"a\":\"poison\"}\n{\"index\":{\"_id\":\"4\"}}\n{}\n";
        let mut answer = |body: &[u8]| {
            let answer = client.send("POST", "/bench/_bulk", "application/x-ndjson", body).expect("answered");
            serde_json::from_slice::<serde_json::Value>(&answer.body).expect("JSON")
        };
        let found = answer(body);
        assert_eq!(found["errors"], true);
        let items = found["items"].as_array().expect("items").iter();
        let statuses = items.map(|item| item.as_object().and_then(|item| item.values().next()?["status"].as_u64()));
        assert_eq!(statuses.collect::<Vec<_>>(), [Some(201), Some(200), Some(400), Some(201)]);
        assert_eq!(answer(BODY)["errors"], false);
    }

    #[test]
    fn the_recorder_passes_on_and_keeps_bulks_only() {
        let target = stub(http::plain()).expect("it starts");
        let recorder = Recorder::start(&target.address().to_string()).expect("it starts");
        let mut client = Client::connect(&recorder.host()).expect("it accepts");
        client.send("GET", "/", "", b"").expect("answered");
        let answer = client.send("POST", "/x/_bulk", "application/x-ndjson", BODY).expect("answered");
        assert!(answer.body.starts_with(b"{\"errors\":false"));
        let bulks = recorder.take();
        assert_eq!(bulks.len(), 1);
        assert_eq!((bulks[0].target.as_str(), bulks[0].body.as_slice()), ("/x/_bulk", BODY));
        assert_eq!(bulks[0].answer, answer.body);
        assert!(recorder.take().is_empty());
    }
}
