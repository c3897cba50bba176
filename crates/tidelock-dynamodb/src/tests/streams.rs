//! Records of a stream between two sequence numbers.

use super::server::{Asked, Reply, Server};
use super::table::{Table, service};
use super::{LONG, Role, SHORT, config, id, refusal};
use crate::{DynamoDbConfig, DynamoDbStreams, Fetched};
use serde_json::{Value, json};
use std::time::Instant;
use tidelock_core::batch::{Batch, Before, Content};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::source::dynamodb::decode;

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2020-04-29T13:00:00.000";

fn streams(url: &str) -> DynamoDbStreams<Role> {
    DynamoDbStreams::new(config(url), Role(true)).expect("a client")
}

/// A table's stream and its only shard.
struct Shard {
    arn: String,
    id: String,
    /// Sequence numbers of all records.
    numbers: Vec<String>,
}

impl Shard {
    async fn of(table: &Table) -> Self {
        let described = table.call("DynamoDB_20120810.DescribeTable", &json!({"TableName": table.name})).await;
        let arn = described["Table"]["LatestStreamArn"].clone();
        let stream = table.call("DynamoDBStreams_20120810.DescribeStream", &json!({"StreamArn": arn})).await;
        let id = stream["StreamDescription"]["Shards"][0]["ShardId"].clone();
        let start = json!({"StreamArn": arn, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = table.call("DynamoDBStreams_20120810.GetShardIterator", &start).await;
        let records = table.call("DynamoDBStreams_20120810.GetRecords", &iterator).await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let number = |record: &Value| text(&record["dynamodb"]["SequenceNumber"]);
        let numbers = records["Records"].as_array().expect("records").iter().map(number).collect();
        Self { arn: text(&arn), id: text(&id), numbers }
    }
}

const DIGITS: &str = "12345678901234567890123456789012345678";

/// What becomes of a record.
#[derive(Debug, PartialEq)]
struct Change {
    number: String,
    key: Vec<u8>,
    document: Option<Value>,
    before: Option<Value>,
}

fn changes(event: &str) -> Vec<Change> {
    let batch: Batch = decode(event.as_bytes(), Format::Json).expect("an event");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let change = |slot: &tidelock_core::batch::Slot| {
        let document = match &slot.content {
            Content::Upsert(range) => {
                let document = text(&batch.documents[range.clone()]) + "}";
                // The comparison below sees no more than a double does.
                assert!(document.contains(&format!("\"n\":{DIGITS}")), "{document}");
                Some(serde_json::from_str(&document).expect("a document"))
            }
            Content::Delete => None,
            Content::Failed(failure) => panic!("{failure}"),
            Content::Deferred => panic!("no document was made"),
        };
        let before = match &slot.before {
            Before::Image(range) => Some(serde_json::from_str(&event[range.clone()]).expect("an image")),
            _ => None,
        };
        let number = event[slot.position.clone().expect("a position")].to_owned();
        assert!(slot.at > 1_500_000_000_000, "{}", slot.at);
        Change { number, key: batch.key(slot).expect("a key").as_bytes().to_vec(), document, before }
    };
    batch.slots.iter().map(change).collect()
}

#[tokio::test]
async fn records_decode_as_lambdas_would() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    let item = |number, value: &str| {
        let mut item = id(number);
        item["v"] = json!({"S": value});
        item["b"] = json!({"B": "+/8="});
        item["n"] = json!({"N": DIGITS});
        item
    };
    table.put(&item(1, "outside")).await;
    table.put(&item(1, "a\"\u{1F600}")).await;
    table.put(&item(2, "")).await;
    table.delete(&id(1)).await;
    table.put(&item(3, "outside")).await;

    let shard = Shard::of(&table).await;
    let (from, to) = (&shard.numbers[1], &shard.numbers[3]);
    let deadline = Instant::now() + LONG;
    let fetched = streams(&url).records(&shard.arn, &shard.id, from, to, deadline).await.expect("records");
    assert_eq!((fetched.records.len(), &fetched.next, &fetched.forgotten), (3, &None, &None));

    let record = |name: &str, number: &str, key: Value, images: [Option<Value>; 2]| {
        let mut change = json!({"ApproximateCreationDateTime": 1_600_000_000, "Keys": key, "SequenceNumber": number});
        for (member, image) in ["NewImage", "OldImage"].into_iter().zip(images) {
            image.into_iter().for_each(|image| change[member] = image);
        }
        json!({"eventName": name, "eventSource": "aws:dynamodb", "eventSourceARN": shard.arn, "dynamodb": change})
    };
    let second = item(1, "a\"\u{1F600}");
    let written = [
        record("MODIFY", from, id(1), [Some(second.clone()), Some(item(1, "outside"))]),
        record("INSERT", &shard.numbers[2], id(2), [Some(item(2, "")), None]),
        record("REMOVE", to, id(1), [None, Some(second)]),
    ];
    let event = fetched.event();
    assert_eq!(changes(&event), changes(&json!({"Records": written}).to_string()));
    let batch = decode(event.as_bytes(), Format::Json).expect("an event");
    let origin = batch.origin(&batch.slots[0]).expect("an origin");
    assert_eq!((&origin.arn, &origin.name), (&shard.arn, &table.name));
}

#[tokio::test]
async fn what_has_no_room_is_fetched_from_where_it_begins() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    for number in 0..7 {
        table.put(&id(number)).await;
    }
    let shard = Shard::of(&table).await;
    let last = shard.numbers.last().expect("records");
    let whole = async |from: String, limit| {
        let (streams, deadline) = (streams(&url).with_limit(limit), Instant::now() + LONG);
        streams.records(&shard.arn, &shard.id, &from, last, deadline).await.expect("records")
    };
    let all = whole(shard.numbers[0].clone(), 1 << 20).await;
    assert_eq!((all.records.len(), &all.next, &all.forgotten), (7, &None, &None));
    let two = all.records[0].len() * 2 + 20;
    for (limit, calls) in [(two, 4), (1, 7)] {
        let (mut records, mut from) = (Vec::new(), Some(shard.numbers[0].clone()));
        let mut count = 0;
        while let Some(number) = from {
            let fetched = whole(number, limit).await;
            assert_eq!(fetched.forgotten, None);
            records.extend(fetched.records);
            (from, count) = (fetched.next, count + 1);
        }
        assert_eq!((records, count), (all.records.clone(), calls));
    }
}

#[tokio::test]
async fn a_shards_end_is_an_end() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    table.put(&id(1)).await;
    table.put(&id(2)).await;
    let shard = Shard::of(&table).await;
    table.drop().await;
    let beyond = "9".repeat(21);
    let deadline = Instant::now() + LONG;
    let fetched = streams(&url).records(&shard.arn, &shard.id, &shard.numbers[1], &beyond, deadline).await;
    let fetched = fetched.expect("records");
    assert_eq!((fetched.records.len(), fetched.next, fetched.forgotten), (1, None, None));
}

#[tokio::test]
async fn a_record_that_has_not_come_is_waited_for() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    table.put(&id(1)).await;
    table.put(&id(2)).await;
    let shard = Shard::of(&table).await;
    let beyond = "9".repeat(21);
    // Time enough for a server under load to say once that it is not there.
    let time = SHORT * 4;
    let ask =
        async |from: &str| streams(&url).records(&shard.arn, &shard.id, from, &beyond, Instant::now() + time).await;
    // All but the last one, from which to go on.
    let fetched = ask(&shard.numbers[0]).await.expect("the first");
    assert_eq!((fetched.records.len(), &fetched.next, fetched.forgotten), (1, &Some(shard.numbers[1].clone()), None));
    let failure = ask(&shard.numbers[1]).await.expect_err("nothing to go on from");
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.ends_with(&format!("the record {beyond} has not come yet")), "{failure}");
}

#[tokio::test]
async fn a_stream_that_is_gone_has_forgotten_all() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    table.put(&id(1)).await;
    let shard = Shard::of(&table).await;
    let number = &shard.numbers[0];
    let other_shard = "shardId-00000000000000000000-00000000";
    let other_arn = shard.arn.replace(&table.name, "not-there");
    for (arn, id) in [(&*shard.arn, other_shard), (&other_arn, &shard.id)] {
        let fetched = streams(&url).records(arn, id, number, number, Instant::now() + LONG).await.expect("an answer");
        assert_eq!((&fetched.records[..], fetched.next), (&[][..], None));
        let why = fetched.forgotten.expect("forgotten");
        assert!(why.starts_with("ResourceNotFoundException: "), "{why}");
    }
}

/// A record as the service gives it.
fn record(number: u32) -> Value {
    let dynamodb = json!({"Keys": id(1), "NewImage": id(1), "SequenceNumber": format!("{number:021}")});
    json!({"eventName": "MODIFY", "dynamodb": dynamodb})
}

fn page(numbers: &[u32], next: Option<&str>) -> Reply {
    let records: Vec<Value> = numbers.iter().map(|number| record(*number)).collect();
    let mut page = json!({"Records": records});
    if let Some(next) = next {
        page["NextShardIterator"] = json!(next);
    }
    Reply::Text(200, page.to_string())
}

fn iterator(name: &str) -> Reply {
    Reply::Text(200, json!({"ShardIterator": name}).to_string())
}

/// Fetches records 5 to 9.
async fn fetch(url: &str, time: std::time::Duration) -> Result<Fetched, Failure> {
    let (from, to) = (format!("{:021}", 5), format!("{:021}", 9));
    streams(url).records(ARN, "shard", &from, &to, Instant::now() + time).await
}

/// The numbers of what was fetched.
fn numbers(fetched: &Fetched) -> Vec<u32> {
    let number = |record: &String| {
        let record: Value = serde_json::from_str(record).expect("JSON");
        assert_eq!(record["eventSourceARN"], ARN);
        record["dynamodb"]["SequenceNumber"].as_str().expect("a number").parse().expect("digits")
    };
    fetched.records.iter().map(number).collect()
}

/// What was asked: an iterator's kind and number, or which one was used.
fn steps(asked: &[Asked]) -> Vec<String> {
    let step = |asked: &Asked| {
        let text = |name: &str| asked.body[name].as_str().unwrap_or_default().trim_start_matches('0').to_owned();
        match asked.body.get("ShardIterator") {
            Some(_) => text("ShardIterator"),
            None => format!("{} {}", text("ShardIteratorType"), text("SequenceNumber")).trim_end().to_owned(),
        }
    };
    asked.iter().map(step).collect()
}

#[tokio::test]
async fn the_requests_are_the_services_own() {
    let server = Server::start(|number, _| match number {
        0 => iterator("i\"1"),
        1 => page(&[5, 6], Some("i2")),
        2 => page(&[], Some("i3")),
        _ => page(&[7, 8, 10], Some("i4")),
    })
    .await;
    let fetched = fetch(&server.url, LONG).await.expect("records");
    assert_eq!((numbers(&fetched), fetched.next, fetched.forgotten), (vec![5, 6, 7, 8], None, None));
    let asked = server.asked();
    let start = json!({
        "StreamArn": ARN,
        "ShardId": "shard",
        "ShardIteratorType": "AT_SEQUENCE_NUMBER",
        "SequenceNumber": format!("{:021}", 5),
    });
    assert_eq!((&asked[0].body, &asked[1].body), (&start, &json!({"ShardIterator": "i\"1"})));
    assert!(asked[0].head.contains("x-amz-target: dynamodbstreams_20120810.getsharditerator"), "{}", asked[0].head);
    assert!(asked[1].head.contains("x-amz-target: dynamodbstreams_20120810.getrecords"), "{}", asked[1].head);
    assert!(asked[1].head.contains("/us-east-1/dynamodb/aws4_request, "), "{}", asked[1].head);
    assert_eq!(steps(&asked), ["AT_SEQUENCE_NUMBER 5", "i\"1", "i2", "i3"]);
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let server = Server::start(|number, _| match number {
        0 => refusal(400, "LimitExceededException"),
        1 => Reply::Text(200, r#"{"ShardIterator":"#.to_owned()),
        2 => iterator("i1"),
        3 => refusal(500, "InternalServerError"),
        4 => Reply::Cut,
        5 => Reply::Text(200, r#"{"Records":[{"dynamodb":{"#.to_owned()),
        _ => page(&[5, 9], None),
    })
    .await;
    let fetched = fetch(&server.url, LONG).await.expect("records");
    assert_eq!((numbers(&fetched), fetched.forgotten), (vec![5, 9], None));
    assert_eq!(server.asked().len(), 7);
}

#[tokio::test]
async fn an_expired_iterator_is_asked_anew() {
    let server = Server::start(|number, _| match number {
        0 => iterator("i1"),
        1 => refusal(400, "ExpiredIteratorException"),
        2 => iterator("i2"),
        3 => page(&[5, 6], Some("i3")),
        4 => refusal(400, "ExpiredIteratorException"),
        5 => iterator("i4"),
        // One comes again.
        _ => page(&[6, 7, 8, 9], Some("i5")),
    })
    .await;
    let fetched = fetch(&server.url, LONG).await.expect("records");
    assert_eq!((numbers(&fetched), fetched.next, fetched.forgotten), (vec![5, 6, 7, 8, 9], None, None));
    let expected = ["AT_SEQUENCE_NUMBER 5", "i1", "AT_SEQUENCE_NUMBER 5", "i2", "i3", "AFTER_SEQUENCE_NUMBER 6", "i4"];
    assert_eq!(steps(&server.asked()), expected);
}

#[tokio::test]
async fn empty_pages_between_records_are_passed_quickly() {
    let server = Server::start(|number, _| match number {
        0 => iterator("i"),
        1 => page(&[5], Some("i")),
        // One that is outside the range, then none.
        2..50 if number % 2 == 0 => page(&[5], Some("i")),
        2..50 => page(&[], Some("i")),
        _ => page(&[9], Some("i")),
    })
    .await;
    let began = Instant::now();
    assert_eq!(numbers(&fetch(&server.url, LONG).await.expect("records")), [5, 9]);
    // Two dozen pauses of the shortest kind; of growing ones it would be half a minute.
    assert!(began.elapsed() < LONG / 8, "{:?}", began.elapsed());
}

const FORGOTTEN: Option<&str> = Some("TrimmedDataAccessException: its words");

#[tokio::test]
async fn what_is_left_of_a_trimmed_range_is_fetched() {
    for at in [0, 1] {
        let server = Server::start(move |number, _| match (at, number) {
            (0, 0) | (1, 1) => refusal(400, "TrimmedDataAccessException"),
            (1, 0) => iterator("i1"),
            _ if number == at + 1 => iterator("i2"),
            _ => page(&[7, 8, 9, 10], Some("i3")),
        })
        .await;
        let fetched = fetch(&server.url, LONG).await.expect("records");
        assert_eq!((numbers(&fetched), &fetched.next), (vec![7, 8, 9], &None));
        assert_eq!(fetched.forgotten.as_deref(), FORGOTTEN);
        assert!(steps(&server.asked()).ends_with(&["TRIM_HORIZON".to_owned(), "i2".to_owned()]));
    }
}

#[tokio::test]
async fn a_range_that_is_trimmed_while_it_is_read() {
    let server = Server::start(move |number, _| match number {
        0 => iterator("i1"),
        1 => page(&[5, 6], Some("i2")),
        2 => refusal(400, "TrimmedDataAccessException"),
        3 => iterator("i3"),
        4 => page(&[6, 8], Some("i4")),
        5 => refusal(400, "ExpiredIteratorException"),
        6 => iterator("i5"),
        _ => page(&[9], Some("i6")),
    })
    .await;
    let fetched = fetch(&server.url, LONG).await.expect("records");
    assert_eq!((numbers(&fetched), &fetched.next), (vec![5, 6, 8, 9], &None));
    assert_eq!(fetched.forgotten.as_deref(), FORGOTTEN);
    let expected = ["AT_SEQUENCE_NUMBER 5", "i1", "i2", "TRIM_HORIZON", "i3", "i4", "AFTER_SEQUENCE_NUMBER 8", "i5"];
    assert_eq!(steps(&server.asked()), expected);
}

#[tokio::test]
async fn a_range_that_is_forgotten_whole() {
    // The oldest record lies behind the range, or there is none at all.
    for records in [&[12, 13][..], &[]] {
        let server = Server::start(move |number, _| match number {
            0 => refusal(400, "TrimmedDataAccessException"),
            1 => iterator("i1"),
            _ => page(records, None),
        })
        .await;
        let fetched = fetch(&server.url, LONG).await.expect("an answer");
        assert_eq!((numbers(&fetched), &fetched.next), (vec![], &None));
        assert_eq!(fetched.forgotten.as_deref(), FORGOTTEN);
    }
}

#[tokio::test]
async fn a_first_record_that_is_not_there_is_told() {
    for (records, left, why) in [
        (&[6, 7, 9][..], &[6, 7, 9][..], "its oldest record in the range is 000000000000000000006, not "),
        (&[11], &[], "its oldest record in the range is 000000000000000000011, not "),
        (&[], &[], "the shard holds no record of the range, which begins with "),
    ] {
        let server =
            Server::start(move |number, _| if number == 0 { iterator("i1") } else { page(records, None) }).await;
        let fetched = fetch(&server.url, LONG).await.expect("an answer");
        assert_eq!((&numbers(&fetched)[..], &fetched.next), (left, &None));
        assert_eq!(fetched.forgotten, Some(format!("{why}{:021}", 5)));
    }
}

#[tokio::test]
async fn what_was_read_before_the_service_refused_is_given() {
    for (kind, time) in [("AccessDeniedException", LONG), ("ThrottlingException", SHORT)] {
        let server = Server::start(move |number, _| match number {
            0 => iterator("i1"),
            1 => page(&[5, 6, 7], Some("i2")),
            _ => refusal(400, kind),
        })
        .await;
        let fetched = fetch(&server.url, time).await.expect("records");
        assert_eq!((numbers(&fetched), fetched.forgotten), (vec![5, 6], None));
        assert_eq!(fetched.next, Some(format!("{:021}", 7)));
    }
    let server = Server::start(|_, _| refusal(400, "AccessDeniedException")).await;
    let failure = fetch(&server.url, LONG).await.expect_err("refused");
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.starts_with(&format!("shard `shard` of stream `{ARN}` at 127.0.0.1:")), "{failure}");
    assert!(failure.detail.ends_with(": AccessDeniedException: its words"), "{failure}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_record_without_a_number_is_left_to_the_decoder() {
    let server = Server::start(|number, _| {
        let records = json!({"Records": [{"eventName": "MODIFY", "dynamodb": {"Keys": id(1)}}, record(5), record(9)]});
        if number == 0 { iterator("i1") } else { Reply::Text(200, records.to_string()) }
    })
    .await;
    let fetched = fetch(&server.url, LONG).await.expect("records");
    assert_eq!((fetched.records.len(), &fetched.forgotten), (3, &None));
    let batch = decode(fetched.event().as_bytes(), Format::Json).expect("an event");
    let failed =
        |content: &Content| matches!(content, Content::Failed(failure) if failure.cause == Cause::InvalidPosition);
    assert_eq!(batch.slots.iter().map(|slot| failed(&slot.content)).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn what_the_api_writes_otherwise_is_read_alike() {
    let server = Server::start(|number, _| {
        let record = r#"{"userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"},"eventName":"REMOVE",
            "dynamodb":{"ApproximateCreationDateTime":1.46480646E9,"Keys":{"id":{"N":"1"}},"SequenceNumber":"5"}}"#;
        if number == 0 { iterator("i1") } else { Reply::Text(200, format!(r#"{{"Records":[{record}]}}"#)) }
    })
    .await;
    let event = fetch(&server.url, LONG).await.expect("records").event();
    let batch = decode(event.as_bytes(), Format::Json).expect("an event");
    let [slot] = &batch.slots[..] else { panic!("one record") };
    assert_eq!((slot.at, &slot.content), (1_464_806_460_000, &Content::Delete));
}

#[tokio::test]
async fn ranges_and_regions_that_cannot_be_are_refused() {
    let server = Server::start(|_, _| Reply::Cut).await;
    for (from, to, why) in [
        ("x", "9", "`x` is no sequence number"),
        ("5", "", "`` is no sequence number"),
        ("10", "9", "the range is empty: it begins with 10 and ends with 9"),
    ] {
        let refused = streams(&server.url).records(ARN, "shard", from, to, Instant::now() + LONG).await;
        let failure = refused.expect_err("no range");
        assert!(failure.cause == Cause::InvalidPosition && failure.detail.contains(why), "{failure}");
    }
    assert!(server.asked().is_empty());
    let config = DynamoDbConfig { region: "eu-west-1".to_owned(), endpoint: None, ca_pem: None };
    let streams = DynamoDbStreams::new(config, Role(true)).expect("a client");
    let failure = streams.records(ARN, "shard", "5", "9", Instant::now() + LONG).await.expect_err("another region");
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.contains(" at streams.dynamodb.eu-west-1.amazonaws.com: "), "{failure}");
    assert!(failure.detail.contains("region `us-east-1`, and is looked for in `eu-west-1`"), "{failure}");
}
