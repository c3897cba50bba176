//! Where user and password come from when they are not in the connection string.

use tidelock_core::settings::Secret;

/// A user and the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Gives the login, such as the contents of a secret.
#[expect(async_fn_in_trait, reason = "functions run on one thread, so the futures need not be Send")]
pub trait Credentials {
    /// The login to use, or `None` to use the connection string's.
    ///
    /// `refresh` asks for a login read anew, because the server has refused the last one.
    ///
    /// # Errors
    /// Why there is none, without the secret itself.
    async fn login(&self, refresh: bool) -> Result<Option<Login>, String>;
}

/// No login of its own: the connection string's user, if it names one.
#[derive(Debug, Clone, Copy, Default)]
pub struct FromUri;

impl Credentials for FromUri {
    async fn login(&self, _refresh: bool) -> Result<Option<Login>, String> {
        Ok(None)
    }
}
