//! `tidelock index apply`.

use super::{LEFT, Place, Stop, open_described, print_plan, salvages};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use tidelock_lambda::Environment;
use tidelock_opensearch::Transport;
use tidelock_opensearch::admin::{Admin, Plan};

/// Create what is missing, and change what can be changed in place
///
/// Indices and templates (`tidelock-NAME`), fields and their parameters, dynamic settings, aliases. Nothing is ever deleted. What
/// cannot be changed in place is refused, with the way out. A second run has nothing to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let managed = open_described(&args.place.over(environment))?;
    let admin = &managed.admin;
    let plans = admin.plans(&managed.pipeline, salvages(&managed.pipeline)).await;
    let plans = plans.map_err(|failure| Stop::by_server(admin.place(), &failure))?;
    let to_do: usize = plans.iter().flat_map(|plan| &plan.steps).count();
    plans.iter().for_each(|plan| print_plan(plan, "+"));
    let mut left = plans.iter().any(|plan| !plan.refusals.is_empty());
    if to_do == 0 {
        println!("{}: {}", admin.place(), if left { "nothing else to do" } else { "nothing to do" });
        return Ok(if left { LEFT } else { 0 });
    }
    if !args.yes && !confirmed(to_do)? {
        return Err(Stop::refused("nothing was changed"));
    }
    for plan in &plans {
        left |= !carry_out(admin, plan).await?;
    }
    Ok(if left { LEFT } else { 0 })
}

/// Does what a plan says, and tells of it; `false` when the server has refused something.
pub(super) async fn carry_out<T: Transport>(admin: &Admin<T>, plan: &Plan) -> Result<bool, Stop> {
    let mut whole = true;
    for step in &plan.steps {
        match admin.carry_out(step).await {
            Ok(Ok(())) => step.told.iter().for_each(|told| println!("done: {}: {told}", plan.name)),
            // The request itself is at fault: what is beside it may still be done.
            Ok(Err(why)) => {
                whole = false;
                println!("! {}: the server refuses: {why}", plan.name);
                step.told.iter().for_each(|told| println!("    not done: {told}"));
            }
            Err(failure) => return Err(Stop::by_server(admin.place(), &failure)),
        }
    }
    Ok(whole)
}

fn confirmed(steps: usize) -> Result<bool, Stop> {
    if !io::stdin().is_terminal() {
        return Err(Stop::failed("there is nobody to ask: give --yes to change without asking"));
    }
    let requests = if steps == 1 { "This is 1 change".to_owned() } else { format!("These are {steps} changes") };
    eprint!("{requests}. Type `yes`: ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(answer.trim() == "yes")
}
