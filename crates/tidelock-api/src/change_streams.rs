//! `enable-change-streams`: change streams of a cluster, turned on and off.
//!
//! ```text
//! {"database","collection","enable"}  direct invocation   ─▶ the state
//! POST config, the same as its body   API Gateway         ─▶ 200 and the state, or 4xx, 5xx
//! {"RequestType","ResponseURL",…}     CloudFormation      ─▶ an answer to the URL, whatever happens
//! ```

mod reply;
mod report;
mod resource;
mod wish;

pub use report::Report;

use crate::gateway::{Refused, Request, answer, until};
use aws_lambda_events::apigw::ApiGatewayProxyResponse;
use aws_lambda_events::cloudformation::CloudFormationCustomResourceResponse;
use bytes::Bytes;
use report::{explained, told};
use resource::ResourceRequest;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Instant;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::settings::ClusterSettings;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};
use tidelock_mongodb::{ChangeStreams, MongoDbSourceConfig, Scope, State};
use tidelock_sync::{MongoDbLogin, cluster_login};
use wish::{JSON_NAMES, Wish};

/// Most bytes of a request's body.
const MAX_BODY: usize = 10_000;

const EXAMPLE: &str = r#"{"database":"demo-database","collection":"demo-collection","enable":true}"#;

/// Turns change streams on and off.
///
/// It starts with settings that are wrong, too: CloudFormation must be told so, and waits for an hour where it is not.
pub struct EnableChangeStreams {
    streams: Result<ChangeStreams<MongoDbLogin>, Fatal>,
    /// What is meant where people name neither a database nor a collection.
    default: Option<Scope>,
}

/// What an invocation answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To whoever has invoked the function itself.
    State(Report),
    /// To API Gateway.
    Api(Box<ApiGatewayProxyResponse>),
    /// What CloudFormation has been told.
    Resource(Box<CloudFormationCustomResourceResponse>),
}

/// Why there is no state to report.
enum Trouble {
    /// The function's own settings.
    Settings(Fatal),
    /// The cluster.
    Cluster(Failure),
}

impl EnableChangeStreams {
    async fn set(&self, wish: &Wish, deadline: Instant) -> Result<State, Trouble> {
        let streams = self.streams.as_ref().map_err(|fatal| Trouble::Settings(fatal.clone()))?;
        let set = Box::pin(streams.set(&wish.scope, wish.enable, wish.create, deadline)).await;
        set.inspect(|state| tracing::info!(?state, "change streams of {}", wish.scope)).map_err(Trouble::Cluster)
    }

    async fn direct(&self, event: &Map<String, Value>, deadline: Instant) -> Result<Report, Fatal> {
        let wish = Wish::read(event, &JSON_NAMES, &[], self.default.as_ref());
        let wish = wish
            .map_err(|problems| Fatal::new("Tidelock.Request", format!("{}; send {EXAMPLE}", problems.join("; "))))?;
        match self.set(&wish, deadline).await {
            Ok(state) => Ok(Report::of(&wish, &state)),
            Err(Trouble::Settings(fatal)) => Err(fatal),
            Err(Trouble::Cluster(failure)) => Err(Fatal::new("Tidelock.ChangeStreams", explained(&failure))),
        }
    }

    async fn api(&self, request: &Request, deadline: Instant) -> Result<ApiGatewayProxyResponse, Refused> {
        if request.method != "POST" {
            return Err(Refused::method(&request.method, "POST"));
        }
        let mut body = request.body(MAX_BODY)?;
        if body.iter().all(u8::is_ascii_whitespace) && self.default.is_some() {
            body = b"{}".as_slice().into();
        }
        let body: Value = serde_json::from_slice(&body).map_err(|error| {
            Refused::bad("invalid_json", format!("the body cannot be read: {error}; send {EXAMPLE}"))
        })?;
        let Value::Object(body) = body else {
            return Err(Refused::bad("no_object", format!("the body is no JSON object; send {EXAMPLE}")));
        };
        let wish = Wish::read(&body, &JSON_NAMES, &[], self.default.as_ref());
        let wish = wish
            .map_err(|problems| Refused::bad("invalid_request", format!("{}; send {EXAMPLE}", problems.join("; "))))?;
        match self.set(&wish, deadline).await {
            Ok(state) => Ok(answer(200, &Report::of(&wish, &state))),
            Err(Trouble::Settings(_)) => {
                Err(Refused::new(500, "settings", "the function's settings are wrong; its log says which"))
            }
            Err(Trouble::Cluster(failure)) => {
                tracing::error!(cause = failure.cause.code(), "change streams of {}: {failure}", wish.scope);
                let (status, code) = match failure.cause {
                    Cause::InvalidTargetName => (400, "invalid_request"),
                    cause if cause.needs_mending() || cause == Cause::UnexpectedAnswer => (502, "cluster_refuses"),
                    _ => (503, "unavailable"),
                };
                Err(Refused::new(status, code, told(failure.cause)))
            }
        }
    }
}

impl Handler for EnableChangeStreams {
    type Answer = Answer;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let opened = open(environment);
        if let Err(fatal) = &opened {
            tracing::error!(kind = fatal.kind, "{}", fatal.message);
        }
        Ok(match opened {
            Ok((streams, default)) => Self { streams: Ok(streams), default },
            Err(fatal) => Self { streams: Err(fatal), default: None },
        })
    }

    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<Answer, Fatal> {
        let event: Map<String, Value> = serde_json::from_slice(&payload).map_err(|error| {
            Fatal::new("Tidelock.Request", format!("the event is no JSON object: {error}; send {EXAMPLE}"))
        })?;
        if let Some(request) = ResourceRequest::of(&event) {
            return self.resource(&request, invocation.deadline).await.map(|told| Answer::Resource(Box::new(told)));
        }
        if let Some(request) = Request::of(&event) {
            let answered = self.api(&request, until(invocation.deadline)).await;
            return Ok(Answer::Api(Box::new(answered.unwrap_or_else(ApiGatewayProxyResponse::from))));
        }
        self.direct(&event, invocation.deadline).await.map(Answer::State)
    }
}

fn open(environment: &Environment) -> Result<(ChangeStreams<MongoDbLogin>, Option<Scope>), Fatal> {
    let wrong = |problems: String| Fatal::new("Tidelock.Settings", problems);
    let variables = environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = ClusterSettings::read(variables).map_err(|problems| wrong(problems.to_string()))?;
    let default = settings.demo.map(|(database, collection)| Scope::new(database, collection)).transpose();
    let default = default.map_err(|problem| format!("TIDELOCK_DEMO_DATABASE, TIDELOCK_DEMO_COLLECTION: {problem}"));
    let config = MongoDbSourceConfig { uri: settings.uri, ca_file: settings.ca_file };
    let login = cluster_login(settings.secret.as_deref(), environment);
    match (ChangeStreams::new(&config, login), default) {
        (Ok(streams), Ok(default)) => Ok((streams, default)),
        (Ok(_), Err(problem)) => Err(wrong(problem)),
        (Err(problems), default) => {
            Err(wrong(problems.into_iter().chain(default.err()).collect::<Vec<_>>().join("; ")))
        }
    }
}
