//! MongoDB as a source: documents read again as they are now.

use crate::caller::{Caller, Shared, Stop};
use crate::config::{Access, SettingNames};
use crate::connection::Connector;
use crate::error::Trouble;
use crate::login::{Credentials, FromUri};
use crate::lookup::{self, Query, portions};
use mongodb::bson::{Bson, RawDocument};
use std::collections::{HashMap, HashSet};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::image::Notation;
use tidelock_core::key::{Key, KeyKind};
use tidelock_core::settings::{Auth, Secret};
use tidelock_core::slow::{Item, ReadResult, Source};
use tidelock_core::source::mongodb::{DocumentKey, ID_FIELD, document};
use tidelock_core::version::mongodb::{cluster_of_arn, cluster_of_host};

/// Documents asked for at a time: each may have 16 MB.
const DOCUMENTS: usize = 50;

/// Where the documents are.
#[derive(Debug, Clone)]
pub struct MongoDbSourceConfig {
    /// `TIDELOCK_SOURCE`: a
    /// [connection string](https://www.mongodb.com/docs/manual/reference/connection-string/). It says how to authenticate,
    /// too.
    pub uri: Secret,
    /// `TIDELOCK_SOURCE_CA_FILE`: certificates to trust instead of the public ones. Turns TLS on.
    pub ca_file: Option<String>,
}

/// Reads collections; an origin is `database.collection`.
///
/// From the primary and as a majority has it, whatever the connection string says; without the majority where the server
/// knows no such read concern. Collections must have the default collation: under another, a document may answer to an `_id`
/// that is not its own, which is refused.
#[derive(Debug)]
pub struct MongoDbSource<C = FromUri> {
    pub(crate) connector: Connector<C>,
    /// What the cluster is called in versions.
    cluster: Option<String>,
}

impl<C: Credentials> MongoDbSource<C> {
    /// A source that connects when it is first read.
    ///
    /// # Errors
    /// All that is wrong with the settings, each problem naming the setting; never a credential.
    pub fn new(config: MongoDbSourceConfig, credentials: C) -> Result<Self, Vec<String>> {
        let MongoDbSourceConfig { uri, ca_file } = &config;
        let access =
            Access { uri, auth: Auth::Auto, ca_file: ca_file.as_deref(), in_flight: 1, names: SettingNames::SOURCE };
        Ok(Self { connector: Connector::new(access, credentials)?, cluster: None })
    }

    /// Names the cluster in the [space](tidelock_core::version::mongodb::space) of what is scanned. It must be the name that
    /// the decoder of the cluster's changes uses: versions of different spaces do not compare. An ARN of a DocumentDB cluster
    /// stands for [its name](cluster_of_arn). Unless named, it is [that of the DocumentDB cluster](cluster_of_host) whose
    /// endpoint the connection string has alone, else its hosts, sorted: `a.example.com:27017,b.example.com:27017`; of
    /// `mongodb+srv` the name that is looked up.
    #[must_use]
    pub fn of_cluster(mut self, name: &str) -> Self {
        self.cluster = Some(cluster_of_arn(name).unwrap_or_else(|| name.to_owned()));
        self
    }

    pub(crate) fn cluster(&self) -> String {
        self.cluster.clone().unwrap_or_else(|| {
            let mut hosts: Vec<&str> = self.connector.address.hosts.split(',').collect();
            if let [host] = hosts.as_slice()
                && let Some(cluster) = cluster_of_host(host)
            {
                return cluster;
            }
            hosts.sort_unstable();
            hosts.join(",")
        })
    }
}

/// An origin's database and collection, in which dots are allowed.
pub(crate) fn namespace(origin: &str) -> Result<(&str, &str), Failure> {
    origin.split_once('.').filter(|(database, collection)| !database.is_empty() && !collection.is_empty()).ok_or_else(
        || Failure::new(Cause::SourceUnreadable, format!("`{origin}` does not name a database and a collection")),
    )
}

/// Why a collection could not be read.
pub(crate) fn unreadable((database, collection): (&str, &str), failure: &Failure) -> Failure {
    Failure::new(Cause::SourceUnreadable, format!("collection `{database}.{collection}` at {}", failure.detail))
}

/// A document that was read, as the target takes it.
pub(crate) fn item(bytes: Vec<u8>, format: Format) -> Item {
    let document = document(&bytes, format);
    Item { document, notation: Notation::Bson, bytes }
}

/// The `_id` that a key stands for.
fn id(key: Key<'_>) -> Result<Bson, Failure> {
    let unreadable = |why: String| Failure::new(Cause::SourceUnreadable, format!("key `{}`: {why}", key.text_id()));
    match key.single() {
        Some(part) if part.name == ID_FIELD && matches!(part.kind, KeyKind::Bson(_)) => {
            lookup::id(key).map_err(|error| unreadable(error.to_string()))
        }
        _ => Err(unreadable("it is not a document's of MongoDB".to_owned())),
    }
}

/// Asks for some documents: all of an answer counts or nothing of it, for what was read before an error proves no absence of
/// the rest.
async fn ask<'a, C: Credentials>(
    caller: &mut Caller<'_, '_, C>,
    (database, collection): (&str, &str),
    asked: &[(Key<'a>, Bson)],
    format: Format,
) -> Vec<(Key<'a>, ReadResult)> {
    let ids: Vec<Bson> = asked.iter().map(|(_, id)| id.clone()).collect();
    let answer = caller
        .patiently(async |caller| {
            let mut documents = Vec::with_capacity(ids.len());
            let each = |document: &RawDocument| {
                documents.push(document.as_bytes().to_vec());
                Ok(())
            };
            caller.query(database, collection, Query::of_documents(&ids), each).await?;
            by_key(asked, documents)
        })
        .await;
    let mut found = answer.map_err(|failure| unreadable((database, collection), &failure));
    let mut result = |key: Key<'_>| match &mut found {
        Ok(found) => Ok(found.remove(key.as_bytes()).map(|bytes| item(bytes, format))),
        Err(failure) => Err(failure.clone()),
    };
    asked.iter().map(|&(key, _)| (key, result(key))).collect()
}

/// The documents by their keys. One that was not asked for shows that the answer proves no absence.
fn by_key(asked: &[(Key<'_>, Bson)], documents: Vec<Vec<u8>>) -> Result<HashMap<Vec<u8>, Vec<u8>>, Stop> {
    let senseless = |why: String| {
        let words = format!("the answer cannot be used: {why}");
        Stop::Trouble(Trouble::new(Cause::UnexpectedAnswer, words))
    };
    let asked: HashSet<Key<'_>> = asked.iter().map(|&(key, _)| key).collect();
    let mut found = HashMap::with_capacity(documents.len());
    for bytes in documents {
        let own = DocumentKey::of(&bytes).map_err(|failure| senseless(failure.to_string()))?;
        if !asked.contains(&own.key()) {
            return Err(senseless(format!("it holds `{}`, which was not asked for", own.key().text_id())));
        }
        if found.insert(own.key().as_bytes().to_vec(), bytes).is_some() {
            return Err(senseless(format!("it holds two documents with the `_id` `{}`", own.key().text_id())));
        }
    }
    Ok(found)
}

impl<C: Credentials> Source for MongoDbSource<C> {
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, deadline: Instant) -> Vec<ReadResult> {
        let namespace = match namespace(origin) {
            Ok(namespace) => namespace,
            Err(failure) => return keys.iter().map(|_| Err(failure.clone())).collect(),
        };
        let mut results: HashMap<Key<'_>, ReadResult> = HashMap::with_capacity(keys.len());
        let (mut asked, mut seen) = (Vec::with_capacity(keys.len()), HashSet::new());
        for key in keys.iter().copied().filter(|&key| seen.insert(key)) {
            match id(key) {
                Ok(id) => asked.push((key, id)),
                Err(failure) => drop(results.insert(key, Err(failure))),
            }
        }
        let shared = Shared::new(&self.connector, deadline);
        let mut caller = Caller::new(&shared);
        for portion in portions(&asked, DOCUMENTS, |(key, _)| key.as_bytes().len()) {
            results.extend(ask(&mut caller, namespace, portion, format).await);
        }
        let distinct = results.len() == keys.len();
        // Documents are copied only where a key was asked for twice.
        let of = |key| if distinct { results.remove(key) } else { results.get(key).cloned() };
        let unanswered = || Err(Failure::new(Cause::SourceUnreadable, "the key has no answer"));
        keys.iter().map(of).map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }
}
