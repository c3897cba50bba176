//! A function that does nothing: it takes an event, posts a bulk body of one document, writes a line and answers, over plain sockets.
//! What it takes is what the machine takes for the three exchanges of an invocation, whoever makes them.

use crate::function::Result;
use crate::http::Client;

/// As large as the bulk body of one change of the corpus, and as the line of metrics that a function writes for it.
const BODY_BYTES: usize = 1_150;
const LINE_BYTES: usize = 800;

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
        let answer = bulk.send("POST", "/_bulk", "application/x-ndjson", body.as_bytes())?;
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
    use std::sync::mpsc::channel;

    #[test]
    fn a_bulk_request_of_one_document_has_the_size_it_claims() {
        let (seen, bodies) = channel();
        let server = serve(plain(), move || {
            let seen = seen.clone();
            Box::new(move |request| {
                seen.send(request.body).expect("somebody listens");
                Response::json(200, *b"{}")
            })
        });
        let server = server.expect("it starts");
        let mut client = Client::connect(&server.address().to_string()).expect("it accepts");
        client.send("POST", "/_bulk", "application/x-ndjson", body().as_bytes()).expect("answered");
        let found = bodies.recv().expect("a body");
        assert_eq!((found.len(), found.iter().filter(|byte| **byte == b'\n').count()), (BODY_BYTES, 2));
    }
}
