//! HTTP for the clients that speak to a service without its SDK: a few connections whose life the caller decides, TLS by
//! ring, logins and AWS signatures.

mod digest;
mod sign;
mod transport;

pub use sign::Scheme;
pub use transport::{HttpConfig, HttpTransport, SettingNames, TlsError};

use bytes::Bytes;
use std::time::Instant;
use tidelock_core::cause::Failure;

/// A request to a service.
#[derive(Debug, Clone)]
pub struct Request {
    /// GET, PUT, POST or DELETE.
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub path: String,
    /// The body's media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// The service's answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

/// Carries requests to a service.
///
/// When it returns, or its future is dropped, nothing of the request is still under way.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Transport {
    /// Sends one request and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// When there is no answer: no connection, no credentials, or no time.
    async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure>;

    /// Where requests go, for messages: host and port.
    fn place(&self) -> &str;
}
