//! The SDK client: one TLS provider, and no credentials needed for a service on this machine.

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_dynamodbstreams::Client;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Where DynamoDB Streams are.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The endpoint; by default what `AWS_ENDPOINT_URL_DYNAMODB_STREAMS` or `AWS_ENDPOINT_URL` say, or AWS.
    pub endpoint_url: Option<String>,
    /// The region; by default what the environment or the profile say.
    pub region: Option<String>,
}

/// A client for DynamoDB Streams. Region and credentials come from where the AWS CLI takes them. An endpoint on this
/// machine needs neither: without them it gets `us-east-1` and made-up credentials.
pub async fn connect(connection: &Connection) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    let endpoint = connection
        .endpoint_url
        .clone()
        .or_else(|| variable("AWS_ENDPOINT_URL_DYNAMODB_STREAMS"))
        .or_else(|| variable("AWS_ENDPOINT_URL"));
    let is_local = endpoint.as_deref().is_some_and(is_this_machine);
    let has_region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).is_some();
    match &connection.region {
        Some(region) => loader = loader.region(Region::new(region.clone())),
        None if is_local && !has_region => loader = loader.region(Region::from_static("us-east-1")),
        None => {}
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if is_local && variable("AWS_ACCESS_KEY_ID").is_none() && variable("AWS_PROFILE").is_none() {
        loader = loader.credentials_provider(Credentials::new("local", "local", None, None, "local endpoint"));
    }
    Client::new(&loader.load().await)
}

/// Whether an endpoint's host is this machine.
fn is_this_machine(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host == "::1" || host.starts_with("127.")
}

#[expect(clippy::disallowed_methods, reason = "the SDK's own variables, looked at to know what it is going to do")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn endpoints_of_this_machine_are_known() {
        for local in ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:8000", "localhost"] {
            assert!(is_this_machine(local), "{local}");
        }
        for remote in
            ["https://streams.dynamodb.eu-west-1.amazonaws.com", "http://localhost.example.com", "http://10.0.0.1"]
        {
            assert!(!is_this_machine(remote), "{remote}");
        }
    }
}
