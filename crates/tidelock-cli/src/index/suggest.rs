//! `tidelock index suggest`.
use super::Stop;
use tidelock_lambda::Environment;

/// x
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, _: &Environment) -> Result<u8, Stop> {
    Ok(0)
}
