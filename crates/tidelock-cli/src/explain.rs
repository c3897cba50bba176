//! `tidelock explain`: what would become of an event, record by record, without a connection to anything.

pub(crate) mod json;
pub(crate) mod text;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use crate::dev::environment::{callers, wants_colours};
use tidelock_core::explain::{Explanation, Outlook};
use tidelock_lambda::environment;
use tidelock_sync::{Explainer, Sent};

/// With `--strict`: some record would not be written as it is.
const SOME_REFUSED: u8 = 1;
/// Options, a pipeline or an event that can't be used; clap's own number for it.
const BAD_OPTIONS: u8 = 2;

/// Say what would become of an event: routes, transforms, versions, ids, and the bytes that would be sent
///
/// Nothing is connected to, nothing is written. Reads the event as the function gets it, with the function's settings:
/// TIDELOCK_TARGET, TIDELOCK_PIPELINE, TIDELOCK_GUARDS, TIDELOCK_BULK_BYTES, TIDELOCK_SOURCE, TIDELOCK_HASH_SECRET (a file:
/// alone). See docs/explain.md.
///
/// Exit status: 0 explained, 1 with --strict: some record would be parked, 2 bad options, pipeline or event.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The event: a file of JSON, or - for standard input
    #[arg(value_name = "EVENT")]
    event: String,
    /// The pipeline's file. Default: TIDELOCK_PIPELINE, else every source goes to a target of its own name
    #[arg(long, value_name = "FILE")]
    pipeline: Option<String>,
    /// What it would be written to: opensearch, mongodb, or an address. Default: TIDELOCK_TARGET, else opensearch
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only this record, counted from 0
    #[arg(long, value_name = "N")]
    record: Option<usize>,
    /// One JSON object for each record, with the bytes whole
    #[arg(long)]
    json: bool,
    /// End with status 1 if some record would be parked
    #[arg(long)]
    strict: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    match work(&args) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(BAD_OPTIONS)
        }
    }
}

fn work(args: &Args) -> Result<u8, String> {
    if let Some(path) = &args.pipeline
        && let Err(error) = std::fs::metadata(path)
    {
        return Err(format!("--pipeline: `{path}` cannot be read: {error}"));
    }
    let explainer = Explainer::new(&environment(), args.target.as_deref(), args.pipeline.as_deref());
    let explainer = explainer.map_err(|error| error.message)?;
    if explainer.has_stand_in_key() {
        eprintln!("note: what `hash` steps make is shown with another key: TIDELOCK_HASH_SECRET names no file");
    }
    let payload = read(&args.event)?;
    let mut told = explainer.explain(&payload).map_err(|error| format!("{}: {}", args.event, error.message))?;
    let records = told.last().map_or(0, |last| last.record + 1);
    if let Some(wanted) = args.record {
        told.retain(|told| told.record == wanted);
        if wanted >= records {
            return Err(format!("--record: {wanted} is not there; the event has {records} records, counted from 0"));
        }
    }
    let out = if args.json {
        told.iter().map(json::object).collect::<Result<String, String>>()?
    } else {
        let colours = io::stdout().is_terminal() && wants_colours(callers);
        text::page(&told, text::Paint { colours })
    };
    match io::stdout().lock().write_all(out.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(format!("standard output: {error}")),
        _ => {}
    }
    let refused = |told: &Explanation<Sent>| matches!(told.outlook, Outlook::Parked(_) | Outlook::Retried(_));
    Ok(if args.strict && told.iter().any(refused) { SOME_REFUSED } else { 0 })
}

fn read(event: &str) -> Result<Vec<u8>, String> {
    let mut payload = Vec::new();
    let read = match event {
        "-" => io::stdin().lock().read_to_end(&mut payload).map(drop),
        path => std::fs::read(path).map(|bytes| payload = bytes),
    };
    read.map_err(|error| format!("`{event}` cannot be read: {error}"))?;
    Ok(payload)
}
