//! A template against the rules.

use super::document::{alternatives, attribute_of, keys, parse, texts};
use super::read;
use super::rules::{
    AWS_METRICS, AWS_VARIABLES, FUNCTION_PROPERTIES, NEEDED_ALARMS, ON_EVERYTHING, REFUSED, ROLE_PROPERTIES, SECTIONS,
    SOURCES, Source, WRITES,
};
use crate::tidy::repository;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tidelock_core::settings::{ALL, Settings};

/// The words of a text that begin like settings.
fn setting_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("TIDELOCK_")).collect()
}

/// Namespace, dimension and names of the metrics that the function prints.
fn printed_metrics() -> (String, String, Vec<String>) {
    let source = read("crates/tidelock-sync/src/metrics.rs");
    let (_, declaration) = source.split_once("const METRICS").expect("METRICS in metrics.rs");
    let (declaration, _) = declaration.split_once(");").expect("the end of METRICS");
    let literals: String = declaration.split("r#\"").skip(1).filter_map(|part| part.split("\"#").next()).collect();
    let declared: Value = serde_json::from_str(&format!("{{{literals}}}")).expect("JSON");
    let directive = &declared["CloudWatchMetrics"][0];
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let names: Vec<String> =
        directive["Metrics"].as_array().expect("metrics").iter().map(|m| text(&m["Name"])).collect();
    assert!(!names.is_empty());
    (text(&directive["Namespace"]), text(&directive["Dimensions"][0][0]), names)
}

struct Check<'a> {
    template: &'a Value,
    source: &'a Source,
    target: &'a str,
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
    for (name, resource) in template["Resources"].as_object().into_iter().flatten() {
        let (kind, properties) = (resource["Type"].as_str().unwrap_or_default(), &resource["Properties"]);
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
    for kind in ["AWS::Serverless::Function", "AWS::Lambda::EventSourceMapping", "AWS::IAM::Role", "AWS::SQS::Queue"] {
        check.expect(kinds.contains_key(kind), || format!("has no {kind}"));
    }
    for (namespace, metric) in NEEDED_ALARMS {
        let mut resources =
            template["Resources"].as_object().into_iter().flatten().map(|(_, resource)| &resource["Properties"]);
        let watched = resources.any(|alarm| alarm["Namespace"] == *namespace && alarm["MetricName"] == *metric);
        check.expect(watched, || format!("no alarm on {namespace} {metric}"));
    }
    check.problems
}

impl<'a> Check<'a> {
    fn expect(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }

    fn known<'v>(&mut self, owner: &str, given: impl Iterator<Item = &'v str>, allowed: &[&str]) {
        for key in given.filter(|key| !allowed.contains(key)) {
            self.problems.push(format!("{owner}: {key} has no rule, so it may not be set"));
        }
    }

    fn is_a(&self, resource: Option<&str>, kind: &str) -> bool {
        resource.is_some_and(|name| self.template["Resources"][name]["Type"] == kind)
    }

    /// The parameter that a value refers to.
    fn parameter(&self, value: &Value) -> Option<(&'a str, &'a Value)> {
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

    fn function(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), FUNCTION_PROPERTIES);
        let uri = properties["CodeUri"].as_str().unwrap_or_default();
        let folder = uri.strip_prefix("../target/lambda/").map(|path| path.trim_end_matches('/'));
        let exists =
            folder.is_some_and(|folder| repository().join("functions").join(folder).join("Cargo.toml").is_file());
        self.expect(exists, || format!("{name}: CodeUri {uri:?} is not ../target/lambda/ and a folder of functions/"));
        self.expect(properties["Handler"] == "bootstrap", || format!("{name}: Handler is not bootstrap"));
        self.expect(properties["Runtime"] == "provided.al2023", || format!("{name}: Runtime is not provided.al2023"));
        let role = attribute_of(&properties["Role"], "Arn");
        self.expect(self.is_a(role, "AWS::IAM::Role"), || format!("{name}: Role is not one of the template's"));
        // A level above INFO would drop the lines that carry the metrics: they have none, which counts as INFO.
        let levels = self.parameter(&properties["LoggingConfig"]["ApplicationLogLevel"]);
        let levels: Vec<&str> = levels.map_or(Vec::new(), |(_, parameter)| texts(&parameter["AllowedValues"]));
        let audible = !levels.is_empty() && levels.iter().all(|level| ["INFO", "DEBUG", "TRACE"].contains(level));
        self.expect(audible, || format!("{name}: ApplicationLogLevel allows {levels:?}, metrics need INFO or lower"));

        let variables = &properties["Environment"]["Variables"];
        for variable in keys(variables) {
            let setting = ALL.iter().any(|setting| setting.name == variable);
            self.expect(setting || AWS_VARIABLES.contains(&variable), || {
                format!("{name}: {variable} is not a setting")
            });
            for value in alternatives(&variables[variable]) {
                let Some((parameter, declaration)) = self.parameter(value) else { continue };
                if declaration["Type"] == "Number" {
                    self.numbers(variable, parameter, declaration);
                }
                for (target, refused) in REFUSED {
                    let offered = *target == self.target && texts(&declaration["AllowedValues"]).contains(refused);
                    self.expect(!offered, || format!("{parameter} offers {refused}, which the target refuses"));
                }
            }
        }
        self.expect(!variables["TIDELOCK_TARGET"].is_null(), || format!("{name}: TIDELOCK_TARGET is not set"));
        let letters = variables["TIDELOCK_DEAD_LETTERS"]["!Ref"].as_str();
        let queue = self.is_a(letters, "AWS::SQS::Queue");
        self.expect(queue, || format!("{name}: TIDELOCK_DEAD_LETTERS is not a queue of the template"));
    }

    /// A numeric parameter allows what the function accepts, and has its default.
    fn numbers(&mut self, setting: &str, name: &str, parameter: &Value) {
        let with = |value: Option<i64>| {
            let value = value.map(|value| (setting.to_owned(), value.to_string()));
            Settings::read(value.into_iter().chain([("TIDELOCK_TARGET".to_owned(), "stdout:".to_owned())]))
        };
        let bound = |key: &str| parameter[key].as_i64().unwrap_or(i64::MIN / 2);
        let (least, most, default) = (bound("MinValue"), bound("MaxValue"), bound("Default"));
        let range = |value| with(Some(value)).is_ok();
        let exact = range(least) && range(most) && !range(least - 1) && !range(most + 1);
        self.expect(exact, || format!("{name} allows {least} to {most}, which is not the range of {setting}"));
        self.expect(with(Some(default)) == with(None), || format!("{name}: {default} is not the default of {setting}"));
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
        let own = self.is_a(function, "AWS::Serverless::Function");
        self.expect(own, || format!("{name}: FunctionName is not a function of the template"));
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

    fn role(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), ROLE_PROPERTIES);
        let trust =
            json!({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"});
        let mut trusted = properties["AssumeRolePolicyDocument"]["Statement"].clone();
        for statement in trusted.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            statement.remove("Sid");
        }
        self.expect(trusted == json!([trust]), || format!("{name} is not for Lambda alone"));

        let mut allowed = BTreeSet::new();
        let policies = properties["Policies"].as_array().into_iter().flatten();
        let statements =
            policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten());
        for statement in statements.flat_map(alternatives) {
            let sid = statement["Sid"].as_str().unwrap_or("a statement without Sid").to_owned();
            self.known(&sid, keys(statement), &["Action", "Condition", "Effect", "Resource", "Sid"]);
            if statement["Effect"] == "Deny" {
                continue;
            }
            let actions = texts(&statement["Action"]);
            self.expect(!actions.is_empty(), || format!("{sid}: Action is neither a text nor a list of texts"));
            let everywhere = texts(&statement["Resource"]).contains(&"*") || statement["Resource"].is_null();
            for action in actions {
                self.expect(!action.contains('*'), || format!("{sid}: {action} gives more than is named"));
                let excused = ON_EVERYTHING.iter().any(|(known, _)| *known == action);
                self.expect(!everywhere || excused, || format!("{sid}: {action} is given on every resource"));
                allowed.insert(action);
            }
        }
        for needed in self.source.reads.iter().chain(WRITES) {
            self.expect(allowed.contains(needed), || format!("{name}: {needed} is missing"));
        }
    }

    fn alarm(&mut self, name: &str, properties: &Value) {
        let text = |key: &str| properties[key].as_str().unwrap_or_default();
        let (namespace, metric) = (text("Namespace"), text("MetricName"));
        let (own, own_dimension, printed) = printed_metrics();
        let dimension = if namespace == own {
            printed.iter().any(|known| known == metric).then_some(own_dimension.as_str())
        } else {
            let mut known =
                AWS_METRICS.iter().filter(|(space, _, names)| *space == namespace && names.contains(&metric));
            known.next().map(|(_, dimension, _)| *dimension)
        };
        let dimensions = &properties["Dimensions"];
        let (given, value) = (&dimensions[0]["Name"], &dimensions[0]["Value"]);
        match dimension {
            None => self.problems.push(format!("{name}: nobody reports {namespace} {metric}")),
            Some(right) => {
                let of = match right {
                    "QueueName" => self.is_a(attribute_of(value, "QueueName"), "AWS::SQS::Queue"),
                    "EventSourceMappingUUID" => self.is_a(value["!Ref"].as_str(), "AWS::Lambda::EventSourceMapping"),
                    _ => self.is_a(value["!Ref"].as_str(), "AWS::Serverless::Function"),
                };
                let one = dimensions.as_array().is_some_and(|dimensions| dimensions.len() == 1);
                let right_one = one && of && given == right;
                self.expect(right_one, || {
                    format!("{name}: the dimension of {metric} is {right} and a resource of that kind")
                });
            }
        }
        self.expect(!text("AlarmDescription").is_empty(), || format!("{name} has no AlarmDescription"));
        self.expect(!properties["AlarmActions"].is_null(), || format!("{name} notifies nobody"));
        let manual = read("docs/deploy.md");
        self.expect(manual.contains(&format!("| `{name}` |")), || format!("{name} is not in docs/deploy.md"));
    }
}
