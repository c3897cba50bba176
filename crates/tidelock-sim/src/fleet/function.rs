//! One function of a fleet: an environment of the real code, and the event source mapping that invokes it.

use super::Load;
use super::records::Delivered;
use super::server::{Sender, Server};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Circumstances, PATIENCE, Posts, deliver};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::pipeline::Pipeline;
use tidelock_core::queue::Nowhere;
use tidelock_core::slow::{ReadResult, Source};
use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget, Request, Response, Transport};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// What the runtime keeps of a function's time to send the answer.
const RESERVE: Duration = Duration::from_secs(2);

/// How long the mapping waits after a failure, and after many in a row. How long Lambda waits is not documented.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// What a function has been through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Invocations {
    /// How many there were.
    pub(crate) count: usize,
    /// Those of them after which records had to come again.
    pub(crate) failed: usize,
    /// Those of them that Lambda had to end.
    pub(crate) killed: usize,
    /// Those of them that answered later than they had been told.
    pub(crate) late: usize,
}

/// The way of one function to the server.
pub(crate) struct Way {
    pub(crate) server: Server,
    pub(crate) sender: Rc<Cell<Sender>>,
}

impl Transport for Way {
    async fn send(&self, request: Request, deadline: std::time::Instant) -> Result<Response, Failure> {
        let (server, sender) = (self.server.clone(), self.sender.get());
        let answer = async {
            sleep(server.travel()).await;
            // What has arrived goes on, whoever waits.
            let answer = spawn_local(server.clone().serve(sender, request)).await;
            sleep(server.travel()).await;
            answer.map_err(|error| Failure::new(Cause::Unreachable, error.to_string()))
        };
        let timed_out = |_| {
            self.server.tally(|tally| tally.abandoned += 1);
            Failure::new(Cause::TimedOut, "no answer within the invocation's time")
        };
        timeout_at(deadline.into(), answer).await.map_err(timed_out)?
    }

    fn place(&self) -> &str {
        "server.example:9200"
    }
}

/// There is no source to read again.
enum Nobody {}

impl Source for Nobody {
    async fn read(&self, _: &str, _: &[Key<'_>], _: Format, _: std::time::Instant) -> Vec<ReadResult> {
        match *self {}
    }
}

/// Delivers batch after batch for ever, each from its lowest failed record on until it is done, as Lambda does.
pub(crate) async fn follow(load: &Load, server: Server, function: usize, paced: bool, invocations: &Cell<Invocations>) {
    let sender = Rc::new(Cell::new(Sender { function, batch: 0 }));
    let environment = || {
        let way = Way { server: server.clone(), sender: Rc::clone(&sender) };
        OpenSearchTarget::new(way, OpenSearchConfig { paced, ..OpenSearchConfig::new(load.bulk_bytes, load.in_flight) })
    };
    let (mut target, mut first, mut failures) = (environment(), 0, 0);
    loop {
        let delivered = load.records.from(first);
        let began = Instant::now();
        let deadline = began + load.timeout - RESERVE;
        let answer = timeout(load.timeout, invoke(&target, &delivered, began, deadline)).await;
        let mut counts = invocations.get();
        counts.count += 1;
        counts.late += usize::from(Instant::now() > deadline);
        let lowest = match answer {
            Ok(None) => None,
            Ok(Some(number)) => Some(load.records.at(&number).unwrap_or(first)),
            Err(_) => {
                counts.killed += 1;
                target = environment();
                Some(first)
            }
        };
        counts.failed += usize::from(lowest.is_some());
        invocations.set(counts);
        match lowest {
            None => {
                (first, failures) = (0, 0);
                server.tally(|tally| tally.done(sender.get()));
                sender.set(Sender { batch: sender.get().batch + 1, ..sender.get() });
                // The next batch is read, and the function invoked.
                sleep(server.travel()).await;
            }
            Some(lowest) => {
                failures = if lowest > first { 0 } else { failures + 1 };
                first = lowest;
                sleep(FIRST_BACKOFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACKOFF)).await;
            }
        }
    }
}

/// Runs the function; gives the number of the lowest record that must come again.
async fn invoke(
    target: &OpenSearchTarget<Way>,
    delivered: &Delivered,
    began: Instant,
    deadline: Instant,
) -> Option<String> {
    let Delivered { payload, batch } = delivered;
    let at = Circumstances {
        function: "sync",
        now_ms: 0,
        started: began.into_std(),
        deadline: deadline.into_std(),
        patience: PATIENCE,
    };
    let posts = Posts { dead_letters: None::<&Nowhere>, fallback: None, bucket: None::<&Nowhere> };
    let report = deliver(payload, batch, &Pipeline::default(), target, None::<&Nobody>, posts, at).await;
    let answer = report.answer.ok().and_then(|answer| serde_json::to_value(answer).ok());
    // An error is a failure from the first record on.
    let answer = answer.unwrap_or_else(|| serde_json::json!({"batchItemFailures": [{"itemIdentifier": ""}]}));
    answer["batchItemFailures"][0]["itemIdentifier"].as_str().map(str::to_owned)
}
