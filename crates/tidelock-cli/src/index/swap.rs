//! `tidelock index swap`: an alias moves to an index that has been filled beside the live stream.

use super::apply::carry_out;
use super::{LEFT, Place, Stop, open, print_refusals, salvages};
use crate::backfill::bring;
use tidelock_core::pipeline::{Index, Pipeline};
use tidelock_lambda::Environment;
use tidelock_opensearch::Transport;
use tidelock_opensearch::admin::{Admin, Move, Standing, unusable_alias};

/// Fill a new index beside the live stream, then move an alias to it
///
/// A route must lead to the new index before this begins, so that live changes reach it: the backfill brings in the rest, and looks
/// at what is there before it writes. Then the alias moves in one request. The old index is left as it is.
///
/// It may be run again at any time, and goes on where it was interrupted. Uses the settings of the function; the backfill those of
/// `tidelock backfill` (TIDELOCK_SOURCE, TIDELOCK_STATE).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What searches go to
    #[arg(value_name = "ALIAS")]
    alias: String,
    /// The index that it moves to
    #[arg(long, value_name = "NEWINDEX")]
    to: String,
    /// Move the alias at once: the new index is filled already
    #[arg(long)]
    skip_backfill: bool,
    /// What the new index is filled from, where the route's `from` has * or ?; may be given several times
    #[arg(long, value_name = "NAME")]
    from: Vec<String>,
    /// Read capacity units a second that the backfill keeps to (DynamoDB)
    #[arg(long, value_name = "UNITS")]
    rcu: Option<f64>,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    if args.rcu.is_some_and(|rcu| !rcu.is_finite() || rcu <= 0.0) {
        return Err(Stop::failed("--rcu: must be above 0"));
    }
    let environment = args.place.over(environment);
    let managed = open(&environment)?;
    let (admin, pipeline) = (&managed.admin, &managed.pipeline);
    let sources = sources(&args, pipeline)?;
    let by_server = |failure| Stop::by_server(admin.place(), &failure);
    let standing = admin.standing(&args.alias).await.map_err(by_server)?;
    if let Some(problem) = unusable_alias(&args.alias, &standing, &args.to) {
        return Err(Stop::refused(problem));
    }
    if args.alias == args.to {
        return Err(Stop::refused("--to: it must be an index of another name than the alias"));
    }
    create(&args, pipeline, admin).await?;
    let wanted = pipeline.indexes().of(&args.to).and_then(|index| index.aliases.get(&args.alias));
    let change = Move::new(&args.alias, &standing, &args.to, wanted);
    if change.is_made(&standing) {
        println!("`{}` is on `{}` already: nothing to do", args.alias, args.to);
        return Ok(0);
    }
    let mut expected = None;
    if !args.skip_backfill {
        let mut items = 0;
        for source in &sources {
            let brought = bring(source, args.rcu, &environment)
                .await
                .map_err(|why| Stop::failed(format!("{why}\nthe alias stays where it is; run this again to go on")))?;
            items += brought.scanned - brought.filtered;
            if brought.parked > 0 {
                return Err(Stop::refused(format!(
                    "{} items of `{source}` became dead letters, so `{}` is not whole and the alias stays where it is; look at them \
                     (`tidelock deadletters list`), then run this again, or with --skip-backfill to do without them",
                    brought.parked, args.to
                )));
            }
        }
        expected = Some(items);
    }
    let documents = admin.count(&args.to).await.map_err(by_server)?;
    if let Some(items) = expected {
        println!("{items:>10}  items read that routes take");
    }
    println!("{documents:>10}  documents in `{}`", args.to);
    if !change.from.is_empty() {
        let before = admin.count(&args.alias).await.map_err(by_server)?;
        println!("{before:>10}  documents in `{}` ({}) until now", args.alias, change.from.join(", "));
    }
    admin.move_alias(&change).await.map_err(by_server)?;
    println!("`{}` is on `{}` now", args.alias, args.to);
    for old in &change.from {
        println!(
            "`{old}` is still there. When no route leads to it any more and nobody misses it: DELETE {}/{old}",
            admin.place()
        );
    }
    Ok(0)
}

/// What the new index is filled from: live changes must be on their way to it already.
fn sources(args: &Args, pipeline: &Pipeline) -> Result<Vec<String>, Stop> {
    let found = pipeline.sources(&args.to);
    if found.is_empty() {
        return Err(Stop::refused(format!(
            "no route of the pipeline leads to `{0}` directly, so live changes do not reach it: what changes between backfill and \
             swap would be missing from it, and what is deleted would come back. Add a route with `to: {0}` (beside the one that \
             fills the old index, or in its place), deploy the function with it, then run this again",
            args.to
        )));
    }
    if !args.from.is_empty() {
        return Ok(args.from.clone());
    }
    if let Some(pattern) = found.iter().find(|from| from.contains(['*', '?'])).filter(|_| !args.skip_backfill) {
        let problem =
            format!("the route to `{}` has `from: {pattern}`: name what is backfilled by --from NAME", args.to);
        return Err(Stop::failed(problem));
    }
    let mut sources: Vec<String> = found.into_iter().map(str::to_owned).collect();
    sources.sort_unstable();
    sources.dedup();
    Ok(sources)
}

/// Sees to it that the new index is there, and what the pipeline says.
async fn create<T: Transport>(args: &Args, pipeline: &Pipeline, admin: &Admin<T>) -> Result<(), Stop> {
    let by_server = |failure| Stop::by_server(admin.place(), &failure);
    let standing = admin.standing(&args.to).await.map_err(by_server)?;
    if matches!(standing, Standing::Alias(..) | Standing::DataStream(_)) {
        let alias = format!("`{}` is an alias; --to must be an index", args.to);
        return Err(Stop::refused(standing.problem().unwrap_or(alias)));
    }
    let index = match pipeline.indexes().of(&args.to) {
        Some(index) => Index { name: args.to.clone(), ..index.clone() },
        None if standing == Standing::Missing => {
            return Err(Stop::refused(format!(
                "`{0}` does not exist, and `indexes` of the pipeline does not describe it: add `indexes: {{{0}: …}}`, or create it",
                args.to
            )));
        }
        None => return Ok(()),
    };
    let mut plan = admin.plan(&index, salvages(pipeline)).await.map_err(by_server)?;
    // The alias is what moves in the end.
    plan.refusals.retain(|refusal| refusal.what != format!("alias `{}`", args.alias));
    for step in &mut plan.steps {
        step.without_alias(&args.alias);
    }
    plan.steps.retain(|step| !step.told.is_empty());
    print_refusals(&plan);
    if !plan.refusals.is_empty() || !carry_out(admin, &plan).await? {
        return Err(Stop { code: LEFT, message: format!("`{}` is not what the pipeline describes", args.to) });
    }
    Ok(())
}
