//! A stub of SQS.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::function::Result;
use crate::http::{Listener, Request, Response, header, plain, serve};

/// A queue that answers as SQS does in its JSON protocol: texts as they are, but for what JSON has to escape.
pub(crate) struct Sqs {
    /// Stops when it is dropped.
    listener: Listener,
    held: Arc<Mutex<VecDeque<String>>>,
}

impl Sqs {
    /// Answers to a request for messages after `delay`.
    pub(crate) fn start(delay: Duration) -> Result<Self> {
        let held: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let kept = Arc::clone(&held);
        let listener = serve(plain(), move || {
            let held = Arc::clone(&kept);
            Box::new(move |request| {
                if header(&request.headers, "x-amz-target").is_some_and(|target| target.ends_with(".ReceiveMessage")) {
                    thread::sleep(delay);
                }
                answer(&held, &request).unwrap_or_else(|| Response::json(400, *b"{}"))
            })
        })?;
        Ok(Self { listener, held })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Takes all messages out and tells how many they were.
    pub(crate) fn empty(&self) -> usize {
        self.held.lock().map_or(0, |mut held| held.drain(..).count())
    }

    pub(crate) fn queue(&self) -> String {
        format!("{}/123456789012/held", self.url())
    }
}

/// Nothing is ever hidden for a time: what has been taken is done with.
fn answer(held: &Mutex<VecDeque<String>>, request: &Request) -> Option<Response> {
    let target = header(&request.headers, "x-amz-target")?;
    let asked: Value = serde_json::from_slice(&request.body).ok()?;
    let mut held = held.lock().ok()?;
    let answer = match target.strip_prefix("AmazonSQS.")? {
        "ReceiveMessage" => {
            let most = usize::try_from(asked["MaxNumberOfMessages"].as_u64()?).ok()?.min(held.len());
            let of = json!({"SentTimestamp": "1700000000000", "ApproximateReceiveCount": "1"});
            let message =
                |body: String| json!({"MessageId": "m", "ReceiptHandle": "r", "Body": body, "Attributes": of});
            // Each has a name of its own: what has been seen before is left alone.
            let named = |(index, body): (usize, String)| {
                let mut message = message(body);
                message["MessageId"] = json!(format!("{}-{index}", fresh()));
                message
            };
            json!({"Messages": held.drain(..most).enumerate().map(named).collect::<Vec<_>>()})
        }
        "GetQueueAttributes" => json!({"Attributes": {
            "ApproximateNumberOfMessages": held.len().to_string(), "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0", "MessageRetentionPeriod": "1209600",
        }}),
        operation => {
            let entries = asked["Entries"].as_array()?;
            if operation == "SendMessageBatch" {
                held.extend(entries.iter().filter_map(|entry| entry["MessageBody"].as_str()).map(str::to_owned));
            }
            json!({"Successful": entries.iter().map(|entry| json!({"Id": entry["Id"]})).collect::<Vec<_>>()})
        }
    };
    Some(Response::json(200, answer.to_string().into_bytes()))
}

/// A number that nobody has had.
fn fresh() -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}
