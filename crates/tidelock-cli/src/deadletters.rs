//! `tidelock deadletters`: letters and packs that wait in a queue, looked at, redriven, thrown away.

mod drop;
mod filter;
mod list;
mod redrive;
mod show;
mod stats;

use std::process::ExitCode;

use clap::Subcommand;
use tidelock_lambda::{Environment, environment};
use tidelock_sync::{Letters, What};

/// The queue, the target or a letter could not be reached or used.
const FAILED: u8 = 1;
/// Options that can't be used; clap's own number for it.
const BAD_OPTIONS: u8 = 2;
/// It is done, but something was left: kept, refused again, or waiting.
const SOMETHING_LEFT: u8 = 3;
/// Nothing in the queue is what was asked for.
const NOTHING_MATCHES: u8 = 4;

/// Look at dead letters, apply them again, or throw them away
///
/// A dead letter is a record that could not be applied as it was, with the reason (docs/dead-letters.md). Works on packs of
/// held changes, too: name their queue by --queue.
///
/// Exit status: 0 done, 1 a queue or target could not be used, 2 bad options, 3 something was left (kept, refused again,
/// waiting), 4 nothing matches.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Redrive(redrive::Args),
    Drop(drop::Args),
    Stats(stats::Args),
}

/// Which queue.
#[derive(Debug, Default, clap::Args)]
struct Place {
    /// The queue: an SQS URL or file:PATH. Default: TIDELOCK_DEAD_LETTERS
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// The bucket of what does not fit into a message: a name or file:FOLDER. Default: TIDELOCK_LETTERS_BUCKET
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
}

impl Place {
    fn open(&self, environment: &Environment) -> Result<Letters, Stop> {
        let variable = |name: &str| environment.get(name).map(str::to_owned);
        let queue = self.queue.clone().or_else(|| variable("TIDELOCK_DEAD_LETTERS"));
        let queue =
            queue.ok_or_else(|| Stop::options("no queue is named: give --queue, or set TIDELOCK_DEAD_LETTERS"))?;
        let bucket = self.bucket.clone().or_else(|| variable("TIDELOCK_LETTERS_BUCKET"));
        Letters::open(&queue, bucket.as_deref(), environment).map_err(|error| Stop::options(error.message))
    }
}

impl Place {
    /// What a redrive of the queue is called. Another queue than that of dead letters is drained into that one.
    fn what(&self, environment: &Environment) -> What {
        let dead_letters = environment.get("TIDELOCK_DEAD_LETTERS");
        match &self.queue {
            Some(queue) if dead_letters.is_some_and(|dead_letters| dead_letters != queue) => What::Fallback,
            _ => What::DeadLetters,
        }
    }

    /// The environment with these instead of its own, under the settings' names.
    fn over(&self, environment: &Environment) -> Environment {
        let queue = match self.what(environment) {
            What::Fallback => "TIDELOCK_FALLBACK",
            _ => "TIDELOCK_DEAD_LETTERS",
        };
        let own = [(queue, &self.queue), ("TIDELOCK_LETTERS_BUCKET", &self.bucket)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).chain(own).collect()
    }
}

/// Why a subcommand ends early.
#[derive(Debug)]
struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    fn options(message: impl Into<String>) -> Self {
        Self { code: BAD_OPTIONS, message: message.into() }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// Nothing is what was asked for: says what there is instead.
    fn nothing(seen: usize) -> Self {
        let message = match seen {
            0 => "the queue is empty".to_owned(),
            1 => "nothing matches; the queue holds one message".to_owned(),
            seen => format!("nothing matches; the queue holds {seen} messages"),
        };
        Self { code: NOTHING_MATCHES, message }
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    let environment = environment();
    let result = crate::run(FAILED, async {
        match args.command {
            Command::List(args) => list::run(args, &environment).await,
            Command::Show(args) => show::run(args, &environment).await,
            Command::Redrive(args) => redrive::run(args, &environment).await,
            Command::Drop(args) => drop::run(args, &environment).await,
            Command::Stats(args) => stats::run(args, &environment).await,
        }
    });
    match result {
        Err(code) => code,
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(Stop { code, message })) => {
            eprintln!("{}{message}", if code == NOTHING_MATCHES { "" } else { "error: " });
            ExitCode::from(code)
        }
    }
}
