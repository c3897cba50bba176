//! FerretDB or SecantusDB as the stage of a script.

use super::faults::{Deed, Faults, Kept};
use super::history::Documents;
use crate::support::exact::Exact;
use crate::support::unique;
use crate::support::wire::{Command, Reply, Wire, refusal};
use mongodb::bson::{Bson, Document, doc, serialize_to_document};
use mongodb::{Client, Collection, Database};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The collection of fences.
const FENCES: &str = "tidelock_fences";

/// The collection of documents.
pub(crate) const DOCUMENTS: &str = "documents";

/// What a server says that has no time now, or is not the one to write to now; all of it may pass.
const BUSY: [(i32, &str); 6] = [
    (16500, "RequestRateTooLarge"),
    (112, "WriteConflict"),
    (91, "ShutdownInProgress"),
    (24, "LockTimeout"),
    (189, "PrimarySteppedDown"),
    (50, "MaxTimeMSExpired"),
];

/// A database, and a proxy in front of its server.
pub(crate) struct Store {
    /// It ends with this value.
    _wire: Wire,
    /// `TIDELOCK_TARGET`.
    pub(crate) target: String,
    client: Client,
    pub(crate) database: Database,
}

impl Store {
    pub(crate) async fn new(uri: &str, faults: Faults) -> Self {
        let (address, options) = uri.split_once("/?").unwrap();
        let upstream = address.trim_start_matches("mongodb://");
        let busy = AtomicUsize::new(0);
        let wire = Wire::before(upstream, move |command| reply(command, &faults, &busy)).await;
        let client = Client::with_uri_str(uri).await.unwrap();
        let database = client.database(&unique("converge"));
        let target = format!("mongodb://{}/{}?{options}", wire.address, database.name());
        Self { _wire: wire, target, client, database }
    }

    pub(crate) async fn documents(&self) -> Documents {
        self.documents_of(DOCUMENTS).await
    }

    /// A collection's documents.
    pub(crate) async fn documents_of(&self, collection: &str) -> Documents {
        let found = all(&self.database.collection(collection)).await;
        let read = |mut document: Document| {
            document.remove("_tidelock");
            let id = document.remove("_id").unwrap();
            (id.as_str().unwrap().to_owned(), exact(&document.into()))
        };
        found.into_iter().map(read).collect()
    }

    /// Sends what was kept, unless it is a delete.
    pub(crate) async fn send(&self, command: &Command) {
        if command.name == "delete" {
            return;
        }
        let database = self.client.database(&command.database);
        let answer = database.run_command(command.again()).await.unwrap();
        assert!(answer.contains_key("n"), "{answer}");
    }

    /// Ids of the fences.
    pub(crate) async fn fences(&self) -> BTreeSet<String> {
        let found = all(&self.database.collection(FENCES)).await.into_iter();
        let fences = found.filter(|fence| fence.contains_key("_tidelock"));
        fences.map(|fence| fence.get_str("_id").unwrap().to_owned()).collect()
    }

    /// Moves the time that fences were written at.
    pub(crate) async fn move_fences(&self, by_ms: i64) {
        let fences: Collection<Document> = self.database.collection(FENCES);
        let all = doc! {"written": {"$exists": true}};
        fences.update_many(all, doc! {"$inc": {"written": by_ms}}).await.unwrap();
    }

    pub(crate) async fn drop_fences(&self) {
        self.database.collection::<Document>(FENCES).drop().await.unwrap();
    }

    /// Stores a document as another writer would.
    pub(crate) async fn plant(&self, id: &str, document: Value) {
        let mut document = serialize_to_document(&document).unwrap();
        document.insert("_id", id);
        self.database.collection(DOCUMENTS).insert_one(document).await.unwrap();
    }
}

async fn all(collection: &Collection<Document>) -> Vec<Document> {
    let mut cursor = collection.find(doc! {}).await.unwrap();
    let mut documents = Vec::new();
    while cursor.advance().await.unwrap() {
        documents.push(cursor.deserialize_current().unwrap());
    }
    documents
}

fn exact(value: &Bson) -> Exact {
    match value {
        Bson::String(text) => Exact::Text(text.clone()),
        Bson::Int32(number) => Exact::number(&number.to_string()),
        Bson::Int64(number) => Exact::number(&number.to_string()),
        Bson::Boolean(value) => Exact::Bool(*value),
        Bson::Null => Exact::Null,
        Bson::Array(items) => Exact::List(items.iter().map(exact).collect()),
        Bson::Document(members) => {
            Exact::Map(members.iter().map(|(name, value)| (name.clone(), exact(value))).collect())
        }
        other => panic!("no item has this: {other}"),
    }
}

/// What happens to a command.
fn reply(command: &Command, faults: &Faults, busy: &AtomicUsize) -> Reply {
    let documents = command.writes() && command.collection == DOCUMENTS;
    match faults.decide(documents, || Kept::Command(command.clone())) {
        Deed::Pass => Reply::Pass,
        Deed::Refuse => {
            let (code, name) = BUSY[busy.fetch_add(1, Ordering::Relaxed) % BUSY.len()];
            refusal(code, name)
        }
        Deed::CutBefore | Deed::Keep => Reply::CutBefore,
        Deed::CutAfter => Reply::CutAfter,
        Deed::Stop { applied, time } => Reply::Stop { applied, reached: faults.reached.clone(), time },
    }
}
