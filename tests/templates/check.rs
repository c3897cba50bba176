//! A template against the rules.

use super::alarm::reason_of;
use super::document::{keys, parse, texts};
use super::read;
use super::rules::{BACKFILL, Function, Plan, SECTIONS, SOURCES, STACK_SECTIONS, Source, TARGETS, Target, is_setting};
use super::stack::STACK_TYPES;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The words of a text that begin like settings.
fn setting_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("TIDELOCK_")).collect()
}

pub(super) struct Check<'a> {
    pub(super) template: &'a Value,
    pub(super) plan: &'static Plan,
    pub(super) source: &'static Source,
    /// Those that it can be deployed for.
    pub(super) targets: &'static [Target],
    problems: Vec<String>,
}

/// What a template of this name is for, from where, and to where.
pub(super) fn purpose(name: &str) -> Result<(&'static Plan, &'static Source, &'static [Target]), String> {
    if let Some(source) = name.strip_suffix(".yaml").filter(|stem| *stem == "backfill").and(SOURCES.first()) {
        return Ok((&BACKFILL, source, TARGETS));
    }
    let Some((source, target)) = name.strip_suffix(".yaml").and_then(|stem| stem.split_once("-to-")) else {
        return Err("is named neither SOURCE-to-TARGET.yaml nor backfill.yaml".to_owned());
    };
    let rules = "add them to tests/templates/rules.rs";
    let known = SOURCES.iter().find(|known| known.name == source);
    let source = known.ok_or_else(|| format!("no rules for the source `{source}`: {rules}"))?;
    let known = TARGETS.iter().position(|known| known.name == target);
    let target = known.ok_or_else(|| format!("no rules for the target `{target}`: {rules}"))?;
    Ok((source.plan, source, &TARGETS[target..=target]))
}

/// All that is wrong with a template.
pub(super) fn problems(name: &str, text: &str) -> Vec<String> {
    let (plan, source, targets) = match purpose(name) {
        Ok(purpose) => purpose,
        Err(problem) => return vec![problem],
    };
    let template = match parse(text) {
        Ok(template) => template,
        Err(error) => return vec![format!("is no YAML: {error}")],
    };
    let mut check = Check { template: &template, plan, source, targets, problems: Vec::new() };
    let stack = source.stream.is_none();
    check.known("template", keys(&template), &[SECTIONS, if stack { STACK_SECTIONS } else { &[] }].concat());
    let sam = texts(&template["Transform"]).last() == Some(&"AWS::Serverless-2016-10-31");
    check.expect(sam, || "is no SAM template".to_owned());
    for setting in setting_names(text) {
        check.expect(is_setting(setting), || format!("{setting} is not a setting"));
    }
    check.parameters();
    let mut kinds = BTreeMap::new();
    for (name, kind, resource) in check.resources() {
        let properties = &resource["Properties"];
        *kinds.entry(kind).or_insert(0) += 1;
        match kind {
            "AWS::Serverless::Function" => check.function(name, properties),
            "AWS::Serverless::StateMachine" => check.state_machine(name, properties),
            "AWS::Lambda::EventSourceMapping" => check.mapping(name, resource),
            "AWS::SQS::Queue" => check.queue(name, resource),
            "AWS::S3::Bucket" => check.bucket(name, resource),
            "AWS::DynamoDB::Table" => check.table(name, resource),
            "AWS::IAM::Role" => check.role(name, properties),
            "AWS::SQS::QueuePolicy" | "AWS::S3::BucketPolicy" => check.resource_policy(name, resource),
            "AWS::IAM::ManagedPolicy" if stack => check.managed_policy(name, properties),
            "AWS::Events::Rule" if stack => check.timer(name, properties),
            "AWS::CloudWatch::Alarm" => check.alarm(name, properties),
            "AWS::Logs::LogGroup" => {
                check.expect(!properties["RetentionInDays"].is_null(), || format!("{name} keeps its log for ever"));
            }
            other if stack && STACK_TYPES.contains(&other) => check.part(name, other, resource),
            other => check.problems.push(format!("{name}: no rules for a resource of type {other}")),
        }
    }
    check.functions();
    for (kind, needed) in plan.counts {
        let found = kinds.get(kind).copied().unwrap_or(0);
        check.expect(found == *needed, || format!("has {found} resources of type {kind}, not {needed}"));
    }
    check.mappings(kinds.get("AWS::Lambda::EventSourceMapping").copied().unwrap_or(0));
    for (namespace, metric) in plan.alarms {
        let watched = check.alarms(namespace, metric).next().is_some();
        check.expect(watched, || format!("no alarm on {namespace} {metric}"));
    }
    for reason in plan.reasons {
        let watched = check.resources().any(|(_, _, resource)| reason_of(&resource["Properties"]) == Some(*reason));
        check.expect(watched, || format!("no alarm on letters of reason {reason}"));
    }
    if stack {
        check.stack();
    }
    check.problems
}

impl<'a> Check<'a> {
    pub(super) fn expect(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }

    pub(super) fn known<'v>(&mut self, owner: &str, given: impl Iterator<Item = &'v str>, allowed: &[&str]) {
        for key in given.filter(|key| !allowed.contains(key)) {
            self.problems.push(format!("{owner}: {key} has no rule, so it may not be set"));
        }
    }

    pub(super) fn is_a(&self, resource: Option<&str>, kind: &str) -> bool {
        resource.is_some_and(|name| self.template["Resources"][name]["Type"] == kind)
    }

    /// Name, type and declaration of every resource.
    pub(super) fn resources(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> + use<'a> {
        let resources = self.template["Resources"].as_object().into_iter().flatten();
        resources.map(|(name, resource)| (name.as_str(), resource["Type"].as_str().unwrap_or_default(), resource))
    }

    /// The rules of the function that a resource is.
    pub(super) fn rules_of(&self, resource: Option<&str>) -> Option<&'static Function> {
        let resource = resource.filter(|_| self.is_a(resource, "AWS::Serverless::Function"))?;
        let folder = self.template["Resources"][resource]["Properties"]["CodeUri"].as_str()?;
        let folder = folder.strip_prefix("../target/lambda/")?.trim_end_matches('/');
        self.plan.functions.iter().find(|function| function.folder(self.source) == folder)
    }

    /// The alarms on a metric.
    pub(super) fn alarms(&self, namespace: &str, metric: &str) -> impl Iterator<Item = &'a Value> {
        let properties = self.resources().map(|(_, _, resource)| &resource["Properties"]);
        properties.filter(move |alarm| alarm["Namespace"] == *namespace && alarm["MetricName"] == *metric)
    }

    /// An output is the resource's name.
    pub(super) fn named(&mut self, name: &str) {
        let mut outputs = self.template["Outputs"].as_object().into_iter().flatten();
        let named = outputs.any(|(_, output)| output["Value"]["!Ref"] == name);
        self.expect(named, || format!("no output names {name}"));
    }

    /// The parameter that a value refers to.
    pub(super) fn parameter(&self, value: &Value) -> Option<(&'a str, &'a Value)> {
        let parameters = self.template["Parameters"].as_object()?;
        parameters.get_key_value(value["!Ref"].as_str()?).map(|(name, parameter)| (name.as_str(), parameter))
    }

    fn parameters(&mut self) {
        let groups = &self.template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"];
        let listed = groups.as_array().into_iter().flatten().flat_map(|group| texts(&group["Parameters"]));
        let mut listed: Vec<&str> = listed.collect();
        let manual = read("docs/deploy.md");
        for (name, parameter) in self.template["Parameters"].as_object().into_iter().flatten() {
            let described = parameter["Description"].as_str().is_some_and(|text| !text.trim().is_empty());
            self.expect(described, || format!("parameter {name} has no Description"));
            let groups = listed.iter().filter(|listed| *listed == name).count();
            self.expect(groups == 1, || format!("parameter {name} is in {groups} parameter groups"));
            self.expect(manual.contains(&format!("`{name}`")), || format!("parameter {name} is not in docs/deploy.md"));
            listed.retain(|listed| listed != name);
        }
        self.expect(listed.is_empty(), || format!("the parameter groups list {listed:?}, which do not exist"));
    }
}
