//! What is measured: the built function in its settings, and the handlers it is compared with.

use std::fs;
use std::path::{Path, PathBuf};

use crate::corpus::Source;
use crate::function::{Launch, Result};
use crate::http::{self, Listener};
use crate::tls::Authority;
use crate::{mongodb, opensearch};

/// A function and one way of running it.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// Stable name in the results.
    pub(crate) id: &'static str,
    /// Name in tables.
    pub(crate) label: &'static str,
    pub(crate) launch: Launch,
    /// Whose events it understands.
    pub(crate) source: Source,
    /// What is deployed: a file or a folder.
    pub(crate) artifact: PathBuf,
}

/// The exchanges of an invocation alone.
pub(crate) const EXCHANGES: &str = "exchanges-opensearch";
pub(crate) const TIDELOCK: &str = "tidelock-opensearch";
pub(crate) const TIDELOCK_SIGV4: &str = "tidelock-opensearch-https-sigv4";
pub(crate) const TIDELOCK_UNGUARDED: &str = "tidelock-opensearch-unguarded";
pub(crate) const TIDELOCK_SHAPED: &str = "tidelock-opensearch-five-transforms";
pub(crate) const TIDELOCK_MONGODB_SHAPED: &str = "tidelock-mongodb-five-transforms";
pub(crate) const TIDELOCK_MONGODB: &str = "tidelock-mongodb";
pub(crate) const TIDELOCK_MONGODB_UNGUARDED: &str = "tidelock-mongodb-unguarded";
pub(crate) const DOCUMENTDB: &str = "tidelock-documentdb-opensearch";
pub(crate) const DOCUMENTDB_MONGODB: &str = "tidelock-documentdb-mongodb";
pub(crate) const NODE: &str = "node-opensearch";
pub(crate) const NODE_BUNDLED: &str = "node-opensearch-bundled";
pub(crate) const PYTHON: &str = "python-opensearch";
pub(crate) const PYTHON_MONGODB: &str = "python-mongodb";

/// The setting that leaves guards and fences out, to measure what they cost.
pub(crate) fn unguarded() -> (&'static str, String) {
    ("TIDELOCK_GUARDS", "none".into())
}

/// Five steps as pipelines typically have them, on the items of the corpus.
fn shaped() -> (&'static str, String) {
    let steps = r#"[{"default": {"note": null}}, {"convert": {"field": ["created_at", "updated_at"], "from": "epoch_seconds", "to": "date"}},
        {"rename": {"title": "name"}}, {"drop": ["discount", "sizes"]}, {"convert": {"field": "price", "to": "scaled", "scale": 2}}]"#;
    let routes = format!(r#"{{"version": 1, "routes": [{{"from": "{DESTINATION}", "transform": {steps}}}]}}"#);
    ("TIDELOCK_PIPELINE", routes)
}

/// Index or collection that handlers write to; the function takes the table's name, which is the same.
const DESTINATION: &str = "bench";

impl Subject {
    /// Whether only its processor time is of interest.
    pub(crate) fn is_variant(&self) -> bool {
        [EXCHANGES, TIDELOCK_UNGUARDED, TIDELOCK_MONGODB_UNGUARDED, TIDELOCK_SHAPED, TIDELOCK_MONGODB_SHAPED]
            .contains(&self.id)
    }
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The bootstrap of `dynamodb-sync`; other functions lie beside it.
    pub(crate) function: PathBuf,
    /// Folder into which `benches/peers/install.sh` installs.
    pub(crate) peers: PathBuf,
    /// Folder for results, logs and certificates.
    pub(crate) output: PathBuf,
}

impl Places {
    pub(crate) fn logs(&self) -> PathBuf {
        self.output.join("logs")
    }

    /// The bootstrap of another function, in a folder of its name beside that of the measured one.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        let functions = self.function.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        functions.join(name).join("bootstrap")
    }
}

/// The stubs that stand for the targets; they live as long as this value.
#[derive(Debug)]
pub(crate) struct Stubs {
    plain: Listener,
    tls: Listener,
    mongodb: Listener,
    authority_file: PathBuf,
}

impl Stubs {
    pub(crate) fn start(places: &Places) -> Result<Self> {
        fs::create_dir_all(&places.output)?;
        let authority = Authority::new()?;
        let authority_file = fs::canonicalize(&places.output)?.join("ca.pem");
        fs::write(&authority_file, &authority.pem)?;
        Ok(Self {
            plain: opensearch::stub(http::plain())?,
            tls: opensearch::stub(authority.accept())?,
            mongodb: mongodb::stub()?,
            authority_file,
        })
    }

    /// Everything that is built or installed, against the stubs; the rest is named in the second list.
    pub(crate) fn subjects(&self, places: &Places) -> (Vec<Subject>, Vec<String>) {
        let host = self.plain.address().to_string();
        let mongodb_url = format!("mongodb://{}/{DESTINATION}", self.mongodb.address());
        let signed = format!("opensearch+https://localhost:{}", self.tls.address().port());
        let authority = self.authority_file.display().to_string();
        let open_search = ("TIDELOCK_TARGET", format!("opensearch+http://{host}"));
        let mongodb = ("TIDELOCK_TARGET", mongodb_url.clone());
        let all = vec![
            exchanges(&host),
            tidelock(places, TIDELOCK, "Tidelock → OpenSearch", std::slice::from_ref(&open_search)),
            tidelock(
                places,
                TIDELOCK_UNGUARDED,
                "Tidelock → OpenSearch, unguarded",
                &[open_search.clone(), unguarded()],
            ),
            tidelock(
                places,
                TIDELOCK_SHAPED,
                "Tidelock → OpenSearch, five transforms",
                &[open_search.clone(), shaped()],
            ),
            tidelock(
                places,
                TIDELOCK_SIGV4,
                "Tidelock → OpenSearch, HTTPS and SigV4",
                &[
                    ("TIDELOCK_TARGET", signed),
                    ("TIDELOCK_TARGET_AUTH", "sigv4".into()),
                    ("TIDELOCK_TARGET_CA_FILE", authority),
                ],
            ),
            documentdb(places, DOCUMENTDB, "Tidelock, DocumentDB → OpenSearch", std::slice::from_ref(&open_search)),
            node(places, NODE, "Node → OpenSearch", "handler.mjs", (&host, DESTINATION)),
            node(places, NODE_BUNDLED, "Node → OpenSearch, bundled", "dist/handler.mjs", (&host, DESTINATION)),
            python(
                places,
                PYTHON,
                "Python → OpenSearch",
                "opensearch_handler",
                &[("OPENSEARCH_URL", format!("http://{host}")), ("OPENSEARCH_INDEX", DESTINATION.into())],
            ),
            tidelock(places, TIDELOCK_MONGODB, "Tidelock → MongoDB", std::slice::from_ref(&mongodb)),
            tidelock(
                places,
                TIDELOCK_MONGODB_UNGUARDED,
                "Tidelock → MongoDB, unguarded",
                &[mongodb.clone(), unguarded()],
            ),
            tidelock(
                places,
                TIDELOCK_MONGODB_SHAPED,
                "Tidelock → MongoDB, five transforms",
                &[mongodb.clone(), shaped()],
            ),
            documentdb(places, DOCUMENTDB_MONGODB, "Tidelock, DocumentDB → MongoDB", std::slice::from_ref(&mongodb)),
            python(
                places,
                PYTHON_MONGODB,
                "Python → MongoDB",
                "mongodb_handler",
                &[("MONGODB_URL", mongodb_url), ("MONGODB_COLLECTION", DESTINATION.into())],
            ),
        ];
        let (present, absent) = all.into_iter().partition::<Vec<_>, _>(|subject| subject.artifact.exists());
        (
            present,
            absent
                .into_iter()
                .map(|subject| format!("{}: {} is missing", subject.label, subject.artifact.display()))
                .collect(),
        )
    }
}

/// What the exchanges of an invocation take by themselves, made by this program.
fn exchanges(host: &str) -> Subject {
    let program = std::env::current_exe().unwrap_or_default();
    let launch = launch(EXCHANGES, &program, vec!["exchanges".into(), host.into()], &[]);
    Subject { id: EXCHANGES, label: "the exchanges alone", launch, source: Source::DynamoDb, artifact: program }
}

/// The function with these settings.
pub(crate) fn tidelock(places: &Places, id: &'static str, label: &'static str, settings: &[(&str, String)]) -> Subject {
    let launch = launch(id, &places.function, Vec::new(), settings);
    Subject { id, label, launch, source: Source::DynamoDb, artifact: places.function.clone() }
}

/// `documentdb-sync` with these settings, and the queue that it does not start without.
pub(crate) fn documentdb(
    places: &Places,
    id: &'static str,
    label: &'static str,
    settings: &[(&str, String)],
) -> Subject {
    let program = places.beside("documentdb-sync");
    let mut launch = launch(id, &program, Vec::new(), settings);
    launch.settings.push(("TIDELOCK_FALLBACK".into(), format!("file:{}", places.output.join("held").display())));
    Subject { id, label, launch, source: Source::DocumentDb, artifact: program }
}

/// The Node handler that writes to an index of an OpenSearch at `host`.
pub(crate) fn node(
    places: &Places,
    id: &'static str,
    label: &'static str,
    handler: &str,
    (host, index): (&str, &str),
) -> Subject {
    let folder = places.peers.join("node");
    let arguments = [folder.join("bootstrap.mjs"), folder.join(handler)].map(|path| path.display().to_string());
    let settings = [("OPENSEARCH_URL", format!("http://{host}")), ("OPENSEARCH_INDEX", index.into())];
    let artifact = folder.join(if handler.starts_with("dist") { "dist" } else { "node_modules" });
    let launch = launch(id, Path::new("node"), arguments.into(), &settings);
    Subject { id, label, launch, source: Source::DynamoDb, artifact }
}

fn python(
    places: &Places,
    id: &'static str,
    label: &'static str,
    module: &str,
    settings: &[(&str, String)],
) -> Subject {
    let folder = places.peers.join(id);
    let packages = folder.join("packages");
    let interpreter = places.peers.join("python/bin/python");
    let arguments =
        [places.peers.join("python_bootstrap.py").display().to_string(), folder.display().to_string(), module.into()];
    let mut launch = launch(id, &interpreter, arguments.into(), settings);
    launch.settings.push(("PYTHONPATH".into(), packages.display().to_string()));
    Subject { id, label, launch, source: Source::DynamoDb, artifact: packages }
}

fn launch(id: &str, program: &Path, arguments: Vec<String>, settings: &[(&str, String)]) -> Launch {
    Launch {
        name: id.into(),
        program: program.into(),
        arguments,
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    }
}
