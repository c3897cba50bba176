//! Settings: read once from environment variables, validated whole, all problems reported together.
//!
//! The caller hands the variables in; nothing here reads the environment. Secrets never appear in `Debug` or messages.

mod address;
mod cluster;

pub use address::{
    PipelineSource, bucket_address, is_inline, percent_decoded, queue_address, state_address, target_address,
};
use address::{TARGET_FORMS, failures_address, source_address};
pub use cluster::{ClusterSettings, DemoSettings, SearchSettings};
use std::collections::BTreeMap;
use std::fmt;

/// One documented setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// Meaning, allowed values, default.
    pub meaning: &'static str,
}

/// Every setting there is. Other variables that begin with `TIDELOCK_` are refused.
pub const ALL: &[Setting] = &[
    Setting {
        name: "TIDELOCK_TARGET",
        meaning: "where documents go: opensearch+https://HOST[:PORT], opensearch+http://HOST[:PORT], mongodb://…, mongodb+srv://…, sqlite:PATH (builds with the feature), stdout:",
    },
    Setting {
        name: "TIDELOCK_TARGET_AUTH",
        meaning: "auto (default), none, basic, apikey, sigv4, sigv4-serverless, mongodb-aws",
    },
    Setting {
        name: "TIDELOCK_TARGET_SECRET",
        meaning: "ARN or name of a Secrets Manager secret: JSON with username and password, or apikey; optionally host, port, url",
    },
    Setting {
        name: "TIDELOCK_TARGET_CA_FILE",
        meaning: "PEM file of certificates to trust instead of the public ones, such as global-bundle.pem",
    },
    Setting {
        name: "TIDELOCK_SOURCE",
        meaning: "how the source is read again where a record does not settle the matter: dynamodb: (the table is known from the event; needs dynamodb:BatchGetItem), mongodb://… or mongodb+srv://… (the collection is known from the event; needs find); default: not at all. For enable-change-streams and demo-writer: the cluster that they work at",
    },
    Setting {
        name: "TIDELOCK_SOURCE_SECRET",
        meaning: "ARN or name of a Secrets Manager secret for a mongodb source: JSON with username and password",
    },
    Setting {
        name: "TIDELOCK_SOURCE_CA_FILE",
        meaning: "PEM file of certificates to trust instead of the public ones for a mongodb source, such as global-bundle.pem",
    },
    Setting {
        name: "TIDELOCK_SOURCE_CLUSTER",
        meaning: "what a mongodb source is called in versions: a DocumentDB cluster's ARN, or any name; default: NAME.REGION of the cluster whose endpoint TIDELOCK_SOURCE names, of others the hosts; it must be what change events say, or a backfill's documents count as foreign to live changes",
    },
    Setting {
        name: "TIDELOCK_PIPELINE",
        meaning: "the pipeline: a path inside the package, the YAML or JSON itself, or ssm:NAME, a parameter of Systems Manager that holds it and is read when an environment starts; default: every source to a target of its own name",
    },
    Setting {
        name: "TIDELOCK_HASH_SECRET",
        meaning: "the key of `hash` steps: ARN or name of a Secrets Manager secret whose text it is, or file:PATH outside Lambda",
    },
    Setting {
        name: "TIDELOCK_DEAD_LETTERS",
        meaning: "queue for records that can never be applied as they are: an SQS queue's URL, or file:PATH outside Lambda",
    },
    Setting {
        name: "TIDELOCK_FALLBACK",
        meaning: "queue for changes that are held while the target cannot be reached (`on_outage` of the pipeline): an SQS queue's URL, or file:PATH outside Lambda",
    },
    Setting {
        name: "TIDELOCK_LETTERS_BUCKET",
        meaning: "S3 bucket for letters and packs that do not fit into a message (1 MiB): its name, or file:FOLDER outside Lambda",
    },
    Setting {
        name: "TIDELOCK_FAILURES",
        meaning: "where Lambda's own on-failure records lie, which redrive reads: s3://BUCKET[/PREFIX], an SQS queue's URL, or file:FOLDER outside Lambda",
    },
    Setting {
        name: "TIDELOCK_STATE",
        meaning: "what functions remember: leases, how far a backfill has come, where documents are (`locate: state`), which batch a fresh environment works on (so that a record that ends the process is found): dynamodb:TABLE (partition key `name`, text), and outside Lambda file:PATH or memory:; default: nothing is remembered",
    },
    Setting {
        name: "TIDELOCK_BULK_BYTES",
        meaning: "most bytes of one bulk request, 65536 to 100000000; default 5000000",
    },
    Setting { name: "TIDELOCK_IN_FLIGHT", meaning: "bulk requests at a time, 1 to 16; default 4" },
    Setting { name: "TIDELOCK_BULK_GZIP", meaning: "true or false (default): compress bulk requests to OpenSearch" },
    Setting {
        name: "TIDELOCK_FENCE_DAYS",
        meaning: "days that a delete's fence is kept, 2 to 365; default 15; not less than letters and packs may wait",
    },
    Setting { name: "TIDELOCK_DEMO_DATABASE", meaning: "database that demo-writer writes to; default demo-database" },
    Setting {
        name: "TIDELOCK_DEMO_COLLECTION",
        meaning: "collection that demo-writer writes to; default demo-collection",
    },
    Setting { name: "TIDELOCK_DEMO_INDEX", meaning: "index that demo-reader searches; default demo-index" },
    Setting {
        name: "TIDELOCK_GUARDS",
        meaning: "full (default), no-fences, none: what writes are guarded by; less than full is for measuring what it costs, and breaks the promise",
    },
];

/// Variables of the project's own scripts and tests, which functions ignore.
const NOT_SETTINGS: &[&str] = &["TIDELOCK_TEST_", "TIDELOCK_CACHE", "TIDELOCK_REQUIRE_SERVICES"];

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where an OpenSearch or Elasticsearch endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether to speak TLS.
    pub tls: bool,
    /// Host name or address, an IPv6 address in brackets.
    pub host: String,
    /// Port; 443 or 80 where the URL names none.
    pub port: u16,
    /// User and password from the URL.
    pub user: Option<(String, Secret)>,
}

/// Where documents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAddress {
    /// OpenSearch, OpenSearch Serverless, Elasticsearch.
    OpenSearch(Endpoint),
    /// MongoDB or Amazon DocumentDB: the connection string.
    MongoDb(Secret),
    /// A SQLite file.
    Sqlite(String),
    /// JSON lines on standard output.
    Stdout,
}

/// How to authenticate at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// As the address and the secret suggest.
    Auto,
    /// Not at all.
    None,
    /// User and password.
    Basic,
    /// An API key.
    ApiKey,
    /// AWS Signature Version 4, service `es`.
    SigV4,
    /// AWS Signature Version 4, service `aoss`.
    SigV4Serverless,
    /// MongoDB's `MONGODB-AWS` mechanism.
    MongoDbAws,
}

/// Where letters and packs wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueAddress {
    /// An SQS queue's URL.
    Sqs(String),
    /// JSON lines in a file.
    File(String),
}

/// Where objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketAddress {
    /// An S3 bucket.
    S3(String),
    /// A folder.
    Folder(String),
}

/// Where Lambda's on-failure records lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailuresAddress {
    /// In a bucket, under names that begin with this.
    Bucket(BucketAddress, String),
    /// In a queue.
    Queue(QueueAddress),
}

/// Where functions remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateAddress {
    /// A DynamoDB table.
    DynamoDb(String),
    /// A file.
    File(String),
    /// Nowhere, once the process ends.
    Memory,
}

/// How the source is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAddress {
    /// DynamoDB, the table that the record names.
    DynamoDb,
    /// MongoDB or Amazon DocumentDB, the collection that the record names: the connection string.
    MongoDb(Secret),
}

/// What writes are guarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guards {
    /// Versions, and fences for deletes.
    Full,
    /// Versions alone.
    NoFences,
    /// Nothing.
    None,
}

/// Validated settings of a sync function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `TIDELOCK_TARGET`.
    pub target: TargetAddress,
    /// `TIDELOCK_TARGET_AUTH`.
    pub auth: Auth,
    /// `TIDELOCK_TARGET_SECRET`: the secret's name, not the secret.
    pub secret: Option<String>,
    /// `TIDELOCK_TARGET_CA_FILE`.
    pub ca_file: Option<String>,
    /// `TIDELOCK_PIPELINE`.
    pub pipeline: Option<PipelineSource>,
    /// `TIDELOCK_HASH_SECRET`: the secret's name, not the secret.
    pub hash_secret: Option<String>,
    /// `TIDELOCK_DEAD_LETTERS`.
    pub dead_letters: Option<QueueAddress>,
    /// `TIDELOCK_FALLBACK`.
    pub fallback: Option<QueueAddress>,
    /// `TIDELOCK_LETTERS_BUCKET`.
    pub letters_bucket: Option<BucketAddress>,
    /// `TIDELOCK_FAILURES`.
    pub failures: Option<FailuresAddress>,
    /// `TIDELOCK_STATE`.
    pub state: Option<StateAddress>,
    /// `TIDELOCK_BULK_BYTES`.
    pub bulk_bytes: usize,
    /// `TIDELOCK_IN_FLIGHT`.
    pub in_flight: usize,
    /// `TIDELOCK_BULK_GZIP`.
    pub gzip: bool,
    /// `TIDELOCK_SOURCE`.
    pub source: Option<SourceAddress>,
    /// `TIDELOCK_SOURCE_SECRET`: the secret's name, not the secret.
    pub source_secret: Option<String>,
    /// `TIDELOCK_SOURCE_CA_FILE`.
    pub source_ca_file: Option<String>,
    /// `TIDELOCK_SOURCE_CLUSTER`.
    pub source_cluster: Option<String>,
    /// `TIDELOCK_FENCE_DAYS`.
    pub fence_days: usize,
    /// `TIDELOCK_GUARDS`.
    pub guards: Guards,
}

/// All that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in the settings: {}",
            if self.0.len() == 1 { "one problem" } else { "several problems" },
            self.0.join("; ")
        )
    }
}

impl std::error::Error for Problems {}

impl Settings {
    /// Validates the variables (name, value) that begin with `TIDELOCK_`; others are passed over.
    ///
    /// # Errors
    /// Every problem at once, each naming the variable and what is allowed.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let (mut given, mut problems) = known(variables);
        let mut take = |name: &str| given.remove(name);
        let target = match take("TIDELOCK_TARGET").as_deref().map(target_address) {
            Some(Ok(target)) => Some(target),
            Some(Err(problem)) => {
                problems.push(format!("TIDELOCK_TARGET: {problem}"));
                None
            }
            None => {
                problems.push(format!("TIDELOCK_TARGET is not set; allowed: {TARGET_FORMS}"));
                None
            }
        };
        let auth = match take("TIDELOCK_TARGET_AUTH").as_deref() {
            None | Some("auto") => Auth::Auto,
            Some("none") => Auth::None,
            Some("basic") => Auth::Basic,
            Some("apikey") => Auth::ApiKey,
            Some("sigv4") => Auth::SigV4,
            Some("sigv4-serverless") => Auth::SigV4Serverless,
            Some("mongodb-aws") => Auth::MongoDbAws,
            Some(other) => {
                problems.push(format!(
                    "TIDELOCK_TARGET_AUTH: `{other}` is not one of auto, none, basic, apikey, sigv4, sigv4-serverless, mongodb-aws"
                ));
                Auth::Auto
            }
        };
        let secret = take("TIDELOCK_TARGET_SECRET");
        if let Some(target) = &target {
            problems.extend(
                check_auth(target, auth, secret.is_some()).map(|problem| format!("TIDELOCK_TARGET_AUTH: {problem}")),
            );
        }
        let dead_letters = address(&mut take, "TIDELOCK_DEAD_LETTERS", queue_address, &mut problems);
        let fallback = address(&mut take, "TIDELOCK_FALLBACK", queue_address, &mut problems);
        let letters_bucket = address(&mut take, "TIDELOCK_LETTERS_BUCKET", bucket_address, &mut problems);
        let failures = address(&mut take, "TIDELOCK_FAILURES", failures_address, &mut problems);
        let state = address(&mut take, "TIDELOCK_STATE", state_address, &mut problems);
        if dead_letters.is_some() && dead_letters == fallback {
            problems.push("TIDELOCK_FALLBACK: must not be the queue of TIDELOCK_DEAD_LETTERS".to_owned());
        }
        let mut number = |name: &str, default: usize, allowed: std::ops::RangeInclusive<usize>| match given.remove(name)
        {
            None => default,
            Some(text) => text.parse().ok().filter(|number| allowed.contains(number)).unwrap_or_else(|| {
                problems.push(format!(
                    "{name}: `{text}` is not a whole number from {} to {}",
                    allowed.start(),
                    allowed.end()
                ));
                default
            }),
        };
        let bulk_bytes = number("TIDELOCK_BULK_BYTES", 5_000_000, 65_536..=100_000_000);
        let in_flight = number("TIDELOCK_IN_FLIGHT", 4, 1..=16);
        let fence_days = number("TIDELOCK_FENCE_DAYS", 15, 2..=365);
        let gzip = match given.remove("TIDELOCK_BULK_GZIP").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                problems.push(format!("TIDELOCK_BULK_GZIP: `{other}` is neither true nor false"));
                false
            }
        };
        let guards = match given.remove("TIDELOCK_GUARDS").as_deref() {
            None | Some("full") => Guards::Full,
            Some("no-fences") => Guards::NoFences,
            Some("none") => Guards::None,
            Some(other) => {
                problems.push(format!("TIDELOCK_GUARDS: `{other}` is not one of full, no-fences, none"));
                Guards::Full
            }
        };
        let source = given.remove("TIDELOCK_SOURCE").map(|text| source_address(&text));
        let (source_secret, source_ca_file) =
            (given.remove("TIDELOCK_SOURCE_SECRET"), given.remove("TIDELOCK_SOURCE_CA_FILE"));
        let source_cluster = given.remove("TIDELOCK_SOURCE_CLUSTER");
        if matches!(source, None | Some(Ok(SourceAddress::DynamoDb))) {
            let given = [("SECRET", &source_secret), ("CA_FILE", &source_ca_file), ("CLUSTER", &source_cluster)];
            let given = given.into_iter().filter(|(_, value)| value.is_some());
            problems.extend(given.map(|(name, _)| format!("TIDELOCK_SOURCE_{name}: it is for mongodb sources alone")));
        }
        let source = source.transpose().unwrap_or_else(|problem| {
            problems.push(format!("TIDELOCK_SOURCE: {problem}"));
            None
        });
        let ca_file = given.remove("TIDELOCK_TARGET_CA_FILE");
        let hash_secret = given.remove("TIDELOCK_HASH_SECRET");
        let pipeline = given.remove("TIDELOCK_PIPELINE").map(PipelineSource::of);
        match target {
            Some(target) if problems.is_empty() => Ok(Self {
                target,
                auth,
                secret,
                ca_file,
                pipeline,
                hash_secret,
                dead_letters,
                fallback,
                letters_bucket,
                failures,
                state,
                bulk_bytes,
                in_flight,
                gzip,
                source,
                source_secret,
                source_ca_file,
                source_cluster,
                fence_days,
                guards,
            }),
            _ => Err(Problems(problems)),
        }
    }
}

/// The settings among the variables that are not empty, and what only looks like one.
fn known(variables: impl IntoIterator<Item = (String, String)>) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut given, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, value) in variables {
        if !name.starts_with("TIDELOCK_") || NOT_SETTINGS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if ALL.iter().any(|setting| setting.name == name) {
            // An empty variable is how templates say "not set".
            if !value.is_empty() {
                given.insert(name, value);
            }
        } else {
            let known = ALL.iter().map(|setting| setting.name);
            let hint = nearest(&name, known).map_or(String::new(), |near| format!("; did you mean {near}?"));
            problems.push(format!("{name} is not a setting{hint}"));
        }
    }
    (given, problems)
}

/// Reads an address that may be left out.
fn address<A>(
    take: &mut impl FnMut(&str) -> Option<String>,
    name: &str,
    read: impl Fn(&str) -> Result<A, &'static str>,
    problems: &mut Vec<String>,
) -> Option<A> {
    let value = take(name)?;
    read(&value).map_err(|forms| problems.push(format!("{name}: `{value}` is not one of {forms}"))).ok()
}

fn check_auth(target: &TargetAddress, auth: Auth, secret: bool) -> Option<String> {
    let needs_login = |endpoint: &Endpoint| endpoint.user.is_none() && !secret;
    match (target, auth) {
        (_, Auth::Auto | Auth::None) => None,
        (TargetAddress::OpenSearch(endpoint), Auth::Basic) if needs_login(endpoint) => {
            Some("basic needs TIDELOCK_TARGET_SECRET, or USER:PASSWORD@ in TIDELOCK_TARGET".to_owned())
        }
        (TargetAddress::OpenSearch(_), Auth::ApiKey) if !secret => {
            Some("apikey needs TIDELOCK_TARGET_SECRET".to_owned())
        }
        (TargetAddress::OpenSearch(_), Auth::MongoDbAws) => Some("mongodb-aws is for MongoDB targets".to_owned()),
        (TargetAddress::OpenSearch(_), _) | (TargetAddress::MongoDb(_), Auth::MongoDbAws) => None,
        (TargetAddress::MongoDb(_), Auth::Basic) => None,
        (TargetAddress::MongoDb(_), _) => Some("MongoDB targets know auto, none, basic and mongodb-aws".to_owned()),
        (TargetAddress::Sqlite(_) | TargetAddress::Stdout, _) => {
            Some("this target knows only auto and none".to_owned())
        }
    }
}

/// The known name within a few edits of a wrong one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|other| (distance(name, other), other)).filter(|&(edits, _)| edits <= 4).min().map(|(_, other)| other)
}

/// Levenshtein's distance.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cb, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let value = (diagonal + usize::from(ca != *cb)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = value;
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
