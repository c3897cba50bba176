//! Requests as a client writes them, answers as trees.

use bytes::Bytes;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::cause::Failure;
use tidelock_opensearch::{Request, Response, Transport as _};
use tidelock_sim::{Calm, Chaos, Engine, EngineConfig, EngineTransport};
use tokio::time::Instant;

/// An engine and a way to it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) engine: Engine,
    pub(crate) transport: EngineTransport,
}

pub(crate) fn request(method: &'static str, path: &str, body: impl Into<Bytes>) -> Request {
    Request { method, path: path.to_owned(), content_type: "application/json", body: body.into() }
}

/// Far enough for everything that is meant to be answered.
pub(crate) fn soon() -> std::time::Instant {
    (Instant::now() + Duration::from_secs(10)).into_std()
}

pub(crate) fn tree(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or(Value::Null)
}

/// A bulk body: the action, and the document if there is one.
pub(crate) fn lines(actions: &[(Value, Option<Value>)]) -> String {
    let lines = actions.iter().flat_map(|(action, document)| [Some(action), document.as_ref()]).flatten();
    lines.map(|line| format!("{line}\n")).collect()
}

impl Client {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self::with(config, Calm)
    }

    pub(crate) fn with(config: EngineConfig, chaos: impl Chaos + 'static) -> Self {
        let engine = Engine::new(config);
        Self { transport: EngineTransport::new(engine.clone(), Rc::new(chaos)), engine }
    }

    pub(crate) async fn try_send(
        &self,
        method: &'static str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response, Failure> {
        self.transport.send(request(method, path, body), soon()).await
    }

    pub(crate) async fn send(&self, method: &'static str, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let response = self.try_send(method, path, body).await.expect("an answer");
        (response.status, tree(&response))
    }

    /// Sends one action on index `i`: status and version, the version 0 where there is none.
    pub(crate) async fn one(&self, verb: &str, id: &str, mut guard: Value) -> (u64, i64) {
        guard["_id"] = Value::from(id);
        let document = (verb != "delete").then(|| json!({"of": guard}));
        let (status, answer) = self.send("POST", "/i/_bulk", lines(&[(json!({verb: guard}), document)])).await;
        assert_eq!(status, 200, "{answer}");
        let item = &answer["items"][0][verb];
        assert_eq!(answer["errors"], item.get("error").is_some());
        if item["status"] == 409 {
            assert_eq!(item["error"]["type"], "version_conflict_engine_exception");
        }
        (item["status"].as_u64().expect("a status"), item["_version"].as_i64().unwrap_or(0))
    }

    /// Runs a script of actions on one document, checking status and version of each.
    pub(crate) async fn script(&self, id: &str, steps: &[(&str, Value, (u64, i64))]) {
        for (step, (verb, guard, expected)) in steps.iter().enumerate() {
            assert_eq!(self.one(verb, id, guard.clone()).await, *expected, "step {step}: {verb} {guard}");
        }
    }
}
