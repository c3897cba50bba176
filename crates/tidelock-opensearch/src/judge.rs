//! Judging refused writes: what is stored, and what that means for the change.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidelock_core::json::write_string;
use tidelock_core::version::Mark;

/// Which incarnation of a document was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub(crate) seq_no: i64,
    pub(crate) primary_term: i64,
    /// The document's `_version`.
    pub(crate) version: i64,
}

/// What is stored under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// No document: the refusal came from the memory of a delete.
    Nothing,
    /// A document, with its version if it has a readable one.
    Document(Seen, Option<Mark>),
    /// The engine could not say.
    Unknown(String, String),
}

#[derive(Deserialize)]
struct Answer {
    docs: Vec<Doc>,
}

/// A document to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) index: &'a str,
    pub(crate) id: &'a str,
    /// What decides its shard, where that is not the id.
    pub(crate) routing: Option<&'a str>,
    /// All of it, not its mark alone.
    pub(crate) whole: bool,
}

impl<'a> Asked<'a> {
    /// The mark of a document that is routed by its id.
    pub(crate) fn new(index: &'a str, id: &'a str) -> Self {
        Self { index, id, routing: None, whole: false }
    }
}

#[derive(Deserialize)]
struct Doc {
    #[serde(default)]
    found: bool,
    #[serde(rename = "_seq_no")]
    seq_no: Option<i64>,
    #[serde(rename = "_primary_term")]
    primary_term: Option<i64>,
    #[serde(rename = "_version", default)]
    version: i64,
    #[serde(rename = "_source")]
    source: Option<Box<RawValue>>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
}

/// What is needed of the answer: without the rest, what is not there costs 15 bytes of it instead of 130.
pub(crate) const FILTER: &str = "_source_includes=_tidelock&filter_path=docs.found,docs._seq_no,docs._primary_term,docs._version,docs._source,docs.error";

/// Body of the `_mget` that reads the stored versions of (index, id); `index` is the one in the path. The read is realtime: it
/// sees unrefreshed writes.
pub(crate) fn request<'a>(index: &str, places: impl Iterator<Item = Asked<'a>> + Clone) -> Vec<u8> {
    let mut body = Vec::with_capacity(70 * places.size_hint().0 + 16);
    let alone = places.clone().all(|place| place == Asked::new(index, place.id));
    body.extend_from_slice(if alone { b"{\"ids\":[" } else { b"{\"docs\":[" });
    for (position, Asked { index: name, id, routing, whole }) in places.enumerate() {
        if position > 0 {
            body.push(b',');
        }
        if alone {
            write_string(&mut body, id);
            continue;
        }
        body.extend_from_slice(b"{\"_id\":");
        write_string(&mut body, id);
        if name != index {
            body.extend_from_slice(b",\"_index\":");
            write_string(&mut body, name);
        }
        if let Some(routing) = routing {
            body.extend_from_slice(b",\"routing\":");
            write_string(&mut body, routing);
        }
        body.extend_from_slice(if whole { b",\"_source\":true}" } else { b"}" });
    }
    body.extend_from_slice(b"]}");
    body
}

/// What an answer says of each place, beside the documents as far as they were asked for; `None` when it is none, or of another
/// length.
pub(crate) fn read_whole(body: &[u8], expected: usize) -> Option<Vec<(Stored, Option<Vec<u8>>)>> {
    let whole = |stored, source: Option<Box<RawValue>>| (stored, source.map(|source| source.get().as_bytes().to_vec()));
    documents(body, expected, whole)
}

/// What the `_mget` found, by position; `None` when the body does not answer for `expected` ids.
pub(crate) fn read(body: &[u8], expected: usize) -> Option<Vec<Stored>> {
    documents(body, expected, |stored, _| stored)
}

fn documents<D>(body: &[u8], expected: usize, of: impl Fn(Stored, Option<Box<RawValue>>) -> D) -> Option<Vec<D>> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let read = |mut doc: Doc| {
        let source = doc.source.take();
        let mark = source.as_ref().and_then(|source| mark(source));
        of(stored(doc, mark), source)
    };
    (answer.docs.len() == expected).then(|| answer.docs.into_iter().map(read).collect())
}

/// A mark of another form than ours is as good as none: the live change takes the document over.
fn mark(source: &RawValue) -> Option<Mark> {
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(rename = "_tidelock", borrow)]
        mark: Option<&'a RawValue>,
    }
    let source: Source<'_> = serde_json::from_str(source.get()).ok()?;
    serde_json::from_str(source.mark?.get()).ok()
}

fn stored(doc: Doc, mark: Option<Mark>) -> Stored {
    if let Some(error) = doc.error {
        if error.kind == "index_not_found_exception" {
            return Stored::Nothing;
        }
        return Stored::Unknown(error.kind, error.reason);
    }
    match (doc.found, doc.seq_no, doc.primary_term) {
        (false, ..) => Stored::Nothing,
        (true, Some(seq_no), Some(primary_term)) => {
            Stored::Document(Seen { seq_no, primary_term, version: doc.version }, mark)
        }
        (true, ..) => Stored::Unknown("unexpected_answer".to_owned(), "a document without _seq_no".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_no_more_than_is_needed() {
        let asked = |places: &[(&'static str, &'static str)]| {
            let places = places.iter().map(|(index, id)| Asked::new(index, id));
            String::from_utf8(request("i", places)).expect("UTF-8")
        };
        assert_eq!(asked(&[("i", "a\"b"), ("i", "c")]), r#"{"ids":["a\"b","c"]}"#);
        assert_eq!(asked(&[("i", "a"), ("f", "b")]), r#"{"docs":[{"_id":"a"},{"_id":"b","_index":"f"}]}"#);
        let routed = Asked { routing: Some("r"), whole: true, ..Asked::new("i", "a") };
        let body = String::from_utf8(request("i", [routed].into_iter())).expect("UTF-8");
        assert_eq!(body, r#"{"docs":[{"_id":"a","routing":"r","_source":true}]}"#);
    }

    #[test]
    fn reads_what_is_stored() {
        let body = br#"{"docs":[
            {"_id":"1","_version":5,"_seq_no":2,"_primary_term":1,"found":true,"_source":{"_tidelock":{"space":"s","label":"l","exact":"9","at":3}}},
            {"_id":"2","_seq_no":3,"_primary_term":1,"found":true,"_source":{}},
            {"_id":"3","_seq_no":4,"_primary_term":1,"found":true,"_source":{"_tidelock":"damaged"}},
            {"_id":"4","found":false},
            {"_id":"5","error":{"type":"no_shard_available_action_exception","reason":"x"}},
            {"_id":"6","error":{"type":"index_not_found_exception","reason":"no such index"}}]}"#;
        let stored = read(body, 6).expect("an answer");
        let mark =
            Mark { space: "s".into(), label: "l".into(), exact: "9".into(), token: String::new(), at: 3, part: false };
        assert_eq!(stored[0], Stored::Document(Seen { seq_no: 2, primary_term: 1, version: 5 }, Some(mark)));
        assert_eq!(stored[1], Stored::Document(Seen { seq_no: 3, primary_term: 1, version: 0 }, None));
        assert_eq!(stored[2], Stored::Document(Seen { seq_no: 4, primary_term: 1, version: 0 }, None));
        assert_eq!(stored[3], Stored::Nothing);
        assert!(matches!(&stored[4], Stored::Unknown(kind, _) if kind.starts_with("no_shard")));
        assert_eq!(stored[5], Stored::Nothing);
        assert_eq!(read(body, 4), None);
        assert_eq!(read(b"<html>", 1), None);
    }
}
