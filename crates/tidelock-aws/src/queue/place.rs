//! Where a queue is, by its URL.

use crate::ConfigError;
use http::Uri;

/// Host, port, whether TLS is spoken, and the region that requests are signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) region: String,
}

impl Place {
    /// The host of a queue's URL, unless `endpoint` (`http[s]://HOST[:PORT]`) says another one. A public host names its region
    /// ([endpoints](https://docs.aws.amazon.com/general/latest/gr/sqs-service.html)); else it is `region`.
    pub(crate) fn of(queue_url: &str, endpoint: Option<&str>, region: &str) -> Result<Self, ConfigError> {
        let queue = parse(queue_url).map_err(|why| ConfigError(format!("the queue's URL {why}")))?;
        let region = region_of(&queue.host).unwrap_or(region).to_owned();
        if region.is_empty() {
            return Err(ConfigError("needs AWS_REGION, which Lambda sets and you must set elsewhere".to_owned()));
        }
        let place = match endpoint {
            Some(url) => parse(url).map_err(|why| ConfigError(format!("the endpoint {why}")))?,
            None => queue,
        };
        Ok(Self { region, ..place })
    }
}

/// `sqs.REGION.amazonaws.com[.cn]`, and the names of before.
fn region_of(host: &str) -> Option<&str> {
    let own = host.strip_suffix(".amazonaws.com.cn").or_else(|| host.strip_suffix(".amazonaws.com"))?;
    let region = own.strip_prefix("sqs.").or_else(|| own.strip_suffix(".queue"))?;
    (!region.is_empty() && !region.contains('.')).then_some(region)
}

/// The region is not known yet.
fn parse(url: &str) -> Result<Place, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is none")?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("has another scheme than http or https"),
    };
    // A user's name could only be there by mistake, and must not be printed.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a user");
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("names no host")?;
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok(Place { host: host.to_owned(), port, tls, region: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let of = |url: &str, endpoint: Option<&str>| {
            Place::of(url, endpoint, "eu-central-1").map(|place| (place.host, place.port, place.tls, place.region))
        };
        for (url, host, port, tls, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/1/q", "sqs.eu-west-1.amazonaws.com", 443, true, "eu-west-1"),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "sqs.cn-north-1.amazonaws.com.cn", 443, true, "cn-north-1"),
            ("https://us-east-2.queue.amazonaws.com/1/q", "us-east-2.queue.amazonaws.com", 443, true, "us-east-2"),
            (
                "https://vpce-1.sqs.us-east-1.vpce.amazonaws.com/1/q",
                "vpce-1.sqs.us-east-1.vpce.amazonaws.com",
                443,
                true,
                "eu-central-1",
            ),
            ("http://127.0.0.1:5000/1/q", "127.0.0.1", 5000, false, "eu-central-1"),
        ] {
            assert_eq!(of(url, None), Ok((host.to_owned(), port, tls, region.to_owned())), "{url}");
        }
        assert!(Place::of("http://localhost:4566/1/q", None, "").expect_err("no region").0.contains("AWS_REGION"));
        let elsewhere = of("https://sqs.eu-west-1.amazonaws.com/1/q", Some("http://localhost:4566"));
        assert_eq!(elsewhere, Ok(("localhost".to_owned(), 4566, false, "eu-west-1".to_owned())));
        for url in ["", "q", "ftp://a/1/q", "http://", "https://me:hunter2@a/1/q"] {
            let error = of(url, None).expect_err(url).to_string();
            assert!(error.starts_with("the queue's URL") && !error.contains("hunter2"), "{error}");
        }
        assert!(of("http://a/q", Some("b:1")).expect_err("no URL").to_string().starts_with("the endpoint"));
    }
}
