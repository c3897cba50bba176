//! Rights, and the one set of resources that each is for: data, with the reasons.

/// An action, and every resource that it is given on, as the template writes it.
pub(super) type Right = (&'static str, &'static [&'static str]);

/// By which Lambda reads a DynamoDB stream in the role's name.
pub(super) const STREAM_RIGHTS: &[Right] = &[
    ("dynamodb:DescribeStream", &["!Ref StreamArn"]),
    ("dynamodb:GetRecords", &["!Ref StreamArn"]),
    ("dynamodb:GetShardIterator", &["!Ref StreamArn"]),
    ("dynamodb:ListStreams", EVERYTHING),
];

const EVERYTHING: &[&str] = &["*"];

/// By which Lambda's poller reads a DocumentDB change stream in the role's name: it looks the cluster up, attaches itself to
/// its subnets, and logs in
/// ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html#docdb-prereqs)).
pub(super) const CLUSTER_RIGHTS: &[Right] = &[
    ("ec2:CreateNetworkInterface", EVERYTHING),
    ("ec2:DeleteNetworkInterface", EVERYTHING),
    ("ec2:DescribeNetworkInterfaces", EVERYTHING),
    ("ec2:DescribeSecurityGroups", EVERYTHING),
    ("ec2:DescribeSubnets", EVERYTHING),
    ("ec2:DescribeVpcs", EVERYTHING),
    ("rds:DescribeDBClusterParameters", DATABASES),
    ("rds:DescribeDBClusters", DATABASES),
    ("rds:DescribeDBSubnetGroups", DATABASES),
    ("secretsmanager:GetSecretValue", PASSWORD),
];

const DATABASES: &[&str] = &[
    "!Sub arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster:*",
    "!Sub arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster-pg:*",
    "!Sub arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:subgrp:*",
];

const PASSWORD: &[&str] = &["!GetAtt Stores.Outputs.SecretArn"];

/// Statements by which an account recognises what a mapping's role may do, and their actions.
pub(super) const NAMED_STATEMENTS: &[(&str, &[&str])] = &[
    (
        "ESMNetworkingAccess",
        &[
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
    ),
    (
        "ESMDocumentDbAccess",
        &["rds:DescribeDBClusterParameters", "rds:DescribeDBClusters", "rds:DescribeDBSubnetGroups"],
    ),
    ("ESMDocumentDbSecretAccess", &["secretsmanager:GetSecretValue"]),
    ("OpenSearchAccess", &["es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost", "es:ESHttpPut"]),
];

/// The domain that the stack has made.
const OWN_DOMAIN: &[&str] = &["!Sub ${Stores.Outputs.DomainArn}/*"];

/// Letters and packs are sent, documents written, and what was begun is remembered.
pub(super) const CLUSTER_SYNC_RIGHTS: &[Right] = &[
    ("dynamodb:BatchGetItem", STATE),
    ("dynamodb:DeleteItem", STATE),
    ("dynamodb:GetItem", STATE),
    ("dynamodb:PutItem", STATE),
    ("es:ESHttpGet", OWN_DOMAIN),
    ("es:ESHttpHead", OWN_DOMAIN),
    ("es:ESHttpPost", OWN_DOMAIN),
    ("es:ESHttpPut", OWN_DOMAIN),
    ("s3:PutObject", LETTERS),
    ("sqs:SendMessage", QUEUES),
];

/// As of every redrive; there are no on-failure records.
pub(super) const CLUSTER_REDRIVE_RIGHTS: &[Right] = &[
    ("dynamodb:BatchGetItem", STATE),
    ("dynamodb:DeleteItem", STATE),
    ("dynamodb:GetItem", STATE),
    ("dynamodb:PutItem", STATE),
    ("dynamodb:Scan", STATE),
    ("es:ESHttpGet", OWN_DOMAIN),
    ("es:ESHttpHead", OWN_DOMAIN),
    ("es:ESHttpPost", OWN_DOMAIN),
    ("es:ESHttpPut", OWN_DOMAIN),
    ("s3:GetObject", LETTERS),
    ("s3:ListBucket", &["!GetAtt LettersBucket.Arn"]),
    ("s3:PutObject", LETTERS),
    ("secretsmanager:GetSecretValue", PASSWORD),
    ("sqs:ChangeMessageVisibility", QUEUES),
    ("sqs:DeleteMessage", QUEUES),
    ("sqs:GetQueueAttributes", QUEUES),
    ("sqs:ReceiveMessage", QUEUES),
    ("sqs:SendMessage", QUEUES),
];

const LETTERS: &[&str] = &["!Sub ${LettersBucket.Arn}/letters/*"];

/// Logs in to the cluster, and nothing else.
pub(super) const LOGIN_RIGHTS: &[Right] = &[("secretsmanager:GetSecretValue", PASSWORD)];

/// One index is searched.
pub(super) const SEARCH_RIGHTS: &[Right] = &[("es:ESHttpPost", OWN_INDEX)];

const OWN_INDEX: &[&str] = &["!Sub ${Stores.Outputs.DomainArn}/${DemoIndex}/_search"];

const QUEUES: &[&str] = &["!GetAtt DeadLetters.Arn", "!GetAtt Fallback.Arn"];

/// Letters and packs are sent; the mapping writes what Lambda gives up with this role. Batches on trial are written down.
pub(super) const SYNC_RIGHTS: &[Right] = &[
    ("sqs:SendMessage", QUEUES),
    (
        "s3:PutObject",
        &["!Sub ${LettersBucket.Arn}/letters/*", "!GetAtt FailureBucket.Arn", "!Sub ${FailureBucket.Arn}/*"],
    ),
    ("s3:ListBucket", &["!GetAtt FailureBucket.Arn", "!Sub ${FailureBucket.Arn}/*"]),
    ("dynamodb:BatchGetItem", STATE),
    ("dynamodb:DeleteItem", STATE),
    ("dynamodb:GetItem", STATE),
    ("dynamodb:PutItem", STATE),
];

/// Messages are taken, sent anew and deleted; letters' objects are read and stored anew; Lambda's records are read and
/// deleted. Without the right to list, S3 calls an object that is gone
/// [forbidden](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
pub(super) const REDRIVE_RIGHTS: &[Right] = &[
    ("sqs:ChangeMessageVisibility", QUEUES),
    ("sqs:DeleteMessage", QUEUES),
    ("sqs:GetQueueAttributes", QUEUES),
    ("sqs:ReceiveMessage", QUEUES),
    ("sqs:SendMessage", QUEUES),
    ("s3:GetObject", &["!Sub ${LettersBucket.Arn}/letters/*", "!Sub ${FailureBucket.Arn}/aws/lambda/*"]),
    ("s3:PutObject", &["!Sub ${LettersBucket.Arn}/letters/*"]),
    ("s3:DeleteObject", &["!Sub ${FailureBucket.Arn}/aws/lambda/*"]),
    ("s3:ListBucket", &["!GetAtt LettersBucket.Arn", "!GetAtt FailureBucket.Arn"]),
    ("dynamodb:BatchGetItem", STATE),
    ("dynamodb:DeleteItem", STATE),
    ("dynamodb:GetItem", STATE),
    ("dynamodb:PutItem", STATE),
    ("dynamodb:Scan", STATE),
];

pub(super) const STATE: &[&str] = &["!GetAtt State.Arn"];

/// The table is scanned, and read again for truth; the rest belongs to the pipeline, which parameters name.
pub(super) const BACKFILL_RIGHTS: &[Right] = &[
    ("dynamodb:BatchGetItem", &["!Ref TableArn"]),
    ("dynamodb:DescribeTable", &["!Ref TableArn"]),
    ("dynamodb:Scan", &["!Ref TableArn"]),
    (
        "sqs:SendMessage",
        &[concat!(
            r#"{"!Sub":["arn:${AWS::Partition}:sqs:${AWS::Region}:${Account}:${Name}",{"#,
            r#""Account":{"!Select":[3,{"!Split":["/",{"!Ref":"DeadLetterQueueUrl"}]}]},"#,
            r#""Name":{"!Select":[4,{"!Split":["/",{"!Ref":"DeadLetterQueueUrl"}]}]}}]}"#
        )],
    ),
    ("s3:PutObject", &["!Sub arn:${AWS::Partition}:s3:::${LettersBucketName}/letters/*"]),
];

/// [Distributed maps](https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html) start executions
/// of their own state machine, and redrive them; they are named after the map's label.
pub(super) const STATE_MACHINE_RIGHTS: &[Right] = &[
    ("lambda:InvokeFunction", &["!GetAtt BackfillFunction.Arn"]),
    (
        "states:StartExecution",
        &["!Sub arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}"],
    ),
    ("states:DescribeExecution", EXECUTIONS),
    ("states:RedriveExecution", EXECUTIONS),
    ("states:StopExecution", EXECUTIONS),
    ("logs:CreateLogDelivery", EVERYTHING),
    ("logs:DeleteLogDelivery", EVERYTHING),
    ("logs:DescribeLogGroups", EVERYTHING),
    ("logs:DescribeResourcePolicies", EVERYTHING),
    ("logs:GetLogDelivery", EVERYTHING),
    ("logs:ListLogDeliveries", EVERYTHING),
    ("logs:PutResourcePolicy", EVERYTHING),
    ("logs:UpdateLogDelivery", EVERYTHING),
];

const EXECUTIONS: &[&str] = &[
    "!Sub arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}:*",
    "!Sub arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}/Segments:*",
];

pub(super) const OPENSEARCH_RIGHTS: &[Right] = &[
    ("aoss:APIAccessAll", &["!Ref CollectionArn"]),
    ("es:ESHttpGet", DOMAIN),
    ("es:ESHttpHead", DOMAIN),
    ("es:ESHttpPost", DOMAIN),
    ("es:ESHttpPut", DOMAIN),
];

const DOMAIN: &[&str] = &["!Sub ${DomainArn}/*"];

/// MongoDB and DocumentDB know no rights of AWS.
pub(super) const DOCUMENTDB_RIGHTS: &[Right] = &[];

/// Rights to write a log, which every function's role must have; which log is a rule of its own.
pub(super) const LOG_RIGHTS: &[&str] = &["logs:CreateLogStream", "logs:PutLogEvents"];

/// Rights every function's role may have, on some of these: the secret, keys, and the way into a VPC.
pub(super) const COMMON_RIGHTS: &[Right] = &[
    ("ec2:AssignPrivateIpAddresses", EVERYTHING),
    ("ec2:CreateNetworkInterface", EVERYTHING),
    ("ec2:DeleteNetworkInterface", EVERYTHING),
    ("ec2:DescribeNetworkInterfaces", EVERYTHING),
    ("ec2:DescribeSubnets", EVERYTHING),
    ("ec2:UnassignPrivateIpAddresses", EVERYTHING),
    ("kms:Decrypt", &["!Ref DecryptKeyArns", "!Ref StorageKeyArn"]),
    // Encrypts what is stored.
    ("kms:GenerateDataKey", &["!Ref StorageKeyArn"]),
    ("secretsmanager:GetSecretValue", &["!Ref SecretArn"]),
];

/// The right of a function whose pipeline may lie in a parameter, which the template's own parameter names.
pub(super) const PIPELINE_RIGHTS: &[Right] = &[(
    "ssm:GetParameter",
    &[concat!(
        r#"{"!Sub":["arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${Name}","#,
        r#"{"Name":{"!Join":["",{"!Split":["ssm:",{"!Ref":"Pipeline"}]}]}}]}"#
    )],
)];

/// Rights that are given on `*`, because IAM knows no narrower resource for them, or none that exists beforehand:
/// [DynamoDB](https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html),
/// [Lambda in a VPC](https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions),
/// [logs of Step Functions](https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy).
pub(super) const ON_EVERYTHING: &[(&str, &str)] = &[
    ("dynamodb:ListStreams", "lists; there is no resource to name"),
    ("ec2:CreateNetworkInterface", "the interface does not exist yet"),
    ("ec2:DeleteNetworkInterface", "the interface's id is Lambda's choice"),
    ("ec2:AssignPrivateIpAddresses", "the interface's id is Lambda's choice"),
    ("ec2:UnassignPrivateIpAddresses", "the interface's id is Lambda's choice"),
    ("ec2:DescribeNetworkInterfaces", "lists; there is no resource to name"),
    ("ec2:DescribeSecurityGroups", "lists; there is no resource to name"),
    ("ec2:DescribeSubnets", "lists; there is no resource to name"),
    ("ec2:DescribeVpcs", "lists; there is no resource to name"),
    ("logs:CreateLogDelivery", "log delivery has no resources"),
    ("logs:DeleteLogDelivery", "log delivery has no resources"),
    ("logs:DescribeLogGroups", "lists; there is no resource to name"),
    ("logs:DescribeResourcePolicies", "the account's; there is no resource to name"),
    ("logs:GetLogDelivery", "log delivery has no resources"),
    ("logs:ListLogDeliveries", "log delivery has no resources"),
    ("logs:PutResourcePolicy", "the account's; there is no resource to name"),
    ("logs:UpdateLogDelivery", "log delivery has no resources"),
];

pub(super) const ROLE_PROPERTIES: &[&str] =
    &["AssumeRolePolicyDocument", "Description", "PermissionsBoundary", "Policies", "Tags"];

/// What several roles of a stack have in common stands in a policy of their own.
pub(super) const STACK_ROLE_PROPERTIES: &[&str] = &["ManagedPolicyArns"];
