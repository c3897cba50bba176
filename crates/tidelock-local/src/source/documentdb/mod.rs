//! A change stream as a source: of Amazon DocumentDB, or of any server that speaks MongoDB's protocol and has change
//! streams (<https://docs.aws.amazon.com/documentdb/latest/developerguide/change_streams.html>).

mod error;
mod event;
mod extended_json;

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use mongodb::bson::{Bson, RawDocumentBuf, Timestamp, deserialize_from_bson, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ResumeToken;
use mongodb::options::{ChangeStreamOptions, ClientOptions, FullDocumentType};
use mongodb::{Client, Collection};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::extended_json::ExtendedJson;

use self::error::{INVALID_RESUME_TOKEN, code, explain};
use super::{DEFAULT_RETENTION, FailureHandling, Page, ReadFrom, RecordSource, Shard, SourceError, SourceInfo};
use crate::clock::Moment;

/// How long the server may wait for an event before it answers that there is none.
const AWAIT: Duration = Duration::from_millis(250);

/// How long one read waits for that, and how long an answer without an event takes at least, should the server not wait.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long to look for the server, unless the connection string says so (`serverSelectionTimeoutMS`).
const SELECTION: Duration = Duration::from_secs(5);

/// Events a request at most.
const REQUEST: u32 = 1_000;

/// Bytes of a page beyond which no further event is read into it.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// What an update's event carries (`FullDocument` of the mapping).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullDocument {
    /// What was changed, and no document.
    #[default]
    Default,
    /// The document too, as it is when the event is read.
    UpdateLookup,
}

/// Which change stream is read, and how its events are written.
#[derive(Clone)]
pub struct ChangeStreamSettings {
    /// The connection string, `mongodb://…`. It may hold a password, and is shown nowhere.
    pub uri: String,
    /// The database; `None` for all of the cluster.
    pub database: Option<String>,
    /// The collection; `None` for all of the database.
    pub collection: Option<String>,
    /// What an update's event carries.
    pub full_document: FullDocument,
    /// The form of extended JSON.
    pub form: ExtendedJson,
    /// The cluster's ARN, which stands in the events (`eventSourceArn`).
    pub arn: String,
    /// How long the cluster keeps events, `change_stream_log_retention_duration`. The oldest event it still gives
    /// (`TRIM_HORIZON`) is of this age, whatever the server itself keeps.
    pub retention: Duration,
}

impl ChangeStreamSettings {
    /// All changes of a cluster, with Lambda's defaults.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            database: None,
            collection: None,
            full_document: FullDocument::default(),
            form: ExtendedJson::default(),
            arn: "arn:aws:rds:us-east-1:000000000000:cluster:local".into(),
            retention: DEFAULT_RETENTION,
        }
    }
}

impl fmt::Debug for ChangeStreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStreamSettings")
            .field("database", &self.database)
            .field("collection", &self.collection)
            .field("full_document", &self.full_document)
            .field("form", &self.form)
            .field("arn", &self.arn)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// A stream, and its next event. It is not given up between two reads, because the server may just be answering.
enum Reading {
    UnderWay(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Answered(Box<Answer>),
}

struct Answer {
    stream: ChangeStream<RawDocumentBuf>,
    event: mongodb::error::Result<Option<RawDocumentBuf>>,
}

impl Reading {
    /// Nothing is asked before it is waited for.
    fn begin(mut stream: ChangeStream<RawDocumentBuf>) -> Self {
        Self::UnderWay(Box::pin(async move {
            let least = Instant::now() + PATIENCE;
            let event = stream.next_if_any().await;
            if matches!(event, Ok(None)) {
                sleep_until(least).await;
            }
            Answer { stream, event }
        }))
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnderWay(_) => "UnderWay",
            Self::Answered(_) => "Answered",
        })
    }
}

/// A change stream: one shard that never closes. Records are numbered by their resume tokens, so that another reader
/// goes on behind any of them.
#[derive(Debug)]
pub struct DocumentDbSource {
    client: Client,
    settings: ChangeStreamSettings,
    reading: Option<Reading>,
    /// Where a stream that was lost had come to.
    place: Option<Place>,
    has_answered: bool,
}

/// Where to open the stream again for a caller who asks for `from`: closer than that, if events came that it does not
/// watch, or none.
#[derive(Clone, Debug)]
struct Place {
    from: ReadFrom,
    token: ResumeToken,
}

#[derive(Clone, Debug, PartialEq)]
enum Start {
    Behind(ResumeToken),
    At(Timestamp),
    Now,
}

impl DocumentDbSource {
    /// The change stream of a collection, a database or a cluster. The server is not asked before the first read.
    ///
    /// # Errors
    /// A connection string that can't be used, or a collection without a database.
    pub async fn connect(settings: ChangeStreamSettings) -> Result<Self, SourceError> {
        let refuse = |message: String| SourceError { message, retryable: false };
        if settings.collection.is_some() && settings.database.is_none() {
            return Err(refuse("a collection is watched in a database: say which".into()));
        }
        let mut options =
            ClientOptions::parse(&settings.uri).await.map_err(|error| explain("the connection string", &error))?;
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.app_name.get_or_insert_with(|| "tidelock".into());
        let client = Client::with_options(options).map_err(|error| explain("the connection string", &error))?;
        Ok(Self { client, settings, reading: None, place: None, has_answered: false })
    }

    /// What is watched: `DATABASE.COLLECTION`, `DATABASE`, or `all databases`.
    pub fn watched(&self) -> String {
        match (&self.settings.database, &self.settings.collection) {
            (Some(database), Some(collection)) => format!("{database}.{collection}"),
            (Some(database), None) => database.clone(),
            (None, _) => "all databases".into(),
        }
    }

    /// Where reading begins for a caller who asks for `from`.
    fn start(&self, from: &ReadFrom) -> Result<Start, SourceError> {
        if let Some(place) = self.place.as_ref().filter(|place| place.from == *from) {
            return Ok(Start::Behind(place.token.clone()));
        }
        let horizon = Moment::from_epoch(Moment::now().since_epoch().saturating_sub(self.settings.retention));
        match from {
            ReadFrom::Latest => Ok(Start::Now),
            ReadFrom::TrimHorizon => Ok(Start::At(timestamp(horizon))),
            // Lambda begins at the oldest event where there is none that is old enough.
            ReadFrom::AtTimestamp(moment) => Ok(Start::At(timestamp((*moment).max(horizon)))),
            ReadFrom::After(sequence) => match token(sequence.as_str()) {
                Ok(token) => Ok(Start::Behind(token)),
                Err(message) => Err(SourceError { message, retryable: false }),
            },
        }
    }

    async fn open(&mut self, from: &ReadFrom) -> Result<ChangeStream<RawDocumentBuf>, SourceError> {
        let start = self.start(from)?;
        let mut options = ChangeStreamOptions::default();
        options.full_document = match self.settings.full_document {
            FullDocument::Default => None,
            FullDocument::UpdateLookup => Some(FullDocumentType::UpdateLookup),
        };
        options.max_await_time = Some(AWAIT);
        options.batch_size = Some(REQUEST);
        let mut first = options.clone();
        match &start {
            Start::Behind(token) => first.resume_after = Some(token.clone()),
            Start::At(time) => first.start_at_operation_time = Some(*time),
            Start::Now => {}
        }
        let mut opened = watch(&self.client, &self.settings, first).await;
        if let (Start::Behind(token), Err(error)) = (&start, &opened)
            && code(error) == Some(INVALID_RESUME_TOKEN)
        {
            // Behind an invalidate event, such as a dropped collection's, a new stream begins.
            options.start_after = Some(token.clone());
            opened = watch(&self.client, &self.settings, options).await;
        }
        let doing = format!("opening the change stream of {}", self.watched());
        opened.map_err(|error| explain(&doing, &error))
    }
}

/// Opens the change stream that the settings name. No method, because a source with an open stream can't be shared.
async fn watch(
    client: &Client,
    settings: &ChangeStreamSettings,
    options: ChangeStreamOptions,
) -> mongodb::error::Result<ChangeStream<RawDocumentBuf>> {
    Ok(match (&settings.database, &settings.collection) {
        (Some(database), Some(collection)) => {
            let collection: Collection<RawDocumentBuf> = client.database(database).collection(collection);
            collection.watch().with_options(options).await?.with_type()
        }
        (Some(database), None) => client.database(database).watch().with_options(options).await?.with_type(),
        (None, _) => client.watch().with_options(options).await?.with_type(),
    })
}

/// The resume token with this text.
fn token(data: &str) -> Result<ResumeToken, String> {
    deserialize_from_bson(Bson::Document(doc! {"_data": data}))
        .map_err(|error| format!("`{data}` is no resume token: {error}"))
}

/// The first moment of a second as the server counts it.
fn timestamp(moment: Moment) -> Timestamp {
    // Zero means "no time" to servers.
    let time = u32::try_from(moment.since_epoch().as_secs()).unwrap_or(u32::MAX).max(1);
    Timestamp { time, increment: 0 }
}

impl RecordSource for DocumentDbSource {
    fn info(&self) -> SourceInfo {
        SourceInfo::documentdb(&self.settings.arn, self.settings.retention)
    }

    async fn shards(&mut self) -> Result<Vec<Shard>, SourceError> {
        if !self.has_answered {
            // A wrong address or password is told at once.
            let asked = self.client.database("admin").run_command(doc! {"ping": 1}).await;
            asked.map_err(|error| explain("asking the cluster", &error))?;
            self.has_answered = true;
        }
        Ok(vec![Shard { id: self.watched(), parent: None, closed: false }])
    }

    async fn read(&mut self, _shard: &str, from: &ReadFrom, limit: usize) -> Result<Page, SourceError> {
        // Taken out, so that a read that is given up half-way leaves no stream that has gone on.
        let is_open = self.reading.is_some();
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => Reading::begin(self.open(from).await?),
        };
        let (mut page, mut bytes, mut reached) = (Page::default(), 0, None);
        loop {
            let Answer { stream, event } = match reading {
                Reading::Answered(answer) => *answer,
                Reading::UnderWay(mut answer) => {
                    // The server's first answer says where an open stream is. Later ones are waited for elsewhere.
                    let patience = async {
                        match (page.records.is_empty(), is_open) {
                            (false, _) => {}
                            (true, true) => sleep(PATIENCE).await,
                            (true, false) => pending().await,
                        }
                    };
                    let answered = tokio::select! {
                        biased;
                        answer = &mut answer => Some(answer),
                        () = patience => None,
                    };
                    match answered {
                        Some(answer) => answer,
                        None => {
                            page.caught_up = true;
                            self.reading = Some(Reading::UnderWay(answer));
                            break;
                        }
                    }
                }
            };
            let is_last = match event {
                Ok(Some(event)) => {
                    bytes += event.as_bytes().len();
                    let record = event::to_record(&event, self.settings.form).map_err(|message| SourceError {
                        message: format!("{}: {message}", self.watched()),
                        retryable: false,
                    })?;
                    page.records.push(record);
                    page.records.len() >= limit || bytes >= PAGE_BYTES
                }
                Ok(None) => {
                    page.caught_up = true;
                    true
                }
                // What was read is handed on; the stream is opened again behind it.
                Err(_) if !page.records.is_empty() => return Ok(page),
                Err(error) => {
                    return Err(explain(&format!("reading the change stream of {}", self.watched()), &error));
                }
            };
            reached = stream.resume_token().or(reached);
            if is_last {
                // An invalidate event ends the stream; the next read opens a new one behind it.
                self.reading = stream.is_alive().then(|| Reading::begin(stream));
                break;
            }
            reading = Reading::begin(stream);
        }
        // Should the stream be lost before its next event, another must not begin later than this.
        if let Some(token) = reached {
            let from = page.records.last().map_or_else(|| from.clone(), |last| ReadFrom::After(last.sequence.clone()));
            self.place = Some(Place { from, token });
        }
        Ok(page)
    }

    async fn ready(&mut self) {
        match &mut self.reading {
            Some(Reading::UnderWay(answer)) => {
                let answer = answer.await;
                self.reading = Some(Reading::Answered(Box::new(answer)));
            }
            Some(Reading::Answered(_)) => {}
            None => pending().await,
        }
    }

    fn identified(&self, _identifier: &Value) -> Option<String> {
        // No answer of this mapping's is partial.
        None
    }
}

impl SourceInfo {
    /// What a mapping needs to know about a cluster's change stream.
    pub(crate) fn documentdb(arn: &str, retention: Duration) -> Self {
        Self {
            event_head: format!("{{\"eventSourceArn\":{},\"events\":[", Value::from(arn)),
            event_tail: "],\"eventSource\":\"aws:docdb\"}".into(),
            arn: arn.into(),
            batch_info: "DocumentDBBatchInfo",
            failures: FailureHandling::RetryWhole { retention },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::SequenceNumber;

    #[tokio::test]
    async fn a_lost_stream_is_opened_at_its_place_only_for_a_caller_who_was_there() {
        // No server is asked for any of this.
        let mut settings = ChangeStreamSettings::new("mongodb://127.0.0.1:1");
        settings.retention = Duration::from_secs(60);
        let mut source = DocumentDbSource::connect(settings).await.unwrap();
        let behind = |data: &str| Start::Behind(token(data).unwrap());
        let after = |data: &str| ReadFrom::After(SequenceNumber::new(data));
        assert_eq!(source.start(&ReadFrom::Latest).unwrap(), Start::Now);
        assert_eq!(source.start(&after("01")).unwrap(), behind("01"));
        source.place = Some(Place { from: after("01"), token: token("09").unwrap() });
        assert_eq!(source.start(&after("01")).unwrap(), behind("09"), "nothing that is watched lies between");
        assert_eq!(source.start(&after("05")).unwrap(), behind("05"));
        assert_eq!(source.start(&ReadFrom::Latest).unwrap(), Start::Now);

        let now = Moment::now();
        let horizon = |start| match start {
            Start::At(time) => u64::from(time.time),
            other => panic!("{other:?}"),
        };
        let oldest = now.since_epoch().as_secs() - 60;
        let found = horizon(source.start(&ReadFrom::TrimHorizon).unwrap());
        assert!((oldest..oldest + 30).contains(&found), "{found} is not {oldest}");
        assert_eq!(horizon(source.start(&ReadFrom::AtTimestamp(now)).unwrap()), now.since_epoch().as_secs());
        let early = ReadFrom::AtTimestamp(Moment::from_epoch(Duration::ZERO));
        assert!(horizon(source.start(&early).unwrap()) >= oldest);
    }
}
