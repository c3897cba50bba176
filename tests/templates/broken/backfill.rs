//! The backfill: its state machine, its rights, and what it has in common with the pipeline.

use super::refuses;

#[test]
fn a_broken_state_machine_is_refused() {
    refuses(
        "backfill.yaml",
        &[
            ("ExecutionType: STANDARD", "ExecutionType: EXPRESS", "ProcessorConfig is not"),
            ("Mode: DISTRIBUTED", "Mode: INLINE", "ProcessorConfig is not"),
            ("      Type: STANDARD\n", "      Type: EXPRESS\n", "BackfillStateMachine: Type is not STANDARD"),
            ("ToleratedFailurePercentage: 0", "ToleratedFailurePercentage: 5", "ToleratedFailurePercentage must be 0"),
            (
                "            Label: Segments\n",
                "            ToleratedFailureCount: 1\n",
                "ToleratedFailureCount must be null",
            ),
            ("            Label: Segments\n", "            Label: Parts\n", "Label must be \"Segments\""),
            ("[0..${Segments}-1]", "[1..${Segments}-1]", "Segments: Items must be"),
            ("{% ${MaxConcurrency} %}", "{% 1000 %}", "MaxConcurrency must be"),
            (
                "        MaxConcurrency: !Ref MaxConcurrency\n",
                "        MaxConcurrency: !Ref Segments\n",
                "MaxConcurrency stands for !Ref Segments",
            ),
            ("        SegmentReadUnits: !Ref SegmentReadUnits\n", "", "SegmentReadUnits stands for null"),
            (
                "        Segments: !Ref Segments\n",
                "        Segments: !Ref Segments\n        Parts: !Ref Segments\n",
                "Parts has no rule",
            ),
            (
                "        Function: !GetAtt BackfillFunction.Arn\n",
                "        Function: !Ref TableArn\n",
                "Function stands for !Ref TableArn",
            ),
            ("states:::lambda:invoke", "states:::lambda:invoke.waitForTaskToken", "InvokeLambda stands for"),
            ("QueryLanguage: JSONata", "QueryLanguage: JSONPath", "QueryLanguage is not JSONata"),
            (
                "                  Next: Scan\n                Scan:",
                "                  Next: Scans\n                Scan:",
                "there is no state Scans",
            ),
            (
                "                  Default: NotUnderstood\n",
                "                  Default: Counts\n",
                "nothing leads to the state NotUnderstood",
            ),
            (
                "                  Default: NotUnderstood\n",
                "                  Default: Scan\n",
                "an answer without `done` does not fail",
            ),
            (
                "done = false %}\"\n                      Next: Scan",
                "done = false %}\"\n                      Next: Counts",
                "is not gone on with",
            ),
            (
                "done = true %}\"\n                      Next: Counts",
                "done = true %}\"\n                      Next: Scan",
                "does not succeed",
            ),
            ("'position': $states.result.Payload.position", "'position': null", "Assign does not keep the position"),
            ("$counts.written + $states", "$states", "Assign does not count written"),
            ("$sum($states.result.parked)", "0", "Output does not sum up parked"),
            ("TimeoutSeconds: 960", "TimeoutSeconds: 900", "TimeoutSeconds is not more than"),
            ("JitterStrategy: FULL", "JitterStrategy: NONE", "is no exponential backoff with full jitter"),
            ("MaxDelaySeconds: 300", "MaxDelaySeconds: 86400", "is no exponential backoff with full jitter"),
            ("MaxDelaySeconds: 300", "MaxDelaySeconds: 600", "not after half an hour"),
            ("MaxAttempts: 12", "MaxAttempts: 6", "not after half an hour"),
            (
                "                        - Lambda.TooManyRequestsException\n",
                "",
                "gives up a function that is throttled",
            ),
            ("MaxAttempts: 100", "MaxAttempts: 6", "gives up a function that is throttled"),
            ("ErrorEquals: [States.ALL]", "ErrorEquals: [States.Timeout]", "the last of Retry is not for States.ALL"),
            (
                "MaxValue: 1000\n    ConstraintDescription: must be 1 to 1000, whose",
                "MaxValue: 100000\n    ConstraintDescription: must be 1 to 1000, whose",
                "there may be more than 1000 segments",
            ),
            ("IncludeExecutionData: false", "IncludeExecutionData: true", "IncludeExecutionData is not false"),
            ("        Level: ERROR\n", "        Level: ALL\n", "Level of its log is not ERROR"),
            ("!GetAtt StateMachineLog.Arn", "arn:x", "has no log of the template's"),
            ("/aws/vendedlogs/states/", "/tidelock/", "does not begin with /aws/vendedlogs/states/"),
            ("Name: !Ref AWS::StackName", "Name: backfill", "Name is not that of the stack"),
            (
                "start-execution --state-machine-arn",
                "start --state-machine-arn",
                "no output says how BackfillStateMachine is started",
            ),
            (" --name backfill-${Table}-1", "", "no output says how BackfillStateMachine is started"),
            (
                "redrive-execution --execution-arn",
                "start-execution --execution-arn",
                "no output says how BackfillStateMachine is resumed",
            ),
            (
                ":backfill-${Table}-1",
                ":backfill-${AWS::StackName}-1",
                "no output says how BackfillStateMachine is resumed",
            ),
            ("    Value: !Ref BackfillStateMachine\n", "    Value: x\n", "no output names BackfillStateMachine"),
        ],
    );
}

#[test]
fn a_backfill_with_other_rights_is_refused() {
    refuses(
        "backfill.yaml",
        &[
            (
                "Service: states.amazonaws.com",
                "Service: lambda.amazonaws.com",
                "StateMachineRole is not for states.amazonaws.com alone",
            ),
            (
                "            Condition:\n              StringEquals:\n                aws:SourceAccount: !Ref AWS::AccountId\n",
                "",
                "StateMachineRole is not for",
            ),
            (
                "Resource: !GetAtt BackfillFunction.Arn",
                "Resource: '*'",
                "lambda:InvokeFunction is given on every resource",
            ),
            ("stateMachine:${AWS::StackName}", "stateMachine:*", "states:StartExecution is given on"),
            ("states:RedriveExecution, ", "", "states:RedriveExecution is missing"),
            ("execution:${AWS::StackName}/Segments:*", "execution:*", "states:StopExecution is given on"),
            (
                "                  - logs:PutResourcePolicy\n",
                "                  - logs:GetLogEvents\n                  - logs:PutResourcePolicy\n",
                "BackfillStateMachine has no use for logs:GetLogEvents",
            ),
            (
                "      Role: !GetAtt StateMachineRole.Arn",
                "      Role: !GetAtt BackfillRole.Arn",
                "BackfillRole is the role of 2 functions",
            ),
            ("dynamodb:DescribeTable, dynamodb:Scan]", "dynamodb:Scan]", "dynamodb:DescribeTable is missing"),
            (
                "dynamodb:DescribeTable, dynamodb:Scan]",
                "dynamodb:DescribeTable, dynamodb:PutItem, dynamodb:Scan]",
                "BackfillFunction has no use for dynamodb:PutItem",
            ),
            ("Resource: !Ref TableArn", "Resource: !Sub ${TableArn}/*", "dynamodb:BatchGetItem is given on"),
            ("Name: !Select [4, !Split", "Name: !Select [3, !Split", "sqs:SendMessage is given on"),
            (
                "Action: sqs:SendMessage",
                "Action: [sqs:SendMessage, sqs:DeleteMessage]",
                "BackfillFunction has no use for sqs:DeleteMessage",
            ),
            ("${LettersBucketName}/letters/*", "${LettersBucketName}/*", "s3:PutObject is given on"),
            (
                "                Condition:\n                  StringEquals:\n                    s3:ResourceAccount: !Ref AWS::AccountId\n",
                "",
                "s3:ResourceAccount is not pinned",
            ),
            ("Resource: !Sub ${DomainArn}/*", "Resource: !Ref DomainArn", "es:ESHttpPost is given on"),
            ("Resource: !Ref SecretArn", "Resource: !Ref TableArn", "secretsmanager:GetSecretValue is given on"),
            ("Action: ssm:GetParameter", "Action: secretsmanager:GetSecretValue", "ssm:GetParameter is missing"),
        ],
    );
}

#[test]
fn a_backfill_of_something_else_is_refused() {
    refuses(
        "backfill.yaml",
        &[
            ("lambda/backfill/", "lambda/redrive/", "no rules for a function of"),
            (
                "TIDELOCK_SOURCE: \"dynamodb:\"",
                "TIDELOCK_SOURCE: \"mongodb://x/y\"",
                "TIDELOCK_SOURCE is mongodb://x/y, not dynamodb:",
            ),
            ("          TIDELOCK_SOURCE: \"dynamodb:\"\n", "", "TIDELOCK_SOURCE is not set"),
            (
                "TIDELOCK_DEAD_LETTERS: !Ref DeadLetterQueueUrl",
                "TIDELOCK_DEAD_LETTERS: !Ref TargetUrl",
                "TIDELOCK_DEAD_LETTERS is !Ref TargetUrl",
            ),
            (
                "          TIDELOCK_SOURCE:",
                "          TIDELOCK_STATE: 'memory:'\n          TIDELOCK_SOURCE:",
                "has no use for TIDELOCK_STATE",
            ),
            (
                "          TIDELOCK_SOURCE:",
                "          TIDELOCK_FALLBACK: !Ref DeadLetterQueueUrl\n          TIDELOCK_SOURCE:",
                "has no use for TIDELOCK_FALLBACK",
            ),
            ("      Timeout: 900\n", "      Timeout: 901\n", "Timeout is not 900 seconds at most"),
            ("sigv4-serverless, mongodb-aws]", "sigv4-serverless, kerberos]", "TargetAuth offers kerberos"),
            (
                "MetricName: ExecutionsFailed",
                "MetricName: ExecutionsStarted",
                "no alarm on AWS/States ExecutionsFailed",
            ),
            (
                "Name: StateMachineArn, Value: !Ref BackfillStateMachine",
                "Name: StateMachineArn, Value: !Ref BackfillFunction",
                "dimension of ExecutionsFailed is StateMachineArn",
            ),
            (
                "\nOutputs:\n",
                "\n  Queue:\n    Type: AWS::SQS::Queue\nOutputs:\n",
                "has 1 resources of type AWS::SQS::Queue, not 0",
            ),
        ],
    );
}
