//! The `tidelock` command-line tool. Each subcommand has a file of its own.

mod backfill;
mod check;
mod deadletters;
mod dev;
mod explain;
mod index;
mod progress;
mod schema;
mod shadow;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keep a search index or document store locked to a database's change stream.
#[derive(Debug, Parser)]
#[command(name = "tidelock", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Backfill(backfill::Args),
    Check(check::Args),
    Deadletters(deadletters::Args),
    Dev(Box<dev::Args>),
    Index(index::Args),
    Schema(schema::Args),
    Explain(explain::Args),
    Shadow(shadow::Args),
}

/// Runs what a subcommand waits for; `failed` is its code where nothing can be run.
fn run<O>(failed: u8, work: impl Future<Output = O>) -> Result<O, ExitCode> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(work)),
        Err(error) => {
            eprintln!("error: starting: {error}");
            Err(ExitCode::from(failed))
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Backfill(args) => backfill::run(args),
        Command::Check(args) => check::run(&args),
        Command::Deadletters(args) => deadletters::run(args),
        Command::Dev(args) => dev::run(*args),
        Command::Index(args) => index::run(args),
        Command::Schema(args) => schema::run(&args),
        Command::Explain(args) => explain::run(args),
        Command::Shadow(args) => shadow::run(args),
    }
}
