//! Requests over HTTP/1, each on a connection of its own.

use crate::Failure;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// The longest that an answer may take: as long as API Gateway waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body as it came.
    pub(crate) text: String,
    /// The body as JSON; `null` where it is none.
    pub(crate) body: Value,
}

/// Sends a request to `HOST:PORT`.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn send(authority: &str, method: &str, path: &str, body: &str) -> Result<Answer, Failure> {
    let answer = tokio::time::timeout(PATIENCE, exchange(authority, method, path, body)).await;
    let described = |problem: String| Failure::from(format!("{method} http://{authority}{path}: {problem}"));
    answer.map_err(|_| described("no answer".to_owned()))?.map_err(|error| described(error.to_string()))
}

async fn exchange(authority: &str, method: &str, path: &str, body: &str) -> Result<Answer, Failure> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", authority)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())))?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: head.status.as_u16(), body: serde_json::from_str(&text).unwrap_or_default(), text })
}
