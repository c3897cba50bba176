//! `POST demo-data`: a document into the demo's collection. `PUT` and `DELETE demo-data/{id}` change and delete it.

use super::document::{id, read, read_for, text_id};
use crate::gateway::{Refused, Request, answer, until};
use aws_lambda_events::apigw::ApiGatewayProxyResponse;
use bytes::Bytes;
use mongodb::bson::Bson;
use serde::Serialize;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Disposition, Failure};
use tidelock_core::settings::DemoSettings;
use tidelock_lambda::{Environment, Fatal, Handler, Invocation};
use tidelock_mongodb::{Documents, Inserted, MongoDbSourceConfig, collection_problem, database_problem};
use tidelock_sync::{MongoDbLogin, cluster_login};

/// Most bytes of a body. The mapping drops change events over 6 MB, and a document is longer in one of those.
const MAX_BODY: usize = 4_000_000;

/// Writes what is posted.
pub struct DemoWriter(Documents<MongoDbLogin>);

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    /// The id as text: what paths and OpenSearch call the document.
    id: String,
    /// The `_id` itself, as extended JSON.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    own: Option<Bson>,
}

impl DemoWriter {
    async fn respond(&self, request: &Request, deadline: Instant) -> Result<ApiGatewayProxyResponse, Refused> {
        match (request.method.as_str(), &request.id) {
            ("POST", None) => self.insert(request, deadline).await,
            ("PUT", Some(text)) => {
                let (id, body) = (id(text)?, request.body(MAX_BODY)?);
                let replaced = self.0.replace(&id, &read_for(&id, &body)?, deadline).await.map_err(|f| refused(&f))?;
                found(replaced, text)
            }
            ("DELETE", Some(text)) => {
                let deleted = self.0.delete(&id(text)?, deadline).await.map_err(|failure| refused(&failure))?;
                found(deleted, text)
            }
            (method, None) => Err(Refused::method(method, "POST")),
            (method, Some(_)) => Err(Refused::method(method, "PUT, DELETE")),
        }
    }

    async fn insert(&self, request: &Request, deadline: Instant) -> Result<ApiGatewayProxyResponse, Refused> {
        let document = read(&request.body(MAX_BODY)?)?;
        let id = text_id(&document)?;
        match self.0.insert(&document, deadline).await.map_err(|failure| refused(&failure))? {
            Inserted::Stored => Ok(answer(201, &Written { id, own: document.get("_id").cloned() })),
            Inserted::Duplicate => {
                let message = format!("there is a document with the `_id` `{id}`, or with a value that must be unique");
                Err(Refused::new(409, "duplicate", message))
            }
        }
    }
}

fn found(found: bool, id: &str) -> Result<ApiGatewayProxyResponse, Refused> {
    if found {
        return Ok(answer(200, &Written { id: id.to_owned(), own: None }));
    }
    Err(Refused::new(404, "not_found", format!("there is no document with the id `{id}`")))
}

/// A document that the server will never take is its sender's matter.
fn refused(failure: &Failure) -> Refused {
    match failure.cause {
        Cause::DocumentTooLarge => Refused::new(413, "document_too_large", "the document is over the server's limit"),
        Cause::InvalidTargetName => Refused::failed("the database", failure),
        cause if cause.disposition() == Disposition::Park => {
            tracing::warn!(cause = cause.code(), "{failure}");
            Refused::bad("invalid_document", format!("the database refuses the document: {}", cause.meaning()))
        }
        _ => Refused::failed("the database", failure),
    }
}

impl Handler for DemoWriter {
    type Answer = ApiGatewayProxyResponse;

    async fn start(environment: &Environment) -> Result<Self, Fatal> {
        let wrong = |problems: String| Fatal::new("Tidelock.Settings", problems);
        let variables = environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = DemoSettings::read(variables).map_err(|problems| wrong(problems.to_string()))?;
        let (database, collection) = (settings.database, settings.collection);
        let problems = [("DATABASE", database_problem(&database)), ("COLLECTION", collection_problem(&collection))];
        let problems =
            problems.into_iter().filter_map(|(name, problem)| Some(format!("TIDELOCK_DEMO_{name}: {}", problem?)));
        let mut problems: Vec<String> = problems.collect();
        let cluster = settings.cluster;
        let config = MongoDbSourceConfig { uri: cluster.uri, ca_file: cluster.ca_file };
        let login = cluster_login(cluster.secret.as_deref(), environment);
        match Documents::new(&config, login, database, collection) {
            Ok(documents) if problems.is_empty() => {
                // A failure is left to the first request to report.
                let _ = Box::pin(documents.connect(Instant::now() + Duration::from_secs(1))).await;
                Ok(Self(documents))
            }
            Ok(_) => Err(wrong(problems.join("; "))),
            Err(others) => {
                problems.extend(others);
                Err(wrong(problems.join("; ")))
            }
        }
    }

    async fn handle(&self, payload: Bytes, invocation: Invocation) -> Result<ApiGatewayProxyResponse, Fatal> {
        let request = Request::read(&payload)?;
        let answered = self.respond(&request, until(invocation.deadline)).await;
        Ok(answered.unwrap_or_else(ApiGatewayProxyResponse::from))
    }
}
