//! An index of a test's own, read and prepared through the official client.

use super::exact::Exact;
use super::unique;
use opensearch::http::Method;
use opensearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use opensearch::http::transport::Transport;
use opensearch::indices::{
    IndicesCreateParts, IndicesGetMappingParts, IndicesPutMappingParts, IndicesPutSettingsParts, IndicesRefreshParts,
};
use opensearch::params::VersionType;
use opensearch::{GetParts, IndexParts, OpenSearch, SearchParts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

/// An index; it is deleted with this value.
pub(crate) struct Index {
    client: OpenSearch,
    url: String,
    name: String,
}

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// Its fields without `_tidelock`.
    pub(crate) fields: Exact,
    /// Its `_tidelock`.
    pub(crate) mark: Option<Exact>,
    /// OpenSearch's own number of the document's incarnation.
    pub(crate) version: Exact,
}

impl Document {
    fn read(mut found: Exact) -> Self {
        let mut fields = found.take("_source").unwrap();
        let mark = fields.take("_tidelock");
        Self { fields, mark, version: found.take("_version").unwrap() }
    }

    /// Asserts that `_tidelock` has exactly this form, and returns its number without leading zeros.
    pub(crate) fn exact(&self) -> String {
        let mark = self.mark.clone().unwrap_or_else(|| panic!("no _tidelock in {self:?}"));
        let Exact::Map(members) = mark else { panic!("{mark:?}") };
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        // Of a document that was salvaged it says that it is a part.
        // A token tells changes of one cluster time apart.
        let others: Vec<&str> = names.into_iter().filter(|name| !["part", "token"].contains(name)).collect();
        assert_eq!(others, ["at", "exact", "label", "space"]);
        let Exact::Text(exact) = &members["exact"] else { panic!("{members:?}") };
        let Exact::Text(space) = &members["space"] else { panic!("{members:?}") };
        assert_eq!(exact.len(), if space.starts_with("mongodb:") { 20 } else { 40 }, "{exact}");
        exact.trim_start_matches('0').to_owned()
    }
}

impl Index {
    /// A name; whoever writes first creates the index.
    pub(crate) fn new(url: &str, purpose: &str) -> Self {
        Self::named(url, unique(purpose))
    }

    pub(crate) fn named(url: &str, name: String) -> Self {
        let client = OpenSearch::new(Transport::single_node(url).unwrap());
        Self { client, url: url.to_owned(), name }
    }

    /// An index with the mapping that a function would make: what a test with a short timeout begins with.
    pub(crate) async fn prepared(url: &str, purpose: &str) -> Self {
        let index = Self::new(url, purpose);
        index.prepare().await;
        index
    }

    /// Creates the index with the mapping that a function would make.
    pub(crate) async fn prepare(&self) {
        let mark = json!({"_tidelock": {"type": "object", "enabled": false}});
        self.create(json!({"mappings": {"properties": mark}})).await;
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Changes the mapping of an index that is there.
    pub(crate) async fn update_mapping(&self, mapping: Value) {
        let parts = IndicesPutMappingParts::Index(&[&self.name]);
        checked(self.client.indices().put_mapping(parts).body(mapping).send().await).await;
    }

    /// Creates the index with these settings and mappings.
    /// An index beside this one.
    pub(crate) fn beside(&self, suffix: &str) -> Self {
        Self::named(&self.url, format!("{}-{suffix}", self.name))
    }

    pub(crate) async fn create(&self, body: Value) {
        let created = self.client.indices().create(IndicesCreateParts::Index(&self.name)).body(body).send().await;
        checked(created).await;
    }

    pub(crate) async fn set(&self, settings: Value) {
        let (indices, names) = (self.client.indices(), [self.name.as_str()]);
        checked(indices.put_settings(IndicesPutSettingsParts::Index(&names)).body(settings).send().await).await;
    }

    /// Sends what no other method does; `path` is what follows the index's name.
    pub(crate) async fn request(&self, method: Method, path: &str, body: &str) -> Value {
        let path = format!("/{}{path}", self.name);
        let body = (!body.is_empty()).then(|| body.to_owned());
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let sent = self.client.send(method, &path, json, None::<&()>, body, None).await;
        serde_json::from_str(&checked(sent).await).unwrap()
    }

    /// The mappings.
    pub(crate) async fn mapping(&self) -> Value {
        let found = self.client.indices().get_mapping(IndicesGetMappingParts::Index(&[&self.name])).send().await;
        let body: Value = serde_json::from_str(&checked(found).await).unwrap();
        body[&self.name]["mappings"].clone()
    }

    /// Whether the index exists.
    pub(crate) async fn exists(&self) -> bool {
        let found = self.client.indices().get_mapping(IndicesGetMappingParts::Index(&[&self.name])).send().await;
        found.unwrap().status_code() == 200
    }

    /// Stores a document as another writer would; with a version, as one that chooses its own.
    pub(crate) async fn put(&self, id: &str, version: Option<i64>, document: Value) {
        let mut request = self.client.index(IndexParts::IndexId(&self.name, id)).body(document);
        if let Some(version) = version {
            request = request.version(version).version_type(VersionType::External);
        }
        checked(request.send().await).await;
    }

    /// The document of this id; unrefreshed writes are seen.
    pub(crate) async fn get(&self, id: &str) -> Option<Document> {
        let found = self.client.get(GetParts::IndexId(&self.name, id)).send().await.unwrap();
        let status = found.status_code();
        let body = found.text().await.unwrap();
        assert!(status == 200 || status == 404, "{status}: {body}");
        (status == 200).then(|| Document::read(Exact::parse(&body)))
    }

    /// All documents by id.
    pub(crate) async fn documents(&self) -> BTreeMap<String, Document> {
        checked(self.client.indices().refresh(IndicesRefreshParts::Index(&[&self.name])).send().await).await;
        let names = [self.name.as_str()];
        let search = self.client.search(SearchParts::Index(&names)).version(true).size(10_000).body(json!({}));
        let body = Exact::parse(&checked(search.send().await).await);
        let Some(Exact::List(hits)) = body.get("hits").and_then(|hits| hits.get("hits")) else { panic!("{body:?}") };
        let read = |hit: &Exact| {
            let Some(Exact::Text(id)) = hit.get("_id") else { panic!("{hit:?}") };
            (id.clone(), Document::read(hit.clone()))
        };
        hits.iter().map(read).collect()
    }

    /// All documents by id, without `_tidelock`, which each of them must have.
    pub(crate) async fn fields(&self) -> BTreeMap<String, Exact> {
        let documents = self.documents().await.into_iter();
        documents.inspect(|(_, found)| drop(found.exact())).map(|(id, found)| (id, found.fields)).collect()
    }

    /// How many documents a query finds.
    pub(crate) async fn count(&self, query: Value) -> usize {
        let names = [self.name.as_str()];
        let search = self.client.search(SearchParts::Index(&names)).body(json!({ "query": query }));
        let body: Value = serde_json::from_str(&checked(search.send().await).await).unwrap();
        body["hits"]["hits"].as_array().unwrap().len()
    }
}

/// Expected documents, by id.
pub(crate) fn expected<const N: usize>(documents: [(&str, Value); N]) -> BTreeMap<String, Exact> {
    documents.into_iter().map(|(id, document)| (id.to_owned(), Exact::from(document))).collect()
}

async fn checked(response: Result<opensearch::http::response::Response, opensearch::Error>) -> String {
    let response = response.unwrap();
    let status = response.status_code();
    let body = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {body}");
    body
}

impl Drop for Index {
    /// By hand, because a destructor cannot wait for the client.
    fn drop(&mut self) {
        let authority = self.url.trim_start_matches("http://");
        let Ok(mut stream) = std::net::TcpStream::connect(authority) else { return };
        let name: String = self.name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = format!(
            "DELETE /{name}?ignore_unavailable=true HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
        );
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut Vec::new()));
    }
}
