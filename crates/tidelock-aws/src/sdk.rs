//! The SDK's shared configuration, loaded once.

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::{Builder, tls};
use tokio::sync::OnceCell;

/// The configuration from the environment: region, credentials, endpoints (`AWS_ENDPOINT_URL`, …).
#[derive(Debug, Default)]
pub struct Sdk {
    config: OnceCell<SdkConfig>,
}

impl Sdk {
    /// The configuration, loaded at the first call. Its HTTP client speaks TLS by ring, like all of Tidelock.
    pub async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(|| async { Box::pin(loader().load()).await }).await
    }
}

fn loader() -> ConfigLoader {
    let http = Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http)
}
