//! What a target needs to authenticate, and where it asks for it.

use crate::settings::Secret;

/// A login kept in a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An API key as the target hands it out.
    ApiKey(Secret),
}

/// Keys that sign requests to AWS services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
}

/// Hands out credentials. Implementations cache.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Credentials {
    /// The login from the secret, if one is configured. `refresh` asks for it anew: the target has refused the last one.
    ///
    /// # Errors
    /// When the secret cannot be read; the text says why and holds no secret.
    async fn login(&self, refresh: bool) -> Result<Option<Login>, String>;

    /// The keys of the function's own role.
    ///
    /// # Errors
    /// When there are none.
    async fn aws_keys(&self) -> Result<AwsKeys, String>;
}
