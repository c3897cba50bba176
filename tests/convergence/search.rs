//! OpenSearch as the stage of a script.

use super::faults::{Deed, Faults, Kept};
use super::history::Documents;
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, Seen, error};
use hyper::StatusCode;
use opensearch::http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The index of fences as functions know it. On the way to the server its name becomes that of an index of the script's own:
/// what one script does to fences must not reach another.
const FENCES: &str = "tidelock-fences";

/// How an action that writes a document begins; that on a fence names its index first.
const WRITE: &str = "{\"index\":{\"_id\":";

/// An index, its fences, and a proxy in front of the server.
pub(crate) struct Search {
    proxy: Proxy,
    pub(crate) index: Index,
    pub(crate) fences: Index,
}

impl Search {
    pub(crate) async fn new(url: &str, faults: Faults) -> Self {
        let index = Index::new(url, "converge");
        let fences = Index::named(url, format!("{}-fences", index.name()));
        let rename = (FENCES, fences.name().to_owned());
        let proxy =
            Proxy::renaming(url, rename, move |seen| if seen.bulk > 0 { fault(seen, &faults) } else { Fault::None });
        let proxy = proxy.await;
        let mark = json!({"_tidelock": {"type": "object", "enabled": false}});
        // Deletes are forgotten soon, so that a script need not wait a minute for it.
        let settings = json!({"index.gc_deletes": "1s"});
        index.create(json!({"settings": settings, "mappings": {"properties": mark}})).await;
        Self { proxy, index, fences }
    }

    /// Indices beside the script's own, by what their names end in.
    pub(crate) async fn places(&self, suffixes: &[&'static str]) -> BTreeMap<&'static str, Index> {
        let mut places = BTreeMap::new();
        for &suffix in suffixes {
            let index = self.index.beside(suffix);
            // As the function would create it, but deletes are forgotten soon.
            index.create(json!({"settings": {"index.gc_deletes": "1s"}})).await;
            places.insert(suffix, index);
        }
        places
    }

    /// What a function's `TIDELOCK_TARGET` must be.
    pub(crate) fn target(&self) -> String {
        crate::support::function::target(&self.proxy.url)
    }

    pub(crate) async fn documents(&self) -> Documents {
        documents(&self.index).await
    }

    /// Sends what was kept, its deletes left out.
    pub(crate) async fn send(&self, seen: &Seen) {
        let writes: String = writes(seen).map(|(_, text)| text).collect();
        if !writes.is_empty() {
            self.index.request(Method::Post, "/_bulk", &writes).await;
        }
    }

    /// Ids of the fences.
    pub(crate) async fn fences(&self) -> BTreeSet<String> {
        if !self.fences.exists().await {
            return BTreeSet::new();
        }
        let found = self.fences.documents().await;
        found.into_iter().filter(|(_, fence)| fence.mark.is_some()).map(|(id, _)| id).collect()
    }

    /// Moves the time that fences were written at.
    pub(crate) async fn move_fences(&self, by_ms: i64) {
        if self.fences().await.is_empty() {
            return;
        }
        let script = json!({"source": "ctx._source.written += params.by", "params": {"by": by_ms}});
        let body = json!({"query": {"exists": {"field": "written"}}, "script": script});
        let moved = self.fences.request(Method::Post, "/_update_by_query?refresh=true", &body.to_string()).await;
        assert!(moved["updated"].as_u64().unwrap() > 0 && moved["failures"] == json!([]), "{moved}");
    }

    pub(crate) async fn drop_fences(&self) {
        self.fences.request(Method::Delete, "", "").await;
    }

    /// Stores a document as another writer would.
    pub(crate) async fn plant(&self, id: &str, version: Option<i64>, document: Value) {
        self.index.put(id, version, document).await;
    }
}

/// An index's documents.
pub(crate) async fn documents(index: &Index) -> Documents {
    index.documents().await.into_iter().map(|(id, found)| (id, found.fields)).collect()
}

/// A bulk request's actions that write documents: id and lines.
pub(crate) fn writes(seen: &Seen) -> impl Iterator<Item = (String, String)> {
    seen.actions().into_iter().filter(|(_, text)| text.starts_with(WRITE))
}

/// What happens to a bulk request.
fn fault(seen: &Seen, faults: &Faults) -> Fault {
    let actions = seen.actions();
    let documents = actions.iter().any(|(_, text)| text.starts_with(WRITE));
    match faults.decide(documents, || Kept::Bulk(seen.clone())) {
        Deed::Pass => Fault::None,
        Deed::Refuse if seen.bulk.is_multiple_of(2) => {
            error(StatusCode::TOO_MANY_REQUESTS, "circuit_breaking_exception", "data too large")
        }
        // Some of its actions alone.
        Deed::Refuse => {
            let refused = actions.into_iter().step_by(2).map(|(id, _)| id).collect();
            Fault::Refuse(refused, 429, json!({"type": "es_rejected_execution_exception", "reason": "queue is full"}))
        }
        Deed::CutBefore | Deed::Keep => Fault::CutBefore,
        Deed::CutAfter => Fault::CutAfter,
        Deed::Stop { applied, time } => Fault::Stop { applied, reached: faults.reached.clone(), time },
    }
}
