//! Where a bucket of a region is.

use crate::ConfigError;
use http::Uri;

/// Host, port, whether TLS is spoken, and what every path begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// Empty where the host names the bucket, else `/BUCKET`
    /// ([both forms](https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html)).
    pub(super) root: String,
}

impl Endpoint {
    /// A bucket's public endpoint.
    ///
    /// [Endpoints](https://docs.aws.amazon.com/general/latest/gr/s3.html) of partitions that have a suffix of their own.
    pub(super) fn of_region(region: &str, bucket: &str) -> Result<Self, ConfigError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(plain) {
            return Err(ConfigError(format!("`{region}` is no name of an AWS region")));
        }
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let service = format!("s3.{region}.{suffix}");
        // S3's certificates stand for one label before the service's name, so they fit no bucket with a period.
        let (host, root) = if bucket.contains('.') {
            (service, format!("/{bucket}"))
        } else {
            (format!("{bucket}.{service}"), String::new())
        };
        Ok(Self { host, port: 443, tls: true, root })
    }

    /// An endpoint that is given as a URL; a host of somebody's own has no names for buckets.
    pub(super) fn parse(url: &str, bucket: &str) -> Result<Self, ConfigError> {
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
        Ok(Self { host: host.to_owned(), port, tls, root: format!("/{bucket}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, port: u16, tls: bool, root: &str) -> Result<Endpoint, ConfigError> {
        Ok(Endpoint { host: host.to_owned(), port, tls, root: root.to_owned() })
    }

    #[test]
    fn regions() {
        let of_region = Endpoint::of_region;
        assert_eq!(of_region("eu-west-1", "letters"), endpoint("letters.s3.eu-west-1.amazonaws.com", 443, true, ""));
        assert_eq!(
            of_region("cn-north-1", "letters"),
            endpoint("letters.s3.cn-north-1.amazonaws.com.cn", 443, true, "")
        );
        assert_eq!(
            of_region("eu-west-1", "my.letters"),
            endpoint("s3.eu-west-1.amazonaws.com", 443, true, "/my.letters")
        );
        for region in ["", "eu-west-1.example.com", "eu/x", "EU"] {
            assert!(of_region(region, "letters").is_err(), "{region}");
        }
    }

    #[test]
    fn urls() {
        let parse = |url| Endpoint::parse(url, "letters");
        assert_eq!(parse("http://127.0.0.1:9000"), endpoint("127.0.0.1", 9000, false, "/letters"));
        assert_eq!(parse("http://[::1]:9000/"), endpoint("[::1]", 9000, false, "/letters"));
        assert_eq!(parse("https://s3.example.com"), endpoint("s3.example.com", 443, true, "/letters"));
        assert_eq!(parse("http://localhost"), endpoint("localhost", 80, false, "/letters"));
        for url in ["", "localhost:9000", "ftp://a", "http://", "http://a/b", "http://a/?b", "http://me:hunter2@a"] {
            let error = parse(url).expect_err(url).to_string();
            assert!(error.contains("http[s]://HOST[:PORT]") && !error.contains("hunter2"), "{error}");
        }
    }
}
