//! What templates must say: data, with the reasons.

use serde_json::{Value, json};

/// What the mappings of one source must say.
/// [`CreateEventSourceMapping`](https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html) names the
/// properties; which of them a source supports is in its own chapter.
pub(super) struct Source {
    pub(super) name: &'static str,
    /// Part of the pattern of the ARNs that `EventSourceArn` takes.
    pub(super) arn: &'static str,
    /// Every property that a mapping may have. Others are not this source's, or would change the function's duties.
    pub(super) properties: &'static [&'static str],
    /// Properties that have one right value.
    pub(super) fixed: fn() -> Vec<(&'static str, Value)>,
    /// Seconds after which the source forgets a record.
    pub(super) retention_s: u64,
    /// Default of the age in seconds at which a record that still fails is given up and saved.
    pub(super) maximum_age_s: u64,
    /// Rights by which Lambda reads the source in the role's name.
    pub(super) reads: &'static [&'static str],
}

pub(super) const SOURCES: &[Source] = &[Source {
    name: "dynamodb",
    arn: ":dynamodb:",
    properties: &[
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "EventSourceArn",
        "FilterCriteria",
        "FunctionName",
        "FunctionResponseTypes",
        "KmsKeyArn",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "MetricsConfig",
        "ParallelizationFactor",
        "StartingPosition",
        "Tags",
    ],
    fixed: || {
        vec![
            // Without it Lambda does not read the function's answer.
            ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
            ("BisectBatchOnFunctionError", json!(true)),
            // Any number would be used up within minutes while the target is down.
            ("MaximumRetryAttempts", json!(-1)),
            // The alarms on given up and dropped records watch these metrics.
            ("MetricsConfig", json!({"Metrics": ["EventCount"]})),
        ]
    },
    retention_s: 86_400,
    maximum_age_s: 79_200,
    reads: &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
}];

/// Rights every function's role must have: dead letters, and the mapping's failure bucket.
pub(super) const WRITES: &[&str] =
    &["sqs:SendMessage", "s3:ListBucket", "s3:PutObject", "logs:CreateLogStream", "logs:PutLogEvents"];

/// Rights that are given on `*`, because IAM knows no narrower resource for them, or none that exists beforehand:
/// [DynamoDB](https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html),
/// [Lambda in a VPC](https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions).
pub(super) const ON_EVERYTHING: &[(&str, &str)] = &[
    ("dynamodb:ListStreams", "lists; there is no resource to name"),
    ("ec2:CreateNetworkInterface", "the interface does not exist yet"),
    ("ec2:DeleteNetworkInterface", "the interface's id is Lambda's choice"),
    ("ec2:AssignPrivateIpAddresses", "the interface's id is Lambda's choice"),
    ("ec2:UnassignPrivateIpAddresses", "the interface's id is Lambda's choice"),
    ("ec2:DescribeNetworkInterfaces", "lists; there is no resource to name"),
    ("ec2:DescribeSubnets", "lists; there is no resource to name"),
];

/// Variables of the
/// [AWS SDK](https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html) that a template may set.
pub(super) const AWS_VARIABLES: &[&str] =
    &["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"];

/// Ways to authenticate that the settings know and a target refuses all the same.
pub(super) const REFUSED: &[(&str, &str)] = &[("mongodb", "mongodb-aws")];

/// Namespace, dimension and metrics of AWS that alarms may watch; the function's own are read from its source.
pub(super) const AWS_METRICS: &[(&str, &str, &[&str])] = &[
    ("AWS/Lambda", "FunctionName", &["DestinationDeliveryFailures", "Errors", "IteratorAge", "Throttles"]),
    ("AWS/Lambda", "EventSourceMappingUUID", &["DroppedEventCount", "OnFailureDestinationDeliveredEventCount"]),
    ("AWS/SQS", "QueueName", &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"]),
];

pub(super) const NEEDED_ALARMS: &[(&str, &str)] = &[
    ("AWS/Lambda", "Errors"),
    ("AWS/Lambda", "IteratorAge"),
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    ("Tidelock", "Parked"),
];

pub(super) const SECTIONS: &[&str] = &[
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
    "Transform",
];

pub(super) const FUNCTION_PROPERTIES: &[&str] = &[
    "Architectures",
    "CodeUri",
    "Description",
    "Environment",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "Role",
    "Runtime",
    "Tags",
    "Timeout",
    "VpcConfig",
];

pub(super) const ROLE_PROPERTIES: &[&str] =
    &["AssumeRolePolicyDocument", "Description", "PermissionsBoundary", "Policies", "Tags"];
