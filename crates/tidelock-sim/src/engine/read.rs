//! `_mget`: documents by id, as they are now.

use super::Damage;
use super::index::PRIMARY_TERM;
use super::reply::{Problem, answer};
use super::source::SourceFilter;
use super::store::Store;
use crate::path::Parameters;
use serde_json::{Value, json};
use tidelock_opensearch::Response;

impl Store {
    pub(super) fn multi_get(
        &mut self,
        index: Option<&str>,
        parameters: &Parameters,
        body: &[u8],
        damage: Damage,
    ) -> Response {
        let wanted = match wanted(index, body) {
            Ok(wanted) => wanted,
            Err(problem) => return problem.whole(),
        };
        let filter = SourceFilter::of_parameters(parameters);
        let everything = SourceFilter::default();
        let realtime = parameters.get("realtime").is_none_or(|given| given != "false");
        let mut docs: Vec<Value> = wanted
            .iter()
            .map(|(index, id, whole)| self.get(index, id, if *whole { &everything } else { &filter }, realtime))
            .collect();
        if damage == Damage::Garble {
            docs.remove(self.rng.usize(..docs.len()));
        }
        answer(200, &json!({"docs": docs}))
    }

    fn get(&mut self, name: &str, id: &str, filter: &SourceFilter, realtime: bool) -> Value {
        let Some(index) = self.index(name) else {
            return json!({"_index": name, "_id": id, "error": Problem::no_index(name).item(name)});
        };
        let documents = if realtime { index.live() } else { index.visible() };
        let Some(document) = documents.get(id) else {
            return json!({"_index": name, "_id": id, "found": false});
        };
        let mut found = json!({
            "_index": name, "_id": id, "_version": document.version,
            "_seq_no": document.seq_no, "_primary_term": PRIMARY_TERM, "found": true,
        });
        if let Some(routing) = &document.routing {
            found["_routing"] = Value::from(routing.clone());
        }
        if let Some(source) = filter.apply(&document.source) {
            found["_source"] = source;
        }
        found
    }
}

/// Index and id of each document that is asked for, and whether all of it is, whatever the path says.
fn wanted(index: Option<&str>, body: &[u8]) -> Result<Vec<(String, String, bool)>, Problem> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::new(400, "parsing_exception", format!("no list of documents: {error}")))?;
    let missing = |what: &str, position: usize| Problem::validation(&format!("{what} is missing for doc {position}"));
    let mut wanted = Vec::new();
    let ids = body.get("ids").and_then(Value::as_array).into_iter().flatten().map(|id| (None, id.as_str(), false));
    let docs = body.get("docs").and_then(Value::as_array).into_iter().flatten();
    let docs = docs.map(|doc| {
        let text = |name: &str| doc.get(name).and_then(Value::as_str);
        (text("_index"), text("_id"), doc.get("_source") == Some(&Value::Bool(true)))
    });
    for (position, (own, id, whole)) in ids.chain(docs).enumerate() {
        let index = own.or(index).ok_or_else(|| missing("index", position))?;
        let id = id.ok_or_else(|| missing("id", position))?;
        wanted.push((index.to_owned(), id.to_owned(), whole));
    }
    if wanted.is_empty() {
        return Err(Problem::validation("no documents to get"));
    }
    Ok(wanted)
}
