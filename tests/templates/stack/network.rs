//! From where functions and poller reach what they need: derived from what they are told and what they may do.

use super::Stack;
use crate::templates::document::{alternatives, attribute_of, texts};
use crate::templates::role::statements;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Services whose API a function calls from its code, by the prefix of actions. The endpoint has the same name.
const CALLED: &[&str] = &["dynamodb", "lambda", "s3", "secretsmanager", "sqs", "ssm", "sts"];

/// Prefixes of actions that need no way out of the VPC, and why.
const NOT_CALLED: &[(&str, &str)] = &[
    ("ec2", "Lambda attaches functions and poller"),
    ("es", "the domain is in the VPC"),
    ("kms", "other services decrypt in the role's name: kms:ViaService"),
    ("logs", "Lambda writes what the function prints"),
    ("rds", "Lambda looks the cluster up"),
];

/// What the poller of a cluster calls, in the cluster's subnets and with its security groups
/// ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html#docdb-network)): it takes the role on, logs in,
/// and invokes the function.
const POLLER: &[&str] = &["lambda", "secretsmanager", "sts"];

/// Endpoints that cost nothing are gateways.
const GATEWAYS: &[&str] = &["dynamodb", "s3"];

/// Ports of the stores.
const MONGODB: u64 = 27017;
const HTTPS: u64 = 443;

impl Stack {
    /// Services that each function of the VPC calls, and the poller.
    fn needs(&self, problems: &mut Vec<String>) -> BTreeMap<String, BTreeSet<&'static str>> {
        let mut needs: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        let called = |service: &str| CALLED.iter().find(|known| **known == service).copied();
        for (name, _, function) in self.resources("").filter(|(_, kind, _)| *kind == "AWS::Serverless::Function") {
            let properties = &function["Properties"];
            let own = needs.entry(name.to_owned()).or_default();
            let variables = properties["Environment"]["Variables"].as_object().into_iter().flatten();
            for (variable, value) in
                variables.flat_map(|(name, value)| alternatives(value).into_iter().map(move |v| (name, v)))
            {
                own.extend(self.named_by(variable, value));
            }
            let role = attribute_of(&properties["Role"], "Arn").unwrap_or_default();
            let role = &self.template["Resources"][role]["Properties"];
            let allowed = statements(&self.template, role).into_iter().flat_map(alternatives);
            for action in allowed.filter(|one| one["Effect"] == "Allow").flat_map(|one| texts(&one["Action"])) {
                let prefix = action.split(':').next().unwrap_or_default();
                match called(prefix) {
                    Some(service) => drop(own.insert(service)),
                    None if NOT_CALLED.iter().any(|(known, _)| *known == prefix) => {}
                    None => problems.push(format!("{name}: nobody knows from where {action} is called")),
                }
            }
        }
        for (_, kind, resource) in self.resources("") {
            if kind.starts_with("Custom::") {
                // The answer is put where CloudFormation says: into a bucket.
                let function = attribute_of(&resource["Properties"]["ServiceToken"], "Arn").unwrap_or_default();
                needs.entry(function.to_owned()).or_default().insert("s3");
            }
            if !resource["Properties"]["DocumentDBEventSourceConfig"].is_null() {
                needs.entry("the poller".to_owned()).or_default().extend(POLLER);
            }
        }
        needs
    }

    /// Services that a setting leads to.
    fn named_by(&self, variable: &str, value: &Value) -> Option<&'static str> {
        let resource = value["!Ref"].as_str().unwrap_or_default();
        let text = value.as_str().or_else(|| value["!Sub"].as_str()).unwrap_or_default();
        match self.template["Resources"][resource]["Type"].as_str() {
            _ if variable.ends_with("_SECRET") => Some("secretsmanager"),
            Some("AWS::SQS::Queue") => Some("sqs"),
            Some("AWS::S3::Bucket") => Some("s3"),
            _ if text.starts_with("dynamodb:") => Some("dynamodb"),
            _ if text.starts_with("s3:") => Some("s3"),
            // A text of the user's may be the name of a parameter.
            _ if variable == "TIDELOCK_PIPELINE" && !value["!Ref"].is_null() => Some("ssm"),
            _ => None,
        }
    }

    /// Services that can be reached from the private subnets where `Outbound` is this, as the endpoints' conditions say.
    fn endpoints(&self, outbound: &str, problems: &mut Vec<String>) -> BTreeSet<String> {
        let condition = if outbound == "nat" { "HasNat" } else { "HasEndpoints" };
        let mut found = BTreeSet::new();
        for (name, _, endpoint) in self.resources("Network").filter(|(_, kind, _)| *kind == "AWS::EC2::VPCEndpoint") {
            if endpoint["Condition"].as_str().is_some_and(|given| given != condition) {
                continue;
            }
            let properties = &endpoint["Properties"];
            let service = properties["ServiceName"]["!Sub"].as_str().unwrap_or_default();
            let Some(service) = service.strip_prefix("com.amazonaws.${AWS::Region}.") else {
                problems.push(format!("{name} is of no service of the region"));
                continue;
            };
            let reference = |name: &str| json!({"!Ref": name});
            let right = if GATEWAYS.contains(&service) {
                json!({
                    "VpcEndpointType": "Gateway", "VpcId": reference("Vpc"),
                    "RouteTableIds": [reference("PrivateRoutes")],
                })
            } else {
                json!({
                    "VpcEndpointType": "Interface", "VpcId": reference("Vpc"), "PrivateDnsEnabled": true,
                    "SubnetIds": [reference("PrivateSubnetA"), reference("PrivateSubnetB")],
                    "SecurityGroupIds": [reference("EndpointsGroup")],
                })
            };
            for (property, right) in right.as_object().into_iter().flatten() {
                if properties[property] != *right {
                    problems.push(format!("{name}: {property} must be {right}, not {}", properties[property]));
                }
            }
            // A policy would have to let Lambda itself through, and CloudFormation's buckets.
            if !properties["PolicyDocument"].is_null() {
                problems.push(format!("{name} has a policy"));
            }
            found.insert(service.to_owned());
        }
        found
    }

    /// Whether traffic on a port leaves one group and enters the other.
    fn lets(&self, from: &str, to: &str, port: u64) -> bool {
        let inline = |group: &str, list: &str| {
            let properties = &self.nested["Network"]["Resources"][group]["Properties"];
            properties[list].as_array().cloned().unwrap_or_default()
        };
        let apart = |group: &str, kind: &str| -> Vec<Value> {
            let of = |rule: &Value| rule["Properties"]["GroupId"]["!Ref"] == group;
            let rules = self.resources("Network").filter(|(_, found, rule)| *found == kind && of(rule));
            rules.map(|(_, _, rule)| rule["Properties"].clone()).collect()
        };
        let covers = |rule: &Value| {
            let bound = |name: &str| rule[name].as_u64().unwrap_or_default();
            rule["IpProtocol"] == "tcp" && (bound("FromPort")..=bound("ToPort")).contains(&port)
        };
        let out = [inline(from, "SecurityGroupEgress"), apart(from, "AWS::EC2::SecurityGroupEgress")].concat();
        let within = [inline(to, "SecurityGroupIngress"), apart(to, "AWS::EC2::SecurityGroupIngress")].concat();
        let leaves = |rule: &Value| {
            covers(rule) && (rule["DestinationSecurityGroupId"]["!Ref"] == to || rule["CidrIp"] == "0.0.0.0/0")
        };
        let enters = |rule: &Value| covers(rule) && rule["SourceSecurityGroupId"]["!Ref"] == from;
        out.iter().any(leaves) && within.iter().any(enters)
    }

    pub(super) fn network(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let needs = self.needs(&mut problems);
        for outbound in texts(&self.template["Parameters"]["Outbound"]["AllowedValues"]) {
            let endpoints = self.endpoints(outbound, &mut problems);
            let nat = outbound == "nat" && self.has_nat();
            for (who, services) in &needs {
                for service in services.iter().filter(|service| !nat && !endpoints.contains(**service)) {
                    problems.push(format!("{who} does not reach {service} with Outbound={outbound}"));
                }
            }
        }
        for (from, to, port) in [
            ("FunctionsGroup", "ClusterGroup", MONGODB),
            ("FunctionsGroup", "DomainGroup", HTTPS),
            ("FunctionsGroup", "EndpointsGroup", HTTPS),
            // The poller has the cluster's group.
            ("ClusterGroup", "ClusterGroup", MONGODB),
            ("ClusterGroup", "EndpointsGroup", HTTPS),
        ] {
            if !self.lets(from, to, port) {
                problems.push(format!("port {port} of {to} is closed to {from}"));
            }
        }
        for (from, to) in [("ClusterGroup", "DomainGroup"), ("DomainGroup", "ClusterGroup")] {
            if self.lets(from, to, MONGODB) || self.lets(from, to, HTTPS) {
                problems.push(format!("{to} is open to {from}"));
            }
        }
        self.nobody_else(&mut problems);
        problems.extend(self.subnets());
        problems
    }

    /// Private subnets have a route to a NAT gateway, which stands in a public one.
    fn has_nat(&self) -> bool {
        let resources = &self.nested["Network"]["Resources"];
        let gateway = &resources["NatGateway"];
        let route = &resources["PrivateWayOut"];
        let public = |subnet: &Value| subnet["!Ref"].as_str().is_some_and(|name| name.starts_with("PublicSubnet"));
        gateway["Condition"] == "HasNat"
            && public(&gateway["Properties"]["SubnetId"])
            && route["Condition"] == "HasNat"
            && route["Properties"]["RouteTableId"]["!Ref"] == "PrivateRoutes"
            && route["Properties"]["DestinationCidrBlock"] == "0.0.0.0/0"
            && route["Properties"]["NatGatewayId"]["!Ref"] == "NatGateway"
    }

    /// What comes in comes from a group of the stack.
    fn nobody_else(&self, problems: &mut Vec<String>) {
        for (name, kind, resource) in self.resources("Network") {
            let properties = &resource["Properties"];
            let inline = properties["SecurityGroupIngress"].as_array().into_iter().flatten();
            let apart = Some(properties).filter(|_| kind == "AWS::EC2::SecurityGroupIngress");
            for rule in inline.chain(apart) {
                if rule["SourceSecurityGroupId"]["!Ref"].is_null() || rule["IpProtocol"] != "tcp" {
                    problems.push(format!("{name} lets in more than a group of the stack"));
                }
            }
            let open = properties["SecurityGroupEgress"].is_null() && kind == "AWS::EC2::SecurityGroup";
            if open {
                problems.push(format!("{name} may go everywhere, because it says nothing"));
            }
        }
    }

    /// Private ones have no way to the Internet but NAT; the functions are in both of them.
    fn subnets(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let routes = |subnet: &str| {
            let mut tables = self.resources("Network").filter(|(_, kind, association)| {
                *kind == "AWS::EC2::SubnetRouteTableAssociation"
                    && association["Properties"]["SubnetId"]["!Ref"] == subnet
            });
            tables.next().and_then(|(_, _, association)| association["Properties"]["RouteTableId"]["!Ref"].as_str())
        };
        for zone in ["A", "B"] {
            for (kind, table) in [("Private", "PrivateRoutes"), ("Public", "PublicRoutes")] {
                let subnet = format!("{kind}Subnet{zone}");
                if routes(&subnet) != Some(table) {
                    problems.push(format!("{subnet} does not have the routes {table}"));
                }
            }
        }
        for (name, _, route) in self.resources("Network").filter(|(_, kind, _)| *kind == "AWS::EC2::Route") {
            let private = route["Properties"]["RouteTableId"]["!Ref"] == "PrivateRoutes";
            if private && !route["Properties"]["GatewayId"].is_null() {
                problems.push(format!("{name} opens the private subnets to the Internet"));
            }
        }
        let inside = json!({
            "SubnetIds": {"!Split": [",", {"!GetAtt": "Network.Outputs.PrivateSubnetIds"}]},
            "SecurityGroupIds": [{"!GetAtt": "Network.Outputs.FunctionsGroupId"}],
        });
        for (name, _, function) in self.resources("").filter(|(_, kind, _)| *kind == "AWS::Serverless::Function") {
            if function["Properties"]["VpcConfig"] != inside {
                problems.push(format!("{name} is not in the private subnets"));
            }
        }
        let outputs = &self.nested["Network"]["Outputs"];
        let private = json!({"!Join": [",", [{"!Ref": "PrivateSubnetA"}, {"!Ref": "PrivateSubnetB"}]]});
        if outputs["PrivateSubnetIds"]["Value"] != private {
            problems.push("PrivateSubnetIds are not the private subnets".to_owned());
        }
        problems
    }
}

#[test]
fn needs_are_derived_from_settings_and_rights() {
    let stack = Stack::with("", |_| unreachable!());
    let mut problems = Vec::new();
    let needs = stack.needs(&mut problems);
    assert_eq!(problems, Vec::<String>::new());
    let of = |who: &str| needs[who].iter().copied().collect::<Vec<_>>().join(" ");
    assert_eq!(of("SyncFunction"), "dynamodb s3 secretsmanager sqs ssm");
    assert_eq!(of("RedriveFunction"), "dynamodb s3 secretsmanager sqs ssm");
    assert_eq!(of("EnableChangeStreamsFunction"), "s3 secretsmanager");
    assert_eq!(of("WriterFunction"), "secretsmanager");
    assert_eq!(of("ReaderFunction"), "");
    assert_eq!(of("the poller"), "lambda secretsmanager sts");
}

#[test]
fn a_network_with_a_hole_is_refused() {
    let interface = |service: &str| format!("ServiceName: !Sub com.amazonaws.${{AWS::Region}}.{service}\n");
    let monitoring = interface("monitoring");
    let lost = ["lambda", "sts", "secretsmanager", "sqs", "ssm", "s3", "dynamodb"].map(|service| {
        let told = format!("does not reach {service} with Outbound=endpoints");
        (interface(service), told)
    });
    let lost: Vec<(&str, &str, &str)> =
        lost.iter().map(|(from, told)| (from.as_str(), monitoring.as_str(), told.as_str())).collect();
    super::refuses("documentdb/network.yaml", &lost);
    super::refuses(
        "documentdb/network.yaml",
        &[
            ("      NatGatewayId: !Ref NatGateway\n", "", "does not reach sqs with Outbound=nat"),
            ("    Condition: HasEndpoints\n", "    Condition: HasNat\n", "does not reach sts with Outbound=endpoints"),
            ("      PrivateDnsEnabled: true\n", "", "SqsEndpoint: PrivateDnsEnabled must be true"),
            ("[!Ref PrivateSubnetA, !Ref PrivateSubnetB]", "[!Ref PublicSubnetA]", "LambdaEndpoint: SubnetIds must be"),
            ("FromPort: 27017", "FromPort: 27018", "port 27017 of ClusterGroup is closed to FunctionsGroup"),
            (
                "      GroupId: !Ref ClusterGroup\n      IpProtocol: tcp\n      FromPort: 27017\n      ToPort: 27017\n      SourceSecurityGroupId: !Ref ClusterGroup",
                "      GroupId: !Ref ClusterGroup\n      IpProtocol: tcp\n      FromPort: 27017\n      ToPort: 27017\n      SourceSecurityGroupId: !Ref DomainGroup",
                "port 27017 of ClusterGroup is closed to ClusterGroup",
            ),
            (
                "      GroupId: !Ref DomainGroup\n",
                "      GroupId: !Ref ClusterGroup\n",
                "port 443 of DomainGroup is closed to FunctionsGroup",
            ),
            (
                "      SourceSecurityGroupId: !Ref FunctionsGroup\n\n  # Gateways",
                "      CidrIp: 0.0.0.0/0\n\n  # Gateways",
                "DomainFromFunctions lets in more than a group",
            ),
            (
                "          SourceSecurityGroupId: !Ref ClusterGroup\n",
                "          SourceSecurityGroupId: !Ref DomainGroup\n",
                "port 443 of EndpointsGroup is closed to ClusterGroup",
            ),
            (
                "      RouteTableId: !Ref PublicRoutes\n      DestinationCidrBlock",
                "      RouteTableId: !Ref PrivateRoutes\n      DestinationCidrBlock",
                "PublicWayOut opens the private subnets",
            ),
        ],
    );
    super::refuses(
        "documentdb-to-opensearch.yaml",
        &[
            ("sqs:GetQueueAttributes", "cloudwatch:PutMetricData", "nobody knows from where cloudwatch:PutMetricData"),
            ("sqs:GetQueueAttributes", "sts:AssumeRole", "RedriveFunction does not reach"),
            ("Network.Outputs.FunctionsGroupId]", "Network.Outputs.ClusterGroupId]", "is not in the private subnets"),
        ][..1],
    );
}
