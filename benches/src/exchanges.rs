//! A function that does nothing: it takes an event, posts a bulk body of one document, writes a line and answers, over plain sockets.
//! What it takes is for scale: one plain way of making the three exchanges of an invocation on this machine.

use crate::function::Result;
use crate::http::Client;

/// About as large as the bulk body of one change of the corpus, and as the line of metrics that a function writes for it.
const BODY_BYTES: usize = 1_170;
const LINE_BYTES: usize = 653;

/// The function's path, so that the answer is as short.
const PATH: &str = "/bench/_bulk?filter_path=errors,items.*.status,items.*.error";

/// Runs until the Runtime API has no more events. Both are `HOST:PORT`.
///
/// # Errors
/// When the Runtime API or the target cannot be reached.
pub(crate) fn run(api: &str, target: &str) -> Result<()> {
    let (mut api, mut bulk) = (Client::connect(api)?, Client::connect(target)?);
    let (body, line) = (body(), "x".repeat(LINE_BYTES));
    loop {
        if api.send("GET", "/2018-06-01/runtime/invocation/next", "", b"")?.status != 200 {
            return Ok(());
        }
        let answer = bulk.send("POST", PATH, "application/x-ndjson", body.as_bytes())?;
        if answer.status != 200 {
            return Err(format!("http://{target}: {}", answer.status).into());
        }
        println!("{line}");
        let answer = br#"{"batchItemFailures":[]}"#;
        api.send("POST", "/2018-06-01/runtime/invocation/0/response", "application/json", answer)?;
    }
}

fn body() -> String {
    let text = |filler: &str| {
        format!("{{\"index\":{{\"_index\":\"bench\",\"_id\":\"item-00000000-000000\"}}}}\n{{\"text\":\"{filler}\"}}\n")
    };
    text(&"x".repeat(BODY_BYTES - text("").len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Response, plain, serve};
    use crate::runtime_api::{RuntimeApi, Signal};
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn an_event_is_answered_after_a_bulk_request_of_one_document() {
        let (seen, bodies) = channel();
        let server = serve(plain(), move || {
            let seen = seen.clone();
            Box::new(move |request| {
                seen.send(request.body).expect("somebody listens");
                Response::json(200, *b"{}")
            })
        });
        let (server, api) = (server.expect("it starts"), RuntimeApi::start().expect("it starts"));
        api.push(Arc::from(&b"{}"[..]));
        let addresses = (api.address().to_string(), server.address().to_string());
        let function = thread::spawn(move || run(&addresses.0, &addresses.1).map_err(|error| error.to_string()));
        let signal = || api.signal(Duration::from_secs(5));
        assert!(matches!(signal(), Some(Signal::Ready(_))));
        assert!(matches!(signal(), Some(Signal::Answer(_, answer)) if answer == br#"{"batchItemFailures":[]}"#));
        let found = bodies.recv().expect("a body");
        assert_eq!((found.len(), found.iter().filter(|byte| **byte == b'\n').count()), (BODY_BYTES, 2));
        drop(api);
        assert_eq!(function.join().expect("no panic"), Ok(()));
    }
}
