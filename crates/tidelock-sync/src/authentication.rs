//! Credentials of a function, with or without AWS in the build.

use tidelock_core::credentials::{AwsKeys, Login};
use tidelock_core::settings::{Secret, Settings, TargetAddress};
use tidelock_lambda::Environment;

#[cfg(feature = "aws")]
use std::rc::Rc;

/// What credentials are made from.
#[cfg_attr(
    not(any(feature = "opensearch", feature = "mongodb")),
    expect(dead_code, reason = "no target asks for credentials")
)]
pub(crate) struct Authentication {
    #[cfg(feature = "aws")]
    pub(crate) secrets: Rc<tidelock_aws::Secrets>,
    pub(crate) secret: Option<String>,
    pub(crate) fixed: Option<Login>,
    #[cfg(not(feature = "aws"))]
    pub(crate) keys: Option<AwsKeys>,
}

impl Authentication {
    pub(crate) fn new(settings: &Settings, environment: &Environment) -> Self {
        let fixed = match &settings.target {
            TargetAddress::OpenSearch(endpoint) => endpoint.user.clone(),
            _ => None,
        };
        Self {
            secret: settings.secret.clone(),
            fixed: fixed.map(|(user, password)| Login::Password { user, password }),
            ..Self::bare(environment)
        }
    }

    /// Without a target's login.
    pub(crate) fn bare(environment: &Environment) -> Self {
        let keys = environment.get("AWS_ACCESS_KEY_ID").zip(environment.get("AWS_SECRET_ACCESS_KEY"));
        let keys = keys.map(|(id, secret)| AwsKeys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret),
            session_token: environment.get("AWS_SESSION_TOKEN").map(Secret::new),
        });
        Self {
            #[cfg(feature = "aws")]
            secrets: Rc::new(tidelock_aws::Secrets::new(
                crate::source::secrets_manager(environment),
                tidelock_aws::Keys::new(keys),
            )),
            #[cfg(not(feature = "aws"))]
            keys,
            secret: None,
            fixed: None,
        }
    }

    /// The text of a secret.
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "with AWS it asks a service"))]
    pub(crate) async fn secret_text(&self, name: &str) -> Result<Secret, String> {
        #[cfg(feature = "aws")]
        return self.secrets.text(name).await;
        #[cfg(not(feature = "aws"))]
        Err(format!("`{name}` needs a build with the feature `aws`, or file:PATH"))
    }

    /// The credentials for a client.
    #[cfg(feature = "aws")]
    #[cfg_attr(
        not(any(feature = "opensearch", feature = "mongodb")),
        expect(dead_code, reason = "no target asks for credentials")
    )]
    pub(crate) fn credentials(&self) -> tidelock_aws::AwsCredentials {
        tidelock_aws::AwsCredentials::new(Rc::clone(&self.secrets), self.secret.clone(), self.fixed.clone())
    }

    /// The credentials for a client: without AWS in the build, those of the URL and the environment alone.
    #[cfg(all(not(feature = "aws"), any(feature = "opensearch", feature = "mongodb")))]
    pub(crate) fn credentials(&self) -> WithoutAws {
        let secret = self.secret.as_ref().map(|_| "TIDELOCK_TARGET_SECRET");
        WithoutAws { secret, fixed: self.fixed.clone(), keys: self.keys.clone() }
    }

    /// The login for a source of MongoDB, which has a secret of its own.
    #[cfg(feature = "mongodb")]
    pub(crate) fn of_mongodb_source(&self, secret: Option<&str>) -> MongoDbLogin {
        #[cfg(feature = "aws")]
        let credentials = tidelock_aws::AwsCredentials::new(Rc::clone(&self.secrets), secret.map(str::to_owned), None);
        #[cfg(not(feature = "aws"))]
        let credentials =
            WithoutAws { secret: secret.map(|_| "TIDELOCK_SOURCE_SECRET"), fixed: None, keys: self.keys.clone() };
        MongoDbLogin(credentials)
    }
}

/// Credentials of a build without AWS.
#[derive(Debug)]
#[cfg(all(not(feature = "aws"), any(feature = "opensearch", feature = "mongodb")))]
pub struct WithoutAws {
    /// The setting that names a secret, where one does.
    secret: Option<&'static str>,
    fixed: Option<Login>,
    keys: Option<AwsKeys>,
}

#[cfg(all(not(feature = "aws"), any(feature = "opensearch", feature = "mongodb")))]
impl tidelock_core::credentials::Credentials for WithoutAws {
    async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
        if let Some(setting) = self.secret {
            return Err(format!("{setting} needs a build with the feature `aws`"));
        }
        Ok(self.fixed.clone())
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        self.keys.clone().ok_or_else(|| "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set".to_owned())
    }
}

/// The credentials as MongoDB's target and source ask for them.
#[cfg(feature = "mongodb")]
#[derive(Debug)]
pub struct MongoDbLogin(
    #[cfg(feature = "aws")] pub(crate) tidelock_aws::AwsCredentials,
    #[cfg(not(feature = "aws"))] pub(crate) WithoutAws,
);

#[cfg(feature = "mongodb")]
impl tidelock_mongodb::Credentials for MongoDbLogin {
    async fn login(&self, refresh: bool) -> Result<Option<tidelock_mongodb::Login>, String> {
        use tidelock_core::credentials::Credentials as _;
        match self.0.login(refresh).await? {
            Some(Login::Password { user, password }) => Ok(Some(tidelock_mongodb::Login { username: user, password })),
            Some(Login::ApiKey(_)) => {
                Err("the secret holds an `apikey`; MongoDB needs `username` and `password`".to_owned())
            }
            None => Ok(None),
        }
    }
}
