//! Queues, buckets and tables: what lies in them is kept, encrypted, and reached over TLS alone.

use super::check::Check;
use super::document::{attribute_of, keys, resources_of, written};
use serde_json::{Value, json};

/// Seconds that SQS keeps a message [at most](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
const LONGEST_S: u64 = 1_209_600;

/// What a message may weigh at most.
const LARGEST: u64 = 1_048_576;

const QUEUE_PROPERTIES: &[&str] = &[
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "SqsManagedSseEnabled",
    "Tags",
    "VisibilityTimeout",
];

const BUCKET_PROPERTIES: &[&str] = &[
    "BucketEncryption",
    "LifecycleConfiguration",
    "OwnershipControls",
    "PublicAccessBlockConfiguration",
    "Tags",
    "VersioningConfiguration",
];

/// Buckets, the prefix under which objects end, and after how many days. A letter's object is stored anew with its letter,
/// at least every 14 days, which the queue keeps it.
const LIFECYCLES: &[(&str, Option<&str>, &str)] =
    &[("FailureBucket", None, "!Ref FailureRetentionDays"), ("LettersBucket", Some("letters/"), "60")];

/// A value that depends on whether there is a key of the user's.
fn keyed(with: &Value, without: &Value) -> Value {
    json!({"!If": ["HasStorageKey", with, without]})
}

fn nothing() -> Value {
    json!({"!Ref": "AWS::NoValue"})
}

fn key() -> Value {
    json!({"!Ref": "StorageKeyArn"})
}

impl Check<'_> {
    /// What lies in a queue or a bucket is the only copy: the end of the stack is not its end.
    fn kept(&mut self, name: &str, resource: &Value) {
        let policy = |key: &str| resource[key].as_str().unwrap_or_default();
        let kept = policy("DeletionPolicy").starts_with("Retain") && policy("UpdateReplacePolicy") == "Retain";
        self.expect(kept, || format!("{name} would be deleted together with the stack"));
    }

    pub(super) fn queue(&mut self, name: &str, resource: &Value) {
        let properties = &resource["Properties"];
        let stays = properties["RedrivePolicy"].is_null();
        self.expect(stays, || {
            format!("{name} has a RedrivePolicy, which would carry letters away from whoever looks for them")
        });
        self.known(name, keys(properties).filter(|key| *key != "RedrivePolicy"), QUEUE_PROPERTIES);
        let retention = properties["MessageRetentionPeriod"] == LONGEST_S;
        self.expect(retention, || format!("{name}: MessageRetentionPeriod is not {LONGEST_S}, the longest there is"));
        let size = properties["MaximumMessageSize"] == LARGEST;
        self.expect(size, || format!("{name}: MaximumMessageSize is not {LARGEST}, which functions count on"));
        let encrypted = properties["SqsManagedSseEnabled"] == keyed(&nothing(), &json!(true))
            && properties["KmsMasterKeyId"] == keyed(&key(), &nothing());
        self.expect(encrypted, || format!("{name} is not encrypted with StorageKeyArn, or else with SQS's own key"));
        self.kept(name, resource);
        self.named(name);
        self.tls_only(name, "AWS::SQS::QueuePolicy", "sqs:*");
        for metric in ["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"] {
            let of = |alarm: &Value| attribute_of(&alarm["Dimensions"][0]["Value"], "QueueName") == Some(name);
            let watched = self.alarms("AWS/SQS", metric).any(of);
            self.expect(watched, || format!("no alarm on AWS/SQS {metric} of {name}"));
        }
    }

    pub(super) fn bucket(&mut self, name: &str, resource: &Value) {
        let properties = &resource["Properties"];
        self.known(name, keys(properties), BUCKET_PROPERTIES);
        let encryption = json!({"ServerSideEncryptionConfiguration": [{
            "ServerSideEncryptionByDefault":
                keyed(&json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key()}), &json!({"SSEAlgorithm": "AES256"})),
            "BucketKeyEnabled": keyed(&json!(true), &nothing()),
        }]});
        let encrypted = properties["BucketEncryption"] == encryption;
        self.expect(encrypted, || format!("{name} is not encrypted with StorageKeyArn, or else with S3's own key"));
        let blocks = &properties["PublicAccessBlockConfiguration"];
        for block in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            self.expect(blocks[block] == true, || format!("{name}: {block} is not true"));
        }
        let owner = properties["OwnershipControls"]["Rules"][0]["ObjectOwnership"] == "BucketOwnerEnforced";
        self.expect(owner, || format!("{name}: ObjectOwnership is not BucketOwnerEnforced"));
        self.lifecycle(name, &properties["LifecycleConfiguration"]["Rules"]);
        self.kept(name, resource);
        self.named(name);
        self.tls_only(name, "AWS::S3::BucketPolicy", "s3:*");
    }

    fn lifecycle(&mut self, name: &str, rules: &Value) {
        let Some((_, prefix, days)) = LIFECYCLES.iter().find(|(bucket, ..)| *bucket == name) else {
            return self.expect(false, || format!("{name}: no rules for the life of a bucket's objects"));
        };
        let rule = &rules[0];
        let one = rules.as_array().is_some_and(|rules| rules.len() == 1) && rule["Status"] == "Enabled";
        let right = one && rule["Prefix"].as_str() == *prefix && written(&rule["ExpirationInDays"]) == *days;
        self.expect(right, || {
            format!("{name}: objects under {prefix:?} do not expire after {days} days, by one rule that is enabled")
        });
    }

    /// A lease, and times: they may be lost with the stack, but not outlive their use.
    pub(super) fn table(&mut self, name: &str, resource: &Value) {
        let properties = &resource["Properties"];
        let expected = json!({
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
            "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": true},
            "SSESpecification":
                keyed(&json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": key()}), &nothing()),
        });
        for (property, right) in expected.as_object().expect("an object") {
            let given = &properties[property];
            self.expect(given == right, || format!("{name}: {property} must be {right}, not {given}"));
        }
        self.known(name, keys(properties).filter(|key| expected[key].is_null()), &["Tags"]);
        let said = !resource["DeletionPolicy"].is_null() && !resource["UpdateReplacePolicy"].is_null();
        self.expect(said, || format!("{name} does not say what becomes of it with the stack"));
        self.named(name);
    }

    /// Somebody's policy forbids all that does not come over TLS.
    fn tls_only(&mut self, name: &str, kind: &str, action: &str) {
        let arn = format!("!GetAtt {name}.Arn");
        let objects = format!("!Sub ${{{name}.Arn}}/*");
        let everything = if action == "s3:*" { vec![arn, objects] } else { vec![arn] };
        let forbids = |statement: &Value| {
            statement["Principal"] == "*"
                && statement["Action"] == action
                && statement["Condition"] == json!({"Bool": {"aws:SecureTransport": "false"}})
                && resources_of(statement) == everything
        };
        let of = |properties: &Value| properties["Bucket"]["!Ref"] == name || properties["Queues"][0]["!Ref"] == name;
        let mut policies = self.resources().filter(|(_, found, _)| *found == kind);
        let forbidden = policies.any(|(_, _, policy)| {
            let statements = policy["Properties"]["PolicyDocument"]["Statement"].as_array();
            of(&policy["Properties"]) && statements.into_iter().flatten().any(forbids)
        });
        self.expect(forbidden, || format!("{name} can be reached without TLS"));
    }

    /// Queue and bucket policies only forbid; rights are the role's. They stay as long as what they protect.
    pub(super) fn resource_policy(&mut self, name: &str, resource: &Value) {
        for statement in resource["Properties"]["PolicyDocument"]["Statement"].as_array().into_iter().flatten() {
            self.expect(statement["Effect"] == "Deny", || format!("{name}: {} is not a Deny", statement["Sid"]));
        }
        self.kept(name, resource);
    }
}
