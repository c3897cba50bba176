//! The handler of `documentdb-sync`.

use crate::app::App;
use crate::source::Collections;
use bytes::Bytes;
use tidelock_core::batch::BatchResponse;
use tidelock_core::source::documentdb::READER;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};

/// Change events of DocumentDB in; an empty answer, or an error for the whole batch where a change can neither be applied nor held
/// nor parked.
pub struct DocumentDbSync(App<Collections>);

impl Handler for DocumentDbSync {
    type Answer = BatchResponse;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        App::moving_on(environment).await.map(Self)
    }

    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<BatchResponse, Fatal> {
        self.0.sync(&payload, &invocation, &READER).await
    }
}
