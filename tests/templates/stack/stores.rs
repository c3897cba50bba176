//! The cluster and the domain: encrypted, reached over TLS alone, and kept as the user wants.

use super::Stack;
use crate::templates::document::texts;
use serde_json::{Value, json};

/// What a resource must say, and why where it does not say so itself.
fn rules() -> Vec<(&'static str, &'static str, Value)> {
    let reference = |name: &str| json!({"!Ref": name});
    let key = json!({"!If": ["HasStorageKey", reference("StorageKeyArn"), reference("AWS::NoValue")]});
    let secret = json!({"!Sub": "{{resolve:secretsmanager:${MasterSecret}:SecretString:password}}"});
    vec![
        ("Cluster", "/Properties/EngineVersion", reference("EngineVersion")),
        ("Cluster", "/Properties/StorageEncrypted", json!(true)),
        ("Cluster", "/Properties/KmsKeyId", key.clone()),
        ("Cluster", "/Properties/MasterUserPassword", secret),
        ("Cluster", "/Properties/BackupRetentionPeriod", reference("BackupRetentionDays")),
        ("Cluster", "/Properties/CopyTagsToSnapshot", json!(true)),
        ("Cluster", "/Properties/VpcSecurityGroupIds", json!([reference("ClusterGroupId")])),
        ("Cluster", "/Properties/DBClusterParameterGroupName", reference("ClusterParameters")),
        ("Cluster", "/Properties/DBSubnetGroupName", reference("ClusterSubnets")),
        ("Cluster", "/Properties/DeletionProtection", json!({"!If": ["IsProtected", true, false]})),
        ("Cluster", "/DeletionPolicy", json!({"!If": ["LeavesNothing", "Delete", "Snapshot"]})),
        ("Cluster", "/UpdateReplacePolicy", json!("Snapshot")),
        ("ClusterParameters", "/Properties/Parameters/tls", json!("enabled")),
        ("ClusterParameters", "/Properties/Parameters/audit_logs", json!("enabled")),
        (
            "ClusterParameters",
            "/Properties/Parameters/change_stream_log_retention_duration",
            reference("ChangeStreamRetentionSeconds"),
        ),
        ("ClusterSubnets", "/Properties/SubnetIds", reference("SubnetIds")),
        ("Instance", "/Properties/DBClusterIdentifier", reference("Cluster")),
        ("MasterSecret", "/Properties/KmsKeyId", key.clone()),
        ("MasterSecretAttachment", "/Properties/TargetType", json!("AWS::DocDB::DBCluster")),
        // Without an instance there is nothing that the rotation could connect to.
        ("MasterSecretRotation", "/DependsOn", json!(["MasterSecretAttachment", "Instance"])),
        ("MasterSecretRotation", "/Properties/HostedRotationLambda/RotationType", json!("MongoDBSingleUser")),
        ("MasterSecretRotation", "/Properties/HostedRotationLambda/VpcSecurityGroupIds", reference("FunctionsGroupId")),
        // Exactly one.
        ("Domain", "/Properties/VPCOptions/SubnetIds", json!([{"!Select": [0, reference("SubnetIds")]}])),
        ("Domain", "/Properties/VPCOptions/SecurityGroupIds", json!([reference("DomainGroupId")])),
        ("Domain", "/Properties/ClusterConfig/ZoneAwarenessEnabled", json!(false)),
        ("Domain", "/Properties/EncryptionAtRestOptions", json!({"Enabled": true, "KmsKeyId": key})),
        ("Domain", "/Properties/NodeToNodeEncryptionOptions/Enabled", json!(true)),
        ("Domain", "/Properties/DomainEndpointOptions/EnforceHTTPS", json!(true)),
        // Whoever wants in signs.
        (
            "Domain",
            "/Properties/AccessPolicies/Statement/0/Principal",
            json!({"AWS": {"!Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}),
        ),
        ("Domain", "/Properties/AccessPolicies/Statement/1", Value::Null),
        ("ServiceLinkedRole", "/Condition", json!("MakesServiceLinkedRole")),
        ("ServiceLinkedRole", "/DeletionPolicy", json!("Retain")),
    ]
}

/// What a template says of itself.
fn outputs() -> Vec<(&'static str, Value)> {
    let cluster = "arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster:${Cluster}";
    let url = "mongodb://${Cluster.Endpoint}:27017/?tls=true&replicaSet=rs0&retryWrites=false";
    vec![
        ("ClusterArn", json!({"!Sub": cluster})),
        ("SecretArn", json!({"!Ref": "MasterSecret"})),
        ("DomainArn", json!({"!GetAtt": "Domain.Arn"})),
        ("SourceUrl", json!({"!Sub": url})),
        ("TargetUrl", json!({"!Sub": "opensearch+https://${Domain.DomainEndpoint}"})),
    ]
}

impl Stack {
    pub(super) fn stores(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let stores = &self.nested["Stores"];
        for (resource, pointer, right) in rules() {
            let given = stores["Resources"][resource].pointer(pointer).unwrap_or(&Value::Null);
            if *given != right {
                problems.push(format!("{resource}: {pointer} must be {right}, not {given}"));
            }
        }
        for (output, right) in outputs() {
            let given = &stores["Outputs"][output]["Value"];
            if *given != right {
                problems.push(format!("the output {output} must be {right}, not {given}"));
            }
        }
        // DeletionPolicy takes a function only with the one, a rotation's function is made by the other.
        let transforms = texts(&stores["Transform"]);
        if transforms != ["AWS::LanguageExtensions", "AWS::SecretsManager-2024-09-16"] {
            problems.push(format!("Stores: Transform is {transforms:?}"));
        }
        let template =
            stores["Resources"]["MasterSecret"].pointer("/Properties/GenerateSecretString/SecretStringTemplate");
        let template = template.and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let user = &stores["Resources"]["Cluster"]["Properties"]["MasterUsername"];
        if template != Some(json!({"username": user, "ssl": true})) {
            problems.push("MasterSecret: the rotation would not find the user, or would not use TLS".to_owned());
        }
        let retention = &self.template["Parameters"]["ChangeStreamRetentionSeconds"];
        let default = retention["Default"].as_u64().unwrap_or_default();
        // https://docs.aws.amazon.com/documentdb/latest/developerguide/change_streams.html
        if default <= 10_800 || retention["MinValue"] != 3_600 || retention["MaxValue"] != 604_800 {
            problems
                .push("ChangeStreamRetentionSeconds is not raised above 3 hours, within 1 hour to 7 days".to_owned());
        }
        if self.template["Parameters"]["BackupRetentionDays"]["Default"].as_u64() < Some(7) {
            problems.push("BackupRetentionDays is less than a week by default".to_owned());
        }
        for (name, condition) in [("LeavesNothing", "Delete"), ("IsProtected", "Retain")] {
            let right = json!({"!Equals": [{"!Ref": "RemovalPolicy"}, condition]});
            if stores["Conditions"][name] != right {
                problems.push(format!("{name} must be {right}"));
            }
        }
        problems
    }
}

#[test]
fn stores_that_are_open_or_lost_are_refused() {
    super::refuses(
        "documentdb/stores.yaml",
        &[
            ("StorageEncrypted: true", "StorageEncrypted: false", "Cluster: /Properties/StorageEncrypted must be true"),
            ("tls: enabled", "tls: disabled", "ClusterParameters: /Properties/Parameters/tls must be"),
            ("change_stream_log_retention_duration: !Ref", "change_stream_retention: !Ref", "must be"),
            ("SubnetIds: [!Select [0, !Ref SubnetIds]]", "SubnetIds: !Ref SubnetIds", "VPCOptions/SubnetIds must be"),
            ("EnforceHTTPS: true", "EnforceHTTPS: false", "EnforceHTTPS must be true"),
            (
                "AWS: !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:root",
                "AWS: \"*\"",
                "AccessPolicies/Statement/0/Principal must be",
            ),
            (
                "[LeavesNothing, Delete, Snapshot]",
                "[LeavesNothing, Delete, Delete]",
                "Cluster: /DeletionPolicy must be",
            ),
            ("Transform: [AWS::LanguageExtensions, ", "Transform: [", "Stores: Transform is"),
            ("\"ssl\": true", "\"ssl\": false", "would not use TLS"),
            ("MasterUsername: tidelock", "MasterUsername: root", "would not find the user"),
            ("&retryWrites=false", "", "the output SourceUrl must be"),
            (
                "DependsOn: [MasterSecretAttachment, Instance]",
                "DependsOn: MasterSecretAttachment",
                "/DependsOn must be",
            ),
        ],
    );
    super::refuses(
        "documentdb-to-opensearch.yaml",
        &[
            ("    Default: 259200\n", "    Default: 10800\n", "ChangeStreamRetentionSeconds is not raised"),
            ("    Default: 7\n", "    Default: 1\n", "BackupRetentionDays is less than a week"),
        ],
    );
}
