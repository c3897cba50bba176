//! Templates that say the same thing say it alike.
//!
//! Every pipeline is one template without nested stacks, so what pipelines share stands in each of them. It may not drift
//! apart.

use super::document::{keys, parse, texts};
use super::templates;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Parameters that the target decides on.
const OF_THE_TARGET: &[&str] = &["TargetAuth", "TargetUrl"];

/// Members that are words for people.
const WORDS: &[&str] = &["AlarmDescription", "ConstraintDescription", "Description"];

/// Statements that only some targets need.
const STATEMENTS_OF_THE_TARGET: &[&str] = &["WriteCollection", "WriteDomain"];

type Templates = Vec<(String, String)>;

/// Without words for people, and without what the target needs.
fn essence(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !WORDS.contains(&name.as_str()));
            Value::Object(kept.map(|(name, member)| (name.clone(), essence(member))).collect())
        }
        Value::Array(items) => {
            let of_target = |item: &&Value| {
                let sid = item["!If"][1]["Sid"].as_str();
                sid.is_some_and(|sid| STATEMENTS_OF_THE_TARGET.contains(&sid))
            };
            items.iter().filter(|item| !of_target(item)).map(essence).collect()
        }
        other => other.clone(),
    }
}

fn parsed(templates: &Templates) -> Vec<(&str, Value)> {
    templates.iter().map(|(name, text)| (name.as_str(), parse(text).expect("YAML"))).collect()
}

/// Resources and outputs in which pipelines differ, but for their targets.
fn differences(templates: &Templates) -> Vec<String> {
    let pipelines: Vec<(&str, Value)> =
        parsed(templates).into_iter().filter(|(name, _)| name.starts_with("dynamodb-to-")).collect();
    let [(first_name, first), others @ ..] = pipelines.as_slice() else { panic!("there is no pipeline") };
    assert!(!others.is_empty());
    let mut found = Vec::new();
    for (name, other) in others {
        for section in ["Resources", "Outputs"] {
            let names: BTreeSet<&str> = keys(&first[section]).chain(keys(&other[section])).collect();
            let differ = |of: &&str| essence(&first[section][of]) != essence(&other[section][of]);
            found.extend(names.into_iter().filter(differ).map(|of| format!("{of} of {first_name} and {name} differ")));
        }
    }
    found
}

/// Parameters of one name that do not mean the same.
fn contradictions(templates: &Templates) -> Vec<String> {
    let mut declared: BTreeMap<String, Vec<(&str, Value)>> = BTreeMap::new();
    for (template, value) in parsed(templates) {
        for (name, parameter) in value["Parameters"].as_object().expect("parameters") {
            declared.entry(name.clone()).or_default().push((template, essence(parameter)));
        }
    }
    let mut found = Vec::new();
    for (name, declarations) in declared.iter().filter(|(name, _)| !OF_THE_TARGET.contains(&name.as_str())) {
        let [(first_template, first), others @ ..] = declarations.as_slice() else { continue };
        for (template, other) in others {
            // The certificates that most clusters of a target need are the one difference.
            let own = |field: &&str| name == "CaFile" && *field == "Default";
            let fields: BTreeSet<&str> = keys(first).chain(keys(other)).collect();
            let differ = |field: &&str| first[field] != other[field] && !own(field);
            found.extend(fields.into_iter().filter(differ).map(|field| {
                format!("{name}: {field} is {} in {first_template}, {} in {template}", first[field], other[field])
            }));
        }
    }
    found
}

/// The templates, with a text in one of them replaced.
fn with(name: &str, from: &str, to: &str) -> Templates {
    let mut templates = templates();
    let template = templates.iter_mut().find(|(found, _)| found == name).expect("a template");
    assert!(template.1.contains(from), "{name} has no {from:?} to be changed");
    template.1 = template.1.replace(from, to);
    templates
}

#[test]
fn pipelines_differ_in_their_target_alone() {
    assert_eq!(differences(&templates()), Vec::<String>::new());

    let name = "dynamodb-to-opensearch.yaml";
    for (from, to, where_) in [
        ("ExpirationInDays: 60", "ExpirationInDays: 90", "LettersBucket of"),
        ("      MemorySize: 1024\n", "      MemorySize: 512\n", "RedriveFunction of"),
        ("  KeptAlarm:\n", "  LeftAlarm:\n", "KeptAlarm of"),
        ("  StateTableName:\n", "  TableOfState:\n", "TableOfState of"),
        ("Sid: ReadSecret\n", "Sid: ReadSecrets\n", "SyncRole of"),
    ] {
        let found = differences(&with(name, from, to));
        assert!(found.iter().any(|found| found.contains(where_)), "{from:?} -> {to:?}: {found:?}");
    }
}

#[test]
fn parameters_mean_the_same_everywhere() {
    assert_eq!(contradictions(&templates()), Vec::<String>::new());

    for (from, to, what) in [
        ("    Default: 5000000\n", "    Default: 1000000\n", "BulkBytes: Default"),
        ("    MaxValue: 16\n", "    MaxValue: 32\n", "InFlight: MaxValue"),
        ("AllowedPattern: ^$|^subnet-", "AllowedPattern: ^subnet-", "SubnetIds: AllowedPattern"),
        ("    Type: CommaDelimitedList\n", "    Type: String\n", "DecryptKeyArns: Type"),
    ] {
        let found = contradictions(&with("backfill.yaml", from, to));
        assert!(found.iter().any(|found| found.contains(what)), "{from:?} -> {to:?}: {found:?}");
    }
}

#[test]
fn a_backfill_goes_wherever_a_pipeline_goes() {
    let all = templates();
    let (mut offered, mut of_backfill) = (BTreeSet::new(), BTreeSet::new());
    for (name, template) in parsed(&all) {
        let ways = if name.contains("-to-") { &mut offered } else { &mut of_backfill };
        ways.extend(texts(&template["Parameters"]["TargetAuth"]["AllowedValues"]).into_iter().map(str::to_owned));
    }
    assert_eq!(of_backfill, offered);
}
