//! A function served by someone else under an `Invoke` URL, as `cargo lambda watch` and Lambda's Runtime Interface
//! Emulator serve it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::function::{Function, Invocation, MAX_RESPONSE, function_error};

/// Invokes a function by `POST` to an `Invoke` URL
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>): an answer with the header
/// `X-Amz-Function-Error` is a function error.
#[derive(Clone, Debug)]
pub struct HttpInvoke {
    authority: String,
    path: String,
    timeout: Duration,
}

impl HttpInvoke {
    /// A function at `url`, such as `http://127.0.0.1:9000/2015-03-31/functions/NAME/invocations`, given up after
    /// `timeout`.
    ///
    /// # Errors
    /// A message for the user when the URL is not an `http://` URL with a host.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`{url}` is not an invoke URL: http://HOST:PORT/2015-03-31/functions/NAME/invocations is what \
                 `cargo lambda watch` serves"
            )
        };
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse());
        }
        let authority = uri.authority().ok_or_else(refuse)?.to_string();
        let path = uri.path_and_query().map_or_else(|| "/".into(), ToString::to_string);
        Ok(Self { authority, path, timeout })
    }

    /// The function's name: the part before `/invocations`, or the host where there is none.
    pub fn name(&self) -> &str {
        let path = self.path.strip_suffix("/invocations").unwrap_or(&self.path);
        match path.rsplit('/').next() {
            Some(name) if !name.is_empty() => name,
            _ => &self.authority,
        }
    }

    /// Looks whether anything listens at the URL.
    ///
    /// # Errors
    /// A message for the user when nothing does.
    pub async fn probe(&self) -> Result<(), String> {
        self.connect().await.map(drop).map_err(|message| self.hint(&message))
    }

    fn hint(&self, message: &str) -> String {
        format!("{message}; is the function being served at http://{}{}?", self.authority, self.path)
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        // An IPv6 address in brackets has colons of its own.
        let has_port = self.authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let address = if has_port { self.authority.clone() } else { format!("{}:80", self.authority) };
        TcpStream::connect(&address).await.map_err(|error| format!("connecting to {address}: {error}"))
    }

    async fn post(&self, payload: Bytes) -> Result<Invocation, String> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let request = Request::post(self.path.as_str())
            .header(HOST, self.authority.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(payload))
            .map_err(|error| error.to_string())?;
        // The connection lives as long as this call: dropping the call drops the socket.
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE).collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok((head, body))
        };
        tokio::pin!(exchange, connection);
        let (head, body) = tokio::select! {
            // An answer that is complete counts, whatever becomes of its connection.
            biased;
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.to_string()),
            },
        }?;
        let error_header = head.headers.get("x-amz-function-error").and_then(|value| value.to_str().ok());
        Ok(match error_header {
            Some(kind) => function_error(body, None, kind),
            None if head.status.is_success() => Invocation::Response(body),
            None => function_error(body, None, &format!("Http.{}", head.status.as_u16())),
        })
    }
}

impl Function for HttpInvoke {
    async fn invoke(&self, payload: Bytes) -> Invocation {
        match tokio::time::timeout(self.timeout, self.post(payload)).await {
            Err(_) => Invocation::Timeout,
            Ok(Ok(invocation)) => invocation,
            Ok(Err(message)) => {
                Invocation::InitError { error_type: "Invoke.Unreachable".into(), message: self.hint(&message) }
            }
        }
    }

    fn arn(&self) -> String {
        format!("arn:aws:lambda:us-east-1:000000000000:function:{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_name_the_function() {
        let named = |url: &str| HttpInvoke::new(url, Duration::from_secs(1)).map(|f| f.name().to_owned());
        assert_eq!(
            named("http://127.0.0.1:9000/2015-03-31/functions/dynamodb-sync/invocations").unwrap(),
            "dynamodb-sync"
        );
        assert_eq!(named("http://127.0.0.1:9000/").unwrap(), "127.0.0.1:9000");
        for bad in ["https://127.0.0.1/x", "127.0.0.1:9000", "/functions", "http://"] {
            assert!(named(bad).unwrap_err().contains("is not an invoke URL"), "{bad}");
        }
    }
}
