//! Deletes that stay: late writes that bring items back, and fences that somebody deletes.

use super::faults::Deed;
use super::history::{History, Shape, Step};
use super::stage::{Mapping, Stage};
use crate::support::function::{Running, Sync};
use serde_json::Value;
use std::collections::BTreeSet;

/// The function, the history so far, and the items that late writes have brought back.
struct Late {
    sync: Running,
    redrive: Running,
    history: History,
    back: BTreeSet<String>,
}

/// Some requests are kept on their way and made again by the function, whose batches go on to the end. When the server has
/// forgotten the deletes among them, what was kept arrives.
async fn arrived(stage: &Stage, guards: &str) -> Late {
    let mut history = History::new("orders", Shape { seed: 21, step: Step::Huge, relabel: false });
    let mut writes = 0;
    stage.faults.plan(move |write| {
        writes += usize::from(write.documents);
        // Of later batches none is kept, so that what arrives late is not what was written last.
        if write.documents && writes % 2 == 1 && writes < 16 { Deed::Keep } else { Deed::Pass }
    });
    let start = |function: Sync| function.with("TIDELOCK_GUARDS", guards).start();
    let sync = start(stage.sync());
    Mapping::of(&sync).follow(&mut history).await;
    stage.faults.end();
    let expected = history.fold();
    stage.converged(&expected).await;
    let gone: BTreeSet<String> = history.ids().into_iter().filter(|id| !expected.contains_key(id)).collect();
    let back = stage.release(&gone).await;
    Late { sync, redrive: start(stage.redrive()), history, back }
}

/// The sweep removes what late writes have brought back, and nothing that was written anew.
pub(crate) async fn swept(stage: &Stage) {
    let Late { sync, redrive, mut history, back } = arrived(stage, "full").await;
    // Every second one is written anew by the source.
    let anew: Vec<Value> = back.iter().step_by(2).map(|id| history.push(id, false)).collect();
    let left = back.len() - anew.len();
    assert!(left > 0);
    Mapping::of(&sync).deliver(anew).await;
    let found = stage.documents().await;
    assert_eq!(found.len(), history.fold().len() + left, "late writes are seen until they are swept");
    let swept = stage.swept_later(&redrive).await;
    assert_eq!(swept["removed"], left, "{swept}");
    stage.converged(&history.fold()).await;
    let again = stage.swept_later(&redrive).await;
    assert_eq!(again["removed"], 0, "{again}");
    stage.converged(&history.fold()).await;
}

/// With less than all guards they stay: the script tells good from bad.
pub(crate) async fn stay(stage: &Stage, guards: &str) {
    let Late { redrive, history, back, .. } = arrived(stage, guards).await;
    let swept = stage.swept_later(&redrive).await;
    assert_eq!(swept["removed"], 0, "{swept}");
    let (found, expected) = (stage.documents().await, history.fold());
    assert!(back.iter().all(|id| found.contains_key(id) && !expected.contains_key(id)), "{back:?}");
    let overwritten = expected.iter().filter(|(id, item)| found.get(*id) != Some(item)).count();
    assert_eq!(overwritten > 0, guards == "none", "{overwritten} newer items are overwritten");
}

/// Somebody deletes the fences in the middle: later deletes make them again, and nothing fails for good.
pub(crate) async fn fences_deleted(stage: &Stage) {
    let history = History::new("orders", Shape { seed: 51, step: Step::Huge, relabel: false });
    let sync = stage.sync().start();
    let mut mapping = Mapping::of(&sync);
    let half = history.changes.len() / 2;
    for from in (0..half).step_by(30) {
        mapping.deliver(history.records(from..from + 30)).await;
    }
    assert!(!stage.fences().await.is_empty());
    stage.drop_fences().await;
    let mut removed = BTreeSet::new();
    for from in (half..history.changes.len()).step_by(30) {
        removed.extend(history.gone_after(from..from + 30));
        mapping.deliver(history.records(from..from + 30)).await;
    }
    assert_eq!(stage.fences().await.len(), removed.len(), "a fence for each delete since");
    stage.converged(&history.fold()).await;
    let swept = stage.swept_later(&stage.redrive().start()).await;
    assert_eq!(swept["removed"], 0, "{swept}");
    stage.converged(&history.fold()).await;
}

/// What is made again takes every id.
pub(crate) async fn fences_made_again(stage: &Stage) {
    let mut history = History::new("orders", Shape { seed: 52, step: Step::Huge, relabel: false });
    let sync = stage.sync().start();
    let mut mapping = Mapping::of(&sync);
    mapping.follow(&mut history).await;
    stage.drop_fences().await;
    let ids = ["2020-05-01", "k1", "2020-05-02T10:00:00Z", "text"];
    for removes in [false, true] {
        for id in ids {
            let change = history.push(id, removes);
            mapping.deliver(vec![change]).await;
        }
    }
    assert_eq!(stage.fences().await.len(), ids.len());
    stage.converged(&history.fold()).await;
}
