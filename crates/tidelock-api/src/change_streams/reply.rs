//! The answer to CloudFormation: a `PUT` to the URL that the request brings.

use http::Uri;
use serde::Serialize;
use std::time::{Duration, Instant};
use tidelock_core::credentials::{AwsKeys, Credentials, Login};
use tidelock_http::{HttpConfig, HttpTransport, Request, Response, Scheme, SettingNames, Transport as _};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How long one attempt may take, so that there is time for others.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The URL itself is the permission.
struct Nobody;

impl Credentials for Nobody {
    async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
        Ok(None)
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        Err("a pre-signed URL needs no keys".to_owned())
    }
}

/// Where a URL leads, and the path and query as they were signed.
fn place(url: &str) -> Result<(HttpConfig, String), String> {
    let uri: Uri = url.parse().map_err(|error| format!("ResponseURL is no URL: {error}"))?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host().filter(|host| !host.is_empty())) else {
        return Err("ResponseURL is no URL: it must begin with https:// and name a host".to_owned());
    };
    let tls = match scheme {
        "https" => true,
        // A signed URL that went over a network in the clear would be everybody's.
        "http" if matches!(host, "127.0.0.1" | "localhost" | "[::1]") => false,
        _ => return Err("ResponseURL must begin with https://".to_owned()),
    };
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let config = HttpConfig { host: host.to_owned(), port, tls, ca_pem: None, scheme: Scheme::None, gzip: false };
    Ok((config, path))
}

/// Answers, again and again until the answer is taken or time is over.
///
/// # Errors
/// Why it has not been taken. The URL, which is a permission, is not repeated.
pub(super) async fn deliver(url: &str, response: &impl Serialize, deadline: Instant) -> Result<(), String> {
    let (config, path) = place(url)?;
    let host = config.host.clone();
    let names = SettingNames { ca_file: "ResponseURL", secret: "ResponseURL" };
    let transport = HttpTransport::with_names(config, Nobody, names).map_err(|error| error.to_string())?;
    let body = serde_json::to_vec(response).map_err(|error| error.to_string())?;
    // The URL is signed for an empty content type.
    let request = Request { method: "PUT", path, content_type: "", body: body.into() };
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = deadline.min(Instant::now() + ATTEMPT);
        let why = match transport.send(request.clone(), attempt).await {
            Ok(Response { status: 200..300, .. }) => return Ok(()),
            Ok(Response { status: status @ 400..500, .. }) => {
                return Err(format!("CloudFormation is not told: {host} answers {status}; has the request expired?"));
            }
            Ok(Response { status, .. }) => format!("{host} answers {status}"),
            Err(failure) => failure.to_string(),
        };
        if Instant::now() + pause >= deadline {
            let hint = "the function needs a way to S3: a gateway endpoint in its VPC, or NAT";
            return Err(format!("CloudFormation is not told: {why}; {hint}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_they_were_signed() {
        let url =
            "https://bucket.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3A1/x%7Cy?AWSAccessKeyId=A&Signature=a%2Fb%3D";
        let (config, path) = place(url).expect("a URL");
        assert_eq!((config.host.as_str(), config.port, config.tls), ("bucket.s3.amazonaws.com", 443, true));
        assert_eq!(path, "/arn%3Aaws%3Acloudformation%3A1/x%7Cy?AWSAccessKeyId=A&Signature=a%2Fb%3D");
        let (config, _) = place("http://127.0.0.1:8000/a").expect("a URL");
        assert_eq!((config.port, config.tls), (8000, false));
        for wrong in ["", "text", "ftp://h/a", "http://example.com/a", "/a", "https:///a"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
