//! Where DynamoDB and its streams are in a region.

use http::Uri;
use std::fmt;

/// Region, endpoint or certificates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Host, port, and whether TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Endpoint {
    /// The public endpoint of a service (`dynamodb`, `streams.dynamodb`) in a region.
    ///
    /// [Endpoints](https://docs.aws.amazon.com/general/latest/gr/ddb.html) of partitions that have a suffix of their own.
    pub(crate) fn of_region(service: &str, region: &str) -> Result<Self, ConfigError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(plain) {
            return Err(ConfigError(format!("`{region}` is no name of an AWS region")));
        }
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Ok(Self { host: format!("{service}.{region}.{suffix}"), port: 443, tls: true })
    }

    /// An endpoint that is given as a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let refused = |why: &str| ConfigError(format!("the endpoint {why}; it must be http[s]://HOST[:PORT]"));
        let uri: Uri = url.parse().map_err(|_| refused("is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused("has another scheme than http or https")),
        };
        // A user's name could only be there by mistake, and must not be printed.
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refused("names no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(refused("holds a user"));
        }
        if !matches!(uri.path_and_query().map_or("", |path| path.as_str()), "" | "/") {
            return Err(refused("has a path"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, port: u16, tls: bool) -> Result<Endpoint, ConfigError> {
        Ok(Endpoint { host: host.to_owned(), port, tls })
    }

    #[test]
    fn regions() {
        let of = |region| Endpoint::of_region("dynamodb", region);
        assert_eq!(of("eu-west-1"), endpoint("dynamodb.eu-west-1.amazonaws.com", 443, true));
        assert_eq!(of("us-gov-west-1"), endpoint("dynamodb.us-gov-west-1.amazonaws.com", 443, true));
        assert_eq!(of("cn-north-1"), endpoint("dynamodb.cn-north-1.amazonaws.com.cn", 443, true));
        for region in ["", "eu-west-1.example.com", "eu/x", "EU"] {
            assert!(of(region).is_err(), "{region}");
        }
        let streams = |region| Endpoint::of_region("streams.dynamodb", region);
        assert_eq!(streams("eu-west-1"), endpoint("streams.dynamodb.eu-west-1.amazonaws.com", 443, true));
        assert_eq!(streams("cn-north-1"), endpoint("streams.dynamodb.cn-north-1.amazonaws.com.cn", 443, true));
    }

    #[test]
    fn urls() {
        assert_eq!(Endpoint::parse("http://127.0.0.1:8000"), endpoint("127.0.0.1", 8000, false));
        assert_eq!(Endpoint::parse("https://vpce-1.dynamodb.us-east-1.vpce.amazonaws.com/").map(|e| e.port), Ok(443));
        assert_eq!(Endpoint::parse("http://[::1]:8000"), endpoint("[::1]", 8000, false));
        assert_eq!(Endpoint::parse("http://localhost"), endpoint("localhost", 80, false));
        for url in ["", "localhost:8000", "ftp://a", "http://", "http://a/b", "http://a/?b", "http://me:hunter2@a"] {
            let error = Endpoint::parse(url).expect_err(url).to_string();
            assert!(error.contains("http[s]://HOST[:PORT]") && !error.contains("hunter2"), "{error}");
        }
    }
}
