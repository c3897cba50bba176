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
        ("[auto, none, basic, mongodb-aws]", "[auto, sigv4]", "TargetAuth offers sigv4"),
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
        (
            "      Role: !GetAtt RedriveRole.Arn",
            "      Role: !GetAtt SyncRole.Arn",
            "SyncRole is the role of 2 functions",
        ),
        ("log-group:${RedriveLog}:*", "log-group:${SyncLog}:*", "RedriveRole: logs may not be written to"),
        ("PutLogEvents]", "PutLogEvents, sqs:ReceiveMessage]", "RedriveFunction has no use for sqs:ReceiveMessage"),
        (
            "log-group:${RedriveLog}:*\n",
            "log-group:${RedriveLog}:*\n              - {Sid: X, Action: dynamodb:BatchGetItem, Resource: x}\n",
            "RedriveFunction has no use for dynamodb:BatchGetItem",
        ),
        ("PutLogEvents]", "PutLogEvents, es:ESHttpPost]", "has no use for es:ESHttpPost"),
        ("Action: dynamodb:BatchGetItem", "Action: dynamodb:GetItem", "dynamodb:BatchGetItem is missing"),
        (
            "Action: dynamodb:BatchGetItem",
            "Action: [dynamodb:BatchGetItem, dynamodb:Scan]",
            "SyncFunction has no use for dynamodb:Scan",
        ),
        (
            "Action: dynamodb:BatchGetItem",
            "Action: [dynamodb:BatchGetItem, kms:Decrypt]",
            "dynamodb:BatchGetItem is not alone in its statement",
        ),
        (
            "Resource: !Select [0, !Split [/stream/, !Ref StreamArn]]",
            "Resource: !Sub arn:aws:dynamodb:us-east-1:${AWS::AccountId}:table/*",
            "not on what the mapping reads",
        ),
        ("Resource: !Select [0, !Split [/stream/, !Ref StreamArn]]", "Resource: '*'", "is given on every resource"),
        (
            "                - ReadsSource\n                - Sid: ReadTable",
            "                - HasSecret\n                - Sid: ReadTable",
            "dynamodb:BatchGetItem is given where TIDELOCK_SOURCE is not set",
        ),
        (
            "ReadsSource: !Not [!Equals [!Ref ReadSourceAgain, \"\"]]",
            "ReadsSource: !Equals [!Ref ReadSourceAgain, \"\"]",
            "TIDELOCK_SOURCE is not left out where ReadSourceAgain is empty",
        ),
        (
            "TIDELOCK_SOURCE: !If [ReadsSource, !Ref ReadSourceAgain, !Ref AWS::NoValue]",
            "TIDELOCK_SOURCE: 'dynamodb:'",
            "TIDELOCK_SOURCE has no condition",
        ),
        ("AllowedValues: [\"\", \"dynamodb:\"]", "AllowedValues: [\"\", \"mongodb:\"]", "ReadSourceAgain must allow"),
        ("    Default: \"dynamodb:\"\n", "    Default: \"\"\n", "ReadSourceAgain must allow"),
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
        ("lambda/redrive/", "lambda/dynamodb-sync/", "has 2 functions of dynamodb-sync, not one"),
        ("lambda/redrive/", "lambda/dynamodb-sync/", "has 0 functions of redrive, not one"),
        ("Timeout: 300", "Timeout: 901", "RedriveFunction: Timeout is not 900 seconds at most"),
        ("    MaxValue: 900\n", "    MaxValue: 901\n", "SyncFunction: Timeout is not 900 seconds at most"),
        ("LogGroup: !Ref RedriveLog", "LogGroup: redrive", "RedriveFunction: LogGroup is not one of the template's"),
        ("          Type: Schedule\n", "          Type: ScheduleV3\n", "no rules for the event Timer"),
        ("          Type: Schedule\n", "          Type: ScheduleV3\n", "RedriveFunction has 0 schedules"),
        (
            "      Events:\n",
            "      Events:\n        Letters: {Type: SQS, Properties: {Queue: !GetAtt DeadLetters.Arn}}\n",
            "no rules for the event Letters",
        ),
        (
            "      Events:\n",
            "      Events:\n        More: {Type: Schedule, Properties: {Schedule: !Ref RedriveSchedule}}\n",
            "RedriveFunction has 2 schedules",
        ),
        ("Schedule: !Ref RedriveSchedule", "Schedule: rate(30 minutes)", "Schedule is no parameter"),
        (
            "Schedule: !Ref RedriveSchedule",
            "Schedule: !Ref RedriveSchedule\n            Enabled: false",
            "Enabled has no rule",
        ),
        ("Default: rate(30 minutes)", "Default: rate(1 day)", "Schedule is no parameter that is rate(30 minutes)"),
        ("AllowedPattern: ^rate", "AllowedPattern: ^at|^rate", "the pattern of Schedule is not"),
        ("        MaximumRetryAttempts: 0\n", "        MaximumRetryAttempts: 2\n", "EventInvokeConfig must be"),
        (
            "      MemorySize: !Ref MemorySize\n",
            "      EventInvokeConfig: {}\n",
            "SyncFunction: EventInvokeConfig has no rule",
        ),
        ("      MemorySize: !Ref MemorySize\n", "      Events: {}\n", "SyncFunction: Events has no rule"),
        (
            "FunctionName: !GetAtt SyncFunction.Arn",
            "FunctionName: !GetAtt RedriveFunction.Arn",
            "is not the template's sync function",
        ),
        (
            "          TIDELOCK_FENCE_DAYS: !Ref FenceDays\n\n  RedriveLog:",
            "\n  RedriveLog:",
            "RedriveFunction: TIDELOCK_FENCE_DAYS is not set",
        ),
        (
            "          TIDELOCK_FENCE_DAYS: !Ref FenceDays\n\n  RedriveLog:",
            "          TIDELOCK_FENCE_DAYS: 30\n\n  RedriveLog:",
            "RedriveFunction: TIDELOCK_FENCE_DAYS is not that of SyncFunction",
        ),
        (
            "          TIDELOCK_FENCE_DAYS: !Ref FenceDays\n\n  RedriveLog:",
            "          TIDELOCK_FENCE_DAYS: !Ref FenceDays\n          TIDELOCK_DEAD_LETTERS: !Ref DeadLetters\n\n  RedriveLog:",
            "RedriveFunction has no use for TIDELOCK_DEAD_LETTERS",
        ),
        ("MaxValue: 365\n", "MaxValue: 3650\n", "not the range of TIDELOCK_FENCE_DAYS"),
        ("    Default: 15\n", "    Default: 14\n", "not the default of TIDELOCK_FENCE_DAYS"),
        (
            "      Architectures: [!Ref Architecture]\n      MemorySize: 256",
            "      Architectures: [arm64]\n      MemorySize: 256",
            "RedriveFunction: Architectures is not that of SyncFunction",
        ),
        ("    Value: !Ref RedriveFunction\n", "    Value: redrive\n", "no output names RedriveFunction"),
        ("[INFO, DEBUG, TRACE]", "[INFO, WARN]", "metrics need INFO"),
        ("TIDELOCK_DEAD_LETTERS: !Ref DeadLetters", "TIDELOCK_DEAD_LETTERS: !Ref TargetUrl", "is not a queue"),
        ("MetricName: Errors", "MetricName: Throttles", "no alarm on AWS/Lambda Errors of SyncFunction"),
        (
            "[{Name: FunctionName, Value: !Ref RedriveFunction}]",
            "[{Name: FunctionName, Value: !Ref SyncFunction}]",
            "no alarm on AWS/Lambda Errors of RedriveFunction",
        ),
        ("MetricName: Parked", "MetricName: ZombiesRemoved", "does not report ZombiesRemoved"),
        (
            "MetricName: IteratorAge\n      Dimensions: [{Name: FunctionName, Value: !Ref SyncFunction}]",
            "MetricName: IteratorAge\n      Dimensions: [{Name: FunctionName, Value: !Ref RedriveFunction}]",
            "does not report IteratorAge",
        ),
        ("MetricName: IteratorAge", "MetricName: IteratorAges", "nobody reports AWS/Lambda IteratorAges"),
        ("MetricName: Parked", "MetricName: DeadLettered", "nobody reports Tidelock DeadLettered"),
        ("[{Name: Function, Value", "[{Name: FunctionName, Value", "dimension of Parked is Function"),
        (
            "    Description: Memory of the sync function in MB. CPU grows with it; 1769 MB is one core.\n",
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
    assert!(problems("dynamodb-to-kafka.yaml", &text)[0].contains("no rules for the target `kafka`"));
    assert!(problems("template.json", &text)[0].contains("SOURCE-to-TARGET"));
}
