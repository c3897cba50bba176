//! `tidelock backfill`: what was there before the stream, brought into the target beside it.

mod job;

use crate::progress::Progress;
use futures_util::StreamExt as _;
use job::{Running, Stop};
use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidelock_lambda::{Environment, environment};
use tidelock_sync::{Backfiller, Counts, Pace, Segmented};

/// A setting, the source or the target could not be used; the next start goes on where this one ended.
const FAILED: u8 = 1;
/// Options that can't be used; clap's own number for it.
const BAD_OPTIONS: u8 = 2;
/// It is done, but some items became dead letters.
const SOME_PARKED: u8 = 3;

/// Segments where nothing else is said.
const SEGMENTS: u32 = 8;

/// How long a target that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a segment may run; there is no other end to it than its own.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// Bring the items of a table or collection into the target, beside the live stream
///
/// Nothing needs to be paused: enable the stream and its function first, then start this. Where the target holds nothing of
/// an item, it is written with the oldest version there is; elsewhere the source is read again, and nothing newer is ever
/// overwritten. Uses the settings of the function (TIDELOCK_TARGET, TIDELOCK_PIPELINE, TIDELOCK_SOURCE, …).
///
/// A backfill that was interrupted goes on where it ended; one that is running is not started twice.
///
/// Exit status: 0 done, 1 stopped before its end (start it again to go on), 2 bad options, 3 done, some items are dead letters.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table, or database.collection
    #[arg(value_name = "NAME")]
    origin: String,
    /// Into how many segments the scan is divided; they are scanned side by side [default: 8]
    #[arg(long, value_name = "N")]
    segments: Option<u32>,
    /// Read capacity units a second to keep to, over all segments (DynamoDB)
    #[arg(long, value_name = "UNITS")]
    rcu: Option<f64>,
    /// Where it remembers how far it has come: file:PATH or dynamodb:TABLE. Default: TIDELOCK_STATE, else
    /// file:tidelock-backfill.json
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Forget how far an earlier one has come, and begin anew
    #[arg(long)]
    restart: bool,
    /// Only tell how far it has come
    #[arg(long)]
    status: bool,
    /// One JSON object at the end
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    match crate::run(FAILED, work(&args, &environment())) {
        Err(code) => code,
        Ok(Ok((code, _))) => ExitCode::from(code),
        Ok(Err(Stop { code, message })) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

/// What a whole backfill has come to.
pub(crate) struct Brought {
    /// Items that were read.
    pub(crate) scanned: usize,
    /// Of these, the ones that the pipeline leaves out.
    pub(crate) filtered: usize,
    /// Of these, the ones that became dead letters.
    pub(crate) parked: usize,
}

/// Brings in the items of a source from the first to the last; goes on where an earlier backfill of the same source, pipeline and
/// target was interrupted.
///
/// # Errors
/// When it stops before its end, with the reason.
pub(crate) async fn bring(origin: &str, rcu: Option<f64>, environment: &Environment) -> Result<Brought, String> {
    let interrupted = async { job::Memory::open(None, environment)?.is_interrupted(origin, environment).await };
    let restart = !interrupted.await.map_err(|stop: Stop| stop.message)?;
    let args =
        Args { origin: origin.to_owned(), segments: None, rcu, state: None, restart, status: false, json: false };
    let (code, counts) = work(&args, environment).await.map_err(|stop| stop.message)?;
    match code {
        FAILED => Err(format!("the backfill of `{origin}` stopped before its end")),
        _ => Ok(Brought { scanned: counts.scanned, filtered: counts.filtered, parked: counts.parked }),
    }
}

async fn work(args: &Args, environment: &Environment) -> Result<(u8, Counts), Stop> {
    if args.rcu.is_some_and(|rcu| !rcu.is_finite() || rcu <= 0.0) {
        return Err(Stop::options("--rcu: must be above 0"));
    }
    let memory = job::Memory::open(args.state.as_deref(), environment)?;
    if args.status {
        let known = memory.progress(&args.origin).await?;
        let Some((job, segments)) = known else {
            return Err(Stop::failed(format!("no backfill of `{}` is known", args.origin)));
        };
        return Ok(tell(args, &job.origin, &segments, None));
    }
    let backfiller = Backfiller::start(environment).await.map_err(|error| Stop::options(error.message))?;
    let running = memory.begin(&backfiller, &args.origin, args.segments, args.restart, environment).await?;
    let began = Instant::now();
    let segments = tokio::select! {
        segments = scan(args, &backfiller, &running) => segments,
        why = running.keep() => return Err(Stop::failed(why)),
    };
    running.end().await;
    Ok(tell(args, &args.origin, &segments, Some(began.elapsed())))
}

/// Scans all segments side by side.
async fn scan(args: &Args, backfiller: &Backfiller, running: &Running<'_>) -> Vec<Segmented> {
    let pace = Pace::new(args.rcu);
    let total = running.job.scanned.items.unwrap_or_default();
    let progress = Progress::new("items", total, args.json);
    let states = RefCell::new(running.segments.clone());
    let before: usize = states.borrow().iter().map(|state| state.counts.scanned).sum();
    let stopped = Cell::new(false);
    let waits_for: RefCell<Option<String>> = RefCell::default();
    let numbers = (0..running.job.segments).zip(running.segments.clone());
    let segments = numbers.map(|(number, state)| {
        let (pace, progress, states, stopped, waits_for) = (&pace, &progress, &states, &stopped, &waits_for);
        async move {
            let watch = async |state: &Segmented| {
                if let Some(place) = states.borrow_mut().get_mut(number as usize) {
                    *place = state.clone();
                }
                let done: usize = states.borrow().iter().map(|state| state.counts.scanned).sum();
                progress.at(done as u64, before as u64);
                if let Some(why) = &state.stopped {
                    if waits_for.replace(Some(why.clone())).as_ref() != Some(why) {
                        eprintln!("warning: segment {number} waits: {why}");
                    }
                    return;
                }
                if let Err(why) = running.remember(number, state).await
                    && !stopped.replace(true)
                {
                    eprintln!("warning: how far it has come is not remembered: {why}");
                }
            };
            let time = (Instant::now() + FOR_EVER, PATIENCE);
            let done = backfiller.segment(&running.job, number, state, pace, time, watch).await;
            if let Some(place) = states.borrow_mut().get_mut(number as usize) {
                *place = done;
            }
        }
    });
    futures_util::stream::iter(segments).buffer_unordered(running.job.segments as usize).collect::<Vec<()>>().await;
    progress.end();
    states.into_inner()
}

fn tell(args: &Args, origin: &str, segments: &[Segmented], time: Option<Duration>) -> (u8, Counts) {
    let mut counts = Counts::default();
    segments.iter().for_each(|segment| counts.add(&segment.counts));
    let done = segments.iter().filter(|segment| segment.done).count();
    let stopped: Vec<&str> = segments.iter().filter_map(|segment| segment.stopped.as_deref()).collect();
    if args.json {
        let answer = serde_json::json!({
            "origin": origin, "segments": segments.len(), "segments_done": done, "counts": counts, "stopped": stopped,
            "seconds": time.map(|time| time.as_secs_f64()),
        });
        println!("{answer}");
    } else {
        println!("{origin}: {done} of {} segments, {} items read", segments.len(), counts.scanned);
        for (count, what) in [
            (counts.written, "written"),
            (counts.stale, "newer in the target already"),
            (counts.filtered, "left out by the pipeline"),
        ] {
            println!("{count:>10}  {what}");
        }
        for (reason, count) in &counts.reasons {
            println!("{count:>10}  dead letters: {reason}");
        }
        if let Some(time) = time {
            println!("{:>10.1}  seconds", time.as_secs_f64());
        }
    }
    if let Some(why) = stopped.first() {
        eprintln!("stopped: {why}\nstart it again to go on from there");
    }
    let code = match (done == segments.len(), counts.parked) {
        (false, _) => FAILED,
        (true, 0) => 0,
        (true, _) => SOME_PARKED,
    };
    (code, counts)
}
