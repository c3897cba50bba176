//! `tidelock deadletters stats`.

use super::filter::{Which, ago};
use super::{Place, Stop, list};
use crate::progress::Progress;
use serde_json::json;
use std::collections::BTreeMap;
use tidelock_core::letter::{Contents, timestamp};
use tidelock_lambda::Environment;

/// Count letters by reason and source
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Count {
    letters: usize,
    oldest_ms: i64,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let filter = args.which.filter()?;
    let letters = args.place.open(environment)?;
    let facts = letters.facts().await.map_err(Stop::failed)?;
    let progress = Progress::new("looked at", facts.waiting, false);
    let mut counts: BTreeMap<(String, String), Count> = BTreeMap::new();
    let (mut seen, mut unreadable, mut objects, mut found) = (0, 0, 0, 0);
    let survey = letters
        .survey(|_, parcel| {
            seen += 1;
            progress.at(seen, 0);
            match parcel {
                Ok(parcel) if filter.takes(parcel) => {
                    found += 1;
                    objects += usize::from(matches!(parcel.contents, Contents::Elsewhere { .. }));
                    let count = counts.entry((parcel.reason.to_string(), parcel.source.to_string())).or_default();
                    count.oldest_ms = match count.letters {
                        0 => parcel.first_failed_ms,
                        _ => count.oldest_ms.min(parcel.first_failed_ms),
                    };
                    count.letters += 1;
                }
                // Nobody can say whether a filter takes them.
                Err(_) => unreadable += usize::from(filter.is_empty()),
                Ok(_) => {}
            }
            true
        })
        .await;
    progress.end();
    if args.json {
        let by: Vec<_> = counts
            .iter()
            .map(|((reason, source), count)| {
                json!({"reason": reason, "source": source, "letters": count.letters, "oldest": timestamp(count.oldest_ms)})
            })
            .collect();
        let all = json!({
            "messages": survey.messages, "letters": found, "unreadable": unreadable, "in_bucket": objects,
            "taken_by_others": facts.hidden, "by": by,
        });
        println!("{all}");
    } else {
        for ((reason, source), count) in &counts {
            println!("{:>8}  {reason}  {source}  oldest {} ago", count.letters, ago(count.oldest_ms));
        }
        println!("{found:>8}  in all; {objects} of them in the bucket");
        if unreadable > 0 {
            println!("{unreadable:>8}  messages that cannot be read (see `list`)");
        }
        if facts.hidden > 0 {
            println!("{:>8}  taken by somebody else now, not counted here", facts.hidden);
        }
    }
    list::end(&survey, found + unreadable)
}
