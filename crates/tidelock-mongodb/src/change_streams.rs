//! Change streams of Amazon DocumentDB, which are off until somebody turns them on.
//!
//! Commands: [`modifyChangeStreams` and `$listChangeStreams`](https://docs.aws.amazon.com/documentdb/latest/developerguide/change_streams.html#change_streams-enabling).
//! MongoDB knows neither: there, change streams are always on.

use crate::caller::{Caller, Shared, Stop};
use crate::config::{Access, SettingNames, collection_problem, database_problem};
use crate::connection::Connector;
use crate::error::Trouble;
use crate::login::{Credentials, FromUri};
use crate::source::MongoDbSourceConfig;
use mongodb::bson::{Bson, Document, doc, rawdoc};
use mongodb::error::Error;
use mongodb::raw_batch_cursor::RawBatch;
use std::fmt;
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::settings::Auth;

/// NamespaceExists: somebody else has made the collection meanwhile.
const EXISTS: i32 = 48;

/// CommandNotFound.
const NO_SUCH_COMMAND: i32 = 59;

/// Where the commands are sent, whatever they are about.
const ADMIN: &str = "admin";

/// How often the list is read until it shows what was asked for.
const LOOKS: u32 = 5;

/// What change streams are turned on or off for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    database: String,
    collection: String,
}

impl Scope {
    /// A collection; without its name, all of a database's; without both names, all there are.
    ///
    /// # Errors
    /// When the names are none that a database and a collection can have.
    pub fn new(database: impl Into<String>, collection: impl Into<String>) -> Result<Self, String> {
        let (database, collection) = (database.into(), collection.into());
        if database.is_empty() && !collection.is_empty() {
            return Err(format!("collection `{collection}` is of no database"));
        }
        match database_problem(&database).or_else(|| collection_problem(&collection)) {
            Some(problem) => Err(problem.to_owned()),
            None => Ok(Self { database, collection }),
        }
    }

    /// The database; empty for all.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The collection; empty for all of the database.
    #[must_use]
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Whether all of `other` is within.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let holds = |own: &str, others: &str| own.is_empty() || own == others;
        holds(&self.database, &other.database) && holds(&self.collection, &other.collection)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.database.as_str(), self.collection.as_str()) {
            ("", _) => f.write_str("all databases"),
            (database, "") => write!(f, "database `{database}`"),
            (database, collection) => write!(f, "collection `{database}.{collection}`"),
        }
    }
}

/// How it is with a scope's change streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The collection was missing and has been made.
    pub created: bool,
    /// The scope's changes are recorded.
    pub enabled: bool,
    /// What change streams are on for; `None` where the server does not turn them on and off: they are always on.
    pub listed: Option<Vec<Scope>>,
}

impl State {
    fn of(scope: &Scope, created: bool, listed: Vec<Scope>) -> Self {
        Self { created, enabled: listed.iter().any(|other| other.covers(scope)), listed: Some(listed) }
    }
}

/// Change streams of a cluster.
#[derive(Debug)]
pub struct ChangeStreams<C = FromUri> {
    connector: Connector<C>,
}

impl<C: Credentials> ChangeStreams<C> {
    /// A cluster that is connected to when it is first used.
    ///
    /// # Errors
    /// All that is wrong with the settings, each problem naming the setting; never a credential.
    pub fn new(config: &MongoDbSourceConfig, credentials: C) -> Result<Self, Vec<String>> {
        let (uri, ca_file) = (&config.uri, config.ca_file.as_deref());
        let access = Access { uri, auth: Auth::Auto, ca_file, in_flight: 1, names: SettingNames::SOURCE };
        Ok(Self { connector: Connector::new(access, credentials)? })
    }

    /// Turns change streams on or off, whatever they were before, and says how it is then. Where told to, it makes the
    /// collection first, if it is missing.
    ///
    /// # Errors
    /// When the cluster cannot be reached until the deadline, or refuses it.
    pub async fn set(&self, scope: &Scope, enable: bool, create: bool, deadline: Instant) -> Result<State, Failure> {
        let shared = Shared::new(&self.connector, deadline);
        let mut caller = Caller::new(&shared);
        let created = create && !scope.collection.is_empty() && self.create(&mut caller, scope).await?;
        if !enable {
            // What is off need not be turned off, and it is nowhere written that it can be.
            match self.list(&mut caller).await {
                Ok(listed) if !listed.contains(scope) => return Ok(State::of(scope, created, listed)),
                Ok(_) => {}
                // A server of another kind, or a user who may not look: the command itself will tell.
                Err(failure) if matches!(failure.cause, Cause::UnexpectedAnswer | Cause::Forbidden) => {}
                Err(failure) => return Err(failure),
            }
        }
        let command = doc! {
            "modifyChangeStreams": 1, "database": &scope.database, "collection": &scope.collection, "enable": enable,
        };
        let known =
            caller.patiently(async |caller| unless(NO_SUCH_COMMAND, run(caller, ADMIN, &command).await)).await?;
        if known.is_none() {
            return Ok(State { created, enabled: true, listed: None });
        }
        let mut looks = 0;
        loop {
            let listed = self.list(&mut caller).await?;
            looks += 1;
            if listed.contains(scope) == enable || enable && listed.iter().any(|other| other.covers(scope)) {
                return Ok(State::of(scope, created, listed));
            }
            if looks == LOOKS || !caller.pause(looks).await {
                let on = if enable { "on" } else { "off" };
                let words =
                    format!("the server has accepted that the change stream of {scope} is {on}, and does not say so");
                return Err(self.connector.describe(Cause::UnexpectedAnswer, &words));
            }
        }
    }

    /// Makes the collection unless it is there; tells whether it was made.
    async fn create(&self, caller: &mut Caller<'_, '_, C>, scope: &Scope) -> Result<bool, Failure> {
        let (database, name) = (&scope.database, &scope.collection);
        // Who may not make collections can still enable those there are.
        let list = doc! {"listCollections": 1, "filter": {"name": name}, "nameOnly": true};
        let found = caller.patiently(async |caller| run(caller, database, &list).await).await;
        match found {
            Ok(answer) if names(&answer, name) => return Ok(false),
            Ok(_) => {}
            Err(failure) if failure.cause == Cause::Forbidden => {}
            Err(failure) => return Err(failure),
        }
        let create = doc! {"create": name};
        let made = caller.patiently(async |caller| unless(EXISTS, run(caller, database, &create).await)).await;
        made.map(|answer| answer.is_some())
            .map_err(|failure| Failure::new(failure.cause, format!("{scope} cannot be created: {}", failure.detail)))
    }

    async fn list(&self, caller: &mut Caller<'_, '_, C>) -> Result<Vec<Scope>, Failure> {
        let listed = caller
            .patiently(async |caller| {
                let command = rawdoc! {"aggregate": 1, "pipeline": [{"$listChangeStreams": 1}], "cursor": {}};
                let batches = caller.batches(ADMIN, command).await?;
                scopes(&batches).map_err(|error| Stop::Trouble(Trouble::of_driver(&error)))
            })
            .await;
        listed.map_err(|failure| {
            Failure::new(failure.cause, format!("the change streams cannot be listed: {}", failure.detail))
        })
    }
}

async fn run<C: Credentials>(
    caller: &mut Caller<'_, '_, C>,
    database: &str,
    command: &Document,
) -> Result<Document, Stop> {
    caller.command(database, command.to_vec()?).await
}

/// `None` where the server has refused it with this code.
fn unless(code: i32, result: Result<Document, Stop>) -> Result<Option<Document>, Stop> {
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(Stop::Trouble(trouble)) if trouble.code == Some(code) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// Whether a list of collections has this one in it.
fn names(answer: &Document, name: &str) -> bool {
    let listed = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let mut listed = listed.into_iter().flatten().filter_map(Bson::as_document);
    listed.any(|one| one.get_str("name").ok() == Some(name))
}

fn scopes(batches: &[RawBatch]) -> Result<Vec<Scope>, Error> {
    let mut scopes = Vec::new();
    for batch in batches {
        for entry in batch.doc_slices()? {
            let entry = entry?;
            let name = |field: &str| {
                let name = entry.as_document().and_then(|entry| entry.get_str(field).ok());
                name.unwrap_or_default().to_owned()
            };
            scopes.push(Scope { database: name("database"), collection: name("collection") });
        }
    }
    scopes.sort_unstable();
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(database: &str, collection: &str) -> Scope {
        Scope::new(database, collection).expect("a scope")
    }

    #[test]
    fn wider_scopes_cover_narrower_ones() {
        let (all, database, collection) = (scope("", ""), scope("d", ""), scope("d", "c"));
        for (wide, narrow, covers) in [
            (&all, &collection, true),
            (&all, &all, true),
            (&database, &collection, true),
            (&database, &all, false),
            (&collection, &database, false),
            (&collection, &scope("d", "other"), false),
            (&database, &scope("other", "c"), false),
        ] {
            assert_eq!(wide.covers(narrow), covers, "{wide} {narrow}");
        }
        assert_eq!(all.to_string(), "all databases");
        assert_eq!(database.to_string(), "database `d`");
        assert_eq!(collection.to_string(), "collection `d.c`");
    }

    #[test]
    fn names_that_nothing_can_have() {
        let long = "x".repeat(64);
        for (database, collection) in
            [("", "c"), ("a b", "c"), ("a$b", ""), (long.as_str(), ""), ("d", "a$b"), ("d", "system.users")]
        {
            assert!(Scope::new(database, collection).is_err(), "{database} {collection}");
        }
    }
}
