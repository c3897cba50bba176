//! The functions of a template: each with its duties, and all with the same target.

use super::check::Check;
use super::document::{alternatives, attribute_of, keys, texts, written};
use super::rules::{
    AWS_VARIABLES, FUNCTION_PROPERTIES, Function, SCHEDULE, SCHEDULE_PATTERN, SCHEDULED_PROPERTIES, SHARED_PROPERTIES,
    Target, is_setting, once,
};
use crate::tidy::repository;
use serde_json::{Value, json};
use tidelock_core::settings::Settings;

/// Seconds that Lambda gives a function [at most](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
/// The age at which fences are swept counts on it.
const LONGEST_S: u64 = 900;

impl Check<'_> {
    pub(super) fn function(&mut self, name: &str, properties: &Value) {
        let uri = properties["CodeUri"].as_str().unwrap_or_default();
        let folder = uri.strip_prefix("../target/lambda/").map(|path| path.trim_end_matches('/'));
        let is_there = |folder: &str| repository().join("functions").join(folder).join("Cargo.toml").is_file();
        let exists = folder.is_some_and(is_there);
        self.expect(exists, || format!("{name}: CodeUri {uri:?} is not ../target/lambda/ and a folder of functions/"));
        let Some(rules) = self.rules_of(Some(name)) else {
            return self.expect(false, || format!("{name}: no rules for a function of {uri:?}"));
        };
        let more = if rules.scheduled { SCHEDULED_PROPERTIES } else { &[] };
        self.known(name, keys(properties), &[FUNCTION_PROPERTIES, more].concat());
        self.expect(properties["Handler"] == "bootstrap", || format!("{name}: Handler is not bootstrap"));
        self.expect(properties["Runtime"] == "provided.al2023", || format!("{name}: Runtime is not provided.al2023"));
        let timeout = self.parameter(&properties["Timeout"]).map(|(_, parameter)| &parameter["MaxValue"]);
        let timeout = timeout.unwrap_or(&properties["Timeout"]).as_u64();
        self.expect(timeout.is_some_and(|most| most <= LONGEST_S), || {
            format!("{name}: Timeout is not {LONGEST_S} seconds at most")
        });
        let role = attribute_of(&properties["Role"], "Arn");
        self.expect(self.is_a(role, "AWS::IAM::Role"), || format!("{name}: Role is not one of the template's"));
        self.log(name, &properties["LoggingConfig"]);
        if rules.scheduled && self.source.stream.is_some() {
            self.schedule(name, properties);
        } else if rules.scheduled {
            self.run_once(name, properties);
        }
        self.settings(name, rules, &properties["Environment"]["Variables"]);
    }

    fn log(&mut self, name: &str, config: &Value) {
        let group = self.is_a(config["LogGroup"]["!Ref"].as_str(), "AWS::Logs::LogGroup");
        self.expect(group, || format!("{name}: LogGroup is not one of the template's"));
        // A level above INFO would drop the lines that carry the metrics: they have none, which counts as INFO.
        let levels = self.parameter(&config["ApplicationLogLevel"]);
        let levels: Vec<&str> = levels.map_or(Vec::new(), |(_, parameter)| texts(&parameter["AllowedValues"]));
        let audible = !levels.is_empty() && levels.iter().all(|level| ["INFO", "DEBUG", "TRACE"].contains(level));
        self.expect(audible, || format!("{name}: ApplicationLogLevel allows {levels:?}, metrics need INFO or lower"));
    }

    /// One event, a schedule that a parameter names, and a run that is not repeated.
    fn schedule(&mut self, name: &str, properties: &Value) {
        let events = properties["Events"].as_object();
        let mut events: Vec<(&String, &Value)> = events.into_iter().flatten().collect();
        events.retain(|(event, declaration)| {
            let known = declaration["Type"] == "Schedule";
            self.expect(known, || format!("{name}: no rules for the event {event}, {}", declaration["Type"]));
            known
        });
        self.expect(events.len() == 1, || format!("{name} has {} schedules, not one", events.len()));
        for (event, declaration) in events {
            self.known(event, keys(declaration), &["Properties", "Type"]);
            let properties = &declaration["Properties"];
            self.known(event, keys(properties), &["Description", "Schedule"]);
            self.when(event, &properties["Schedule"]);
        }
        self.run_once(name, properties);
    }

    /// Where resources have tags, the schedule is one of its own: it starts the scheduled function, and may do so.
    pub(super) fn timer(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), &["Description", "ScheduleExpression", "Tags", "Targets"]);
        self.when(name, &properties["ScheduleExpression"]);
        let target = attribute_of(&properties["Targets"][0]["Arn"], "Arn");
        let right = self.rules_of(target).is_some_and(|function| function.scheduled);
        let one = properties["Targets"].as_array().is_some_and(|targets| targets.len() == 1);
        self.known(name, keys(&properties["Targets"][0]), &["Arn", "Id"]);
        self.expect(right && one, || format!("{name}: its one target is not the redrive function"));
        let allows = |permission: &Value| {
            permission["FunctionName"]["!Ref"].as_str() == target
                && attribute_of(&permission["SourceArn"], "Arn") == Some(name)
                && permission["Principal"] == "events.amazonaws.com"
        };
        let allowed = self.resources().any(|(_, _, resource)| allows(&resource["Properties"]));
        self.expect(allowed, || format!("{name} may not start the function"));
    }

    fn when(&mut self, event: &str, schedule: &Value) {
        let when = self.parameter(schedule).map(|(_, parameter)| parameter);
        let default = when.is_some_and(|when| when["Default"] == SCHEDULE);
        self.expect(default, || format!("{event}: Schedule is no parameter that is {SCHEDULE} by default"));
        let pattern = when.is_some_and(|when| when["AllowedPattern"] == SCHEDULE_PATTERN);
        self.expect(pattern, || format!("{event}: the pattern of Schedule is not {SCHEDULE_PATTERN}"));
    }

    fn run_once(&mut self, name: &str, properties: &Value) {
        let given = &properties["EventInvokeConfig"];
        self.expect(*given == once(), || format!("{name}: EventInvokeConfig must be {}, not {given}", once()));
    }

    fn settings(&mut self, name: &str, rules: &Function, variables: &Value) {
        let own: Vec<&str> = rules.settings.iter().map(|(setting, _)| *setting).collect();
        let again = if rules.reads_again { &["TIDELOCK_SOURCE"][..] } else { &[] };
        let shared = if rules.writes { self.plan.shared } else { &[] };
        let needed = [shared, &own, again].concat();
        for variable in keys(variables) {
            let setting = is_setting(variable);
            self.expect(setting || AWS_VARIABLES.contains(&variable), || {
                format!("{name}: {variable} is not a setting")
            });
            let useful = !setting || needed.contains(&variable);
            self.expect(useful, || format!("{name} has no use for {variable}"));
            for value in alternatives(&variables[variable]) {
                let Some((parameter, declaration)) = self.parameter(value) else { continue };
                if declaration["Type"] == "Number" {
                    self.numbers(variable, parameter, declaration);
                }
                if variable == "TIDELOCK_TARGET_AUTH" {
                    self.ways_to_log_in(parameter, declaration);
                }
            }
        }
        for needed in needed {
            self.expect(!variables[needed].is_null(), || format!("{name}: {needed} is not set"));
        }
        for (setting, right) in rules.settings {
            let given = variables.get(setting).map(written);
            let right_one = given.as_deref().is_none_or(|given| given == *right);
            self.expect(right_one, || format!("{name}: {setting} is {}, not {right}", given.unwrap_or_default()));
        }
        if let Some(source) = variables.get("TIDELOCK_SOURCE").filter(|_| rules.reads_again) {
            self.reading_again(name, source);
        }
    }

    /// The source is read again by default, and not at all where the parameter is empty.
    fn reading_again(&mut self, name: &str, value: &Value) {
        let Some(setting) = self.source.stream.as_ref().map(|stream| stream.again.setting) else { return };
        let branches = value["!If"].as_array().map(Vec::as_slice);
        let Some([condition, given, nothing]) = branches else {
            return self.expect(false, || format!("{name}: TIDELOCK_SOURCE has no condition"));
        };
        let Some((parameter, declaration)) = self.parameter(given) else {
            return self.expect(false, || format!("{name}: TIDELOCK_SOURCE is not a parameter"));
        };
        let allowed = texts(&declaration["AllowedValues"]);
        let choice = allowed == ["", setting] && declaration["Default"] == setting;
        self.expect(choice, || format!("{parameter} must allow \"\" and {setting}, its default, and nothing else"));
        let condition = condition.as_str().unwrap_or_default();
        let asked = json!({"!Not": [{"!Equals": [{"!Ref": parameter}, ""]}]});
        let right = self.template["Conditions"][condition] == asked && nothing["!Ref"] == "AWS::NoValue";
        self.expect(right, || format!("{name}: TIDELOCK_SOURCE is not left out where {parameter} is empty"));
    }

    /// Every way to log in that a parameter offers is one that a target takes.
    fn ways_to_log_in(&mut self, name: &str, parameter: &Value) {
        for offered in texts(&parameter["AllowedValues"]) {
            let takes = |target: &Target| {
                let settings = [("TIDELOCK_TARGET", target.address), ("TIDELOCK_TARGET_AUTH", offered)];
                let taken = Settings::read(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
                // One that wants a secret, which is another parameter's, is not refused for what it is.
                !taken.is_err_and(|problems| !problems.to_string().contains("TIDELOCK_TARGET_SECRET"))
            };
            let taken = self.targets.iter().any(takes);
            self.expect(taken, || format!("{name} offers {offered}, which the target refuses"));
        }
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

    /// There is each function once; they work on the same target, are watched, and are named to the operator.
    pub(super) fn functions(&mut self) {
        let mut first: Option<(&str, &Value)> = None;
        for rules in self.plan.functions {
            let folder = rules.folder(self.source);
            let is = |name| self.rules_of(Some(name)).is_some_and(|of| of.folder(self.source) == folder);
            let found: Vec<_> = self.resources().filter(|(name, ..)| is(name)).collect();
            let &[(name, _, resource)] = found.as_slice() else {
                self.expect(false, || format!("has {} functions of {folder}, not one", found.len()));
                continue;
            };
            let properties = &resource["Properties"];
            let (known, shared) = *first.get_or_insert((name, properties));
            for property in SHARED_PROPERTIES {
                let same = properties[property] == shared[property];
                self.expect(same, || format!("{name}: {property} is not that of {known}"));
            }
            for setting in self.plan.shared.iter().filter(|_| rules.writes) {
                let of = |properties: &Value| properties["Environment"]["Variables"][setting].clone();
                self.expect(of(properties) == of(shared), || format!("{name}: {setting} is not that of {known}"));
            }
            for (namespace, metric) in rules.alarms {
                let watched =
                    self.alarms(namespace, metric).any(|alarm| alarm["Dimensions"][0]["Value"]["!Ref"] == name);
                self.expect(watched, || format!("no alarm on {namespace} {metric} of {name}"));
            }
            self.named(name);
        }
    }
}
