//! What a template would deploy: functions, an API, an event source mapping.

use crate::{Arguments, Failure};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidelock_local::clock::Moment;
use tidelock_local::function::{Function as _, Invocation};
use tidelock_local::gateway::{self, Route};
use tidelock_local::mapping::{Decision, LocalMapping, MappingSettings, Pace, StartingPosition, Step};
use tidelock_local::runtime_api::{FunctionSettings, LogRing, LogSink, ProcessFunction};
use tidelock_local::source::documentdb::{ChangeStreamSettings, DocumentDbSource, FullDocument};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const DATABASE: &str = "demo-database";
pub(crate) const COLLECTION: &str = "demo-collection";
pub(crate) const INDEX: &str = "demo-index";

/// The longest that anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Lines of each function's log that are kept, to be shown when the demonstration fails.
const LOG_LINES: usize = 40;

/// What the mapping has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) invocations: u64,
    /// Batches that come again.
    pub(crate) failed: u64,
    /// Change events that are done.
    pub(crate) events: u64,
}

/// Everything, running.
pub(crate) struct Stack {
    /// `HOST:PORT` of the API.
    pub(crate) api: String,
    /// The dead-letter queue.
    pub(crate) letters: PathBuf,
    /// The fallback queue.
    pub(crate) held: PathBuf,
    redrive: Arc<ProcessFunction>,
    progress: watch::Receiver<Progress>,
    logs: Vec<(&'static str, LogRing)>,
    /// The API and the mapping; they end with this value.
    tasks: JoinSet<Failure>,
}

impl Stack {
    /// Starts it all. The mapping reads changes from now on.
    pub(crate) async fn start(arguments: &Arguments) -> Result<Self, Failure> {
        let (letters, held) = (arguments.folder.join("dead-letters.jsonl"), arguments.folder.join("fallback.jsonl"));
        let pipeline = format!("{{version: 1, routes: [{{from: {DATABASE}.{COLLECTION}, to: {INDEX}}}]}}");
        let stream = change_stream(&arguments.cluster);
        let environment = [
            ("TIDELOCK_SOURCE", arguments.cluster.clone()),
            ("TIDELOCK_SOURCE_CLUSTER", stream.arn.clone()),
            ("TIDELOCK_TARGET", format!("opensearch+http://{}", arguments.opensearch)),
            ("TIDELOCK_PIPELINE", pipeline),
            ("TIDELOCK_DEAD_LETTERS", format!("file:{}", letters.display())),
            ("TIDELOCK_FALLBACK", format!("file:{}", held.display())),
            ("TIDELOCK_DEMO_DATABASE", DATABASE.to_owned()),
            ("TIDELOCK_DEMO_COLLECTION", COLLECTION.to_owned()),
            ("TIDELOCK_DEMO_INDEX", INDEX.to_owned()),
        ];
        let mut logs = Vec::new();
        let mut function = |name: &'static str| -> Result<Arc<ProcessFunction>, Failure> {
            let log = LogRing::new(LOG_LINES);
            logs.push((name, log.clone()));
            let mut settings = FunctionSettings::new(arguments.functions.join(name));
            settings.logs = LogSink::Ring(log);
            settings.environment.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            Ok(Arc::new(ProcessFunction::new(settings)?))
        };
        let (config, writer, reader) =
            (function("enable-change-streams")?, function("demo-writer")?, function("demo-reader")?);
        let (sync, redrive) = (function("documentdb-sync")?, function("redrive")?);
        let route = |method, path, function: &Arc<ProcessFunction>| Route { method, path, function: function.clone() };
        let routes = vec![
            route("POST", "/config", &config),
            route("POST", "/demo-data", &writer),
            route("PUT", "/demo-data/{id}", &writer),
            route("DELETE", "/demo-data/{id}", &writer),
            route("GET", "/demo-data", &reader),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let api = listener.local_addr()?.to_string();
        let (sender, progress) = watch::channel(Progress::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            gateway::serve(listener, routes).await;
            "the API has ended".into()
        });
        let mut mapping = mapping(stream, sync).await?.observer(move |step: &Step<'_>| {
            if let Step::Settled { sent, decision, .. } = step {
                sender.send_modify(|progress| {
                    progress.invocations += 1;
                    match decision {
                        Decision::Complete => progress.events += sent.records as u64,
                        _ => progress.failed += 1,
                    }
                });
            }
        });
        tasks.spawn(async move {
            match mapping.run(std::future::pending()).await {
                Ok(summary) => format!("the mapping has ended: {summary:?}").into(),
                Err(error) => error.into(),
            }
        });
        Ok(Self { api, letters, held, redrive, progress, logs, tasks })
    }

    /// What the mapping has done.
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until the mapping is done with so many change events in all.
    ///
    /// # Errors
    /// When it is not in time, or has ended.
    pub(crate) async fn settled(&mut self, events: u64) -> Result<Progress, Failure> {
        let done = self.progress.wait_for(|progress| progress.events >= events);
        let done = tokio::time::timeout(PATIENCE, done).await.map(|done| done.map(|progress| *progress));
        match done {
            Ok(Ok(progress)) => Ok(progress),
            Ok(Err(_)) => Err(match self.tasks.join_next().await {
                Some(ended) => ended.unwrap_or_else(|error| error.to_string().into()),
                None => "the mapping has ended".into(),
            }),
            Err(_) => {
                Err(format!("{events} changes have not passed the mapping in time: {:?}", self.progress()).into())
            }
        }
    }

    /// Invokes `redrive` as its schedule would, or somebody by hand.
    ///
    /// # Errors
    /// What the function says.
    pub(crate) async fn redrive(&self, request: &Value) -> Result<Value, Failure> {
        match self.redrive.invoke(request.to_string().into()).await {
            Invocation::Response(answer) => Ok(serde_json::from_slice(&answer)?),
            other => {
                Err(other.error().map_or_else(String::new, |(kind, text)| format!("redrive: {kind}: {text}")).into())
            }
        }
    }

    /// The latest lines of each function's log.
    pub(crate) fn logs(&self) -> String {
        let lines = self.logs.iter().flat_map(|(name, log)| log.lines().into_iter().map(move |line| (name, line)));
        lines.map(|(name, line)| format!("{name}: {line}\n")).collect()
    }
}

fn change_stream(cluster: &str) -> ChangeStreamSettings {
    let mut stream = ChangeStreamSettings::new(cluster);
    stream.database = Some(DATABASE.to_owned());
    stream.collection = Some(COLLECTION.to_owned());
    stream.full_document = FullDocument::UpdateLookup;
    stream
}

async fn mapping(
    stream: ChangeStreamSettings,
    function: Arc<ProcessFunction>,
) -> Result<LocalMapping<DocumentDbSource, Arc<ProcessFunction>>, Failure> {
    // The template begins at TRIM_HORIZON; here nothing has been before.
    let starting_position = StartingPosition::AtTimestamp(Moment::now());
    let settings = MappingSettings { starting_position, ..MappingSettings::default() };
    let pace = Pace { poll_interval: Duration::from_millis(50), ..Pace::default() };
    let source = DocumentDbSource::connect(stream).await?;
    Ok(LocalMapping::new(settings, source, function)?.pace(pace).without_answers())
}
