//! Queue and bucket against a scripted server, and against real ones where there are any.
//!
//! Real servers: `TIDELOCK_TEST_AWS`, a URL. Without it their tests are skipped, unless `TIDELOCK_REQUIRE_SERVICES=1` says that
//! they must run.

mod bucket;
mod bucket_troubles;
mod queue;
mod queue_troubles;
mod server;
mod service;

use crate::{BucketConfig, QueueConfig, S3Bucket, SqsQueue};
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidelock_core::credentials::{AwsKeys, Credentials, Login};
use tidelock_core::settings::Secret;

/// Time enough for everything that ends.
const LONG: Duration = Duration::from_secs(60);

/// Time for a few attempts, where there is no end.
const SHORT: Duration = Duration::from_secs(1);

fn soon() -> Instant {
    Instant::now() + LONG
}

/// Keys, or none.
struct Role(bool);

impl Credentials for Role {
    async fn login(&self, _: bool) -> Result<Option<Login>, String> {
        Ok(None)
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        let keys = || AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
        };
        self.0.then(keys).ok_or_else(|| "there are no AWS credentials".to_owned())
    }
}

fn bucket_at(url: &str, name: &str, role: Role) -> S3Bucket<Role> {
    let (bucket, region, endpoint) = (name.to_owned(), "us-east-1".to_owned(), Some(url.to_owned()));
    S3Bucket::new(BucketConfig { bucket, region, endpoint, ca_pem: None }, role).expect("a bucket")
}

fn queue_at(endpoint: &str, url: &str) -> SqsQueue<Role> {
    let (url, region, endpoint) = (url.to_owned(), "us-east-1".to_owned(), Some(endpoint.to_owned()));
    SqsQueue::new(QueueConfig { url, region, endpoint, ca_pem: None }, Role(true)).expect("a standard queue")
}

/// The SDK's configuration for a server on this machine.
async fn sdk(url: &str) -> aws_config::SdkConfig {
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let keys = aws_credential_types::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let loader = aws_config::defaults(aws_config::BehaviorVersion::latest()).http_client(http);
    loader.endpoint_url(url).region(aws_config::Region::new("us-east-1")).credentials_provider(keys).load().await
}

#[expect(clippy::disallowed_methods, reason = "tests read their own settings")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The servers' URL; without it the test is skipped, loudly, or fails where services are required.
fn service() -> Option<String> {
    let url = setting("TIDELOCK_TEST_AWS");
    if url.is_none() {
        let required = setting("TIDELOCK_REQUIRE_SERVICES").as_deref() == Some("1");
        assert!(!required, "TIDELOCK_TEST_AWS is not set");
        // Not `eprintln!`, which the test harness swallows.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: TIDELOCK_TEST_AWS is not set");
    }
    url.map(|url| url.trim_end_matches('/').to_owned())
}

/// A name that no other test has.
fn unique(what: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    format!("{what}-{nanos}")
}
