//! The HTTP side of one environment's Runtime API.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::exchange::Exchange;
use crate::function::{Invocation, MAX_RESPONSE, function_error};
use crate::unique;

const RUNTIME: &str = "/2018-06-01/runtime/";
const EXTENSION: &str = "/2020-01-01/extension/";

/// What the server says about the function.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) arn: String,
    pub(crate) name: String,
}

/// Serves one environment until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, exchange: Arc<Exchange>, identity: Identity) {
    // Dropped with this task: no connection outlives its environment.
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, or a connection that was reset before it was taken: both pass.
            Err(_) => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        let (exchange, identity) = (exchange.clone(), identity.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                let (exchange, identity) = (exchange.clone(), identity.clone());
                async move { Ok::<_, Infallible>(respond(request, &exchange, &identity).await) }
            });
            // A connection that breaks is the client's affair: the process is watched by itself.
            let _ = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(request: Request<Incoming>, exchange: &Exchange, identity: &Identity) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if let Some(rest) = path.strip_prefix(RUNTIME) {
        let parts: Vec<&str> = rest.split('/').collect();
        return match (&head.method, parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => next(exchange, identity).await,
            (&Method::POST, ["invocation", id, "response"]) => response(exchange, id, body).await,
            (&Method::POST, ["invocation", id, "error"]) => error(exchange, id, &head.headers, body).await,
            (&Method::POST, ["init", "error"]) => init_error(exchange, &head.headers, body).await,
            _ => refuse(StatusCode::NOT_FOUND, "InvalidPath", "this path is not part of the Runtime API"),
        };
    }
    match (&head.method, path.strip_prefix(EXTENSION)) {
        (&Method::POST, Some("register")) => {
            exchange.register_extension();
            let body = serde_json::json!({
                "functionName": identity.name, "functionVersion": "$LATEST", "handler": "bootstrap",
            });
            let mut response = json(StatusCode::OK, body.to_string());
            if let Ok(id) = unique::uuid().parse() {
                response.headers_mut().insert("lambda-extension-identifier", id);
            }
            response
        }
        // Only extensions that wait for the end are known here: there is nothing to tell them before it.
        (&Method::GET, Some("event/next")) => std::future::pending().await,
        _ => refuse(StatusCode::NOT_FOUND, "InvalidPath", "this path is not part of the Runtime API"),
    }
}

async fn next(exchange: &Exchange, identity: &Identity) -> Response<Full<Bytes>> {
    // The sender goes only when a newer poll takes its place.
    let Ok(dispatch) = exchange.poll().await else {
        return refuse(StatusCode::CONFLICT, "Superseded", "the runtime asked again on another connection");
    };
    let trace = format!(
        "Root=1-{:08x}-{:024x};Parent={:016x};Sampled=0",
        dispatch.deadline_ms / 1000,
        fastrand::u128(..) >> 32,
        fastrand::u64(..)
    );
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header("lambda-runtime-aws-request-id", dispatch.request_id)
        .header("lambda-runtime-deadline-ms", dispatch.deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", identity.arn.as_str())
        .header("lambda-runtime-trace-id", trace)
        .body(Full::new(dispatch.payload));
    response.unwrap_or_else(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, "InvalidHeader", &error.to_string()))
}

async fn response(exchange: &Exchange, id: &str, body: Incoming) -> Response<Full<Bytes>> {
    if !exchange.is_current(id) {
        return unknown_request();
    }
    match Limited::new(body, MAX_RESPONSE).collect().await {
        Ok(body) => accept(exchange.answer(id, Invocation::Response(body.to_bytes()))),
        Err(error) if error.is::<LengthLimitError>() => {
            let message =
                format!("Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).");
            exchange.answer(
                id,
                Invocation::FunctionError {
                    error_type: "Function.ResponseSizeTooLarge".into(),
                    message: message.clone(),
                    raw: Bytes::new(),
                },
            );
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
        }
        // Cut off: if the process has ended, that is what is reported.
        Err(error) => refuse(StatusCode::BAD_REQUEST, "TruncatedResponse", &error.to_string()),
    }
}

async fn error(exchange: &Exchange, id: &str, headers: &HeaderMap, body: Incoming) -> Response<Full<Bytes>> {
    match Limited::new(body, MAX_RESPONSE).collect().await {
        Ok(body) => {
            let error = function_error(body.to_bytes(), error_header(headers), "Unhandled");
            if exchange.answer(id, error) { accept(true) } else { unknown_request() }
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, "TruncatedResponse", &error.to_string()),
    }
}

async fn init_error(exchange: &Exchange, headers: &HeaderMap, body: Incoming) -> Response<Full<Bytes>> {
    let body = Limited::new(body, MAX_RESPONSE).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let described = function_error(body, error_header(headers), "Runtime.InitError");
    if let Some((error_type, message)) = described.error() {
        exchange.fail_init(error_type.into(), message);
    }
    accept(true)
}

fn error_header(headers: &HeaderMap) -> Option<&str> {
    headers.get("lambda-runtime-function-error-type").and_then(|value| value.to_str().ok())
}

fn accept(known: bool) -> Response<Full<Bytes>> {
    if known { json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.into()) } else { unknown_request() }
}

fn unknown_request() -> Response<Full<Bytes>> {
    refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

fn refuse(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    json(status, serde_json::json!({ "errorMessage": message, "errorType": error_type }).to_string())
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}
