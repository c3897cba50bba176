//! What templates must say: data, with the reasons.

use super::rights::{
    BACKFILL_RIGHTS, DOCUMENTDB_RIGHTS, OPENSEARCH_RIGHTS, REDRIVE_RIGHTS, Right, STREAM_RIGHTS, SYNC_RIGHTS,
};
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
    pub(super) reads: &'static [Right],
    /// How a pipeline's functions read the source themselves, where a record does not settle the matter.
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

pub(super) const SOURCES: &[Source] = &[DYNAMODB];

const DYNAMODB: Source = Source {
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
    reads: STREAM_RIGHTS,
    again: Again {
        setting: "dynamodb:",
        right: "dynamodb:BatchGetItem",
        // A stream's ARN is its table's, /stream/ and a label; a table's name has no slash.
        resource: |stream| json!({"!Select": [0, {"!Split": ["/stream/", {"!Ref": stream}]}]}),
    },
};

/// What is peculiar to a target.
pub(super) struct Target {
    pub(super) name: &'static str,
    /// An address of this kind.
    pub(super) address: &'static str,
    /// Rights in AWS that it takes to write there. Inside, MongoDB and OpenSearch have rights of their own.
    pub(super) rights: &'static [Right],
}

pub(super) const TARGETS: &[Target] = &[
    Target { name: "mongodb", address: "mongodb://host/database", rights: DOCUMENTDB_RIGHTS },
    Target { name: "opensearch", address: "opensearch+https://host", rights: OPENSEARCH_RIGHTS },
];

/// What a template is for.
pub(super) struct Plan {
    /// Its functions, each of them once.
    pub(super) functions: &'static [Function],
    /// How many resources of a type there are.
    pub(super) counts: &'static [(&'static str, usize)],
    /// Namespaces and metrics that alarms must watch, besides those on functions and queues.
    pub(super) alarms: &'static [(&'static str, &'static str)],
    /// Reasons whose letters alarms must count.
    pub(super) reasons: &'static [&'static str],
}

pub(super) const PIPELINE: Plan = Plan {
    functions: &[SYNC, REDRIVE],
    counts: &[
        // The stream's, and the fallback queue's.
        ("AWS::Lambda::EventSourceMapping", 2),
        ("AWS::SQS::Queue", 2),
        ("AWS::S3::Bucket", 2),
        ("AWS::DynamoDB::Table", 1),
        ("AWS::Serverless::StateMachine", 0),
    ],
    alarms: &[("AWS/Lambda", "OnFailureDestinationDeliveredEventCount"), ("AWS/Lambda", "DroppedEventCount")],
    // The target may hold what the table does not: somebody must look at it, not at the letter alone.
    reasons: &["order_conflict", "records_lost", "salvaged"],
};

/// A backfill has its pipeline's queue and bucket, and remembers nothing: the state machine carries its positions.
pub(super) const BACKFILL: Plan = Plan {
    functions: &[SCAN],
    counts: &[
        ("AWS::Lambda::EventSourceMapping", 0),
        ("AWS::SQS::Queue", 0),
        ("AWS::S3::Bucket", 0),
        ("AWS::DynamoDB::Table", 0),
        ("AWS::Serverless::StateMachine", 1),
    ],
    alarms: &[("AWS/States", "ExecutionsFailed")],
    reasons: &[],
};

/// What one of a template's functions must say.
pub(super) struct Function {
    /// Its folder in `functions/`; `SOURCE` stands for the source's name.
    folder: &'static str,
    /// Fed by the stream's mapping: its role reads the stream.
    pub(super) fed: bool,
    /// Reads the source again where a parameter says so.
    pub(super) reads_again: bool,
    /// Started by a schedule, and by the queue's mapping.
    pub(super) scheduled: bool,
    /// Settings besides [`SHARED_SETTINGS`], and their values as they are written.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// Rights that its role must have besides the source's and those on its log.
    pub(super) needs: &'static [Right],
    /// The constants of `metrics.rs` that declare the metrics it prints.
    pub(super) metrics: &'static [&'static str],
    /// Metrics that it prints from time to time, by themselves.
    pub(super) gauges: &'static [&'static str],
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

const SYNC: Function = Function {
    folder: "SOURCE-sync",
    fed: true,
    reads_again: true,
    scheduled: false,
    settings: &[
        ("TIDELOCK_DEAD_LETTERS", "!Ref DeadLetters"),
        ("TIDELOCK_FALLBACK", "!Ref Fallback"),
        ("TIDELOCK_LETTERS_BUCKET", "!Ref LettersBucket"),
        ("TIDELOCK_STATE", "!Sub dynamodb:${State}"),
    ],
    needs: SYNC_RIGHTS,
    metrics: &["METRICS"],
    gauges: &["Crashes"],
    lambda_metrics: &["DestinationDeliveryFailures", "Errors", "IteratorAge", "Throttles"],
    alarms: &[("AWS/Lambda", "Errors"), ("AWS/Lambda", "IteratorAge"), ("Tidelock", "Parked")],
};

const REDRIVE: Function = Function {
    folder: "redrive",
    fed: false,
    reads_again: true,
    scheduled: true,
    settings: &[
        ("TIDELOCK_DEAD_LETTERS", "!Ref DeadLetters"),
        ("TIDELOCK_FALLBACK", "!Ref Fallback"),
        ("TIDELOCK_LETTERS_BUCKET", "!Ref LettersBucket"),
        ("TIDELOCK_FAILURES", "!Sub s3://${FailureBucket}"),
        ("TIDELOCK_STATE", "!Sub dynamodb:${State}"),
    ],
    needs: REDRIVE_RIGHTS,
    metrics: &["SWEEP_METRICS", "RECOVERED_METRICS"],
    gauges: &["OldestHeldAgeHours", "OldestLetterAgeHours"],
    lambda_metrics: &["Errors", "Throttles"],
    alarms: &[
        ("AWS/Lambda", "Errors"),
        ("Tidelock", "Kept"),
        ("Tidelock", "OldestHeldAgeHours"),
        ("Tidelock", "OldestLetterAgeHours"),
        ("Tidelock", "TargetDown"),
    ],
};

const SCAN: Function = Function {
    folder: "backfill",
    fed: false,
    reads_again: false,
    scheduled: false,
    settings: &[
        ("TIDELOCK_DEAD_LETTERS", "!Ref DeadLetterQueueUrl"),
        ("TIDELOCK_LETTERS_BUCKET", "!Ref LettersBucketName"),
        ("TIDELOCK_SOURCE", "dynamodb:"),
    ],
    needs: BACKFILL_RIGHTS,
    metrics: &[],
    gauges: &[],
    lambda_metrics: &["Errors", "Throttles"],
    // A call that fails is repeated; what fails for good fails the state machine.
    alarms: &[],
};

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

/// Variables of the
/// [AWS SDK](https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html) that a template may set.
pub(super) const AWS_VARIABLES: &[&str] =
    &["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"];

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
