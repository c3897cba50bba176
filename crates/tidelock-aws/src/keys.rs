//! The keys that requests are signed with.

#[cfg(feature = "chain")]
use crate::Sdk;
#[cfg(feature = "chain")]
use aws_credential_types::provider::ProvideCredentials as _;
#[cfg(feature = "chain")]
use std::rc::Rc;
use tidelock_core::credentials::{AwsKeys, Credentials, Login};
#[cfg(feature = "chain")]
use tidelock_core::settings::Secret;

/// Keys from the environment, where Lambda puts those of the function's role; with the feature `chain`, where there are none, from
/// the SDK's provider chain: profiles, single sign-on, containers.
#[derive(Debug, Clone)]
pub struct Keys {
    environment: Option<AwsKeys>,
    #[cfg(feature = "chain")]
    sdk: Rc<Sdk>,
}

impl Keys {
    /// `environment` is what the environment holds.
    #[must_use]
    pub fn new(environment: Option<AwsKeys>) -> Self {
        Self {
            environment,
            #[cfg(feature = "chain")]
            sdk: Rc::default(),
        }
    }

    #[cfg(feature = "chain")]
    async fn of_chain(&self) -> Result<AwsKeys, String> {
        let provider = self.sdk.config().await.credentials_provider().ok_or("there are no AWS credentials")?;
        let found =
            provider.provide_credentials().await.map_err(|error| format!("there are no AWS credentials: {error}"))?;
        Ok(AwsKeys {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: Secret::new(found.secret_access_key()),
            session_token: found.session_token().map(Secret::new),
        })
    }

    #[cfg(not(feature = "chain"))]
    #[expect(clippy::unused_async, reason = "with the chain it asks a service")]
    async fn of_chain(&self) -> Result<AwsKeys, String> {
        let why =
            "there are no AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which Lambda sets, are not set";
        Err(why.to_owned())
    }
}

impl Credentials for Keys {
    async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
        Ok(None)
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        match &self.environment {
            Some(keys) => Ok(keys.clone()),
            None => self.of_chain().await,
        }
    }
}
