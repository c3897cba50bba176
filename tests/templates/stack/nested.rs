//! Nested templates: what they ask for they are given, and what is taken from them they have.

use super::{NESTED, Stack};
use crate::templates::document::{keys, texts};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a template takes from its nested stacks: `STACK.Outputs.NAME`.
fn taken(value: &Value, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(members) => members.values().for_each(|member| taken(member, found)),
        Value::Array(items) => items.iter().for_each(|item| taken(item, found)),
        Value::String(text) => {
            for (before, after) in
                text.match_indices(".Outputs.").map(|(at, word)| (&text[..at], &text[at + word.len()..]))
            {
                let alphanumeric = |c: char| c.is_ascii_alphanumeric();
                let stack = before.rsplit(|c| !alphanumeric(c)).next().unwrap_or_default();
                let output = after.split(|c| !alphanumeric(c)).next().unwrap_or_default();
                found.insert((stack.to_owned(), output.to_owned()));
            }
        }
        _ => {}
    }
}

impl Stack {
    pub(super) fn nesting(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (stack, _) in NESTED {
            let nested = &self.nested[stack];
            let given = &self.template["Resources"][stack]["Properties"]["Parameters"];
            for parameter in keys(&nested["Parameters"]) {
                if given[parameter].is_null() {
                    problems.push(format!("{stack} is not given {parameter}"));
                }
                // One that says less would refuse, when the nested stack is made, what the other has allowed.
                let (inner, outer) = (&nested["Parameters"][parameter], &self.template["Parameters"][parameter]);
                let allowed = &inner["AllowedValues"];
                if !allowed.is_null() && given[parameter]["!Ref"] == parameter && outer["AllowedValues"] != *allowed {
                    problems.push(format!("{parameter} allows other values than that of {stack}"));
                }
            }
            for parameter in keys(given).filter(|name| nested["Parameters"][name].is_null()) {
                problems.push(format!("{stack} has no parameter {parameter}"));
            }
        }
        let mut outputs = BTreeSet::new();
        taken(&self.template["Resources"], &mut outputs);
        taken(&self.template["Globals"], &mut outputs);
        taken(&self.template["Outputs"], &mut outputs);
        for (stack, output) in &outputs {
            let nested = self.nested.get(stack.as_str());
            if nested.is_none_or(|nested| nested["Outputs"][output].is_null()) {
                problems.push(format!("{stack} has no output {output}"));
            }
        }
        for (stack, path) in NESTED {
            for output in keys(&self.nested[stack]["Outputs"]) {
                if !outputs.contains(&((*stack).to_owned(), output.to_owned())) {
                    problems.push(format!("{path}: nobody takes the output {output}"));
                }
            }
        }
        let engines = texts(&self.template["Parameters"]["EngineVersion"]["AllowedValues"]);
        // https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html
        if engines != ["4.0.0", "5.0.0"] {
            problems.push(format!("EngineVersion allows {engines:?}; Lambda's mapping reads 4.0.0 and 5.0.0"));
        }
        problems
    }
}
