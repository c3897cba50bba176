//! Dead letters in an SQS queue.

use crate::Sdk;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::letter::Letter;
use tidelock_core::queue::Outbox;
use tokio::sync::OnceCell;

/// SQS takes ten messages at a time,
/// [1 MiB in all](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
const MAX_ENTRIES: usize = 10;
const MAX_BATCH_BYTES: usize = 1_048_576;

/// [The longest](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html) that a message can be
/// delayed.
const MAX_DELAY_SECONDS: i32 = 900;

/// Room for one message's attributes.
const ATTRIBUTES: usize = 512;

/// Stores letters in a queue. A FIFO queue is not needed: letters carry their versions.
#[derive(Debug)]
pub struct SqsDeadLetters {
    url: String,
    sdk: Rc<Sdk>,
    client: OnceCell<Client>,
}

impl SqsDeadLetters {
    /// Letters go to the queue at `url`.
    #[must_use]
    pub fn new(url: String, sdk: Rc<Sdk>) -> Self {
        Self { url, sdk, client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.sdk.config().await) }).await
    }

    async fn send_some(&self, letters: &[Letter], delay: Duration) -> Vec<Result<(), String>> {
        let mut entries = Vec::with_capacity(letters.len());
        for (index, letter) in letters.iter().enumerate() {
            match entry(index, letter, delay) {
                Ok(entry) => entries.push(entry),
                Err(error) => return letters.iter().map(|_| Err(error.clone())).collect(),
            }
        }
        let request = self.client().await.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let sent = Box::pin(request.send()).await;
        match sent {
            Ok(output) => {
                let mut results = vec![Err("the queue did not answer for this letter".to_owned()); letters.len()];
                for success in output.successful() {
                    if let Some(result) = success.id().parse::<usize>().ok().and_then(|index| results.get_mut(index)) {
                        *result = Ok(());
                    }
                }
                for failed in output.failed() {
                    if let Some(result) = failed.id().parse::<usize>().ok().and_then(|index| results.get_mut(index)) {
                        *result = Err(format!(
                            "the queue refused the letter: {} {}",
                            failed.code(),
                            failed.message().unwrap_or_default()
                        ));
                    }
                }
                results
            }
            Err(error) => {
                let text =
                    format!("the queue could not be reached: {}", aws_sdk_sqs::error::DisplayErrorContext(&error));
                letters.iter().map(|_| Err(text.clone())).collect()
            }
        }
    }
}

fn entry(index: usize, letter: &Letter, delay: Duration) -> Result<SendMessageBatchRequestEntry, String> {
    let attribute = |value: &str| {
        // Attributes must not be empty.
        let value = if value.is_empty() { "unknown" } else { value };
        MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
            .map_err(|error| error.to_string())
    };
    SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&letter.body)
        .delay_seconds(i32::try_from(delay.as_secs()).unwrap_or(MAX_DELAY_SECONDS).min(MAX_DELAY_SECONDS))
        .message_attributes("reason", attribute(&letter.reason)?)
        .message_attributes("source", attribute(&letter.source)?)
        .build()
        .map_err(|error| error.to_string())
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

impl Outbox for SqsDeadLetters {
    async fn send(&self, letters: &[Letter], delay: Duration, deadline: Instant) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(letters.len());
        let mut rest = letters;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            rest = later;
            match tokio::time::timeout_at(deadline.into(), self.send_some(now, delay)).await {
                Ok(sent) => results.extend(sent),
                Err(_) => results.extend(
                    now.iter().map(|_| Err("the queue did not answer within the invocation's time".to_owned())),
                ),
            }
        }
        results
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
}
