//! Items that change their table with a field of their own, or are no longer wanted: histories delivered in pieces that overlap,
//! and then redriven in any order.

use crate::support::{Folder, NOW, by, run, soon};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use tidelock_core::batch::{Circumstances, Delivery, Fate, Lane, PATIENCE, Plan, Posts, deliver};
use tidelock_core::encode::Format;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::queue::Nowhere;
use tidelock_core::slow::NoSource;
use tidelock_core::source::dynamodb::decode;
use tidelock_sqlite::{SqliteTarget, documents};

const PIPELINE: &str = "version: 1\nroutes: [{from: t, where: .hidden | not, to: 't-{home}'}]";
const HOMES: [&str; 2] = ["a", "b"];

/// What the item `k` is: its home, and whether it is hidden. `None`: it is not there.
type Item = Option<(usize, bool)>;

/// An item, and the number of the change that made it so.
type Numbered = Option<(usize, (usize, bool))>;

fn image(number: usize, (home, hidden): (usize, bool)) -> Value {
    json!({"id": {"S": "k"}, "n": {"N": number.to_string()}, "home": {"S": HOMES[home]}, "hidden": {"BOOL": hidden}})
}

/// The records of a history that begins with nothing; removals of nothing are left out.
fn records(items: &[Item]) -> (Vec<Value>, Numbered) {
    let (mut records, mut is) = (Vec::new(), None);
    for (number, item) in items.iter().enumerate() {
        let name = match (is, item) {
            (None, None) => continue,
            (None, Some(_)) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (Some(_), None) => "REMOVE",
        };
        let mut change = json!({
            "ApproximateCreationDateTime": 1_000, "Keys": {"id": {"S": "k"}}, "SequenceNumber": (number + 1).to_string(),
        });
        if let Some((number, item)) = is {
            change["OldImage"] = image(number, item);
        }
        is = item.map(|item| (number, item));
        if let Some((number, item)) = is {
            change["NewImage"] = image(number, item);
        }
        let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000";
        records.push(json!({"eventName": name, "dynamodb": change, "eventSourceARN": arn}));
    }
    (records, is)
}

/// Number of the change that wrote the item, by home.
fn stored(folder: &Folder) -> BTreeMap<&'static str, u64> {
    let number =
        |document: &str| serde_json::from_str::<Value>(document).expect("JSON")["n"].as_u64().expect("a number");
    let found = |home: &&'static str| {
        let found = documents(folder.database(), &format!("t-{home}")).expect("readable");
        found.first().map(|found| (*home, number(&found.document)))
    };
    HOMES.iter().filter_map(found).collect()
}

proptest! {
    #[test]
    fn an_item_ends_where_it_belongs_and_there_alone(
        items in proptest::collection::vec(proptest::option::weighted(0.8, (0..2_usize, proptest::bool::weighted(0.2))), 1..9),
        pieces in proptest::collection::vec((1..5_usize, 0..4_usize), 1..12),
        redriven in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let (records, last) = records(&items);
        prop_assume!(!records.is_empty());
        let folder = Folder::new();
        let target = SqliteTarget::open(folder.database()).expect("open");
        let pipeline = Pipeline::parse(PIPELINE).expect("a pipeline");
        let mut from = 0;
        // Each piece goes back a little, as deliveries do whose answers were lost.
        for (size, back) in pieces.into_iter().chain(std::iter::once((records.len(), 0))) {
            let to = records.len().min(from + size);
            let payload = json!({"Records": records[from..to]}).to_string();
            let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
            let started = Instant::now();
            let at = Circumstances { function: "f", now_ms: NOW, started, deadline: soon(), patience: PATIENCE };
            let source = None::<&NoSource>;
            let posts = Posts { dead_letters: None::<&Nowhere>, fallback: None, bucket: None::<&Nowhere> };
            let report = run(deliver(payload.as_bytes(), &batch, &pipeline, &target, source, posts, at));
            prop_assert!(report.fates.iter().all(|fate| matches!(fate, Fate::Done(_) | Fate::Filtered)), "{:?}", report.fates);
            from = if to == records.len() { to } else { to.saturating_sub(back) };
        }
        for index in redriven {
            let payload = json!({"Records": [index.get(&records)]}).to_string();
            let batch = decode(payload.as_bytes(), Format::Json).expect("an event");
            let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
            let mut delivery = Delivery::new(&batch, &plan, false);
            run(delivery.write(&target, None::<&NoSource>, Lane::Slow, by(soon()), by(soon())));
            prop_assert!(matches!(delivery.fates(), [Fate::Done(_) | Fate::Filtered]), "{:?}", delivery.fates());
        }
        let expected: BTreeMap<&str, u64> =
            last.into_iter().filter(|(_, (_, hidden))| !hidden).map(|(number, (home, _))| (HOMES[home], number as u64)).collect();
        prop_assert_eq!(stored(&folder), expected);
    }
}
