//! Alarms watch what somebody reports, of the resource that it is reported of.

use super::check::Check;
use super::document::attribute_of;
use super::read;
use super::rules::{AWS_METRICS, FUNCTIONS, Function};
use serde_json::Value;

/// Metrics that a function prints.
pub(super) struct Printed {
    pub(super) namespace: String,
    pub(super) dimension: String,
    pub(super) names: Vec<String>,
}

/// What a constant of `metrics.rs` declares.
pub(super) fn printed(constant: &str) -> Printed {
    let source = read("crates/tidelock-sync/src/metrics.rs");
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
    let printed = printed(function.metrics);
    let reports = printed.namespace == namespace && printed.names.iter().any(|known| known == metric);
    reports.then_some(printed.dimension)
}

impl Check<'_> {
    pub(super) fn alarm(&mut self, name: &str, properties: &Value) {
        let text = |key: &str| properties[key].as_str().unwrap_or_default();
        let (namespace, metric) = (text("Namespace"), text("MetricName"));
        let dimensions = &properties["Dimensions"];
        let (given, value) = (&dimensions[0]["Name"], &dimensions[0]["Value"]);
        let of_functions = FUNCTIONS.iter().find_map(|function| dimension_of(function, namespace, metric));
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
        self.expect(!text("AlarmDescription").is_empty(), || format!("{name} has no AlarmDescription"));
        self.expect(!properties["AlarmActions"].is_null(), || format!("{name} notifies nobody"));
        let manual = read("docs/deploy.md");
        self.expect(manual.contains(&format!("| `{name}` |")), || format!("{name} is not in docs/deploy.md"));
    }
}
