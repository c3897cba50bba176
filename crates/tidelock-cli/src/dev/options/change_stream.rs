//! The options that name a change stream.

use std::time::Duration;

use tidelock_local::source::DEFAULT_RETENTION;
use tidelock_local::source::documentdb::{ChangeStreamSettings, ExtendedJson, FullDocument};

use super::Problems;

/// The group of options that only a change stream has.
const HEADING: &str = "Change stream (with --cluster)";

#[derive(Debug, Default, clap::Args)]
pub(super) struct ChangeStreamArgs {
    /// Read the change stream of this DocumentDB cluster or MongoDB server, such as
    /// mongodb://127.0.0.1:27018/?directConnection=true. The function gets it as TIDELOCK_SOURCE, unless that is set
    #[arg(long, value_name = "URI", help_heading = "Source (one of)")]
    pub(super) cluster: Option<String>,

    /// The database to watch. Default: all
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) database_name: Option<String>,
    /// The collection to watch. Default: all of the database
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) collection_name: Option<String>,
    /// What an update carries: `Default` (the changed fields) or `UpdateLookup` (the document too) [default: Default]
    #[arg(long, value_name = "MODE", help_heading = HEADING)]
    pub(super) full_document: Option<String>,
    /// The form of the events: `relaxed` or `canonical` extended JSON [default: relaxed]
    #[arg(long, value_name = "FORM", help_heading = HEADING)]
    pub(super) extended_json: Option<String>,
    /// Seconds that the cluster keeps events (`change_stream_log_retention_duration`), 1 to 604800: a batch that fails
    /// for longer disables the mapping; DocumentDB itself refuses less than 3600 [default: 10800]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, help_heading = HEADING)]
    pub(super) retention: Option<String>,
}

impl ChangeStreamArgs {
    pub(super) fn is_chosen(&self) -> bool {
        self.cluster.is_some()
    }

    pub(super) fn uri(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The change stream, if one is named.
    pub(super) fn settings(&self, region: &str, problems: &mut Problems) -> Option<ChangeStreamSettings> {
        let Some(uri) = &self.cluster else {
            for (option, is_given) in [
                ("database-name", self.database_name.is_some()),
                ("collection-name", self.collection_name.is_some()),
                ("full-document", self.full_document.is_some()),
                ("extended-json", self.extended_json.is_some()),
                ("retention", self.retention.is_some()),
            ] {
                problems.refuse(option, is_given, "only with --cluster");
            }
            return None;
        };
        if !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://") {
            // It may hold a password: not repeated.
            problems.add("--cluster: mongodb://HOST:PORT/?… or mongodb+srv://HOST/?… is allowed");
        }
        if self.collection_name.is_some() && self.database_name.is_none() {
            problems.add("--collection-name: needs --database-name");
        }
        let mut settings = ChangeStreamSettings::new(uri);
        settings.database.clone_from(&self.database_name);
        settings.collection.clone_from(&self.collection_name);
        settings.arn = format!("arn:aws:rds:{region}:000000000000:cluster:local");
        settings.full_document = match self.full_document.as_deref() {
            None | Some("Default") => FullDocument::Default,
            Some("UpdateLookup") => FullDocument::UpdateLookup,
            Some(other) => {
                problems.add(format!("--full-document {other}: Default or UpdateLookup is allowed"));
                FullDocument::Default
            }
        };
        settings.form = match self.extended_json.as_deref() {
            None | Some("relaxed") => ExtendedJson::Relaxed,
            Some("canonical") => ExtendedJson::Canonical,
            Some(other) => {
                problems.add(format!("--extended-json {other}: relaxed or canonical is allowed"));
                ExtendedJson::Relaxed
            }
        };
        let default = i64::try_from(DEFAULT_RETENTION.as_secs()).unwrap_or(i64::MAX);
        let retention = problems.number("retention", self.retention.as_deref(), (1, 604_800), default);
        settings.retention = Duration::from_secs(u64::try_from(retention).unwrap_or(1));
        Some(settings)
    }
}
