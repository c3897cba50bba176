//! Settings of functions that follow no stream: what works at the source's cluster itself, and the demo's.

use super::address::source_address;
use super::{Problems, Secret, Settings, SourceAddress, known};
use std::collections::BTreeMap;

/// How the source's cluster is reached by a function that works at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `TIDELOCK_SOURCE`: the connection string.
    pub uri: Secret,
    /// `TIDELOCK_SOURCE_SECRET`: the secret's name, not the secret.
    pub secret: Option<String>,
    /// `TIDELOCK_SOURCE_CA_FILE`.
    pub ca_file: Option<String>,
    /// `TIDELOCK_DEMO_DATABASE` and `TIDELOCK_DEMO_COLLECTION`, where both are set.
    pub demo: Option<(String, String)>,
}

impl ClusterSettings {
    /// Validates the variables (name, value). Settings of other functions are passed over, names that are none are not.
    ///
    /// # Errors
    /// Every problem at once, each naming the variable and what is allowed.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let (mut given, problems) = known(variables);
        Self::of(&mut given, problems)
    }

    fn of(given: &mut BTreeMap<String, String>, mut problems: Vec<String>) -> Result<Self, Problems> {
        let uri = match given.remove("TIDELOCK_SOURCE").as_deref().map(source_address) {
            Some(Ok(SourceAddress::MongoDb(uri))) => Some(uri),
            Some(Ok(SourceAddress::DynamoDb)) => {
                problems
                    .push("TIDELOCK_SOURCE: dynamodb: is no cluster; use mongodb://… or mongodb+srv://…".to_owned());
                None
            }
            // The value may hold a password.
            Some(Err(_)) => {
                problems.push("TIDELOCK_SOURCE: not one of mongodb://…, mongodb+srv://…".to_owned());
                None
            }
            None => {
                problems.push("TIDELOCK_SOURCE is not set; allowed: mongodb://…, mongodb+srv://…".to_owned());
                None
            }
        };
        match uri {
            Some(uri) if problems.is_empty() => Ok(Self {
                uri,
                secret: given.remove("TIDELOCK_SOURCE_SECRET"),
                ca_file: given.remove("TIDELOCK_SOURCE_CA_FILE"),
                demo: given.get("TIDELOCK_DEMO_DATABASE").cloned().zip(given.get("TIDELOCK_DEMO_COLLECTION").cloned()),
            }),
            _ => Err(Problems(problems)),
        }
    }
}

/// Settings of `demo-writer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoSettings {
    /// Where the collection is.
    pub cluster: ClusterSettings,
    /// `TIDELOCK_DEMO_DATABASE`.
    pub database: String,
    /// `TIDELOCK_DEMO_COLLECTION`.
    pub collection: String,
}

impl DemoSettings {
    /// Validates the variables (name, value), but for the rules that names follow.
    ///
    /// # Errors
    /// As of [`ClusterSettings::read`].
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let (mut given, problems) = known(variables);
        let cluster = ClusterSettings::of(&mut given, problems)?;
        let mut name = |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
        let database = name("TIDELOCK_DEMO_DATABASE", "demo-database");
        Ok(Self { cluster, database, collection: name("TIDELOCK_DEMO_COLLECTION", "demo-collection") })
    }
}

/// Settings of `demo-reader`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchSettings {
    /// The target and how to authenticate there.
    pub settings: Settings,
    /// `TIDELOCK_DEMO_INDEX`.
    pub index: String,
}

impl SearchSettings {
    /// Validates the variables (name, value), but for the rules that names follow.
    ///
    /// # Errors
    /// As of [`Settings::read`].
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let mut index = None;
        let variables = variables.into_iter().inspect(|(name, value)| {
            if name == "TIDELOCK_DEMO_INDEX" && !value.is_empty() {
                index = Some(value.clone());
            }
        });
        let settings = Settings::read(variables)?;
        Ok(Self { settings, index: index.unwrap_or_else(|| "demo-index".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_cluster_needs_no_target() {
        let given = [
            ("TIDELOCK_SOURCE", "mongodb://user:hush@h"),
            ("TIDELOCK_SOURCE_SECRET", "cluster/admin"),
            ("TIDELOCK_SOURCE_CA_FILE", ""),
            ("TIDELOCK_IN_FLIGHT", "another function's"),
        ];
        let settings = ClusterSettings::read(variables(&given)).expect("valid");
        assert_eq!((settings.secret.as_deref(), settings.ca_file.as_deref()), (Some("cluster/admin"), None));
        assert_eq!(settings.uri, Secret::new("mongodb://user:hush@h"));
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn all_problems_of_a_cluster_at_once() {
        for (source, words) in [
            ("", "TIDELOCK_SOURCE is not set"),
            ("dynamodb:", "is no cluster"),
            ("mongo://user:hush@h", "not one of mongodb://"),
        ] {
            let given = [("TIDELOCK_SOURCE", source), ("TIDELOCK_SORCE_SECRET", "x")];
            let problems = ClusterSettings::read(variables(&given)).expect_err("invalid").0;
            assert_eq!(problems.len(), 2, "{problems:?}");
            assert!(problems[0].contains("did you mean TIDELOCK_SOURCE_SECRET?"), "{problems:?}");
            assert!(problems[1].contains(words) && !problems[1].contains("hush"), "{problems:?}");
        }
    }

    #[test]
    fn the_demo_has_names_of_its_own_unless_told_others() {
        let source = ("TIDELOCK_SOURCE", "mongodb://h");
        let demo = DemoSettings::read(variables(&[source, ("TIDELOCK_DEMO_DATABASE", "")])).expect("valid");
        assert_eq!((demo.database.as_str(), demo.collection.as_str()), ("demo-database", "demo-collection"));
        let given = [source, ("TIDELOCK_DEMO_DATABASE", "d"), ("TIDELOCK_DEMO_COLLECTION", "c")];
        let demo = DemoSettings::read(variables(&given)).expect("valid");
        assert_eq!((demo.database.as_str(), demo.collection.as_str()), ("d", "c"));
        let of_cluster = |given: &[(&str, &str)]| ClusterSettings::read(variables(given)).expect("valid").demo;
        assert_eq!(of_cluster(&given), Some(("d".to_owned(), "c".to_owned())));
        assert_eq!(of_cluster(&given[..2]), None);
        let target = ("TIDELOCK_TARGET", "opensearch+http://h:1");
        assert_eq!(SearchSettings::read(variables(&[target])).expect("valid").index, "demo-index");
        let given = [target, ("TIDELOCK_DEMO_INDEX", "i")];
        assert_eq!(SearchSettings::read(variables(&given)).expect("valid").index, "i");
        assert_eq!(SearchSettings::read(variables(&[("TIDELOCK_DEMO_INDX", "i")])).expect_err("invalid").0.len(), 2);
    }
}
