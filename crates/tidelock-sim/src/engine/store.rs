//! What the engine holds, and the way of each request to what it asks for.

use super::index::{Guard, Index, PRIMARY_TERM, Write};
use super::mapping::Mapping;
use super::reply::{Problem, answer};
use super::trace::{FNV, Trace, fnv};
use super::{Damage, EngineConfig, Trip};
use crate::chaos::{RequestKind, Strike};
use crate::path::Route;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tidelock_opensearch::{Request, Response};
use tokio::time::Instant;

pub(crate) struct Store {
    pub(super) start: Instant,
    pub(super) rng: fastrand::Rng,
    pub(super) trace: Trace,
    config: EngineConfig,
    indices: BTreeMap<String, Index>,
    ids: u64,
    /// Documents with `"poison": true` are refused until this is set.
    pub(super) takes_poison: bool,
    /// How the names of indices begin that have always taken them.
    pub(super) tolerant: Option<String>,
    /// Until when writes to an index are blocked.
    pub(super) blocks: BTreeMap<String, Instant>,
}

impl Store {
    pub(super) fn new(config: EngineConfig, start: Instant) -> Self {
        Self {
            start,
            rng: fastrand::Rng::with_seed(config.seed),
            trace: Trace::new(config.keep_trace),
            config,
            indices: BTreeMap::new(),
            ids: 0,
            takes_poison: false,
            tolerant: None,
            blocks: BTreeMap::new(),
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.indices.keys().cloned().collect()
    }

    pub(super) fn index(&mut self, name: &str) -> Option<&mut Index> {
        self.indices.get_mut(name)
    }

    /// Creates an index unless it is there.
    pub(super) fn make_index(&mut self, name: &str) -> Result<(), Problem> {
        if !self.indices.contains_key(name) {
            check_name(name)?;
            self.indices.insert(name.to_owned(), Index::default());
        }
        Ok(())
    }

    /// Until when a delete that is made now is remembered.
    pub(super) fn remembered(&mut self, now: Instant) -> Instant {
        let longer = u64::try_from(self.config.prune_jitter.as_millis()).unwrap_or(u64::MAX);
        now + self.config.gc_deletes + Duration::from_millis(self.rng.u64(..=longer))
    }

    /// An id for a document that brings none.
    pub(super) fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("id-{}", self.ids)
    }

    pub(super) fn depart(&mut self, now: Instant, kind: RequestKind, strike: Strike) -> Trip {
        if strike != Strike::None {
            self.trace.note(now.saturating_duration_since(self.start), format_args!("{kind:?} {strike:?}"));
        }
        Trip {
            there: Duration::from_millis(self.rng.u64(1..=10)),
            back: Duration::from_millis(self.rng.u64(0..=10)),
            survives: self.rng.bool(),
        }
    }

    /// A request has ended with its connection.
    pub(super) fn lost(&mut self, now: Instant, kind: RequestKind) {
        self.trace.note(now.saturating_duration_since(self.start), format_args!("{kind:?} lost"));
    }

    /// Applies a request that arrives at `now`.
    pub(super) fn answer(&mut self, now: Instant, request: &Request, damage: Damage) -> Response {
        let (kind, body) = (RequestKind::of(request), request.body.as_ref());
        let mut answer = match Route::of(request.method, &request.path) {
            Route::Bulk(index, parameters) => self.bulk(now, index.as_deref(), &parameters, body, damage),
            Route::MultiGet(index, parameters) => self.multi_get(index.as_deref(), &parameters, body, damage),
            Route::Search(index, parameters) => self.search(&index, &parameters, body),
            Route::GetMapping(index) => self.get_mapping(&index),
            Route::PutMapping(index) => self.put_mapping(&index, body),
            Route::CreateIndex(index) => self.create(&index, body),
            Route::GetIndex(index) => self.get_index(&index),
            Route::Refresh(index) => self.refresh_index(&index),
            Route::GetDocument(index, id) => self.get_document(&index, &id),
            Route::PutDocument(index, id) => self.put_document(now, &index, &id, body),
            Route::Unknown => Problem::unknown(&format!("{} {}", request.method, request.path)).whole(),
        };
        if damage == Damage::Garble && !matches!(kind, RequestKind::Bulk | RequestKind::MultiGet) {
            answer.body.truncate(answer.body.len() / 2);
        }
        let hash = fnv(FNV, &answer.body);
        let since = now.saturating_duration_since(self.start);
        self.trace.note(since, format_args!("{kind:?} {}: {} {hash:016x}", request.path, answer.status));
        answer
    }

    fn get_mapping(&mut self, name: &str) -> Response {
        let Some(index) = self.index(name) else { return Problem::no_index(name).whole() };
        answer(200, &named(name, json!({"mappings": index.mapping.as_json()})))
    }

    fn get_index(&mut self, name: &str) -> Response {
        let Some(index) = self.index(name) else { return Problem::no_index(name).whole() };
        answer(200, &named(name, json!({"aliases": {}, "mappings": index.mapping.as_json()})))
    }

    fn put_mapping(&mut self, name: &str, body: &[u8]) -> Response {
        let Some(index) = self.index(name) else { return Problem::no_index(name).whole() };
        match object(body).and_then(|body| index.mapping.put(&body)) {
            Ok(()) => answer(200, &json!({"acknowledged": true})),
            Err(problem) => problem.whole(),
        }
    }

    fn create(&mut self, name: &str, body: &[u8]) -> Response {
        if self.indices.contains_key(name) {
            let reason = format!("index [{name}] already exists");
            return Problem::new(400, "resource_already_exists_exception", reason).whole();
        }
        let mapping = || -> Result<Mapping, Problem> {
            check_name(name)?;
            let body = if body.is_empty() { Map::new() } else { object(body)? };
            let mut mapping = Mapping::default();
            if let Some(Value::Object(given)) = body.get("mappings") {
                mapping.put(given)?;
            }
            Ok(mapping)
        };
        match mapping() {
            Ok(mapping) => {
                self.indices.insert(name.to_owned(), Index::new(mapping));
                answer(200, &json!({"acknowledged": true, "shards_acknowledged": true, "index": name}))
            }
            Err(problem) => problem.whole(),
        }
    }

    fn refresh_index(&mut self, name: &str) -> Response {
        let Some(index) = self.index(name) else { return Problem::no_index(name).whole() };
        index.refresh();
        answer(200, &json!({"_shards": {"total": 2, "successful": 1, "failed": 0}}))
    }

    fn get_document(&mut self, name: &str, id: &str) -> Response {
        let Some(index) = self.index(name) else { return Problem::no_index(name).whole() };
        match index.live().get(id) {
            None => answer(404, &json!({"_index": name, "_id": id, "found": false})),
            Some(document) => answer(
                200,
                &json!({
                    "_index": name, "_id": id, "_version": document.version, "_seq_no": document.seq_no,
                    "_primary_term": PRIMARY_TERM, "found": true, "_source": *document.source,
                }),
            ),
        }
    }

    fn put_document(&mut self, now: Instant, name: &str, id: &str, body: &[u8]) -> Response {
        let written = object(body).and_then(|source| {
            self.make_index(name)?;
            let index = self.index(name).ok_or_else(|| Problem::no_index(name))?;
            index.mapping.learn(&source)?;
            index.write(id, None, Write::Index(Rc::new(Value::Object(source))), Guard::None, now, now)
        });
        match written {
            Ok(written) => answer(
                written.status,
                &json!({"_index": name, "_id": id, "_version": written.version, "result": written.result}),
            ),
            Err(problem) => problem.whole(),
        }
    }

    /// Whether an index may be written to.
    pub(super) fn check_block(&self, name: &str, now: Instant) -> Result<(), Problem> {
        if self.blocks.get(name).is_none_or(|until| now > *until) {
            return Ok(());
        }
        let reason = format!("index [{name}] blocked by: [FORBIDDEN/8/index write (api)];");
        Err(Problem::new(403, "cluster_block_exception", reason))
    }

    /// Whether a document is one that the index takes.
    pub(super) fn check_poison(&self, index: &str, source: &Value) -> Result<(), Problem> {
        let takes = self.tolerant.as_ref().is_some_and(|prefix| index.starts_with(prefix));
        if self.takes_poison || takes || source.get("poison") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err(Problem::new(400, "mapper_parsing_exception", "failed to parse field [poison] of type [long]"))
    }

    pub(super) fn refresh(&mut self, now: Instant, name: &str) {
        if let Some(index) = self.index(name) {
            index.refresh();
            self.trace.note(now.saturating_duration_since(self.start), format_args!("refresh {name}"));
        }
    }

    pub(super) fn plant(&mut self, now: Instant, name: &str, id: &str, source: Value, version: i64) {
        let index = self.indices.entry(name.to_owned()).or_default();
        if let Value::Object(fields) = &source {
            // Whoever plants a document that the mapping forbids wants it there all the same.
            let _ = index.mapping.learn(fields);
        }
        let hash = fnv(FNV, source.to_string().as_bytes());
        index.plant(id, Rc::new(source), version);
        let since = now.saturating_duration_since(self.start);
        self.trace.note(since, format_args!("plant {name}/{id} {hash:016x} v{version}"));
    }

    pub(super) fn edit(&mut self, now: Instant, name: &str, id: &str, field: &str, value: Value) {
        let since = now.saturating_duration_since(self.start);
        let Some(index) = self.indices.get_mut(name) else { return };
        let Some(document) = index.live().get(id).cloned() else { return };
        let mut source = (*document.source).clone();
        source[field] = value;
        let learnt = source.as_object().map_or(Ok(()), |fields| index.mapping.learn(fields));
        let write = Write::Index(Rc::new(source));
        let written = learnt.and_then(|()| index.write(id, document.routing.as_deref(), write, Guard::None, now, now));
        let version = written.map_or(0, |written| written.version);
        self.trace.note(since, format_args!("edit {name}/{id} {field}: v{version}"));
    }

    pub(super) fn reindex(&mut self, now: Instant, from: &str, to: &str, keep_versions: bool) -> usize {
        let Some(source) = self.indices.get(from) else { return 0 };
        let documents: Vec<_> = source.live().iter().map(|(id, document)| (id.clone(), document.clone())).collect();
        let target = self.indices.entry(to.to_owned()).or_default();
        let mut written = 0;
        for (id, document) in documents {
            let guard = match keep_versions {
                true => Guard::External { version: document.version, or_equal: false },
                false => Guard::None,
            };
            let learnt = document.source.as_object().map_or(Ok(()), |fields| target.mapping.learn(fields));
            let write = Write::Index(document.source);
            if learnt.is_ok() && target.write(&id, document.routing.as_deref(), write, guard, now, now).is_ok() {
                written += 1;
            }
        }
        let since = now.saturating_duration_since(self.start);
        self.trace.note(since, format_args!("reindex {from} {to} {keep_versions}: {written}"));
        written
    }
}

fn named(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(400, "parse_exception", format!("Failed to parse content to map: {error}")))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let forbidden = |c: char| "\\/*?\"<>|,#: ".contains(c) || c.is_uppercase();
    if name.is_empty() || name.len() > 255 || name.starts_with(['_', '-', '+']) || name.contains(forbidden) {
        return Err(Problem::new(400, "invalid_index_name_exception", format!("Invalid index name [{name}]")));
    }
    Ok(())
}
