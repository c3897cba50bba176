//! Records that end the function's process, found by the attempt journal. The process is killed from outside while it writes such
//! a record: to Lambda, and to the function, that is the same as memory that is exhausted, or an abort.

use crate::convergence::processes;
use crate::documentdb;
use crate::support::event::{AT, Stream, apart, event, named};
use crate::support::function::{Running, Sync, dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::queue::letters;
use crate::support::{Folder, services};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{LocalMapping, MappingSettings, Pace};
use tidelock_local::source::file::FileSource;

const DEADLY: &str = "deadly";

/// An index behind a proxy that kills the function when it writes a deadly document.
struct Stage {
    index: Index,
    proxy: Proxy,
    folder: Folder,
}

impl Stage {
    async fn new(purpose: &str) -> Option<Self> {
        services::bootstrap("dynamodb-sync")?;
        let url = services::opensearch()?;
        let index = Index::prepared(&url, purpose).await;
        let own: Arc<OnceLock<String>> = Arc::default();
        let known = own.clone();
        let proxy = Proxy::before(&url, move |seen| {
            if seen.bulk == 0 || !std::str::from_utf8(&seen.body).unwrap().contains(DEADLY) {
                return Fault::None;
            }
            let victims = processes(known.get().unwrap());
            assert!(Command::new("kill").arg("-9").args(victims).status().unwrap().success());
            Fault::CutBefore
        })
        .await;
        own.set(target(&proxy.url)).unwrap();
        Some(Self { index, proxy, folder: Folder::new() })
    }

    fn sync(&self) -> Sync {
        let sync = dynamodb_sync(&target(&self.proxy.url)).unwrap().into(self.index.name());
        sync.with("TIDELOCK_DEAD_LETTERS", &format!("file:{}", self.folder.path("letters")))
            .with("TIDELOCK_STATE", &format!("file:{}", self.folder.path("state")))
    }

    fn letters(&self) -> Vec<Value> {
        letters(&self.folder.path("letters"))
    }

    /// Names of what the state still holds, but for how many were parked without neighbours.
    fn remembered(&self) -> Vec<String> {
        let Ok(text) = std::fs::read_to_string(self.folder.path("state")) else { return Vec::new() };
        let state: Value = serde_json::from_str(&text).unwrap();
        let names = state["values"].as_object().unwrap().keys();
        names.filter(|name| !name.ends_with("/alone")).cloned().collect()
    }
}

/// Records 1 to `count`, of which these are deadly.
fn records(count: u32, deadly: &[u32]) -> Vec<Value> {
    let stream = Stream::of("mytable");
    let name = |n: u32| if deadly.contains(&n) { DEADLY } else { "good" };
    (1..=count).map(|n| stream.upsert(&apart(n), &n.to_string(), name(n))).collect()
}

/// A mapping delivers the records until all of them are done. Gives how often the function did not answer.
async fn deliver(records: &[Value], settings: MappingSettings, function: &Running) -> usize {
    let source = FileSource::parse(&json!({ "Records": records }).to_string(), "records").unwrap();
    let mut mapping = LocalMapping::new(settings, source, function.process.clone()).unwrap().pace(Pace::fast());
    let summary = tokio::time::timeout(Duration::from_secs(120), mapping.run_until_idle()).await;
    let summary = summary.unwrap_or_else(|_| panic!("never done:\n{}", function.log())).unwrap();
    assert_eq!((summary.records, summary.discarded), (records.len() as u64, 0));
    let died = |invocation: &Invocation| matches!(invocation, Invocation::Crashed { .. });
    summary.answers.iter().filter(|answer| died(&answer.invocation)).count()
}

/// All but the deadly ones are in the index, and those are in the queue, once each.
async fn accounted(stage: &Stage, records: &[Value], deadly: &[u32]) {
    let fields = stage.index.fields().await;
    let good = (1..).take(records.len()).filter(|n| !deadly.contains(n));
    assert_eq!(fields, good.map(|n| (n.to_string(), named(n, "good"))).collect());
    let letters = stage.letters();
    for letter in &letters {
        assert_eq!(letter["reason"], "crashed_function", "{letter}");
        let n: u32 = letter["key"]["id"]["N"].as_str().unwrap().parse().unwrap();
        assert_eq!(letter["record"], records[n as usize - 1]);
        assert_eq!(letter["source"]["position"], apart(n));
        assert!(letter["version"]["exact"].is_string() && letter["detail"].as_str().unwrap().contains("alone"));
    }
    let parked: BTreeSet<u32> =
        letters.iter().map(|letter| letter["key"]["id"]["N"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!((parked, letters.len()), (deadly.iter().copied().collect(), deadly.len()));
    assert_eq!(stage.remembered(), Vec::<String>::new());
}

#[tokio::test]
async fn one_record_that_ends_the_process_is_parked_and_its_99_neighbours_are_written() {
    // A mapping that repeats a batch whole, as DocumentDB's does, and one that halves it.
    for bisect_on_error in [false, true] {
        let Some(stage) = Stage::new("deadly").await else { return };
        let records = records(100, &[57]);
        let settings = MappingSettings {
            batch_size: 100,
            bisect_on_error,
            report_batch_item_failures: bisect_on_error,
            ..MappingSettings::default()
        };
        let function = stage.sync().start();
        let deaths = deliver(&records, settings, &function).await;
        assert!(if bisect_on_error { deaths <= 12 } else { deaths == 4 }, "{deaths}");
        accounted(&stage, &records, &[57]).await;
        function.logged(&["\"Crashes\":1"]).await;
    }
}

#[tokio::test]
async fn one_change_event_that_ends_the_process_is_parked_and_its_99_neighbours_are_written() {
    let Some(stage) = Stage::new("deadly-event").await else { return };
    let Some(sync) = documentdb::with_queues("documentdb-sync", &target(&stage.proxy.url), &stage.folder) else {
        return;
    };
    let function =
        sync.into(stage.index.name()).with("TIDELOCK_STATE", &format!("file:{}", stage.folder.path("state")));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let changes: Vec<Value> = (1..=100)
        .map(|n| {
            let document = json!({"_id": n, "name": if n == 57 { DEADLY } else { "good" }});
            let mut change = documentdb::change("insert", "demo", &json!(n), n, Some(document));
            change["event"]["clusterTime"]["$timestamp"]["t"] = json!(now);
            change
        })
        .collect();
    let function = function.start();
    // The mapping repeats the batch whole, for as long as it must: it knows nothing else.
    let events = documentdb::event(&changes);
    let source = FileSource::parse(std::str::from_utf8(&events).unwrap(), "changes").unwrap();
    let settings = MappingSettings { batch_size: 100, ..MappingSettings::default() };
    let mut mapping = LocalMapping::new(settings, source, function.process.clone()).unwrap().pace(Pace::fast());
    let summary = tokio::time::timeout(Duration::from_secs(120), mapping.run_until_idle()).await;
    let summary = summary.unwrap_or_else(|_| panic!("never done:\n{}", function.log())).unwrap();
    let died = |invocation: &Invocation| matches!(invocation, Invocation::Crashed { .. });
    let deaths = summary.answers.iter().filter(|answer| died(&answer.invocation)).count();
    assert_eq!((summary.records, summary.discarded, summary.disabled, deaths), (100, 0, None, 4));
    let fields = stage.index.fields().await;
    assert!(fields.len() == 99 && !fields.contains_key("57"), "{:?}", fields.keys());
    let letters = stage.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["reason"], &letters[0]["record"]), (&json!("crashed_function"), &changes[56]));
    assert_eq!(stage.remembered(), Vec::<String>::new());
}

#[tokio::test]
async fn several_such_records_are_found_also_by_environments_that_were_warm() {
    let Some(stage) = Stage::new("several").await else { return };
    let deadly = [31, 32, 90];
    let records = records(120, &deadly);
    let function = stage.sync().start();
    let settings = MappingSettings { batch_size: 30, ..MappingSettings::default() };
    let deaths = deliver(&records, settings, &function).await;
    assert!((8..=14).contains(&deaths), "{deaths}");
    accounted(&stage, &records, &deadly).await;
}

#[tokio::test]
async fn however_many_there_are_each_is_parked_where_others_pass() {
    let Some(stage) = Stage::new("many").await else { return };
    let deadly = [12, 32, 52, 72, 92];
    let records = records(100, &deadly);
    let settings = MappingSettings {
        batch_size: 20,
        bisect_on_error: true,
        report_batch_item_failures: true,
        ..MappingSettings::default()
    };
    deliver(&records, settings, &stage.sync().start()).await;
    accounted(&stage, &records, &deadly).await;
}

#[tokio::test]
async fn a_function_that_dies_of_every_record_does_not_empty_the_stream_into_the_queue() {
    let Some(stage) = Stage::new("broken").await else { return };
    let deadly: Vec<u32> = (1..=6).collect();
    let function = stage.sync().start();
    let mut parked = 0;
    for record in records(6, &deadly) {
        for _ in 0..4 {
            match function.invoke(event(std::slice::from_ref(&record))).await {
                Invocation::Crashed { .. } => {}
                Invocation::Response(_) => {
                    parked += 1;
                    break;
                }
                failed => panic!("{failed:?}"),
            }
        }
    }
    assert_eq!((parked, stage.letters().len()), (3, 3), "{}", function.log());
    function.logged(&["the function may be to blame"]).await;
}

#[tokio::test]
async fn a_slow_target_condemns_nobody() {
    let Some(url) = services::opensearch() else { return };
    let (index, folder) = (Index::prepared(&url, "slow").await, Folder::new());
    let slow = Arc::new(OnceLock::new());
    let over = slow.clone();
    let proxy = Proxy::before(&url, move |seen| match over.get() {
        None if seen.bulk > 0 => Fault::Hold(Duration::from_secs(600)),
        _ => Fault::None,
    })
    .await;
    let Some(sync) = dynamodb_sync(&target(&proxy.url)) else { return };
    let (letters_path, state) = (folder.path("letters"), folder.path("state"));
    let sync = sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &format!("file:{letters_path}"));
    let function = sync.with("TIDELOCK_STATE", &format!("file:{state}")).timeout(Duration::from_secs(2)).start();
    let one = records(1, &[]);
    for _ in 0..3 {
        assert_eq!(function.answer(event(&one)).await, Some(apart(1)));
        assert!(std::fs::read_to_string(&state).unwrap().contains("\"values\":{}"));
    }
    slow.set(()).unwrap();
    function.succeed(event(&one)).await;
    assert_eq!(index.fields().await.len(), 1);
    assert_eq!(letters(&letters_path), Vec::<Value>::new());
}

/// The most address space that the process of a function has had, KiB.
fn peak(target: &str) -> u64 {
    let [process] = &processes(target)[..] else { panic!("one process") };
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_record_that_needs_more_memory_than_there_is_is_parked() {
    let Some(stage) = Stage::new("memory").await else { return };
    let stream = Stream::of("mytable");
    let record = |n: u32, size: u32| {
        let item = json!({"Name": {"S": "good"}, "size": {"N": size.to_string()}});
        stream.item(&apart(n), &n.to_string(), AT, &item)
    };
    let pipeline = |index: &str| {
        let steps = "[{set: {length: '[range(.size)] | length'}}, {drop: [size, length]}]";
        format!("version: 1\nroutes: [{{from: '*', to: {index}, transform: {steps}}}]\n")
    };
    let elsewhere = stage.index.beside("large");
    let large = stage.sync().with("TIDELOCK_PIPELINE", &pipeline(elsewhere.name())).start();
    large.succeed(event(&[record(1, 10)])).await;
    let peak = peak(&target(&stage.proxy.url));
    // It is memory alone that it needs.
    large.succeed(event(&[record(57, 400_000)])).await;
    assert_eq!(elsewhere.get("57").await.unwrap().fields, named(57, "good"));
    drop(large);
    let records: Vec<Value> = (1..=100).map(|n| record(n, if n == 57 { 400_000 } else { 10 })).collect();
    let small = stage.sync().with("TIDELOCK_PIPELINE", &pipeline(stage.index.name()));
    let small = small.within(peak + 16 * 1_024, &stage.folder).start();
    let settings = MappingSettings { batch_size: 100, ..MappingSettings::default() };
    let deaths = deliver(&records, settings, &small).await;
    assert_eq!(deaths, 4);
    accounted(&stage, &records, &[57]).await;
    small.logged(&["memory allocation of", "failed"]).await;
}

/// The operation of DynamoDB that a request asks for.
fn operation(seen: &Seen) -> String {
    seen.header("x-amz-target").unwrap().rsplit('.').next().unwrap().to_owned()
}

fn with_state(sync: Sync, state: &Proxy) -> Sync {
    sync.with("TIDELOCK_STATE", "dynamodb:states").with("AWS_ENDPOINT_URL_DYNAMODB", &state.url)
}

#[tokio::test]
async fn only_the_first_batch_of_an_environment_is_written_down() {
    let Some(url) = services::opensearch() else { return };
    let index = Index::prepared(&url, "journal").await;
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let state = Proxy::alone(|_| Fault::Answer(200, "{}".into())).await;
    let function = with_state(sync.into(index.name()), &state).start();
    for batch in records(50, &[]).chunks(10) {
        function.succeed(event(batch)).await;
        let asked: Vec<String> = state.seen().iter().map(operation).collect();
        assert_eq!(asked, ["PutItem", "DeleteItem"], "of the first batch alone");
    }
    assert_eq!(index.fields().await.len(), 50);
}

#[tokio::test]
async fn the_journal_is_closed_although_the_target_is_silent_to_the_last_moment() {
    let target_is_silent = Proxy::alone(|_| Fault::Hold(Duration::from_secs(600))).await;
    let Some(sync) = dynamodb_sync(&target(&target_is_silent.url)) else { return };
    let state = Proxy::alone(|_| Fault::Answer(200, "{}".into())).await;
    let function = with_state(sync, &state).timeout(Duration::from_secs(2)).start();
    assert_eq!(function.answer(event(&records(1, &[]))).await, Some(apart(1)));
    assert_eq!(state.seen().iter().map(operation).collect::<Vec<_>>(), ["PutItem", "DeleteItem"]);
}

#[tokio::test]
async fn a_state_that_fails_blocks_nothing() {
    let Some(url) = services::opensearch() else { return };
    let denied = json!({"__type": "AccessDeniedException", "message": "no"}).to_string();
    for fault in [
        Fault::Answer(400, denied),
        Fault::Answer(500, "{}".into()),
        Fault::CutBefore,
        Fault::Hold(Duration::from_secs(600)),
    ] {
        let index = Index::prepared(&url, "stateless").await;
        let Some(sync) = dynamodb_sync(&target(&url)) else { return };
        let told = fault.clone();
        let state = Proxy::alone(move |_| told.clone()).await;
        let function = with_state(sync.into(index.name()), &state).start();
        let started = Instant::now();
        function.succeed(event(&records(3, &[]))).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{fault:?} {:?}", started.elapsed());
        assert_eq!(index.fields().await.len(), 3);
        function.logged(&["going on without it"]).await;
        let asked = state.seen().len();
        function.succeed(event(&records(3, &[]))).await;
        assert_eq!(state.seen().len(), asked, "{fault:?}");
    }
}
