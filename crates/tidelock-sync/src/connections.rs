//! Logins and connections for functions that follow no stream.

#[cfg(feature = "opensearch")]
pub use crate::targets::OpenSearchTransport;

use crate::authentication::Authentication;
#[cfg(feature = "mongodb")]
pub use crate::authentication::MongoDbLogin;
use tidelock_lambda::Environment;

/// The login for a source of MongoDB: from the secret of this name, else the connection string's.
#[cfg(feature = "mongodb")]
#[must_use]
pub fn cluster_login(secret: Option<&str>, environment: &Environment) -> MongoDbLogin {
    Authentication::bare(environment).of_mongodb_source(secret)
}

/// Connections to OpenSearch, authenticated as the settings say; nothing is connected yet.
///
/// # Errors
/// When the target is no OpenSearch, or its certificates cannot be used.
#[cfg(feature = "opensearch")]
pub fn open_search(
    settings: &tidelock_core::settings::Settings,
    environment: &Environment,
) -> Result<OpenSearchTransport, tidelock_lambda::Fatal> {
    let tidelock_core::settings::TargetAddress::OpenSearch(endpoint) = &settings.target else {
        let problem = "TIDELOCK_TARGET: this function searches OpenSearch; give opensearch+https://HOST[:PORT]";
        return Err(tidelock_lambda::Fatal::new("Tidelock.Settings", problem));
    };
    crate::targets::transport(settings, endpoint, &Authentication::new(settings, environment), environment)
}
