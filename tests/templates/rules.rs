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
    /// How the sync function reads the source itself, where a record does not settle the matter.
    pub(super) again: Again,
}

/// The right to read the source again: optional, and for what the mapping reads alone.
pub(super) struct Again {
    /// The value of `TIDELOCK_SOURCE`, which is on by default.
    pub(super) setting: &'static str,
    pub(super) right: &'static str,
    /// The one resource, made of the parameter that holds the mapping's source.
    pub(super) resource: fn(&str) -> Value,
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
    again: Again {
        setting: "dynamodb:",
        right: "dynamodb:BatchGetItem",
        // A stream's ARN is its table's, /stream/ and a label; a table's name has no slash.
        resource: |stream| json!({"!Select": [0, {"!Split": ["/stream/", {"!Ref": stream}]}]}),
    },
}];

/// What is peculiar to a target.
pub(super) struct Target {
    pub(super) name: &'static str,
    /// An address of this kind.
    pub(super) address: &'static str,
    /// Rights in AWS that it takes to write there. Inside, MongoDB and OpenSearch have rights of their own.
    pub(super) rights: &'static [&'static str],
}

pub(super) const TARGETS: &[Target] = &[
    Target { name: "mongodb", address: "mongodb://host/database", rights: &[] },
    Target {
        name: "opensearch",
        address: "opensearch+https://host",
        rights: &["aoss:APIAccessAll", "es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost", "es:ESHttpPut"],
    },
];

/// What one of a pipeline's functions must say. Every template has each of them once.
pub(super) struct Function {
    /// Its folder in `functions/`; `SOURCE` stands for the source's name.
    folder: &'static str,
    /// Fed by the mapping: its role reads the source, and may read it again.
    pub(super) fed: bool,
    /// Started by a schedule.
    pub(super) scheduled: bool,
    /// Settings besides [`SHARED_SETTINGS`].
    pub(super) settings: &'static [&'static str],
    /// Rights that its role must have besides the source's and [`LOG_RIGHTS`].
    pub(super) needs: &'static [&'static str],
    /// Rights that its role may have besides the target's and [`COMMON_RIGHTS`].
    pub(super) may: &'static [&'static str],
    /// The constant of `metrics.rs` that declares the metrics it prints.
    pub(super) metrics: &'static str,
    /// Metrics of `AWS/Lambda` that Lambda reports of it.
    pub(super) lambda_metrics: &'static [&'static str],
    /// Namespaces and metrics that an alarm must watch.
    pub(super) alarms: &'static [(&'static str, &'static str)],
}

impl Function {
    /// Its folder in `functions/`, where the source is this one.
    pub(super) fn folder(&self, source: &Source) -> String {
        self.folder.replace("SOURCE", source.name)
    }
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        folder: "SOURCE-sync",
        fed: true,
        scheduled: false,
        settings: &["TIDELOCK_DEAD_LETTERS", "TIDELOCK_SOURCE"],
        // Dead letters, and the mapping's failure bucket.
        needs: &["sqs:SendMessage", "s3:ListBucket", "s3:PutObject"],
        // Encrypts letters and given up batches.
        may: &["kms:GenerateDataKey"],
        metrics: "METRICS",
        lambda_metrics: &["DestinationDeliveryFailures", "Errors", "IteratorAge", "Throttles"],
        alarms: &[("AWS/Lambda", "Errors"), ("AWS/Lambda", "IteratorAge"), ("Tidelock", "Parked")],
    },
    Function {
        folder: "redrive",
        fed: false,
        scheduled: true,
        settings: &[],
        needs: &[],
        may: &[],
        metrics: "SWEEP_METRICS",
        lambda_metrics: &["Errors", "Throttles"],
        alarms: &[("AWS/Lambda", "Errors")],
    },
];

/// Settings that every function has, with the same value: else one would guard what another has not written.
pub(super) const SHARED_SETTINGS: &[&str] = &[
    "TIDELOCK_BULK_BYTES",
    "TIDELOCK_FENCE_DAYS",
    "TIDELOCK_IN_FLIGHT",
    "TIDELOCK_PIPELINE",
    "TIDELOCK_TARGET",
    "TIDELOCK_TARGET_AUTH",
    "TIDELOCK_TARGET_CA_FILE",
    "TIDELOCK_TARGET_SECRET",
];

/// Properties that are the same for every function of a pipeline.
pub(super) const SHARED_PROPERTIES: &[&str] = &["Architectures", "VpcConfig"];

/// When a scheduled function runs, by default.
pub(super) const SCHEDULE: &str = "rate(30 minutes)";

/// [Expressions](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html) that EventBridge
/// takes: it refuses `rate(1 minutes)` and a cron of five fields, but only while the stack is being made.
pub(super) const SCHEDULE_PATTERN: &str =
    r"^rate\((1 (minute|hour|day)|([2-9]|[1-9]\d+) (minute|hour|day)s)\)$|^cron\([^\s()]+( [^\s()]+){5}\)$";

/// What a scheduled run may ask of Lambda: no repetition, and none that comes late, because the schedule brings the next.
pub(super) fn once() -> Value {
    json!({"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 900})
}

/// Rights to write a log, which every function's role must have.
pub(super) const LOG_RIGHTS: &[&str] = &["logs:CreateLogStream", "logs:PutLogEvents"];

/// Rights every function's role may have: the secret, its key, and the way into a VPC.
pub(super) const COMMON_RIGHTS: &[&str] = &[
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "kms:Decrypt",
    "secretsmanager:GetSecretValue",
];

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

/// Namespace, dimension and metrics of AWS that alarms may watch, besides those of a function.
pub(super) const AWS_METRICS: &[(&str, &str, &[&str])] = &[
    ("AWS/Lambda", "EventSourceMappingUUID", &["DroppedEventCount", "OnFailureDestinationDeliveredEventCount"]),
    ("AWS/SQS", "QueueName", &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"]),
];

/// Alarms there must be, besides those on the functions.
pub(super) const NEEDED_ALARMS: &[(&str, &str)] =
    &[("AWS/Lambda", "OnFailureDestinationDeliveredEventCount"), ("AWS/SQS", "ApproximateNumberOfMessagesVisible")];

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

/// Properties of every function; a scheduled one has two more.
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

pub(super) const SCHEDULED_PROPERTIES: &[&str] = &["EventInvokeConfig", "Events"];

pub(super) const ROLE_PROPERTIES: &[&str] =
    &["AssumeRolePolicyDocument", "Description", "PermissionsBoundary", "Policies", "Tags"];
