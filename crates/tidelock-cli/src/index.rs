//! `tidelock index`: OpenSearch's indices as the pipeline describes them.

mod apply;
mod diff;
mod suggest;
mod swap;

use std::process::ExitCode;

use clap::Subcommand;
use tidelock_core::pipeline::{OnConflict, Pipeline};
use tidelock_lambda::{Environment, environment};
use tidelock_opensearch::admin::Plan;
use tidelock_sync::IndexAdmin;

/// Something is refused, differs, or would conflict.
const LEFT: u8 = 1;
/// A setting, the pipeline or the target could not be used; clap's own number for bad options.
const FAILED: u8 = 2;

/// Create, compare and exchange OpenSearch's indices, and propose mappings
///
/// Works on `indexes` of the pipeline (docs/indexes.md), with the settings of the function (TIDELOCK_TARGET,
/// TIDELOCK_TARGET_AUTH, TIDELOCK_PIPELINE, …).
///
/// Exit status: 0 done, or nothing to do; 1 something is refused, differs or conflicts; 2 a setting, an option or the target
/// could not be used.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::Args),
    Diff(diff::Args),
    Swap(swap::Args),
    Suggest(suggest::Args),
}

/// What is managed, and where.
#[derive(Debug, Default, clap::Args)]
struct Place {
    /// The pipeline. Default: TIDELOCK_PIPELINE
    #[arg(long, value_name = "FILE")]
    pipeline: Option<String>,
    /// Where the indices are: opensearch+https://HOST[:PORT]. Default: TIDELOCK_TARGET
    #[arg(long, value_name = "URL")]
    target: Option<String>,
}

impl Place {
    /// The environment with these instead of its own, under the settings' names.
    fn over(&self, environment: &Environment) -> Environment {
        let own = [("TIDELOCK_PIPELINE", &self.pipeline), ("TIDELOCK_TARGET", &self.target)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).chain(own).collect()
    }
}

/// Opens what is managed.
fn open(environment: &Environment) -> Result<IndexAdmin, Stop> {
    IndexAdmin::start(environment).map_err(|error| Stop::failed(error.message))
}

/// The same, where the pipeline must describe some index.
fn open_described(environment: &Environment) -> Result<IndexAdmin, Stop> {
    let managed = open(environment)?;
    if managed.pipeline.indexes().iter().next().is_none() {
        let problem = "the pipeline has no `indexes`: name it by --pipeline or TIDELOCK_PIPELINE, and see `tidelock index suggest`";
        return Err(Stop::failed(problem));
    }
    Ok(managed)
}

/// Whether indices map what is set aside, too.
fn salvages(pipeline: &Pipeline) -> bool {
    pipeline.has(|policy| policy.on_conflict == OnConflict::Salvage)
}

/// Why a subcommand ends early.
#[derive(Debug)]
struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    fn refused(message: impl Into<String>) -> Self {
        Self { code: LEFT, message: message.into() }
    }

    fn by_server(place: &str, failure: &tidelock_core::cause::Failure) -> Self {
        Self::failed(format!("{place}: {failure}; {}", failure.cause.action()))
    }
}

/// One line for each thing that a plan says, `sign` before what is to be done.
fn print_plan(plan: &Plan, sign: &str) {
    for told in plan.steps.iter().flat_map(|step| &step.told) {
        println!("{sign} {}: {told}", plan.name);
    }
    print_refusals(plan);
}

fn print_refusals(plan: &Plan) {
    for refusal in &plan.refusals {
        println!("! {}: {}: {}", plan.name, refusal.what, refusal.why);
        println!("    {}", refusal.way_out);
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    let environment = environment();
    let result = crate::run(FAILED, async {
        match args.command {
            Command::Apply(args) => apply::run(args, &environment).await,
            Command::Diff(args) => diff::run(args, &environment).await,
            Command::Swap(args) => swap::run(args, &environment).await,
            Command::Suggest(args) => suggest::run(&args, &environment),
        }
    });
    match result {
        Err(code) => code,
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(Stop { code, message })) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}
