//! The handler of `redrive`: a schedule, a request, or messages of a queue.

use crate::recovery::{Recovery, Report, Request, What};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidelock_core::queue::Message;
use tidelock_core::redrive::Redriven;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};

/// What the event says decides: `{"redrive":[…]}` is a request, `{"Records":[…]}` of SQS are messages, anything else is the
/// schedule.
pub struct Redrive(Recovery);

/// What came of an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of the schedule.
    Scheduled(Box<Report>),
    /// Of a request.
    Redriven {
        /// Counts.
        redriven: BTreeMap<What, Redriven>,
    },
    /// Of messages, as the [mapping](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html) wants it.
    Messages {
        /// Those that come again.
        #[serde(rename = "batchItemFailures")]
        failures: Vec<Item>,
    },
}

/// A message that comes again.
#[derive(Debug, Serialize)]
pub struct Item {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

/// What tells the events apart.
#[derive(Deserialize)]
struct Shape {
    redrive: Option<serde_json::Value>,
    #[serde(rename = "Records")]
    records: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct SqsEvent {
    #[serde(rename = "Records")]
    records: Vec<SqsRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    #[serde(default)]
    receipt_handle: String,
    body: String,
    event_source: String,
    #[serde(default)]
    attributes: SqsAttributes,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsAttributes {
    #[serde(default)]
    sent_timestamp: String,
}

impl Handler for Redrive {
    type Answer = Answer;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        Recovery::start(environment).await.map(Self)
    }

    async fn handle(&self, event: Bytes, invocation: Invocation) -> Result<Answer, Fatal> {
        let shape = serde_json::from_slice::<Shape>(&event).unwrap_or(Shape { redrive: None, records: None });
        match shape {
            Shape { redrive: Some(_), .. } => {
                let request: Request = serde_json::from_slice(&event)
                    .map_err(|error| Fatal::new("Tidelock.Request", format!("the request cannot be read: {error}")))?;
                let redriven = self.0.on_demand(&request, &invocation, &|_| {}).await?;
                self.0.tell_parked(redriven.values());
                Ok(Answer::Redriven { redriven })
            }
            Shape { records: Some(_), .. } => {
                let wrong = |why: String| Fatal::new("Tidelock.Event", format!("not an event of SQS: {why}"));
                let event: SqsEvent = serde_json::from_slice(&event).map_err(|error| wrong(error.to_string()))?;
                if let Some(other) = event.records.iter().find(|record| record.event_source != "aws:sqs") {
                    return Err(wrong(format!("a record is of `{}`", other.event_source)));
                }
                let message = |record: SqsRecord| Message {
                    id: record.message_id,
                    receipt: record.receipt_handle,
                    body: record.body,
                    sent_ms: record.attributes.sent_timestamp.parse().unwrap_or_default(),
                    taken: 1,
                };
                let messages = event.records.into_iter().map(message).collect();
                let (failures, redriven) = self.0.messages(messages, &invocation).await;
                tracing::info!(redriven = serde_json::to_string(&redriven).unwrap_or_default(), "messages");
                Ok(Answer::Messages { failures: failures.into_iter().map(|id| Item { id }).collect() })
            }
            Shape { .. } => Ok(Answer::Scheduled(Box::new(self.0.scheduled(&invocation).await?))),
        }
    }
}
