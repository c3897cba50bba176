//! A template against the rules.

use super::document::{attribute_of, keys, parse, texts};
use super::read;
use super::rules::{FUNCTIONS, Function, NEEDED_ALARMS, SECTIONS, SOURCES, Source, TARGETS, Target};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tidelock_core::settings::ALL;

/// The words of a text that begin like settings.
fn setting_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("TIDELOCK_")).collect()
}

pub(super) struct Check<'a> {
    pub(super) template: &'a Value,
    pub(super) source: &'a Source,
    pub(super) target: &'a Target,
    problems: Vec<String>,
}

/// All that is wrong with a template.
pub(super) fn problems(name: &str, text: &str) -> Vec<String> {
    let Some((source, target)) = name.strip_suffix(".yaml").and_then(|stem| stem.split_once("-to-")) else {
        return vec!["is not named SOURCE-to-TARGET.yaml".to_owned()];
    };
    let Some(source) = SOURCES.iter().find(|known| known.name == source) else {
        return vec![format!("no rules for the source `{source}`: add them to tests/templates/rules.rs")];
    };
    let Some(target) = TARGETS.iter().find(|known| known.name == target) else {
        return vec![format!("no rules for the target `{target}`: add them to tests/templates/rules.rs")];
    };
    let template = match parse(text) {
        Ok(template) => template,
        Err(error) => return vec![format!("is no YAML: {error}")],
    };
    let mut check = Check { template: &template, source, target, problems: Vec::new() };
    check.known("template", keys(&template), SECTIONS);
    check.expect(template["Transform"] == "AWS::Serverless-2016-10-31", || "is no SAM template".to_owned());
    for setting in setting_names(text) {
        let exists = ALL.iter().any(|known| known.name == setting);
        check.expect(exists, || format!("{setting} is not a setting"));
    }
    check.parameters();
    let mut kinds = BTreeMap::new();
    for (name, kind, resource) in check.resources() {
        let properties = &resource["Properties"];
        *kinds.entry(kind).or_insert(0) += 1;
        match kind {
            "AWS::Serverless::Function" => check.function(name, properties),
            "AWS::Lambda::EventSourceMapping" => check.mapping(name, properties),
            "AWS::SQS::Queue" => check.queue(name, resource),
            "AWS::S3::Bucket" => check.kept(name, resource),
            "AWS::IAM::Role" => check.role(name, properties),
            "AWS::SQS::QueuePolicy" | "AWS::S3::BucketPolicy" => check.resource_policy(name, properties),
            "AWS::CloudWatch::Alarm" => check.alarm(name, properties),
            "AWS::Logs::LogGroup" => {
                check.expect(!properties["RetentionInDays"].is_null(), || format!("{name} keeps its log for ever"));
            }
            other => check.problems.push(format!("{name}: no rules for a resource of type {other}")),
        }
    }
    check.functions();
    for (kind, needed) in [("AWS::Lambda::EventSourceMapping", 1), ("AWS::SQS::Queue", 1)] {
        let found = kinds.get(kind).copied().unwrap_or(0);
        check.expect(found == needed, || format!("has {found} resources of type {kind}, not {needed}"));
    }
    for (namespace, metric) in NEEDED_ALARMS {
        let watched = check.alarms(namespace, metric).next().is_some();
        check.expect(watched, || format!("no alarm on {namespace} {metric}"));
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
        FUNCTIONS.iter().find(|function| function.folder(self.source) == folder)
    }

    /// The alarms on a metric.
    pub(super) fn alarms(&self, namespace: &str, metric: &str) -> impl Iterator<Item = &'a Value> {
        let properties = self.resources().map(|(_, _, resource)| &resource["Properties"]);
        properties.filter(move |alarm| alarm["Namespace"] == *namespace && alarm["MetricName"] == *metric)
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

    fn mapping(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), self.source.properties);
        for (property, right) in (self.source.fixed)() {
            let given = &properties[property];
            self.expect(*given == right, || format!("{name}: {property} must be {right}, not {given}"));
        }
        let arn = self.parameter(&properties["EventSourceArn"]).and_then(|(_, arn)| arn["AllowedPattern"].as_str());
        let own = arn.is_some_and(|pattern| pattern.contains(self.source.arn));
        self.expect(own, || format!("{name}: EventSourceArn is not a parameter whose pattern has {}", self.source.arn));
        let function = attribute_of(&properties["FunctionName"], "Arn");
        let own = self.rules_of(function).is_some_and(|function| function.fed);
        self.expect(own, || format!("{name}: FunctionName is not the template's sync function"));
        let destination = &properties["DestinationConfig"];
        let bucket = attribute_of(&destination["OnFailure"]["Destination"], "Arn");
        // Queues and topics get metadata only, which is worth nothing once the source has forgotten the records.
        let own = self.is_a(bucket, "AWS::S3::Bucket") && keys(destination).eq(["OnFailure"]);
        self.expect(own, || format!("{name}: DestinationConfig.OnFailure is not a bucket of the template"));
        // LATEST can miss changes made while the mapping is created.
        let start = self.parameter(&properties["StartingPosition"]).map(|(_, parameter)| &parameter["Default"]);
        let start = start.unwrap_or(&properties["StartingPosition"]);
        self.expect(*start == "TRIM_HORIZON", || format!("{name}: StartingPosition is not TRIM_HORIZON by default"));

        let age = self.parameter(&properties["MaximumRecordAgeInSeconds"]).map(|(_, parameter)| parameter);
        let number = |key: &str| age.and_then(|age| age[key].as_u64());
        let (default, most, least) = (number("Default"), number("MaxValue"), number("MinValue"));
        let (right, retention) = (self.source.maximum_age_s, self.source.retention_s);
        self.expect(default == Some(right), || format!("{name}: MaximumRecordAgeInSeconds is not {right} by default"));
        let saved = most.is_some_and(|most| most < retention) && least.is_some_and(|least| least > 0);
        self.expect(saved, || {
            format!("{name}: MaximumRecordAgeInSeconds may exceed {retention}, after which the source has forgotten it")
        });
    }

    /// What lies in a queue or a bucket is the only copy: the end of the stack is not its end.
    fn kept(&mut self, name: &str, resource: &Value) {
        let policy = |key: &str| resource[key].as_str().unwrap_or_default();
        let kept = policy("DeletionPolicy").starts_with("Retain") && policy("UpdateReplacePolicy") == "Retain";
        self.expect(kept, || format!("{name} would be deleted together with the stack"));
    }

    fn queue(&mut self, name: &str, resource: &Value) {
        let properties = &resource["Properties"];
        let retention = properties["MessageRetentionPeriod"] == 1_209_600;
        self.expect(retention, || format!("{name}: MessageRetentionPeriod is not 1209600, the longest there is"));
        let stays = properties["RedrivePolicy"].is_null();
        self.expect(stays, || {
            format!("{name} has a RedrivePolicy, which would carry letters away from whoever looks for them")
        });
        self.kept(name, resource);
    }

    /// Queue and bucket policies only forbid; rights are the role's.
    fn resource_policy(&mut self, name: &str, properties: &Value) {
        for statement in properties["PolicyDocument"]["Statement"].as_array().into_iter().flatten() {
            self.expect(statement["Effect"] == "Deny", || format!("{name}: {} is not a Deny", statement["Sid"]));
        }
    }
}
