//! Roles: one for each function and state machine, with the rights that it needs, on what it needs them for, and no others.

use super::check::Check;
use super::document::{alternatives, attribute_of, keys, resources_of, texts};
use super::rights::{
    COMMON_RIGHTS, LOG_RIGHTS, ON_EVERYTHING, PIPELINE_RIGHTS, ROLE_PROPERTIES, Right, STACK_ROLE_PROPERTIES, STATE,
    STATE_MACHINE_RIGHTS,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The statements of a role's policies, its own and those of the template that it has, conditional ones with their condition.
pub(super) fn statements<'a>(template: &'a Value, role: &'a Value) -> Vec<&'a Value> {
    let own = role["Policies"].as_array().into_iter().flatten();
    let shared = role["ManagedPolicyArns"].as_array().into_iter().flatten();
    let shared = shared.map(|arn| &template["Resources"][arn["!Ref"].as_str().unwrap_or_default()]["Properties"]);
    let of = |policy: &'a Value| policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten();
    own.chain(shared).flat_map(of).collect()
}

impl<'a> Check<'a> {
    fn statements(&self, role: &'a Value) -> Vec<&'a Value> {
        statements(self.template, role)
    }

    /// Several roles have it: else its statements would stand in the one role.
    pub(super) fn managed_policy(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), &["Description", "PolicyDocument"]);
        let has =
            |role: &Value| role["ManagedPolicyArns"].as_array().into_iter().flatten().any(|arn| arn["!Ref"] == name);
        let roles = self.resources().filter(|(_, _, resource)| has(&resource["Properties"])).count();
        self.expect(roles > 1, || format!("{name} is the policy of {roles} roles"));
    }

    pub(super) fn role(&mut self, name: &str, properties: &'a Value) {
        for arn in properties["ManagedPolicyArns"].as_array().into_iter().flatten() {
            let own = self.is_a(arn["!Ref"].as_str(), "AWS::IAM::ManagedPolicy");
            self.expect(own, || format!("{name}: {arn} is not one of the template's policies"));
        }
        let more = if self.source.stream.is_none() { STACK_ROLE_PROPERTIES } else { &[] };
        self.known(name, keys(properties), &[ROLE_PROPERTIES, more].concat());
        let holds = |resource: &Value| attribute_of(&resource["Properties"]["Role"], "Arn") == Some(name);
        let holders: Vec<_> = self.resources().filter(|(_, _, resource)| holds(resource)).collect();
        let &[(holder, kind, resource)] = holders.as_slice() else {
            return self.expect(false, || format!("{name} is the role of {} functions, not of one", holders.len()));
        };
        if kind == "AWS::Serverless::StateMachine" {
            self.trusts(name, properties, "states.amazonaws.com");
            return self.rights(name, properties, holder, STATE_MACHINE_RIGHTS, &[]);
        }
        self.trusts(name, properties, "lambda.amazonaws.com");
        let Some(rules) = self.rules_of(Some(holder)) else { return };
        let read = if rules.fed { self.source.reads } else { &[] };
        // A stack knows the target that it has made.
        let targets = self.targets.iter().filter(|_| self.source.stream.is_some());
        let targets: Vec<Right> = targets.flat_map(|target| target.rights).copied().collect();
        let variables = &resource["Properties"]["Environment"]["Variables"];
        let piped = if variables["TIDELOCK_PIPELINE"].is_null() { &[] } else { PIPELINE_RIGHTS };
        let needed = [read, rules.needs, piped].concat();
        self.rights(name, properties, holder, &needed, &[COMMON_RIGHTS, &targets].concat());
        self.own_log(name, properties, &resource["Properties"]["LoggingConfig"]["LogGroup"]);
        if rules.reads_again {
            self.read_again(name, properties, variables);
        }
    }

    /// One service may take the role on. Step Functions must be asked to do so for this account alone
    /// ([confused deputy](https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html)).
    fn trusts(&mut self, name: &str, properties: &Value, service: &str) {
        let mut trust = json!({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"});
        if service == "states.amazonaws.com" {
            trust["Condition"] = json!({"StringEquals": {"aws:SourceAccount": {"!Ref": "AWS::AccountId"}}});
        }
        let mut trusted = properties["AssumeRolePolicyDocument"]["Statement"].clone();
        for statement in trusted.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            statement.remove("Sid");
        }
        self.expect(trusted == json!([trust]), || format!("{name} is not for {service} alone"));
    }

    /// Needed rights are on exactly their resources, others on some of theirs.
    fn rights(&mut self, name: &str, properties: &'a Value, holder: &str, needed: &[Right], may: &[Right]) {
        let mut allowed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for statement in self.statements(properties).into_iter().flat_map(alternatives) {
            let sid = statement["Sid"].as_str().unwrap_or("a statement without Sid").to_owned();
            self.known(&sid, keys(statement), &["Action", "Condition", "Effect", "Resource", "Sid"]);
            if statement["Effect"] == "Deny" {
                continue;
            }
            let actions = texts(&statement["Action"]);
            self.expect(!actions.is_empty(), || format!("{sid}: Action is neither a text nor a list of texts"));
            let resources = resources_of(statement);
            let everywhere = resources.iter().any(|resource| resource == "*");
            for action in actions {
                self.expect(!action.contains('*'), || format!("{sid}: {action} gives more than is named"));
                let excused = ON_EVERYTHING.iter().any(|(known, _)| *known == action);
                self.expect(!everywhere || excused, || format!("{sid}: {action} is given on every resource"));
                allowed.entry(action).or_default().extend(resources.iter().cloned());
            }
            self.pinned(&sid, statement);
        }
        let set = |on: &[&str]| on.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
        let again = self.source.stream.as_ref().map(|stream| stream.again.right);
        for (action, on) in needed {
            let (mut given, right) = (allowed.remove(action).unwrap_or_default(), set(on));
            if again == Some(*action) && set(on) == set(STATE) {
                // That on what the mapping reads has a rule of its own.
                given.retain(|resource| right.contains(resource));
            }
            self.expect(!given.is_empty(), || format!("{name}: {action} is missing"));
            let exact = given.is_empty() || given == right;
            self.expect(exact, || format!("{name}: {action} is given on {given:?}, not on {right:?}"));
        }
        // What has a rule of its own.
        if let Some(rules) = self.rules_of(Some(holder)) {
            let right = self.source.stream.as_ref().map(|stream| stream.again.right);
            let again = |action: &str| rules.reads_again && right == Some(action);
            allowed.retain(|action, _| !LOG_RIGHTS.contains(action) && !again(action));
        }
        for (action, given) in allowed {
            let Some((_, on)) = may.iter().find(|(known, _)| *known == action) else {
                self.expect(false, || format!("{holder} has no use for {action}"));
                continue;
            };
            let right = given.is_subset(&set(on));
            self.expect(right, || format!("{name}: {action} is given on {given:?}, not on some of {on:?}"));
        }
    }

    /// A bucket's name is anybody's once it is free: only this account's is meant. A key is for what it encrypts.
    fn pinned(&mut self, sid: &str, statement: &Value) {
        let of = |service: &str| texts(&statement["Action"]).iter().any(|action| action.starts_with(service));
        let equals = &statement["Condition"]["StringEquals"];
        let pinned = equals["s3:ResourceAccount"] == json!({"!Ref": "AWS::AccountId"});
        self.expect(!of("s3:") || pinned, || format!("{sid}: s3:ResourceAccount is not pinned to this account"));
        let through = !equals["kms:ViaService"].is_null();
        self.expect(!of("kms:") || through, || format!("{sid}: kms:ViaService does not say what the key is for"));
    }

    /// The log that may be written is the function's: into another, Lambda would write nothing and say nothing.
    fn own_log(&mut self, name: &str, properties: &'a Value, group: &Value) {
        let own = format!(":log-group:${{{}}}:*", group["!Ref"].as_str().unwrap_or_default());
        let mut given = BTreeSet::new();
        for statement in self.statements(properties).into_iter().flat_map(alternatives) {
            let rights: Vec<&str> =
                texts(&statement["Action"]).into_iter().filter(|action| LOG_RIGHTS.contains(action)).collect();
            if !rights.is_empty() {
                let resource = statement["Resource"]["!Sub"].as_str();
                let right = resource.is_some_and(|resource| resource.ends_with(&own));
                self.expect(right, || format!("{name}: logs may not be written to {group}, the function's own"));
            }
            given.extend(rights);
        }
        for right in LOG_RIGHTS {
            self.expect(given.contains(right), || format!("{name}: {right} is missing"));
        }
    }

    /// The right to read the source again is for what the mapping reads, and there only when the function does it.
    fn read_again(&mut self, name: &str, properties: &'a Value, variables: &Value) {
        let Some(again) = self.source.stream.as_ref().map(|stream| &stream.again) else { return };
        let right = again.right;
        let gives = |statement: &&Value| {
            let of_state = |statement: &Value| resources_of(statement) == ["!GetAtt State.Arn"];
            alternatives(statement)
                .iter()
                .any(|statement| texts(&statement["Action"]).contains(&right) && !of_state(statement))
        };
        let mut given = self.statements(properties);
        given.retain(gives);
        self.expect(!given.is_empty(), || format!("{name}: {right} is missing"));
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
        let mut sources = self.resources().filter_map(|(_, kind, mapping)| {
            let source = mapping["Properties"]["EventSourceArn"]["!Ref"].as_str();
            source.filter(|_| kind == "AWS::Lambda::EventSourceMapping")
        });
        let read = (again.resource)(sources.next().unwrap_or_default());
        self.expect(statement["Resource"] == read, || {
            format!("{name}: {right} is given on {}, not on what the mapping reads", statement["Resource"])
        });
    }
}
