//! How the source is read again: the sources of this build behind one type.

use crate::authentication::Authentication;
use std::time::Instant;
use tidelock_core::backfill::{Page, Scan, Scanned, Segment};
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::letter::LostBatch;
use tidelock_core::settings::{Settings, SourceAddress};
use tidelock_core::slow::{ReadResult, Source};
use tidelock_core::source::{Fetched, Streams};
use tidelock_lambda::{Environment, Fatal};

/// Any source that this build can read.
pub(crate) enum AnySource {
    #[cfg(feature = "aws")]
    DynamoDb(Box<tidelock_dynamodb::DynamoDbSource<tidelock_aws::AwsCredentials>>),
    #[cfg(feature = "mongodb")]
    MongoDb(Box<tidelock_mongodb::MongoDbSource<crate::authentication::MongoDbLogin>>),
}

/// A source that is opened as the settings say.
pub(crate) trait Open: Source + Sized {
    /// The source that the settings name, if any.
    fn open(
        settings: &Settings,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Option<Self>, Fatal>;
}

/// The tables whose changes come by DynamoDB's streams. A function for which no other source makes sense links no other.
pub(crate) enum Tables {
    #[cfg(feature = "aws")]
    DynamoDb(Box<tidelock_dynamodb::DynamoDbSource<tidelock_aws::AwsCredentials>>),
}

impl Open for Tables {
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only DynamoDB looks at the environment"))]
    fn open(
        settings: &Settings,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Option<Self>, Fatal> {
        match &settings.source {
            None => Ok(None),
            #[cfg(feature = "aws")]
            Some(SourceAddress::DynamoDb) => {
                tables(authentication, environment).map(|source| Some(Self::DynamoDb(source)))
            }
            #[cfg(not(feature = "aws"))]
            Some(SourceAddress::DynamoDb) => Err(not_built("dynamodb:", "aws")),
            // It could never answer for the changes that come: each would be retried until it expires.
            Some(SourceAddress::MongoDb(_)) => Err(Fatal::new(
                "Tidelock.Settings",
                "TIDELOCK_SOURCE: mongodb: is not where this function's changes come from; use dynamodb:",
            )),
        }
    }
}

impl Source for Tables {
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "there is no source to read"))]
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, deadline: Instant) -> Vec<ReadResult> {
        match *self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(ref source) => source.read(origin, keys, format, deadline).await,
        }
    }
}

/// The collections whose changes come by DocumentDB's change streams.
pub(crate) enum Collections {
    #[cfg(feature = "mongodb")]
    MongoDb(Box<tidelock_mongodb::MongoDbSource<crate::authentication::MongoDbLogin>>),
}

impl Open for Collections {
    #[cfg_attr(not(feature = "mongodb"), expect(unused_variables, reason = "there is no source to open"))]
    fn open(settings: &Settings, authentication: &Authentication, _: &Environment) -> Result<Option<Self>, Fatal> {
        match &settings.source {
            None => Ok(None),
            #[cfg(feature = "mongodb")]
            Some(SourceAddress::MongoDb(uri)) => {
                mongodb(settings, uri, authentication).map(|source| Some(Self::MongoDb(source)))
            }
            #[cfg(not(feature = "mongodb"))]
            Some(SourceAddress::MongoDb(_)) => Err(not_built("mongodb:", "mongodb")),
            Some(SourceAddress::DynamoDb) => Err(Fatal::new(
                "Tidelock.Settings",
                "TIDELOCK_SOURCE: dynamodb: is not where this function's changes come from; use mongodb://…",
            )),
        }
    }
}

impl Source for Collections {
    #[cfg_attr(not(feature = "mongodb"), expect(unused_variables, reason = "there is no source to read"))]
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, deadline: Instant) -> Vec<ReadResult> {
        match *self {
            #[cfg(feature = "mongodb")]
            Self::MongoDb(ref source) => source.read(origin, keys, format, deadline).await,
        }
    }
}

impl Open for AnySource {
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only DynamoDB looks at the environment"))]
    fn open(
        settings: &Settings,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Option<Self>, Fatal> {
        match &settings.source {
            None => Ok(None),
            #[cfg(feature = "aws")]
            Some(SourceAddress::DynamoDb) => {
                tables(authentication, environment).map(|source| Some(Self::DynamoDb(source)))
            }
            #[cfg(not(feature = "aws"))]
            Some(SourceAddress::DynamoDb) => Err(not_built("dynamodb:", "aws")),
            #[cfg(feature = "mongodb")]
            Some(SourceAddress::MongoDb(uri)) => {
                mongodb(settings, uri, authentication).map(|source| Some(Self::MongoDb(source)))
            }
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
) -> Result<Box<tidelock_mongodb::MongoDbSource<crate::authentication::MongoDbLogin>>, Fatal> {
    use tidelock_mongodb::{MongoDbSource, MongoDbSourceConfig};
    let config = MongoDbSourceConfig { uri: uri.clone(), ca_file: settings.source_ca_file.clone() };
    let login = authentication.of_mongodb_source(settings.source_secret.as_deref());
    let source = MongoDbSource::new(config, login);
    let source = source.map_err(|problems| Fatal::new("Tidelock.Settings", problems.join("; ")))?;
    Ok(Box::new(match &settings.source_cluster {
        Some(name) => source.of_cluster(name),
        None => source,
    }))
}

#[cfg(feature = "aws")]
fn tables(
    authentication: &Authentication,
    environment: &Environment,
) -> Result<Box<tidelock_dynamodb::DynamoDbSource<tidelock_aws::AwsCredentials>>, Fatal> {
    let service = Service::new("TIDELOCK_SOURCE: dynamodb:", environment)?;
    let source = tidelock_dynamodb::DynamoDbSource::new(service.dynamodb("DYNAMODB"), authentication.credentials());
    Ok(Box::new(source.map_err(|error| service.refused(error))?))
}

#[cfg(feature = "aws")]
fn streams(authentication: &Authentication, environment: &Environment) -> Result<Option<AnyStreams>, Fatal> {
    // Outside AWS there may be none, and nothing that needs it.
    if environment.get("AWS_REGION").is_none() {
        return Ok(None);
    }
    let service = Service::new("streams", environment)?;
    let config = service.dynamodb("DYNAMODB_STREAMS");
    let streams = tidelock_dynamodb::DynamoDbStreams::new(config, authentication.credentials());
    Ok(Some(AnyStreams::DynamoDb(Box::new(streams.map_err(|error| service.refused(error))?))))
}

/// The state in a table of DynamoDB.
#[cfg(feature = "aws")]
pub(crate) fn state(
    table: String,
    authentication: &Authentication,
    environment: &Environment,
) -> Result<crate::remembered::AnyState, Fatal> {
    let service = Service::new("TIDELOCK_STATE: dynamodb:", environment)?;
    let config = service.dynamodb("DYNAMODB");
    let state = tidelock_dynamodb::DynamoDbState::new(config, table, authentication.credentials());
    Ok(crate::remembered::AnyState::DynamoDb(Box::new(state.map_err(|error| service.refused(error))?)))
}

/// A bucket of S3.
#[cfg(feature = "aws")]
pub(crate) fn s3(
    bucket: String,
    setting: &str,
    authentication: &Authentication,
    environment: &Environment,
) -> Result<crate::waiting::AnyBucket, Fatal> {
    let service = Service::new(&format!("{setting}: S3"), environment)?;
    let config = tidelock_aws::BucketConfig {
        bucket,
        region: service.region.clone(),
        endpoint: service.endpoint("S3"),
        ca_pem: service.ca_pem.clone(),
    };
    let bucket = tidelock_aws::S3Bucket::new(config, authentication.credentials());
    Ok(crate::waiting::AnyBucket::S3(Box::new(bucket.map_err(|error| service.refused(error))?)))
}

/// The text of a parameter of Systems Manager.
#[cfg(feature = "aws")]
pub(crate) async fn parameter(
    name: &str,
    authentication: &Authentication,
    environment: &Environment,
) -> Result<String, Fatal> {
    let service = Service::new("TIDELOCK_PIPELINE: ssm:", environment)?;
    let until = Instant::now() + PARAMETER_TIME;
    let text = tidelock_aws::parameter(service.json("SSM"), authentication.credentials(), name, until).await;
    text.map_err(|why| Fatal::new("Tidelock.Settings", format!("TIDELOCK_PIPELINE: {why}")))
}

/// The text of a parameter of Systems Manager.
#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "with AWS it asks a service")]
pub(crate) async fn parameter(_: &str, _: &Authentication, _: &Environment) -> Result<String, Fatal> {
    let problem = "TIDELOCK_PIPELINE: ssm: needs a build with the feature `aws`";
    Err(Fatal::new("Tidelock.Settings", problem))
}

/// How long a parameter is asked for: Lambda gives a function
/// [10 seconds](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib) to start.
#[cfg(feature = "aws")]
const PARAMETER_TIME: std::time::Duration = std::time::Duration::from_secs(6);

/// Where secrets are, or why nobody knows.
#[cfg(feature = "aws")]
pub(crate) fn secrets_manager(environment: &Environment) -> Result<tidelock_aws::ServiceConfig, String> {
    let service = Service::new("Secrets Manager", environment).map_err(|fatal| fatal.message)?;
    Ok(service.json("SECRETS_MANAGER"))
}

/// A queue of SQS.
#[cfg(feature = "aws")]
pub(crate) fn sqs(
    url: String,
    setting: &str,
    authentication: &Authentication,
    environment: &Environment,
) -> Result<crate::waiting::AnyQueue, Fatal> {
    // Most queues' URLs name their region.
    let service = Service::anywhere(setting, environment)?;
    let config = tidelock_aws::QueueConfig {
        url,
        region: service.region.clone(),
        endpoint: service.endpoint("SQS"),
        ca_pem: service.ca_pem.clone(),
    };
    let queue = tidelock_aws::SqsQueue::new(config, authentication.credentials());
    Ok(crate::waiting::AnyQueue::Sqs(Box::new(queue.map_err(|error| service.refused(error))?)))
}

/// How services of AWS are reached, as the SDK's own variables say.
#[cfg(feature = "aws")]
struct Service<'a> {
    /// What asks for it, for messages.
    asking: String,
    environment: &'a Environment,
    region: String,
    ca_pem: Option<Vec<u8>>,
}

#[cfg(feature = "aws")]
impl<'a> Service<'a> {
    fn new(asking: &str, environment: &'a Environment) -> Result<Self, Fatal> {
        let service = Self::anywhere(asking, environment)?;
        if service.region.is_empty() {
            let problem = format!("{asking} needs AWS_REGION, which Lambda sets and you must set elsewhere");
            return Err(Fatal::new("Tidelock.Settings", problem));
        }
        Ok(service)
    }

    /// Where `AWS_REGION` is not set, the region is empty.
    fn anywhere(asking: &str, environment: &'a Environment) -> Result<Self, Fatal> {
        let refused = |problem: String| Fatal::new("Tidelock.Settings", problem);
        let region = environment.get("AWS_REGION").unwrap_or_default();
        let bundle = environment.get("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        let ca_pem = bundle.map(|path| {
            std::fs::read(path).map_err(|error| refused(format!("AWS_CA_BUNDLE: `{path}` cannot be read: {error}")))
        });
        Ok(Self { asking: asking.to_owned(), environment, region: region.to_owned(), ca_pem: ca_pem.transpose()? })
    }

    /// `AWS_ENDPOINT_URL_SERVICE`, else `AWS_ENDPOINT_URL`.
    fn endpoint(&self, service: &str) -> Option<String> {
        let own = self.environment.get(&format!("AWS_ENDPOINT_URL_{service}"));
        own.or_else(|| self.environment.get("AWS_ENDPOINT_URL")).map(str::to_owned)
    }

    fn json(&self, service: &str) -> tidelock_aws::ServiceConfig {
        let fips = self.environment.get("AWS_USE_FIPS_ENDPOINT");
        tidelock_aws::ServiceConfig {
            region: self.region.clone(),
            endpoint: self.endpoint(service),
            fips: fips.is_some_and(|value| value.eq_ignore_ascii_case("true")),
            ca_pem: self.ca_pem.clone(),
        }
    }

    fn dynamodb(&self, service: &str) -> tidelock_dynamodb::DynamoDbConfig {
        tidelock_dynamodb::DynamoDbConfig {
            region: self.region.clone(),
            endpoint: self.endpoint(service),
            ca_pem: self.ca_pem.clone(),
        }
    }

    fn refused(&self, problem: impl std::fmt::Display) -> Fatal {
        Fatal::new("Tidelock.Settings", format!("{}: {problem}", self.asking))
    }
}

impl Scan for AnySource {
    #[cfg_attr(
        not(any(feature = "aws", feature = "mongodb")),
        expect(unused_variables, reason = "there is no source to scan")
    )]
    async fn survey(&self, origin: &str, segments: u32, deadline: Instant) -> Result<Scanned, Failure> {
        match *self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(ref source) => source.survey(origin, segments, deadline).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(ref source) => source.survey(origin, segments, deadline).await,
        }
    }

    #[cfg_attr(
        not(any(feature = "aws", feature = "mongodb")),
        expect(unused_variables, reason = "there is no source to scan")
    )]
    async fn page(
        &self,
        origin: &str,
        scanned: &Scanned,
        segment: Segment,
        from: Option<&str>,
        format: Format,
        deadline: Instant,
    ) -> Result<Page, Failure> {
        match *self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(ref source) => source.page(origin, scanned, segment, from, format, deadline).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(ref source) => source.page(origin, scanned, segment, from, format, deadline).await,
        }
    }
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

/// Streams that this build can read again.
pub(crate) enum AnyStreams {
    #[cfg(feature = "aws")]
    DynamoDb(Box<tidelock_dynamodb::DynamoDbStreams<tidelock_aws::AwsCredentials>>),
}

impl AnyStreams {
    /// The streams of the function's own region, where it has one.
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only DynamoDB has streams"))]
    pub(crate) fn start(authentication: &Authentication, environment: &Environment) -> Result<Option<Self>, Fatal> {
        #[cfg(feature = "aws")]
        return streams(authentication, environment);
        #[cfg(not(feature = "aws"))]
        Ok(None)
    }
}

impl Streams for AnyStreams {
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "there is no stream to read"))]
    async fn records(&self, batch: &LostBatch, deadline: Instant) -> Result<Fetched, Failure> {
        match *self {
            #[cfg(feature = "aws")]
            Self::DynamoDb(ref streams) => records(streams, batch, deadline).await,
        }
    }
}

/// All records of a batch, however many answers that takes.
#[cfg(feature = "aws")]
async fn records<C: tidelock_core::credentials::Credentials>(
    streams: &tidelock_dynamodb::DynamoDbStreams<C>,
    batch: &LostBatch,
    deadline: Instant,
) -> Result<Fetched, Failure> {
    let mut found: Vec<String> = Vec::new();
    let mut forgotten = None;
    let mut from = Some(batch.start.clone());
    while let Some(start) = from {
        let part = streams.records(&batch.stream, &batch.shard, &start, &batch.end, deadline).await?;
        found.extend(part.records);
        forgotten = forgotten.or(part.forgotten);
        if part.next.as_ref() == Some(&start) {
            let detail = format!("stream `{}` gives no records from {start} on", batch.stream);
            return Err(Failure::new(tidelock_core::cause::Cause::SourceUnreadable, detail));
        }
        from = part.next;
    }
    Ok(Fetched { records: format!("[{}]", found.join(",")), forgotten })
}
