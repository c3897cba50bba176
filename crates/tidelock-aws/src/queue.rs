//! Letters and packs in an SQS queue.

use crate::{ConfigError, Sdk};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    Message as SdkMessage, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::{Message, Outbox, Queue, QueueFacts};
use tokio::sync::OnceCell;
use tokio::time::timeout_at;

/// SQS takes ten messages at a time, and hands out as many,
/// [1 MiB in all](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
const MAX_ENTRIES: usize = 10;

/// Requests for messages at a time.
const TAKES: usize = 10;
const MAX_BATCH_BYTES: usize = 1_048_576;

/// How long a message
/// [can be delayed](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html): 15 minutes.
const DELAY: RangeInclusive<i32> = 0..=900;

/// How long a message
/// [can be hidden](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html) from
/// others: 12 hours.
const HIDDEN: RangeInclusive<i32> = 0..=43_200;

/// A [long poll](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html)
/// asks all of the queue's servers, a short one only some: it may find nothing where there is something.
const LONG_POLL_SECONDS: i32 = 1;

/// With less time left than this, a short poll has to do.
const LONG_POLL_FROM: Duration = Duration::from_secs(5);

/// Room for one message's attributes.
const ATTRIBUTES: usize = 512;

/// A standard queue. A FIFO queue is not needed: letters carry their versions.
#[derive(Debug)]
pub struct SqsQueue {
    url: String,
    sdk: Rc<Sdk>,
    client: OnceCell<Client>,
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

impl SqsQueue {
    /// The queue at `url`.
    ///
    /// # Errors
    /// See [`check_queue_url`].
    pub fn new(url: String, sdk: Rc<Sdk>) -> Result<Self, ConfigError> {
        check_queue_url(&url)?;
        Ok(Self { url, sdk, client: OnceCell::new() })
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.sdk.config().await) }).await
    }

    /// Waits for an answer until the deadline. `right` is what the function's role needs for the request.
    async fn answer<O, E>(
        &self,
        request: impl Future<Output = Result<O, SdkError<E>>>,
        right: &str,
        deadline: Instant,
    ) -> Result<O, String>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match timeout_at(deadline.into(), request).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => {
                let hint = hint(error.code().unwrap_or_default(), right);
                Err(format!("the queue {}: {}{hint}", self.url, DisplayErrorContext(&error)))
            }
            Err(_) => Err(format!("the queue {} did not answer within the invocation's time", self.url)),
        }
    }

    async fn send_some(
        &self,
        letters: &[Letter],
        delay: Duration,
        deadline: Instant,
    ) -> Result<Vec<Result<(), String>>, String> {
        let entries = letters.iter().enumerate().map(|(index, letter)| entry(index, letter, delay));
        let entries = entries.collect::<Result<_, BuildError>>().map_err(|error| error.to_string())?;
        let request = async {
            let request = self.client().await.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            Box::pin(request.send()).await
        };
        let output = self.answer(request, "sqs:SendMessage", deadline).await?;
        let successful = output.successful().iter().map(|entry| entry.id());
        Ok(outcomes(letters.len(), successful, output.failed()))
    }

    async fn delete_some(&self, receipts: &[String], deadline: Instant) -> Result<Vec<Result<(), String>>, String> {
        let entry = |(index, receipt): (usize, &String)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt).build()
        };
        let entries = receipts.iter().enumerate().map(entry);
        let entries = entries.collect::<Result<_, BuildError>>().map_err(|error| error.to_string())?;
        let request = async {
            let request = self.client().await.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
            Box::pin(request.send()).await
        };
        let output = self.answer(request, "sqs:DeleteMessage", deadline).await?;
        let successful = output.successful().iter().map(|entry| entry.id());
        Ok(outcomes(receipts.len(), successful, output.failed()))
    }

    async fn hide_some(&self, receipts: &[String], hidden: i32, deadline: Instant) -> Result<(), String> {
        let entry = |(index, receipt): (usize, &String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(receipt).visibility_timeout(hidden).build()
        };
        let entries = receipts.iter().enumerate().map(entry);
        let entries = entries.collect::<Result<_, BuildError>>().map_err(|error| error.to_string())?;
        let request = async {
            let request = self.client().await.change_message_visibility_batch().queue_url(&self.url);
            Box::pin(request.set_entries(Some(entries)).send()).await
        };
        self.answer(request, "sqs:ChangeMessageVisibility", deadline).await.map(drop)
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
        "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" => {
            "; check the queue's URL, and that the queue is in the function's region".to_owned()
        }
        _ => String::new(),
    }
}

/// Whole seconds, rounded up: nobody may see a message too early.
fn seconds(time: Duration, allowed: RangeInclusive<i32>) -> i32 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    i32::try_from(whole).unwrap_or(i32::MAX).clamp(*allowed.start(), *allowed.end())
}

fn entry(index: usize, letter: &Letter, delay: Duration) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let attribute = |value: &str| {
        // Attributes must not be empty.
        let value = if value.is_empty() { "unknown" } else { value };
        MessageAttributeValue::builder().data_type("String").string_value(value).build()
    };
    SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&letter.body)
        .delay_seconds(seconds(delay, DELAY))
        .message_attributes("reason", attribute(&letter.reason)?)
        .message_attributes("source", attribute(&letter.source)?)
        .build()
}

/// What an answer says of each message of a batch, whose ids are their positions.
fn outcomes<'a>(
    count: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<Result<(), String>> {
    let mut results = vec![Err("the queue did not answer for this message".to_owned()); count];
    let mut note = |id: &str, outcome| {
        if let Some(result) = id.parse::<usize>().ok().and_then(|index| results.get_mut(index)) {
            *result = outcome;
        }
    };
    for id in successful {
        note(id, Ok(()));
    }
    for entry in failed {
        let words = entry.message().unwrap_or_default();
        note(entry.id(), Err(format!("the queue refused the message: {} {words}", entry.code())));
    }
    results
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

fn number<N, T>(attributes: Option<&HashMap<N, String>>, name: &N) -> Result<T, String>
where
    N: AsRef<str> + Eq + Hash,
    T: FromStr,
{
    let text = attributes.and_then(|attributes| attributes.get(name));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("the queue's answer lacks {}", name.as_ref()))
}

fn message(taken: SdkMessage) -> Result<Message, String> {
    let attributes = taken.attributes.as_ref();
    let lacks = |what: &str| format!("the queue's answer lacks a message's {what}");
    Ok(Message {
        sent_ms: number(attributes, &MessageSystemAttributeName::SentTimestamp)?,
        taken: number(attributes, &MessageSystemAttributeName::ApproximateReceiveCount)?,
        id: taken.message_id.ok_or_else(|| lacks("id"))?,
        receipt: taken.receipt_handle.ok_or_else(|| lacks("receipt"))?,
        body: taken.body.ok_or_else(|| lacks("body"))?,
    })
}

impl Outbox for SqsQueue {
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: Instant) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(letters.len());
        let mut rest = letters;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            rest = later;
            let sent = self.send_some(now, delay, deadline).await;
            results.extend(sent.unwrap_or_else(|error| vec![Err(error); now.len()]));
        }
        results
    }
}

impl SqsQueue {
    async fn take_some(&self, most: usize, hidden: Duration, deadline: Instant) -> Result<Vec<Message>, String> {
        let hidden = seconds(hidden, HIDDEN).max(1);
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = if left >= LONG_POLL_FROM { LONG_POLL_SECONDS } else { 0 };
        let most = i32::try_from(most).unwrap_or(1);
        let request = async {
            let request = self.client().await.receive_message().queue_url(&self.url).max_number_of_messages(most);
            let request = request
                .visibility_timeout(hidden)
                .wait_time_seconds(wait)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            Box::pin(request.send()).await
        };
        let output = self.answer(request, "sqs:ReceiveMessage", deadline).await?;
        output.messages.unwrap_or_default().into_iter().map(message).collect()
    }
}

impl Queue for SqsQueue {
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
        let mut results = Vec::with_capacity(receipts.len());
        for some in receipts.chunks(MAX_ENTRIES) {
            let deleted = self.delete_some(some, deadline).await;
            results.extend(deleted.unwrap_or_else(|error| vec![Err(error); some.len()]));
        }
        results
    }

    async fn hide(&self, receipts: &[String], hidden: Duration, deadline: Instant) {
        let hidden = seconds(hidden, HIDDEN);
        for some in receipts.chunks(MAX_ENTRIES) {
            // What is not hidden anew shows when the time is over that it was taken for.
            drop(self.hide_some(some, hidden, deadline).await);
        }
    }

    async fn facts(&self, deadline: Instant) -> Result<QueueFacts, String> {
        let (waiting, hidden, delayed, retention) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::MessageRetentionPeriod,
        );
        let names = vec![waiting.clone(), hidden.clone(), delayed.clone(), retention.clone()];
        let request = async {
            let request = self.client().await.get_queue_attributes().queue_url(&self.url);
            Box::pin(request.set_attribute_names(Some(names)).send()).await
        };
        let output = self.answer(request, "sqs:GetQueueAttributes", deadline).await?;
        let found = output.attributes();
        let retention: i64 = number(found, &retention)?;
        Ok(QueueFacts {
            waiting: number(found, &waiting)?,
            hidden: number(found, &hidden)?,
            delayed: number(found, &delayed)?,
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
            let refused = SqsQueue::new(format!("{standard}{end}"), Rc::default()).expect_err(end).to_string();
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
