//! The rules notice what they are there for.

use super::check::problems;
use super::read;

/// Each line breaks a template in one place.
#[test]
fn a_broken_template_is_refused() {
    let name = "dynamodb-to-mongodb.yaml";
    let text = read(&format!("infra/{name}"));
    for (from, to, problem) in [
        ("TIDELOCK_BULK_BYTES: ", "TIDELOCK_BULK_BITES: ", "TIDELOCK_BULK_BITES is not a setting"),
        ("          TIDELOCK_BULK_BYTES: ", "          BULK: ", "BULK is not a setting"),
        ("MaxValue: 16\n", "MaxValue: 17\n", "not the range of TIDELOCK_IN_FLIGHT"),
        ("Default: 5000000\n", "Default: 4000000\n", "not the default of TIDELOCK_BULK_BYTES"),
        ("[auto, none, basic]", "[auto, mongodb-aws]", "TargetAuth offers mongodb-aws"),
        ("[ReportBatchItemFailures]", "[]", "FunctionResponseTypes must be"),
        ("      BisectBatchOnFunctionError: true\n", "", "BisectBatchOnFunctionError must be true, not null"),
        ("MaximumRetryAttempts: -1", "MaximumRetryAttempts: 3", "MaximumRetryAttempts must be -1"),
        ("Default: 79200", "Default: 80000", "is not 79200 by default"),
        ("MaxValue: 82800", "MaxValue: 86400", "may exceed 86400"),
        ("Destination: !GetAtt FailureBucket.Arn", "Destination: !GetAtt DeadLetters.Arn", "OnFailure is not a bucket"),
        (
            "MetricsConfig:\n        Metrics: [EventCount]",
            "TumblingWindowInSeconds: 5",
            "TumblingWindowInSeconds has no rule",
        ),
        ("Default: TRIM_HORIZON", "Default: LATEST", "not TRIM_HORIZON by default"),
        (":dynamodb:[a-z0-9-]+", ":kinesis:[a-z0-9-]+", "pattern has :dynamodb:"),
        ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 345600", "is not 1209600"),
        ("MaximumMessageSize: 1048576", "RedrivePolicy: {maxReceiveCount: 3}", "has a RedrivePolicy"),
        ("    DeletionPolicy: RetainExceptOnCreate\n", "", "deleted together with the stack"),
        ("Action: sqs:SendMessage", "Action: '*'", "SendDeadLetters: * gives more"),
        ("Action: sqs:SendMessage", "Action: sqs:*", "sqs:SendMessage is missing"),
        (
            "Action: sqs:SendMessage\n                Resource: !GetAtt DeadLetters.Arn",
            "Action: sqs:SendMessage\n                Resource: '*'",
            "given on every resource",
        ),
        ("Action: dynamodb:ListStreams", "NotAction: dynamodb:ListStreams", "NotAction has no rule"),
        ("Service: lambda.amazonaws.com", "Service: ec2.amazonaws.com", "not for Lambda alone"),
        ("      Policies:\n", "      ManagedPolicyArns: [x]\n      Policies:\n", "ManagedPolicyArns has no rule"),
        (
            "          - Sid: TlsOnly\n            Effect: Deny",
            "          - Sid: TlsOnly\n            Effect: Allow",
            "is not a Deny",
        ),
        ("lambda/dynamodb-sync/", "lambda/kinesis-sync/", "a folder of functions/"),
        ("Handler: bootstrap", "Handler: main", "Handler is not bootstrap"),
        ("Runtime: provided.al2023", "Runtime: provided.al2", "Runtime is not provided.al2023"),
        ("      Role: !GetAtt SyncRole.Arn\n", "      Policies: [AdministratorAccess]\n", "Policies has no rule"),
        ("[INFO, DEBUG, TRACE]", "[INFO, WARN]", "metrics need INFO"),
        ("TIDELOCK_DEAD_LETTERS: !Ref DeadLetters", "TIDELOCK_DEAD_LETTERS: !Ref TargetUrl", "is not a queue"),
        ("MetricName: Errors", "MetricName: Throttles", "no alarm on AWS/Lambda Errors"),
        ("MetricName: IteratorAge", "MetricName: IteratorAges", "nobody reports AWS/Lambda IteratorAges"),
        ("MetricName: Parked", "MetricName: DeadLettered", "nobody reports Tidelock DeadLettered"),
        ("[{Name: Function, Value", "[{Name: FunctionName, Value", "dimension of Parked is Function"),
        (
            "    Description: Memory in MB. CPU grows with it; 1769 MB is one core.\n",
            "",
            "MemorySize has no Description",
        ),
        ("Parameters: [Pipeline]", "Parameters: [Pipelines]", "Pipeline is in 0 parameter groups"),
        (
            "  DeadLettersPolicy:\n    Type: AWS::SQS::QueuePolicy",
            "  X:\n    Type: AWS::IAM::ManagedPolicy",
            "no rules for a resource",
        ),
        ("\nOutputs:\n", "\nGlobals: {}\nOutputs:\n", "Globals has no rule"),
    ] {
        assert!(text.contains(from), "{name} has no {from:?} to be changed");
        let found = problems(name, &text.replace(from, to));
        assert!(found.iter().any(|found| found.contains(problem)), "{from:?} -> {to:?}: {found:?}");
    }
    assert!(problems("kafka-to-mongodb.yaml", &text)[0].contains("no rules for the source `kafka`"));
    assert!(problems("template.json", &text)[0].contains("SOURCE-to-TARGET"));
}
