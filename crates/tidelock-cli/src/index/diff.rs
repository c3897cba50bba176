//! `tidelock index diff`.

use super::{LEFT, Place, Stop, open_described, print_plan, salvages};
use serde_json::Value;
use tidelock_lambda::Environment;
use tidelock_opensearch::admin::Plan;

/// Tell what `apply` would do, and what differs beyond that; nothing is written
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// One JSON array: index, changes, refused, notes
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let managed = open_described(&args.place.over(environment))?;
    let plans = managed.admin.plans(&managed.pipeline, salvages(&managed.pipeline)).await;
    let plans = plans.map_err(|failure| Stop::by_server(managed.admin.place(), &failure))?;
    let equal = plans.iter().all(Plan::is_equal);
    if args.json {
        println!("{}", Value::Array(plans.iter().map(Plan::as_json).collect()));
    } else {
        for plan in &plans {
            print_plan(plan, "+");
            plan.notes.iter().for_each(|note| println!("  {}: {note}", plan.name));
        }
        if equal {
            println!("{}: as the pipeline wants it", managed.admin.place());
        }
    }
    Ok(if equal { 0 } else { LEFT })
}
