//! Collection and index looked at directly, and the server that is stopped and started.

use crate::stack::{COLLECTION, DATABASE, INDEX};
use crate::{Arguments, Failure, client};
use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::process::Command;

/// Documents by id.
pub(crate) type Documents = BTreeMap<String, Value>;

/// The documents of the collection.
///
/// # Errors
/// When they cannot be read.
pub(crate) async fn collection(arguments: &Arguments) -> Result<Documents, Failure> {
    let client = mongodb::Client::with_uri_str(&arguments.cluster).await?;
    let collection = client.database(DATABASE).collection::<Document>(COLLECTION);
    let all: Vec<Document> = collection.find(doc! {}).await?.try_collect().await?;
    let apart = |mut document: Document| {
        let id = match document.remove("_id") {
            Some(Bson::ObjectId(id)) => id.to_hex(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        (id, Bson::Document(document).into_relaxed_extjson())
    };
    Ok(all.into_iter().map(apart).collect())
}

/// The documents of the index, without the field that Tidelock adds.
///
/// # Errors
/// When they cannot be read.
pub(crate) async fn index(arguments: &Arguments) -> Result<Documents, Failure> {
    client::send(&arguments.opensearch, "POST", &format!("/{INDEX}/_refresh"), "").await?;
    let path = format!("/{INDEX}/_search?size=1000&_source_excludes=_tidelock");
    let found = client::send(&arguments.opensearch, "GET", &path, "").await?;
    let hits = found.body["hits"]["hits"].as_array().ok_or_else(|| format!("GET {path}: {}", found.body))?;
    Ok(hits.iter().map(|hit| (hit["_id"].as_str().unwrap_or_default().to_owned(), hit["_source"].clone())).collect())
}

/// Stops or starts (`stop`, `up`) OpenSearch by its script.
///
/// # Errors
/// When the script fails.
pub(crate) async fn open_search(arguments: &Arguments, command: &str) -> Result<(), Failure> {
    let port = arguments.opensearch.rsplit(':').next().unwrap_or_default();
    let output = Command::new(&arguments.opensearch_script).args([command, port]).output().await?;
    if output.status.success() {
        return Ok(());
    }
    let script = arguments.opensearch_script.display();
    Err(format!("{script} {command} {port}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
