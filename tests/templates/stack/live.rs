//! The templates, transformed, in moto's CloudFormation: as far as that goes.
//!
//! moto has no DocumentDB, OpenSearch, HTTP APIs or alarms in its CloudFormation, no nested stacks whose outputs are used, and
//! no `Fn::Cidr`. What it lacks is listed here, so that nothing else is left out; the rules of this folder judge the rest.

use crate::support::services;
use crate::tidy::repository;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use tokio::net::TcpStream;

/// Types that moto's CloudFormation does not know.
const UNKNOWN: &[&str] = &[
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::DocDB::DBCluster",
    "AWS::DocDB::DBClusterParameterGroup",
    "AWS::DocDB::DBInstance",
    "AWS::DocDB::DBSubnetGroup",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::IAM::ServiceLinkedRole",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::OpenSearchService::Domain",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::SecretsManager::Secret",
    "AWS::SecretsManager::SecretTargetAttachment",
];

/// Resources that moto would refuse, or for which it would need containers: a mapping of a cluster, a function that answers.
const LEFT_OUT: &[&str] = &["ChangeStreams", "SyncMapping"];

/// Stands for what the nested stack of the stores would tell.
const STORES: &[(&str, &str)] = &[
    ("ClusterArn", "arn:aws:rds:us-east-1:123456789012:cluster:demo"),
    ("ClusterId", "demo"),
    ("DomainArn", "arn:aws:es:us-east-1:123456789012:domain/demo"),
    ("SecretArn", "arn:aws:secretsmanager:us-east-1:123456789012:secret:demo-a1b2c3"),
    ("SourceUrl", "mongodb://demo.cluster.example:27017/?tls=true&replicaSet=rs0&retryWrites=false"),
    ("TargetUrl", "opensearch+https://demo.example"),
];

type Texts = BTreeMap<String, String>;

/// What CloudFormation makes of a template.
fn transformed(path: &str) -> Value {
    let mut command = Command::new(repository().join("scripts/transform.sh"));
    let output = command.arg(repository().join("infra").join(path)).output().expect("scripts/transform.sh starts");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What moto does not do itself: computed ranges, outputs of nested stacks, list items that are nothing by default.
fn prepared(value: &Value, outputs: &Texts) -> Value {
    let output = |name: &str| outputs.get(name).unwrap_or_else(|| panic!("no output {name}"));
    match value {
        Value::Object(members) => {
            if let Some([stack, name]) = members.get("Fn::GetAtt").and_then(Value::as_array).map(Vec::as_slice)
                && let (Some(stack), Some(name)) = (stack.as_str(), name.as_str())
                && name.starts_with("Outputs.")
            {
                return json!(output(&format!("{stack}.{name}")));
            }
            if members.contains_key("Fn::Cidr") {
                return (0..4).map(|part| json!(format!("10.0.{part}.0/24"))).collect();
            }
            members.iter().map(|(name, member)| (name.clone(), prepared(member, outputs))).collect()
        }
        Value::Array(items) => {
            let nothing = |item: &&Value| {
                item["Fn::If"][0] == "HasStorageKey" && item["Fn::If"][2] == json!({"Ref": "AWS::NoValue"})
            };
            items.iter().filter(|item| !nothing(item)).map(|item| prepared(item, outputs)).collect()
        }
        Value::String(text) => {
            let filled =
                outputs.iter().fold(text.clone(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
            json!(filled)
        }
        other => other.clone(),
    }
}

/// What stands between two tags, each time.
fn between<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    text.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
}

struct Moto(String);

impl Moto {
    /// Asks a service, and returns its XML or JSON.
    async fn ask(&self, service: &str, method: Method, path: &str, fields: &[(&str, &str)]) -> String {
        let authority = self.0.strip_prefix("http://").expect("http");
        let stream = TcpStream::connect(authority).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        // By it, and by the scope, moto knows which service is meant.
        let kind = if fields.is_empty() { "application/json" } else { "application/x-www-form-urlencoded" };
        let scope = format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", authority)
            .header("content-type", kind)
            .header("authorization", scope)
            .body(Full::new(bytes::Bytes::from(form.join("&"))))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        driver.abort();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(status, StatusCode::OK, "{service} {path} {:?}: {body}", fields.first());
        body
    }

    async fn form(&self, service: &str, fields: &[(&str, &str)]) -> String {
        self.ask(service, Method::POST, "/", fields).await
    }

    /// Makes a stack of what moto knows, and returns its outputs and the names of its resources.
    async fn create(&self, stack: &str, template: &Value, parameters: &[(&str, &str)]) -> (Texts, BTreeSet<String>) {
        let body = template.to_string();
        let numbered: Vec<(String, String, &str, &str)> = parameters
            .iter()
            .enumerate()
            .map(|(at, (name, value))| {
                let member = format!("Parameters.member.{}", at + 1);
                (format!("{member}.ParameterKey"), format!("{member}.ParameterValue"), *name, *value)
            })
            .collect();
        let mut fields = vec![("Action", "CreateStack"), ("StackName", stack), ("TemplateBody", &body)];
        for (key, value, name, given) in &numbered {
            fields.push((key, name));
            fields.push((value, given));
        }
        self.form("cloudformation", &fields).await;
        let described = self.form("cloudformation", &[("Action", "DescribeStacks"), ("StackName", stack)]).await;
        assert_eq!(between(&described, "StackStatus"), ["CREATE_COMPLETE"], "{described}");
        let (names, values) = (between(&described, "OutputKey"), between(&described, "OutputValue"));
        let outputs = names.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.replace("&amp;", "&")));
        let listed = self.form("cloudformation", &[("Action", "DescribeStackResources"), ("StackName", stack)]).await;
        let resources = between(&listed, "LogicalResourceId").into_iter().map(str::to_owned).collect();
        (outputs.collect(), resources)
    }

    async fn delete(&self, stack: &str) {
        self.form("cloudformation", &[("Action", "DeleteStack"), ("StackName", stack)]).await;
    }
}

/// Names of a template's resources that moto knows, where only these conditions hold.
fn expected(template: &Value, holds: &[&str]) -> BTreeSet<String> {
    let resources = template["Resources"].as_object().expect("resources");
    let made = resources.iter().filter(|(_, resource)| {
        let condition = resource["Condition"].as_str().is_none_or(|condition| holds.contains(&condition));
        condition && !UNKNOWN.contains(&resource["Type"].as_str().expect("a type"))
    });
    made.map(|(name, _)| name.clone()).collect()
}

/// A port and the group that traffic comes from, of all rules of a group.
async fn ingress(moto: &Moto, group: &str) -> BTreeSet<(String, String)> {
    let xml = moto.form("ec2", &[("Action", "DescribeSecurityGroups"), ("GroupId.1", group)]).await;
    let rules = between(&xml, "ipPermissions").concat();
    let from = |rule: &str| {
        let port = rule.split('<').next().unwrap_or_default().to_owned();
        let groups: Vec<String> = between(rule, "groupId").into_iter().map(str::to_owned).collect();
        groups.into_iter().map(move |group| (port.clone(), group))
    };
    rules.split("<fromPort>").skip(1).flat_map(from).collect()
}

async fn endpoints(moto: &Moto, vpc: &str) -> BTreeSet<String> {
    let fields = [("Action", "DescribeVpcEndpoints"), ("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc)];
    let xml = moto.form("ec2", &fields).await;
    between(&xml, "serviceName")
        .into_iter()
        .map(|name| name.trim_start_matches("com.amazonaws.us-east-1.").to_owned())
        .collect()
}

#[tokio::test]
async fn the_stack_is_made_by_cloudformation() {
    let Some(url) = services::aws() else { return };
    let moto = Moto(url);
    let run = format!("tidelock-{:08x}", fastrand::u32(..));
    let none = Texts::new();

    // Both ways out of the private subnets.
    let network = prepared(&transformed("documentdb/network.yaml"), &none);
    let common = [("Application", "demo"), ("VpcCidr", "10.0.0.0/16"), ("AvailabilityZones", "")];
    let with_nat = format!("{run}-nat");
    let (outputs, made) = moto.create(&with_nat, &network, &[&common[..], &[("Outbound", "nat")]].concat()).await;
    assert_eq!(made, expected(&network, &["HasNat"]));
    assert_eq!(endpoints(&moto, &outputs["VpcId"]).await, BTreeSet::from(["dynamodb", "s3"].map(str::to_owned)));
    let with_endpoints = format!("{run}-endpoints");
    let (outputs, made) =
        moto.create(&with_endpoints, &network, &[&common[..], &[("Outbound", "endpoints")]].concat()).await;
    assert_eq!(made, expected(&network, &["HasEndpoints"]));
    let all = ["dynamodb", "lambda", "s3", "secretsmanager", "sqs", "ssm", "sts"].map(str::to_owned);
    assert_eq!(endpoints(&moto, &outputs["VpcId"]).await, BTreeSet::from(all));
    let (functions, cluster) = (&outputs["FunctionsGroupId"], &outputs["ClusterGroupId"]);
    let rule = |port: &str, group: &str| (port.to_owned(), group.to_owned());
    assert_eq!(ingress(&moto, cluster).await, BTreeSet::from([rule("27017", functions), rule("27017", cluster)]));
    assert_eq!(ingress(&moto, &outputs["DomainGroupId"]).await, BTreeSet::from([rule("443", functions)]));

    // The stores, of which moto knows next to nothing.
    let mut stores = prepared(&transformed("documentdb/stores.yaml"), &none);
    stores.as_object_mut().expect("an object").remove("Outputs");
    let given: Vec<(&str, String)> = stores["Parameters"]
        .as_object()
        .expect("parameters")
        .iter()
        .map(|(name, parameter)| {
            let allowed = parameter["AllowedValues"].as_array().and_then(|values| values.last());
            (name.as_str(), allowed.and_then(Value::as_str).unwrap_or("7").to_owned())
        })
        .collect();
    let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let of_stores = format!("{run}-stores");
    let (_, made) = moto.create(&of_stores, &stores, &given).await;
    assert_eq!(made, expected(&stores, &["HasStandby", "MakesServiceLinkedRole"]));
    assert_eq!(made, BTreeSet::from(["DomainLog", "DomainLogPolicy"].map(str::to_owned)));

    // What is around them.
    let network = outputs.iter().map(|(name, value)| (format!("Network.Outputs.{name}"), value.clone()));
    let stores = STORES.iter().map(|(name, value)| (format!("Stores.Outputs.{name}"), (*value).to_owned()));
    let mut root = transformed("documentdb-to-opensearch.yaml");
    let resources = root["Resources"].as_object_mut().expect("resources");
    for name in ["Network", "Stores"].iter().chain(LEFT_OUT) {
        assert!(resources.remove(*name).is_some(), "there is no {name}");
    }
    for resource in resources.values_mut().filter(|resource| resource["Type"] == "AWS::Lambda::Function") {
        resource["Properties"]["Code"] = json!({"ZipFile": "bootstrap"});
    }
    root.as_object_mut().expect("an object").remove("Outputs");
    let root = prepared(&root, &network.chain(stores).collect());
    let (_, made) = moto.create(&run, &root, &[]).await;
    assert_eq!(made, expected(&root, &[]));

    let listed = moto.ask("lambda", Method::GET, "/2015-03-31/functions", &[]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let of_run = |function: &&Value| function["FunctionName"].as_str().is_some_and(|name| name.starts_with(&run));
    let functions: Vec<&Value> = listed["Functions"].as_array().expect("functions").iter().filter(of_run).collect();
    assert_eq!(functions.len(), 5, "{functions:?}");
    let private: Vec<&str> = outputs["PrivateSubnetIds"].split(',').collect();
    for function in &functions {
        assert_eq!(function["VpcConfig"]["SubnetIds"], json!(private), "{function}");
        assert_eq!(function["VpcConfig"]["SecurityGroupIds"], json!([outputs["FunctionsGroupId"]]), "{function}");
        assert_eq!(function["Runtime"], "provided.al2023", "{function}");
    }
    let sync = functions.iter().find(|function| function["FunctionName"].as_str().unwrap().contains("SyncFunction"));
    let variables = &sync.expect("the sync function")["Environment"]["Variables"];
    let queues = moto.form("sqs", &[("Action", "ListQueues"), ("QueueNamePrefix", &run)]).await;
    for name in ["TIDELOCK_DEAD_LETTERS", "TIDELOCK_FALLBACK"] {
        // moto tells its own address in one place, AWS's in the other.
        let url = variables[name].as_str().expect("a queue's URL");
        let queue = url.rsplit('/').next().expect("a name");
        assert!(queues.contains(&format!("/{queue}<")), "{name}: {url} is not in {queues}");
    }
    let pipeline = variables["TIDELOCK_PIPELINE"].as_str().expect("a pipeline");
    assert!(pipeline.contains(r#""from":"demo-database.demo-collection","to":"demo-index""#), "{pipeline}");
    // moto gives functions no tags.
    let queue = between(&queues, "QueueUrl");
    let tags = moto.form("sqs", &[("Action", "ListQueueTags"), ("QueueUrl", queue[0])]).await;
    assert!(tags.contains("<Value>change-streams-demo</Value>"), "{tags}");

    // Networks stay: moto deletes a VPC before what is in it, and then refuses.
    for stack in [&run, &of_stores] {
        moto.delete(stack).await;
    }
}
