//! Settings: read once from environment variables, validated whole, all problems reported together.
//!
//! The caller hands the variables in; nothing here reads the environment. Secrets never appear in `Debug` or messages.

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
        meaning: "how the source is read again where a record does not settle the matter: dynamodb: (the table is known from the event; needs dynamodb:BatchGetItem); default: not at all",
    },
    Setting {
        name: "TIDELOCK_PIPELINE",
        meaning: "the pipeline: a path inside the package, or the YAML or JSON itself; default: every source to a target of its own name",
    },
    Setting {
        name: "TIDELOCK_DEAD_LETTERS",
        meaning: "queue for records that can never be applied as they are: an SQS queue's URL, or file:PATH outside Lambda",
    },
    Setting {
        name: "TIDELOCK_BULK_BYTES",
        meaning: "most bytes of one bulk request, 65536 to 100000000; default 5000000",
    },
    Setting { name: "TIDELOCK_IN_FLIGHT", meaning: "bulk requests at a time, 1 to 16; default 4" },
    Setting { name: "TIDELOCK_BULK_GZIP", meaning: "true or false (default): compress bulk requests to OpenSearch" },
    Setting {
        name: "TIDELOCK_FENCE_DAYS",
        meaning: "days that a delete's fence is kept, 1 to 365; default 15; not less than letters and packs may wait",
    },
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

/// Where dead letters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterAddress {
    /// An SQS queue's URL.
    Sqs(String),
    /// JSON lines in a file.
    File(String),
}

/// The pipeline as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineSource {
    /// The text itself.
    Text(String),
    /// A file's path.
    Path(String),
}

/// How the source is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceAddress {
    /// DynamoDB, the table that the record names.
    DynamoDb,
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
    /// `TIDELOCK_DEAD_LETTERS`.
    pub dead_letters: Option<DeadLetterAddress>,
    /// `TIDELOCK_BULK_BYTES`.
    pub bulk_bytes: usize,
    /// `TIDELOCK_IN_FLIGHT`.
    pub in_flight: usize,
    /// `TIDELOCK_BULK_GZIP`.
    pub gzip: bool,
    /// `TIDELOCK_SOURCE`.
    pub source: Option<SourceAddress>,
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
        let mut given = std::collections::BTreeMap::new();
        let mut problems = Vec::new();
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
        let dead_letters = take("TIDELOCK_DEAD_LETTERS").and_then(|value| match dead_letter_address(&value) {
            Some(address) => Some(address),
            None => {
                problems.push(format!(
                    "TIDELOCK_DEAD_LETTERS: `{value}` is neither an SQS queue's URL (https://…) nor file:PATH"
                ));
                None
            }
        });
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
        let fence_days = number("TIDELOCK_FENCE_DAYS", 15, 1..=365);
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
        // The value is not repeated: one meant for later versions may hold a password.
        let source = given.remove("TIDELOCK_SOURCE").and_then(|text| match text.as_str() {
            "dynamodb:" => Some(SourceAddress::DynamoDb),
            _ => {
                problems.push("TIDELOCK_SOURCE: not one of dynamodb:".to_owned());
                None
            }
        });
        let ca_file = given.remove("TIDELOCK_TARGET_CA_FILE");
        let pipeline = given.remove("TIDELOCK_PIPELINE").map(|text| {
            let inline =
                text.contains('\n') || text.trim_start().starts_with('{') || text.trim_start().starts_with("version:");
            if inline { PipelineSource::Text(text) } else { PipelineSource::Path(text) }
        });
        match target {
            Some(target) if problems.is_empty() => Ok(Self {
                target,
                auth,
                secret,
                ca_file,
                pipeline,
                dead_letters,
                bulk_bytes,
                in_flight,
                gzip,
                source,
                fence_days,
                guards,
            }),
            _ => Err(Problems(problems)),
        }
    }
}

const TARGET_FORMS: &str =
    "opensearch+https://HOST[:PORT], opensearch+http://HOST[:PORT], mongodb://…, mongodb+srv://…, sqlite:PATH, stdout:";

/// The value is never repeated in the message: it may hold a password.
fn target_address(text: &str) -> Result<TargetAddress, String> {
    if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") {
        return Ok(TargetAddress::MongoDb(Secret::new(text)));
    }
    if let Some(path) = text.strip_prefix("sqlite:") {
        return if path.is_empty() {
            Err("sqlite: needs a path".to_owned())
        } else {
            Ok(TargetAddress::Sqlite(path.to_owned()))
        };
    }
    if text == "stdout:" {
        return Ok(TargetAddress::Stdout);
    }
    let (tls, rest) = match (text.strip_prefix("opensearch+https://"), text.strip_prefix("opensearch+http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(format!("not one of {TARGET_FORMS}")),
    };
    endpoint(tls, rest).map(TargetAddress::OpenSearch)
}

/// Reads `[USER:PASSWORD@]HOST[:PORT][/]`.
fn endpoint(tls: bool, rest: &str) -> Result<Endpoint, String> {
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => {
            let (name, password) =
                user.split_once(':').ok_or("the user before @ has no password (USER:PASSWORD@HOST)")?;
            (Some((percent_decoded(name), Secret::new(percent_decoded(password)))), place)
        }
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.contains(['/', '?', '#']) {
        return Err("nothing may follow the port: OpenSearch must be at the root of its host".to_owned());
    }
    let after_address = place.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match place.get(after_address..).and_then(|tail| tail.rfind(':')) {
        Some(colon) => {
            let (host, port) = place.split_at(after_address + colon);
            let port =
                port.trim_start_matches(':').parse().map_err(|_| "the port is no number from 1 to 65535".to_owned())?;
            (host, port)
        }
        None => (place, if tls { 443 } else { 80 }),
    };
    if host.is_empty() || port == 0 || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("there is no valid host".to_owned());
    }
    Ok(Endpoint { tls, host: host.to_owned(), port, user })
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match tail.get(..2).filter(|_| byte == b'%').and_then(hex) {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
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

fn dead_letter_address(text: &str) -> Option<DeadLetterAddress> {
    if let Some(path) = text.strip_prefix("file:") {
        return (!path.is_empty()).then(|| DeadLetterAddress::File(path.to_owned()));
    }
    let url = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    url.contains('/').then(|| DeadLetterAddress::Sqs(text.to_owned()))
}

/// The known name within a few edits of a wrong one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|other| (distance(name, other), other)).filter(|&(edits, _)| edits <= 4).min().map(|(_, other)| other)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
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
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Problems> {
        Settings::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn all_problems_at_once() {
        let problems = read(&[
            ("TIDELOCK_TARGT", "stdout:"),
            ("TIDELOCK_TARGET_AUTH", "magic"),
            ("TIDELOCK_BULK_BYTES", "1"),
            ("TIDELOCK_IN_FLIGHT", "many"),
            ("TIDELOCK_BULK_GZIP", "yes"),
            ("TIDELOCK_DEAD_LETTERS", "my-queue"),
            ("TIDELOCK_SOURCE", "mongodb://user:hush@h"),
            ("TIDELOCK_FENCE_DAYS", "0"),
            ("TIDELOCK_GUARDS", "off"),
            ("OTHER", "x"),
            ("TIDELOCK_TEST_OPENSEARCH", "http://127.0.0.1:9201"),
        ])
        .expect_err("invalid")
        .0;
        assert_eq!(problems.len(), 10, "{problems:#?}");
        assert!(!problems.join(" ").contains("hush"), "{problems:#?}");
        assert!(problems[0].contains("did you mean TIDELOCK_TARGET?"), "{}", problems[0]);
        assert!(problems.iter().any(|p| p.contains("TIDELOCK_TARGET is not set")));
    }

    #[test]
    fn what_keeps_the_promise_is_on_unless_told_otherwise() {
        let plain = read(&[("TIDELOCK_TARGET", "stdout:")]).expect("valid");
        assert_eq!((plain.guards, plain.fence_days, plain.source), (Guards::Full, 15, None));
        let told = read(&[
            ("TIDELOCK_TARGET", "stdout:"),
            ("TIDELOCK_GUARDS", "no-fences"),
            ("TIDELOCK_FENCE_DAYS", "30"),
            ("TIDELOCK_SOURCE", "dynamodb:"),
        ]);
        let told = told.expect("valid");
        let expected = (Guards::NoFences, 30, Some(SourceAddress::DynamoDb));
        assert_eq!((told.guards, told.fence_days, told.source), expected);
    }

    #[test]
    fn addresses() {
        let endpoint = |text: &str| match target_address(text) {
            Ok(TargetAddress::OpenSearch(endpoint)) => endpoint,
            other => panic!("{text}: {other:?}"),
        };
        let plain = endpoint("opensearch+https://search.example.com");
        assert_eq!((plain.tls, plain.host.as_str(), plain.port, plain.user), (true, "search.example.com", 443, None));
        let full = endpoint("opensearch+http://me:p%40ss@[::1]:9200/");
        assert_eq!((full.tls, full.host.as_str(), full.port), (false, "[::1]", 9200));
        assert_eq!(full.user, Some(("me".to_owned(), Secret::new("p@ss"))));
        for wrong in [
            "",
            "http://x",
            "opensearch+https://",
            "opensearch+https://h:0",
            "opensearch+https://h/path",
            "sqlite:",
            "opensearch+http://h:x",
        ] {
            assert!(target_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        for target in ["opensearch+http://me:hunter2@h:1", "mongodb://me:hunter2@h/db"] {
            let settings = read(&[("TIDELOCK_TARGET", target)]).expect("valid");
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
        let problems = read(&[("TIDELOCK_TARGET", "opensearch+http://me:hunter2@h:1/x?y")]).expect_err("invalid");
        assert!(!problems.to_string().contains("hunter2"));
    }

    #[test]
    fn auth_must_fit_the_target() {
        for (target, auth, fits) in [
            ("opensearch+https://h", "sigv4", true),
            ("opensearch+https://h", "basic", false),
            ("opensearch+https://a:b@h", "basic", true),
            ("opensearch+https://h", "apikey", false),
            ("opensearch+https://h", "mongodb-aws", false),
            ("mongodb://h/db", "mongodb-aws", true),
            ("mongodb://h/db", "sigv4", false),
            ("stdout:", "basic", false),
            ("stdout:", "none", true),
        ] {
            assert_eq!(
                read(&[("TIDELOCK_TARGET", target), ("TIDELOCK_TARGET_AUTH", auth)]).is_ok(),
                fits,
                "{target} {auth}"
            );
        }
    }
}
