//! The handler of `dynamodb-sync`.

use crate::app::App;
use crate::source::Tables;
use bytes::Bytes;
use tidelock_core::batch::BatchResponse;
use tidelock_core::source::dynamodb::READER;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};

/// DynamoDB Streams batches in, the lowest failed sequence number out.
pub struct DynamoDbSync(App<Tables>);

impl Handler for DynamoDbSync {
    type Answer = BatchResponse;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        App::following(environment).await.map(Self)
    }

    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<BatchResponse, Fatal> {
        self.0.sync(&payload, &invocation, &READER).await
    }
}
