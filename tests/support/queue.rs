//! Dead letters where they arrive: SQS queues, and files of JSON lines.

use super::{services, unique};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde_json::Value;
use std::sync::Mutex;

/// The SDK's configuration for servers on this machine.
pub(crate) async fn sdk(url: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(url)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .load()
        .await
}

/// A queue of a test's own.
pub(crate) struct Queue {
    client: Client,
    /// Where the service is: what a function's `AWS_ENDPOINT_URL` must be.
    pub(crate) service: String,
    pub(crate) url: String,
    /// Of messages that were taken raw.
    receipts: Mutex<Vec<String>>,
}

/// A message of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) letter: Value,
    /// The attributes `reason` and `source`.
    pub(crate) attributes: (String, String),
}

impl Queue {
    pub(crate) async fn create(purpose: &str) -> Option<Self> {
        let service = services::aws()?;
        let client = Client::new(&sdk(&service).await);
        let url = client.create_queue().queue_name(unique(purpose)).send().await.unwrap().queue_url.unwrap();
        Some(Self { client, service, url, receipts: Mutex::default() })
    }

    /// Sends a message that is no function's.
    pub(crate) async fn send(&self, body: &str) {
        self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
    }

    /// How many messages there are, taken or not.
    pub(crate) async fn count(&self) -> u32 {
        use aws_sdk_sqs::types::QueueAttributeName as Name;
        let names = [
            Name::ApproximateNumberOfMessages,
            Name::ApproximateNumberOfMessagesNotVisible,
            Name::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let found = asked.send().await.unwrap().attributes.unwrap_or_default();
        names.iter().map(|name| found[name].parse::<u32>().unwrap()).sum()
    }

    /// How many messages can be taken now.
    pub(crate) async fn visible(&self) -> u32 {
        use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages as Visible;
        let found = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(Visible).send().await;
        found.unwrap().attributes.unwrap_or_default()[&Visible].parse().unwrap()
    }

    /// Some messages as they are, by id; they stay taken until they are given back.
    pub(crate) async fn raw(&self, count: i32) -> Vec<(String, String)> {
        let taken = self.client.receive_message().queue_url(&self.url).max_number_of_messages(count);
        let found = taken.visibility_timeout(600).send().await.unwrap().messages.unwrap_or_default();
        let mut receipts = self.receipts.lock().unwrap();
        let message = |message: aws_sdk_sqs::types::Message| {
            receipts.push(message.receipt_handle.unwrap());
            (message.message_id.unwrap(), message.body.unwrap())
        };
        found.into_iter().map(message).collect()
    }

    /// Gives back what was taken raw.
    pub(crate) async fn give_back(&self) {
        let receipts = std::mem::take(&mut *self.receipts.lock().unwrap());
        for receipt in receipts {
            let change = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
            change.visibility_timeout(0).send().await.unwrap();
        }
    }

    /// All messages, sorted by position; they are taken from the queue.
    pub(crate) async fn take(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let received = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(10)
                .visibility_timeout(600)
                .message_attribute_names("All")
                .send()
                .await
                .unwrap();
            let found = received.messages.unwrap_or_default();
            if found.is_empty() {
                messages.sort_by_key(|message: &Message| message.letter["source"]["position"].to_string());
                return messages;
            }
            for message in found {
                let attributes = message.message_attributes.unwrap_or_default();
                assert_eq!(attributes.len(), 2, "{attributes:?}");
                let attribute = |name: &str| attributes[name].string_value.clone().unwrap();
                messages.push(Message {
                    letter: serde_json::from_str(&message.body.unwrap()).unwrap(),
                    attributes: (attribute("reason"), attribute("source")),
                });
            }
        }
    }
}

/// The letters in a file, oldest first; none where there is no file.
pub(crate) fn letters(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Reason and position of each letter.
pub(crate) fn reasons(letters: &[Value]) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    letters.iter().map(|letter| (text(&letter["reason"]).unwrap(), text(&letter["source"]["position"]))).collect()
}
