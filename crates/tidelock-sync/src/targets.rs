//! The targets of this build behind one type.

use crate::authentication::Authentication;
use crate::stdout::StdoutTarget;
use std::time::Instant;
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::fence::{Cleared, Swept, Window};
use tidelock_core::pipeline::Pipeline;
use tidelock_core::settings::{Guards, Settings, TargetAddress};
use tidelock_core::target::{Call, Found, Namespaces, Operation, Outcome, Place, Put, Store, Stored, Target};
use tidelock_core::version::Mark;
use tidelock_lambda::{Environment, Fatal};

#[cfg(all(feature = "opensearch", feature = "aws"))]
type OpenSearchCredentials = tidelock_aws::AwsCredentials;
#[cfg(all(feature = "opensearch", not(feature = "aws")))]
type OpenSearchCredentials = crate::authentication::WithoutAws;
/// Connections to OpenSearch.
#[cfg(feature = "opensearch")]
pub type OpenSearchTransport = tidelock_opensearch::HttpTransport<OpenSearchCredentials>;
#[cfg(feature = "opensearch")]
type OpenSearch = tidelock_opensearch::OpenSearchTarget<OpenSearchTransport>;

#[cfg(feature = "mongodb")]
type MongoDb = tidelock_mongodb::MongoDbTarget<crate::authentication::MongoDbLogin>;

/// Any target that this build has.
pub(crate) enum AnyTarget {
    #[cfg(feature = "opensearch")]
    OpenSearch(Box<OpenSearch>),
    #[cfg(feature = "mongodb")]
    MongoDb(Box<MongoDb>),
    #[cfg(feature = "sqlite")]
    Sqlite(tidelock_sqlite::SqliteTarget),
    Stdout(StdoutTarget),
}

fn refused(problem: impl Into<String>) -> Fatal {
    Fatal::new("Tidelock.Settings", problem)
}

#[cfg(not(all(feature = "opensearch", feature = "mongodb", feature = "sqlite")))]
fn not_built(kind: &str, feature: &str) -> Fatal {
    refused(format!(
        "TIDELOCK_TARGET: this build has no {kind} target; build the function with the feature `{feature}`"
    ))
}

impl AnyTarget {
    /// How it reads the names of places.
    pub(crate) fn namespaces(&self) -> Namespaces {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(_) => Namespaces::Single,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => Namespaces::Databases(target.default_database().map(str::to_owned)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Namespaces::Single,
            Self::Stdout(_) => Namespaces::Single,
        }
    }

    #[cfg_attr(
        not(feature = "opensearch"),
        expect(unused_variables, reason = "only OpenSearch's connections look at the environment")
    )]
    pub(crate) async fn start(
        settings: &Settings,
        pipeline: &Pipeline,
        authentication: &Authentication,
        environment: &Environment,
    ) -> Result<Self, Fatal> {
        if settings.guards != Guards::Full {
            tracing::warn!(guards = ?settings.guards, "TIDELOCK_GUARDS is less than full: older changes may win");
        }
        match &settings.target {
            #[cfg(feature = "opensearch")]
            TargetAddress::OpenSearch(endpoint) => {
                open_search(settings, endpoint, pipeline, authentication, environment).await
            }
            #[cfg(not(feature = "opensearch"))]
            TargetAddress::OpenSearch(_) => Err(not_built("OpenSearch", "opensearch")),
            #[cfg(feature = "mongodb")]
            TargetAddress::MongoDb(uri) => mongodb(settings, uri, pipeline, authentication).await,
            #[cfg(not(feature = "mongodb"))]
            TargetAddress::MongoDb(_) => Err(not_built("MongoDB", "mongodb")),
            #[cfg(feature = "sqlite")]
            TargetAddress::Sqlite(path) => {
                let target = tidelock_sqlite::SqliteTarget::open(path);
                Ok(Self::Sqlite(target.map_err(|error| refused(format!("TIDELOCK_TARGET: {error}")))?))
            }
            #[cfg(not(feature = "sqlite"))]
            TargetAddress::Sqlite(_) => Err(not_built("SQLite", "sqlite")),
            TargetAddress::Stdout => Ok(Self::Stdout(StdoutTarget)),
        }
    }
}

#[cfg(feature = "opensearch")]
async fn open_search(
    settings: &Settings,
    endpoint: &tidelock_core::settings::Endpoint,
    pipeline: &Pipeline,
    authentication: &Authentication,
    environment: &Environment,
) -> Result<AnyTarget, Fatal> {
    use tidelock_core::pipeline::OnConflict;
    use tidelock_opensearch::{OpenSearchConfig, OpenSearchTarget};
    let transport = transport(settings, endpoint, authentication, environment)?;
    transport.warm().await;
    let config = OpenSearchConfig {
        guards: settings.guards != Guards::None,
        fences: settings.guards == Guards::Full,
        salvage: pipeline.has(|policy| policy.on_conflict == OnConflict::Salvage),
        ..OpenSearchConfig::new(settings.bulk_bytes, settings.in_flight)
    };
    let target = OpenSearchTarget::new(transport, config).with_indexes(pipeline.indexes().clone());
    Ok(AnyTarget::OpenSearch(Box::new(target)))
}

/// Connections to OpenSearch, authenticated as the settings say.
#[cfg(feature = "opensearch")]
pub(crate) fn transport(
    settings: &Settings,
    endpoint: &tidelock_core::settings::Endpoint,
    authentication: &Authentication,
    environment: &Environment,
) -> Result<OpenSearchTransport, Fatal> {
    use tidelock_opensearch::{HttpConfig, HttpTransport};
    let login = authentication.secret.is_some() || authentication.fixed.is_some();
    let scheme = scheme(&endpoint.host, settings.auth, login, environment.get("AWS_REGION")).map_err(refused)?;
    let ca_pem = settings.ca_file.as_ref().map(|path| {
        std::fs::read(path)
            .map_err(|error| refused(format!("TIDELOCK_TARGET_CA_FILE: `{path}` cannot be read: {error}")))
    });
    let config = HttpConfig {
        host: endpoint.host.clone(),
        port: endpoint.port,
        tls: endpoint.tls,
        ca_pem: ca_pem.transpose()?,
        scheme,
        gzip: settings.gzip,
    };
    HttpTransport::new(config, authentication.credentials()).map_err(|error| refused(error.to_string()))
}

#[cfg(feature = "mongodb")]
async fn mongodb(
    settings: &Settings,
    uri: &tidelock_core::settings::Secret,
    pipeline: &Pipeline,
    authentication: &Authentication,
) -> Result<AnyTarget, Fatal> {
    use crate::authentication::MongoDbLogin;
    use tidelock_mongodb::MongoDbTarget;
    let config = mongodb_config(settings, uri, pipeline)?;
    let login = MongoDbLogin(authentication.credentials());
    let target = MongoDbTarget::new(config, login).map_err(|problems| refused(problems.join("; ")))?;
    // A failure is left to the first batch to report.
    let _ = Box::pin(target.connect(std::time::Instant::now() + std::time::Duration::from_secs(1))).await;
    Ok(AnyTarget::MongoDb(Box::new(target)))
}

/// The target's settings.
///
/// # Errors
/// What is wrong with them, together with the pipeline.
#[cfg(feature = "mongodb")]
pub(crate) fn mongodb_config(
    settings: &Settings,
    uri: &tidelock_core::settings::Secret,
    pipeline: &Pipeline,
) -> Result<tidelock_mongodb::MongoDbConfig, Fatal> {
    use tidelock_mongodb::MongoDbConfig;
    let config = MongoDbConfig {
        uri: uri.clone(),
        auth: settings.auth,
        ca_file: settings.ca_file.clone(),
        bulk_bytes: settings.bulk_bytes,
        in_flight: settings.in_flight,
        guards: settings.guards != Guards::None,
        fences: settings.guards == Guards::Full,
        databases: MongoDbConfig::databases_of(pipeline),
    };
    let problems = config.check(pipeline);
    if !problems.is_empty() {
        return Err(refused(problems.join("; ")));
    }
    Ok(config)
}

/// How requests are authenticated: as told, or as host and secret suggest.
#[cfg(feature = "opensearch")]
fn scheme(
    host: &str,
    auth: tidelock_core::settings::Auth,
    login: bool,
    region: Option<&str>,
) -> Result<tidelock_opensearch::Scheme, String> {
    use tidelock_core::settings::Auth;
    use tidelock_opensearch::Scheme;
    // SEARCH-DOMAIN.REGION.es.amazonaws.com, COLLECTION.REGION.aoss.amazonaws.com
    let own = |service: &str| {
        host.split_once(&format!(".{service}.amazonaws.com")).map(|(front, _)| front.rsplit('.').next())
    };
    let sign = |service: &'static str| {
        let named = own(service).flatten().or(region);
        let named = named
            .ok_or("TIDELOCK_TARGET_AUTH: signing needs AWS_REGION, which Lambda sets and you must set elsewhere")?;
        Ok(Scheme::SigV4 { service, region: named.to_owned() })
    };
    match auth {
        Auth::None => Ok(Scheme::None),
        Auth::Basic | Auth::ApiKey => Ok(Scheme::Login),
        Auth::SigV4 => sign("es"),
        Auth::SigV4Serverless => sign("aoss"),
        Auth::Auto if login => Ok(Scheme::Login),
        Auth::Auto if own("es").is_some() => sign("es"),
        Auth::Auto if own("aoss").is_some() => sign("aoss"),
        Auth::Auto | Auth::MongoDbAws => Ok(Scheme::None),
    }
}

impl Target for AnyTarget {
    fn format(&self) -> Format {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.format(),
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => target.format(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.format(),
            Self::Stdout(target) => target.format(),
        }
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.apply(operations, call).await,
            #[cfg(feature = "mongodb")]
            // Boxed: it is deeper than the others, and all of them would be as large.
            Self::MongoDb(target) => Box::pin(target.apply(operations, call)).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.apply(operations, call).await,
            Self::Stdout(target) => target.apply(operations, call).await,
        }
    }

    async fn misfits(&self, refused: &[(Operation<'_>, &Failure)], deadline: Instant) -> Vec<Vec<String>> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.misfits(refused, deadline).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => target.misfits(refused, deadline).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.misfits(refused, deadline).await,
            Self::Stdout(target) => target.misfits(refused, deadline).await,
        }
    }
}

/// A witness of whatever target this is.
#[derive(Debug, Clone)]
pub(crate) enum AnyWitness {
    #[cfg(feature = "opensearch")]
    OpenSearch(tidelock_opensearch::Seen),
    #[cfg(feature = "mongodb")]
    MongoDb(tidelock_mongodb::Unchanged),
    #[cfg(feature = "sqlite")]
    Sqlite(<tidelock_sqlite::SqliteTarget as Store>::Witness),
}

/// Looks with one target and wraps what it has seen.
#[cfg(any(feature = "opensearch", feature = "mongodb", feature = "sqlite"))]
async fn look<S: Store>(
    store: &S,
    operations: &[Operation<'_>],
    call: Call,
    wrap: fn(S::Witness) -> AnyWitness,
) -> Vec<Result<Found<AnyWitness>, Failure>> {
    let wrapped = |found: Found<S::Witness>| Found {
        document: found.document.map(|stored| Stored {
            witness: wrap(stored.witness),
            mark: stored.mark,
            body: stored.body,
        }),
        fence: found.fence,
    };
    store.look(operations, call).await.into_iter().map(|found| found.map(wrapped)).collect()
}

/// Puts into one target what it has seen itself.
#[cfg(any(feature = "opensearch", feature = "mongodb", feature = "sqlite"))]
async fn put<S: Store>(
    store: &S,
    puts: &[Put<'_, AnyWitness>],
    call: Call,
    unwrap: fn(&AnyWitness) -> Option<S::Witness>,
) -> Vec<Result<bool, Failure>> {
    let own: Vec<Put<'_, S::Witness>> =
        puts.iter().map(|put| Put { operation: put.operation, over: put.over.as_ref().and_then(unwrap) }).collect();
    store.put(&own, call).await
}

#[cfg_attr(
    any(
        all(feature = "opensearch", not(feature = "mongodb"), not(feature = "sqlite")),
        all(feature = "mongodb", not(feature = "opensearch"), not(feature = "sqlite")),
        all(feature = "sqlite", not(feature = "opensearch"), not(feature = "mongodb")),
    ),
    expect(unreachable_patterns, reason = "a build with one target has one kind of witness")
)]
impl Store for AnyTarget {
    type Witness = AnyWitness;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<AnyWitness>, Failure>> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => look(&**target, operations, call, AnyWitness::OpenSearch).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => look(&**target, operations, call, AnyWitness::MongoDb).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => look(target, operations, call, AnyWitness::Sqlite).await,
            Self::Stdout(_) => operations.iter().map(|_| Ok(Found { document: None, fence: None })).collect(),
        }
    }

    async fn fences(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Option<Mark>, Failure>> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.fences(operations, call).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => target.fences(operations, call).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.fences(operations, call).await,
            Self::Stdout(_) => operations.iter().map(|_| Ok(None)).collect(),
        }
    }

    async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.ping(deadline).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => target.ping(deadline).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.ping(deadline).await,
            Self::Stdout(_) => Ok(()),
        }
    }

    async fn put(&self, puts: &[Put<'_, AnyWitness>], call: Call) -> Vec<Result<bool, Failure>> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => {
                let unwrap = |witness: &AnyWitness| match witness {
                    AnyWitness::OpenSearch(seen) => Some(*seen),
                    _ => None,
                };
                put(&**target, puts, call, unwrap).await
            }
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => {
                let unwrap = |witness: &AnyWitness| match witness {
                    AnyWitness::MongoDb(unchanged) => Some(unchanged.clone()),
                    _ => None,
                };
                put(&**target, puts, call, unwrap).await
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => {
                let unwrap = |witness: &AnyWitness| match witness {
                    AnyWitness::Sqlite(stored) => Some(stored.clone()),
                    _ => None,
                };
                put(target, puts, call, unwrap).await
            }
            Self::Stdout(target) => {
                let operations: Vec<_> = puts.iter().map(|put| put.operation).collect();
                target.apply(&operations, call).await.into_iter().map(|outcome| outcome.map(|_| true)).collect()
            }
        }
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.sweep(window, call).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => target.sweep(window, call).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.sweep(window, call).await,
            Self::Stdout(_) => Ok(Swept { complete: true, ..Swept::default() }),
        }
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        match self {
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(target) => target.clear(into, fence, call).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(target) => target.clear(into, fence, call).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(target) => target.clear(into, fence, call).await,
            Self::Stdout(_) => Ok(Cleared { complete: true, ..Cleared::default() }),
        }
    }
}

#[cfg(all(test, feature = "opensearch"))]
mod tests {
    use super::*;
    use tidelock_core::settings::Auth;
    use tidelock_opensearch::Scheme;

    #[test]
    fn schemes() {
        let signed = |service, region: &str| Ok(Scheme::SigV4 { service, region: region.to_owned() });
        let domain = "search-x-abc.eu-west-1.es.amazonaws.com";
        let collection = "abc.us-east-1.aoss.amazonaws.com";
        assert_eq!(scheme(domain, Auth::Auto, false, Some("us-east-1")), signed("es", "eu-west-1"));
        assert_eq!(scheme(domain, Auth::Auto, true, None), Ok(Scheme::Login));
        assert_eq!(scheme(domain, Auth::None, true, None), Ok(Scheme::None));
        assert_eq!(scheme(collection, Auth::Auto, false, None), signed("aoss", "us-east-1"));
        assert_eq!(scheme("localhost", Auth::Auto, false, Some("us-east-1")), Ok(Scheme::None));
        assert_eq!(scheme("localhost", Auth::SigV4, false, Some("us-east-1")), signed("es", "us-east-1"));
        assert!(scheme("localhost", Auth::SigV4, false, None).expect_err("no region").contains("AWS_REGION"));
    }
}
