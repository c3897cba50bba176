//! Changes that wait: the target is down, or always behind a queue; what redrive makes of them, also when it is killed.

use super::history::{History, Shape, Step};
use super::interruptions::processes;
use super::stage::{Mapping, Stage};
use crate::support::bucket::Bucket;
use crate::support::event::event;
use crate::support::function::{Running, Sync};
use crate::support::queue::Queue;
use fastrand::Rng;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tidelock_local::function::Invocation;

/// How long it may take until all that waits is applied.
const DRAINED: Duration = Duration::from_secs(120);

fn history(seed: u64, changes: usize, keys: usize) -> History {
    History::of("orders", Shape { seed, step: Step::Huge, relabel: false }, changes, keys)
}

/// A pipeline that holds.
fn holds(stage: &Stage, how: &str) -> String {
    format!("version: 1\nroutes: [{{from: '*', to: {}, on_outage: {how}}}]\n", stage.base())
}

/// The queues and the bucket of a script, and functions that know them.
struct Waiting {
    fallback: Queue,
    dead_letters: Queue,
    bucket: Bucket,
}

impl Waiting {
    async fn create() -> Option<Self> {
        Some(Self {
            fallback: Queue::create("fallback").await?,
            dead_letters: Queue::create("letters").await?,
            bucket: Bucket::create("failures").await?,
        })
    }

    fn known_to(&self, function: Sync, pipeline: &str) -> Sync {
        function
            .with("TIDELOCK_PIPELINE", pipeline)
            .with("TIDELOCK_DEAD_LETTERS", &self.dead_letters.url)
            .with("TIDELOCK_FALLBACK", &self.fallback.url)
            .with("TIDELOCK_LETTERS_BUCKET", &self.bucket.name)
            .with("TIDELOCK_FAILURES", &format!("s3://{}", self.bucket.name))
            .with("AWS_ENDPOINT_URL_SQS", &self.fallback.service)
            .with("AWS_ENDPOINT_URL_S3", &self.bucket.service)
            .with("AWS_REGION", "us-east-1")
    }

    /// Runs `redrive` until nothing waits any more. Gives what all runs have told.
    async fn drain(&self, redrive: &Running) -> Vec<Value> {
        let began = Instant::now();
        let mut told = Vec::new();
        loop {
            told.push(scheduled(redrive).await);
            if self.fallback.count().await == 0 {
                return told;
            }
            assert!(began.elapsed() < DRAINED, "{told:#?}\n{}", redrive.log());
            // Messages that a killed run has taken come back only after a while.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// One run on the schedule.
async fn scheduled(redrive: &Running) -> Value {
    let invocation = redrive.invoke(r#"{"source":"aws.events"}"#).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", redrive.log()) };
    serde_json::from_slice(body).unwrap()
}

/// The server ends, 9,000 of 10,000 changes come while it is away and are acknowledged; it comes back, newer changes go straight
/// in, `redrive` brings the older ones.
pub(crate) async fn outage(stage: &Stage) {
    let Some(waiting) = Waiting::create().await else { return };
    let mut history = history(71, 10_000, 1_500);
    let pipeline = holds(stage, "hold");
    let sync = waiting.known_to(stage.sync(), &pipeline).timeout(Duration::from_secs(10)).start();
    let redrive = waiting.known_to(stage.redrive(), &pipeline).start();
    let mut mapping = Mapping::of(&sync);
    mapping.deliver(history.records(0..1_000)).await;
    assert_eq!(waiting.fallback.count().await, 0);
    stage.own().stop().await;
    for from in (1_000..10_000).step_by(1_000) {
        mapping.deliver(history.records(from..from + 1_000)).await;
    }
    assert_eq!(mapping.retried, 0, "held is done: {}", sync.log());
    assert!(waiting.fallback.count().await >= 9, "packs wait");
    // The schedule goes on while the server is away, and leaves everything where it is.
    let before = waiting.fallback.count().await;
    let told = scheduled(&redrive).await;
    assert!(told["target_down"].is_string() && told.get("redriven").is_none(), "{told}");
    assert_eq!(waiting.fallback.count().await, before);
    stage.own().up().await;
    let newer: Vec<Value> = (0..300).map(|n| history.push(&format!("k{}", n % 50), n % 7 == 0)).collect();
    mapping.deliver(newer).await;
    let told = waiting.drain(&redrive).await;
    let sum = |name: &str| told.iter().map(|told| told["redriven"]["fallback"][name].as_u64().unwrap()).sum::<u64>();
    assert!(sum("applied") > 0 && sum("stale") > 0, "{told:#?}");
    assert_eq!(waiting.dead_letters.count().await, 0);
    stage.converged(&history.fold()).await;
}

/// Nothing is written but by `redrive`, on its schedule and as the target of a mapping of the queue.
pub(crate) async fn buffered(stage: &Stage) {
    let Some(waiting) = Waiting::create().await else { return };
    let mut history = history(72, 600, 40);
    let pipeline = holds(stage, "always_hold");
    let sync = waiting.known_to(stage.sync(), &pipeline).start();
    let redrive = waiting.known_to(stage.redrive(), &pipeline).start();
    let mut mapping = Mapping::of(&sync);
    for batch in history.batches() {
        mapping.deliver(history.records(batch)).await;
    }
    assert_eq!(stage.documents().await.len(), 0, "only redrive writes");
    assert!(waiting.fallback.count().await > 0);
    // A part of it as Lambda delivers messages, with one that is none of ours among them.
    let mut records: Vec<Value> = waiting
        .fallback
        .raw(5)
        .await
        .into_iter()
        .map(|(id, body)| json!({"messageId": id, "body": body, "eventSource": "aws:sqs"}))
        .collect();
    records.push(json!({"messageId": "stranger", "body": "hello", "eventSource": "aws:sqs"}));
    let invocation = redrive.invoke(event(&records)).await;
    let Invocation::Response(body) = &invocation else { panic!("{invocation:?}\n{}", redrive.log()) };
    let answer: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "stranger"}]}));
    assert!(!stage.documents().await.is_empty());
    // Those messages were not deleted, as Lambda would; they are drained once more, and nothing is newer than it was.
    waiting.fallback.give_back().await;
    waiting.drain(&redrive).await;
    assert_eq!(waiting.dead_letters.count().await, 0);
    stage.converged(&history.fold()).await;
}

/// `redrive` is killed fifty times, at moments that nobody chooses.
pub(crate) async fn killed(stage: &Stage) {
    let Some(waiting) = Waiting::create().await else { return };
    let history = history(73, 3_000, 150);
    let pipeline = holds(stage, "always_hold");
    let sync = waiting.known_to(stage.sync(), &pipeline).start();
    let mut mapping = Mapping::of(&sync);
    // Many packs, and what they hold is what later ones hold, too: 120 messages of 25 changes.
    for from in (0..3_000).step_by(25) {
        mapping.deliver(history.records(from..from + 25)).await;
    }
    let packs = waiting.fallback.count().await;
    assert!(packs >= 120, "{packs}");
    drop(sync);
    let mut random = Rng::with_seed(73);
    let (mut kills, mut runs) = (0, 0);
    while kills < 50 {
        runs += 1;
        assert!(runs <= 250, "only {kills} of {runs} runs were killed at work");
        // What killed runs hold comes back after their time. Meanwhile there is other work: the same changes, which must not harm.
        if waiting.fallback.visible().await == 0 {
            let sync = waiting.known_to(stage.sync(), &pipeline).start();
            let from = 25 * random.usize(..105);
            for from in (from..from + 375).step_by(25) {
                Mapping::of(&sync).deliver(history.records(from..from + 25)).await;
            }
        }
        let waits = waiting.fallback.visible().await;
        let redrive = waiting.known_to(stage.redrive(), &pipeline).timeout(Duration::from_secs(6)).start();
        redrive.process.warm_up().await.unwrap();
        let killer = async {
            tokio::time::sleep(Duration::from_millis(random.u64(30..400))).await;
            let processes = processes(&stage.target());
            Command::new("kill").arg("-9").args(processes).status().unwrap().success()
        };
        let (invocation, killed) = tokio::join!(redrive.invoke("{}"), killer);
        match invocation {
            // It had begun: some messages were taken, and are not done.
            Invocation::Crashed { .. } => kills += u32::from(waiting.fallback.visible().await < waits),
            Invocation::Response(_) => {}
            other => panic!("{other:?}, killed: {killed}\n{}", redrive.log()),
        }
    }
    let redrive = waiting.known_to(stage.redrive(), &pipeline).start();
    waiting.drain(&redrive).await;
    assert_eq!(waiting.dead_letters.count().await, 0);
    stage.converged(&history.fold()).await;
}

/// Lambda has given up batches, one of them with a poisonous record, and put them into the bucket whole.
pub(crate) async fn given_up(stage: &Stage) {
    let Some(waiting) = Waiting::create().await else { return };
    let mut history = history(74, 300, 25);
    let pipeline = holds(stage, "retry");
    let sync = waiting.known_to(stage.sync(), &pipeline).start();
    let redrive = waiting.known_to(stage.redrive(), &pipeline).start();
    let mut mapping = Mapping::of(&sync);
    let mut lost = 0;
    for (number, batch) in history.batches().into_iter().enumerate() {
        let mut records = history.records(batch);
        if number % 3 != 1 {
            mapping.deliver(records).await;
            continue;
        }
        if lost == 1 {
            let sequence = records.last().unwrap()["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
            records.push(history.stream.poison(&format!("{sequence}1"), "9"));
        }
        lost += 1;
        let name = format!("aws/lambda/esm/shardId-1/2026/01/01/2026-01-01T00.00.{number:02}-x");
        waiting.bucket.put(&name, on_failure(&records)).await;
    }
    waiting.bucket.put("aws/lambda/esm/strange", "what is this").await;
    assert!(lost >= 3, "{lost}");
    let told = scheduled(&redrive).await;
    let failures = &told["redriven"]["failures"];
    assert_eq!((&failures["completed"], &failures["kept"]), (&json!(lost), &json!(1)), "{told:#}");
    assert_eq!(failures["parked"], json!({"unknown_type": 1}), "{told:#}");
    assert_eq!(waiting.bucket.names().await, ["aws/lambda/esm/strange"], "what nobody can read is kept");
    assert_eq!(waiting.dead_letters.count().await, 1);
    stage.converged(&history.fold()).await;
}

/// As Lambda writes it.
fn on_failure(records: &[Value]) -> String {
    let sequence = |record: &Value| record["dynamodb"]["SequenceNumber"].clone();
    json!({
        "requestContext": {
            "requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0", "timestamp": "2026-01-01T00:00:00.000Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-1", "startSequenceNumber": sequence(&records[0]),
            "endSequenceNumber": sequence(records.last().unwrap()),
            "approximateArrivalOfFirstRecord": now(), "approximateArrivalOfLastRecord": now(),
            "batchSize": records.len(), "streamArn": records[0]["eventSourceARN"],
        },
        "payload": json!({"Records": records}).to_string(),
    })
    .to_string()
}

fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    tidelock_core::letter::timestamp(i64::try_from(now).unwrap())
}
