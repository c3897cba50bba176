//! Change streams of a real server, SecantusDB at `TIDELOCK_TEST_SECANTUSDB`, as a source and through a whole mapping.

mod mapping;
mod source;

use std::env;
use std::io::Write as _;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection};
use serde_json::Value;
use tidelock_local::clock::Moment;
use tidelock_local::source::documentdb::{ChangeStreamSettings, DocumentDbSource};
use tidelock_local::source::{ReadFrom, RecordSource as _, SourceRecord};

/// A server's connection string, or `None` with a loud note. Where services are required, their absence is a failure.
fn service(variable: &str) -> Option<String> {
    let url = env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let required = env::var("TIDELOCK_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "TIDELOCK_REQUIRE_SERVICES=1, but {variable} is not set");
        // Written to the stream itself, because the test harness keeps what `eprintln!` writes to itself.
        let note = format!("\n*** SKIPPED: set {variable}=mongodb://127.0.0.1:PORT to run this test ***\n");
        std::io::stderr().write_all(note.as_bytes()).unwrap();
    }
    url
}

/// A collection of a test's own, in a database of its own.
struct Watched {
    uri: String,
    client: Client,
    database: String,
    collection: Collection<Document>,
    created: Moment,
}

impl Watched {
    /// `None` where there is no server.
    async fn create(purpose: &str) -> Option<Self> {
        let uri = service("TIDELOCK_TEST_SECANTUSDB")?;
        let client = Client::with_uri_str(&uri).await.unwrap();
        let created = Moment::now();
        let nanos = created.since_epoch().as_nanos();
        let database = format!("local-{purpose}-{nanos}");
        client.database(&database).create_collection("things").await.unwrap();
        let collection = client.database(&database).collection("things");
        Some(Self { uri, client, database, collection, created })
    }

    fn settings(&self) -> ChangeStreamSettings {
        let mut settings = ChangeStreamSettings::new(&self.uri);
        settings.database = Some(self.database.clone());
        settings.collection = Some("things".into());
        settings
    }

    /// The collection's first event. SecantusDB takes the longer to open a stream, the more of its log it has to read.
    fn start(&self) -> ReadFrom {
        ReadFrom::AtTimestamp(self.created)
    }

    async fn insert(&self, document: Document) {
        self.collection.insert_one(document).await.unwrap();
    }

    async fn remove(self) {
        self.client.database(&self.database).drop().await.unwrap();
    }
}

/// A source and how far it was read.
struct Reader {
    source: DocumentDbSource,
    from: ReadFrom,
}

impl Reader {
    async fn open(settings: ChangeStreamSettings, from: ReadFrom) -> Self {
        Self { source: DocumentDbSource::connect(settings).await.unwrap(), from }
    }

    /// One read, as the mapping reads.
    async fn page(&mut self, limit: usize) -> Vec<SourceRecord> {
        let page = self.source.read("shard", &self.from, limit).await.unwrap();
        assert!(!page.end, "a change stream has no end");
        if let Some(last) = page.records.last() {
            self.from = ReadFrom::After(last.sequence.clone());
        }
        page.records
    }

    /// The next records, as many as are expected.
    async fn next(&mut self, count: usize) -> Vec<SourceRecord> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut records = Vec::new();
        while records.len() < count {
            assert!(Instant::now() < deadline, "only {records:?}");
            records.extend(self.page(count - records.len()).await);
        }
        records
    }

    /// The change events among them, without what differs from run to run.
    async fn events(&mut self, count: usize) -> Vec<Value> {
        self.next(count).await.iter().map(event).collect()
    }
}

/// The event of a record.
fn event(record: &SourceRecord) -> Value {
    let value: Value = serde_json::from_str(record.raw.get()).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 1, "{value}");
    value["event"].clone()
}

fn operations(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["operationType"].as_str().unwrap()).collect()
}

fn id(number: i32) -> Document {
    doc! {"_id": number}
}
