//! The stack that makes source and target as well: its nested stacks, its API, and what becomes of it in the end.

mod api;
mod live;
mod nested;
mod network;
mod stores;

use super::alarm::computed;
use super::check::Check;
use super::document::{keys, parse, texts};
use super::read;
use super::rights::NAMED_STATEMENTS;
use super::role::statements;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidelock_core::pipeline::Pipeline;

/// Types of resources, besides those of every pipeline.
pub(super) const STACK_TYPES: &[&str] = &[
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudFormation::Stack",
    "AWS::Lambda::Permission",
    "Custom::ChangeStreams",
];

/// Types of resources that can have no tags
/// ([CloudFormation](https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html)).
const WITHOUT_TAGS: &[&str] = &[
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::EC2::Route",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::ServiceLinkedRole",
    "AWS::Lambda::Permission",
    "AWS::Logs::ResourcePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::SecretsManager::SecretTargetAttachment",
    "Custom::ChangeStreams",
];

/// The nested stacks, and their templates beside the template.
const NESTED: &[(&str, &str)] = &[("Network", "documentdb/network.yaml"), ("Stores", "documentdb/stores.yaml")];

/// A stack as a whole.
struct Stack {
    template: Value,
    /// The nested templates, by the resource that names them.
    nested: BTreeMap<&'static str, Value>,
}

impl Stack {
    /// The one in `infra/`, with the text of one template replaced.
    fn with(replaced: &str, by: impl FnOnce(&str) -> String) -> Self {
        let mut by = Some(by);
        let mut read = |path: &str| {
            let text = read(&format!("infra/{path}"));
            let text = if path == replaced { by.take().expect("one template")(&text) } else { text };
            parse(&text).unwrap_or_else(|error| panic!("infra/{path}: {error}"))
        };
        let template = read("documentdb-to-opensearch.yaml");
        Self { template, nested: NESTED.iter().map(|(name, path)| (*name, read(path))).collect() }
    }

    fn resources(&self, of: &str) -> impl Iterator<Item = (&str, &str, &Value)> {
        let template = self.nested.get(of).unwrap_or(&self.template);
        let resources = template["Resources"].as_object().into_iter().flatten();
        resources.map(|(name, resource)| (name.as_str(), resource["Type"].as_str().unwrap_or_default(), resource))
    }

    /// All that is wrong with how its templates fit together.
    fn problems(&self) -> Vec<String> {
        [self.nesting(), self.tags(), self.network(), self.stores()].concat()
    }

    /// Whoever looks for what belongs together finds all of it.
    fn tags(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for of in ["", "Network", "Stores"] {
            for (name, kind, resource) in self.resources(of) {
                let tags = &resource["Properties"]["Tags"];
                let value = json!({"!Ref": "Application"});
                let listed = tags.as_array().into_iter().flatten();
                let tagged = tags["Application"] == value
                    || listed.into_iter().any(|tag| tag["Key"] == "Application" && tag["Value"] == value);
                if tagged == WITHOUT_TAGS.contains(&kind) {
                    problems.push(format!("{of} {name}: {kind} has no tag Application, or cannot have one"));
                }
            }
        }
        problems
    }
}

impl Check<'_> {
    /// What the stack is made of besides a pipeline.
    pub(super) fn stack(&mut self) {
        for name in computed() {
            let there = !self.template["Resources"][name].is_null();
            self.expect(there, || format!("there is no {name}"));
        }
        self.statements_are_named();
        for problem in Stack::with("", |_| unreachable!()).problems() {
            self.expect(false, || problem);
        }
    }

    /// The role of the mapping has its statements under names that operators look for.
    fn statements_are_named(&mut self) {
        let role = &self.template["Resources"]["SyncRole"]["Properties"];
        let all = statements(self.template, role);
        for (sid, actions) in NAMED_STATEMENTS {
            let mut found = all.iter().filter(|statement| statement["Sid"] == *sid);
            let given = found.next().map(|statement| texts(&statement["Action"]));
            self.expect(given.as_deref() == Some(*actions), || {
                format!("SyncRole: {sid} allows {given:?}, not {actions:?}")
            });
        }
    }

    /// A resource of the stack that is none of a pipeline.
    pub(super) fn part(&mut self, name: &str, kind: &str, resource: &Value) {
        match kind {
            "AWS::CloudFormation::Stack" => self.nested_stack(name, resource),
            "Custom::ChangeStreams" => self.change_streams(name, &resource["Properties"]),
            "AWS::ApiGatewayV2::Api" => self.api(name, &resource["Properties"]),
            "AWS::ApiGatewayV2::Stage" => self.stage(name, &resource["Properties"]),
            "AWS::ApiGatewayV2::Integration" => self.integration(name, &resource["Properties"]),
            "AWS::ApiGatewayV2::Route" => self.route(name, &resource["Properties"]),
            "AWS::Lambda::Permission" => self.permission(name, &resource["Properties"]),
            _ => self.expect(false, || format!("{name}: no rules for a resource of type {kind}")),
        }
    }

    /// Kept as a whole or not at all: a store that stays alone would keep its subnets from being deleted.
    fn nested_stack(&mut self, name: &str, resource: &Value) {
        self.known(name, keys(&resource["Properties"]), &["Parameters", "Tags", "TemplateURL"]);
        let policy = json!({"!If": ["KeepsData", "RetainExceptOnCreate", "Delete"]});
        self.expect(resource["DeletionPolicy"] == policy, || format!("{name}: DeletionPolicy is not {policy}"));
        let extended = texts(&self.template["Transform"]).first() == Some(&"AWS::LanguageExtensions");
        self.expect(extended, || format!("{name}: DeletionPolicy depends on a parameter without LanguageExtensions"));
        let asked = &self.template["Conditions"]["KeepsData"];
        let right = *asked == json!({"!Equals": [{"!Ref": "RemovalPolicy"}, "Retain"]});
        self.expect(right, || format!("{name}: KeepsData is {asked}"));
        let url = NESTED.iter().find(|(known, _)| *known == name).map(|(_, path)| *path);
        let right = resource["Properties"]["TemplateURL"].as_str() == url && url.is_some();
        self.expect(right, || format!("{name}: TemplateURL is not {url:?}"));
    }

    /// Polling begins when there is something to be polled, without anybody's doing.
    fn change_streams(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), &["Collection", "Database", "Enable", "ServiceTimeout", "ServiceToken"]);
        for (property, right) in [
            ("ServiceToken", json!({"!GetAtt": "EnableChangeStreamsFunction.Arn"})),
            ("Database", json!({"!Ref": "DemoDatabase"})),
            ("Collection", json!({"!Ref": "DemoCollection"})),
            ("Enable", json!({"!If": ["EnablesChangeStreams", "true", "false"]})),
        ] {
            let given = &properties[property];
            self.expect(*given == right, || format!("{name}: {property} must be {right}, not {given}"));
        }
        let resources = &self.template["Resources"];
        let longest = resources["EnableChangeStreamsFunction"]["Properties"]["Timeout"].as_u64();
        let patience = properties["ServiceTimeout"].as_u64();
        self.expect(longest.is_some() && patience > longest, || {
            format!("{name}: ServiceTimeout is not longer than the function's Timeout")
        });
        let after = texts(&resources["SyncMapping"]["DependsOn"]).contains(&name);
        self.expect(after, || format!("SyncMapping does not depend on {name}"));
        let conditions = &self.template["Conditions"];
        for (condition, right) in [
            ("EnablesChangeStreams", json!({"!Equals": [{"!Ref": "WalkThrough"}, "false"]})),
            (
                "Polls",
                json!({"!And": [
                    {"!Condition": "EnablesChangeStreams"}, {"!Equals": [{"!Ref": "MappingEnabled"}, "true"]},
                ]}),
            ),
        ] {
            let given = &conditions[condition];
            self.expect(*given == right, || format!("{condition} must be {right}, not {given}"));
        }
        // https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html
        let longest = &self.template["Parameters"]["SyncTimeoutSeconds"]["MaxValue"];
        let timeout = &resources["SyncFunction"]["Properties"]["Timeout"]["!Ref"];
        let short = *longest == 840 && timeout == "SyncTimeoutSeconds";
        self.expect(short, || "the sync function may take longer than the 14 minutes of its mapping".to_owned());
        let default = &self.template["Parameters"]["WalkThrough"]["Default"];
        self.expect(default == "false", || "WalkThrough is not false by default".to_owned());
    }
}

/// Each of these breaks a template of the stack in one place.
#[cfg(test)]
fn refuses(path: &str, breaks: &[(&str, &str, &str)]) {
    let mut passed = Vec::new();
    for (from, to, problem) in breaks {
        let broken = Stack::with(path, |text| {
            assert!(text.contains(from), "{path} has no {from:?} to be changed");
            text.replace(from, to)
        });
        let found = broken.problems();
        if !found.iter().any(|found| found.contains(problem)) {
            passed.push(format!("{from:?} -> {to:?}, not `{problem}` but {found:#?}"));
        }
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

#[test]
fn a_stack_that_does_not_fit_together_is_refused() {
    refuses(
        "documentdb-to-opensearch.yaml",
        &[
            ("        Outbound: !Ref Outbound\n", "", "Network is not given Outbound"),
            ("        Outbound: !Ref Outbound\n", "        Outbounds: nat\n", "Network has no parameter Outbounds"),
            ("Network.Outputs.VpcId", "Network.Outputs.Vpc", "Network has no output Vpc"),
            ("    AllowedValues: [4.0.0, 5.0.0]", "    AllowedValues: [5.0.0]", "EngineVersion allows"),
        ],
    );
    refuses(
        "documentdb/network.yaml",
        &[(
            "    Type: AWS::EC2::InternetGateway\n    Properties:\n      Tags: [{Key: Application, Value: !Ref Application}]\n",
            "    Type: AWS::EC2::InternetGateway\n",
            "InternetGateway: AWS::EC2::InternetGateway has no tag Application",
        )],
    );
}

#[test]
fn a_stack_that_needs_a_hand_is_refused() {
    super::broken::refuses(
        "documentdb-to-opensearch.yaml",
        &[
            ("    DependsOn: ChangeStreams\n", "", "SyncMapping does not depend on ChangeStreams"),
            ("StartingPosition: TRIM_HORIZON", "StartingPosition: LATEST", "StartingPosition must be \"TRIM_HORIZON\""),
            ("FullDocument: UpdateLookup", "FullDocument: Default", "DocumentDBEventSourceConfig must be"),
            (
                "      StartingPosition: TRIM_HORIZON\n",
                "      StartingPosition: TRIM_HORIZON\n      MaximumRetryAttempts: 3\n",
                "SyncMapping: MaximumRetryAttempts has no rule",
            ),
            (
                "      StartingPosition: TRIM_HORIZON\n",
                "      StartingPosition: TRIM_HORIZON\n      FunctionResponseTypes: [ReportBatchItemFailures]\n",
                "SyncMapping: FunctionResponseTypes has no rule",
            ),
            ("    MaxValue: 840\n", "    MaxValue: 900\n", "longer than the 14 minutes"),
            ("      ServiceTimeout: 600\n", "      ServiceTimeout: 60\n", "ServiceTimeout is not longer"),
            (
                "[EnablesChangeStreams, \"true\", \"false\"]",
                "[Polls, \"true\", \"false\"]",
                "ChangeStreams: Enable must be",
            ),
            ("!And [!Condition EnablesChangeStreams, ", "!Or [!Condition EnablesChangeStreams, ", "Polls must be"),
            (
                "[KeepsData, RetainExceptOnCreate, Delete]",
                "[KeepsData, Delete, Delete]",
                "Network: DeletionPolicy is not",
            ),
            ("Transform: [AWS::LanguageExtensions, ", "Transform: [", "without LanguageExtensions"),
        ],
    );
}

#[test]
fn rights_and_settings_that_are_too_many_are_refused() {
    super::broken::refuses(
        "documentdb-to-opensearch.yaml",
        &[
            ("- Sid: ESMNetworkingAccess", "- Sid: Networking", "SyncRole: ESMNetworkingAccess allows None"),
            (
                "                  - ec2:DescribeVpcs\n                Resource",
                "                Resource",
                "ec2:DescribeVpcs is missing",
            ),
            (":cluster:*\n", ":*\n", "rds:DescribeDBClusters is given on"),
            (
                "${Stores.Outputs.DomainArn}/${DemoIndex}/_search",
                "${Stores.Outputs.DomainArn}/*",
                "ReaderRole: es:ESHttpPost is given on",
            ),
            (
                "Action: es:ESHttpPost",
                "Action: [es:ESHttpPost, es:ESHttpPut]",
                "ReaderFunction has no use for es:ESHttpPut",
            ),
            (
                "ManagedPolicyArns: [!Ref VpcAccess, !Ref ClusterLogin]",
                "ManagedPolicyArns: [!Ref VpcAccess]",
                "WriterRole: secretsmanager:GetSecretValue is missing",
            ),
            (
                "          TIDELOCK_DEMO_INDEX: ",
                "          TIDELOCK_DEMO_INDICES: ",
                "TIDELOCK_DEMO_INDICES is not a setting",
            ),
            (
                "          TIDELOCK_DEMO_INDEX: ",
                "          TIDELOCK_IN_FLIGHT: !Ref InFlight\n          TIDELOCK_DEMO_INDEX: ",
                "ReaderFunction has no use for TIDELOCK_IN_FLIGHT",
            ),
            (
                "TIDELOCK_SOURCE_CA_FILE: global-bundle.pem",
                "TIDELOCK_SOURCE_CA_FILE: rds-ca.pem",
                "is rds-ca.pem, not global-bundle.pem",
            ),
            ("IF(FILL(posts, 0) > 0 AND", "IF(FILL(posts, 0) > 9 AND", "MappingStoppedAlarm: Metrics must be"),
            ("oldest / ${ChangeStreamRetentionSeconds} / 10", "oldest / 1000", "RetentionAlarm: Metrics must be"),
            (
                "      MetricName: OversizedRecordCount\n",
                "      MetricName: Throttles\n",
                "no alarm on AWS/Lambda OversizedRecordCount",
            ),
            ("  RetentionAlarm:\n", "  AgeAlarm:\n", "there is no RetentionAlarm"),
            (
                "        - Id: redrive\n          Arn",
                "        - Id: redrive\n          Input: x\n          Arn",
                "RedriveTimer: Input has no rule",
            ),
            (
                "Principal: events.amazonaws.com",
                "Principal: sns.amazonaws.com",
                "RedriveTimer may not start the function",
            ),
        ],
    );
}

#[test]
fn an_open_api_is_refused() {
    super::broken::refuses(
        "documentdb-to-opensearch.yaml",
        &[
            (
                "AuthorizationType: !Ref ApiAuthorization",
                "AuthorizationType: NONE",
                "AuthorizationType is not a choice",
            ),
            ("    Default: AWS_IAM\n", "    Default: NONE\n", "AuthorizationType is not a choice that is AWS_IAM"),
            ("        ThrottlingBurstLimit: !Ref ApiBurst\n", "", "ApiStage is not throttled"),
            ("RouteKey: POST /config", "RouteKey: GET /config", "there is no route POST /config"),
            ("${Api}/*/POST/demo-data", "${Api}/*", "the API may not call the function for POST /demo-data"),
            (
                "Target: !Sub integrations/${ReadIntegration}",
                "Target: !Sub integrations/${WriteIntegration}",
                "GET /demo-data leads to",
            ),
            ("      Timeout: 29\n", "      Timeout: 60\n", "works longer than 30 s"),
        ],
    );
}

#[test]
fn what_pipelines_share_is_the_same_here() {
    let own = Stack::with("", |_| unreachable!()).template;
    let other = parse(&read("infra/dynamodb-to-opensearch.yaml")).expect("YAML");
    let essence = |template: &Value, name: &str| {
        let mut resource = template["Resources"][name].clone();
        assert!(resource.is_object(), "there is no {name}");
        let properties = resource["Properties"].as_object_mut().expect("properties");
        properties.remove("Tags");
        properties.remove("AlarmDescription");
        resource
    };
    for name in [
        "DeadLetters",
        "DeadLettersPolicy",
        "Fallback",
        "FallbackPolicy",
        "LettersBucket",
        "LettersBucketPolicy",
        "State",
        "DrainMapping",
        "ErrorsAlarm",
        "RedriveErrorsAlarm",
        "IteratorAgeAlarm",
        "ThrottlesAlarm",
        "ParkedAlarm",
        "OrderConflictAlarm",
        "SalvagedAlarm",
        "DeadLettersAlarm",
        "DeadLettersAgeAlarm",
        "OldestLetterAlarm",
        "FallbackAlarm",
        "FallbackAgeAlarm",
        "OldestHeldAlarm",
        "TargetDownAlarm",
        "KeptAlarm",
    ] {
        assert_eq!(essence(&own, name), essence(&other, name), "{name}");
    }
}

#[test]
fn the_demo_goes_from_the_collection_to_the_index() {
    let stack = Stack::with("", |_| unreachable!());
    let parameters = &stack.template["Parameters"];
    for function in ["SyncFunction", "RedriveFunction"] {
        let properties = &stack.template["Resources"][function]["Properties"];
        let text =
            properties["Environment"]["Variables"]["TIDELOCK_PIPELINE"]["!If"][2]["!Sub"].as_str().expect("text");
        let filled = ["DemoDatabase", "DemoCollection", "DemoIndex"].iter().fold(text.to_owned(), |text, name| {
            text.replace(&format!("${{{name}}}"), parameters[name]["Default"].as_str().expect("a default"))
        });
        let pipeline = Pipeline::parse(&filled).unwrap_or_else(|problems| panic!("{filled}: {problems:?}"));
        drop(pipeline);
        assert!(filled.contains("demo-database.demo-collection") && filled.contains("demo-index"), "{filled}");
    }
}
