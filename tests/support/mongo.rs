//! Servers that speak MongoDB's protocol.

use mongodb::Collection;
use mongodb::bson::{Document, doc};

/// The address of a database of the server at `uri`; of the server alone where the name is empty.
pub(crate) fn address(uri: &str, database: &str) -> String {
    let (base, options) = uri.split_once('?').unwrap_or((uri, ""));
    format!("{}/{database}?{options}", base.trim_end_matches('/'))
}

/// The documents of a collection without their marks, in the order of a field.
pub(crate) async fn documents(collection: &Collection<Document>, order: &str) -> Vec<Document> {
    let mut found: Vec<Document> = Vec::new();
    let mut cursor = collection.find(doc! {}).sort(doc! {order: 1}).await.unwrap();
    while cursor.advance().await.unwrap() {
        let mut document = cursor.deserialize_current().unwrap();
        document.remove("_tidelock").expect("a mark");
        found.push(document);
    }
    found
}

/// Whether two documents have the same fields, in whatever order.
pub(crate) fn same(found: &Document, expected: &Document) -> bool {
    found.len() == expected.len() && expected.iter().all(|(name, value)| found.get(name) == Some(value))
}
