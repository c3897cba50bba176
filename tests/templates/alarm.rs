//! Alarms watch what somebody reports, of the resource that it is reported of, and go off when they should.

use super::check::Check;
use super::document::{attribute_of, keys};
use super::read;
use super::rules::Function;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use tidelock_core::cause::{Cause, Disposition};

/// Namespace, dimension and metrics of AWS that alarms may watch, besides those of a function.
const AWS_METRICS: &[(&str, &str, &[&str])] = &[
    ("AWS/ApiGateway", "ApiId", &["5xx"]),
    ("AWS/Lambda", "EventSourceMappingUUID", &["DroppedEventCount", "OnFailureDestinationDeliveredEventCount"]),
    ("AWS/SQS", "QueueName", &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"]),
    ("AWS/States", "StateMachineArn", &["ExecutionsFailed"]),
];

/// When an alarm goes off.
struct Trigger {
    metric: &'static str,
    /// `Maximum`, `Minimum` or `Sum`; empty where several are right.
    statistic: &'static str,
    comparison: &'static str,
    threshold: u64,
    /// Period times periods, seconds.
    span_s: RangeInclusive<u64>,
}

const OR_MORE: &str = "GreaterThanOrEqualToThreshold";
const MORE: &str = "GreaterThanThreshold";

/// Half of what a queue keeps a message for.
const SEVEN_DAYS_S: u64 = 604_800;
const SEVEN_DAYS_H: u64 = 168;

/// Redrive looks through the queues every 6 hours, at its first run after that; a shorter time would have holes.
const BETWEEN_LOOKS_S: RangeInclusive<u64> = 28_800..=86_400;

const TRIGGERS: &[Trigger] = &[
    Trigger {
        metric: "ApproximateAgeOfOldestMessage",
        statistic: "Maximum",
        comparison: OR_MORE,
        threshold: SEVEN_DAYS_S,
        span_s: 60..=3_600,
    },
    // Of letters each, of held changes those that stay.
    Trigger {
        metric: "ApproximateNumberOfMessagesVisible",
        statistic: "",
        comparison: MORE,
        threshold: 0,
        span_s: 60..=14_400,
    },
    Trigger {
        metric: "OldestHeldAgeHours",
        statistic: "Maximum",
        comparison: OR_MORE,
        threshold: SEVEN_DAYS_H,
        span_s: BETWEEN_LOOKS_S,
    },
    Trigger {
        metric: "OldestLetterAgeHours",
        statistic: "Maximum",
        comparison: OR_MORE,
        threshold: SEVEN_DAYS_H,
        span_s: BETWEEN_LOOKS_S,
    },
    // Not once within the time has it answered.
    Trigger { metric: "TargetDown", statistic: "Minimum", comparison: MORE, threshold: 0, span_s: 3_601..=14_400 },
    Trigger { metric: "Kept", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
    Trigger { metric: "Parked", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
    Trigger { metric: "Errors", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
    Trigger { metric: "DroppedEventCount", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
    Trigger { metric: "OversizedRecordCount", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
    Trigger { metric: "5xx", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
    Trigger { metric: "ExecutionsFailed", statistic: "Sum", comparison: MORE, threshold: 0, span_s: 60..=3_600 },
];

/// Properties of an alarm that counts letters of one reason.
const COUNTING_PROPERTIES: &[&str] = &[
    "AlarmActions",
    "AlarmDescription",
    "ComparisonOperator",
    "EvaluationPeriods",
    "Metrics",
    "OKActions",
    "Tags",
    "Threshold",
    "TreatMissingData",
];

/// Metrics that a function prints.
pub(super) struct Printed {
    pub(super) namespace: String,
    pub(super) dimension: String,
    pub(super) names: Vec<String>,
}

const METRICS: &str = "crates/tidelock-sync/src/metrics.rs";

/// What a constant of `metrics.rs` declares.
pub(super) fn printed(constant: &str) -> Printed {
    let source = read(METRICS);
    let begin = format!("const {constant}: ");
    let (_, declaration) = source.split_once(&begin).unwrap_or_else(|| panic!("metrics.rs has no {constant}"));
    let (declaration, _) = declaration.split_once(");").expect("the end of the constant");
    let literals: String = declaration.split("r#\"").skip(1).filter_map(|part| part.split("\"#").next()).collect();
    let declared: Value = serde_json::from_str(&format!("{{{literals}}}")).expect("JSON");
    let directive = &declared["CloudWatchMetrics"][0];
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let names: Vec<String> =
        directive["Metrics"].as_array().expect("metrics").iter().map(|m| text(&m["Name"])).collect();
    assert!(!names.is_empty(), "{constant} declares nothing");
    Printed { namespace: text(&directive["Namespace"]), dimension: text(&directive["Dimensions"][0][0]), names }
}

/// The dimension under which a function's metric is found, if it reports this one.
fn dimension_of(function: &Function, namespace: &str, metric: &str) -> Option<String> {
    if namespace == "AWS/Lambda" {
        return function.lambda_metrics.contains(&metric).then(|| "FunctionName".to_owned());
    }
    if namespace == "Tidelock" && function.gauges.contains(&metric) {
        assert!(read(METRICS).contains(&format!("\"{metric}\"")), "metrics.rs does not know {metric}");
        return Some("Function".to_owned());
    }
    let mut all = function.metrics.iter().map(|constant| printed(constant));
    let reports = |printed: &Printed| printed.namespace == namespace && printed.names.iter().any(|name| name == metric);
    all.find(reports).map(|printed| printed.dimension)
}

/// The reason whose letters an alarm counts.
pub(super) fn reason_of(alarm: &Value) -> Option<&str> {
    alarm["Metrics"]
        .as_array()?
        .iter()
        .find_map(|query| query["MetricStat"]["Metric"]["Dimensions"][1]["Value"].as_str())
}

/// An alarm on several metrics, and what decides when it goes off.
type Computed = (&'static str, fn() -> Value);

const COMPUTED: &[Computed] = &[
    // Milliseconds by seconds and by ten are percent.
    ("RetentionAlarm", || {
        let dimensions = json!([{"Name": "Function", "Value": {"!Ref": "SyncFunction"}}]);
        let metric = json!({"Namespace": "Tidelock", "MetricName": "OldestAgeMs", "Dimensions": dimensions});
        let expression = json!({"!Sub": "oldest / ${ChangeStreamRetentionSeconds} / 10"});
        json!({
            "Metrics": [
                {"Id": "share", "Label": "percent of the retention", "Expression": expression, "ReturnData": true},
                {"Id": "oldest", "ReturnData": false,
                    "MetricStat": {"Metric": metric, "Stat": "Maximum", "Period": 300}},
            ],
            "EvaluationPeriods": 1, "Threshold": 50, "ComparisonOperator": OR_MORE,
        })
    }),
    // Lambda has no metric of a mapping that it has disabled. A post that was refused, or came at the end of a period, is
    // one period alone.
    ("MappingStoppedAlarm", || {
        let sum = |id: &str, function: &str| {
            let dimensions = json!([{"Name": "FunctionName", "Value": {"!Ref": function}}]);
            let metric = json!({"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": dimensions});
            json!({"Id": id, "ReturnData": false, "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": 900}})
        };
        let expression = "IF(FILL(posts, 0) > 0 AND FILL(batches, 0) == 0, 1, 0)";
        let stopped =
            json!({"Id": "stopped", "Label": "posts without a change", "Expression": expression, "ReturnData": true});
        json!({
            "Metrics": [stopped, sum("posts", "WriterFunction"), sum("batches", "SyncFunction")],
            "EvaluationPeriods": 4, "DatapointsToAlarm": 2, "Threshold": 0, "ComparisonOperator": MORE,
        })
    }),
];

/// Names of the alarms that a stack with a cluster must have.
pub(super) fn computed() -> impl Iterator<Item = &'static str> {
    COMPUTED.iter().map(|(name, _)| *name)
}

impl Check<'_> {
    fn computed(&mut self, name: &str, properties: &Value, right: &Value) {
        for (property, right) in right.as_object().into_iter().flatten() {
            let given = &properties[property];
            self.expect(given == right, || format!("{name}: {property} must be {right}, not {given}"));
        }
        let more = ["DatapointsToAlarm"];
        let known: Vec<&str> = COUNTING_PROPERTIES.iter().chain(&more).copied().collect();
        self.known(name, keys(properties), &known);
    }

    pub(super) fn alarm(&mut self, name: &str, properties: &Value) {
        if properties["Metrics"].is_null() {
            self.metric(name, properties);
        } else if let Some((_, essence)) = COMPUTED.iter().find(|(computed, _)| *computed == name) {
            self.computed(name, properties, &essence());
        } else {
            self.letters(name, properties);
        }
        let text = |key: &str| properties[key].as_str().unwrap_or_default();
        self.expect(!text("AlarmDescription").is_empty(), || format!("{name} has no AlarmDescription"));
        self.expect(!properties["AlarmActions"].is_null(), || format!("{name} notifies nobody"));
        // Most metrics are not there when nothing happens.
        let missing = text("TreatMissingData") == "notBreaching";
        self.expect(missing, || format!("{name}: TreatMissingData is not notBreaching"));
        let manual = read("docs/deploy.md");
        self.expect(manual.contains(&format!("\n| `{name}` ")), || format!("{name} is not in docs/deploy.md"));
    }

    /// On one metric, of one resource.
    fn metric(&mut self, name: &str, properties: &Value) {
        let text = |key: &str| properties[key].as_str().unwrap_or_default();
        let (namespace, metric) = (text("Namespace"), text("MetricName"));
        let dimensions = &properties["Dimensions"];
        let (given, value) = (&dimensions[0]["Name"], &dimensions[0]["Value"]);
        let of_functions = self.plan.functions.iter().find_map(|function| dimension_of(function, namespace, metric));
        let mut of_others =
            AWS_METRICS.iter().filter(|(space, _, names)| *space == namespace && names.contains(&metric));
        let of_other = of_others.next().map(|(_, dimension, _)| (*dimension).to_owned());
        match of_functions.clone().or(of_other) {
            None => self.expect(false, || format!("{name}: nobody reports {namespace} {metric}")),
            Some(right) => {
                let resource = value["!Ref"].as_str();
                let of = match right.as_str() {
                    "QueueName" => self.is_a(attribute_of(value, "QueueName"), "AWS::SQS::Queue"),
                    "EventSourceMappingUUID" => self.is_a(resource, "AWS::Lambda::EventSourceMapping"),
                    "StateMachineArn" => self.is_a(resource, "AWS::Serverless::StateMachine"),
                    "ApiId" => self.is_a(resource, "AWS::ApiGatewayV2::Api"),
                    _ => self.is_a(resource, "AWS::Serverless::Function"),
                };
                let one = dimensions.as_array().is_some_and(|dimensions| dimensions.len() == 1);
                let right_one = one && of && *given == right;
                self.expect(right_one, || {
                    format!("{name}: the dimension of {metric} is {right} and a resource of that kind")
                });
                // An alarm on another function's metric would never go off.
                if let Some(function) = self.rules_of(resource) {
                    let reports = dimension_of(function, namespace, metric).is_some();
                    self.expect(reports, || format!("{name}: {value} does not report {metric}"));
                }
            }
        }
        self.trigger(name, metric, properties);
    }

    /// On letters of one reason, whichever of the functions has written them: one within five minutes is enough. A function
    /// that has written none reports nothing, which counts as 0.
    fn letters(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), COUNTING_PROPERTIES);
        assert!(read(METRICS).contains(r#""Function","Reason""#), "metrics.rs counts nothing by reason");
        let reason = reason_of(properties).unwrap_or_default();
        let cause = Cause::ALL.iter().find(|cause| cause.code() == reason);
        let parked = cause.is_some_and(|cause| cause.disposition() == Disposition::Park);
        self.expect(parked, || format!("{name}: {reason:?} is no reason of a letter"));
        let words = properties["AlarmDescription"].as_str().unwrap_or_default();
        let named = words.contains(&format!("`{reason}`"));
        self.expect(named, || format!("{name}: AlarmDescription does not name `{reason}`"));

        let queries = properties["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
        let (watched, counted): (Vec<&Value>, Vec<&Value>) =
            queries.iter().partition(|query| query["MetricStat"].is_null());
        let id = |query: &Value| query["Id"].as_str().unwrap_or_default().to_owned();
        let function = |query: &Value| query["MetricStat"]["Metric"]["Dimensions"][0]["Value"].clone();
        for query in &counted {
            let (id, function) = (id(query), function(query));
            let dimensions = json!([{"Name": "Function", "Value": function}, {"Name": "Reason", "Value": reason}]);
            let metric = json!({"Namespace": "Tidelock", "MetricName": "Parked", "Dimensions": dimensions});
            let stat = json!({"Metric": metric, "Stat": "Sum", "Period": 300});
            let right = json!({"Id": id, "ReturnData": false, "MetricStat": stat});
            self.expect(**query == right, || format!("{name}: {id} must be {right}, not {query}"));
        }
        let filled: Vec<String> = counted.iter().map(|query| format!("FILL({}, 0)", id(query))).collect();
        let sum = format!("SUM([{}])", filled.join(", "));
        let sum = json!({"Id": "parked", "Label": reason, "Expression": sum, "ReturnData": true});
        self.expect(watched == [&sum], || format!("{name} must watch {sum}, not {watched:?}"));

        let parks =
            |name| self.rules_of(Some(name)).is_some_and(|rules| dimension_of(rules, "Tidelock", "Parked").is_some());
        let all: BTreeSet<String> =
            self.resources().filter(|(name, ..)| parks(name)).map(|(name, ..)| name.to_owned()).collect();
        let functions: Vec<Value> = counted.iter().map(|query| function(query)).collect();
        let of: BTreeSet<String> =
            functions.iter().filter_map(|function| function["!Ref"].as_str().map(str::to_owned)).collect();
        let whole = of == all && functions.len() == all.len();
        self.expect(whole, || format!("{name} counts letters of {of:?}, not of {all:?}"));

        let at_once = properties["ComparisonOperator"] == MORE
            && properties["Threshold"] == 0
            && properties["EvaluationPeriods"] == 1;
        self.expect(at_once, || format!("{name} does not go off at the first letter"));
    }

    fn trigger(&mut self, name: &str, metric: &str, properties: &Value) {
        let Some(right) = TRIGGERS.iter().find(|trigger| trigger.metric == metric) else { return };
        let number = |key: &str| properties[key].as_u64().unwrap_or(0);
        let span_s = number("Period") * number("EvaluationPeriods");
        let statistic = right.statistic.is_empty() || properties["Statistic"] == right.statistic;
        let holds = statistic
            && properties["ComparisonOperator"] == right.comparison
            && properties["Threshold"] == right.threshold
            && right.span_s.contains(&span_s)
            && properties["DatapointsToAlarm"].is_null();
        self.expect(holds, || {
            format!(
                "{name}: an alarm on {metric} is {} {} {} over {:?} seconds",
                right.statistic, right.comparison, right.threshold, right.span_s
            )
        });
    }
}
