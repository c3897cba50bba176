//! Stream records as the SDK has them, written as the JSON that Lambda gives to functions
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>). Numbers stay the text they are: 38 digits fit no
//! machine type.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodbstreams::primitives::{Blob, DateTime};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, StreamRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{Error as _, SerializeMap as _, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::Moment;
use crate::mapping::SequenceNumber;
use crate::source::SourceRecord;

#[derive(Serialize)]
struct EventRecord<'a> {
    #[serde(rename = "eventID", skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(rename = "eventName", skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    #[serde(rename = "eventVersion", skip_serializing_if = "Option::is_none")]
    event_version: Option<&'a str>,
    #[serde(rename = "eventSource", skip_serializing_if = "Option::is_none")]
    event_source: Option<&'a str>,
    #[serde(rename = "awsRegion", skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
    dynamodb: Change<'a>,
    #[serde(rename = "userIdentity", skip_serializing_if = "Option::is_none")]
    user_identity: Option<UserIdentity<'a>>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_creation_date_time: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_image: Option<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_image: Option<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_view_type: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
}

/// Attributes by name, written in the order of the names, so that the same item is always the same text.
struct Item<'a>(&'a HashMap<String, AttributeValue>);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sorted: BTreeMap<&str, Attribute<'_>> =
            self.0.iter().map(|(name, value)| (name.as_str(), Attribute(value))).collect();
        sorted.serialize(serializer)
    }
}

/// An attribute value in DynamoDB JSON.
struct Attribute<'a>(&'a AttributeValue);

impl Serialize for Attribute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            AttributeValue::S(text) => map.serialize_entry("S", text)?,
            AttributeValue::N(number) => map.serialize_entry("N", number)?,
            AttributeValue::B(bytes) => map.serialize_entry("B", &encode(bytes))?,
            AttributeValue::Bool(value) => map.serialize_entry("BOOL", value)?,
            AttributeValue::Null(value) => map.serialize_entry("NULL", value)?,
            AttributeValue::Ss(texts) => map.serialize_entry("SS", texts)?,
            AttributeValue::Ns(numbers) => map.serialize_entry("NS", numbers)?,
            AttributeValue::Bs(blobs) => map.serialize_entry("BS", &blobs.iter().map(encode).collect::<Vec<_>>())?,
            AttributeValue::L(values) => {
                map.serialize_entry("L", &values.iter().map(Attribute).collect::<Vec<_>>())?;
            }
            AttributeValue::M(values) => map.serialize_entry("M", &Item(values))?,
            _ => {
                return Err(S::Error::custom("an attribute of a type this program does not know: it can't be written"));
            }
        }
        map.end()
    }
}

fn encode(blob: &Blob) -> String {
    STANDARD.encode(blob)
}

/// Seconds since 1970 as a JSON number: whole ones without a fraction, others with as many digits as they have.
fn epoch_seconds(time: &DateTime) -> Result<Box<RawValue>, String> {
    let mut text = time.secs().to_string();
    if time.subsec_nanos() > 0 {
        text.push_str(format!(".{:09}", time.subsec_nanos()).trim_end_matches('0'));
    }
    RawValue::from_string(text).map_err(|error| error.to_string())
}

/// The record as the function sees it.
pub(super) fn to_event_record(record: &Record, stream_arn: &str) -> Result<SourceRecord, String> {
    let absent = StreamRecord::builder().build();
    let change = record.dynamodb().unwrap_or(&absent);
    let sequence = change.sequence_number().ok_or("a record without a sequence number")?;
    let created = change.approximate_creation_date_time();
    let written = EventRecord {
        event_id: record.event_id(),
        event_name: record.event_name().map(|name| name.as_str()),
        event_version: record.event_version(),
        event_source: record.event_source(),
        aws_region: record.aws_region(),
        dynamodb: Change {
            approximate_creation_date_time: created.map(epoch_seconds).transpose()?,
            keys: change.keys().map(Item),
            new_image: change.new_image().map(Item),
            old_image: change.old_image().map(Item),
            sequence_number: Some(sequence),
            size_bytes: change.size_bytes(),
            stream_view_type: change.stream_view_type().map(|kind| kind.as_str()),
        },
        user_identity: record
            .user_identity()
            .map(|identity| UserIdentity { principal_id: identity.principal_id(), kind: identity.r#type() }),
        event_source_arn: stream_arn,
    };
    let describe = |error: serde_json::Error| format!("record {sequence}: {error}");
    let key = change.keys().map(|keys| serde_json::to_vec(&Item(keys))).transpose().map_err(describe)?;
    let arrival = created.map(|time| Duration::new(u64::try_from(time.secs()).unwrap_or(0), time.subsec_nanos()));
    Ok(SourceRecord {
        raw: to_raw_value(&written).map_err(describe)?,
        sequence: SequenceNumber::new(sequence),
        ordering_key: key.unwrap_or_default().into(),
        arrival: arrival.map_or_else(Moment::now, Moment::from_epoch),
    })
}

/// Whether a record is surely older than a moment. Creation times are rounded down: to the second by DynamoDB, to the
/// minute by DynamoDB Local.
pub(super) fn is_before(created: Moment, moment: Moment) -> bool {
    created.since_epoch().as_secs() / 60 < moment.since_epoch().as_secs() / 60
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::types::{Identity, OperationType, StreamViewType};

    use super::*;

    fn item(attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> HashMap<String, AttributeValue> {
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn number(text: &str) -> AttributeValue {
        AttributeValue::N(text.into())
    }

    #[test]
    fn records_are_written_as_lambda_writes_them() {
        let blob = |bytes: &[u8]| Blob::new(bytes);
        let image = item([
            ("n", number("-12345678901234567890123456789012345678E-10")),
            ("s", AttributeValue::S("é\"\\\n\u{1}".into())),
            ("empty", AttributeValue::S(String::new())),
            ("b", AttributeValue::B(blob(&[0xfb, 0xff, 0]))),
            ("t", AttributeValue::Bool(true)),
            ("z", AttributeValue::Null(true)),
            ("ss", AttributeValue::Ss(vec!["b".into(), "a".into()])),
            ("ns", AttributeValue::Ns(vec!["1.0".into(), "100000000000000000000000000000000000001".into()])),
            ("bs", AttributeValue::Bs(vec![blob(b"x"), blob(b"")])),
            ("l", AttributeValue::L(vec![number("1"), AttributeValue::L(vec![])])),
            ("m", AttributeValue::M(item([("y", number("2")), ("x", number("1"))]))),
        ]);
        let change = StreamRecord::builder()
            .approximate_creation_date_time(DateTime::from_secs(1_479_499_740))
            .set_keys(Some(item([("id", number("101")), ("a", AttributeValue::S("k".into()))])))
            .set_new_image(Some(image))
            .set_old_image(Some(HashMap::new()))
            .sequence_number("300000000000000499659")
            .size_bytes(41)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build();
        let record = Record::builder()
            .event_id("7de3041dd709b024af6f29e4fa13d34c")
            .event_name(OperationType::Modify)
            .event_version("1.1")
            .event_source("aws:dynamodb")
            .aws_region("eu-west-1")
            .dynamodb(change)
            .build();
        let written = to_event_record(&record, "arn:stream").unwrap();
        assert_eq!(
            written.raw.get(),
            concat!(
                r#"{"eventID":"7de3041dd709b024af6f29e4fa13d34c","eventName":"MODIFY","eventVersion":"1.1","#,
                r#""eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{"#,
                r#""ApproximateCreationDateTime":1479499740,"Keys":{"a":{"S":"k"},"id":{"N":"101"}},"#,
                r#""NewImage":{"b":{"B":"+/8A"},"bs":{"BS":["eA==",""]},"empty":{"S":""},"#,
                r#""l":{"L":[{"N":"1"},{"L":[]}]},"m":{"M":{"x":{"N":"1"},"y":{"N":"2"}}},"#,
                r#""n":{"N":"-12345678901234567890123456789012345678E-10"},"#,
                r#""ns":{"NS":["1.0","100000000000000000000000000000000000001"]},"#,
                r#""s":{"S":"é\"\\\n\u0001"},"ss":{"SS":["b","a"]},"t":{"BOOL":true},"z":{"NULL":true}},"#,
                r#""OldImage":{},"SequenceNumber":"300000000000000499659","SizeBytes":41,"#,
                r#""StreamViewType":"NEW_AND_OLD_IMAGES"},"eventSourceARN":"arn:stream"}"#,
            )
        );
        assert_eq!(written.sequence.as_str(), "300000000000000499659");
        assert_eq!(&*written.ordering_key, br#"{"a":{"S":"k"},"id":{"N":"101"}}"#);
        assert_eq!(written.arrival.iso(), "2016-11-18T20:09:00Z");
    }

    #[test]
    fn expiry_by_ttl_keeps_its_user_identity() {
        let identity = Identity::builder().principal_id("dynamodb.amazonaws.com").r#type("Service").build();
        let change = StreamRecord::builder()
            .approximate_creation_date_time(DateTime::from_secs_and_nanos(1_479_499_740, 120_000_000))
            .sequence_number("1")
            .build();
        let record =
            Record::builder().event_name(OperationType::Remove).user_identity(identity).dynamodb(change).build();
        assert_eq!(
            to_event_record(&record, "arn:stream").unwrap().raw.get(),
            concat!(
                r#"{"eventName":"REMOVE","dynamodb":{"ApproximateCreationDateTime":1479499740.12,"SequenceNumber":"1"},"#,
                r#""userIdentity":{"principalId":"dynamodb.amazonaws.com","type":"Service"},"eventSourceARN":"arn:stream"}"#,
            )
        );
    }

    #[test]
    fn what_cannot_be_written_is_an_error_with_its_number() {
        assert!(to_event_record(&Record::builder().build(), "arn").is_err());
    }
}
