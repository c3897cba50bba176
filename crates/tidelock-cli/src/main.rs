//! The `tidelock` command-line tool. Each subcommand has a file of its own.

mod dev;

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
    Dev(dev::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Dev(args) => dev::run(args),
    }
}
