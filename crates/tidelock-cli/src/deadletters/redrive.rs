//! `tidelock deadletters redrive`.

use super::filter::Which;
use super::{NOTHING_MATCHES, Place, SOMETHING_LEFT, Stop};
use crate::progress::Progress;
use std::time::{Duration, Instant};
use tidelock_core::redrive::{Mode, Redriven};
use tidelock_lambda::{Environment, Invocation};
use tidelock_sync::{Recovery, Request};

/// Apply letters again
///
/// Writes to the target of TIDELOCK_TARGET by the pipeline of TIDELOCK_PIPELINE, with the same settings as the function's. A
/// letter is deleted when its record is applied, or something newer is stored; refused again, it waits on with one attempt
/// more. Nothing newer is ever overwritten.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// Read the source again, and write what it says now, instead of what the record said (needs TIDELOCK_SOURCE)
    #[arg(long)]
    truth: bool,
    /// Only tell what would happen, as far as looking can tell: what the target refuses shows when it is written
    #[arg(long)]
    dry_run: bool,
    /// Also what is older than the target remembers deletes
    #[arg(long)]
    force: bool,
    /// At most so many letters
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Stop after so many seconds; letters are hidden from others for as long
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    time: u64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let what = args.place.what(environment);
    let request = Request {
        redrive: vec![what],
        mode: if args.truth { Mode::Truth } else { Mode::Payload },
        dry_run: args.dry_run,
        force: args.force,
        limit: args.limit,
        ..args.which.request()?
    };
    let total = args.place.open(environment)?.facts().await.map_err(Stop::failed)?.waiting;
    let total = args.limit.map_or(total, |limit| total.min(limit as u64));
    let recovery =
        Recovery::start(&args.place.over(environment)).await.map_err(|error| Stop::options(error.message))?;
    let progress = Progress::new("redriven", total, args.json);
    let invocation = Invocation {
        request_id: format!("tidelock-{}", std::process::id()),
        deadline: Instant::now() + Duration::from_secs(args.time),
    };
    let watch = |redriven: &Redriven| progress.at(redriven.messages as u64, 0);
    let done = recovery.on_demand(&request, &invocation, &watch).await;
    progress.end();
    let done = done.map_err(|error| Stop::failed(error.message))?;
    let redriven = done.get(&what).cloned().unwrap_or_default();
    match args.json {
        true => println!("{}", serde_json::to_string(&redriven).unwrap_or_default()),
        false => print(&redriven, args.dry_run),
    }
    let left = redriven.kept + redriven.waiting + redriven.parked.values().sum::<usize>();
    match redriven {
        Redriven { messages: 0, kept: 0, stopped: None, .. } => Err(Stop {
            code: NOTHING_MATCHES,
            message: if total == 0 { "the queue is empty".to_owned() } else { "nothing matches".to_owned() },
        }),
        Redriven { stopped: Some(why), .. } => Err(Stop::failed(format!("stopped: {why}"))),
        _ if left > 0 => Ok(SOMETHING_LEFT),
        _ => Ok(0),
    }
}

fn print(redriven: &Redriven, dry_run: bool) {
    let would = if dry_run { "would be " } else { "" };
    for (count, what) in [
        (redriven.applied, "applied"),
        (redriven.stale, "stale: the target holds something newer"),
        (redriven.filtered, "left out by the pipeline"),
        (redriven.waiting, "not applied now: they wait on"),
    ] {
        if count > 0 {
            println!("{count:>8}  {would}{what}");
        }
    }
    for (reason, count) in &redriven.parked {
        println!("{count:>8}  {would}refused again: {reason}");
    }
    if redriven.kept > 0 {
        println!("{:>8}  messages kept as they are:", redriven.kept);
        for (name, why) in &redriven.kept_because {
            println!("          {name}: {why}");
        }
    }
}
