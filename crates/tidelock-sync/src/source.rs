//! How the source is read again: the sources of this build behind one type.

use crate::authentication::Authentication;
use std::time::Instant;
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::settings::{Settings, SourceAddress};
use tidelock_core::slow::{ReadResult, Source};
use tidelock_lambda::{Environment, Fatal};

/// Any source that this build can read.
pub(crate) enum AnySource {
    #[cfg(feature = "aws")]
    DynamoDb(Box<tidelock_dynamodb::DynamoDbSource<tidelock_aws::AwsCredentials>>),
    #[cfg(feature = "mongodb")]
    MongoDb(Box<tidelock_mongodb::MongoDbSource<crate::authentication::MongoDbLogin>>),
}

impl AnySource {
    /// The source that the settings name, if any.
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only DynamoDB looks at the environment"))]
    pub(crate) fn start(
        settings: &Settings,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Option<Self>, Fatal> {
        match &settings.source {
            None => Ok(None),
            #[cfg(feature = "aws")]
            Some(SourceAddress::DynamoDb) => dynamodb(authentication, environment).map(Some),
            #[cfg(not(feature = "aws"))]
            Some(SourceAddress::DynamoDb) => Err(not_built("dynamodb:", "aws")),
            #[cfg(feature = "mongodb")]
            Some(SourceAddress::MongoDb(uri)) => mongodb(settings, uri, authentication).map(Some),
            #[cfg(not(feature = "mongodb"))]
            Some(SourceAddress::MongoDb(_)) => Err(not_built("mongodb:", "mongodb")),
        }
    }
}

impl AnySource {
    /// How its address begins.
    pub(crate) fn scheme(&self) -> &'static str {
        match *self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(_) => "dynamodb:",
            #[cfg(feature = "mongodb")]
            Self::MongoDb(_) => "mongodb:",
        }
    }
}

#[cfg(not(all(feature = "aws", feature = "mongodb")))]
fn not_built(kind: &str, feature: &str) -> Fatal {
    Fatal::new("Tidelock.Settings", format!("TIDELOCK_SOURCE: {kind} needs a build with the feature `{feature}`"))
}

#[cfg(feature = "mongodb")]
fn mongodb(
    settings: &Settings,
    uri: &tidelock_core::settings::Secret,
    authentication: &Authentication,
) -> Result<AnySource, Fatal> {
    use tidelock_mongodb::{MongoDbSource, MongoDbSourceConfig};
    let config = MongoDbSourceConfig { uri: uri.clone(), ca_file: settings.source_ca_file.clone() };
    let login = authentication.of_mongodb_source(settings.source_secret.as_deref());
    let source = MongoDbSource::new(config, login);
    let source = source.map_err(|problems| Fatal::new("Tidelock.Settings", problems.join("; ")))?;
    Ok(AnySource::MongoDb(Box::new(source)))
}

#[cfg(feature = "aws")]
fn dynamodb(authentication: &Authentication, environment: &Environment) -> Result<AnySource, Fatal> {
    use tidelock_dynamodb::{DynamoDbConfig, DynamoDbSource};
    let refused = |problem: String| Fatal::new("Tidelock.Settings", format!("TIDELOCK_SOURCE: {problem}"));
    let region = environment.get("AWS_REGION");
    let region = region.ok_or_else(|| {
        refused("dynamodb: needs AWS_REGION, which Lambda sets and you must set elsewhere".to_owned())
    })?;
    let bundle = environment.get("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let ca_pem = bundle.map(|path| {
        std::fs::read(path).map_err(|error| refused(format!("AWS_CA_BUNDLE: `{path}` cannot be read: {error}")))
    });
    let endpoint = environment.get("AWS_ENDPOINT_URL_DYNAMODB").or(environment.get("AWS_ENDPOINT_URL"));
    let config = DynamoDbConfig {
        region: region.to_owned(),
        endpoint: endpoint.map(str::to_owned),
        ca_pem: ca_pem.transpose()?,
    };
    let source = DynamoDbSource::new(config, authentication.credentials());
    Ok(AnySource::DynamoDb(Box::new(source.map_err(|error| refused(error.to_string()))?)))
}

impl Source for AnySource {
    #[cfg_attr(
        not(any(feature = "aws", feature = "mongodb")),
        expect(unused_variables, reason = "there is no source to read")
    )]
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, deadline: Instant) -> Vec<ReadResult> {
        match *self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(ref source) => source.read(origin, keys, format, deadline).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(ref source) => source.read(origin, keys, format, deadline).await,
        }
    }
}
