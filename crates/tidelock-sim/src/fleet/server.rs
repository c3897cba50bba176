//! A server under load: what each request costs it, how much it takes in at a time, and how it refuses the rest.

use super::Workload;
use super::node::Node;
use super::records::{INDEX, mark, position};
use super::tally::Tally;
use crate::engine::{Problem, answer};
use crate::path::Route;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use tidelock_opensearch::{Request, Response};
use tokio::time::{Instant, sleep_until};

/// Who learns that a node's write queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request: it is answered with 429.
    Request,
    /// Its items on that node: the request is answered with 200, and these items with 429.
    Items,
}

/// What a server is like, and what work costs it.
///
/// Limits are named as OpenSearch names them:
/// [thread pools](https://docs.opensearch.org/latest/install-and-configure/configuring-opensearch/index-settings/),
/// [indexing pressure](https://www.elastic.co/docs/reference/elasticsearch/index-settings/pressure),
/// [circuit breakers](https://docs.opensearch.org/latest/install-and-configure/configuring-opensearch/circuit-breaker/).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerConfig {
    /// Nodes. Any of them receives a request; its items are written where their shards lie.
    pub nodes: usize,
    /// Cores of a node, each with a thread of the write pool.
    pub cores: usize,
    /// Parts of requests that may wait for a thread of a node: `thread_pool.write.queue_size`.
    pub queue: usize,
    /// What a full queue refuses.
    pub refusal: Refusal,
    /// Core time of writing a request's part on a node, whatever is in it.
    pub per_part: Duration,
    /// Core time of writing an item.
    pub per_item: Duration,
    /// Core time of receiving a request, whether it is refused or not. It goes before writing: this is what makes a storm of
    /// refused requests cost goodput.
    pub per_request: Duration,
    /// Core time of receiving and reading a megabyte of requests, refused or not.
    pub per_megabyte: Duration,
    /// Bytes of a node's heap.
    pub heap: usize,
    /// How much of it other things than requests use.
    pub heap_used: usize,
    /// Heap that each byte of a request takes until it is answered: `network.breaker.inflight_requests.overhead`.
    pub heap_per_byte: usize,
    /// Percent of the heap above which every request is refused: `indices.breaker.total.limit`.
    pub breaker_percent: usize,
    /// Percent of the heap that bytes being indexed may take: `indexing_pressure.memory.limit`.
    pub pressure_percent: usize,
}

impl Default for ServerConfig {
    /// A small node, and documents of 5 KB that take a millisecond each.
    fn default() -> Self {
        Self {
            nodes: 1,
            cores: 2,
            queue: 16,
            refusal: Refusal::Request,
            per_part: Duration::from_millis(2),
            per_item: Duration::from_millis(1),
            per_request: Duration::from_micros(500),
            per_megabyte: Duration::from_millis(2),
            heap: 1_000_000_000,
            heap_used: 600_000_000,
            heap_per_byte: 2,
            breaker_percent: 95,
            pressure_percent: 10,
        }
    }
}

/// What happens to a server, by the time since its start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weather {
    /// When all work takes longer, and what share of its speed is left.
    pub slow: Option<(Range<Duration>, f64)>,
    /// When the circuit breaker refuses everything.
    pub broken: Option<Range<Duration>>,
}

/// Whose request it is: which function's, about which of its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) function: usize,
    pub(crate) batch: u64,
}

struct State {
    config: ServerConfig,
    weather: Weather,
    began: Instant,
    nodes: Vec<Node>,
    rng: fastrand::Rng,
    tally: Tally,
    /// Bytes that each document has at least.
    document_bytes: usize,
}

/// A model of a server under load. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Server(Rc<RefCell<State>>);

impl Server {
    pub(crate) fn new(seed: u64, config: ServerConfig, weather: Weather, workload: Workload, tally: Tally) -> Self {
        let began = Instant::now();
        let nodes = (0..config.nodes.max(1)).map(|_| Node::new(&config, began)).collect();
        let (rng, document_bytes) = (fastrand::Rng::with_seed(seed), workload.document_bytes);
        Self(Rc::new(RefCell::new(State { config, weather, began, nodes, rng, tally, document_bytes })))
    }

    /// Draws how long a request or an answer travels.
    pub(crate) fn travel(&self) -> Duration {
        Duration::from_micros(self.0.borrow_mut().rng.u64(500..5_000))
    }

    /// What has been counted.
    pub(crate) fn tally<R>(&self, read: impl FnOnce(&mut Tally) -> R) -> R {
        read(&mut self.0.borrow_mut().tally)
    }

    /// Answers a request that arrives now. It goes on although nobody may wait for it any more.
    pub(crate) async fn serve(self, sender: Sender, request: Request) -> Response {
        let bytes = request.body.len();
        let (node, ready, out_of_memory) = self.0.borrow_mut().arrive(bytes);
        sleep_until(ready).await;
        let answer = match Route::of(request.method, &request.path) {
            _ if out_of_memory => Err(breaker()),
            Route::Bulk(..) => self.bulk(sender, node, &request.body).await,
            Route::MultiGet(..) => multi_get(&self, sender, &request.body),
            Route::GetMapping(_) => Ok(mapping()),
            _ => Err(Problem::unknown(&request.path)),
        };
        let mut state = self.0.borrow_mut();
        state.node(node).answered(bytes);
        let at = state.began.elapsed();
        state.tally.request(at, sender, bytes, answer.is_err());
        answer.unwrap_or_else(|problem| problem.whole())
    }

    async fn bulk(&self, sender: Sender, node: usize, body: &[u8]) -> Result<Response, Problem> {
        let document_bytes = self.0.borrow().document_bytes;
        let positions = positions(body, document_bytes);
        let mut parts = self.0.borrow_mut().take_in(node, &positions, body.len())?;
        parts.sort_unstable_by_key(|part| part.written);
        let mut statuses = vec![429; positions.len()];
        for part in &parts {
            sleep_until(part.written).await;
            let mut state = self.0.borrow_mut();
            let second = usize::try_from(state.began.elapsed().as_secs()).unwrap_or(0);
            for (status, &position) in statuses.iter_mut().zip(&positions).filter(|(_, item)| part.holds(**item)) {
                *status = if state.tally.write(sender, position, second) { 201 } else { 409 };
            }
            if part.node != node {
                state.node(part.node).let_go(part.bytes);
            }
        }
        let mut state = self.0.borrow_mut();
        state.node(node).let_go(body.len());
        state.tally.items(&statuses);
        drop(state);
        Ok(items(&statuses))
    }
}

/// What of a request is written on one node.
struct Part {
    node: usize,
    nodes: usize,
    bytes: usize,
    written: Instant,
}

impl Part {
    fn holds(&self, position: usize) -> bool {
        position % self.nodes == self.node
    }
}

impl State {
    fn node(&mut self, node: usize) -> &mut Node {
        self.nodes.get_mut(node).expect("nodes are numbered by the server")
    }

    /// The time that work takes which takes this long when all is well.
    fn cost(&self, work: Duration) -> Duration {
        let since = self.began.elapsed();
        match &self.weather.slow {
            Some((when, speed)) if when.contains(&since) => work.div_f64(*speed),
            _ => work,
        }
    }

    /// Receives a request: at which node, when it has been read, and whether it is one too many.
    fn arrive(&mut self, bytes: usize) -> (usize, Instant, bool) {
        let node = self.rng.usize(..self.nodes.len());
        let read = self.config.per_megabyte.mul_f64(bytes as f64 / 1e6);
        let (config, cost) = (self.config, self.cost(self.config.per_request + read));
        let broken = self.weather.broken.as_ref().is_some_and(|when| when.contains(&self.began.elapsed()));
        let ready = self.node(node).receive(Instant::now(), bytes, cost);
        (node, ready, broken || self.node(node).is_out_of_memory(&config))
    }

    /// Gives a request's parts to their nodes, as far as they take them.
    fn take_in(&mut self, at: usize, positions: &[usize], bytes: usize) -> Result<Vec<Part>, Problem> {
        let (config, now, nodes) = (self.config, Instant::now(), self.nodes.len());
        if self.node(at).is_under_pressure(&config, bytes) {
            return Err(pressure());
        }
        let mut parts = Vec::new();
        for node in 0..nodes {
            let items = positions.iter().filter(|position| **position % nodes == node).count();
            let share = bytes * items / positions.len().max(1);
            if items == 0 {
                continue;
            }
            let full = self.node(node).is_full(&config, now);
            if full && config.refusal == Refusal::Request {
                return Err(full_queue());
            }
            if full || node != at && self.node(node).is_under_pressure(&config, share) {
                continue;
            }
            parts.push((node, items, share));
        }
        self.node(at).take_in(bytes);
        let write = |(node, items, bytes): (usize, usize, usize)| {
            let work = config.per_part + config.per_item.saturating_mul(u32::try_from(items).unwrap_or(u32::MAX));
            let cost = self.cost(work);
            if node != at {
                self.node(node).take_in(bytes);
            }
            Part { node, nodes, bytes, written: self.node(node).write(now, cost) }
        };
        Ok(parts.into_iter().map(write).collect())
    }
}

fn full_queue() -> Problem {
    Problem::new(
        429,
        "rejected_execution_exception",
        "rejected execution of TimedRunnable on OpenSearchThreadPoolExecutor[name = node/write, queue capacity]",
    )
}

fn pressure() -> Problem {
    Problem::rejected()
}

fn breaker() -> Problem {
    Problem::new(429, "circuit_breaking_exception", "[parent] Data too large, data for [<http_request>]")
}

/// Which records a bulk request's items are, by position. Documents, which are nearly all of it, are not read.
fn positions(body: &[u8], document_bytes: usize) -> Vec<usize> {
    /// No action is longer, and nothing of a document but its text.
    const LINE: usize = 500;
    let line = |text: &[u8]| -> Option<String> {
        let head = text.get(..LINE.min(text.len())).and_then(|head| std::str::from_utf8(head).ok())?;
        head.split_once('\n').map(|(line, _)| line.to_owned())
    };
    let (mut rest, mut positions) = (body, Vec::new());
    while let Some(action) = line(rest) {
        positions.extend(action.split_once("\"_id\":\"").and_then(|(_, rest)| position(rest.split('"').next()?)));
        let document = rest.get(action.len() + 1 + document_bytes..).unwrap_or_default();
        rest = line(document).and_then(|end| document.get(end.len() + 1..)).unwrap_or_default();
    }
    positions
}

fn items(statuses: &[u16]) -> Response {
    let mut body = String::with_capacity(statuses.len() * 28 + 40);
    let errors = statuses.iter().any(|status| *status >= 400);
    body.push_str(&format!("{{\"errors\":{errors},\"items\":["));
    for (index, status) in statuses.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(match status {
            201 => r#"{"index":{"status":201}}"#,
            409 => r#"{"index":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"newer"}}}"#,
            _ => r#"{"index":{"status":429,"error":{"type":"rejected_execution_exception","reason":"queue full"}}}"#,
        });
    }
    body.push_str("]}");
    Response { status: 200, body: body.into() }
}

fn multi_get(server: &Server, sender: Sender, body: &[u8]) -> Result<Response, Problem> {
    let asked: Value = serde_json::from_slice(body).map_err(|error| Problem::argument(error.to_string()))?;
    let docs = asked["docs"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|doc| {
        let found = doc["_id"].as_str().and_then(position);
        let found = found.filter(|position| server.tally(|tally| tally.holds(sender, *position)));
        match found {
            Some(position) => json!({"_id": doc["_id"], "found": true, "_seq_no": position, "_primary_term": 1,
                "_version": 1, "_source": {"_tidelock": mark(position)}}),
            None => json!({"_id": doc["_id"], "found": false}),
        }
    });
    Ok(answer(200, &json!({"docs": docs.collect::<Vec<_>>()})))
}

fn mapping() -> Response {
    let properties = json!({"_tidelock": {"type": "object", "enabled": false}});
    let mut body = json!({});
    body[INDEX] = json!({"mappings": {"properties": properties}});
    answer(200, &body)
}
