//! The real servers: how they are emptied, and what they hold.

use mongodb::bson::{Document, doc};
use mongodb::sync::{Client as Driver, Database};
use serde_json::{Value, json};

use super::Target;
use crate::function::Result;
use crate::http::Client;

/// Where the function's documents go, and its fences.
const DOCUMENTS: &str = "bench";
const FENCES: &str = "tidelock-fences";

/// Where they go when a client posts the same bodies in the same run, and where the client's go.
pub(super) const SUBJECT: &str = "bench-subject";
pub(super) const CEILING: &str = "bench-ceiling";

/// The indices that a run deletes and makes again.
const INDICES: [&str; 4] = [DOCUMENTS, FENCES, SUBJECT, CEILING];

/// `HOST:PORT` of a server's URL.
///
/// # Errors
/// A URL other than `http://HOST:PORT`.
pub(super) fn host(url: &str) -> Result<String> {
    let host =
        url.strip_prefix("http://").ok_or_else(|| format!("{url}: the URL of the server must begin with http://"))?;
    Ok(host.trim_end_matches('/').into())
}

/// An OpenSearch that the benchmark has for itself.
pub(crate) struct OpenSearch {
    host: String,
}

impl OpenSearch {
    /// # Errors
    /// A URL other than `http://HOST:PORT`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self { host: host(url)? })
    }

    /// `HOST:PORT`.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Name and version, such as `opensearch 3.8.0`.
    pub(crate) fn version(&self) -> Result<String> {
        let answer = self.ask("GET", "/", None)?;
        let text = |name: &str| answer["version"][name].as_str().unwrap_or_default().to_owned();
        Ok(format!("{} {}", text("distribution"), text("number")))
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut client = Client::connect(&self.host).map_err(|error| format!("http://{}: {error}", self.host))?;
        let answer = client.send(method, target, "application/json", body.as_bytes())?;
        let value = serde_json::from_slice(&answer.body)?;
        if answer.status >= 300 {
            return Err(format!("{method} {target}: {} {value}", answer.status).into());
        }
        Ok(value)
    }

    pub(super) fn delete_indices(&self) -> Result<()> {
        self.ask("DELETE", &format!("/{}?ignore_unavailable=true", INDICES.join(",")), None)?;
        Ok(())
    }

    /// Settings and mappings of the indices as the function has made them.
    pub(super) fn describe(&self) -> Result<Vec<(String, Value)>> {
        let found = self.ask("GET", &format!("/{}?ignore_unavailable=true", INDICES.join(",")), None)?;
        let mut indices = Vec::new();
        for (name, index) in found.as_object().into_iter().flatten() {
            let mut settings = index["settings"]["index"].clone();
            if let Some(settings) = settings.as_object_mut() {
                // Set by the server alone.
                for own in ["creation_date", "uuid", "version", "provided_name"] {
                    settings.remove(own);
                }
            }
            indices.push((name.clone(), json!({ "settings": { "index": settings }, "mappings": index["mappings"] })));
        }
        Ok(indices)
    }

    /// Removes all that earlier runs have left, and makes these indices: empty, and not refreshed.
    pub(super) fn fresh_for(&self, indices: &[&str]) -> Result<()> {
        self.delete_indices()?;
        let settings =
            json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" } });
        for index in indices {
            self.ask("PUT", &format!("/{index}"), Some(&settings))?;
        }
        Ok(())
    }

    /// Makes indices as they were described.
    pub(super) fn put(&self, described: &[(String, Value)]) -> Result<()> {
        for (name, index) in described {
            self.ask("PUT", &format!("/{name}"), Some(index))?;
        }
        Ok(())
    }

    /// Sets how long the versions of deleted documents are remembered.
    pub(super) fn remember_deletes_for(&self, time: &str) -> Result<()> {
        let settings = json!({ "index": { "gc_deletes": time } });
        self.ask("PUT", &format!("/{DOCUMENTS}/_settings"), Some(&settings))?;
        Ok(())
    }

    pub(super) fn count(&self, index: &str) -> Result<u64> {
        self.ask("POST", &format!("/{index}/_refresh?ignore_unavailable=true"), None)?;
        let answer = self.ask("GET", &format!("/{index}/_count?ignore_unavailable=true"), None)?;
        Ok(answer["count"].as_u64().ok_or_else(|| format!("{index} cannot be counted: {answer}"))?)
    }
}

impl Target for OpenSearch {
    fn setting(&self) -> String {
        format!("opensearch+http://{}", self.host)
    }

    /// An empty index for documents that is not refreshed; the function makes its other index itself.
    fn fresh(&self) -> Result<()> {
        self.fresh_for(&[DOCUMENTS])
    }

    fn documents(&self) -> Result<u64> {
        self.count(DOCUMENTS)
    }

    fn fences(&self) -> Result<u64> {
        self.count(FENCES)
    }
}

/// The database that a run drops.
const DATABASE: &str = "bench";

/// The collections in it: documents, and the function's fences.
const COLLECTIONS: [&str; 2] = ["bench", "tidelock_fences"];

/// A database of the benchmark's own on a server that speaks MongoDB's protocol.
pub(crate) struct MongoDb {
    uri: String,
    database: Database,
}

impl MongoDb {
    /// # Errors
    /// Text that is no connection string.
    pub(crate) fn new(uri: &str) -> Result<Self> {
        let uri = with_database(uri).ok_or("the connection string must begin with mongodb:// or mongodb+srv://")?;
        let database = Driver::with_uri_str(&uri)?.database(DATABASE);
        Ok(Self { uri, database })
    }

    /// Name and version, such as `FerretDB 2.7.0`.
    pub(crate) fn version(&self) -> Result<String> {
        let answer = self.database.run_command(doc! { "buildInfo": 1 }).run()?;
        let text = |document: &Document| document.get_str("version").map(str::to_owned).unwrap_or_default();
        Ok(match answer.get_document("ferretdb") {
            Ok(own) => format!("FerretDB {}", text(own).trim_start_matches('v')),
            Err(_) => format!("MongoDB {}", text(&answer)),
        })
    }

    /// Removes what the benchmark has left.
    pub(crate) fn drop_database(&self) -> Result<()> {
        Ok(self.database.drop().run()?)
    }

    fn count(&self, collection: &str) -> Result<u64> {
        Ok(self.database.collection::<Document>(collection).count_documents(doc! {}).run()?)
    }
}

impl Target for MongoDb {
    fn setting(&self) -> String {
        self.uri.clone()
    }

    /// No database; the function's first writes make it.
    fn fresh(&self) -> Result<()> {
        self.drop_database()
    }

    fn documents(&self) -> Result<u64> {
        self.count(COLLECTIONS[0])
    }

    fn fences(&self) -> Result<u64> {
        self.count(COLLECTIONS[1])
    }
}

/// The connection string with the benchmark's database in its path.
fn with_database(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://").filter(|(scheme, _)| scheme.starts_with("mongodb"))?;
    let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
    let hosts = address.split('/').next()?;
    let mark = if options.is_empty() { "" } else { "?" };
    Some(format!("{scheme}://{hosts}/{DATABASE}{mark}{options}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_gets_the_database_of_the_benchmark() {
        for (given, expected) in [
            ("mongodb://h:1/?directConnection=true", Some("mongodb://h:1/bench?directConnection=true")),
            ("mongodb://h:1", Some("mongodb://h:1/bench")),
            ("mongodb://u:p@h:1,g:2/orders?tls=true", Some("mongodb://u:p@h:1,g:2/bench?tls=true")),
            ("mongodb+srv://h/", Some("mongodb+srv://h/bench")),
            ("http://h:1", None),
            ("h:1", None),
        ] {
            assert_eq!(with_database(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn an_opensearch_is_named_by_a_plain_url() {
        let server = OpenSearch::new("http://127.0.0.1:9201/").expect("a URL");
        assert_eq!((server.host(), server.setting()), ("127.0.0.1:9201", "opensearch+http://127.0.0.1:9201".into()));
        assert!(OpenSearch::new("https://h:1").is_err());
    }
}
