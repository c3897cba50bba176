//! A bucket of S3, spoken to without an SDK: nobody here checks signatures.

use super::{services, unique};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A bucket of a test's own.
pub(crate) struct Bucket {
    /// Where the service is: what a function's `AWS_ENDPOINT_URL_S3` must be.
    pub(crate) service: String,
    pub(crate) name: String,
}

impl Bucket {
    pub(crate) async fn create(purpose: &str) -> Option<Self> {
        let bucket = Self { service: services::aws()?, name: unique(purpose) };
        bucket.ask(Method::PUT, "", Bytes::new()).await;
        Some(bucket)
    }

    /// Stores an object.
    pub(crate) async fn put(&self, name: &str, body: impl Into<Bytes>) {
        self.ask(Method::PUT, &format!("/{name}"), body.into()).await;
    }

    /// The names of all objects: none of theirs needs to be escaped.
    pub(crate) async fn names(&self) -> Vec<String> {
        let body = self.ask(Method::GET, "?list-type=2", Bytes::new()).await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        let names = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        names.collect()
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Bytes {
        let authority = self.service.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(authority).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/{}{path}", self.name))
            .header("host", authority)
            // Without it the service would take the request for one of another.
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request")
            .body(Full::new(body))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        driver.abort();
        body
    }
}
