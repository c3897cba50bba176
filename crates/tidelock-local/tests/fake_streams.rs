//! DynamoDB Streams as a protocol: what DynamoDB Local can't be made to do, such as expired iterators, trimmed shards
//! and answers in pages.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tidelock_local::mapping::SequenceNumber;
use tidelock_local::source::dynamodb::{Connection, DynamoDbSource, connect};
use tidelock_local::source::{Page, ReadFrom, RecordSource as _, Shard};
use tokio::net::TcpListener;

type Calls = Arc<Mutex<Vec<String>>>;

/// A service that answers each call as told: the operation and its input give a status and an output. Every call is
/// noted.
async fn serve(
    answer: impl Fn(&str, &Value) -> Result<Value, &'static str> + Send + Sync + 'static,
) -> (aws_sdk_dynamodbstreams::Client, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let calls = Calls::default();
    let (noted, answer) = (calls.clone(), Arc::new(answer));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (noted, answer) = (noted.clone(), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (noted, answer) = (noted.clone(), answer.clone());
                async move {
                    let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
                    let operation = target.split_once('.').unwrap().1;
                    let input: Value =
                        serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
                    noted.lock().unwrap().push(format!("{operation} {input}"));
                    let (status, output) = match answer(operation, &input) {
                        Ok(output) => (200, output),
                        Err(code) => (400, json!({"__type": format!("com.amazonaws#{code}"), "message": "told so"})),
                    };
                    let body = Full::new(Bytes::from(output.to_string()));
                    let response =
                        Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
                    Ok::<_, Infallible>(response.body(body).unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let client = connect(&Connection { endpoint_url: Some(url), region: Some("eu-west-1".into()) }).await;
    (client, calls)
}

fn record(number: u64, created: f64) -> Value {
    json!({"eventID": "e", "eventName": "INSERT", "dynamodb": {
        "ApproximateCreationDateTime": created, "SequenceNumber": number.to_string(), "Keys": {"id": {"N": "1"}}}})
}

fn numbers(page: &Page) -> Vec<&str> {
    page.records.iter().map(|record| record.sequence.as_str()).collect()
}

fn after(number: &str) -> ReadFrom {
    ReadFrom::After(SequenceNumber::new(number))
}

#[tokio::test]
async fn streams_and_shards_come_in_pages_and_the_newest_stream_counts() {
    let (client, calls) = serve(|operation, input| {
        Ok(match (operation, input["ExclusiveStartStreamArn"].as_str(), input["ExclusiveStartShardId"].as_str()) {
            ("ListStreams", None, _) => json!({
                "Streams": [{"StreamArn": "arn:new", "StreamLabel": "2024-02-01T00:00:00.000"}],
                "LastEvaluatedStreamArn": "arn:new"}),
            ("ListStreams", Some("arn:new"), _) => {
                json!({"Streams": [{"StreamArn": "arn:old", "StreamLabel": "2023-02-01T00:00:00.000"}]})
            }
            ("DescribeStream", _, None) => json!({"StreamDescription": {"Shards": [
                {"ShardId": "s1", "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9"}}],
                "LastEvaluatedShardId": "s1"}}),
            ("DescribeStream", _, Some("s1")) => json!({"StreamDescription": {"Shards": [
                {"ShardId": "s2", "ParentShardId": "s1", "SequenceNumberRange": {"StartingSequenceNumber": "10"}}]}}),
            other => panic!("{other:?}"),
        })
    })
    .await;
    let mut source = DynamoDbSource::of_table(client, "orders").await.unwrap();
    assert_eq!(source.arn(), "arn:new");
    assert_eq!(
        source.shards().await.unwrap(),
        [
            Shard { id: "s1".into(), parent: None, closed: true },
            Shard { id: "s2".into(), parent: Some("s1".into()), closed: false },
        ]
    );
    assert!(calls.lock().unwrap()[0].contains(r#""TableName":"orders""#));
}

#[tokio::test]
async fn a_table_without_a_stream_is_named() {
    let (client, _) = serve(|_, _| Ok(json!({"Streams": []}))).await;
    let error = DynamoDbSource::of_table(client, "orders").await.unwrap_err();
    assert!(error.message.contains("table `orders` has no stream") && !error.retryable, "{error}");
}

#[tokio::test]
async fn reading_follows_the_iterators_to_the_end_of_the_shard() {
    let (client, calls) = serve(|operation, input| {
        Ok(match (operation, input["ShardIterator"].as_str()) {
            ("GetShardIterator", _) => json!({"ShardIterator": "i1"}),
            ("GetRecords", Some("i1")) => json!({"Records": [record(1, 1e9)], "NextShardIterator": "i2"}),
            ("GetRecords", Some("i2")) => json!({"Records": [record(2, 1e9), record(3, 1e9)]}),
            other => panic!("{other:?}"),
        })
    })
    .await;
    let mut source = DynamoDbSource::new(client, "arn:s");
    let first = source.read("s1", &ReadFrom::TrimHorizon, 5000).await.unwrap();
    assert_eq!((numbers(&first), first.end), (vec!["1"], false));
    let second = source.read("s1", &after("1"), 7).await.unwrap();
    assert_eq!((numbers(&second), second.end), (vec!["2", "3"], true));
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 3);
    assert!(calls[0].contains("TRIM_HORIZON"), "{}", calls[0]);
    assert!(calls[1].contains(r#""Limit":1000"#), "{}", calls[1]);
    assert!(calls[2].contains(r#""Limit":7"#), "{}", calls[2]);
}

#[tokio::test]
async fn an_expired_iterator_is_replaced_behind_the_last_record() {
    let (client, calls) = serve(|operation, input| match (operation, input["ShardIterator"].as_str()) {
        ("GetShardIterator", _) if input["SequenceNumber"] == "41" => Ok(json!({"ShardIterator": "fresh"})),
        ("GetShardIterator", _) => Ok(json!({"ShardIterator": "first"})),
        ("GetRecords", Some("first")) => Ok(json!({"Records": [record(41, 1e9)], "NextShardIterator": "stale"})),
        ("GetRecords", Some("stale")) => Err("ExpiredIteratorException"),
        ("GetRecords", Some("fresh")) => Ok(json!({"Records": [record(42, 1e9)], "NextShardIterator": "next"})),
        other => panic!("{other:?}"),
    })
    .await;
    let mut source = DynamoDbSource::new(client, "arn:s");
    source.read("s1", &ReadFrom::TrimHorizon, 10).await.unwrap();
    let page = source.read("s1", &after("41"), 10).await.unwrap();
    assert_eq!(numbers(&page), ["42"]);
    assert!(calls.lock().unwrap()[3].contains("AFTER_SEQUENCE_NUMBER"));
}

#[tokio::test]
async fn an_expired_iterator_at_the_newest_record_loses_nothing() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64().floor();
    let (client, calls) = serve(move |operation, input| match (operation, input["ShardIterator"].as_str()) {
        ("GetShardIterator", _) => Ok(json!({"ShardIterator": input["ShardIteratorType"]})),
        ("GetRecords", Some("LATEST")) => Err("ExpiredIteratorException"),
        ("GetRecords", Some("TRIM_HORIZON")) => {
            Ok(json!({"Records": [record(1, now - 60.0), record(2, now + 60.0)], "NextShardIterator": "next"}))
        }
        ("GetRecords", Some("next")) => {
            Ok(json!({"Records": [record(3, now - 60.0), record(4, now + 61.0)], "NextShardIterator": "next"}))
        }
        other => panic!("{other:?}"),
    })
    .await;
    let mut source = DynamoDbSource::new(client, "arn:s");
    let page = source.read("s1", &ReadFrom::Latest, 10).await.unwrap();
    assert_eq!(numbers(&page), ["2"], "what came before the mapping is passed over, what came since is not");
    assert_eq!(numbers(&source.read("s1", &after("2"), 10).await.unwrap()), ["4"]);
    assert_eq!(calls.lock().unwrap().iter().filter(|call| call.contains("GetShardIterator")).count(), 2);
}

#[tokio::test]
async fn trimmed_records_are_said_and_passed_over() {
    let (client, _) = serve(|operation, input| match (operation, input["ShardIteratorType"].as_str()) {
        ("GetShardIterator", Some("AFTER_SEQUENCE_NUMBER")) => Err("TrimmedDataAccessException"),
        ("GetShardIterator", Some("TRIM_HORIZON")) => Ok(json!({"ShardIterator": "oldest"})),
        ("GetRecords", _) => Ok(json!({"Records": [record(9, 1e9)], "NextShardIterator": "next"})),
        other => panic!("{other:?}"),
    })
    .await;
    let mut source = DynamoDbSource::new(client, "arn:s");
    let error = source.read("s1", &after("1"), 10).await.unwrap_err();
    assert!(error.retryable && error.message.contains("were trimmed before they were read"), "{error}");
    assert_eq!(numbers(&source.read("s1", &after("1"), 10).await.unwrap()), ["9"]);
}

#[tokio::test]
async fn errors_say_what_was_done_and_whether_it_may_pass() {
    for (code, retryable) in [
        ("ResourceNotFoundException", false),
        ("AccessDeniedException", false),
        ("LimitExceededException", true),
        ("ThrottlingException", true),
    ] {
        let (client, _) = serve(move |_, _| Err(code)).await;
        let error = DynamoDbSource::new(client, "arn:s").shards().await.unwrap_err();
        assert_eq!(error.message, format!("describing stream arn:s: {code}: told so"));
        assert_eq!(error.retryable, retryable, "{code}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let connection = Connection { endpoint_url: Some(format!("http://{free}")), region: Some("eu-west-1".into()) };
    let error = DynamoDbSource::new(connect(&connection).await, "arn:s").shards().await.unwrap_err();
    assert!(error.retryable && error.message.contains("refused"), "{error}");
}
