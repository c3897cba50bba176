//! Logins in Secrets Manager, and the keys of the function's role.

use crate::Sdk;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_secretsmanager::Client;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::credentials::{AwsKeys, Credentials, Login};
use tidelock_core::settings::Secret;
use tokio::sync::Mutex;

/// A refused login is asked for anew at most this often: requests that fail side by side share one refresh.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Credentials of a function: a login from its secret, keys from its environment.
#[derive(Debug)]
pub struct AwsCredentials {
    sdk: Rc<Sdk>,
    /// Name or ARN of the secret.
    secret: Option<String>,
    /// A login from the target's URL, used where no secret is configured.
    fixed: Option<Login>,
    /// Keys from the environment, which outlive the environment in Lambda; elsewhere the SDK's provider chain is asked.
    keys: Option<AwsKeys>,
    cached: RefCell<Option<(Login, Instant)>>,
    /// Held while the secret is read, so that whoever waits for it finds it in the cache.
    reading: Mutex<()>,
}

impl AwsCredentials {
    /// See the fields.
    #[must_use]
    pub fn new(sdk: Rc<Sdk>, secret: Option<String>, fixed: Option<Login>, keys: Option<AwsKeys>) -> Self {
        Self { sdk, secret, fixed, keys, cached: RefCell::default(), reading: Mutex::default() }
    }
}

impl Credentials for AwsCredentials {
    async fn login(&self, refresh: bool) -> Result<Option<Login>, String> {
        let Some(name) = &self.secret else { return Ok(self.fixed.clone()) };
        let _alone = self.reading.lock().await;
        let known = self.cached.borrow().clone();
        if let Some((login, read)) = known
            && (!refresh || read.elapsed() < REFRESH_INTERVAL)
        {
            return Ok(Some(login));
        }
        let text = secret_text(&self.sdk, name).await?;
        let login = login_from_secret(text.expose()).map_err(|problem| format!("the secret `{name}` {problem}"))?;
        self.cached.replace(Some((login.clone(), Instant::now())));
        Ok(Some(login))
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        if let Some(keys) = &self.keys {
            return Ok(keys.clone());
        }
        let provider = self.sdk.config().await.credentials_provider().ok_or("there are no AWS credentials")?;
        let found =
            provider.provide_credentials().await.map_err(|error| format!("there are no AWS credentials: {error}"))?;
        Ok(AwsKeys {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: Secret::new(found.secret_access_key()),
            session_token: found.session_token().map(Secret::new),
        })
    }
}

/// The text of a secret.
///
/// # Errors
/// When it cannot be read, or holds no text.
pub async fn secret_text(sdk: &Sdk, name: &str) -> Result<Secret, String> {
    let client = Client::new(sdk.config().await);
    let value = Box::pin(client.get_secret_value().secret_id(name).send()).await.map_err(|error| {
        format!("the secret `{name}` cannot be read: {}", aws_sdk_secretsmanager::error::DisplayErrorContext(&error))
    })?;
    value.secret_string().map(Secret::new).ok_or_else(|| format!("the secret `{name}` holds no text"))
}

/// The login in a secret's text, as RDS, DocumentDB and OpenSearch users store it.
///
/// # Errors
/// When the text is no JSON object with `username` and `password`, or `apikey`; the message holds none of it.
pub fn login_from_secret(text: &str) -> Result<Login, String> {
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|_| "is not JSON".to_owned())?;
    let field = |name: &str| parsed.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    match (field("apikey"), field("username"), field("password")) {
        (Some(key), ..) => Ok(Login::ApiKey(Secret::new(key))),
        (None, Some(user), Some(password)) => Ok(Login::Password { user, password: Secret::new(password) }),
        _ => Err("has neither `username` and `password` nor `apikey`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_as_aws_stores_them() {
        let rds = r#"{"username":"me","password":"pw","engine":"mongo","host":"h","port":27017,"ssl":true}"#;
        assert_eq!(login_from_secret(rds), Ok(Login::Password { user: "me".into(), password: Secret::new("pw") }));
        assert_eq!(login_from_secret(r#"{"apikey":"k"}"#), Ok(Login::ApiKey(Secret::new("k"))));
        for text in ["", "hunter2", "{}", r#"{"username":"hunter2"}"#] {
            let problem = login_from_secret(text).expect_err(text);
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
