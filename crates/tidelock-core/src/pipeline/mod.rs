//! The pipeline: which source goes where.
//!
//! ```yaml
//! version: 1
//! unmatched: filter            # filter | error
//! routes:
//!   - name: orders
//!     from: mytable            # the table's name; * and ? match
//!     where: .status == "paid" # which items; see `condition`
//!     to: shop.orders-{country} # index for OpenSearch, collection or database.collection for MongoDB; {at:%Y.%m}
//!     id: "{tenant}|{id}"      # default: the source's key
//!     long_id: park            # park | hash, for ids over OpenSearch's 512 bytes
//!     routing: "{tenant}"      # OpenSearch; of fields that are in `id` or in the key
//!     ingest_pipeline: NAME    # OpenSearch
//!     locate: image            # image | state: how it is known where a document has been
//!     shard_key: [country]     # fields of a sharded MongoDB collection's key
//!     also: [audit]            # further routes that get the same change
//!     write: replace           # replace | merge, with preserve: [fields that the target's users own]
//!     deletes: hard            # hard | soft | ignore; soft: {flag: _deleted, at: _deleted_at}
//!     on_outage: retry         # retry | hold | always_hold
//!     on_conflict: park        # park | salvage
//!     on_drop: park            # park | ignore | delete-all; also on_rename, on_drop_database, on_invalidate
//! indexes:                     # how OpenSearch's indices are made; see `indexes`
//!   paid: {mappings: {properties: {total: {type: double}}}}
//! ```
//!
//! The first route that matches wins, `where` included. An item that comes to match another route, or whose `to` changes,
//! leaves its old place. Without a pipeline every source goes to a target of its own name, as it is.

mod check;
mod commands;
mod condition;
mod explain;
mod file;
mod format;
mod grammar;
mod id;
mod indexes;
mod route;
mod rules;
mod shape;
mod template;

use crate::cause::{Cause, Failure};
use crate::encode::MARK_FIELD;
use crate::target::{Deletes, Manner, Namespaces, Place};
use crate::transform::{Otherwise, RawStep, Transform};
pub use check::{Checked, Destination, Refusal};
use commands::{Commands, OnCommand};
pub use explain::Asked;
pub(crate) use file::Problems;
pub use file::{Problem, Severity};
#[cfg(feature = "reference")]
pub use format::{reference, schema};
use id::IdTemplate;
use indexes::RawIndex;
pub use indexes::{Index, Indexes, ROLLOVER};
pub use route::Route;
pub use rules::{ItemRules, Rules};
use serde::Deserialize;
pub(crate) use shape::{document, item_version};
use template::Template;

/// What follows from an item, or from its source's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    /// To this place.
    To(Place),
    /// Left out.
    Filtered,
    /// There is no route and the pipeline says that there must be one, or no place can be made of the item.
    Refused(Failure),
}

/// A validated pipeline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pipeline {
    file: Option<File>,
    namespaces: Namespaces,
    /// Where no route says it.
    on_outage: OnOutage,
}

#[derive(Debug, Clone, PartialEq)]
struct File {
    unmatched: UnmatchedPolicy,
    routes: Vec<Route>,
    indexes: Indexes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnmatchedPolicy {
    #[default]
    Filter,
    Error,
}

impl UnmatchedPolicy {
    fn routed(self, name: &str) -> Routed {
        match self {
            Self::Filter => Routed::Filtered,
            Self::Error => Routed::Refused(Failure::new(Cause::Unmatched, format!("no route matches `{name}`"))),
        }
    }
}

/// What a route wants done where a change cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// While the target cannot be reached.
    pub on_outage: OnOutage,
    /// When the target refuses a field.
    pub on_conflict: OnConflict,
}

/// See [`Policy::on_outage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOutage {
    /// The event source mapping repeats the change until it passes.
    #[default]
    Retry,
    /// The change goes to the fallback queue and counts as done; `redrive` applies it later.
    Hold,
    /// Every change goes to the fallback queue, whatever the target's state: `redrive` alone writes.
    AlwaysHold,
}

/// See [`Policy::on_conflict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The change is parked.
    #[default]
    Park,
    /// The document is written without the field, which is kept under `_rejected`, and a letter tells of it.
    Salvage,
}

/// A route as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    name: Option<String>,
    from: Option<String>,
    to: Option<String>,
    id: Option<String>,
    long_id: Option<LongId>,
    routing: Option<String>,
    ingest_pipeline: Option<String>,
    #[serde(rename = "where")]
    condition: Option<String>,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    write: WriteMode,
    #[serde(default)]
    preserve: Vec<String>,
    #[serde(default)]
    deletes: DeleteMode,
    soft: Option<RawSoft>,
    #[serde(default)]
    shard_key: Vec<String>,
    version: Option<RawVersion>,
    #[serde(default)]
    locate: Locate,
    on_outage: Option<OnOutage>,
    #[serde(default)]
    on_conflict: OnConflict,
    #[serde(default)]
    on_drop: OnCommand,
    #[serde(default)]
    on_rename: OnCommand,
    #[serde(default)]
    on_drop_database: OnCommand,
    #[serde(default)]
    on_invalidate: OnCommand,
    on_missing: Option<Otherwise>,
    on_wrong_type: Option<Otherwise>,
    /// Nothing in the place of a step that cannot be used.
    #[serde(default)]
    transform: Vec<Option<RawStep>>,
}

/// See `version`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawVersion {
    Auto(Auto),
    Field(RawVersionField),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVersionField {
    field: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auto {
    Auto,
}

/// How it is known where the document of a changed item has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Locate {
    /// By the record's old image.
    #[default]
    Image,
    /// By what [the state](crate::locate) remembers.
    State,
}

/// See `long_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LongId {
    Park,
    Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WriteMode {
    #[default]
    Replace,
    Merge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeleteMode {
    #[default]
    Hard,
    Soft,
    Ignore,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSoft {
    flag: Option<String>,
    at: Option<String>,
}

impl RawRoute {
    /// Adds what is wrong with it to the problems.
    fn read(self, index: usize, problems: &mut Problems<'_>) -> Route {
        let mut wrong = |field: &str, problem: String| problems.wrong(format!("routes[{index}].{field}"), problem);
        if self.from.as_deref() == Some("") {
            wrong("from", "must not be empty".to_owned());
        }
        let to = self.to.and_then(|to| Template::parse(&to).map_err(|problem| wrong("to", problem)).ok());
        let id = self.id.and_then(|id| IdTemplate::parse(&id).map_err(|problem| wrong("id", problem)).ok());
        let routing =
            self.routing.and_then(|text| Template::parse(&text).map_err(|problem| wrong("routing", problem)).ok());
        if self.ingest_pipeline.as_deref() == Some("") {
            wrong("ingest_pipeline", "must not be empty".to_owned());
        }
        match self.write {
            WriteMode::Merge if self.preserve.is_empty() => wrong(
                "write",
                "merge needs `preserve`, the fields that the target's users own: what users have added could not be told from what the source has removed".to_owned(),
            ),
            WriteMode::Replace if !self.preserve.is_empty() => {
                wrong("preserve", "is for `write: merge` alone".to_owned());
            }
            _ => {}
        }
        for (at, field) in self.preserve.iter().enumerate() {
            if field.is_empty()
                || field.contains(['.', '[', '\0'])
                || field.starts_with('$')
                || field == "_id"
                || field == MARK_FIELD
            {
                wrong(&format!("preserve[{at}]"), format!("`{field}` is no field at the top of a document"));
            }
        }
        let deletes = match (self.deletes, self.soft) {
            (DeleteMode::Soft, soft) => {
                let (flag, at) = soft.map_or((None, None), |soft| (soft.flag, soft.at));
                let (flag, at) = (flag.unwrap_or_else(|| "_deleted".to_owned()), at.unwrap_or_default());
                for (field, name) in [("soft.flag", &flag), ("soft.at", &at)] {
                    let is_name =
                        !name.contains(['.', '\0']) && !name.starts_with('$') && name != "_id" && name != MARK_FIELD;
                    if !is_name || (name.is_empty() && field == "soft.flag") {
                        wrong(field, format!("`{name}` is no field at the top of a document"));
                    }
                }
                if flag == at {
                    wrong("soft.at", format!("`{at}` is the flag already"));
                }
                Deletes::Soft { flag, at }
            }
            (_, Some(_)) => {
                wrong("soft", "is for `deletes: soft` alone".to_owned());
                Deletes::Hard
            }
            (DeleteMode::Hard, None) => Deletes::Hard,
            (DeleteMode::Ignore, None) => Deletes::Ignore,
        };
        if let Deletes::Soft { flag, at } = &deletes {
            for (index, field) in self.preserve.iter().enumerate().filter(|(_, field)| [flag, at].contains(field)) {
                wrong(
                    &format!("preserve[{index}]"),
                    format!("`{field}` says that a document is deleted: nobody else can own it"),
                );
            }
        }
        let manner = Manner { ingest_pipeline: self.ingest_pipeline, preserve: self.preserve, deletes };
        let condition_text = self.condition.clone();
        let condition =
            self.condition.and_then(|text| grammar::condition(&text).map_err(|problem| wrong("where", problem)).ok());
        let mut shard_key: Vec<Vec<String>> = Vec::new();
        for (at, field) in self.shard_key.into_iter().enumerate() {
            let path: Vec<String> = field.split('.').map(str::to_owned).collect();
            let twice = shard_key.contains(&path);
            // The document's own id stands in every filter anyway.
            if field == "_id" {
                continue;
            }
            if field == MARK_FIELD
                || field.starts_with("_id.")
                || path.iter().any(|name| name.is_empty() || name.starts_with('$') || name.contains('\0'))
                || twice
            {
                let why = if twice { "is there twice" } else { "is no field" };
                wrong(&format!("shard_key[{at}]"), format!("`{field}` {why}"));
            }
            shard_key.push(path);
        }
        let version = match self.version {
            Some(RawVersion::Field(RawVersionField { field })) => {
                let path: Vec<String> = field.split('.').map(str::to_owned).collect();
                if path.iter().any(String::is_empty) {
                    wrong("version.field", format!("`{field}` is no field"));
                } else if self.from.is_none() {
                    let words = "is for routes with a `from`: a change has one version on all that it takes";
                    wrong("version", words.to_owned());
                }
                Some(path)
            }
            Some(RawVersion::Auto(_)) | None => None,
        };
        if version.is_some() && self.locate == Locate::State {
            let words = "state cannot be used with `version: {field}`: numbers that begin anew do not say which place is the latest; the stream's old images do";
            wrong("locate", words.to_owned());
        }
        let policy = Policy { on_outage: self.on_outage.unwrap_or_default(), on_conflict: self.on_conflict };
        let commands = Commands {
            drop: self.on_drop,
            rename: self.on_rename,
            drop_database: self.on_drop_database,
            invalidate: self.on_invalidate,
        };
        let transform = match self.transform {
            steps if steps.is_empty() => None,
            steps => {
                let list = format!("routes[{index}].transform");
                Transform::read(steps, self.on_missing, self.on_wrong_type, &list, problems)
            }
        };
        Route {
            name: self.name,
            from: self.from,
            to,
            id,
            hashes_long_ids: self.long_id == Some(LongId::Hash),
            routing,
            condition,
            condition_text,
            also: Vec::new(),
            shard_key,
            version,
            is_located: self.locate == Locate::State,
            policy,
            says_on_outage: self.on_outage.is_some(),
            commands,
            manner,
            transform,
        }
    }
}

impl Pipeline {
    /// Reads a pipeline from YAML or JSON text.
    ///
    /// # Errors
    /// All problems found, in the file's order.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::check(text).usable()
    }

    /// The pipeline for a target: names that are one place to it become one.
    #[must_use]
    pub fn within(self, namespaces: Namespaces) -> Self {
        Self { namespaces, ..self }
    }

    /// The pipeline for a source whose changes are held where no route says what becomes of them while the target cannot be reached.
    #[must_use]
    pub fn holding(mut self) -> Self {
        self.on_outage = OnOutage::Hold;
        for route in self.file.iter_mut().flat_map(|file| &mut file.routes).filter(|route| !route.says_on_outage) {
            route.policy.on_outage = OnOutage::Hold;
        }
        self
    }

    /// Every `to` of the routes, with `*` for fields, and whether some source goes to a target of its own name.
    pub fn targets(&self) -> (Vec<&str>, bool) {
        let routes = self.file.as_ref().map_or(&[][..], |file| &file.routes);
        let own_name = self.file.is_none() || routes.iter().any(|route| route.to.is_none());
        (routes.iter().filter_map(|route| route.to.as_ref().map(Template::outline)).collect(), own_name)
    }

    /// Whether a route's changes are ordered by a number that items hold.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| route.version.is_some())
    }

    /// The field with the number that orders changes of a source's items; `None`: the source's own order does.
    pub(crate) fn version_field(&self, name: &str) -> Option<&[String]> {
        self.routes_of(name).into_iter().find_map(|route| route.version.as_deref())
    }

    /// Whether some step hashes values, for which it needs a [key](Self::with_hash_key).
    #[must_use]
    pub fn hashes(&self) -> bool {
        let mut routes = self.file.iter().flat_map(|file| &file.routes);
        routes.any(|route| route.transform.as_ref().is_some_and(Transform::hashes))
    }

    /// The pipeline with the key of its keyed hashes.
    #[must_use]
    pub fn with_hash_key(mut self, key: &[u8]) -> Self {
        let routes = self.file.iter_mut().flat_map(|file| &mut file.routes);
        routes.filter_map(|route| route.transform.as_mut()).for_each(|transform| transform.set_hash_key(key));
        self
    }

    /// Whether some route, or what stands for one where there is none, has a policy that `wanted` finds.
    #[must_use]
    pub fn has(&self, wanted: impl Fn(&Policy) -> bool) -> bool {
        match &self.file {
            Some(file) => file.routes.iter().any(|route| wanted(&route.policy)),
            None => wanted(&self.default_policy()),
        }
    }

    /// What counts where no route says what is wanted.
    #[must_use]
    pub(crate) fn default_policy(&self) -> Policy {
        Policy { on_outage: self.on_outage, ..Policy::default() }
    }

    /// Whether some route has the places of its documents [remembered](crate::locate).
    #[must_use]
    pub fn locates(&self) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| route.is_located)
    }

    /// Whether some route wants its documents [written in a manner of its own](Manner).
    #[must_use]
    pub fn has_manners(&self) -> bool {
        self.file.iter().flat_map(|file| &file.routes).any(|route| route.manner().is_some())
    }
}

/// Whether `name` matches a pattern in which `*` stands for any text and `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // The greedy match with one point to return to is linear in practice and never exponential.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|&c| c == '*')
}

#[cfg(test)]
mod tests;
