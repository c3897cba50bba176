//! The settings: checked at start, turned into the driver's options at first use.

use crate::login::Login;
use mongodb::error::Error;
use mongodb::options::{ClientOptions, ConnectionString, HostInfo, Tls, TlsOptions};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tidelock_core::fence::FENCE_COLLECTION;
use tidelock_core::pipeline::{Pipeline, Refusal};
use tidelock_core::settings::{Auth, Secret};

/// How to reach the server, and how much to send at a time.
#[derive(Debug, Clone)]
pub struct MongoDbConfig {
    /// `TIDELOCK_TARGET`: a
    /// [connection string](https://www.mongodb.com/docs/manual/reference/connection-string/). The database in its path is
    /// where collections without a `database.` prefix go.
    pub uri: Secret,
    /// `TIDELOCK_TARGET_AUTH`: `Auto`, `None` or `Basic`.
    pub auth: Auth,
    /// `TIDELOCK_TARGET_CA_FILE`: certificates to trust instead of the public ones. Turns TLS on.
    pub ca_file: Option<String>,
    /// `TIDELOCK_BULK_BYTES`: most bytes of one command. A command never exceeds 16 MiB, the server's limit.
    pub bulk_bytes: usize,
    /// `TIDELOCK_IN_FLIGHT`: commands at a time.
    pub in_flight: usize,
    /// Deletes leave [fences](tidelock_core::fence). `false` is for measurements only.
    pub fences: bool,
    /// Nothing newer is overwritten. `false` is for measurements only.
    pub guards: bool,
    /// Databases whose fences are swept, besides the connection string's: see [`databases_of`](Self::databases_of).
    pub databases: Vec<String>,
}

impl MongoDbConfig {
    /// The databases that a pipeline's targets name.
    #[must_use]
    pub fn databases_of(pipeline: &Pipeline) -> Vec<String> {
        let (targets, _) = pipeline.targets();
        let databases: BTreeSet<_> = targets.iter().filter_map(|target| Some(target.split_once('.')?.0)).collect();
        databases.into_iter().map(str::to_owned).collect()
    }

    /// The database of names that give none; `None` where the connection string names none, or is none.
    #[must_use]
    pub fn default_database(&self) -> Option<String> {
        Address::new(self).ok()?.default_database
    }

    /// All that is wrong with these settings together with a pipeline; empty when nothing is.
    #[must_use]
    pub fn check(&self, pipeline: &Pipeline) -> Vec<String> {
        let address = match Address::new(self) {
            Ok(address) => address,
            Err(problems) => return problems,
        };
        let refusals = refusals(pipeline, address.default_database.as_deref()).into_iter();
        let told = refusals.map(|Refusal { path, words }| match path.as_str() {
            "" => words,
            path => format!("TIDELOCK_PIPELINE: {path}: {words}"),
        });
        told.collect()
    }

    /// What MongoDB refuses of a pipeline whose target is this connection string; nothing where that is none.
    #[must_use]
    pub fn refusals(uri: &Secret, pipeline: &Pipeline) -> Vec<Refusal> {
        let parsed = ConnectionString::parse(uri.expose());
        parsed.map_or(Vec::new(), |parsed| refusals(pipeline, parsed.default_database.as_deref()))
    }
}

/// What no namespace of MongoDB can be, and what would lack a database.
fn refusals(pipeline: &Pipeline, default_database: Option<&str>) -> Vec<Refusal> {
    let hint = "name a database in TIDELOCK_TARGET (mongodb://HOST/DATABASE)";
    let own_names = "to collections of their own names, but of no database";
    if !pipeline.has_routes() {
        let words = format!("TIDELOCK_TARGET: sources go {own_names}; {hint}");
        return Vec::from_iter(default_database.is_none().then_some(Refusal { path: String::new(), words }));
    }
    let refused = pipeline.destinations().filter_map(|destination| {
        let name = destination.sample();
        let words = match (destination.to, name.split_once('.')) {
            // Names of sources are never split.
            (None, _) if default_database.is_none() => format!("items go {own_names}; {hint}, or write `to`"),
            (None, _) => return None,
            (Some(to), Some(("", _) | (_, ""))) => format!("`{to}` must be COLLECTION or DATABASE.COLLECTION"),
            (Some(to), None) if default_database.is_none() => {
                format!("`{to}` names no database; write DATABASE.{to}, or {hint}")
            }
            (Some(to), split) => {
                let (database, collection) = split.unwrap_or(("", &name));
                if collection == FENCE_COLLECTION {
                    format!("`{to}`: the collection `{FENCE_COLLECTION}` is Tidelock's own")
                } else {
                    format!("`{to}`: {}", database_problem(database).or_else(|| collection_problem(collection))?)
                }
            }
        };
        Some(Refusal { path: destination.path(), words })
    });
    refused.collect()
}

/// What is wrong with a database's name; an empty one is not looked at.
#[must_use]
pub fn database_problem(name: &str) -> Option<&'static str> {
    let wrong = name.len() > 63 || name.contains(['/', '\\', '"', '$', ' ', '\0']);
    wrong.then_some("a database's name has at most 63 bytes, and none of / \\ \" $ or a blank")
}

/// What is wrong with a collection's name; an empty one is not looked at.
#[must_use]
pub fn collection_problem(name: &str) -> Option<&'static str> {
    let wrong = name.contains(['$', '\0']) || name.starts_with("system.");
    wrong.then_some("a collection's name has no $ and does not begin with system.")
}

const APP_NAME: &str = "tidelock";

/// Below the five to six minutes after which NAT gateways and load balancers forget a connection without a word.
const MAX_IDLE: Duration = Duration::from_secs(120);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What settings are called in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SettingNames {
    /// Gives the connection string.
    uri: &'static str,
    /// Chooses how to authenticate.
    auth: &'static str,
    /// Gives the certificates to trust.
    ca_file: &'static str,
}

impl SettingNames {
    const TARGET: Self =
        Self { uri: "TIDELOCK_TARGET", auth: "TIDELOCK_TARGET_AUTH", ca_file: "TIDELOCK_TARGET_CA_FILE" };

    /// A source's way to authenticate is in its connection string.
    pub(crate) const SOURCE: Self =
        Self { uri: "TIDELOCK_SOURCE", auth: "TIDELOCK_SOURCE", ca_file: "TIDELOCK_SOURCE_CA_FILE" };
}

/// How a deployment is reached, as the settings say.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) uri: &'a Secret,
    pub(crate) auth: Auth,
    pub(crate) ca_file: Option<&'a str>,
    pub(crate) in_flight: usize,
    pub(crate) names: SettingNames,
}

impl<'a> From<&'a MongoDbConfig> for Access<'a> {
    fn from(config: &'a MongoDbConfig) -> Self {
        let MongoDbConfig { uri, auth, ca_file, in_flight, .. } = config;
        Self { uri, auth: *auth, ca_file: ca_file.as_deref(), in_flight: *in_flight, names: SettingNames::TARGET }
    }
}

/// The settings, checked.
#[derive(Debug)]
pub(crate) struct Address {
    uri: Secret,
    auth: Auth,
    ca_file: Option<PathBuf>,
    pool_size: u32,
    /// The database of collections without a `database.` prefix.
    pub(crate) default_database: Option<String>,
    /// The servers as the connection string names them, for messages.
    pub(crate) hosts: String,
    /// The passwords of the connection string, as it spells them and decoded.
    passwords: Vec<Secret>,
}

impl Address {
    pub(crate) fn new<'a>(access: impl Into<Access<'a>>) -> Result<Self, Vec<String>> {
        let access = access.into();
        let names = access.names;
        let mut problems = Vec::new();
        let uri = access.uri.expose();
        let by_aws = access.auth == Auth::MongoDbAws || uri.to_ascii_lowercase().contains("authmechanism=mongodb-aws");
        if by_aws && !cfg!(feature = "aws") {
            problems.push(format!(
                "{}: mongodb-aws is not part of this build, because the driver's implementation brings a second TLS \
                 library; build with `cargo lambda build --release --features mongodb-aws`, or use a user with a password",
                names.auth
            ));
        }
        if !matches!(access.auth, Auth::Auto | Auth::None | Auth::Basic | Auth::MongoDbAws) {
            problems.push(format!("{}: MongoDB targets know auto, none, basic and mongodb-aws", names.auth));
        }
        if let Some(path) = access.ca_file {
            match std::fs::read_to_string(path) {
                Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
                Ok(_) => problems.push(format!("{}: {path} holds no certificate in PEM form", names.ca_file)),
                Err(error) => problems.push(format!("{}: {path} cannot be read: {error}", names.ca_file)),
            }
        }
        let parsed = match ConnectionString::parse(uri) {
            Ok(parsed) => Some(parsed),
            Err(_) if by_aws => None,
            Err(error) => {
                problems.push(format!("{}: {}", names.uri, without_user_info(&error.kind.to_string(), uri)));
                None
            }
        };
        let Some(parsed) = parsed else { return Err(problems) };
        if access.ca_file.is_some() && parsed.tls == Some(Tls::Disabled) {
            problems.push(format!("{}: the connection string turns TLS off (tls=false)", names.ca_file));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let decoded = parsed.credential.as_ref().and_then(|credential| credential.password.clone());
        let spelled = user_info(uri).and_then(|info| info.split_once(':')).map(|(_, password)| password.to_owned());
        Ok(Self {
            uri: access.uri.clone(),
            auth: if by_aws { Auth::MongoDbAws } else { access.auth },
            ca_file: access.ca_file.map(PathBuf::from),
            // One more than commands at a time, so that a connection that is being closed blocks none of them.
            pool_size: u32::try_from(access.in_flight.max(1)).unwrap_or(u32::MAX).saturating_add(1),
            default_database: parsed.default_database,
            hosts: hosts(&parsed.host_info),
            passwords: decoded.into_iter().chain(spelled).map(Secret::new).collect(),
        })
    }

    /// The driver's options. A login replaces user and password of the connection string; its users live in the database
    /// that `authSource` names, else in `admin`.
    ///
    /// # Errors
    /// When the names of a `mongodb+srv` address cannot be looked up, or the options contradict each other.
    pub(crate) async fn options(&self, login: Option<&Login>, selection: Duration) -> Result<ClientOptions, Error> {
        let uri = self.uri.expose();
        let mut parsed = match login {
            Some(login) => {
                let mut parsed = ConnectionString::parse(with_user_info(uri, Some("user:password")))?;
                let credential = parsed.credential.get_or_insert_with(Default::default);
                credential.username = Some(login.username.clone());
                credential.password = Some(login.password.expose().to_owned());
                credential.source.get_or_insert_with(|| "admin".to_owned());
                parsed
            }
            None if self.auth == Auth::None => ConnectionString::parse(with_user_info(uri, None))?,
            None => ConnectionString::parse(uri)?,
        };
        #[cfg(feature = "aws")]
        if self.auth == Auth::MongoDbAws {
            // Keys come from the connection string, else from where the AWS SDK looks: in Lambda, the environment.
            let credential = parsed.credential.get_or_insert_with(Default::default);
            credential.mechanism = Some(mongodb::options::AuthMechanism::MongoDbAws);
            credential.source = Some("$external".to_owned());
        }
        if let Some(path) = &self.ca_file {
            let mut tls = match parsed.tls.take() {
                Some(Tls::Enabled(tls)) => tls,
                _ => TlsOptions::default(),
            };
            tls.ca_file_path = Some(path.clone());
            parsed.tls = Some(Tls::Enabled(tls));
        }
        let mut options = ClientOptions::parse(parsed).await?;
        options.app_name.get_or_insert_with(|| APP_NAME.to_owned());
        // DocumentDB before 8.0.2 knows no retryable writes; commands sent as raw BSON are outside of them anyway.
        options.retry_writes.get_or_insert(false);
        options.max_pool_size.get_or_insert(self.pool_size);
        options.min_pool_size.get_or_insert(0);
        options.max_idle_time.get_or_insert(MAX_IDLE);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        options.server_selection_timeout.get_or_insert(selection);
        Ok(options)
    }

    /// Whether no user is to be named, whoever knows one; or the user is an AWS role.
    pub(crate) fn wants_no_login(&self) -> bool {
        matches!(self.auth, Auth::None | Auth::MongoDbAws)
    }

    /// Whether a user must be known, from wherever.
    pub(crate) fn needs_login(&self) -> bool {
        self.auth == Auth::Basic && user_info(self.uri.expose()).is_none()
    }

    /// The text with every password in it blotted out.
    pub(crate) fn without_passwords(&self, text: &str, logins: &[Login]) -> String {
        let mut text = text.to_owned();
        for password in self.passwords.iter().chain(logins.iter().map(|login| &login.password)) {
            // Blotting out a letter or two would only make the text unreadable.
            if password.expose().len() > 2 {
                text = text.replace(password.expose(), "***");
            }
        }
        text
    }
}

fn hosts(info: &HostInfo) -> String {
    match info {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        HostInfo::DnsRecord(name) => name.clone(),
        _ => "the server".to_owned(),
    }
}

/// What stands between `://` and the `@` before the hosts.
fn user_info(uri: &str) -> Option<&str> {
    let rest = uri.split_once("://")?.1;
    let before_options = rest.split_once('?').map_or(rest, |(before, _)| before);
    Some(before_options.rsplit_once('@')?.0)
}

/// The connection string with another user, or with none.
fn with_user_info(uri: &str, user: Option<&str>) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let rest = match user_info(uri) {
        Some(info) => rest.get(info.len() + 1..).unwrap_or_default(),
        None => rest,
    };
    match user {
        Some(user) => format!("{scheme}://{user}@{rest}"),
        None => format!("{scheme}://{rest}"),
    }
}

/// A parser's message without words that it may have taken from what lies before the last `@`.
fn without_user_info(message: &str, uri: &str) -> String {
    let Some(private) = uri.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(private, _)| private)
    else {
        return message.to_owned();
    };
    let blot = |word: &str| {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        if core.is_empty() || !private.contains(core) { word.to_owned() } else { "***".to_owned() }
    };
    let words: Vec<_> = message.split(' ').map(blot).collect();
    format!("{} (user and password must be percent-encoded)", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uri: &str) -> MongoDbConfig {
        MongoDbConfig {
            uri: Secret::new(uri),
            auth: Auth::Auto,
            ca_file: None,
            bulk_bytes: 5_000_000,
            in_flight: 4,
            fences: true,
            guards: true,
            databases: Vec::new(),
        }
    }

    fn options(config: &MongoDbConfig, login: Option<&Login>) -> ClientOptions {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let address = Address::new(config).expect("valid");
        runtime.block_on(address.options(login, Duration::from_secs(5))).expect("options")
    }

    fn login() -> Login {
        Login { username: "from-secret".to_owned(), password: Secret::new("hush/hush") }
    }

    #[test]
    fn defaults_fit_a_function_and_the_connection_string_wins() {
        let plain = options(&config("mongodb://h/db"), None);
        assert_eq!(plain.app_name.as_deref(), Some("tidelock"));
        assert_eq!((plain.retry_writes, plain.max_pool_size, plain.min_pool_size), (Some(false), Some(5), Some(0)));
        assert_eq!((plain.server_selection_timeout, plain.tls), (Some(Duration::from_secs(5)), None));
        let uri = "mongodb://h/?retryWrites=true&maxPoolSize=9&appName=mine&serverSelectionTimeoutMS=7";
        let own = options(&config(uri), None);
        assert_eq!((own.retry_writes, own.max_pool_size, own.app_name.as_deref()), (Some(true), Some(9), Some("mine")));
        assert_eq!(own.server_selection_timeout, Some(Duration::from_millis(7)));
    }

    #[test]
    fn a_login_fills_or_replaces_the_user() {
        for (uri, source) in [
            ("mongodb://h/db", "admin"),
            ("mongodb://old:pw@h,g:27018/db", "admin"),
            ("mongodb://h/db?authSource=users", "users"),
            ("mongodb://h/?authMechanism=SCRAM-SHA-1", "admin"),
        ] {
            let config = config(uri);
            if uri.contains("authMechanism") {
                assert!(Address::new(&config).is_err(), "a mechanism needs its user in the connection string");
                continue;
            }
            let credential = options(&config, Some(&login())).credential.expect("a credential");
            assert_eq!(credential.username.as_deref(), Some("from-secret"), "{uri}");
            assert_eq!(credential.password.as_deref(), Some("hush/hush"), "{uri}");
            assert_eq!(credential.source.as_deref(), Some(source), "{uri}");
        }
        let none = MongoDbConfig { auth: Auth::None, ..config("mongodb://old:pw@h/db") };
        assert_eq!(options(&none, None).credential, None);
        let basic = MongoDbConfig { auth: Auth::Basic, ..config("mongodb://h/db") };
        assert!(Address::new(&basic).expect("valid").needs_login());
    }

    #[test]
    fn a_ca_file_turns_tls_on_and_must_hold_a_certificate() {
        let path = std::env::temp_dir().join(format!("tidelock-mongodb-ca-{}.pem", std::process::id()));
        let with_file = |uri: &str| MongoDbConfig { ca_file: Some(path.display().to_string()), ..config(uri) };
        assert!(Address::new(&with_file("mongodb://h")).expect_err("missing")[0].contains("cannot be read"));
        std::fs::write(&path, "nothing").expect("write");
        assert!(Address::new(&with_file("mongodb://h")).expect_err("empty")[0].contains("no certificate"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n").expect("write");
        let Some(Tls::Enabled(tls)) = options(&with_file("mongodb://h"), None).tls else { panic!("TLS is off") };
        assert_eq!(tls.ca_file_path.as_deref(), Some(path.as_path()));
        assert!(
            Address::new(&with_file("mongodb://h/?tls=false")).expect_err("contradiction")[0].contains("tls=false")
        );
        std::fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn problems_name_the_setting_and_never_the_password() {
        for uri in [
            "mongodb://user:p?ssword@h/db",
            "mongodb://user:pass/word@h/db",
            "mongodb://user:pass@word@h",
            "mongodb://user:27x17pass@h:port/db",
            "mongodb://user:secretpass@h/db?w=secretpass&ssl=maybe",
            "mongodb://user:password@/db",
        ] {
            let problems = Address::new(&config(uri)).expect_err(uri);
            assert!(problems[0].starts_with("TIDELOCK_TARGET: "), "{problems:?}");
            for secret in ["word", "secretpass", "27x17", " p "] {
                assert!(!problems[0].replace("password must be", "").contains(secret), "{uri}: {problems:?}");
            }
        }
        for config in [
            MongoDbConfig { auth: Auth::MongoDbAws, ..config("mongodb://h/db") },
            config("mongodb://h/db?authMechanism=MONGODB-AWS&authSource=$external"),
        ] {
            match Address::new(&config) {
                Ok(address) => assert!(cfg!(feature = "aws") && address.wants_no_login()),
                Err(problems) => {
                    assert!(!cfg!(feature = "aws") && problems[0].contains("--features mongodb-aws"), "{problems:?}");
                }
            }
        }
        let address = Address::new(&config("mongodb://user:s%2Fcret@h1,h2:27018/db")).expect("valid");
        assert_eq!(address.hosts, "h1:27017,h2:27018");
        assert_eq!(address.without_passwords("a s%2Fcret s/cret hush/hush", &[login()]), "a *** *** ***");
        assert!(!format!("{address:?}").contains("cret"));
    }

    #[test]
    fn targets_without_a_database_are_refused_at_start() {
        let pipeline =
            |to: &str| Pipeline::parse(&format!("version: 1\nroutes: [{{from: a, to: {to}}}]")).expect("valid");
        assert_eq!(config("mongodb://h/db").check(&pipeline("c")), Vec::<String>::new());
        assert_eq!(config("mongodb://h").check(&pipeline("db.c")), Vec::<String>::new());
        assert!(config("mongodb://h").check(&pipeline("c"))[0].contains("write DATABASE.c"));
        assert!(config("mongodb://h").check(&Pipeline::default())[0].contains("mongodb://HOST/DATABASE"));
        assert!(config("mongodb://h/db").check(&pipeline(".c"))[0].contains("routes[0].to: `.c` must be"));
        assert!(config("http://h").check(&pipeline("c"))[0].starts_with("TIDELOCK_TARGET: "));
        for reserved in ["tidelock_fences", "db.tidelock_fences"] {
            assert!(config("mongodb://h/db").check(&pipeline(reserved))[0].contains("is Tidelock's own"), "{reserved}");
        }
        for (to, words) in
            [("'a b.c'", "or a blank"), ("db.a$b", "has no $"), ("system.views", ""), ("db.system.x", "system.")]
        {
            let problems = config("mongodb://h/db").check(&pipeline(to));
            assert_eq!(problems.len(), usize::from(!words.is_empty()), "{to}: {problems:?}");
            assert!(problems.iter().all(|problem| problem.contains(words)), "{to}: {problems:?}");
        }
        let uri = Secret::new("mongodb://h");
        let refused =
            MongoDbConfig::refusals(&uri, &Pipeline::parse("version: 1\nroutes: [{from: a}]").expect("valid"));
        assert!(refused[0].path == "routes[0].from" && refused[0].words.contains("of no database"), "{refused:?}");
        assert_eq!(MongoDbConfig::refusals(&uri, &pipeline("'db.c-{x.y}'")), []);
    }

    #[test]
    fn the_databases_of_a_pipeline_are_known() {
        let routes = "[{from: a, to: x.c}, {from: b, to: y.c.d}, {from: c, to: x.e}, {from: d, to: c}, {from: e}]";
        let pipeline = Pipeline::parse(&format!("version: 1\nroutes: {routes}")).expect("valid");
        assert_eq!(MongoDbConfig::databases_of(&pipeline), ["x", "y"]);
        assert_eq!(MongoDbConfig::databases_of(&Pipeline::default()), Vec::<String>::new());
    }
}
