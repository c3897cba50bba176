//! Real servers, where there are any.

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection, IndexModel};
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

/// A setting of the test run.
#[expect(clippy::disallowed_methods, reason = "tests read their own settings")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The setting; without it the test is skipped, loudly, or fails where services are required.
pub(crate) fn service(name: &str) -> Option<String> {
    let value = setting(name);
    if value.is_none() {
        assert_ne!(setting("TIDELOCK_REQUIRE_SERVICES").as_deref(), Some("1"), "{name} is not set");
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        // Not `eprintln!`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "SKIPPED in part: {test}: {name} is not set");
    }
    value
}

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) uri: String,
    /// How many operations make a large batch: SecantusDB takes the longer for each, the larger the collection.
    pub(crate) large_batch: usize,
}

/// The servers without login.
pub(crate) fn servers() -> Vec<Server> {
    [("FerretDB", "TIDELOCK_TEST_FERRETDB", 5_000), ("SecantusDB", "TIDELOCK_TEST_SECANTUSDB", 1_000)]
        .into_iter()
        .filter_map(|(name, setting, large_batch)| service(setting).map(|uri| Server { name, uri, large_batch }))
        .collect()
}

/// A connection string with another database in its path.
pub(crate) fn with_database(uri: &str, database: &str) -> String {
    let (address, options) = uri.split_once("/?").unwrap_or((uri.trim_end_matches('/'), ""));
    format!("{address}/{database}?{options}")
}

impl Server {
    /// A database of the test's own.
    pub(crate) async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidelock_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let client = Client::with_uri_str(&self.uri).await.expect("a client");
        let database = Database { uri: with_database(&self.uri, &name), database: client.database(&name) };
        database.database.drop().await.expect("a server that answers");
        database
    }
}

pub(crate) struct Database {
    pub(crate) uri: String,
    pub(crate) database: mongodb::Database,
}

impl Database {
    pub(crate) fn collection(&self) -> Collection<Document> {
        self.database.collection("c")
    }

    pub(crate) async fn create(&self, indexes: &[IndexModel]) {
        self.database.create_collection("c").await.expect("a collection");
        self.collection().create_indexes(indexes.iter().cloned()).await.expect("indexes");
    }

    pub(crate) async fn find(&self, filter: Document) -> Vec<RawDocumentBuf> {
        let collection: Collection<RawDocumentBuf> = self.database.collection("c");
        let mut cursor = collection.find(filter).sort(doc! {"_id": 1}).await.expect("documents");
        let mut documents = Vec::new();
        while cursor.advance().await.expect("documents") {
            documents.push(cursor.current().to_owned());
        }
        documents
    }

    pub(crate) async fn only(&self) -> Document {
        let documents = self.find(doc! {}).await;
        assert_eq!(documents.len(), 1);
        Document::try_from(&documents[0]).expect("a document")
    }

    /// `id=value` of every document, by id.
    pub(crate) async fn values(&self) -> Vec<String> {
        let text = |document: &RawDocumentBuf, name: &str| document.get_str(name).unwrap_or_default().to_owned();
        self.find(doc! {})
            .await
            .iter()
            .map(|document| format!("{}={}", text(document, "_id"), text(document, "value")))
            .collect()
    }

    pub(crate) async fn drop(self) {
        self.database.drop().await.expect("dropped");
    }
}
