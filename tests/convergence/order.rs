//! Records that come twice, late or out of order, and numbers of every kind.

use super::history::{Change, Documents, History, Shape, Step, record};
use super::stage::{Mapping, Stage};
use crate::support::services;
use crate::support::table::{Table, attributes};
use aws_sdk_dynamodb::types::StreamViewType;
use serde_json::{Value, json};

/// A history whose batches have older records after newer ones.
fn batches(history: &mut History) -> Vec<Vec<Value>> {
    let ranges = history.batches();
    ranges
        .into_iter()
        .map(|range| {
            let mut records = history.records(range);
            for _ in 0..history.below(4) {
                let again = records[history.below(records.len())].clone();
                records.push(again);
            }
            records
        })
        .collect()
}

/// Batches with repeated records, and now and then one from long ago. Gives what must be there in the end.
async fn repeat(stage: &Stage, guards: &str) -> Documents {
    let mut history = History::new("orders", Shape { seed: 26, step: Step::Huge, relabel: false });
    let batches = batches(&mut history);
    let sync = stage.sync().with("TIDELOCK_GUARDS", guards).start();
    let mut mapping = Mapping::of(&sync);
    let mut stale = 0;
    for (number, batch) in batches.iter().enumerate() {
        mapping.deliver(batch.clone()).await;
        if number > 2 && history.chance(3) || number + 1 == batches.len() {
            mapping.deliver(batches[history.below(number)].clone()).await;
            stale += 1;
        }
    }
    assert!(stale >= 3, "{stale}");
    // An item that was removed meanwhile is there again, until it is swept: its delete was not delivered again.
    let redrive = stage.redrive().with("TIDELOCK_GUARDS", guards).start();
    stage.swept_later(&redrive).await;
    history.fold()
}

/// What comes again changes nothing.
pub(crate) async fn repeated(stage: &Stage) {
    let expected = repeat(stage, "full").await;
    stage.converged(&expected).await;
}

/// Without guards it does: the script tells good from bad.
pub(crate) async fn repeats_win(stage: &Stage) {
    let expected = repeat(stage, "none").await;
    let found = stage.documents().await;
    let wrong = expected.iter().filter(|(id, item)| found.get(*id) != Some(item)).count();
    assert!(wrong > 0, "nothing was overwritten");
}

/// Numbers of some kind, delivered with repeats, and again from a checkpoint before.
pub(crate) async fn numbered(stage: &Stage, shape: Shape) {
    let mut history = History::new("orders", shape);
    let batches = batches(&mut history);
    let sync = stage.sync().start();
    let mut mapping = Mapping::of(&sync);
    let (mut next, mut furthest, mut lost) = (0, 0, 0);
    while next < batches.len() {
        mapping.deliver(batches[next].clone()).await;
        next += 1;
        if next > furthest && lost < 4 && history.chance(3) {
            // What is behind the checkpoint comes again, in order.
            next -= 1 + history.below(next.min(3));
            lost += 1;
        }
        furthest = furthest.max(next);
    }
    assert!(lost >= 2, "{lost}");
    stage.converged(&history.fold()).await;
    // Nothing that is there is older than its delete.
    let swept = stage.swept_later(&stage.redrive().start()).await;
    assert_eq!(swept["removed"], 0, "{swept}");
    assert!(swept["compared"].as_u64() > Some(3), "{swept}");
    stage.converged(&history.fold()).await;
}

/// A change of this item that is older than its newest by number, and newer by so many seconds.
fn conflicting(history: &History, newest: &Change, seconds: i64, item: Option<&Value>) -> Value {
    let name = if item.is_some() { "MODIFY" } else { "REMOVE" };
    record(&history.stream, name, &newest.id, newest.sequence - 1, newest.at + seconds, item)
}

/// The newest changes of items that are there.
fn newest(history: &History) -> Vec<Change> {
    history.ids().iter().map(|id| history.last(id).unwrap().clone()).filter(|change| change.item.is_some()).collect()
}

fn another(newest: &Change) -> Value {
    json!({"id": newest.id, "n": -1, "text": "later by time"})
}

/// Nobody can tell which is the newer one: it is parked, and not dropped.
pub(crate) async fn parked(stage: &Stage) {
    let mut history = History::new("orders", Shape { seed: 36, step: Step::Huge, relabel: false });
    let sync = stage.sync().start();
    let mut mapping = Mapping::of(&sync);
    mapping.follow(&mut history).await;
    stage.converged(&history.fold()).await;
    let newest = newest(&history);
    let mut expected = Vec::new();
    let mut records = Vec::new();
    for (change, seconds) in newest.iter().zip([2, 5, 1, 600, 2, 0, 3]) {
        records.push(conflicting(&history, change, seconds, Some(&another(change))));
        // Within the clock's grain a lower number is simply older.
        if seconds >= 2 {
            expected.push(("order_conflict".to_owned(), Some((change.sequence - 1).to_string())));
        }
    }
    assert_eq!(expected.len(), 5);
    // Their neighbours pass.
    let neighbour = newest.last().unwrap().id.clone();
    records.push(history.push(&neighbour, false));
    mapping.deliver(records).await;
    let mut found = stage.letters();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    stage.holds(&history.fold()).await;
}

/// The source can: what it holds wins.
pub(crate) async fn settled(stage: &Stage) {
    let Some(dynamodb) = services::dynamodb() else { return };
    let table = Table::create(&dynamodb, "settled", StreamViewType::NewAndOldImages).await;
    let mut history = History::new(&table.name, Shape { seed: 37, step: Step::Huge, relabel: false });
    let sync = stage.sync().with("TIDELOCK_SOURCE", "dynamodb:").with("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb).start();
    let mut mapping = Mapping::of(&sync);
    mapping.follow(&mut history).await;
    stage.converged(&history.fold()).await;
    let newest = newest(&history);
    let mut records = Vec::new();
    for (number, change) in newest.iter().enumerate() {
        let mut item = change.item.clone();
        if number < 6 {
            item = (number % 3 > 0).then(|| another(change));
            // What the record says is not always the last word either.
            let said = item.as_ref().map(|_| json!({"id": change.id, "n": -2, "text": "overtaken"}));
            let said = if number % 3 == 1 { item.clone() } else { said };
            records.push(conflicting(&history, change, 5, said.as_ref()));
        }
        if let Some(item) = item {
            table.put(&change.id, attributes(&item)).await;
        }
    }
    mapping.deliver(records).await;
    stage.converged(&table.scan().await).await;
}
