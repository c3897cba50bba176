//! A Lambda Runtime API server for one function: it hands out events and tells when answers come.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::{self, Listener, Request, Response};

/// What the function did, and when the server had read it.
#[derive(Debug)]
pub(crate) enum Signal {
    /// It asks for the next event.
    Ready(Instant),
    /// It answered an event.
    Answer(Instant, Vec<u8>),
    /// It reported an error, at start or for an event.
    Failed(String),
}

/// The server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    listener: Listener,
    events: Sender<Arc<[u8]>>,
    signals: Receiver<Signal>,
}

impl RuntimeApi {
    pub(crate) fn start() -> io::Result<Self> {
        let (events, waiting) = channel::<Arc<[u8]>>();
        let (reported, signals) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let listener = http::serve(http::plain(), move || {
            let (waiting, reported) = (Arc::clone(&waiting), reported.clone());
            Box::new(move |request| answer(request, &waiting, &reported))
        })?;
        Ok(Self { listener, events, signals })
    }

    /// What belongs into `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Queues an event for the function's next request.
    pub(crate) fn push(&self, event: Arc<[u8]>) {
        // The other end lives in the listener, which this value owns.
        let _ = self.events.send(event);
    }

    /// The next signal, or nothing within `limit`.
    pub(crate) fn signal(&self, limit: Duration) -> Option<Signal> {
        self.signals.recv_timeout(limit).ok()
    }
}

fn answer(request: Request, waiting: &Mutex<Receiver<Arc<[u8]>>>, reported: &Sender<Signal>) -> Response {
    let path = request.target.strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
    let signal = match path {
        "invocation/next" => Signal::Ready(Instant::now()),
        _ if path.ends_with("/response") => Signal::Answer(Instant::now(), request.body),
        _ if path.ends_with("/error") => Signal::Failed(String::from_utf8_lossy(&request.body).into_owned()),
        _ => return Response::json(404, *b"{}"),
    };
    let next = matches!(signal, Signal::Ready(_));
    // Nobody listens any more when the benchmark is done with the function.
    let _ = reported.send(signal);
    if !next {
        return Response::json(202, *b"{\"status\":\"OK\"}");
    }
    let event = waiting.lock().ok().and_then(|waiting| waiting.recv().ok());
    event.map_or_else(|| Response::json(500, *b"{}"), invocation)
}

fn invocation(event: Arc<[u8]>) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Response {
        status: 200,
        headers: vec![
            ("content-type", "application/json".into()),
            ("lambda-runtime-aws-request-id", format!("00000000-0000-4000-8000-{:012x}", now & 0xffff_ffff_ffff)),
            ("lambda-runtime-deadline-ms", (now + 60_000).to_string()),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:123456789012:function:bench".into()),
            (
                "lambda-runtime-trace-id",
                "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".into(),
            ),
        ],
        body: event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Client;

    #[test]
    fn events_go_out_and_answers_and_errors_come_back() {
        let api = RuntimeApi::start().expect("it starts");
        let mut client = Client::connect(&api.address().to_string()).expect("it accepts");
        api.push(Arc::from(&b"{\"Records\":[]}"[..]));
        let event = client.send("GET", "/2018-06-01/runtime/invocation/next", "", b"").expect("an event");
        assert_eq!(&*event.body, b"{\"Records\":[]}");
        let limit = Duration::from_secs(5);
        assert!(matches!(api.signal(limit), Some(Signal::Ready(_))));
        let answer = client.send("POST", "/2018-06-01/runtime/invocation/1/response", "application/json", b"{}");
        assert_eq!(answer.expect("taken").status, 202);
        assert!(matches!(api.signal(limit), Some(Signal::Answer(_, body)) if body == b"{}"));
        client
            .send("POST", "/2018-06-01/runtime/init/error", "application/json", b"{\"errorMessage\":\"x\"}")
            .expect("taken");
        assert!(matches!(api.signal(limit), Some(Signal::Failed(text)) if text.contains("errorMessage")));
    }
}
