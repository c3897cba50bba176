//! `tidelock deadletters list`.

use super::filter::{Which, ago};
use super::{Place, Stop};
use crate::progress::Progress;
use serde_json::{Value, json};
use tidelock_core::letter::{Contents, Kind, Parcel, timestamp};
use tidelock_core::queue::Message;
use tidelock_core::redrive::Survey;
use tidelock_lambda::Environment;

/// List letters, oldest failure first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// What a list says of a message.
struct Row {
    first_failed_ms: i64,
    value: Value,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let filter = args.which.filter()?;
    let letters = args.place.open(environment)?;
    let total = letters.facts().await.map_err(Stop::failed)?.waiting;
    let progress = Progress::new("looked at", total, false);
    let mut rows: Vec<Row> = Vec::new();
    let mut seen = 0;
    let survey = letters
        .survey(|message, parcel| {
            seen += 1;
            progress.at(seen, 0);
            match parcel {
                Ok(parcel) if filter.takes(parcel) => rows.push(row(message, parcel)),
                Err(why) if filter.is_empty() => rows.push(Row {
                    first_failed_ms: message.sent_ms,
                    value: json!({"kind": "unreadable", "message": message.id, "detail": why.to_string()}),
                }),
                _ => {}
            }
            // The oldest may come last.
            true
        })
        .await;
    progress.end();
    rows.sort_by_key(|row| row.first_failed_ms);
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    for row in &rows {
        if args.json { println!("{}", row.value) } else { print(row) }
    }
    end(&survey, rows.len())
}

/// Says what was not seen; and whether anything was.
pub(super) fn end(survey: &Survey, found: usize) -> Result<u8, Stop> {
    match &survey.trouble {
        Some(why) => Err(Stop::failed(why.clone())),
        None if found == 0 => Err(Stop::nothing(survey.messages)),
        None => Ok(0),
    }
}

fn row(message: &Message, parcel: &Parcel<'_>) -> Row {
    let kind = match parcel.kind {
        Kind::Letter => "letter",
        Kind::Pack => "pack",
        Kind::OnFailure => "on-failure record",
    };
    let mut value = json!({
        "id": parcel.id, "kind": kind, "reason": parcel.reason, "detail": parcel.detail, "source": parcel.source,
        "position": parcel.position, "op": parcel.op, "attempts": parcel.attempts,
        "first_failed_at": timestamp(parcel.first_failed_ms), "sent_at": timestamp(message.sent_ms),
        "bytes": message.body.len(),
    });
    if let Some(object) = value.as_object_mut() {
        if let Some((index, id)) = &parcel.target {
            object.insert("target".to_owned(), json!({"index": index, "id": id}));
        }
        if let Some(key) = parcel.key.and_then(|key| serde_json::from_str::<Value>(key.get()).ok()) {
            object.insert("key".to_owned(), key);
        }
        if let Contents::Elsewhere { key, .. } = &parcel.contents {
            object.insert("object".to_owned(), json!(key));
        }
        object.retain(|_, value| !value.is_null());
    }
    Row { first_failed_ms: parcel.first_failed_ms, value }
}

fn print(row: &Row) {
    let text = |name: &str| row.value[name].as_str().unwrap_or_default();
    if text("kind") == "unreadable" {
        println!("message {}  cannot be read\n    {}", text("message"), text("detail"));
        return;
    }
    let key = row.value.get("key").map(Value::to_string).unwrap_or_default();
    println!(
        "{}  {}  {} {key}  {} ago, {} attempts\n    {}",
        text("id"),
        text("reason"),
        text("source"),
        ago(row.first_failed_ms),
        row.value["attempts"],
        text("detail").lines().next().unwrap_or_default(),
    );
}
