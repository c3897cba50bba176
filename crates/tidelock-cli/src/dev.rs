//! `tidelock dev`: a function on this machine, driven by a stream as Lambda's event source mapping drives it.

pub(crate) mod environment;
mod options;
mod progress;

use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use tidelock_local::function::{Function, Invocation};
use tidelock_local::http_invoke::HttpInvoke;
use tidelock_local::mapping::{LocalMapping, MappingError, OnFailure, Summary};
use tidelock_local::runtime_api::ProcessFunction;
use tidelock_local::source::documentdb::DocumentDbSource;
use tidelock_local::source::dynamodb::{DynamoDbSource, connect};
use tidelock_local::source::file::FileSource;
use tidelock_local::source::{RecordSource, SourceError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

pub(crate) use self::options::Args;

use self::options::{Origin, Plan, Target};
use self::progress::{Form, Progress};

/// The function could not start, the source could not be read, or an on-failure record could not be written.
const FAILED: u8 = 1;
/// Options that can't be used; clap's own number for it.
const BAD_OPTIONS: u8 = 2;
/// The run ended, but some records were given up.
const GAVE_UP_RECORDS: u8 = 3;
/// A batch failed until its events had expired.
const DISABLED: u8 = 4;
/// Stopped the hard way, as shells number it.
const INTERRUPTED: u8 = 130;

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    let plan = match options::check(args, environment::callers) {
        Ok(plan) => plan,
        Err(problems) => {
            let word = if problems.len() == 1 { "option" } else { "options" };
            eprintln!("error: {} {word} of `tidelock dev` can't be used:", problems.len());
            for problem in problems {
                eprintln!("  {problem}");
            }
            eprintln!("\nFor more information, try 'tidelock dev --help'.");
            return ExitCode::from(BAD_OPTIONS);
        }
    };
    match crate::run(FAILED, drive(plan)) {
        Ok(Ok(code)) | Err(code) => code,
        Ok(Err(message)) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(FAILED)
}

async fn drive(plan: Plan) -> Result<ExitCode, String> {
    let function = match &plan.target {
        Target::Process(settings) => {
            let function = ProcessFunction::new(settings.clone()).map_err(|error| error.to_string())?;
            function.warm_up().await.map_err(|outcome| describe_start(&outcome))?;
            LocalFunction::Process(function)
        }
        Target::Http(function) => {
            function.probe().await?;
            LocalFunction::Http(function.clone())
        }
    };
    match &plan.origin {
        Origin::File(path) => {
            let source = FileSource::open(path).map_err(|error| error.to_string())?;
            map(&plan, source, function).await
        }
        Origin::Cluster(settings) => {
            let source = DocumentDbSource::connect(settings.clone()).await.map_err(|error| error.to_string())?;
            map(&plan, source, function).await
        }
        Origin::Stream { arn, connection } => {
            let source = DynamoDbSource::new(connect(connection).await, arn);
            map(&plan, source, function).await
        }
        Origin::Table { name, connection } => {
            let source = DynamoDbSource::of_table(connect(connection).await, name)
                .await
                .map_err(|error: SourceError| error.to_string())?;
            map(&plan, source, function).await
        }
    }
}

/// Why a function does not start, with what to do about it.
fn describe_start(outcome: &Invocation) -> String {
    match outcome.error() {
        Some((error_type, message)) => format!("the function could not start: {error_type}: {message}"),
        None => "the function could not start".into(),
    }
}

/// Either way to a function.
enum LocalFunction {
    Process(ProcessFunction),
    Http(HttpInvoke),
}

impl Function for LocalFunction {
    async fn invoke(&self, payload: Bytes) -> Invocation {
        match self {
            Self::Process(function) => function.invoke(payload).await,
            Self::Http(function) => function.invoke(payload).await,
        }
    }

    async fn invoke_as(&self, request_id: &str, payload: Bytes) -> Invocation {
        match self {
            Self::Process(function) => function.invoke_as(request_id, payload).await,
            Self::Http(function) => function.invoke_as(request_id, payload).await,
        }
    }

    fn arn(&self) -> String {
        match self {
            Self::Process(function) => function.arn(),
            Self::Http(function) => function.arn(),
        }
    }
}

async fn map<S: RecordSource>(plan: &Plan, source: S, function: LocalFunction) -> Result<ExitCode, String> {
    let form = if plan.json {
        Form::Json
    } else {
        Form::Text { colours: io::stdout().is_terminal() && environment::wants_colours(environment::callers) }
    };
    let progress = Progress::new(form);
    progress.begin(&source.info().arn, &function.arn());
    let observer = progress.clone();
    let mut mapping = LocalMapping::new(plan.settings.clone(), source, function)
        .map_err(|error| error.to_string())?
        .pace(plan.pace)
        .without_answers()
        .observer(move |step| observer.step(step));
    if let Some(destination) = &plan.on_failure {
        mapping = mapping.on_failure(destination.clone());
    }
    let outcome = run_until_stopped(plan, &mut mapping).await?;
    if let LocalFunction::Process(function) = mapping.function() {
        function.shut_down().await;
    }
    let summary = match outcome {
        Some(outcome) => outcome.map_err(|error| error.to_string())?,
        None => return Ok(ExitCode::from(INTERRUPTED)),
    };
    progress.end(&summary);
    Ok(if summary.disabled.is_some() {
        ExitCode::from(DISABLED)
    } else if summary.on_failure_records > 0 || summary.oversized > 0 {
        ExitCode::from(GAVE_UP_RECORDS)
    } else {
        ExitCode::SUCCESS
    })
}

/// Runs the mapping. The first Ctrl-C (or SIGTERM) lets the running batch finish, the second gives it up: `None`.
async fn run_until_stopped<S: RecordSource>(
    plan: &Plan,
    mapping: &mut LocalMapping<S, LocalFunction>,
) -> Result<Option<Result<Summary, MappingError>>, String> {
    let prepare = |kind| signal(kind).map_err(|error| format!("waiting for signals: {error}"));
    let (mut interrupt, mut terminate) = (prepare(SignalKind::interrupt())?, prepare(SignalKind::terminate())?);
    let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (stop, give_up) = (first.clone(), second.clone());
    let listener = tokio::spawn(async move {
        for (notify, note) in
            [(stop, "stopping after the running batch; once more to give it up"), (give_up, "giving it up")]
        {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("{note}");
            notify.notify_one();
        }
    });
    let work = pin!(work(plan, mapping, first.notified()));
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        () = second.notified() => None,
    };
    listener.abort();
    Ok(outcome)
}

async fn work<S: RecordSource>(
    plan: &Plan,
    mapping: &mut LocalMapping<S, LocalFunction>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, MappingError> {
    if plan.until_idle { mapping.run_until_idle_or(stop).await } else { mapping.run(stop).await }
}

/// A path that ends in `.json`, `.jsonl` or `.ndjson` is a file with one record a line, any other a folder laid out like
/// the S3 bucket.
fn destination(path: &str) -> OnFailure {
    let lower = path.to_ascii_lowercase();
    if [".json", ".jsonl", ".ndjson"].iter().any(|ending| lower.ends_with(ending)) {
        OnFailure::JsonLines(path.into())
    } else {
        OnFailure::Folder(path.into())
    }
}
