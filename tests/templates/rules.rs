//! What templates must say: data, with the reasons.

use super::rights::{
    BACKFILL_RIGHTS, CLUSTER_REDRIVE_RIGHTS, CLUSTER_RIGHTS, CLUSTER_SYNC_RIGHTS, DOCUMENTDB_RIGHTS, LOGIN_RIGHTS,
    OPENSEARCH_RIGHTS, REDRIVE_RIGHTS, Right, SEARCH_RIGHTS, STREAM_RIGHTS, SYNC_RIGHTS,
};
use serde_json::{Value, json};
use tidelock_core::settings::ALL;

/// What the mappings of one source must say.
/// [`CreateEventSourceMapping`](https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html) names the
/// properties; which of them a source supports is in its own chapter.
pub(super) struct Source {
    pub(super) name: &'static str,
    /// What a pipeline from there is made of.
    pub(super) plan: &'static Plan,
    /// Every property that a mapping may have. Others are not this source's, or would change the function's duties.
    pub(super) properties: &'static [&'static str],
    /// Properties that have one right value.
    pub(super) fixed: fn() -> Vec<(&'static str, Value)>,
    /// Rights by which Lambda reads the source in the role's name.
    pub(super) reads: &'static [Right],
    /// That of a source which is there already.
    pub(super) stream: Option<Stream>,
}

/// A stream that a parameter names.
pub(super) struct Stream {
    /// Part of the pattern of the ARNs that `EventSourceArn` takes.
    pub(super) arn: &'static str,
    /// Seconds after which the source forgets a record.
    pub(super) retention_s: u64,
    /// Default of the age in seconds at which a record that still fails is given up and saved.
    pub(super) maximum_age_s: u64,
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

pub(super) const SOURCES: &[Source] = &[DYNAMODB, DOCUMENTDB];

const DYNAMODB: Source = Source {
    name: "dynamodb",
    plan: &PIPELINE,
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
    reads: STREAM_RIGHTS,
    stream: Some(Stream {
        arn: ":dynamodb:",
        retention_s: 86_400,
        maximum_age_s: 79_200,
        again: Again {
            setting: "dynamodb:",
            right: "dynamodb:BatchGetItem",
            // A stream's ARN is its table's, /stream/ and a label; a table's name has no slash.
            resource: |stream| json!({"!Select": [0, {"!Split": ["/stream/", {"!Ref": stream}]}]}),
        },
    }),
};

/// A mapping of a cluster takes neither partial answers, retries, bisecting nor a destination
/// ([DocumentDB](https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html)).
const DOCUMENTDB: Source = Source {
    name: "documentdb",
    plan: &STACK,
    properties: &[
        "BatchSize",
        "DocumentDBEventSourceConfig",
        "Enabled",
        "EventSourceArn",
        "FilterCriteria",
        "FunctionName",
        "MaximumBatchingWindowInSeconds",
        "SourceAccessConfigurations",
        "StartingPosition",
        "Tags",
    ],
    fixed: || {
        let (database, collection) = (json!({"!Ref": "DemoDatabase"}), json!({"!Ref": "DemoCollection"}));
        vec![
            ("EventSourceArn", json!({"!GetAtt": "Stores.Outputs.ClusterArn"})),
            // What was changed alone would cost a read of the cluster each.
            (
                "DocumentDBEventSourceConfig",
                json!({"DatabaseName": database, "CollectionName": collection, "FullDocument": "UpdateLookup"}),
            ),
            (
                "SourceAccessConfigurations",
                json!([{"Type": "BASIC_AUTH", "URI": {"!GetAtt": "Stores.Outputs.SecretArn"}}]),
            ),
            // LATEST can miss changes made while the mapping is created or updated.
            ("StartingPosition", json!("TRIM_HORIZON")),
            ("Enabled", json!({"!If": ["Polls", true, false]})),
        ]
    },
    reads: CLUSTER_RIGHTS,
    stream: None,
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
    /// Settings that all functions have which write to the target, with the same value: else one would guard what another
    /// has not written.
    pub(super) shared: &'static [&'static str],
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
    shared: SHARED_SETTINGS,
};

/// Source and target are the stack's own, and so is what writes and reads there.
pub(super) const STACK: Plan = Plan {
    functions: &[CLUSTER_SYNC, CLUSTER_REDRIVE, ENABLE, WRITER, READER],
    counts: &[
        ("AWS::Lambda::EventSourceMapping", 2),
        ("AWS::SQS::Queue", 2),
        // No mapping of a cluster gives anything up: there is no bucket for it.
        ("AWS::S3::Bucket", 1),
        ("AWS::DynamoDB::Table", 1),
        ("AWS::CloudFormation::Stack", 2),
        ("AWS::ApiGatewayV2::Api", 1),
        ("AWS::ApiGatewayV2::Stage", 1),
        ("AWS::ApiGatewayV2::Route", 5),
        ("AWS::Events::Rule", 1),
        ("Custom::ChangeStreams", 1),
    ],
    alarms: &[("AWS/ApiGateway", "5xx")],
    reasons: &["order_conflict", "salvaged"],
    shared: &[
        "TIDELOCK_BULK_BYTES",
        "TIDELOCK_FENCE_DAYS",
        "TIDELOCK_IN_FLIGHT",
        "TIDELOCK_PIPELINE",
        "TIDELOCK_TARGET",
        "TIDELOCK_TARGET_AUTH",
    ],
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
    shared: SHARED_SETTINGS,
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
    /// Writes to the target: has the plan's shared settings.
    pub(super) writes: bool,
    /// Settings besides those, and their values as they are written.
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
    writes: true,
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
    writes: true,
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
    writes: true,
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

const CLUSTER_SYNC: Function = Function {
    reads_again: false,
    settings: &[
        ("TIDELOCK_TARGET", TARGET_URL),
        ("TIDELOCK_TARGET_AUTH", "sigv4"),
        ("TIDELOCK_SOURCE", SOURCE_URL),
        ("TIDELOCK_SOURCE_SECRET", SOURCE_SECRET),
        ("TIDELOCK_SOURCE_CA_FILE", CA_FILE),
        ("TIDELOCK_DEAD_LETTERS", "!Ref DeadLetters"),
        ("TIDELOCK_FALLBACK", "!Ref Fallback"),
        ("TIDELOCK_LETTERS_BUCKET", "!Ref LettersBucket"),
        ("TIDELOCK_STATE", "!Sub dynamodb:${State}"),
    ],
    needs: CLUSTER_SYNC_RIGHTS,
    lambda_metrics: &["Errors", "Invocations", "IteratorAge", "OversizedRecordCount", "Throttles"],
    alarms: &[
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "IteratorAge"),
        ("AWS/Lambda", "OversizedRecordCount"),
        ("Tidelock", "Parked"),
    ],
    ..SYNC
};

const CLUSTER_REDRIVE: Function =
    Function { reads_again: false, settings: CLUSTER_SYNC.settings, needs: CLUSTER_REDRIVE_RIGHTS, ..REDRIVE };

/// Switches change streams on, which CloudFormation cannot.
const ENABLE: Function = Function {
    folder: "enable-change-streams",
    fed: false,
    reads_again: false,
    scheduled: false,
    writes: false,
    settings: &[
        ("TIDELOCK_SOURCE", SOURCE_URL),
        ("TIDELOCK_SOURCE_SECRET", SOURCE_SECRET),
        ("TIDELOCK_SOURCE_CA_FILE", CA_FILE),
        ("TIDELOCK_DEMO_DATABASE", "!Ref DemoDatabase"),
        ("TIDELOCK_DEMO_COLLECTION", "!Ref DemoCollection"),
    ],
    needs: LOGIN_RIGHTS,
    metrics: &[],
    gauges: &[],
    lambda_metrics: &["Errors", "Invocations", "Throttles"],
    // Whoever asks is told.
    alarms: &[],
};

const WRITER: Function = Function { folder: "demo-writer", ..ENABLE };

const READER: Function = Function {
    folder: "demo-reader",
    settings: &[
        ("TIDELOCK_TARGET", TARGET_URL),
        ("TIDELOCK_TARGET_AUTH", "sigv4"),
        ("TIDELOCK_DEMO_INDEX", "!Ref DemoIndex"),
    ],
    needs: SEARCH_RIGHTS,
    ..ENABLE
};

const SOURCE_URL: &str = "!GetAtt Stores.Outputs.SourceUrl";
const SOURCE_SECRET: &str = "!GetAtt Stores.Outputs.SecretArn";
const TARGET_URL: &str = "!GetAtt Stores.Outputs.TargetUrl";

/// Amazon's certificates for DocumentDB, beside the binary: scripts/certificates.sh.
pub(super) const CA_FILE: &str = "global-bundle.pem";

/// Settings of the demo's functions.
const DEMO_SETTINGS: &[&str] = &["TIDELOCK_DEMO_COLLECTION", "TIDELOCK_DEMO_DATABASE", "TIDELOCK_DEMO_INDEX"];

/// Whether a function knows a variable of this name.
pub(super) fn is_setting(name: &str) -> bool {
    DEMO_SETTINGS.contains(&name) || ALL.iter().any(|setting| setting.name == name)
}

const SHARED_SETTINGS: &[&str] = &[
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

/// A template of several functions that are alike says so once.
pub(super) const STACK_SECTIONS: &[&str] = &["Globals"];

/// Properties of every function; a scheduled one has two more.
pub(super) const FUNCTION_PROPERTIES: &[&str] = &[
    "Architectures",
    "CodeUri",
    "Description",
    "Environment",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "PropagateTags",
    "Role",
    "Runtime",
    "Tags",
    "Timeout",
    "VpcConfig",
];

pub(super) const SCHEDULED_PROPERTIES: &[&str] = &["EventInvokeConfig", "Events"];
