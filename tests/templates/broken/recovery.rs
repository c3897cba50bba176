//! What waits: queues, bucket, state, the function that redrives, and the alarms that call for a person.

use super::refuses;

#[test]
fn a_broken_store_is_refused() {
    refuses(
        "dynamodb-to-mongodb.yaml",
        &[
            (
                "      VisibilityTimeout: 5400\n",
                "      VisibilityTimeout: 900\n",
                "Fallback: VisibilityTimeout is not 6 times",
            ),
            ("      VisibilityTimeout: 5400\n", "      FifoQueue: true\n", "Fallback: FifoQueue has no rule"),
            ("MaximumMessageSize: 1048576", "MaximumMessageSize: 262144", "MaximumMessageSize is not 1048576"),
            (
                "      SqsManagedSseEnabled: !If [HasStorageKey, !Ref AWS::NoValue, true]\n",
                "      SqsManagedSseEnabled: false\n",
                "Fallback is not encrypted",
            ),
            (
                "      KmsMasterKeyId: !If [HasStorageKey, !Ref StorageKeyArn, !Ref AWS::NoValue]\n",
                "",
                "is not encrypted",
            ),
            (
                "              - SSEAlgorithm: AES256\n",
                "              - !Ref AWS::NoValue\n",
                "LettersBucket is not encrypted",
            ),
            ("        BlockPublicPolicy: true\n", "", "LettersBucket: BlockPublicPolicy is not true"),
            ("BucketOwnerEnforced", "ObjectWriter", "LettersBucket: ObjectOwnership is not"),
            (
                "ExpirationInDays: 60",
                "ExpirationInDays: 7",
                "LettersBucket: objects under Some(\"letters/\") do not expire",
            ),
            ("            Prefix: letters/\n", "", "LettersBucket: objects under Some(\"letters/\") do not expire"),
            ("    UpdateReplacePolicy: Retain\n", "", "Fallback would be deleted together with the stack"),
            ("    UpdateReplacePolicy: Retain\n", "", "LettersBucketPolicy would be deleted together with the stack"),
            (
                "      Queues: [!Ref Fallback]\n",
                "      Queues: [!Ref DeadLetters]\n",
                "Fallback can be reached without TLS",
            ),
            (
                "      Bucket: !Ref LettersBucket\n",
                "      Bucket: !Ref FailureBucket\n",
                "LettersBucket can be reached",
            ),
            ("              - !Sub ${LettersBucket.Arn}/*\n", "", "LettersBucket can be reached without TLS"),
            ("aws:SecureTransport: \"false\"", "aws:SecureTransport: \"true\"", "Fallback can be reached without TLS"),
            ("PAY_PER_REQUEST", "PROVISIONED", "State: BillingMode must be"),
            (
                "        - AttributeName: name\n          KeyType: HASH\n",
                "        - AttributeName: id\n          KeyType: HASH\n",
                "State: KeySchema must be",
            ),
            (
                "        AttributeName: expires\n",
                "        AttributeName: ttl\n",
                "State: TimeToLiveSpecification must be",
            ),
            ("          SSEType: KMS\n", "", "State: SSESpecification must be"),
            ("      BillingMode:", "      TableName: state\n      BillingMode:", "State: TableName has no rule"),
            ("    Value: !Ref Fallback\n", "    Value: fallback\n", "no output names Fallback"),
            ("    Value: !Ref LettersBucket\n", "    Value: letters\n", "no output names LettersBucket"),
            ("    Value: !Ref State\n", "    Value: state\n", "no output names State"),
        ],
    );
}

#[test]
fn a_broken_redrive_is_refused() {
    refuses(
        "dynamodb-to-mongodb.yaml",
        &[
            (
                "TIDELOCK_FALLBACK: !Ref Fallback",
                "TIDELOCK_FALLBACK: !Ref DeadLetters",
                "TIDELOCK_FALLBACK is !Ref DeadLetters",
            ),
            (
                "TIDELOCK_LETTERS_BUCKET: !Ref LettersBucket",
                "TIDELOCK_LETTERS_BUCKET: !Ref FailureBucket",
                "TIDELOCK_LETTERS_BUCKET is !Ref FailureBucket",
            ),
            ("          TIDELOCK_LETTERS_BUCKET: !Ref LettersBucket\n", "", "TIDELOCK_LETTERS_BUCKET is not set"),
            ("s3://${FailureBucket}", "s3://${LettersBucket}", "TIDELOCK_FAILURES is !Sub s3://${LettersBucket}"),
            ("          TIDELOCK_STATE: !Sub dynamodb:${State}\n", "", "RedriveFunction: TIDELOCK_STATE is not set"),
            (
                "TIDELOCK_STATE: !Sub dynamodb:${State}\n          TIDELOCK_PIPELINE",
                "TIDELOCK_STATE: 'memory:'\n          TIDELOCK_PIPELINE",
                "SyncFunction: TIDELOCK_STATE is memory:",
            ),
            (
                "[dynamodb:BatchGetItem, dynamodb:DeleteItem, dynamodb:GetItem, dynamodb:PutItem]",
                "[dynamodb:BatchGetItem, dynamodb:DeleteItem, dynamodb:GetItem]",
                "SyncRole: dynamodb:PutItem is missing",
            ),
            (
                "dynamodb:GetItem, dynamodb:PutItem]",
                "dynamodb:GetItem, dynamodb:PutItem, dynamodb:Scan]",
                "SyncFunction has no use for dynamodb:Scan",
            ),
            ("                  - sqs:ReceiveMessage\n", "", "RedriveRole: sqs:ReceiveMessage is missing"),
            (
                "                  - sqs:ChangeMessageVisibility\n",
                "",
                "RedriveRole: sqs:ChangeMessageVisibility is missing",
            ),
            ("                  - sqs:SendMessage\n", "", "RedriveRole: sqs:SendMessage is missing"),
            (
                "                  - !GetAtt Fallback.Arn\n              # Nothing deletes",
                "              # Nothing deletes",
                "RedriveRole: sqs:DeleteMessage is given on {\"!GetAtt DeadLetters.Arn\"}",
            ),
            ("${LettersBucket.Arn}/letters/*", "${LettersBucket.Arn}/*", "SyncRole: s3:PutObject is given on"),
            ("${LettersBucket.Arn}/letters/*", "${LettersBucket.Arn}/*", "RedriveRole: s3:GetObject is given on"),
            ("Action: [s3:GetObject, s3:PutObject]", "Action: s3:GetObject", "RedriveRole: s3:PutObject is missing"),
            (
                "Action: [s3:GetObject, s3:DeleteObject]",
                "Action: s3:GetObject",
                "RedriveRole: s3:DeleteObject is missing",
            ),
            ("${FailureBucket.Arn}/aws/lambda/*", "${FailureBucket.Arn}/*", "RedriveRole: s3:DeleteObject is given on"),
            (
                "                  - !GetAtt LettersBucket.Arn\n                  - !GetAtt FailureBucket.Arn\n",
                "                  - !GetAtt FailureBucket.Arn\n",
                "RedriveRole: s3:ListBucket is given on",
            ),
            (
                "                Condition:\n                  StringEquals:\n                    s3:ResourceAccount: !Ref AWS::AccountId\n",
                "",
                "TakeFailures: s3:ResourceAccount is not pinned",
            ),
            (
                "                Condition:\n                  StringEquals:\n                    s3:ResourceAccount: !Ref AWS::AccountId\n",
                "",
                "WriteLetters: s3:ResourceAccount is not pinned",
            ),
            ("kms:ViaService:", "kms:CallerAccount:", "UseStorage: kms:ViaService does not say"),
            ("Resource: !Ref StorageKeyArn", "Resource: !Ref SecretArn", "kms:GenerateDataKey is given on"),
            (
                "Resource: !GetAtt State.Arn",
                "Resource: !Sub ${State.Arn}/*",
                "RedriveRole: dynamodb:PutItem is given on",
            ),
            (
                "[dynamodb:BatchGetItem, dynamodb:DeleteItem, dynamodb:GetItem,",
                "[dynamodb:BatchGetItem, dynamodb:GetItem,",
                "RedriveRole: dynamodb:DeleteItem is missing",
            ),
            ("Remember", "Remember\n                NotAction: x", "Remember: NotAction has no rule"),
            (
                "Action: [dynamodb:BatchGetItem, dynamodb:DeleteItem,",
                "Action: [dynamodb:GetRecords, dynamodb:BatchGetItem, dynamodb:DeleteItem,",
                "RedriveFunction has no use for dynamodb:GetRecords",
            ),
            (
                "        MaximumConcurrency: 2\n",
                "        MaximumConcurrency: 50\n",
                "DrainMapping: ScalingConfig must be",
            ),
            ("      BatchSize: 10\n", "      BatchSize: 1000\n", "DrainMapping: BatchSize must be 10"),
            (
                "      # The function names the messages that must come again; the others are deleted.\n      FunctionResponseTypes: [ReportBatchItemFailures]\n",
                "",
                "DrainMapping: FunctionResponseTypes must be",
            ),
            (
                "EventSourceArn: !GetAtt Fallback.Arn",
                "EventSourceArn: !GetAtt DeadLetters.Arn",
                "not the fallback queue",
            ),
            (
                "EventSourceArn: !GetAtt Fallback.Arn",
                "EventSourceArn: !Ref StreamArn",
                "has 0 mappings of a queue, not one",
            ),
            ("    Condition: DrainsContinuously\n", "", "DrainMapping is not a choice that is `false` by default"),
            (
                "DrainsContinuously: !Equals [!Ref DrainContinuously, \"true\"]",
                "DrainsContinuously: !Equals [!Ref DrainContinuously, \"false\"]",
                "DrainMapping is not a choice",
            ),
            (
                "    Default: \"false\"\n",
                "    Default: \"true\"\n",
                "DrainMapping is not a choice that is `false` by default",
            ),
            (
                "FunctionName: !GetAtt RedriveFunction.Arn",
                "FunctionName: !GetAtt SyncFunction.Arn",
                "DrainMapping: FunctionName is not the template's redrive function",
            ),
        ],
    );
}

#[test]
fn an_alarm_that_would_be_silent_is_refused() {
    refuses(
        "dynamodb-to-mongodb.yaml",
        &[
            (
                "[{Name: QueueName, Value: !GetAtt Fallback.QueueName}]",
                "[{Name: QueueName, Value: !GetAtt DeadLetters.QueueName}]",
                "no alarm on AWS/SQS ApproximateAgeOfOldestMessage of Fallback",
            ),
            (
                "[{Name: QueueName, Value: !GetAtt DeadLetters.QueueName}]",
                "[{Name: QueueName, Value: !GetAtt Fallback.QueueName}]",
                "no alarm on AWS/SQS ApproximateNumberOfMessagesVisible of DeadLetters",
            ),
            (
                "Threshold: 604800\n",
                "Threshold: 1209600\n",
                "DeadLettersAgeAlarm: an alarm on ApproximateAgeOfOldestMessage",
            ),
            ("Threshold: 168\n", "Threshold: 336\n", "OldestLetterAlarm: an alarm on OldestLetterAgeHours"),
            ("      Period: 43200\n", "      Period: 300\n", "OldestHeldAlarm: an alarm on OldestHeldAgeHours"),
            (
                "MetricName: OldestLetterAgeHours",
                "MetricName: OldestHeldAgeHours",
                "no alarm on Tidelock OldestLetterAgeHours",
            ),
            (
                "MetricName: OldestHeldAgeHours",
                "MetricName: OldestHeldAgeDays",
                "nobody reports Tidelock OldestHeldAgeDays",
            ),
            (
                "      Statistic: Minimum\n      Period: 3600\n",
                "      Statistic: Maximum\n      Period: 3600\n",
                "TargetDownAlarm: an alarm on TargetDown is Minimum",
            ),
            (
                "      Period: 3600\n      EvaluationPeriods: 2\n",
                "      Period: 1800\n      EvaluationPeriods: 1\n",
                "TargetDownAlarm: an alarm on TargetDown",
            ),
            ("MetricName: TargetDown", "MetricName: Resent", "no alarm on Tidelock TargetDown of RedriveFunction"),
            ("MetricName: Kept", "MetricName: Resent", "no alarm on Tidelock Kept of RedriveFunction"),
            (
                "MetricName: Kept\n      Dimensions: [{Name: Function, Value: !Ref RedriveFunction}]",
                "MetricName: Kept\n      Dimensions: [{Name: Function, Value: !Ref SyncFunction}]",
                "does not report Kept",
            ),
            ("MetricName: DroppedEventCount", "MetricName: Throttles", "no alarm on AWS/Lambda DroppedEventCount"),
            ("TreatMissingData: notBreaching", "TreatMissingData: missing", "TargetDownAlarm: TreatMissingData is not"),
        ],
    );
}

#[test]
fn an_alarm_that_misses_letters_is_refused() {
    refuses(
        "dynamodb-to-mongodb.yaml",
        &[
            ("Value: order_conflict}", "Value: unique_conflict}", "no alarm on letters of reason order_conflict"),
            ("Value: records_lost}", "Value: malformed_record}", "no alarm on letters of reason records_lost"),
            ("Value: salvaged}", "Value: mapping_conflict}", "no alarm on letters of reason salvaged"),
            ("Value: salvaged}", "Value: salvage}", "SalvagedAlarm: \"salvage\" is no reason of a letter"),
            ("Value: salvaged}", "Value: throttled}", "SalvagedAlarm: \"throttled\" is no reason of a letter"),
            ("(`salvaged`)", "", "SalvagedAlarm: AlarmDescription does not name `salvaged`"),
            (
                "!Ref RedriveFunction}, {Name: Reason, Value: records_lost}",
                "!Ref SyncFunction}, {Name: Reason, Value: records_lost}",
                "RecordsLostAlarm counts letters of {\"SyncFunction\"}",
            ),
            (
                "!Ref RedriveFunction}, {Name: Reason, Value: records_lost}",
                "!Ref RedriveFunction}, {Name: Reason, Value: salvaged}",
                "RecordsLostAlarm: redrive must be",
            ),
            ("            Stat: Sum\n", "            Stat: Average\n", "OrderConflictAlarm: sync must be"),
            ("            Period: 300\n", "            Period: 3600\n", "OrderConflictAlarm: sync must be"),
            ("FILL(sync, 0), FILL(redrive, 0)", "FILL(sync, 0)", "OrderConflictAlarm must watch"),
            ("SUM([FILL(sync, 0), FILL(redrive, 0)])", "sync + redrive", "OrderConflictAlarm must watch"),
            ("      Threshold: 0\n", "      Threshold: 10\n", "OrderConflictAlarm does not go off at the first letter"),
            (
                "      Metrics:\n        - Id: parked\n",
                "      DatapointsToAlarm: 1\n      Metrics:\n        - Id: parked\n",
                "OrderConflictAlarm: DatapointsToAlarm has no rule",
            ),
            ("  RecordsLostAlarm:\n", "  LostAlarm:\n", "LostAlarm is not in docs/deploy.md"),
        ],
    );
}
