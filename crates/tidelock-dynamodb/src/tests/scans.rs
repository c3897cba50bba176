//! Tables scanned from the first item to the last.

use super::server::{Reply, Server};
use super::table::{Table, service};
use super::{LONG, SHORT, batch, id, refusal, source};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Instant;
use tidelock_core::backfill::{Page, Scan as _, Scanned, Segment};
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::key::Key;
use tidelock_core::slow::{Item, Source as _};
use tidelock_core::version::dynamodb::oldest;

const WHOLE: Segment = Segment { number: 0, of: 1 };

fn scanned(key: &[&str]) -> Scanned {
    Scanned { version: oldest("dynamodb:r:a:t").mark(), items: None, facts: json!({"key": key}).to_string() }
}

/// A page of table `t`, whose key is `id`.
async fn page(url: &str, from: Option<&str>) -> Result<Page, Failure> {
    source(url).page("t", &scanned(&["id"]), WHOLE, from, Format::Json, Instant::now() + LONG).await
}

fn items(items: &[Value], next: Option<Value>) -> Reply {
    let mut answer = json!({"Items": items, "Count": items.len(), "ScannedCount": items.len()});
    answer["ConsumedCapacity"] = json!({"TableName": "t", "CapacityUnits": 12.5});
    if let Some(next) = next {
        answer["LastEvaluatedKey"] = next;
    }
    Reply::Text(200, answer.to_string())
}

/// The documents of a page, closed.
fn documents(page: Page) -> Vec<Result<String, Cause>> {
    let text = |document: Vec<u8>| String::from_utf8(document).expect("text") + "}";
    let found = page.items.into_iter().map(|item| item.and_then(|item| item.item.document));
    found.map(|document| document.map(text).map_err(|failure| failure.cause)).collect()
}

/// All items of a segment by key, every page of it read by a client that knows the position alone; and the count of pages.
async fn segment(url: &str, table: &str, scanned: &Scanned, segment: Segment) -> (Vec<(Vec<u8>, Item)>, usize) {
    let (mut found, mut from, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let deadline = Instant::now() + LONG;
        let page = source(url).page(table, scanned, segment, from.as_deref(), Format::Json, deadline).await;
        let page = page.expect("a page");
        assert!(page.units > 0.0);
        found.extend(page.items.into_iter().map(|item| item.map(|item| (item.key, item.item)).expect("an item")));
        (from, pages) = (page.next, pages + 1);
        if from.is_none() {
            return (found, pages);
        }
    }
}

#[tokio::test]
async fn segments_find_each_item_once_and_as_it_is_read() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("pk", "S"), ("sk", "N")]).await;
    let long = "x".repeat(2_000);
    let key = |number: usize| json!({"pk": {"S": format!("k\"{}", number % 97)}, "sk": {"N": number.to_string()}});
    let item = |number| {
        let mut item = key(number);
        item["long"] = json!({"S": long});
        item["b"] = json!({"BS": ["AA==", "+/8="]});
        item
    };
    table.put_all(&(0..3_000).map(item).collect::<Vec<_>>()).await;

    let survey = source(&url).survey(&table.name, 4, Instant::now() + LONG).await.expect("a survey");
    assert_eq!((&*survey.facts, survey.items.is_some()), (r#"{"key":["pk","sk"]}"#, true));
    let space = format!("dynamodb:ddblocal:000000000000:{}", table.name);
    assert_eq!(survey.version, oldest(&space).mark());

    let segments = (0..4).map(|number| segment(&url, &table.name, &survey, Segment { number, of: 4 }));
    let found = futures_util::future::join_all(segments).await;
    assert!(found.iter().all(|(items, pages)| items.len() > 100 && *pages > 1), "{:?}", found.iter().map(|f| f.1));
    let count: usize = found.iter().map(|(items, _)| items.len()).sum();
    let mut found: HashMap<Vec<u8>, Item> = found.into_iter().flat_map(|(items, _)| items).collect();
    assert_eq!((count, found.len()), (3_000, 3_000));

    let batch = batch(&(0..3_000).map(key).collect::<Vec<_>>());
    let keys: Vec<Key<'_>> = batch.slots.iter().map(|slot| batch.key(slot).expect("a key")).collect();
    let read = source(&url).read(&table.name, &keys, Format::Json, Instant::now() + LONG).await;
    for (key, read) in keys.iter().zip(read) {
        let (scanned, read) = (found.remove(key.as_bytes()).expect("found"), read.expect("read").expect("an item"));
        assert_eq!(scanned.document, read.document);
        assert_eq!(scanned.image().field(&["long".to_owned()]), read.image().field(&["long".to_owned()]));
    }
}

#[tokio::test]
async fn documents_are_in_the_targets_format() {
    let Some(url) = service() else { return };
    let table = Table::create(&url, &[("id", "N")]).await;
    table.put(&id(1)).await;
    let page =
        source(&url).page(&table.name, &scanned(&["id"]), WHOLE, None, Format::Bson, Instant::now() + LONG).await;
    let item = page.expect("a page").items.remove(0).expect("an item");
    assert_eq!(item.item.document.as_deref(), Ok(&b"\x10id\0\x01\0\0\0"[..]));
}

#[tokio::test]
async fn a_table_that_is_not_there() {
    let Some(url) = service() else { return };
    let failure = source(&url).survey("not-there", 1, Instant::now() + LONG).await.expect_err("no table");
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.starts_with("table `not-there` at 127.0.0.1:"), "{failure}");
    assert!(failure.detail.contains(": ResourceNotFoundException: "), "{failure}");
    assert!(failure.detail.ends_with("; check the table's name, region and account"), "{failure}");
}

/// What a survey says of a description.
async fn survey(table: Value) -> Result<Scanned, String> {
    let server = Server::start(move |_, _| Reply::Text(200, json!({"Table": table}).to_string())).await;
    let survey = source(&server.url).survey("t", 8, Instant::now() + LONG).await;
    let [asked] = &server.asked()[..] else { panic!("one request") };
    assert_eq!(asked.body, json!({"TableName": "t"}));
    assert!(asked.head.contains("x-amz-target: dynamodb_20120810.describetable"), "{}", asked.head);
    survey.map_err(|failure| failure.detail)
}

#[tokio::test]
async fn only_a_table_that_can_be_read_is_scanned() {
    let table = |status: &str| {
        json!({
            "TableStatus": status,
            "TableArn": "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/t",
            "ItemCount": 7,
            "KeySchema": [{"KeyType": "HASH", "AttributeName": "a\"b"}],
            "GlobalSecondaryIndexes": [{"KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}]}],
        })
    };
    for status in ["ACTIVE", "UPDATING"] {
        let version = oldest("dynamodb:cn-north-1:123456789012:t").mark();
        let facts = r#"{"key":["a\"b"]}"#.to_owned();
        assert_eq!(survey(table(status)).await, Ok(Scanned { version, items: Some(7), facts }));
    }
    for (status, advice) in [
        ("CREATING", "wait until it is ACTIVE"),
        ("DELETING", "its items cannot be read any more"),
        ("ARCHIVING", "restore it from its archival backup"),
        ("ARCHIVED", "restore it from its archival backup"),
        ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", "give DynamoDB access to its KMS key again"),
        ("", "only an ACTIVE table can be scanned"),
    ] {
        let why = survey(table(status)).await.expect_err(status);
        assert!(why.contains(&format!(": the table is {status}: ")) && why.ends_with(advice), "{why}");
    }
    for arn in ["", "arn:aws:s3:r:a:table/t", "arn:aws:dynamodb:r:a:table/", "arn:aws:dynamodb:r:a:table/t/index/i"] {
        let mut table = table("ACTIVE");
        table["TableArn"] = json!(arn);
        assert!(survey(table).await.is_err_and(|why| why.ends_with("is no table's ARN")), "{arn}");
    }
    let mut table = table("ACTIVE");
    table["KeySchema"] = json!([]);
    assert!(survey(table).await.is_err_and(|why| why.contains("no key attributes")));
}

#[tokio::test]
async fn the_request_is_the_services_own() {
    let next = json!({"id": {"N": "1"}, "s": {"S": "\"}"}});
    let last = next.clone();
    let server = Server::start(move |_, _| items(&[id(1)], Some(last.clone()))).await;
    let segment = Segment { number: 3, of: 5 };
    let (scanned, deadline) = (scanned(&["id"]), Instant::now() + LONG);
    let source = source(&server.url);
    let first = source.page("t", &scanned, segment, None, Format::Json, deadline).await.expect("a page");
    assert_eq!(first.units, 12.5);
    let position = first.next.expect("a position");
    source.page("t", &scanned, segment, Some(&position), Format::Json, deadline).await.expect("a page");
    let [one, two] = &server.asked()[..] else { panic!("two requests") };
    let mut expected = json!({
        "TableName": "t",
        "ConsistentRead": true,
        "ReturnConsumedCapacity": "TOTAL",
        "Segment": 3,
        "TotalSegments": 5,
    });
    assert_eq!(one.body, expected);
    expected["ExclusiveStartKey"] = next;
    assert_eq!(two.body, expected);
    assert!(one.head.contains("x-amz-target: dynamodb_20120810.scan"), "{}", one.head);
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let whole = json!({"Items": [id(1)], "Count": 1}).to_string();
    let server = Server::start(move |number, _| match number {
        0 => refusal(400, "ProvisionedThroughputExceededException"),
        1 => refusal(400, "ThrottlingException"),
        2 => Reply::Cut,
        3 => Reply::Silence,
        4 => Reply::Text(200, whole[..whole.len() - 3].to_owned()),
        5 => Reply::Text(200, json!({"Items": [id(1)], "Count": 2}).to_string()),
        _ => items(&[id(1), id(2)], Some(Value::Null)),
    })
    .await;
    let source = source(&server.url).with_attempt(SHORT);
    let page = source.page("t", &scanned(&["id"]), WHOLE, None, Format::Json, Instant::now() + LONG).await;
    let page = page.expect("a page");
    assert_eq!(page.next, None);
    assert_eq!(documents(page), [Ok(r#"{"id":1}"#.to_owned()), Ok(r#"{"id":2}"#.to_owned())]);
    assert_eq!(server.asked().len(), 7);
}

#[tokio::test]
async fn a_table_that_stays_busy_is_unreadable_in_time() {
    let server = Server::start(|_, _| refusal(400, "ProvisionedThroughputExceededException")).await;
    let began = Instant::now();
    let page = source(&server.url).page("t", &scanned(&["id"]), WHOLE, None, Format::Json, began + SHORT).await;
    let failure = page.expect_err("busy");
    assert_eq!(failure.cause, Cause::SourceUnreadable);
    assert!(failure.detail.ends_with(": ProvisionedThroughputExceededException: its words"), "{failure}");
    assert!(began.elapsed() < LONG / 2 && server.asked().len() > 1);
}

#[tokio::test]
async fn an_item_that_cannot_be_decoded_fails_alone() {
    let odd = [id(1), json!({"a": {"S": "x"}}), json!({"id": {"N": "3"}, "x": {"Y": "1"}}), json!(7), id(5)];
    let server = Server::start(move |_, _| items(&odd, Some(id(5)))).await;
    let page = page(&server.url, None).await.expect("a page");
    assert_eq!(page.next.as_deref(), Some(r#"{"id":{"N":"5"}}"#));
    let third = page.items[2].as_ref().expect("its key can be read");
    assert_eq!(third.item.bytes, br#"{"id":{"N":"3"},"x":{"Y":"1"}}"#);
    let document = |number| Ok(format!(r#"{{"id":{number}}}"#));
    assert_eq!(
        documents(page),
        [document(1), Err(Cause::MissingKey), Err(Cause::UnknownType), Err(Cause::MalformedRecord), document(5)]
    );
}

#[tokio::test]
async fn an_answer_without_items_is_no_end() {
    for text in ["{}", r#"{"Count":0}"#] {
        let server = Server::start(move |_, _| Reply::Text(200, text.to_owned())).await;
        let failure = page(&server.url, None).await.expect_err("no items");
        assert!(failure.detail.ends_with("the answer cannot be used: it lacks the items"), "{failure}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn positions_and_facts_are_checked_before_they_are_sent() {
    let server = Server::start(|_, _| items(&[], None)).await;
    for position in ["", "7", r#"{"id":{"N":"1"}},"Limit":1"#, r#"{"id":"#] {
        let failure = page(&server.url, Some(position)).await.expect_err(position);
        assert!(failure.detail.ends_with("is no key; begin the segment anew"), "{failure}");
    }
    let mut damaged = scanned(&["id"]);
    damaged.facts.pop();
    let page = source(&server.url).page("t", &damaged, WHOLE, None, Format::Json, Instant::now() + LONG).await;
    assert!(page.is_err_and(|failure| failure.detail.contains("the facts of its survey cannot be read")));
    assert!(server.asked().is_empty());
}
