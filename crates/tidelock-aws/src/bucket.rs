//! Objects in an S3 bucket, by requests of our own: the SDK's client would be larger than the rest of a function.
//!
//! Four requests do
//! ([REST API](https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html)): PUT, GET,
//! DELETE, and a list. S3 is consistent: what has been stored is seen by whoever asks next. A PUT carries its body's hash in the
//! signature, so that a damaged body is refused.

mod answer;
mod endpoint;
mod name;
mod xml;

pub use name::check_bucket_name;

use crate::ConfigError;
use answer::{Page, Refusal, Trouble, page};
use bytes::Bytes;
use endpoint::Endpoint;
use name::{encode_value, object_path};
use std::fmt;
use std::time::{Duration, Instant};
use tidelock_core::cause::Cause;
use tidelock_core::credentials::Credentials;
use tidelock_core::queue::{Bucket, Names};
use tidelock_http::{HttpConfig, HttpTransport, Request, Response, Scheme, SettingNames, Transport as _};

/// The longest that one attempt may take. Objects have a few megabytes; who is silent for longer is asked again.
const ATTEMPT: Duration = Duration::from_secs(10);

/// What the function's role needs for each request. Without the right to list, reading an object that is not there is refused.
const PUT: &str = "s3:PutObject on the bucket's objects";
const GET: &str = "s3:GetObject on the bucket's objects and s3:ListBucket on the bucket";
const DELETE: &str = "s3:DeleteObject on the bucket's objects";
const LIST: &str = "s3:ListBucket on the bucket";

const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// Which bucket, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's region, which is the function's (`AWS_REGION`).
    pub region: String,
    /// `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`, where set: `http[s]://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// PEM text of the certificates to trust (`AWS_CA_BUNDLE`); `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
}

/// A general purpose bucket of objects with text in them.
pub struct S3Bucket<C> {
    name: String,
    /// See [`Endpoint::root`].
    root: String,
    http: HttpTransport<C>,
    attempt: Duration,
}

/// What is being done, for messages.
struct Operation<'a> {
    what: &'static str,
    name: &'a str,
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.what, self.name)
    }
}

impl<C: Credentials> S3Bucket<C> {
    /// Prepares a client that signs with the credentials' AWS keys; nothing is connected yet.
    ///
    /// # Errors
    /// When the bucket's name, region, endpoint or certificates cannot be used.
    pub fn new(config: BucketConfig, credentials: C) -> Result<Self, ConfigError> {
        check_bucket_name(&config.bucket)?;
        let endpoint = match &config.endpoint {
            Some(url) => Endpoint::parse(url, &config.bucket)?,
            None => Endpoint::of_region(&config.region, &config.bucket)?,
        };
        let http = HttpConfig {
            host: endpoint.host,
            port: endpoint.port,
            tls: endpoint.tls,
            ca_pem: config.ca_pem,
            scheme: Scheme::SigV4 { service: "s3", region: config.region },
            gzip: false,
        };
        let names = SettingNames { ca_file: "AWS_CA_BUNDLE", ..SettingNames::TARGET };
        let http =
            HttpTransport::with_names(http, credentials, names).map_err(|error| ConfigError(error.to_string()))?;
        Ok(Self { name: config.bucket, root: endpoint.root, http, attempt: ATTEMPT })
    }

    /// With another limit for one attempt.
    #[cfg(test)]
    pub(crate) fn with_attempt(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
    }

    /// A request about an object.
    fn request(&self, method: &'static str, operation: &Operation<'_>, body: Vec<u8>) -> Result<Request, String> {
        let path = object_path(operation.name).map_err(|why| self.failure(operation, &why))?;
        Ok(Request {
            method,
            path: format!("{}{path}", self.root),
            content_type: "application/json",
            body: Bytes::from(body),
        })
    }

    fn failure(&self, operation: &Operation<'_>, why: &str) -> String {
        format!("bucket `{}` at {}: {operation}: {why}", self.name, self.http.place())
    }

    /// Asks until there is an answer that `read` can use.
    async fn ask<T>(
        &self,
        request: Request,
        operation: Operation<'_>,
        deadline: Instant,
        read: impl Fn(Response) -> Result<T, Trouble>,
    ) -> Result<T, String> {
        let mut pauses = 0;
        // What the last attempt that said something said.
        let mut reason = None;
        loop {
            let answer = self.attempt(request.clone(), deadline, &mut reason).await;
            let trouble = match answer.and_then(&read) {
                Ok(found) => return Ok(found),
                Err(trouble) => trouble,
            };
            if !trouble.passing || !pause(pauses, deadline).await {
                return Err(self.failure(&operation, &trouble.words));
            }
            reason = Some(trouble.words);
            pauses += 1;
        }
    }

    /// Sends a request once.
    async fn attempt(
        &self,
        request: Request,
        deadline: Instant,
        before: &mut Option<String>,
    ) -> Result<Response, Trouble> {
        let until = deadline.min(Instant::now() + self.attempt);
        self.http.send(request, until).await.map_err(|failure| {
            let passing = matches!(failure.cause, Cause::Unreachable | Cause::TimedOut);
            // An attempt that the deadline cut short says less than the one before it.
            let earlier = before.take().filter(|_| failure.cause == Cause::TimedOut);
            let prefix = format!("{}: ", self.http.place());
            let words = failure.detail.strip_prefix(&prefix).unwrap_or(&failure.detail);
            Trouble { passing, words: earlier.unwrap_or_else(|| words.to_owned()) }
        })
    }

    /// A page of names: behind `after`, or the one that the page before points to.
    async fn page(&self, prefix: &str, after: &str, token: Option<&str>, deadline: Instant) -> Result<Page, String> {
        let mut path = format!("{}/?list-type=2&encoding-type=url", self.root);
        for (parameter, value) in
            [("prefix", prefix), ("start-after", after), ("continuation-token", token.unwrap_or_default())]
        {
            if !value.is_empty() {
                path.push('&');
                path.push_str(parameter);
                path.push('=');
                encode_value(value, &mut path);
            }
        }
        let request = Request { method: "GET", path, content_type: "application/json", body: Bytes::new() };
        let unusable = |passing| move |why| Trouble { passing, words: format!("the answer cannot be used: {why}") };
        self.ask(request, Operation { what: "listing", name: prefix }, deadline, |response| match response.status {
            // A damaged answer may come whole the next time; one that makes no sense would come again.
            200 => asked_for(page(&response.body).map_err(unusable(true))?, prefix, after).map_err(unusable(false)),
            _ => Err(refused(&response, LIST)),
        })
        .await
    }
}

/// Names that were not asked for would be taken for letters, or send the caller round in circles.
fn asked_for(page: Page, prefix: &str, after: &str) -> Result<Page, String> {
    let mut last = after;
    for name in &page.names {
        if !name.starts_with(prefix) || name.as_str() <= last {
            return Err(format!("it names `{name}`, which was not asked for, or not there"));
        }
        last = name;
    }
    Ok(page)
}

fn refused(response: &Response, right: &str) -> Trouble {
    Refusal::read(&response.body).trouble(response.status, right)
}

/// Anything else that is not found, such as the bucket, says nothing about the object.
fn no_object(response: &Response) -> bool {
    Refusal::read(&response.body).code == "NoSuchKey"
}

/// Waits, longer each time and never for all at once; `false` when the deadline would come first.
pub(crate) async fn pause(pauses: u32, deadline: Instant) -> bool {
    let ceiling = BACKOFF_BASE.saturating_mul(1 << pauses.min(10)).min(BACKOFF_CAP);
    let wait = ceiling.mul_f64(fastrand::f64());
    if Instant::now() + wait >= deadline {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

impl<C: Credentials> Bucket for S3Bucket<C> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn put(&self, name: &str, body: Vec<u8>, deadline: Instant) -> Result<(), String> {
        let operation = Operation { what: "storing", name };
        let request = self.request("PUT", &operation, body)?;
        self.ask(request, operation, deadline, |response| match response.status {
            200 => Ok(()),
            _ => Err(refused(&response, PUT)),
        })
        .await
    }

    async fn get(&self, name: &str, deadline: Instant) -> Result<Option<Vec<u8>>, String> {
        let operation = Operation { what: "reading", name };
        let request = self.request("GET", &operation, Vec::new())?;
        self.ask(request, operation, deadline, |response| match response.status {
            200 => Ok(Some(response.body.into())),
            404 if no_object(&response) => Ok(None),
            _ => Err(refused(&response, GET)),
        })
        .await
    }

    async fn delete(&self, name: &str, deadline: Instant) -> Result<(), String> {
        let operation = Operation { what: "deleting", name };
        let request = self.request("DELETE", &operation, Vec::new())?;
        self.ask(request, operation, deadline, |response| match response.status {
            200 | 204 => Ok(()),
            404 if no_object(&response) => Ok(()),
            _ => Err(refused(&response, DELETE)),
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, deadline: Instant) -> Result<Names, String> {
        let after = after.unwrap_or_default();
        let mut token = None;
        loop {
            match self.page(prefix, after, token.as_deref(), deadline).await? {
                // A page may hold nothing and not be the last; only S3 knows where the next one begins.
                Page { names, more: true, next: Some(next) } if names.is_empty() => token = Some(next),
                Page { names, more, .. } => return Ok(Names { names, more }),
            }
        }
    }
}
