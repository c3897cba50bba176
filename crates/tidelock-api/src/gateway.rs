//! Requests that come through API Gateway, and what is answered.
//!
//! Both payloads: [1.0](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html)
//! (REST APIs) and [2.0](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html)
//! (HTTP APIs, function URLs).

#[cfg(test)]
mod tests;

use aws_lambda_events::apigw::ApiGatewayProxyResponse;
use aws_lambda_events::encodings::Body;
use aws_lambda_events::http::HeaderValue;
use aws_lambda_events::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::settings::percent_decoded;
use tidelock_lambda::Fatal;

/// API Gateway gives a function 29 or 30 seconds: whoever waits is to be told before that.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a request must have its answer.
pub(crate) fn until(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + PATIENCE)
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// GET, POST and so on.
    pub(crate) method: String,
    /// The last part of the path, or what the route calls `id`.
    pub(crate) id: Option<String>,
    /// Parameters; of one that is given twice, the last (payload 1.0) or all with commas (2.0).
    pub(crate) query: BTreeMap<String, String>,
    body: String,
    base64: bool,
}

impl Request {
    /// The request that an event is; `None` where it is another kind of event.
    pub(crate) fn of(event: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let http = event.get("requestContext").and_then(|context| context.get("http"));
        let of_2 = || http.and_then(|http| http.get("method")).and_then(Value::as_str);
        let method = text("httpMethod").or_else(of_2)?.to_ascii_uppercase();
        let path = text("path").or_else(|| text("rawPath")).unwrap_or_default();
        let named = event.get("pathParameters").and_then(|parameters| parameters.get("id")).and_then(Value::as_str);
        let last = || path.split_once("/demo-data/").map(|(_, id)| percent_decoded(id));
        let query = event.get("queryStringParameters").and_then(Value::as_object).into_iter().flatten();
        let query = query.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Some(Self {
            method,
            id: named.map(str::to_owned).or_else(last).filter(|id| !id.is_empty()),
            query: query.collect(),
            body: text("body").unwrap_or_default().to_owned(),
            base64: event.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    /// The request that a payload is.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Fatal> {
        let event = serde_json::from_slice(payload).ok();
        event.as_ref().and_then(Self::of).ok_or_else(|| {
            let why = "this is no request of API Gateway (a proxy event, payload 1.0 or 2.0)";
            Fatal::new("Tidelock.Request", why)
        })
    }

    /// The body, of so many bytes at most.
    ///
    /// # Errors
    /// When it is larger, or not what it says it is.
    #[cfg_attr(not(feature = "mongodb"), allow(dead_code, reason = "only functions that write read bodies"))]
    pub(crate) fn body(&self, limit: usize) -> Result<Cow<'_, [u8]>, Refused> {
        let body = if self.base64 {
            let decoded = STANDARD.decode(self.body.trim());
            Cow::Owned(
                decoded.map_err(|error| Refused::bad("invalid_body", format!("the body is no base64: {error}")))?,
            )
        } else {
            Cow::Borrowed(self.body.as_bytes())
        };
        if body.len() > limit {
            let message = format!("the body has {} bytes, and {limit} are allowed", body.len());
            return Err(Refused::new(413, "body_too_large", message));
        }
        Ok(body)
    }
}

/// A request that is not done, in words for whoever sent it: neither secrets nor names of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: i64,
    /// A stable name.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The methods that the path knows, where it was another.
    allow: Option<&'static str>,
}

impl Refused {
    pub(crate) fn new(status: i64, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None }
    }

    /// The request is at fault.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// The path knows other methods.
    pub(crate) fn method(method: &str, allowed: &'static str) -> Self {
        let message = format!("{method} is not possible here; allowed: {allowed}");
        Self { allow: Some(allowed), ..Self::new(405, "method_not_allowed", message) }
    }

    /// The store behind has failed. The particulars go to the log, not to the client.
    pub(crate) fn failed(store: &str, failure: &Failure) -> Self {
        tracing::error!(cause = failure.cause.code(), "{store}: {failure}");
        let message = match failure.cause {
            cause if cause.needs_mending() => format!("{store} does not let this function in; its log says why"),
            Cause::Throttled => format!("{store} is busy; try again"),
            _ => format!("{store} cannot be reached; try again later"),
        };
        Self::new(503, "unavailable", message)
    }
}

impl From<Refused> for ApiGatewayProxyResponse {
    fn from(Refused { status, code, message, allow }: Refused) -> Self {
        let mut response = answer(status, &serde_json::json!({"error": code, "message": message}));
        if let Some(allow) = allow {
            response.headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// An answer in JSON.
pub(crate) fn answer(status: i64, body: &impl Serialize) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = status;
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Nothing that is answered can fail to be written.
    response.body = Some(Body::Text(serde_json::to_string(body).unwrap_or_default()));
    response
}
