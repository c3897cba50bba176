//! Roles: one for each function, with the rights that it needs and no others.

use super::check::Check;
use super::document::{alternatives, attribute_of, keys, texts};
use super::rules::{COMMON_RIGHTS, LOG_RIGHTS, ON_EVERYTHING, ROLE_PROPERTIES};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The statements of a role's own policies, conditional ones with their condition.
fn statements(role: &Value) -> impl Iterator<Item = &Value> {
    let policies = role["Policies"].as_array().into_iter().flatten();
    policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten())
}

impl Check<'_> {
    pub(super) fn role(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), ROLE_PROPERTIES);
        let trust =
            json!({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"});
        let mut trusted = properties["AssumeRolePolicyDocument"]["Statement"].clone();
        for statement in trusted.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            statement.remove("Sid");
        }
        self.expect(trusted == json!([trust]), || format!("{name} is not for Lambda alone"));

        let holds = |resource: &Value| attribute_of(&resource["Properties"]["Role"], "Arn") == Some(name);
        let holders: Vec<_> = self.resources().filter(|(_, _, resource)| holds(resource)).collect();
        let &[(function, _, resource)] = holders.as_slice() else {
            return self.expect(false, || format!("{name} is the role of {} functions, not of one", holders.len()));
        };
        let Some(rules) = self.rules_of(Some(function)) else { return };
        let read = if rules.fed { self.source.reads } else { &[] };
        let again: &[&str] = if rules.fed { &[self.source.again.right] } else { &[] };
        let needed = [read, rules.needs, LOG_RIGHTS, again].concat();
        let may = [COMMON_RIGHTS, self.target.rights, rules.may].concat();

        let mut allowed = BTreeSet::new();
        for statement in statements(properties).flat_map(alternatives) {
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
                let useful = needed.contains(&action) || may.contains(&action);
                self.expect(useful, || format!("{sid}: {function} has no use for {action}"));
                let excused = ON_EVERYTHING.iter().any(|(known, _)| *known == action);
                self.expect(!everywhere || excused, || format!("{sid}: {action} is given on every resource"));
                allowed.insert(action);
            }
        }
        for needed in needed {
            self.expect(allowed.contains(needed), || format!("{name}: {needed} is missing"));
        }
        self.own_log(name, properties, &resource["Properties"]["LoggingConfig"]["LogGroup"]);
        if rules.fed {
            self.read_again(name, properties, &resource["Properties"]["Environment"]["Variables"]);
        }
    }

    /// The log that may be written is the function's: into another, Lambda would write nothing and say nothing.
    fn own_log(&mut self, name: &str, properties: &Value, group: &Value) {
        let own = format!(":log-group:${{{}}}:*", group["!Ref"].as_str().unwrap_or_default());
        for statement in statements(properties).flat_map(alternatives) {
            if texts(&statement["Action"]).iter().any(|action| LOG_RIGHTS.contains(action)) {
                let resource = statement["Resource"]["!Sub"].as_str();
                let right = resource.is_some_and(|resource| resource.ends_with(&own));
                self.expect(right, || format!("{name}: logs may not be written to {group}, the function's own"));
            }
        }
    }

    /// The right to read the source again is for what the mapping reads, and there only when the function does it.
    fn read_again(&mut self, name: &str, properties: &Value, variables: &Value) {
        let right = self.source.again.right;
        let gives = |statement: &&Value| {
            alternatives(statement).iter().any(|statement| texts(&statement["Action"]).contains(&right))
        };
        let given: Vec<&Value> = statements(properties).filter(gives).collect();
        let &[given] = given.as_slice() else {
            return self.expect(false, || format!("{name}: {right} is in {} statements, not in one", given.len()));
        };
        let condition = &variables["TIDELOCK_SOURCE"]["!If"][0];
        let conditional = given["!If"][0] == *condition && given["!If"][2]["!Ref"] == "AWS::NoValue";
        self.expect(conditional && condition.is_string(), || {
            format!("{name}: {right} is given where TIDELOCK_SOURCE is not set")
        });
        let statement = &given["!If"][1];
        self.expect(statement["Action"] == right, || format!("{name}: {right} is not alone in its statement"));
        let mut mappings = self.resources().filter(|(_, kind, _)| *kind == "AWS::Lambda::EventSourceMapping");
        let source =
            mappings.next().and_then(|(_, _, mapping)| mapping["Properties"]["EventSourceArn"]["!Ref"].as_str());
        let read = (self.source.again.resource)(source.unwrap_or_default());
        self.expect(statement["Resource"] == read, || {
            format!("{name}: {right} is given on {}, not on what the mapping reads", statement["Resource"])
        });
    }
}
