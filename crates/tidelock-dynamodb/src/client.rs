//! One call of the service: sent again after a jittered pause until it is answered, or time is over.

use crate::endpoint::{ConfigError, Endpoint};
use crate::error::{Trouble, refusal};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tidelock_core::cause::Cause;
use tidelock_core::credentials::Credentials;
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme, SettingNames, Transport as _};

/// The longest that one attempt may take. An answer of 16 MB takes a second or two; who is silent for longer is asked again.
const ATTEMPT: Duration = Duration::from_secs(10);

const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// Where the tables or streams are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDbConfig {
    /// The region of the stream (`AWS_REGION`): a replica in another one may be older than the change.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB` (of streams: `AWS_ENDPOINT_URL_DYNAMODB_STREAMS`), else `AWS_ENDPOINT_URL`, where set:
    /// `http[s]://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// PEM text of the certificates to trust (`AWS_CA_BUNDLE`); `None` trusts the public ones.
    pub ca_pem: Option<Vec<u8>>,
}

/// Calls operations of DynamoDB or of its streams: signed POSTs
/// ([the protocol](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html)).
pub(crate) struct Client<C> {
    http: HttpTransport<C>,
    attempt: Duration,
}

impl<C: Credentials> Client<C> {
    /// Prepares a client of `service`, the first part of its public host's name; nothing is connected yet.
    pub(crate) fn new(service: &str, config: DynamoDbConfig, credentials: C) -> Result<Self, ConfigError> {
        let endpoint = match &config.endpoint {
            Some(url) => Endpoint::parse(url)?,
            None => Endpoint::of_region(service, &config.region)?,
        };
        let http = HttpConfig {
            host: endpoint.host,
            port: endpoint.port,
            tls: endpoint.tls,
            ca_pem: config.ca_pem,
            // The streams are signed for as the tables are.
            scheme: Scheme::SigV4 { service: "dynamodb", region: config.region },
            gzip: false,
        };
        let names = SettingNames { ca_file: "AWS_CA_BUNDLE", ..SettingNames::TARGET };
        let http =
            HttpTransport::with_names(http, credentials, names).map_err(|error| ConfigError(error.to_string()))?;
        Ok(Self { http, attempt: ATTEMPT })
    }

    /// With another limit for one attempt.
    #[cfg(test)]
    pub(crate) fn with_attempt(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
    }

    /// Where requests go, for messages: host and port.
    pub(crate) fn place(&self) -> &str {
        self.http.place()
    }

    /// Calls an operation, the `x-amz-target` header's value, until `read` makes something of an answer.
    pub(crate) async fn call<T>(
        &self,
        operation: &'static str,
        body: Bytes,
        deadline: Instant,
        mut read: impl FnMut(&[u8]) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut tries = Tries::default();
        loop {
            let answer = self.attempt(operation, body.clone(), deadline, &mut tries).await;
            match answer.and_then(|answer| read(&answer)) {
                Ok(read) => return Ok(read),
                Err(trouble) => tries.again(trouble, deadline).await?,
            }
        }
    }

    /// Sends a request once; gives the body of an answer.
    pub(crate) async fn attempt(
        &self,
        operation: &'static str,
        body: Bytes,
        deadline: Instant,
        tries: &mut Tries,
    ) -> Result<Bytes, Trouble> {
        let request =
            Request { method: "POST", path: "/".to_owned(), content_type: "application/x-amz-json-1.0", body };
        let until = deadline.min(Instant::now() + self.attempt);
        match self.http.send_with(request, &[("x-amz-target", operation)], until).await {
            Ok(response) if response.status == 200 => Ok(response.body),
            Ok(response) => {
                tries.unanswered |= response.status >= 500;
                Err(refusal(response.status, &response.body))
            }
            Err(failure) => {
                tries.unanswered = true;
                let passing = matches!(failure.cause, Cause::Unreachable | Cause::TimedOut);
                // An attempt that the deadline cut short says less than the one before it.
                let earlier = tries.reason.take().filter(|_| failure.cause == Cause::TimedOut);
                let prefix = format!("{}: ", self.http.place());
                let words = failure.detail.strip_prefix(&prefix).unwrap_or(&failure.detail);
                Err(Trouble { passing, kind: String::new(), words: earlier.unwrap_or_else(|| words.to_owned()) })
            }
        }
    }
}

/// How often something has been tried, and what has come of it.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    pauses: u32,
    /// What the last attempt that said something said.
    reason: Option<String>,
    /// A request was sent of which nobody knows whether it was carried out.
    pub(crate) unanswered: bool,
}

impl Tries {
    /// Waits before the next try, longer each time and never for all at once. Gives the trouble back where another try is no
    /// use, or the deadline would come first.
    pub(crate) async fn again(&mut self, trouble: Trouble, deadline: Instant) -> Result<(), Trouble> {
        let ceiling = BACKOFF_BASE.saturating_mul(1 << self.pauses.min(10)).min(BACKOFF_CAP);
        let wait = ceiling.mul_f64(fastrand::f64());
        if !trouble.passing || Instant::now() + wait >= deadline {
            return Err(trouble);
        }
        tokio::time::sleep(wait).await;
        self.reason = Some(trouble.words);
        self.pauses += 1;
        Ok(())
    }

    /// Something has been got: the next pause is a short one.
    pub(crate) fn progress(&mut self) {
        self.pauses = 0;
    }
}
