//! Items whose own number orders their changes (`version: {field}`), although it now and then stays the same, falls, or begins
//! anew: histories delivered in pieces that overlap, then redriven in any order, with writes that land late.

use crate::support::{Folder, NOW, by, run, soon};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Instant;
use tidelock_core::batch::{Batch, Circumstances, Content, Delivery, Fate, Lane, PATIENCE, Plan, Posts, deliver};
use tidelock_core::encode::Format;
use tidelock_core::fence::{SWEEP_AGE_MS, Window};
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::queue::Nowhere;
use tidelock_core::slow::{Item, ReadResult, Source};
use tidelock_core::source::dynamodb::{READER, decode_item};
use tidelock_core::target::{Call, Operation, Place, Store as _, Target as _, Write};
use tidelock_sqlite::{SqliteTarget, documents};

const PIPELINE: &str = "version: 1\nroutes: [{from: t, to: t, where: .open, version: {field: rev.number}}]";

/// How a change follows the one before it.
#[derive(Debug, Clone, Copy)]
enum Follows {
    /// With the next number.
    Next,
    /// With the same.
    Same,
    /// With a lower one.
    Lower,
    /// It is the end of the item; the next begins with 1.
    End,
}

fn image(change: usize, number: u64, open: bool) -> Value {
    let rev = json!({"M": {"number": {"N": number.to_string()}}});
    json!({"id": {"S": "k"}, "change": {"N": change.to_string()}, "open": {"BOOL": open}, "rev": rev})
}

/// The records of a history that begins with nothing, and what the item is after each.
fn records(history: &[(Follows, bool)]) -> Vec<(Value, Option<Value>)> {
    let mut records = Vec::new();
    let mut is: Option<(u64, Value)> = None;
    for (change, (follows, open)) in history.iter().enumerate() {
        let next = match (&is, follows) {
            (None, Follows::End) => continue,
            (None, _) => Some(1),
            (Some((number, _)), Follows::Next) => Some(number + 1),
            (Some((number, _)), Follows::Same) => Some(*number),
            (Some((number, _)), Follows::Lower) => Some(number.saturating_sub(2)),
            (Some(_), Follows::End) => None,
        };
        let name = match (&is, next) {
            (None, _) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (Some(_), None) => "REMOVE",
        };
        let mut record = json!({
            "ApproximateCreationDateTime": 1_000, "Keys": {"id": {"S": "k"}}, "SequenceNumber": (change + 1).to_string(),
        });
        if let Some((_, image)) = &is {
            record["OldImage"] = image.clone();
        }
        is = next.map(|number| (number, image(change, number, *open)));
        if let Some((_, image)) = &is {
            record["NewImage"] = image.clone();
        }
        let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000";
        let record = json!({"eventName": name, "dynamodb": record, "eventSourceARN": arn});
        records.push((record, is.as_ref().map(|(_, image)| image.clone())));
    }
    records
}

/// The table as it is now.
struct Table(Option<Value>);

impl Source for Table {
    async fn read(&self, _: &str, keys: &[Key<'_>], format: Format, _: Instant) -> Vec<ReadResult> {
        let item = |image: &Value| {
            let bytes = image.to_string().into_bytes();
            let found = decode_item(&bytes, &["id"], format).expect("an item");
            Item { document: found.document, notation: Notation::DynamoDb, bytes }
        };
        keys.iter().map(|_| Ok(self.0.as_ref().map(item))).collect()
    }
}

fn event(pipeline: &Pipeline, records: &[(Value, Option<Value>)]) -> (String, Batch) {
    let payload = json!({"Records": records.iter().map(|(record, _)| record).collect::<Vec<_>>()}).to_string();
    let batch = pipeline.decode(&READER, payload.as_bytes(), Format::Json).expect("an event");
    (payload, batch)
}

fn stored(folder: &Folder) -> Option<u64> {
    let found = documents(folder.database(), "t").unwrap_or_default();
    let document = found.first().map(|found| serde_json::from_str::<Value>(&found.document).expect("JSON"));
    document.map(|document| document["change"].as_u64().expect("a number"))
}

fn follows() -> impl Strategy<Value = Follows> {
    prop_oneof![
        4 => Just(Follows::Next),
        1 => Just(Follows::Same),
        1 => Just(Follows::Lower),
        2 => Just(Follows::End),
    ]
}

/// Delivers a history in pieces, of so many records and so many back from where the one before has ended, redrives records, lets a
/// write land late, and compares.
fn ends_as_it_is(
    history: &[(Follows, bool)],
    pieces: &[(usize, usize)],
    redriven: &[(usize, bool)],
    late: Option<usize>,
) -> Result<(), TestCaseError> {
    let records = records(history);
    let folder = Folder::new();
    let target = SqliteTarget::open(folder.database()).expect("open");
    let pipeline = Pipeline::parse(PIPELINE).expect("a pipeline");
    let mut from = 0;
    for (size, back) in pieces.iter().copied().chain(std::iter::once((records.len(), 0))) {
        let to = records.len().min(from + size);
        let (payload, batch) = event(&pipeline, &records[from..to]);
        // The table is as new as what its stream has told, or newer.
        let table = Table(records[(to - 1 + back).min(records.len() - 1)].1.clone());
        let started = Instant::now();
        let at = Circumstances { function: "f", now_ms: NOW, started, deadline: soon(), patience: PATIENCE };
        let posts = Posts { dead_letters: None::<&Nowhere>, fallback: None, bucket: None::<&Nowhere> };
        let report = run(deliver(payload.as_bytes(), &batch, &pipeline, &target, Some(&table), posts, at));
        prop_assert!(
            report.fates.iter().all(|fate| matches!(fate, Fate::Done(_) | Fate::Filtered)),
            "{:?}",
            report.fates
        );
        from = if to == records.len() { to } else { to.saturating_sub(back) };
    }
    let last = records.last().and_then(|(_, is)| is.clone());
    let table = Table(last.clone());
    for (index, truth) in redriven {
        let (payload, batch) = event(&pipeline, std::slice::from_ref(&records[*index]));
        let plan = Plan::new(payload.as_bytes(), &batch, &pipeline);
        let mut delivery = Delivery::new(&batch, &plan, true);
        let lane = if *truth { Lane::Truth } else { Lane::Slow };
        run(delivery.write(&target, Some(&table), lane, by(soon()), by(soon())));
        prop_assert!(matches!(delivery.fates(), [Fate::Done(_) | Fate::Filtered]), "{:?}", delivery.fates());
    }
    if let Some(index) = late {
        // A write of an invocation that was given up: nobody looks at a fence, or at what becomes of it.
        let (record, is) = &records[index];
        let wanted = is.as_ref().is_some_and(|image| image["open"]["BOOL"] == true);
        let (_, batch) = event(&pipeline, &[(record.clone(), is.clone())]);
        let (slot, into) = (&batch.slots[0], Place::new("t".to_owned(), false));
        if let Content::Upsert(document) = &slot.content
            && wanted
        {
            let (key, version) = (batch.key(slot).expect("a key"), batch.version(slot).expect("a version"));
            let write = Write::Upsert(&batch.documents[document.clone()]);
            let operation = Operation::plain(&into, key, write, version);
            run(target.apply(&[operation], Call { truth: true, ..by(soon()) }));
        }
        let swept = run(target.sweep(Window::at(NOW + SWEEP_AGE_MS + 1, i64::MAX), by(soon())));
        prop_assert!(swept.is_ok());
    }
    let expected = last
        .filter(|image| image["open"]["BOOL"] == true)
        .map(|image| image["change"]["N"].as_str().expect("digits").parse().expect("a number"));
    prop_assert_eq!(stored(&folder), expected, "{:?}", history);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn an_item_ends_as_it_is_whatever_its_numbers_do(
        // Whether the route wants the item, besides.
        history in proptest::collection::vec((follows(), proptest::bool::weighted(0.8)), 1..12),
        pieces in proptest::collection::vec((1..5_usize, 0..4_usize), 1..12),
        redriven in proptest::collection::vec((any::<proptest::sample::Index>(), any::<bool>()), 0..4),
        late in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let count = records(&history).len();
        prop_assume!(count > 0);
        let redriven: Vec<(usize, bool)> = redriven.into_iter().map(|(index, truth)| (index.index(count), truth)).collect();
        ends_as_it_is(&history, &pieces, &redriven, late.map(|index| index.index(count)))?;
    }
}

/// The document was never written but by a call that was given up, and goes by a change of the same number.
#[test]
fn a_late_write_of_the_number_that_an_item_left_with_does_not_stay() {
    let history = [(Follows::Next, true), (Follows::Same, false)];
    ends_as_it_is(&history, &[(2, 0)], &[], Some(0)).expect("nothing is there");
    ends_as_it_is(&history, &[(1, 0), (1, 0)], &[], Some(0)).expect("nothing is there");
    ends_as_it_is(&history, &[(2, 0)], &[(0, false), (1, false)], Some(0)).expect("nothing is there");
}

/// Nor does one of a number that the item has come back to, from below, and left with.
#[test]
fn a_late_write_of_a_number_that_an_item_has_come_back_to_does_not_stay() {
    use Follows::{Lower, Next};
    let back = [(Next, true), (Lower, true), (Next, false)];
    let not_so_far = [(Next, true), (Next, true), (Next, true), (Lower, true), (Next, false)];
    for history in [&back[..], &not_so_far] {
        for pieces in [&[][..], &[(1, 0)], &[(2, 0)], &[(2, 1)], &[(3, 0)], &[(3, 2), (4, 1)], &[(1, 0), (2, 1)]] {
            for redriven in [&[][..], &[(0, false), (1, true)], &[(2, false)], &[(1, false), (2, true)]] {
                for late in 0..history.len() {
                    ends_as_it_is(history, pieces, redriven, Some(late)).expect("nothing is there");
                }
            }
        }
    }
}

/// It is redriven after the item has come back with a number that is not above it.
#[test]
fn a_leave_that_is_redriven_takes_nothing_away_that_came_after_it() {
    use Follows::{End, Lower, Next, Same};
    let same = [(Next, false), (Next, true), (Next, false), (Same, false), (Same, true)];
    ends_as_it_is(&same, &[(1, 0)], &[(2, false), (2, false)], None).expect("it is back");
    let lower = [(Next, false), (Next, true), (Next, false), (Lower, false), (Next, false), (Next, true)];
    ends_as_it_is(&lower, &[(1, 0)], &[(2, false)], None).expect("it is back");
    let anew = [(Next, true), (Next, false), (End, false), (Next, true)];
    ends_as_it_is(&anew, &[(2, 0)], &[(1, false)], None).expect("it is back");
}
