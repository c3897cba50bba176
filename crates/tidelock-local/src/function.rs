//! What a mapping invokes, and what comes back.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

/// The largest event of a synchronous invocation: 6 MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// The largest response of a synchronous invocation, as Lambda's own error message gives it.
pub const MAX_RESPONSE: usize = 6_291_556;

/// The outcome of one synchronous invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// The function answered with this body.
    Response(Bytes),
    /// The function answered with an error, or its response could not be taken.
    FunctionError {
        /// The error's stable name (`errorType`).
        error_type: String,
        /// The error's text (`errorMessage`).
        message: String,
        /// The body as the function sent it.
        raw: Bytes,
    },
    /// The function did not answer in time; its execution environment has been killed.
    Timeout,
    /// The process ended before it answered (`Runtime.ExitError`).
    Crashed {
        /// How it ended, such as `exit status: 1` or `signal: 9 (SIGKILL)`.
        status: String,
    },
    /// The function could not be started: it reported an error while it initialised, ended before it asked for its
    /// first event, or is not there.
    InitError {
        /// The error's stable name (`errorType`).
        error_type: String,
        /// The error's text.
        message: String,
    },
}

impl Invocation {
    /// Whether this is an answer rather than an error.
    pub fn is_response(&self) -> bool {
        matches!(self, Self::Response(_))
    }

    /// The error's name and text; `None` for a response.
    pub fn error(&self) -> Option<(&str, String)> {
        match self {
            Self::Response(_) => None,
            Self::FunctionError { error_type, message, .. } | Self::InitError { error_type, message } => {
                Some((error_type, message.clone()))
            }
            Self::Timeout => Some(("Sandbox.Timedout", "the function did not answer in time".into())),
            Self::Crashed { status } => {
                Some(("Runtime.ExitError", format!("the function's process ended before it answered: {status}")))
            }
        }
    }
}

/// Something that can be invoked with an event.
pub trait Function: Send + Sync + 'static {
    /// Invokes the function and waits for the outcome. Dropping the future gives the invocation up; whatever ran for
    /// it is ended.
    fn invoke(&self, payload: Bytes) -> impl Future<Output = Invocation> + Send;

    /// As [`invoke`](Self::invoke), under a request id of the caller's, where the function can take one.
    fn invoke_as(&self, request_id: &str, payload: Bytes) -> impl Future<Output = Invocation> + Send {
        let _ = request_id;
        self.invoke(payload)
    }

    /// The function's ARN, as it stands in on-failure records.
    fn arn(&self) -> String {
        "arn:aws:lambda:us-east-1:000000000000:function:local".into()
    }
}

impl<F: Function> Function for Arc<F> {
    fn invoke(&self, payload: Bytes) -> impl Future<Output = Invocation> + Send {
        F::invoke(self, payload)
    }

    fn invoke_as(&self, request_id: &str, payload: Bytes) -> impl Future<Output = Invocation> + Send {
        F::invoke_as(self, request_id, payload)
    }

    fn arn(&self) -> String {
        F::arn(self)
    }
}

/// A function that is a closure in this process, for tests and simulations; made by [`from_fn`].
#[derive(Clone, Debug)]
pub struct FromFn<F>(F);

/// Makes a [`Function`] of a closure.
pub fn from_fn<F, R>(body: F) -> FromFn<F>
where
    F: Fn(Bytes) -> R + Send + Sync + 'static,
    R: Future<Output = Invocation> + Send + 'static,
{
    FromFn(body)
}

impl<F, R> Function for FromFn<F>
where
    F: Fn(Bytes) -> R + Send + Sync + 'static,
    R: Future<Output = Invocation> + Send + 'static,
{
    fn invoke(&self, payload: Bytes) -> impl Future<Output = Invocation> + Send {
        (self.0)(payload)
    }
}

/// Reads `errorType` and `errorMessage` from an error body as runtimes send it; a body of another form becomes the
/// message, and `fallback` the type.
pub(crate) fn function_error(raw: Bytes, header: Option<&str>, fallback: &str) -> Invocation {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorBody {
        error_type: Option<String>,
        error_message: Option<String>,
    }
    let body: Option<ErrorBody> = serde_json::from_slice(&raw).ok();
    let (error_type, message) = match body {
        Some(body) => (body.error_type, body.error_message),
        None => (None, None),
    };
    Invocation::FunctionError {
        error_type: error_type.or_else(|| header.map(Into::into)).unwrap_or_else(|| fallback.into()),
        message: message.unwrap_or_else(|| String::from_utf8_lossy(&raw).into_owned()),
        raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_give_type_and_message() {
        for (body, header, expected) in [
            (r#"{"errorType":"T","errorMessage":"m"}"#, Some("H"), ("T", "m")),
            (r#"{"errorMessage":"m"}"#, Some("H"), ("H", "m")),
            (r#"{"errorMessage":"m"}"#, None, ("Fallback", "m")),
            ("not json", None, ("Fallback", "not json")),
        ] {
            let error = function_error(Bytes::from(body), header, "Fallback");
            let (error_type, message) = error.error().unwrap();
            assert_eq!((error_type, message.as_str()), expected);
        }
    }
}
