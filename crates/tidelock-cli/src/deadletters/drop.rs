//! `tidelock deadletters drop`.

use super::filter::Which;
use super::{Place, SOMETHING_LEFT, Stop, list};
use crate::progress::Progress;
use serde_json::json;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use tidelock_lambda::Environment;

/// Delete letters for good, without applying them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// All letters: needed where nothing says which
    #[arg(long)]
    all: bool,
    /// Messages that cannot be read, and nothing else
    #[arg(long)]
    unreadable: bool,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let filter = args.which.filter()?;
    if filter.is_empty() && !args.all && !args.unreadable {
        return Err(Stop::options("say which letters to drop (--reason, --source, --key, …), or --all"));
    }
    if args.unreadable && (args.all || !filter.is_empty()) {
        return Err(Stop::options("--unreadable: nothing else can be said of what cannot be read"));
    }
    let letters = args.place.open(environment)?;
    let mut matching = 0;
    let survey = letters
        .survey(|_, parcel| {
            let meant = match parcel {
                Ok(parcel) => !args.unreadable && filter.takes(parcel),
                Err(_) => args.unreadable,
            };
            matching += usize::from(meant);
            true
        })
        .await;
    list::end(&survey, matching)?;
    if args.dry_run {
        match args.json {
            true => println!("{}", json!({"matching": matching, "dropped": 0})),
            false => println!("{matching} would be deleted"),
        }
        return Ok(0);
    }
    if !args.yes && !confirmed(matching)? {
        return Err(Stop::failed("nothing was deleted"));
    }
    let progress = Progress::new("deleted", matching as u64, args.json);
    let discarded =
        letters.discard(&filter, args.unreadable, |discarded| progress.at(discarded.messages as u64, 0)).await;
    progress.end();
    match args.json {
        true => println!(
            "{}",
            json!({"matching": matching, "dropped": discarded.messages, "failed": discarded.failed, "trouble": discarded.trouble})
        ),
        false => println!("{} deleted", discarded.messages),
    }
    match discarded.trouble {
        Some(why) => {
            eprintln!("error: {why}");
            Ok(SOMETHING_LEFT)
        }
        None if discarded.messages < matching => {
            eprintln!(
                "{} are still there: somebody else has taken them; try again later",
                matching - discarded.messages
            );
            Ok(SOMETHING_LEFT)
        }
        None => Ok(0),
    }
}

fn confirmed(matching: usize) -> Result<bool, Stop> {
    if !io::stdin().is_terminal() {
        return Err(Stop::options("there is nobody to ask: give --yes to delete without asking"));
    }
    eprint!("Delete {matching} for good? Their records will not be applied. Type `yes`: ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(answer.trim() == "yes")
}
