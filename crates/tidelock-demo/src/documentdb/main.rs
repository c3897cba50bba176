//! Shows the whole way of a document: posted to an API, written to a cluster, carried by its change stream to OpenSearch,
//! and found there; with documents that the index refuses, and with OpenSearch stopped half-way.

mod client;
mod scenes;
mod stack;
mod stores;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the demonstration.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the built functions.
    #[arg(long)]
    functions: PathBuf,
    /// The cluster, or what stands for it: an empty server with change streams.
    #[arg(long)]
    cluster: String,
    /// An empty OpenSearch: HOST:PORT.
    #[arg(long)]
    opensearch: String,
    /// The script that stops that OpenSearch and starts it again.
    #[arg(long)]
    opensearch_script: PathBuf,
    /// An empty folder for queues.
    #[arg(long)]
    folder: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match scenes::play(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}
