//! Clients without any manners, one request each at a time: few of them show what the server can do, many what becomes of it.

use super::Load;
use super::function::Way;
use super::server::{Sender, Server};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::batch::{Delivery, Plan};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::pipeline::Pipeline;
use tidelock_core::target::{Call, Target as _};
use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget, Request, Response, Transport};
use tokio::time::{Instant, sleep};

/// How long such a client waits before it sends again what was refused.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// Sends batch after batch for ever, each again until it is written.
pub(crate) async fn insist(server: Server, function: usize, request: Request) {
    let sender = Rc::new(Cell::new(Sender { function, batch: 0 }));
    let way = Way { server: server.clone(), sender: Rc::clone(&sender) };
    loop {
        let deadline = (Instant::now() + Duration::from_secs(3_600)).into_std();
        let done = way.send(request.clone(), deadline).await.is_ok_and(|response| is_written(&response));
        if done {
            server.tally(|tally| tally.done(sender.get()));
            sender.set(Sender { batch: sender.get().batch + 1, ..sender.get() });
        } else {
            sleep(RETRY).await;
        }
    }
}

fn is_written(response: &Response) -> bool {
    let body = std::str::from_utf8(&response.body).unwrap_or_default();
    response.status == 200 && !body.contains("\"status\":429")
}

/// The request in which the real code would send a whole batch.
pub(crate) async fn request(load: &Load) -> Option<Request> {
    let recorded = Rc::default();
    let target = OpenSearchTarget::new(Recorder(Rc::clone(&recorded)), OpenSearchConfig::new(usize::MAX, 1));
    let delivered = load.records.from(0);
    let pipeline = Pipeline::default();
    let plan = Plan::new(&delivered.payload, &delivered.batch, &pipeline);
    let round = Delivery::new(&delivered.batch, &plan, false).round();
    let deadline = (Instant::now() + Duration::from_secs(1)).into_std();
    target.apply(&round.operations, Call { deadline, now_ms: 0, truth: false }).await;
    recorded.take()
}

/// Keeps the last request instead of sending it.
struct Recorder(Rc<RefCell<Option<Request>>>);

impl Transport for Recorder {
    async fn send(&self, request: Request, _: std::time::Instant) -> Result<Response, Failure> {
        if request.method == "GET" {
            return Ok(Response { status: 200, body: Bytes::from_static(b"\"_tidelock\"") });
        }
        self.0.replace(Some(request));
        Err(Failure::new(Cause::Forbidden, "recorded"))
    }

    fn place(&self) -> &str {
        "nowhere"
    }
}
