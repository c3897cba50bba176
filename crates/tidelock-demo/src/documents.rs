//! Reading back what the target holds, without the field that Tidelock adds.

use crate::Failure;

/// An id and its document as JSON.
pub(crate) type Stored = (String, String);

/// A target to read from.
pub(crate) enum Store {
    #[cfg(feature = "sqlite")]
    Sqlite(String),
    #[cfg(feature = "opensearch")]
    OpenSearch(Box<open_search::Index>),
    #[cfg(feature = "mongodb")]
    MongoDb(mongodb::Collection<mongodb::bson::Document>),
}

const TABLE: &str = "mytable";

impl Store {
    pub(crate) async fn open(target: &str) -> Result<Self, Failure> {
        #[cfg(feature = "sqlite")]
        if let Some(path) = target.strip_prefix("sqlite:") {
            return Ok(Self::Sqlite(path.to_owned()));
        }
        #[cfg(feature = "opensearch")]
        if let Some(place) = target.strip_prefix("opensearch+http://") {
            return Ok(Self::OpenSearch(Box::new(open_search::Index::new(place)?)));
        }
        #[cfg(feature = "mongodb")]
        if target.starts_with("mongodb://") {
            let client = mongodb::Client::with_uri_str(target).await?;
            let database = client.default_database().ok_or("the URL names no database")?;
            return Ok(Self::MongoDb(database.collection(TABLE)));
        }
        Err(format!("this build of the demonstration has no target `{target}`").into())
    }

    pub(crate) fn place(&self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => "SQLite   ",
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(_) => "OpenSearch",
            #[cfg(feature = "mongodb")]
            Self::MongoDb(_) => "MongoDB  ",
        }
    }

    /// Removes what an earlier run has left.
    pub(crate) async fn clear(&self) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(index) => index.send("DELETE", "").await.map(drop),
            #[cfg(feature = "mongodb")]
            Self::MongoDb(collection) => Ok(collection.drop().await?),
        }
    }

    /// All documents by id.
    pub(crate) async fn documents(&self) -> Result<Vec<Stored>, Failure> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => {
                let rows = tidelock_sqlite::documents(path, TABLE).map_err(|failure| failure.to_string())?;
                Ok(rows.into_iter().map(|row| (row.id, row.document)).collect())
            }
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(index) => index.documents().await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(collection) => {
                use futures_util::TryStreamExt as _;
                let all: Vec<_> = collection
                    .find(mongodb::bson::doc! {})
                    .sort(mongodb::bson::doc! {"_id": 1})
                    .await?
                    .try_collect()
                    .await?;
                let strip = |mut document: mongodb::bson::Document| {
                    document.remove("_tidelock");
                    let id = document.remove("_id").unwrap_or(mongodb::bson::Bson::Null);
                    (id.to_string(), mongodb::bson::Bson::Document(document).into_relaxed_extjson().to_string())
                };
                Ok(all.into_iter().map(strip).collect())
            }
        }
    }
}

/// Whether both lists hold the same documents, whatever the order of members.
pub(crate) fn same(found: &[Stored], expected: &[Stored]) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(a, b)| a.0 == b.0 && parse(&a.1).is_some() && parse(&a.1) == parse(&b.1))
}

#[cfg(feature = "opensearch")]
mod open_search {
    use super::{Failure, Stored, TABLE};
    use std::time::{Duration, Instant};
    use tidelock_core::credentials::{AwsKeys, Credentials, Login};
    use tidelock_opensearch::{HttpConfig, HttpTransport, Request, Scheme, Transport as _};

    struct NoCredentials;

    impl Credentials for NoCredentials {
        async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
            Ok(None)
        }

        async fn aws_keys(&self) -> Result<AwsKeys, String> {
            Err("the demonstration signs nothing".to_owned())
        }
    }

    /// The index `mytable`.
    pub(crate) struct Index(HttpTransport<NoCredentials>);

    impl Index {
        pub(crate) fn new(place: &str) -> Result<Self, Failure> {
            let (host, port) = place.trim_end_matches('/').rsplit_once(':').unwrap_or((place, "80"));
            let config = HttpConfig {
                host: host.to_owned(),
                port: port.parse()?,
                tls: false,
                ca_pem: None,
                scheme: Scheme::None,
                gzip: false,
            };
            Ok(Self(HttpTransport::new(config, NoCredentials)?))
        }

        pub(crate) async fn send(&self, method: &'static str, rest: &str) -> Result<bytes::Bytes, Failure> {
            let request = Request {
                method,
                path: format!("/{TABLE}{rest}"),
                content_type: "application/json",
                body: bytes::Bytes::new(),
            };
            let answer = self.0.send(request, Instant::now() + Duration::from_secs(30)).await;
            Ok(answer.map_err(|failure| failure.to_string())?.body)
        }

        pub(crate) async fn documents(&self) -> Result<Vec<Stored>, Failure> {
            self.send("POST", "/_refresh").await?;
            let body = self.send("GET", "/_search?size=1000&_source_excludes=_tidelock").await?;
            let answer: serde_json::Value = serde_json::from_slice(&body)?;
            let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
            let mut found: Vec<Stored> = hits
                .iter()
                .map(|hit| (hit["_id"].as_str().unwrap_or_default().to_owned(), hit["_source"].to_string()))
                .collect();
            found.sort();
            Ok(found)
        }
    }
}
