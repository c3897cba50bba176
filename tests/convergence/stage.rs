//! Where a script plays: a server, a proxy in front of it, and the functions.

use super::faults::{Faults, Kept};
use super::history::{Documents, History};
use super::search::{self, Search};
use super::store::{DOCUMENTS, Store};
use crate::support::event::event;
use crate::support::function::{Running, Sync, function, reported};
use crate::support::index::Index;
use crate::support::own_server::OwnServer;
use crate::support::queue::{letters, reasons};
use crate::support::{Folder, eventually, services};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidelock_local::function::Invocation;

/// Fences must be older than twice the longest time of an invocation before they are swept.
const HOUR_MS: i64 = 3_600_000;

/// How often a batch is delivered before a script gives up.
const ATTEMPTS: usize = 60;

/// Where documents go.
pub(crate) enum Server {
    Search(Box<Search>),
    Store(Box<Store>),
}

/// Where documents go when it depends on the item.
pub(crate) enum Places<'a> {
    Indices(BTreeMap<&'static str, Index>),
    Collections(&'a Store),
}

impl Places<'_> {
    /// What is there, by id, without `_tidelock`.
    pub(crate) async fn documents(&self, suffix: &str) -> Documents {
        match self {
            Self::Indices(indices) => search::documents(&indices[suffix]).await,
            Self::Collections(store) => store.documents_of(&format!("{DOCUMENTS}-{suffix}")).await,
        }
    }
}

/// A server with everything that a script needs.
pub(crate) struct Stage {
    pub(crate) faults: Faults,
    pub(crate) server: Server,
    folder: Folder,
    /// The server's process, where it is the script's own.
    own: Option<OwnServer>,
}

impl Stage {
    pub(crate) async fn opensearch() -> Option<Self> {
        let (url, faults) = (services::opensearch()?, Faults::default());
        Self::of(Server::Search(Box::new(Search::new(&url, faults.clone()).await)), faults, None)
    }

    pub(crate) async fn ferretdb() -> Option<Self> {
        Self::store(&services::ferretdb()?, None).await
    }

    pub(crate) async fn secantusdb() -> Option<Self> {
        Self::store(&services::secantusdb()?, None).await
    }

    /// An OpenSearch that can be stopped.
    pub(crate) async fn own_opensearch() -> Option<Self> {
        services::opensearch()?;
        // The ports that its runner takes, without those of the scripts' own servers.
        let (server, faults) = (OwnServer::start("opensearch", 9250..=9299).await, Faults::default());
        Self::of(Server::Search(Box::new(Search::new(&server.url, faults.clone()).await)), faults, Some(server))
    }

    /// A FerretDB that can be stopped.
    pub(crate) async fn own_ferretdb() -> Option<Self> {
        services::ferretdb()?;
        let server = OwnServer::start("mongodb", 27700..=27899).await;
        Self::store(&server.url.clone(), Some(server)).await
    }

    /// A SecantusDB that can be stopped.
    pub(crate) async fn own_secantusdb() -> Option<Self> {
        services::secantusdb()?;
        let server = OwnServer::start("mongodb-source", 27900..=27999).await;
        Self::store(&server.url.clone(), Some(server)).await
    }

    async fn store(uri: &str, own: Option<OwnServer>) -> Option<Self> {
        let faults = Faults::default();
        Self::of(Server::Store(Box::new(Store::new(uri, faults.clone()).await)), faults, own)
    }

    fn of(server: Server, faults: Faults, own: Option<OwnServer>) -> Option<Self> {
        services::bootstrap("dynamodb-sync").and(services::bootstrap("redrive"))?;
        Some(Self { faults, server, folder: Folder::new(), own })
    }

    /// The server's process.
    pub(crate) fn own(&self) -> &OwnServer {
        self.own.as_ref().expect("a server of the script's own")
    }

    /// `TIDELOCK_TARGET`, which no other script has.
    pub(crate) fn target(&self) -> String {
        match &self.server {
            Server::Search(search) => search.target(),
            Server::Store(store) => store.target.clone(),
        }
    }

    /// The function that follows the stream.
    pub(crate) fn sync(&self) -> Sync {
        self.function("dynamodb-sync")
    }

    /// The function that runs on a schedule.
    pub(crate) fn redrive(&self) -> Sync {
        self.function("redrive")
    }

    /// A function of this name, with a queue for its letters.
    pub(crate) fn function(&self, name: &str) -> Sync {
        let to = match &self.server {
            Server::Search(search) => search.index.name(),
            Server::Store(_) => DOCUMENTS,
        };
        let letters = format!("file:{}", self.folder.path("letters"));
        function(name, &self.target()).unwrap().into(to).with("TIDELOCK_DEAD_LETTERS", &letters)
    }

    /// A file for a queue of held changes.
    pub(crate) fn fallback(&self) -> String {
        format!("file:{}", self.folder.path("held"))
    }

    /// What is there, by id, without `_tidelock`.
    pub(crate) async fn documents(&self) -> Documents {
        match &self.server {
            Server::Search(search) => search.documents().await,
            Server::Store(store) => store.documents().await,
        }
    }

    /// The name that those of its [places](Self::places) begin with.
    pub(crate) fn base(&self) -> String {
        match &self.server {
            Server::Search(search) => search.index.name().to_owned(),
            Server::Store(_) => DOCUMENTS.to_owned(),
        }
    }

    /// Indices or collections `BASE-SUFFIX`.
    pub(crate) async fn places(&self, suffixes: &[&'static str]) -> Places<'_> {
        match &self.server {
            Server::Search(search) => Places::Indices(search.places(suffixes).await),
            Server::Store(store) => Places::Collections(store),
        }
    }

    /// What is there is what must be there, and nothing was parked.
    pub(crate) async fn converged(&self, expected: &Documents) {
        self.holds(expected).await;
        assert_eq!(self.letters(), []);
    }

    /// What is there is what must be there.
    pub(crate) async fn holds(&self, expected: &Documents) {
        let found = self.documents().await;
        let ids: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
        let differs = |id: &&&String| found.get(**id) != expected.get(**id);
        let wrong: Vec<_> = ids.iter().filter(differs).map(|id| (id, found.get(*id), expected.get(*id))).collect();
        assert!(wrong.is_empty(), "id, what is there, what must be there: {wrong:#?}");
    }

    /// Reason and position of what was parked.
    pub(crate) fn letters(&self) -> Vec<(String, Option<String>)> {
        reasons(&letters(&self.folder.path("letters")))
    }

    /// Ids of the fences.
    pub(crate) async fn fences(&self) -> BTreeSet<String> {
        match &self.server {
            Server::Search(search) => search.fences().await,
            Server::Store(store) => store.fences().await,
        }
    }

    /// Somebody deletes the index or collection of fences.
    pub(crate) async fn drop_fences(&self) {
        match &self.server {
            Server::Search(search) => search.drop_fences().await,
            Server::Store(store) => store.drop_fences().await,
        }
    }

    /// Stores a document as another writer would; `version` is OpenSearch's own number for it.
    pub(crate) async fn plant(&self, id: &str, version: Option<i64>, document: Value) {
        match &self.server {
            Server::Search(search) => search.plant(id, version, document).await,
            Server::Store(store) => store.plant(id, document).await,
        }
    }

    /// Sends the writes that were kept, until the server, which forgets deletes, has taken each that is about an item of
    /// `gone`. Gives those items.
    pub(crate) async fn release(&self, gone: &BTreeSet<String>) -> BTreeSet<String> {
        let kept = self.faults.kept();
        assert!(!kept.is_empty(), "no write was kept");
        let late: BTreeSet<String> = kept.iter().flat_map(Kept::written).filter(|id| gone.contains(id)).collect();
        assert!(late.len() >= 3, "writes of {late:?} alone were kept");
        eventually("the late writes", async || {
            for kept in &kept {
                match (&self.server, kept) {
                    (Server::Search(search), Kept::Bulk(seen)) => search.send(seen).await,
                    (Server::Store(store), Kept::Command(command)) => store.send(command).await,
                    _ => unreachable!("a request of another server"),
                }
            }
            let found = self.documents().await;
            late.iter().all(|id| found.contains_key(id)).then_some(())
        })
        .await;
        late
    }

    /// Time passes, and `redrive` is invoked by its schedule. Gives what it has swept.
    pub(crate) async fn swept_later(&self, redrive: &Running) -> Value {
        match &self.server {
            Server::Search(search) => search.move_fences(-HOUR_MS).await,
            Server::Store(store) => store.move_fences(-HOUR_MS).await,
        }
        let invocation = redrive.invoke("{}").await;
        let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", redrive.log()) };
        let answer: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(answer["sweep"]["complete"], true, "{answer}");
        answer["sweep"].clone()
    }

    /// Removes what the script has stored.
    pub(crate) async fn end(self) {
        if let (Server::Store(store), None) = (&self.server, &self.own) {
            store.database.drop().await.unwrap();
        }
    }
}

/// Delivers batches as an event source mapping does.
pub(crate) struct Mapping<'a> {
    sync: &'a Running,
    /// How often a batch had to come again because the function said so.
    pub(crate) retried: usize,
    /// How often because it did not answer.
    pub(crate) died: usize,
}

impl<'a> Mapping<'a> {
    pub(crate) fn of(sync: &'a Running) -> Self {
        Self { sync, retried: 0, died: 0 }
    }

    /// Delivers a history from its beginning to its end.
    pub(crate) async fn follow(&mut self, history: &mut History) {
        for batch in history.batches() {
            self.deliver(history.records(batch)).await;
        }
    }

    /// Delivers a batch, again from where the function says, until all of it is done.
    pub(crate) async fn deliver(&mut self, mut records: Vec<Value>) {
        for attempt in 0..ATTEMPTS {
            // A mapping backs off, too.
            tokio::time::sleep(Duration::from_millis(if attempt == 0 { 0 } else { 50 })).await;
            match self.sync.invoke(event(&records)).await {
                Invocation::Response(body) => {
                    let Some(lowest) = reported(&body) else { return };
                    self.retried += 1;
                    let is_lowest = |record: &Value| record["dynamodb"]["SequenceNumber"] == lowest.as_str();
                    let from = records.iter().position(is_lowest).expect("a number of the batch");
                    records.drain(..from);
                }
                Invocation::Timeout | Invocation::Crashed { .. } => self.died += 1,
                failed => panic!("{failed:?}\n{}", self.sync.log()),
            }
        }
        panic!("a batch is never done:\n{}", self.sync.log());
    }
}
