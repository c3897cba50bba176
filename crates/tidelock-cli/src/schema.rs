//! `tidelock schema`: the format of the pipeline's file, for editors.

use std::io::Write as _;
use std::process::ExitCode;

/// Print the JSON Schema of the pipeline's file
///
/// Editors complete and check a file whose first line is `# yaml-language-server: $schema=PATH`, or, in JSON, that has a field
/// `$schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the subcommand.
pub(crate) fn run(_: &Args) -> ExitCode {
    let printed = std::io::stdout().write_all(tidelock_core::pipeline::schema().as_bytes());
    // Whoever reads may stop early.
    if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
