//! Letters and packs in an SQS queue, by requests of our own: the SDK reads a message byte by byte, and packs have a megabyte.

mod answer;
mod place;
mod request;

use crate::ConfigError;
use crate::bucket::pause;
pub(crate) use answer::refusal;
use bytes::Bytes;
use futures_util::future::join_all;
pub(crate) use place::Place;
use request::Body;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use tidelock_core::cause::Cause;
use tidelock_core::credentials::Credentials;
use tidelock_core::json::Malformed;
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Message, Outbox, Queue, QueueFacts};
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme, SettingNames, Transport as _};

/// SQS takes ten messages at a time, and hands out as many,
/// [1 MiB in all](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
const MAX_ENTRIES: usize = 10;

/// Requests for messages at a time.
const TAKES: usize = 10;
const MAX_BATCH_BYTES: usize = 1_048_576;

/// The longest that one attempt may take. Who is silent for longer is asked again.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Timers are no more exact than this.
const MOMENT: Duration = Duration::from_millis(5);

/// How long a message
/// [can be delayed](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html): 15 minutes.
const DELAY: RangeInclusive<u64> = 0..=900;

/// How long a message
/// [can be hidden](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html) from
/// others: 12 hours.
const HIDDEN: RangeInclusive<u64> = 0..=43_200;

/// A [long poll](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html)
/// asks all of the queue's servers, a short one only some: it may find nothing where there is something.
const LONG_POLL_SECONDS: u64 = 1;

/// With less time left than this, a short poll has to do.
const LONG_POLL_FROM: Duration = Duration::from_secs(5);

/// Room for one message's attributes.
const ATTRIBUTES: usize = 512;

/// Refusals that pass although their status (400) says otherwise
/// ([common errors](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html)).
const PASSING: [&str; 5] =
    ["InternalFailure", "KmsThrottled", "RequestThrottled", "ServiceUnavailable", "ThrottlingException"];

/// An operation, and what the function's role needs for it.
#[derive(Debug, Clone, Copy)]
struct Operation {
    target: &'static str,
    right: &'static str,
}

const SEND: Operation = Operation { target: "AmazonSQS.SendMessageBatch", right: "sqs:SendMessage" };
const RECEIVE: Operation = Operation { target: "AmazonSQS.ReceiveMessage", right: "sqs:ReceiveMessage" };
const DELETE: Operation = Operation { target: "AmazonSQS.DeleteMessageBatch", right: "sqs:DeleteMessage" };
const HIDE: Operation =
    Operation { target: "AmazonSQS.ChangeMessageVisibilityBatch", right: "sqs:ChangeMessageVisibility" };
const FACTS: Operation = Operation { target: "AmazonSQS.GetQueueAttributes", right: "sqs:GetQueueAttributes" };

const WAITING_NOW: &str = "ApproximateNumberOfMessages";
const HIDDEN_NOW: &str = "ApproximateNumberOfMessagesNotVisible";
const DELAYED_NOW: &str = "ApproximateNumberOfMessagesDelayed";
const RETENTION: &str = "MessageRetentionPeriod";

/// Which queue, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// The queue's URL.
    pub url: String,
    /// `AWS_REGION`: the queue's, where its URL does not name one.
    pub region: String,
    /// `AWS_ENDPOINT_URL_SQS`, else `AWS_ENDPOINT_URL`, where set: `http[s]://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// PEM text of the certificates to trust (`AWS_CA_BUNDLE`); `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
}

/// A standard queue. A FIFO queue is not needed: letters carry their versions.
pub struct SqsQueue<C> {
    url: String,
    http: HttpTransport<C>,
    attempt: Duration,
}

/// Refuses queues that cannot be used: a FIFO queue
/// [knows no delay](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html) of a single
/// message.
///
/// # Errors
/// When the URL is a FIFO queue's.
pub fn check_queue_url(url: &str) -> Result<(), ConfigError> {
    if url.trim_end_matches('/').ends_with(".fifo") {
        let why =
            "is a FIFO queue, which cannot delay single messages; use a standard queue: letters carry their order";
        return Err(ConfigError(format!("`{url}` {why}")));
    }
    Ok(())
}

impl<C: Credentials> SqsQueue<C> {
    /// Prepares a client that signs with the credentials' AWS keys; nothing is connected yet.
    ///
    /// # Errors
    /// When the queue ([`check_queue_url`]), its URL, the endpoint or the certificates cannot be used.
    pub fn new(config: QueueConfig, credentials: C) -> Result<Self, ConfigError> {
        check_queue_url(&config.url)?;
        let place = Place::of(&config.url, config.endpoint.as_deref(), &config.region)?;
        let http = HttpConfig {
            host: place.host,
            port: place.port,
            tls: place.tls,
            ca_pem: config.ca_pem,
            scheme: Scheme::SigV4 { service: "sqs", region: place.region },
            gzip: false,
        };
        let names = SettingNames { ca_file: "AWS_CA_BUNDLE", ..SettingNames::TARGET };
        let http =
            HttpTransport::with_names(http, credentials, names).map_err(|error| ConfigError(error.to_string()))?;
        Ok(Self { url: config.url, http, attempt: ATTEMPT })
    }

    /// With another limit for one attempt.
    #[cfg(test)]
    pub(crate) fn with_attempt(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
    }

    fn failure(&self, why: impl Display) -> String {
        format!("the queue {}: {why}", self.url)
    }

    /// Asks until there is an answer that `read` can use.
    async fn ask<T>(
        &self,
        operation: Operation,
        body: Vec<u8>,
        deadline: Instant,
        read: impl Fn(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, String> {
        let body = Bytes::from(body);
        let mut pauses = 0;
        // What the last attempt that said something said.
        let mut said: Option<String> = None;
        loop {
            let request = Request {
                method: "POST",
                path: "/".to_owned(),
                content_type: "application/x-amz-json-1.0",
                body: body.clone(),
            };
            let until = deadline.min(Instant::now() + self.attempt);
            let (passing, words) =
                match self.http.send_with(request, &[("x-amz-target", operation.target)], until).await {
                    Ok(answer) if answer.status == 200 => match read(&answer.body) {
                        Ok(found) => return Ok(found),
                        Err(error) => (true, format!("the answer cannot be used: {error}")),
                    },
                    Ok(answer) => {
                        let (kind, message) = answer::refusal(&answer.body);
                        let what =
                            if kind.is_empty() { format!("HTTP status {}", answer.status) } else { kind.clone() };
                        let message = if message.is_empty() { message } else { format!(": {message}") };
                        let passing = answer.status >= 500 || answer.status == 429 || PASSING.contains(&kind.as_str());
                        (passing, format!("{what}{message}{}", hint(&kind, operation.right)))
                    }
                    // Nobody has been there, and time is over.
                    Err(failure)
                        if matches!(failure.cause, Cause::TimedOut | Cause::Unreachable)
                            && Instant::now() + MOMENT >= deadline =>
                    {
                        let silent = || format!("the queue {} did not answer within the invocation's time", self.url);
                        return Err(said.map_or_else(silent, |words| self.failure(words)));
                    }
                    Err(failure) => {
                        let prefix = format!("{}: ", self.http.place());
                        let words = failure.detail.strip_prefix(&prefix).unwrap_or(&failure.detail);
                        (matches!(failure.cause, Cause::Unreachable | Cause::TimedOut), words.to_owned())
                    }
                };
            if !passing || !pause(pauses, deadline).await {
                return Err(self.failure(words));
            }
            said = Some(words);
            pauses += 1;
        }
    }

    /// Does something with receipts, ten at a time.
    async fn of_receipts(
        &self,
        operation: Operation,
        receipts: &[String],
        deadline: Instant,
        more: impl Fn(&mut Body),
    ) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(receipts.len());
        for some in receipts.chunks(MAX_ENTRIES) {
            let body = Body::of(&self.url).entries(some, |entry, receipt| {
                entry.text("ReceiptHandle", receipt);
                more(entry);
            });
            let done = self.ask(operation, body, deadline, |answer| answer::outcomes(some.len(), answer)).await;
            results.extend(done.unwrap_or_else(|error| vec![Err(error); some.len()]));
        }
        results
    }

    async fn take_some(&self, most: usize, hidden: Duration, deadline: Instant) -> Result<Vec<Message>, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut body = Body::of(&self.url);
        body.number("MaxNumberOfMessages", most as u64);
        body.number("VisibilityTimeout", seconds(hidden, HIDDEN).max(1));
        body.number("WaitTimeSeconds", if left >= LONG_POLL_FROM { LONG_POLL_SECONDS } else { 0 });
        body.texts("MessageSystemAttributeNames", &["SentTimestamp", "ApproximateReceiveCount"]);
        self.ask(RECEIVE, body.end(), deadline, answer::messages).await?
    }
}

/// What the operator can do about a refusal.
fn hint(code: &str, right: &str) -> String {
    match code {
        // An encrypted queue whose key is the customer's own.
        _ if code.contains("AccessDenied") && code.to_ascii_lowercase().starts_with("kms") => {
            "; allow kms:Decrypt and kms:GenerateDataKey on the queue's key to the function's role".to_owned()
        }
        _ if code.contains("AccessDenied") => format!("; allow {right} on the queue to the function's role"),
        "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" => "; check the queue's URL".to_owned(),
        _ => String::new(),
    }
}

/// Whole seconds, rounded up: nobody may see a message too early.
fn seconds(time: Duration, allowed: RangeInclusive<u64>) -> u64 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    whole.clamp(*allowed.start(), *allowed.end())
}

/// How many letters of the front fit into one request.
fn fitting(letters: &[Letter]) -> usize {
    let mut bytes = 0;
    let fits = |letter: &&Letter| {
        bytes += letter.body.len() + ATTRIBUTES;
        bytes <= MAX_BATCH_BYTES
    };
    letters.iter().take(MAX_ENTRIES).take_while(fits).count().max(1).min(letters.len())
}

impl<C: Credentials> Outbox for SqsQueue<C> {
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: Instant) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(letters.len());
        let mut rest = letters;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            rest = later;
            let body = Body::of(&self.url).entries(now, |entry, letter| entry.letter(letter, delay));
            let sent = self.ask(SEND, body, deadline, |answer| answer::outcomes(now.len(), answer)).await;
            results.extend(sent.unwrap_or_else(|error| vec![Err(error); now.len()]));
        }
        results
    }
}

impl<C: Credentials> Queue for SqsQueue<C> {
    async fn take(&self, most: usize, hidden: Duration, deadline: Instant) -> Result<Vec<Message>, String> {
        let mut left = most.clamp(1, TAKES * MAX_ENTRIES);
        let mut requests = Vec::new();
        while left > 0 {
            let some = left.min(MAX_ENTRIES);
            requests.push(self.take_some(some, hidden, deadline));
            left -= some;
        }
        let mut messages = Vec::new();
        let mut trouble = None;
        for taken in join_all(requests).await {
            match taken {
                Ok(taken) => messages.extend(taken),
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            // What has been taken must be seen to.
            Some(error) if messages.is_empty() => Err(error),
            _ => Ok(messages),
        }
    }

    async fn delete(&self, receipts: &[String], deadline: Instant) -> Vec<Result<(), String>> {
        self.of_receipts(DELETE, receipts, deadline, |_| {}).await
    }

    async fn hide(&self, receipts: &[String], hidden: Duration, deadline: Instant) {
        let hidden = seconds(hidden, HIDDEN);
        // What is not hidden anew shows when the time is over that it was taken for.
        drop(self.of_receipts(HIDE, receipts, deadline, |entry| entry.number("VisibilityTimeout", hidden)).await);
    }

    async fn facts(&self, deadline: Instant) -> Result<QueueFacts, String> {
        let mut body = Body::of(&self.url);
        body.texts("AttributeNames", &[WAITING_NOW, HIDDEN_NOW, DELAYED_NOW, RETENTION]);
        let found = self.ask(FACTS, body.end(), deadline, answer::queue_attributes).await?;
        let retention: i64 = answer::number(&found, RETENTION)?;
        Ok(QueueFacts {
            waiting: answer::number(&found, WAITING_NOW)?,
            hidden: answer::number(&found, HIDDEN_NOW)?,
            delayed: answer::number(&found, DELAYED_NOW)?,
            retention_ms: Some(retention.saturating_mul(1_000)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stay_within_the_limits() {
        let letter = |size: usize| Letter { reason: "unknown_type".into(), source: "t".into(), body: "x".repeat(size) };
        assert_eq!(fitting(&vec![letter(10); 25]), 10);
        assert_eq!(fitting(&vec![letter(400_000); 5]), 2);
        assert_eq!(fitting(&[letter(1_047_552), letter(10)]), 1);
        assert_eq!(fitting(&[letter(10)]), 1);
    }

    #[test]
    fn nobody_sees_a_message_too_early() {
        for (time, range, expected) in [
            (Duration::ZERO, DELAY, 0),
            (Duration::from_millis(1), DELAY, 1),
            (Duration::from_secs(2), DELAY, 2),
            (Duration::from_millis(2_001), HIDDEN, 3),
            (Duration::from_secs(901), DELAY, 900),
            (Duration::MAX, HIDDEN, 43_200),
        ] {
            assert_eq!(seconds(time, range), expected, "{time:?}");
        }
    }

    #[test]
    fn queues_that_cannot_be_used() {
        let standard = "https://sqs.eu-west-1.amazonaws.com/123456789012/letters";
        assert_eq!(check_queue_url(standard), Ok(()));
        assert_eq!(check_queue_url(&format!("{standard}.fifo.old")), Ok(()));
        for end in [".fifo", ".fifo/"] {
            let refused = check_queue_url(&format!("{standard}{end}")).expect_err(end).to_string();
            assert!(refused.contains("use a standard queue"), "{refused}");
        }
    }

    #[test]
    fn what_the_operator_can_do() {
        assert_eq!(
            hint("AccessDeniedException", "sqs:SendMessage"),
            "; allow sqs:SendMessage on the queue to the function's role"
        );
        for code in ["KmsAccessDenied", "KMS.AccessDeniedException"] {
            assert!(hint(code, "sqs:SendMessage").starts_with("; allow kms:Decrypt"), "{code}");
        }
        for code in ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"] {
            assert!(hint(code, "sqs:SendMessage").starts_with("; check the queue's URL"), "{code}");
        }
        assert_eq!(hint("", "sqs:SendMessage"), "");
    }
}
