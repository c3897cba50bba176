//! Documents of one collection, written as an application would: no versions, no fences.

use crate::answer::{Answer, ServerError};
use crate::caller::{Caller, Shared, Stop};
use crate::config::{Access, SettingNames};
use crate::connection::Connector;
use crate::error::{Meaning, Trouble};
use crate::login::{Credentials, FromUri};
use crate::lookup::Query;
use crate::source::MongoDbSourceConfig;
use mongodb::bson::{Bson, Document, RawDocument, doc};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::settings::Auth;

/// What has become of a document that was to be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    Stored,
    /// Another document has its `_id`, or its value of a unique index.
    Duplicate,
}

/// A collection.
#[derive(Debug)]
pub struct Documents<C = FromUri> {
    connector: Connector<C>,
    database: String,
    collection: String,
}

impl<C: Credentials> Documents<C> {
    /// A collection whose cluster is connected to when it is first used.
    ///
    /// # Errors
    /// All that is wrong with the settings, each problem naming the setting; never a credential.
    pub fn new(
        config: &MongoDbSourceConfig,
        credentials: C,
        database: impl Into<String>,
        collection: impl Into<String>,
    ) -> Result<Self, Vec<String>> {
        let (uri, ca_file) = (&config.uri, config.ca_file.as_deref());
        let access = Access { uri, auth: Auth::Auto, ca_file, in_flight: 1, names: SettingNames::SOURCE };
        let connector = Connector::new(access, credentials)?;
        Ok(Self { connector, database: database.into(), collection: collection.into() })
    }

    /// Connects and authenticates, so that the first request need not.
    ///
    /// # Errors
    /// When no writable server answers before the deadline.
    pub async fn connect(&self, deadline: Instant) -> Result<(), Failure> {
        self.connector.ping(deadline).await
    }

    /// Inserts a document, which must have its `_id`. One whose answer was lost is not inserted twice, and not taken for
    /// another's.
    ///
    /// # Errors
    /// When the cluster refuses it or cannot be reached until the deadline.
    pub async fn insert(&self, document: &Document, deadline: Instant) -> Result<Inserted, Failure> {
        let command = doc! {"insert": &self.collection, "documents": [document], "writeConcern": {"w": "majority"}};
        let shared = Shared::new(&self.connector, deadline);
        let mut caller = Caller::new(&shared);
        let mut unanswered = false;
        caller
            .patiently(async |caller| match self.write(caller, &command).await {
                Ok(_) => Ok(Inserted::Stored),
                Err(Stop::Trouble(trouble)) if trouble.meaning == Meaning::Duplicate => {
                    let own = unanswered && self.holds(caller, document).await?;
                    Ok(if own { Inserted::Stored } else { Inserted::Duplicate })
                }
                Err(stop) => {
                    unanswered |= matches!(stop, Stop::Trouble(_));
                    Err(stop)
                }
            })
            .await
    }

    /// Puts other fields into the place of a document's; `false` where there is none of this `_id`.
    ///
    /// # Errors
    /// When the cluster refuses it or cannot be reached until the deadline.
    pub async fn replace(&self, id: &Bson, document: &Document, deadline: Instant) -> Result<bool, Failure> {
        let statement = doc! {"q": {"_id": {"$eq": id}}, "u": document, "multi": false, "upsert": false};
        let command = doc! {"update": &self.collection, "updates": [statement], "writeConcern": {"w": "majority"}};
        let shared = Shared::new(&self.connector, deadline);
        Caller::new(&shared).patiently(async |caller| Ok(self.write(caller, &command).await? == 1)).await
    }

    /// Deletes a document; `false` where there is none of this `_id`.
    ///
    /// # Errors
    /// When the cluster refuses it or cannot be reached until the deadline.
    pub async fn delete(&self, id: &Bson, deadline: Instant) -> Result<bool, Failure> {
        let statement = doc! {"q": {"_id": {"$eq": id}}, "limit": 1};
        let command = doc! {"delete": &self.collection, "deletes": [statement], "writeConcern": {"w": "majority"}};
        let shared = Shared::new(&self.connector, deadline);
        let mut unanswered = false;
        Caller::new(&shared)
            .patiently(async |caller| match self.write(caller, &command).await {
                // What is missing now may have been deleted by the request whose answer was lost.
                Ok(count) => Ok(count == 1 || unanswered),
                Err(stop) => {
                    unanswered |= matches!(stop, Stop::Trouble(_));
                    Err(stop)
                }
            })
            .await
    }

    /// Runs a command of one statement; gives the count of documents it has concerned.
    async fn write(&self, caller: &mut Caller<'_, '_, C>, command: &Document) -> Result<usize, Stop> {
        let answer = caller.command(&self.database, command.to_vec()?).await?;
        let senseless = |why: String| Stop::Trouble(Trouble::new(Cause::UnexpectedAnswer, why));
        let Answer { n, errors, concern } = Answer::read(&answer, 1).map_err(senseless)?;
        match errors.into_iter().flatten().next().or(concern) {
            Some(ServerError { code, message }) => {
                Err(Stop::Trouble(Trouble::of_server(&ServerError { code, message })))
            }
            None => Ok(n),
        }
    }

    /// Whether exactly this document is stored.
    async fn holds(&self, caller: &mut Caller<'_, '_, C>, document: &Document) -> Result<bool, Stop> {
        let (Some(id), bytes) = (document.get("_id"), document.to_vec()?) else { return Ok(false) };
        let mut same = false;
        let each = |stored: &RawDocument| {
            same |= stored.as_bytes() == bytes;
            Ok(())
        };
        let query = Query::of_documents(std::slice::from_ref(id));
        caller.query(&self.database, &self.collection, query, each).await?;
        Ok(same)
    }
}
