//! Logins in Secrets Manager.

use crate::keys::Keys;
use crate::service::{ServiceConfig, secret};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidelock_core::credentials::{AwsKeys, Credentials, Login};
use tidelock_core::settings::Secret;
use tokio::sync::Mutex;

/// A refused login is asked for anew at most this often: requests that fail side by side share one refresh.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// The longest that a secret is asked for: what waits for it tries again.
const SECRET_TIME: Duration = Duration::from_secs(10);

/// Secrets Manager, or why it cannot be asked.
#[derive(Debug)]
pub struct Secrets {
    config: Result<ServiceConfig, String>,
    keys: Keys,
}

impl Secrets {
    /// `config` is an error where the environment does not say where the service is.
    #[must_use]
    pub fn new(config: Result<ServiceConfig, String>, keys: Keys) -> Self {
        Self { config, keys }
    }

    /// The text of a secret.
    ///
    /// # Errors
    /// When it cannot be read, or holds no text.
    pub async fn text(&self, name: &str) -> Result<Secret, String> {
        let config = self.config.clone().map_err(|why| format!("the secret `{name}` cannot be read: {why}"))?;
        let text = Box::pin(secret(config, self.keys.clone(), name, Instant::now() + SECRET_TIME)).await?;
        Ok(Secret::new(text))
    }
}

/// Credentials of a function: a login from its secret, keys from its environment.
#[derive(Debug)]
pub struct AwsCredentials {
    secrets: Rc<Secrets>,
    /// Name or ARN of the secret.
    secret: Option<String>,
    /// A login from the target's URL, used where no secret is configured.
    fixed: Option<Login>,
    cached: RefCell<Option<(Login, Instant)>>,
    /// Held while the secret is read, so that whoever waits for it finds it in the cache.
    reading: Mutex<()>,
}

impl AwsCredentials {
    /// See the fields.
    #[must_use]
    pub fn new(secrets: Rc<Secrets>, secret: Option<String>, fixed: Option<Login>) -> Self {
        Self { secrets, secret, fixed, cached: RefCell::default(), reading: Mutex::default() }
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
        let text = self.secrets.text(name).await?;
        let login = login_from_secret(text.expose()).map_err(|problem| format!("the secret `{name}` {problem}"))?;
        self.cached.replace(Some((login.clone(), Instant::now())));
        Ok(Some(login))
    }

    async fn aws_keys(&self) -> Result<AwsKeys, String> {
        self.secrets.keys.aws_keys().await
    }
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
