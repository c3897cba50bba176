//! Event source mappings: the stream's, and the one by which Lambda empties the fallback queue.

use super::check::Check;
use super::document::{attribute_of, keys};
use super::rules::Stream;
use serde_json::{Value, json};

/// How often a queue's visibility timeout must cover the function's
/// ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html)).
const VISIBILITY_FACTOR: u64 = 6;

const QUEUE_MAPPING_PROPERTIES: &[&str] =
    &["BatchSize", "Enabled", "EventSourceArn", "FunctionName", "FunctionResponseTypes", "ScalingConfig", "Tags"];

impl Check<'_> {
    pub(super) fn mapping(&mut self, name: &str, resource: &Value) {
        let properties = &resource["Properties"];
        match attribute_of(&properties["EventSourceArn"], "Arn") {
            Some(queue) => self.queue_mapping(name, resource, queue),
            None => self.source_mapping(name, properties),
        }
    }

    /// One of them, if there are any, is of a queue.
    pub(super) fn mappings(&mut self, all: usize) {
        let of_queue = |mapping: &Value| attribute_of(&mapping["Properties"]["EventSourceArn"], "Arn").is_some();
        let found = self.resources().filter(|(_, _, resource)| of_queue(resource)).count();
        self.expect(found == usize::from(all > 0), || format!("has {found} mappings of a queue, not one"));
    }

    fn source_mapping(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), self.source.properties);
        for (property, right) in (self.source.fixed)() {
            let given = &properties[property];
            self.expect(*given == right, || format!("{name}: {property} must be {right}, not {given}"));
        }
        let function = attribute_of(&properties["FunctionName"], "Arn");
        let own = self.rules_of(function).is_some_and(|function| function.fed);
        self.expect(own, || format!("{name}: FunctionName is not the template's sync function"));
        if let Some(stream) = &self.source.stream {
            self.stream_mapping(name, properties, stream);
        }
    }

    fn stream_mapping(&mut self, name: &str, properties: &Value, stream: &Stream) {
        let arn = self.parameter(&properties["EventSourceArn"]).and_then(|(_, arn)| arn["AllowedPattern"].as_str());
        let own = arn.is_some_and(|pattern| pattern.contains(stream.arn));
        self.expect(own, || format!("{name}: EventSourceArn is not a parameter whose pattern has {}", stream.arn));
        let destination = &properties["DestinationConfig"];
        let bucket = attribute_of(&destination["OnFailure"]["Destination"], "Arn");
        // Queues and topics get metadata only, which is worth nothing once the source has forgotten the records. And it is
        // this bucket that redrive reads.
        let own = bucket == Some("FailureBucket") && keys(destination).eq(["OnFailure"]);
        self.expect(own, || format!("{name}: DestinationConfig.OnFailure is not FailureBucket"));
        // LATEST can miss changes made while the mapping is created.
        let start = self.parameter(&properties["StartingPosition"]).map(|(_, parameter)| &parameter["Default"]);
        let start = start.unwrap_or(&properties["StartingPosition"]);
        self.expect(*start == "TRIM_HORIZON", || format!("{name}: StartingPosition is not TRIM_HORIZON by default"));

        let age = self.parameter(&properties["MaximumRecordAgeInSeconds"]).map(|(_, parameter)| parameter);
        let number = |key: &str| age.and_then(|age| age[key].as_u64());
        let (default, most, least) = (number("Default"), number("MaxValue"), number("MinValue"));
        let (right, retention) = (stream.maximum_age_s, stream.retention_s);
        self.expect(default == Some(right), || format!("{name}: MaximumRecordAgeInSeconds is not {right} by default"));
        let saved = most.is_some_and(|most| most < retention) && least.is_some_and(|least| least > 0);
        self.expect(saved, || {
            format!("{name}: MaximumRecordAgeInSeconds may exceed {retention}, after which the source has forgotten it")
        });
    }

    /// A drainer with few connections, where it is asked for.
    fn queue_mapping(&mut self, name: &str, resource: &Value, queue: &str) {
        let properties = &resource["Properties"];
        self.known(name, keys(properties), QUEUE_MAPPING_PROPERTIES);
        let function = attribute_of(&properties["FunctionName"], "Arn");
        let drains = self.rules_of(function).is_some_and(|function| function.scheduled);
        self.expect(drains, || format!("{name}: FunctionName is not the template's redrive function"));
        self.expect(queue == "Fallback", || format!("{name}: EventSourceArn is {queue}, not the fallback queue"));
        for (property, right) in [
            ("BatchSize", json!(10)),
            ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
            ("ScalingConfig", json!({"MaximumConcurrency": 2})),
        ] {
            let given = &properties[property];
            self.expect(*given == right, || format!("{name}: {property} must be {right}, not {given}"));
        }
        let resources = &self.template["Resources"];
        let timeout = resources[function.unwrap_or_default()]["Properties"]["Timeout"].as_u64();
        let visibility = resources[queue]["Properties"]["VisibilityTimeout"].as_u64();
        let least = timeout.map(|timeout| timeout * VISIBILITY_FACTOR);
        self.expect(least.is_some() && visibility >= least, || {
            format!("{queue}: VisibilityTimeout is not {VISIBILITY_FACTOR} times the Timeout of what {name} calls")
        });
        let condition = &self.template["Conditions"][resource["Condition"].as_str().unwrap_or_default()]["!Equals"];
        let choice = self.parameter(&condition[0]).filter(|_| condition[1] == "true");
        let off = choice.is_some_and(|(_, parameter)| parameter["Default"] == "false");
        self.expect(off, || format!("{name} is not a choice that is `false` by default"));
    }
}
