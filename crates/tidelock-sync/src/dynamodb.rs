//! The handler of `dynamodb-sync`.

use crate::App;
use bytes::Bytes;
use tidelock_core::batch::BatchResponse;
use tidelock_core::source::dynamodb::decode;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};

/// DynamoDB Streams batches in, the lowest failed sequence number out.
pub struct DynamoDbSync(App);

impl Handler for DynamoDbSync {
    type Answer = BatchResponse;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let app = App::start(environment).await?;
        app.refuse_other_sources("dynamodb:")?;
        Ok(Self(app))
    }

    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<BatchResponse, Fatal> {
        self.0.sync(&payload, &invocation, decode).await
    }
}
