//! What people do to the target behind the functions' backs.

use super::history::{History, Shape, Step};
use super::stage::{Mapping, Stage};
use std::collections::BTreeSet;

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
