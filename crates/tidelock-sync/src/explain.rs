//! Events explained with a function's own settings, without a connection to anything.

use crate::app::read_settings;
use crate::check::read_pipeline;
use crate::stdout;
use crate::targets::mongodb_config;
use tidelock_core::cause::Failure;
use tidelock_core::encode::Format;
use tidelock_core::explain::{Explanation, explain};
use tidelock_core::pipeline::Pipeline;
use tidelock_core::settings::{Guards, Settings, TargetAddress};
use tidelock_core::target::{Namespaces, Operation};
use tidelock_lambda::{Environment, Fatal};
use tidelock_opensearch::OpenSearchConfig;

/// Settings that say what is written, not where.
const OF_WHAT: [&str; 5] =
    ["TIDELOCK_PIPELINE", "TIDELOCK_GUARDS", "TIDELOCK_BULK_BYTES", "TIDELOCK_SOURCE", "TIDELOCK_HASH_SECRET"];

/// Any database: a target without an address has none of its own.
const ANY_DATABASE: &str = "test";

/// The key of hashes where the function's own would have to be fetched.
const STAND_IN: &str = "explain";

/// What a target would be sent for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Where to: `POST /orders/_bulk`, or `database shop`.
    pub to: String,
    /// The body's lines, or the commands as extended JSON; in their order. A fence's `written` is the source's time of the change
    /// here, the function's clock otherwise.
    pub lines: Vec<String>,
}

/// How a target would be written to.
#[derive(Debug)]
pub(crate) enum Manner {
    OpenSearch(OpenSearchConfig),
    MongoDb {
        /// Of names that give none.
        database: Option<String>,
        guards: bool,
        fences: bool,
    },
    /// As lines of JSON: targets that know no requests.
    Lines(&'static str),
}

/// Explains events.
#[derive(Debug)]
pub struct Explainer {
    pipeline: Pipeline,
    manner: Manner,
    truth: bool,
    has_stand_in: bool,
}

impl Explainer {
    /// With the settings of the environment. `target` stands for TIDELOCK_TARGET: an address, or `opensearch` or `mongodb` for one of
    /// that kind, which is also what no setting means; `pipeline` is the file of another pipeline than TIDELOCK_PIPELINE.
    ///
    /// # Errors
    /// When settings or pipeline are wrong: as the function's own.
    pub fn new(environment: &Environment, target: Option<&str>, pipeline: Option<&str>) -> Result<Self, Fatal> {
        let set = environment.get("TIDELOCK_TARGET").filter(|set| !set.is_empty());
        let own = target.is_none() && set.is_some();
        let address = match target.or(set) {
            None | Some("opensearch") => "opensearch+http://localhost".to_owned(),
            Some("mongodb") => format!("mongodb://localhost/{ANY_DATABASE}"),
            Some(address) => address.to_owned(),
        };
        let kept = environment.iter().filter(|(name, _)| own || OF_WHAT.contains(name));
        let kept = kept.filter(|(name, _)| *name != "TIDELOCK_TARGET");
        let given = [("TIDELOCK_TARGET", Some(address.as_str())), ("TIDELOCK_PIPELINE", pipeline)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let variables: Environment =
            kept.chain(given).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let settings = read_settings(&variables)?;
        let pipeline = read_pipeline(settings.pipeline.as_ref(), None, &settings.target)?;
        let key = if pipeline.hashes() { hash_key(settings.hash_secret.as_deref())? } else { None };
        let has_stand_in = pipeline.hashes() && key.is_none();
        let pipeline = pipeline.with_hash_key(key.as_deref().unwrap_or(STAND_IN).as_bytes());
        let manner = Manner::of(&settings, &pipeline)?;
        let namespaces = match &manner {
            Manner::OpenSearch(_) | Manner::Lines(_) => Namespaces::Single,
            Manner::MongoDb { .. } if target.or(set) == Some("mongodb") => Namespaces::Databases(None),
            Manner::MongoDb { database, .. } => Namespaces::Databases(database.clone()),
        };
        Ok(Self { pipeline: pipeline.within(namespaces), manner, truth: settings.source.is_some(), has_stand_in })
    }

    /// Values that `hash` steps make are of another key than the function's, which lies where nothing is asked for it.
    #[must_use]
    pub fn has_stand_in_key(&self) -> bool {
        self.has_stand_in
    }

    /// What would become of an event.
    ///
    /// # Errors
    /// When it is no event: as the function's own.
    pub fn explain(&self, payload: &[u8]) -> Result<Vec<Explanation<Sent>>, Fatal> {
        let format = match self.manner {
            Manner::MongoDb { .. } => Format::Bson,
            Manner::OpenSearch(_) | Manner::Lines(_) => Format::Json,
        };
        let told = explain(payload, &self.pipeline, format, self.truth, |operation| self.manner.sent(operation));
        told.map_err(|error| Fatal::new("Tidelock.Event", error.message))
    }
}

/// The key of hashes where it lies in a file.
fn hash_key(secret: Option<&str>) -> Result<Option<String>, Fatal> {
    let Some(path) = secret.and_then(|secret| secret.strip_prefix("file:")) else { return Ok(None) };
    let key = crate::app::hash_key_of(path);
    key.map(Some).map_err(|problem| Fatal::new("Tidelock.Settings", format!("TIDELOCK_HASH_SECRET: {problem}")))
}

impl Manner {
    pub(crate) fn of(settings: &Settings, pipeline: &Pipeline) -> Result<Self, Fatal> {
        let (guards, fences) = (settings.guards != Guards::None, settings.guards == Guards::Full);
        Ok(match &settings.target {
            TargetAddress::OpenSearch(_) => {
                let config = OpenSearchConfig::new(settings.bulk_bytes, settings.in_flight);
                Self::OpenSearch(OpenSearchConfig { guards, fences, ..config })
            }
            TargetAddress::MongoDb(uri) => {
                let database = mongodb_config(settings, uri, pipeline)?.default_database();
                Self::MongoDb { database, guards, fences }
            }
            TargetAddress::Sqlite(_) => Self::Lines("sqlite"),
            TargetAddress::Stdout => Self::Lines("stdout"),
        })
    }

    pub(crate) fn sent(&self, operation: &Operation<'_>) -> Result<Sent, Failure> {
        let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
        let now_ms = operation.version.at;
        match self {
            Self::OpenSearch(config) => {
                let made = tidelock_opensearch::bulk_lines(operation, config, now_ms)?;
                let to = format!("POST /{}/_bulk", operation.into.name);
                Ok(Sent { to, lines: lines(&[made.document, made.fence].concat()) })
            }
            Self::MongoDb { database, guards, fences } => {
                let made = tidelock_mongodb::commands(operation, database.as_deref(), (*guards, *fences), now_ms)?;
                let to = made.first().map(|command| format!("database {}", command.database)).unwrap_or_default();
                Ok(Sent { to, lines: made.into_iter().map(|command| command.command).collect() })
            }
            Self::Lines(to) => Ok(Sent { to: (*to).to_owned(), lines: lines(&stdout::line(operation)) }),
        }
    }
}
