//! What the pace does to requests, as a server gets to see them.

use crate::{OpenSearchConfig, OpenSearchTarget, Request, Response, Transport};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use tidelock_core::batch::{Batch, Delivery, Plan};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::source::dynamodb::decode;
use tidelock_core::target::{Call, Outcome, Target as _};
use tokio::time::{sleep, timeout_at};

const ANSWER: Duration = Duration::from_millis(50);

/// A server that answers each bulk request after a while: with 429 for some time, and if it is larger than so many bytes.
struct Server {
    began: Instant,
    refuses_until: Cell<Duration>,
    most: usize,
    /// When each bulk request came, and its bytes.
    seen: RefCell<Vec<(Duration, usize)>>,
}

impl Server {
    fn new(refuses_until: Duration, most: usize) -> Self {
        Self { began: super::now(), refuses_until: Cell::new(refuses_until), most, seen: RefCell::default() }
    }
}

impl Transport for &Server {
    async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        if request.method == "GET" {
            return Ok(Response { status: 200, body: "\"_tidelock\"".into() });
        }
        let at = super::now() - self.began;
        self.seen.borrow_mut().push((at, request.body.len()));
        let late = |_| Failure::new(Cause::TimedOut, "no answer");
        timeout_at(deadline.into(), sleep(ANSWER)).await.map_err(late)?;
        if at < self.refuses_until.get() || request.body.len() > self.most {
            let body = r#"{"error":{"type":"circuit_breaking_exception","reason":"Data too large"},"status":429}"#;
            return Ok(Response { status: 429, body: body.into() });
        }
        let items = request.body.split(|byte| *byte == b'\n').count() / 2;
        let items = vec![r#"{"index":{"status":201}}"#; items].join(",");
        Ok(Response { status: 200, body: format!("{{\"errors\":false,\"items\":[{items}]}}").into() })
    }

    fn place(&self) -> &str {
        "server.example:9200"
    }
}

/// An event of 300 documents of about 12 KB.
fn event() -> (Vec<u8>, Batch) {
    let text = "x".repeat(12_000);
    let record = |number: usize| {
        format!(
            r#"{{"eventName":"INSERT","eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/2012-01-01T00:00:01.000",
            "dynamodb":{{"Keys":{{"k":{{"S":"{number}"}}}},"NewImage":{{"k":{{"S":"{number}"}},"t":{{"S":"{text}"}}}},"SequenceNumber":"{number}00000000000000000000"}}}}"#
        )
    };
    let records: Vec<String> = (100..400).map(record).collect();
    let event = format!(r#"{{"Records":[{}]}}"#, records.join(",")).into_bytes();
    let batch = decode(&event, Format::Json).expect("an event");
    (event, batch)
}

/// Applies an event with some time for it.
async fn apply(target: &OpenSearchTarget<&Server>, (event, batch): &(Vec<u8>, Batch), time: Duration) -> Vec<Outcome> {
    let pipeline = Pipeline::default();
    let plan = Plan::new(event, batch, &pipeline);
    let round = Delivery::new(batch, &plan, false).round();
    target.apply(&round.operations, Call { deadline: super::now() + time, now_ms: 0, truth: false }).await
}

const MINUTE: Duration = Duration::from_secs(60);
const CONFIG: OpenSearchConfig =
    OpenSearchConfig { bulk_bytes: 1_000_000, in_flight: 2, paced: true, guards: true, fences: true, salvage: false };

#[tokio::test(start_paused = true)]
async fn without_refusals_requests_are_what_they_were() {
    let (event, mut seen) = (event(), Vec::new());
    for paced in [true, false] {
        let server = Server::new(Duration::ZERO, usize::MAX);
        let target = OpenSearchTarget::new(&server, OpenSearchConfig { paced, ..CONFIG });
        for _ in 0..3 {
            assert!(apply(&target, &event, MINUTE).await.iter().all(Result::is_ok));
        }
        seen.push(server.seen.take());
    }
    assert_eq!(seen[0], seen[1]);
    // 3.6 MB in four requests, two at a time, one pair right after the other.
    let at: Vec<u32> = seen[0].iter().map(|(at, _)| at.as_millis() as u32).collect();
    assert_eq!(at, [0, 0, 50, 50, 100, 100, 150, 150, 200, 200, 250, 250]);
    assert!(seen[0].iter().all(|(_, bytes)| (800_000..1_000_000).contains(bytes)), "{seen:?}");
    // Nothing that grows with records, or is allocated at all.
    assert!(!std::mem::needs_drop::<super::State>());
}

#[tokio::test(start_paused = true)]
async fn full_speed_is_back_within_seconds() {
    let (event, outage) = (event(), Duration::from_secs(100));
    for _ in 0..10 {
        let server = Server::new(outage, usize::MAX);
        let target = OpenSearchTarget::new(&server, CONFIG);
        while super::now() - server.began < outage {
            apply(&target, &event, MINUTE).await;
        }
        let refused = server.seen.take().iter().filter(|(at, _)| *at < outage).count();
        assert!(refused < 60, "{refused} requests");
        // The wait that the outage has left, of at most eight seconds, and a few shorter ones.
        while super::now() - server.began < outage + Duration::from_secs(12) {
            assert!(apply(&target, &event, MINUTE).await.iter().all(Result::is_ok));
        }
        server.seen.take();
        let began = super::now();
        assert!(apply(&target, &event, MINUTE).await.iter().all(Result::is_ok));
        assert_eq!((super::now() - began, server.seen.take().len()), (2 * ANSWER, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_shrink_until_they_are_taken() {
    let event = event();
    for (most, time) in [(800_000, MINUTE), (100_000, 20 * MINUTE)] {
        let server = Server::new(Duration::ZERO, most);
        let target = OpenSearchTarget::new(&server, OpenSearchConfig { bulk_bytes: 4_000_000, in_flight: 1, ..CONFIG });
        assert!(apply(&target, &event, time).await.iter().all(Result::is_ok));
        let seen = server.seen.take();
        assert!(seen[0].1 > 3_000_000 && seen.iter().any(|(_, bytes)| *bytes <= most), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_in_time_comes_again() {
    let event = event();
    let server = Server::new(60 * MINUTE, usize::MAX);
    let target = OpenSearchTarget::new(&server, CONFIG);
    for seconds in 1..=20 {
        let (began, time) = (super::now(), Duration::from_secs(seconds));
        let outcomes = apply(&target, &event, time).await;
        assert_eq!(outcomes.len(), 300);
        let is_busy = |outcome: &Outcome| outcome.as_ref().is_err_and(|failure| failure.cause == Cause::Throttled);
        assert!(outcomes.iter().all(is_busy), "{:?}", outcomes.iter().find(|outcome| !is_busy(outcome)));
        assert!(super::now() <= began + time);
        let deadline = began + time - server.began;
        assert!(server.seen.take().iter().all(|(at, _)| *at < deadline));
    }
}
