//! A collection of a test's own on a server that speaks MongoDB's protocol.

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection};

/// A database with a collection `c`; it is dropped by [`Database::drop`].
pub(crate) struct Database {
    /// A connection string with the database in its path: what a target is given.
    pub(crate) uri: String,
    pub(crate) name: String,
    database: mongodb::Database,
}

impl Database {
    pub(crate) async fn create(uri: &str, purpose: &str) -> Self {
        let name = super::unique(purpose).replace('-', "_");
        let database = Client::with_uri_str(uri).await.unwrap().database(&name);
        database.drop().await.unwrap();
        let (address, options) = uri.split_once("/?").unwrap_or((uri.trim_end_matches('/'), ""));
        Self { uri: format!("{address}/{name}?{options}"), name, database }
    }

    pub(crate) fn collection(&self) -> Collection<Document> {
        self.database.collection("c")
    }

    /// All documents without `_tidelock`, by the text of their `_id`.
    pub(crate) async fn documents(&self) -> Vec<Document> {
        let collection: Collection<RawDocumentBuf> = self.database.collection("c");
        let mut cursor = collection.find(doc! {}).await.unwrap();
        let mut found: Vec<Document> = Vec::new();
        while cursor.advance().await.unwrap() {
            let mut document = Document::try_from(cursor.current()).unwrap();
            assert!(matches!(document.remove("_tidelock"), Some(Bson::Document(_))), "{document}");
            found.push(document);
        }
        found.sort_by_key(|document| document["_id"].to_string());
        found
    }

    pub(crate) async fn drop(self) {
        self.database.drop().await.unwrap();
    }
}
