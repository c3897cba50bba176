//! Requests of SQS in its [JSON protocol](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html).

use std::time::Duration;
use tidelock_core::json::write_string;
use tidelock_core::letter::Letter;

/// A request's body in the making.
pub(super) struct Body(Vec<u8>);

impl Body {
    /// Begins with the queue's URL.
    pub(super) fn of(queue_url: &str) -> Self {
        let mut body = Self(Vec::with_capacity(256));
        body.0.push(b'{');
        body.text("QueueUrl", queue_url);
        body
    }

    fn name(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        write_string(&mut self.0, name);
        self.0.push(b':');
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(&mut self.0, value);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    pub(super) fn texts(&mut self, name: &str, values: &[&str]) {
        self.name(name);
        for (index, value) in values.iter().enumerate() {
            self.0.push(if index == 0 { b'[' } else { b',' });
            write_string(&mut self.0, value);
        }
        self.0.push(b']');
    }

    fn object(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.name(name);
        self.0.push(b'{');
        write(self);
        self.0.push(b'}');
    }

    /// A batch, each entry with its position as its id.
    pub(super) fn entries<T>(mut self, items: &[T], write: impl Fn(&mut Self, &T)) -> Vec<u8> {
        self.name("Entries");
        for (index, item) in items.iter().enumerate() {
            self.0.extend_from_slice(if index == 0 { b"[{" } else { b",{" });
            self.text("Id", &index.to_string());
            write(&mut self, item);
            self.0.push(b'}');
        }
        self.0.push(b']');
        self.end()
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    /// A letter with its attributes.
    pub(super) fn letter(&mut self, letter: &Letter, delay: Duration) {
        self.0.reserve(letter.body.len() + letter.body.len() / 4);
        self.text("MessageBody", &letter.body);
        let delay = super::seconds(delay, super::DELAY);
        if delay > 0 {
            self.number("DelaySeconds", delay);
        }
        self.object("MessageAttributes", |body| {
            for (name, value) in [("reason", &*letter.reason), ("source", &*letter.source)] {
                body.object(name, |body| {
                    body.text("DataType", "String");
                    // Attributes must not be empty.
                    body.text("StringValue", if value.is_empty() { "unknown" } else { value });
                });
            }
        });
    }
}
