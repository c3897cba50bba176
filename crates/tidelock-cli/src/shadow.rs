//! `tidelock shadow`: a live or recorded stream against a target that is only looked at.

mod tally;

use std::cell::Cell;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::dev::environment::{callers, wants_colours};
use crate::explain::text::Paint;
use bytes::Bytes;
use tally::{Form, Tally};
use tidelock_lambda::{Environment, environment};
use tidelock_local::function::{Invocation, from_fn};
use tidelock_local::mapping::{LocalMapping, MappingSettings, StartingPosition};
use tidelock_local::source::RecordSource;
use tidelock_local::source::dynamodb::{Connection, DynamoDbSource, connect};
use tidelock_local::source::file::FileSource;
use tidelock_sync::Shadow;
use tokio::sync::{Notify, mpsc, oneshot};

/// Something differs, or could not be compared.
const SOMETHING_DIFFERS: u8 = 1;
/// Options, settings, a source or a target that can't be used; clap's own number for it.
const BAD_OPTIONS: u8 = 2;

/// Records that are compared at a time.
const BATCH: u32 = 500;

/// Say what a stream would change in an existing target; nothing is written
///
/// For every change, what the function would write is compared with what the target holds. Uses the function's settings
/// (TIDELOCK_TARGET, TIDELOCK_PIPELINE, …) and reads from the target alone: no index, fence, mapping or checkpoint is
/// made. See docs/explain.md.
///
/// Exit status: 0 nothing differs, 1 something differs or could not be compared, 2 bad options, or a source or target
/// that can't be used.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recorded events: each an event with `Records`, a JSON array, or one record a line
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "table", conflicts_with = "table")]
    events: Vec<PathBuf>,
    /// The newest stream of this DynamoDB table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Where reading the stream begins
    #[arg(long, value_name = "POSITION", value_enum, default_value = "latest")]
    from: From,
    /// Where DynamoDB is, such as http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// The pipeline's file. Default: TIDELOCK_PIPELINE
    #[arg(long, value_name = "FILE")]
    pipeline: Option<String>,
    /// End after so many records, with the batch that the last one is in
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    time: Option<u64>,
    /// End when the stream has nothing new
    #[arg(long)]
    until_idle: bool,
    /// Look at what differs once more after so many seconds, because the function may be about to write it [default: 5
    /// with --table, else 0]
    #[arg(long, value_name = "SECONDS")]
    settle: Option<u64>,
    /// One JSON object for each key that differs or is newer, and one with the counts
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum From {
    TrimHorizon,
    Latest,
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    match crate::run(BAD_OPTIONS, work(&args, &environment())) {
        Err(code) => code,
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(BAD_OPTIONS)
        }
    }
}

async fn work(args: &Args, environment: &Environment) -> Result<u8, String> {
    let shadow = Shadow::start(environment, args.pipeline.as_deref()).await.map_err(|error| error.message)?;
    let form = match args.json {
        true => Form::Json,
        false => Form::Text(Paint { colours: io::stdout().is_terminal() && wants_colours(callers) }),
    };
    let mut tally = Tally::new(form, args.table.is_none());
    let stop = Stop::default();
    tokio::select! {
        done = read(args, &shadow, &mut tally, &stop) => done?,
        failed = stop.listen(args.time) => return Err(failed),
    }
    tally.end();
    Ok(if tally.is_clean() { 0 } else { SOMETHING_DIFFERS })
}

/// That no further batch is to be begun.
#[derive(Default)]
struct Stop {
    told: Cell<bool>,
    notify: Notify,
}

impl Stop {
    fn tell(&self) {
        self.told.set(true);
        self.notify.notify_one();
    }

    /// Waits for Ctrl-C or the end of the time, and then for ever; ends where Ctrl-C cannot be waited for.
    async fn listen(&self, seconds: Option<u64>) -> String {
        let time = async {
            match seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            waited = tokio::signal::ctrl_c() => if let Err(error) = waited {
                return format!("waiting for signals: {error}");
            },
        }
        self.tell();
        std::future::pending().await
    }
}

/// Reads the stream, or all files.
async fn read(args: &Args, shadow: &Shadow, tally: &mut Tally, stop: &Stop) -> Result<(), String> {
    if let Some(table) = &args.table {
        let connection = Connection { endpoint_url: args.endpoint_url.clone(), region: None };
        let source = DynamoDbSource::of_table(connect(&connection).await, table).await;
        return follow(args, shadow, source.map_err(|error| error.to_string())?, tally, stop).await;
    }
    let files = args.events.iter().map(|path| FileSource::open(path).map_err(|error| error.to_string()));
    // All of them must be readable before the first is read.
    for source in files.collect::<Result<Vec<_>, _>>()? {
        if !stop.told.get() {
            follow(args, shadow, source, tally, stop).await?;
        }
    }
    Ok(())
}

/// Gives a source's batches to the shadow until there are none, or until it is told to stop.
async fn follow<S: RecordSource>(
    args: &Args,
    shadow: &Shadow,
    source: S,
    tally: &mut Tally,
    stop: &Stop,
) -> Result<(), String> {
    let (sender, mut batches) = mpsc::unbounded_channel::<(Bytes, oneshot::Sender<()>)>();
    // The mapping's tasks may run anywhere; the target is of this thread.
    let function = from_fn(move |payload: Bytes| {
        let sender = sender.clone();
        async move {
            let (done, answered) = oneshot::channel();
            match sender.send((payload, done)).is_ok() && answered.await.is_ok() {
                true => Invocation::Response(Bytes::from_static(b"{}")),
                false => Invocation::Timeout,
            }
        }
    });
    let settings = MappingSettings {
        batch_size: args.limit.unwrap_or(BATCH).min(BATCH),
        starting_position: match (args.table.is_some(), args.from) {
            (true, From::Latest) => StartingPosition::Latest,
            _ => StartingPosition::TrimHorizon,
        },
        ..MappingSettings::default()
    };
    let mapping = LocalMapping::new(settings, source, function).map_err(|error| error.to_string())?;
    let mut mapping = mapping.without_answers();
    let settle = args.settle.unwrap_or(if args.table.is_some() { 5 } else { 0 });
    let compare = async {
        while let Some((payload, done)) = batches.recv().await {
            let comparison = shadow.compare(&payload, Duration::from_secs(settle)).await;
            tally.take(comparison.map_err(|error| error.message)?);
            if args.limit.is_some_and(|limit| tally.records() >= limit as usize) {
                stop.tell();
            }
            // Nobody waits any more where the run was given up.
            let _ = done.send(());
        }
        Ok::<(), String>(())
    };
    let drained = args.until_idle || args.table.is_none();
    let run = async {
        match drained {
            true => mapping.run_until_idle_or(stop.notify.notified()).await,
            false => mapping.run(stop.notify.notified()).await,
        }
    };
    tokio::select! {
        ended = run => ended.map(drop).map_err(|error| error.to_string()),
        failed = compare => failed,
    }
}
