//! The state machine of a backfill: every segment is scanned to its end, or the whole has failed and can go on.

use super::check::Check;
use super::document::{keys, written};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const PROPERTIES: &[&str] = &["Definition", "DefinitionSubstitutions", "Logging", "Name", "Role", "Tags", "Type"];

/// What the definition's placeholders stand for.
const SUBSTITUTIONS: &[(&str, &str)] = &[
    ("Function", "!GetAtt BackfillFunction.Arn"),
    // https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html
    ("InvokeLambda", "!Sub arn:${AWS::Partition}:states:::lambda:invoke"),
    ("MaxConcurrency", "!Ref MaxConcurrency"),
    ("SegmentReadUnits", "!Ref SegmentReadUnits"),
    ("Segments", "!Ref Segments"),
    ("Table", r#"{"!Select":[1,{"!Split":["/",{"!Ref":"TableArn"}]}]}"#),
];

/// Children whose counts, of 150 bytes at most, together fit into
/// [what a state may give](https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), 256 KiB. Also what
/// [ranges](https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html) may hold.
const MOST_SEGMENTS: u64 = 1_000;

/// What is done with a backfill, and the command for it, which an output holds. The execution has a name: one that is running
/// [is not started twice](https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html), and one that
/// has ended is not started again, but redriven.
const COMMANDS: &[(&str, &str)] = &[
    (
        "started",
        "aws stepfunctions start-execution --state-machine-arn ${BackfillStateMachine} --name backfill-${Table}-1",
    ),
    (
        "resumed",
        concat!(
            "aws stepfunctions redrive-execution --execution-arn ",
            "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}:backfill-${Table}-1"
        ),
    ),
];

/// Seconds after which a call gives up that does not come on.
const CALL_S: u64 = 60;

/// Seconds for which a segment that fails is tried: half an hour, which the alarm and docs/deploy.md speak of.
const PATIENCE_S: RangeInclusive<u64> = 1_620..=1_980;

/// Seconds until a retrier gives up: its calls and its pauses, which full jitter halves on average.
fn patience_s(retry: &Value) -> u64 {
    let number = |key: &str| retry[key].as_u64().unwrap_or(0);
    let mut pause = number("IntervalSeconds");
    let mut pauses = 0;
    for _ in 0..number("MaxAttempts") {
        pauses += pause.min(number("MaxDelaySeconds"));
        pause = pause.saturating_mul(number("BackoffRate"));
    }
    CALL_S * (number("MaxAttempts") + 1) + pauses / 2
}

/// What each segment counts, and the whole sums up.
const COUNTS: &[&str] = &["scanned", "written", "parked"];

/// The names in `${…}`.
fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

/// The states that a state leads to.
fn next_of(state: &Value) -> impl Iterator<Item = &str> {
    let choices = state["Choices"].as_array().into_iter().flatten();
    let all = choices.map(|choice| &choice["Next"]).chain([&state["Next"], &state["Default"]]);
    all.filter_map(Value::as_str)
}

/// The states of a type.
fn of_type<'v>(machine: &'v Value, kind: &'v str) -> Vec<(&'v str, &'v Value)> {
    let states = machine["States"].as_object().into_iter().flatten();
    states.filter(|(_, state)| state["Type"] == kind).map(|(name, state)| (name.as_str(), state)).collect()
}

impl Check<'_> {
    pub(super) fn state_machine(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), PROPERTIES);
        self.expect(properties["Type"] == "STANDARD", || format!("{name}: Type is not STANDARD"));
        // The role names it so.
        let own = properties["Name"] == json!({"!Ref": "AWS::StackName"});
        self.expect(own, || format!("{name}: Name is not that of the stack"));
        self.logging(name, &properties["Logging"]);
        let definition = &properties["Definition"];
        let text = definition.to_string();
        let used = placeholders(&text);
        let given = &properties["DefinitionSubstitutions"];
        for (placeholder, right) in SUBSTITUTIONS {
            self.expect(used.contains(placeholder), || format!("{name}: Definition has no ${{{placeholder}}}"));
            let value = written(&given[placeholder]);
            self.expect(value == *right, || format!("{name}: {placeholder} stands for {value}, not for {right}"));
        }
        let known: Vec<&str> = SUBSTITUTIONS.iter().map(|(placeholder, _)| *placeholder).collect();
        self.known(name, used.into_iter().chain(keys(given)), &known);
        let most = self.parameter(&given["Segments"]).and_then(|(_, parameter)| parameter["MaxValue"].as_u64());
        self.expect(most.is_some_and(|most| most <= MOST_SEGMENTS), || {
            format!("{name}: there may be more than {MOST_SEGMENTS} segments")
        });
        let language = definition["QueryLanguage"] == "JSONata";
        self.expect(language, || format!("{name}: QueryLanguage is not JSONata, in which the expressions are written"));
        self.graph(name, definition);
        match of_type(definition, "Map").as_slice() {
            &[(map, state)] => self.map(&format!("{name}.{map}"), state),
            found => self.expect(false, || format!("{name} has {} maps, not one", found.len())),
        }
        for (done, command) in COMMANDS {
            let right = json!({"!Sub": [command, {"Table": given["Table"]}]});
            let mut outputs = self.template["Outputs"].as_object().into_iter().flatten();
            let told = outputs.any(|(_, output)| output["Value"] == right);
            self.expect(told, || format!("no output says how {name} is {done}"));
        }
        self.named(name);
    }

    /// Failures are logged; what is worked on, which are keys of items, is not.
    fn logging(&mut self, name: &str, logging: &Value) {
        let group = logging["Destinations"][0]["CloudWatchLogsLogGroup"]["LogGroupArn"]["!GetAtt"].as_str();
        let group = group.and_then(|arn| arn.strip_suffix(".Arn"));
        self.expect(self.is_a(group, "AWS::Logs::LogGroup"), || format!("{name} has no log of the template's"));
        let prefix = self.template["Resources"][group.unwrap_or_default()]["Properties"]["LogGroupName"]["!Sub"]
            .as_str()
            .is_some_and(|name| name.starts_with("/aws/vendedlogs/states/"));
        self.expect(prefix, || format!("{name}: its log's name does not begin with /aws/vendedlogs/states/"));
        self.expect(logging["Level"] == "ERROR", || format!("{name}: Level of its log is not ERROR"));
        let silent = logging["IncludeExecutionData"] == false;
        self.expect(silent, || format!("{name}: IncludeExecutionData is not false"));
    }

    /// Every state is reached, and every name is a state's.
    fn graph(&mut self, name: &str, machine: &Value) {
        let states = &machine["States"];
        let mut open: Vec<&str> = machine["StartAt"].as_str().into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(state) = open.pop() {
            self.expect(!states[state].is_null(), || format!("{name}: there is no state {state}"));
            if reached.insert(state) {
                open.extend(next_of(&states[state]));
            }
        }
        for state in keys(states).filter(|state| !reached.contains(state)) {
            self.expect(false, || format!("{name}: nothing leads to the state {state}"));
        }
    }

    fn map(&mut self, name: &str, map: &Value) {
        let processor = &map["ItemProcessor"];
        let mode = json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"});
        self.expect(processor["ProcessorConfig"] == mode, || {
            format!("{name}: ProcessorConfig is not {mode}: Express children have 5 minutes and forget where they were")
        });
        for (field, right) in [
            // One that is missing is a hole.
            ("ToleratedFailurePercentage", json!(0)),
            ("ToleratedFailureCount", Value::Null),
            ("Items", json!("{% [0..${Segments}-1] %}")),
            ("MaxConcurrency", json!("{% ${MaxConcurrency} %}")),
            // The role names the children so.
            ("Label", json!("Segments")),
        ] {
            let given = &map[field];
            self.expect(*given == right, || format!("{name}: {field} must be {right}, not {given}"));
        }
        for count in COUNTS {
            let sum = map["Output"][count] == format!("{{% $sum($states.result.{count}) %}}");
            self.expect(sum, || format!("{name}: Output does not sum up {count}"));
        }
        self.graph(name, processor);
        match of_type(processor, "Task").as_slice() {
            &[(task, state)] => {
                self.task(&format!("{name}.{task}"), state);
                self.comes_back(name, processor, task);
            }
            found => self.expect(false, || format!("{name} has {} tasks, not one", found.len())),
        }
    }

    fn task(&mut self, name: &str, task: &Value) {
        self.expect(task["Resource"] == "${InvokeLambda}", || format!("{name}: Resource is not ${{InvokeLambda}}"));
        let function = task["Arguments"]["FunctionName"] == "${Function}";
        self.expect(function, || format!("{name}: FunctionName is not ${{Function}}"));
        let mut functions = self.resources().filter(|(_, kind, _)| *kind == "AWS::Serverless::Function");
        let longest = functions.find_map(|(_, _, function)| function["Properties"]["Timeout"].as_u64());
        let waits = task["TimeoutSeconds"].as_u64().zip(longest).is_some_and(|(waits, longest)| waits > longest);
        self.expect(waits, || format!("{name}: TimeoutSeconds is not more than the function's Timeout"));
        let position = task["Assign"].to_string().contains("'position': $states.result.Payload.position");
        self.expect(position, || format!("{name}: Assign does not keep the position"));
        for count in COUNTS {
            let sum = format!("{{% $counts.{count} + $states.result.Payload.{count} %}}");
            let counted = task["Assign"]["counts"][count] == sum;
            self.expect(counted, || format!("{name}: Assign does not count {count}"));
        }
        let retries = task["Retry"].as_array().map_or(&[][..], Vec::as_slice);
        let last = retries.last().is_some_and(|retry| retry["ErrorEquals"] == json!(["States.ALL"]));
        self.expect(last, || format!("{name}: the last of Retry is not for States.ALL"));
        let tried_s = retries.last().map_or(0, patience_s);
        self.expect(PATIENCE_S.contains(&tried_s), || {
            format!("{name}: what fails is given up after {tried_s} seconds, not after half an hour")
        });
        let throttled =
            |retry: &Value| retry["ErrorEquals"].to_string().contains("\"Lambda.TooManyRequestsException\"");
        let patient = retries.iter().any(|retry| throttled(retry) && retry["MaxAttempts"].as_u64() >= Some(50));
        self.expect(patient, || format!("{name}: Retry gives up a function that is throttled"));
        for retry in retries {
            let number = |key: &str| retry[key].as_u64().unwrap_or(0);
            let spread = retry["JitterStrategy"] == "FULL" && number("BackoffRate") >= 2 && number("MaxAttempts") > 3;
            let bounded = (1..=600).contains(&number("MaxDelaySeconds"));
            self.expect(spread && bounded, || {
                format!("{name}: Retry of {} is no exponential backoff with full jitter", retry["ErrorEquals"])
            });
        }
    }

    /// What is not done is called again; an answer that does not say so is neither.
    fn comes_back(&mut self, name: &str, machine: &Value, task: &str) {
        let after = machine["States"][task]["Next"].as_str().unwrap_or_default();
        let choice = &machine["States"][after];
        let leads = |condition: &str| {
            let mut choices = choice["Choices"].as_array().into_iter().flatten();
            choices.find(|choice| choice["Condition"] == condition).and_then(|choice| choice["Next"].as_str())
        };
        let again = leads("{% $states.input.done = false %}") == Some(task);
        self.expect(again, || format!("{name}: a segment that is not done is not gone on with"));
        let kind = |state: Option<&str>| machine["States"][state.unwrap_or_default()]["Type"].as_str();
        let done = kind(leads("{% $states.input.done = true %}")) == Some("Succeed");
        self.expect(done, || format!("{name}: a segment that is done does not succeed"));
        let else_fails = kind(choice["Default"].as_str()) == Some("Fail");
        self.expect(else_fails, || format!("{name}: an answer without `done` does not fail"));
    }
}
