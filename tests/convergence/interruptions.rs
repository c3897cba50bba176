//! Requests, processes and servers that end half-way.

use super::faults::{Deed, Write};
use super::history::{History, Shape, Step};
use super::stage::{Mapping, Stage};
use crate::support::event::event;
use crate::support::function::{Running, reported};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tidelock_local::function::{Function as _, Invocation};

/// Longer than any function waits.
const FOR_EVER: Duration = Duration::from_secs(600);

fn history(seed: u64) -> History {
    History::new("orders", Shape { seed, step: Step::Huge, relabel: false })
}

fn when(hit: bool, deed: Deed) -> Deed {
    if hit { deed } else { Deed::Pass }
}

/// Twice the server takes nothing for a while.
pub(crate) async fn refused(stage: &Stage) {
    let mut history = history(11);
    stage.faults.plan(|write| when(matches!(write.number, 4..=8 | 12..=16), Deed::Refuse));
    let sync = stage.sync().start();
    Mapping::of(&sync).follow(&mut history).await;
    assert_eq!(stage.faults.struck(), 10);
    stage.converged(&history.fold()).await;
}

/// Every fourth request is cut.
pub(crate) async fn cut(stage: &Stage, deed: Deed) {
    let mut history = history(12);
    stage.faults.plan(move |write| when(write.number % 4 == 2, deed));
    let sync = stage.sync().start();
    Mapping::of(&sync).follow(&mut history).await;
    assert!(stage.faults.struck() >= 4, "{}", stage.faults.struck());
    stage.converged(&history.fold()).await;
}

/// Some requests are applied at once and some never; either way the function hears nothing before its time is over.
pub(crate) async fn late(stage: &Stage) {
    let mut history = history(13);
    let mut left = 4;
    stage.faults.plan(move |write| {
        let hit = left > 0 && write.number % 3 == 2;
        left -= usize::from(hit);
        when(hit, Deed::Stop { applied: left % 2 == 0, time: FOR_EVER })
    });
    let sync = stage.sync().timeout(Duration::from_secs(2)).start();
    let mut mapping = Mapping::of(&sync);
    mapping.follow(&mut history).await;
    assert_eq!(stage.faults.struck(), 4);
    assert!(mapping.retried + mapping.died >= 4, "{} {}", mapping.retried, mapping.died);
    stage.converged(&history.fold()).await;
}

/// The function's process is killed while a request is under way; a new one gets the batch again.
pub(crate) async fn killed(stage: &Stage) {
    let mut history = history(14);
    let sync = stage.sync().start();
    let mut mapping = Mapping::of(&sync);
    let mut deaths = 0;
    for (number, batch) in history.batches().into_iter().enumerate() {
        let records = history.records(batch);
        // Any request, or one that writes documents, which a larger batch surely has.
        let any = deaths % 3 == 1;
        if number % 2 == 1 && (any || records.len() > 4) {
            stop_at(stage, move |write| any || write.documents, deaths % 2 == 0);
            die(stage, &sync, &records).await;
            deaths += 1;
        }
        mapping.deliver(records).await;
    }
    assert!(deaths >= 4, "{deaths}");
    assert_eq!(stage.faults.struck(), deaths);
    stage.converged(&history.fold()).await;
}

/// The next request that is one of these stops half-way.
fn stop_at(stage: &Stage, which: impl Fn(Write) -> bool + Send + 'static, applied: bool) {
    let mut done = false;
    stage.faults.plan(move |write| {
        let hit = !done && which(write);
        done |= hit;
        when(hit, Deed::Stop { applied, time: FOR_EVER })
    });
}

/// Invokes the function and kills its process when a request has stopped half-way.
async fn die(stage: &Stage, sync: &Running, records: &[Value]) {
    let killer = async {
        stage.faults.reached.notified().await;
        let processes = processes(&stage.target());
        assert_eq!(processes.len(), 1, "{processes:?}");
        assert!(Command::new("kill").arg("-9").args(processes).status().unwrap().success());
    };
    let (invocation, ()) = tokio::join!(sync.invoke(event(records)), killer);
    let Invocation::Crashed { status } = &invocation else { panic!("{invocation:?}") };
    assert!(status.contains("signal: 9"), "{status}");
}

/// The ids of the processes with this `TIDELOCK_TARGET`.
pub(crate) fn processes(target: &str) -> Vec<String> {
    let variable = format!("TIDELOCK_TARGET={target}");
    let has_it = |id: &String| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|one| one == variable.as_bytes())
    };
    let folders = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    folders.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(has_it).collect()
}

/// The server ends while a request is under way, and later while nothing is; each time it comes back.
pub(crate) async fn restarted(stage: &Stage) {
    let mut history = history(15);
    let sync = stage.sync().timeout(Duration::from_secs(4)).start();
    let mut mapping = Mapping::of(&sync);
    let batches = history.batches();
    let (first, second) = (batches.len() / 3, batches.len() * 2 / 3);
    for (number, batch) in batches.into_iter().enumerate() {
        let records = history.records(batch);
        if number == first {
            stop_at(stage, |write| write.documents, true);
            let restart = async {
                stage.faults.reached.notified().await;
                stage.own().stop().await;
                stage.own().up().await;
            };
            tokio::join!(mapping.deliver(records), restart);
            continue;
        }
        if number == second {
            stage.own().stop().await;
            let answer = sync.process.invoke(event(&records)).await;
            let Invocation::Response(body) = &answer else { panic!("{answer:?}") };
            let lowest = records[0]["dynamodb"]["SequenceNumber"].as_str().map(str::to_owned);
            assert_eq!(reported(body), lowest, "without a server nothing is done");
            stage.own().up().await;
        }
        mapping.deliver(records).await;
    }
    assert_eq!(stage.faults.struck(), 1);
    stage.converged(&history.fold()).await;
}
