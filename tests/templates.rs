//! The SAM templates in `infra/`: what they set is something the functions know, and what they promise holds.
//!
//! A template is named SOURCE-to-TARGET.yaml, or after what else it is for. One whose source, resource or right has no rule
//! here fails, so that nothing is deployed unchecked. AWS's own rules are the business of cfn-lint and `sam validate`
//! (scripts/lint.sh).

mod agreement;
mod alarm;
mod broken;
mod check;
mod document;
mod function;
mod mapping;
mod rights;
mod role;
mod rules;
mod stack;
mod state_machine;
mod storage;

use crate::tidy::repository;
use alarm::printed;
use check::{problems, purpose};
use document::{alternatives, keys, parse, texts};
use rules::{BACKFILL, PIPELINE, STACK};
use serde_json::Value;
use std::collections::BTreeMap;
use tidelock_core::settings::Settings;

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Name and text of every template.
fn templates() -> Vec<(String, String)> {
    let files = std::fs::read_dir(repository().join("infra")).expect("infra/").map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| [".yaml", ".yml", ".json", ".template"].iter().any(|end| name.ends_with(end)));
    names.sort();
    assert!(!names.is_empty(), "infra/ has no templates");
    names.into_iter().map(|name| (name.clone(), read(&format!("infra/{name}")))).collect()
}

/// The example values of `samconfig.toml`, by template.
fn examples() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut examples = BTreeMap::new();
    let mut template = String::new();
    for line in read("infra/samconfig.toml").lines().map(str::trim) {
        let quoted = |text: &str| text.trim().trim_end_matches(',').trim_matches('"').to_owned();
        if let Some(name) = line.strip_prefix("template_file =") {
            template = quoted(name);
        } else if let Some((name, value)) = quoted(line).split_once('=').filter(|_| line.starts_with('"')) {
            examples.entry(template.clone()).or_insert_with(BTreeMap::new).insert(name.to_owned(), value.to_owned());
        }
    }
    examples
}

#[test]
fn templates_keep_their_promises() {
    let found: Vec<String> = templates()
        .iter()
        .flat_map(|(name, text)| {
            problems(name, text).into_iter().map(move |problem| format!("infra/{name}: {problem}"))
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_manual_names_every_metric() {
    let manual = read("docs/deploy.md");
    for function in [&PIPELINE, &STACK, &BACKFILL].into_iter().flat_map(|plan| plan.functions) {
        let declared = function.metrics.iter().flat_map(|constant| printed(constant).names);
        for metric in declared.chain(function.gauges.iter().map(ToString::to_string)) {
            assert!(manual.contains(&format!("`{metric}`")), "docs/deploy.md does not name {metric}");
        }
    }
}

#[test]
fn the_examples_make_functions_that_start() {
    let examples = examples();
    for (template_name, text) in templates() {
        let template = parse(&text).expect("YAML");
        let example = examples.get(&template_name);
        let example = example.unwrap_or_else(|| panic!("infra/samconfig.toml has no example of {template_name}"));
        let parameters = template["Parameters"].as_object().expect("parameters");
        for given in example.keys() {
            assert!(parameters.contains_key(given), "infra/samconfig.toml: {template_name} has no parameter {given}");
        }
        for (parameter, declaration) in parameters {
            let given = example.contains_key(parameter) || !declaration["Default"].is_null();
            assert!(given, "infra/samconfig.toml: {template_name} needs {parameter}");
        }
        // What a parameter or a resource of this name stands for.
        let named = |name: &str| {
            let Some(declaration) = parameters.get(name) else {
                return match template["Resources"][name]["Type"].as_str() {
                    _ if name == "Stores.Outputs.SourceUrl" => {
                        "mongodb://mycluster.cluster-abcdefghijkl.us-east-1.docdb.amazonaws.com:27017/?tls=true"
                            .to_owned()
                    }
                    _ if name == "Stores.Outputs.TargetUrl" => {
                        "opensearch+https://vpc-demo-abcdef.es.amazonaws.com".to_owned()
                    }
                    _ if name == "Stores.Outputs.SecretArn" => "a-secret".to_owned(),
                    Some("AWS::SQS::Queue") => format!("https://sqs.us-east-1.amazonaws.com/123456789012/{name}"),
                    Some(_) => format!("tidelock-{}-a1b2c3", name.to_lowercase()),
                    None => panic!("{template_name}: there is no {name}"),
                };
            };
            let default = &declaration["Default"];
            example.get(name).cloned().unwrap_or_else(|| default.as_str().map_or(default.to_string(), str::to_owned))
        };
        let reference = |value: &Value| value["!Ref"].as_str().or(value["!GetAtt"].as_str()).map(str::to_owned);
        let value = |value: &Value| match (value, reference(value), value["!Sub"].as_str()) {
            (Value::String(text), ..) => text.clone(),
            (_, Some(name), _) => named(&name),
            (_, _, Some(text)) => {
                let (before, rest) = text.split_once("${").expect("a placeholder");
                let (name, after) = rest.split_once('}').expect("its end");
                format!("{before}{}{after}", named(name))
            }
            _ => panic!("{template_name}: {value}"),
        };
        let functions: Vec<&str> = keys(&template["Resources"])
            .filter(|name| template["Resources"][name]["Type"] == "AWS::Serverless::Function")
            .collect();
        let (plan, source, targets) = purpose(&template_name).expect("a known purpose");
        assert_eq!(functions.len(), plan.functions.len(), "{template_name}: {functions:?}");
        let mut first = None;
        for function in functions {
            let variables = &template["Resources"][function]["Properties"]["Environment"]["Variables"];
            let variables: BTreeMap<String, String> =
                keys(variables).map(|key| (key.to_owned(), value(alternatives(&variables[key])[0]))).collect();
            let folder = template["Resources"][function]["Properties"]["CodeUri"].as_str().unwrap_or_default();
            let of = plan.functions.iter().find(|rules| folder.trim_end_matches('/').ends_with(&rules.folder(source)));
            if !of.expect("a function with rules").writes {
                // It has settings of its own.
                continue;
            }
            assert!(variables.len() > 5, "{function}: {variables:?}");
            Settings::read(variables.clone())
                .unwrap_or_else(|problems| panic!("infra/samconfig.toml, {template_name}: {problems}"));
            first.get_or_insert(variables);
        }
        let variables = first.expect("a function");
        if targets.len() > 1 {
            // It offers what any of them takes.
            continue;
        }

        let ways = &template["Parameters"]["TargetAuth"]["AllowedValues"];
        for way in texts(ways) {
            let mut variables = variables.clone();
            variables.insert("TIDELOCK_TARGET_AUTH".to_owned(), way.to_owned());
            variables.insert("TIDELOCK_TARGET_SECRET".to_owned(), "a-secret".to_owned());
            Settings::read(variables)
                .unwrap_or_else(|problems| panic!("{template_name}, TargetAuth={way}: {problems}"));
        }
        if let Some((_, address)) = variables["TIDELOCK_TARGET"].split_once("mongodb://") {
            let (_, path) = address.split_once('/').expect("a path");
            assert!(
                !path.starts_with('?') && !path.is_empty(),
                "{template_name}: without a pipeline TargetUrl must name a database"
            );
        }
    }
}
