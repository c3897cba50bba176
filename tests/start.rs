//! The function's start, and invocations that are no batch.

use crate::support::event::{Stream, apart, event, sample};
use crate::support::function::{Running, Sync, dynamodb_sync, target};
use crate::support::index::Index;
use crate::support::{Folder, services, unique};
use serde_json::json;
use std::time::{Duration, Instant};
use tidelock_local::function::Invocation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A function whose settings nobody has to serve.
fn settings(changes: &[(&str, &str)]) -> Option<Running> {
    let sync = dynamodb_sync("opensearch+http://127.0.0.1:9")?;
    Some(changes.iter().fold(sync, |sync, (name, value)| sync.with(name, value)).start())
}

/// Starts the function, which must end at once and say all of this in one line.
async fn refused(changes: &[(&str, &str)], parts: &[&str]) -> Option<String> {
    let function = settings(changes)?;
    let started = Instant::now();
    let outcome = function.process.warm_up().await;
    let Err(Invocation::InitError { error_type, message }) = outcome else { panic!("{changes:?}: {outcome:?}") };
    assert_eq!(error_type, "Runtime.ExitError", "{message}");
    assert!(message.contains("exit status: 1"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    Some(function.logged(&[&["ERROR", "Tidelock.Settings"], parts].concat()).await)
}

#[tokio::test]
async fn all_problems_of_the_settings_are_named_at_once() {
    let wrong = [
        ("TIDELOCK_TARGET", "http://127.0.0.1"),
        ("TIDELOCK_TARGET_AUTH", "kerberos"),
        ("TIDELOCK_DEAD_LETTERS", "letters"),
        ("TIDELOCK_BULK_BYTES", "1"),
        ("TIDELOCK_IN_FLIGHT", "many"),
        ("TIDELOCK_BULK_GZIP", "yes"),
        ("TIDELOCK_DEAD_LETTER", "file:x"),
    ];
    let parts = [
        "several problems",
        "TIDELOCK_TARGET: not one of opensearch+https://HOST[:PORT]",
        "TIDELOCK_TARGET_AUTH: `kerberos` is not one of auto, none, basic",
        "TIDELOCK_DEAD_LETTERS: `letters` is not one of an SQS queue's URL (https://…), file:PATH",
        "TIDELOCK_BULK_BYTES: `1` is not a whole number from 65536 to 100000000",
        "TIDELOCK_IN_FLIGHT: `many` is not a whole number from 1 to 16",
        "TIDELOCK_BULK_GZIP: `yes` is neither true nor false",
        "TIDELOCK_DEAD_LETTER is not a setting; did you mean TIDELOCK_DEAD_LETTERS?",
    ];
    refused(&wrong, &parts).await;
}

#[tokio::test]
async fn each_problem_alone_ends_the_function() {
    for (name, value, part) in [
        ("TIDELOCK_TARGET", "", "TIDELOCK_TARGET is not set"),
        ("TIDELOCK_TARGTE", "stdout:", "TIDELOCK_TARGTE is not a setting; did you mean TIDELOCK_TARGET?"),
        ("TIDELOCK_SHOE_SIZE", "44", "TIDELOCK_SHOE_SIZE is not a setting"),
        ("TIDELOCK_TARGET", "sqlite:/tmp/x.db", "this build has no SQLite target"),
        ("TIDELOCK_TARGET", "opensearch+http://h/path", "nothing may follow the port"),
        ("TIDELOCK_TARGET_AUTH", "basic", "basic needs TIDELOCK_TARGET_SECRET"),
        ("TIDELOCK_TARGET_AUTH", "mongodb-aws", "mongodb-aws is for MongoDB targets"),
        ("TIDELOCK_TARGET_CA_FILE", "/absent.pem", "TIDELOCK_TARGET_CA_FILE: `/absent.pem` cannot be read"),
        ("TIDELOCK_DEAD_LETTERS", "https://sqs/1/a.fifo", "this is a FIFO queue"),
        ("TIDELOCK_STATE", "table", "TIDELOCK_STATE: `table` is not one of dynamodb:TABLE"),
        ("TIDELOCK_FAILURES", "s3://B", "TIDELOCK_FAILURES: `s3://B` is not one of s3://BUCKET"),
        ("TIDELOCK_PIPELINE", "{version: 1, routes: [{from: a, on_outage: hold}]}", "TIDELOCK_FALLBACK is not set"),
        (
            "TIDELOCK_PIPELINE",
            "{version: 1, routes: [{from: a, version: {field: n}}]}",
            "TIDELOCK_SOURCE is not set, and a route of the pipeline orders changes by a number of the item",
        ),
        (
            "TIDELOCK_PIPELINE",
            "{version: 1, routes: [{from: a, to: 'x-{b}', locate: state}]}",
            "TIDELOCK_STATE is not set",
        ),
        ("TIDELOCK_PIPELINE", "/absent.yaml", "TIDELOCK_PIPELINE: `/absent.yaml` cannot be read"),
        ("TIDELOCK_PIPELINE", "version: 2\nroutes: [{from: a}]", "version 2 is not known"),
        (
            "TIDELOCK_PIPELINE",
            "version: 1\nroutes: [{form: a}]",
            "2:11: routes[0].form: a route has no such field; did you mean `from`?",
        ),
        ("TIDELOCK_PIPELINE", "{\"version\": 1", "TIDELOCK_PIPELINE"),
        ("TIDELOCK_PIPELINE", "version: 1\nroutes: [{from: a, where: .b =}]", "2:30: routes[0].where: expected `and`"),
        ("TIDELOCK_PIPELINE", "version: 1\nroutes: [{from: a, to: 'x-{b'}]", "routes[0].to: a `{` without its `}`"),
        (
            "TIDELOCK_PIPELINE",
            "version: 1\nroutes: [{from: a, shard_key: [b]}]",
            "routes[0].shard_key: is for MongoDB alone",
        ),
        ("TIDELOCK_SOURCE", "mongodb://127.0.0.1:9/d", "not where this function's changes come from; use dynamodb:"),
    ] {
        let Some(line) = refused(&[(name, value)], &[part]).await else { return };
        assert!(!line.contains("several problems"), "{line}");
    }
}

#[tokio::test]
async fn a_pipeline_says_all_that_is_wrong_with_it() {
    let folder = Folder::new();
    let path = folder.path("pipeline.yaml");
    std::fs::write(&path, "version: 1\nroutes:\n  - {from: '*', to: '{field'}\n  - {from: orders}\n").unwrap();
    let parts = [
        "TIDELOCK_PIPELINE: pipeline.yaml:3:21: routes[0].to: a `{` without its `}`",
        "pipeline.yaml:4:12: routes[1].from: `orders` is never reached",
    ];
    refused(&[("TIDELOCK_PIPELINE", &path)], &parts).await;
}

#[tokio::test]
async fn a_wrong_address_is_refused_without_showing_its_password() {
    let wrong = [("TIDELOCK_TARGET", "opensearch+http://admin:s3cr3t@host:port")];
    if let Some(line) = refused(&wrong, &["the port is no number"]).await {
        assert!(!line.contains("s3cr3t"), "{line}");
    }
}

#[tokio::test]
async fn the_function_starts_although_its_target_is_away() {
    let Some(function) = settings(&[]) else { return };
    assert_eq!(function.process.warm_up().await, Ok(()));
}

#[tokio::test]
async fn empty_variables_count_as_not_set() {
    let Some(sync) = dynamodb_sync("stdout:") else { return };
    // `with` would take them away.
    let names = ["TIDELOCK_DEAD_LETTERS", "TIDELOCK_TARGET_SECRET", "TIDELOCK_PIPELINE", "TIDELOCK_IN_FLIGHT"];
    let function = names.iter().fold(sync, |sync: Sync, name| sync.with_empty(name)).start();
    function.succeed(sample("insert")).await;
    function.logged(&["\"op\":\"upsert\"", "\"into\":\"mytable\"", "John"]).await;
}

#[tokio::test]
async fn what_is_no_batch_fails_as_a_whole_and_the_function_lives_on() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let (index, folder) = (Index::new(&url, "event"), Folder::new());
    let path = folder.path("letters");
    let function = sync.into(index.name()).with("TIDELOCK_DEAD_LETTERS", &format!("file:{path}")).start();
    let good = event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")]);
    let cut_off = good.slice(..good.len() - 3);
    for (payload, part) in [
        (sample("not-an-event"), "mapped to the right source"),
        ("null".into(), "not a DynamoDB Streams event"),
        ("[]".into(), "not a DynamoDB Streams event"),
        (r#"{"Records":{}}"#.into(), "not a DynamoDB Streams event"),
        ("no JSON".into(), "cannot be read"),
        (cut_off, "cannot be read"),
    ] {
        let invocation = function.invoke(payload.clone()).await;
        let Invocation::FunctionError { error_type, message, .. } = &invocation else {
            panic!("{payload:?} {invocation:?}")
        };
        assert_eq!(error_type, "Tidelock.Event", "{payload:?}");
        assert!(message.contains(part), "{payload:?} {message}");
    }
    assert!(!index.exists().await && !std::path::Path::new(&path).exists());
    function.succeed(good).await;
    assert_eq!(index.documents().await.len(), 1);
    assert_eq!(function.process.idle_environments(), 1, "the same environment throughout");
}

#[tokio::test]
async fn a_batch_without_records_is_done() {
    let Some(function) = settings(&[]) else { return };
    function.succeed(sample("empty")).await;
    assert_eq!(function.metrics().await["Records"], 0);
}

#[tokio::test]
async fn a_batch_that_only_the_whole_can_bring_back_fails_as_a_whole() {
    let Some(url) = services::opensearch() else { return };
    let Some(sync) = dynamodb_sync(&target(&url)) else { return };
    let index = Index::new(&url, "whole");
    let function = sync.into(index.name()).start();
    let stream = Stream::of("mytable");
    let mut nameless = stream.upsert(&apart(1), "1", "one");
    nameless["dynamodb"].as_object_mut().unwrap().remove("SequenceNumber");
    // Nothing before the record has a number, and without a queue it must come again.
    let invocation = function.invoke(event(&[nameless, stream.upsert(&apart(2), "2", "two")])).await;
    let Invocation::FunctionError { error_type, message, .. } = &invocation else { panic!("{invocation:?}") };
    assert_eq!(error_type, "Tidelock.Batch");
    assert!(message.contains("the whole batch must come again"), "{message}");
    assert!(index.get("2").await.is_some(), "its neighbour is written all the same");
}

#[tokio::test]
async fn what_only_one_kind_of_target_knows_is_refused_for_others() {
    let sharded = r#"{"version": 1, "routes": [{"from": "t", "shard_key": ["a"]}]}"#;
    refused(&[("TIDELOCK_PIPELINE", sharded)], &["routes[0].shard_key: is for MongoDB alone"]).await;
    let routed = r#"{"version": 1, "routes": [{"from": "t", "to": "c", "routing": "{id}"}]}"#;
    let other = [("TIDELOCK_TARGET", "mongodb://127.0.0.1:1/db"), ("TIDELOCK_PIPELINE", routed)];
    refused(&other, &["routes[0].routing: is for OpenSearch alone"]).await;
}

/// Stores a parameter of Systems Manager, as the command-line tool would.
async fn put_parameter(url: &str, name: &str, value: &str) {
    let host = url.trim_start_matches("http://");
    let body = json!({"Name": name, "Value": value, "Type": "String"}).to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-amz-target: AmazonSSM.PutParameter\r\n\
         content-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/ssm/aws4_request, SignedHeaders=host, Signature=b\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_pipeline_may_be_a_parameter() {
    let Some(aws) = services::aws() else { return };
    let name = format!("/tidelock/{}", unique("pipeline"));
    put_parameter(&aws, &name, "version: 1\nroutes: [{from: mytable, to: elsewhere}]").await;
    let broken = format!("{name}/broken");
    put_parameter(&aws, &broken, "version: 1\nroutes: [{form: a}]").await;
    let at = [("AWS_ENDPOINT_URL_SSM", aws.as_str()), ("AWS_REGION", "us-east-1")];
    let Some(function) =
        settings(&[at[0], at[1], ("TIDELOCK_TARGET", "stdout:"), ("TIDELOCK_PIPELINE", &format!("ssm:{name}"))])
    else {
        return;
    };
    function.succeed(sample("insert")).await;
    function.logged(&["\"into\":\"elsewhere\"", "John"]).await;
    for (name, part) in [
        (broken.as_str(), format!("TIDELOCK_PIPELINE: ssm:{broken}:2:11: routes[0].form: a route has no such field")),
        ("/absent", "TIDELOCK_PIPELINE: the parameter `/absent`: ParameterNotFound".to_owned()),
    ] {
        refused(&[at[0], at[1], ("TIDELOCK_PIPELINE", &format!("ssm:{name}"))], &[&part]).await;
    }
}

#[tokio::test]
async fn values_are_not_hashed_without_a_key() {
    let hashing = r#"{"version": 1, "routes": [{"from": "t", "transform": [{"hash": {"field": "a"}}]}]}"#;
    let missing = ["TIDELOCK_HASH_SECRET: a step of the pipeline hashes values"];
    refused(&[("TIDELOCK_PIPELINE", hashing)], &missing).await;
    let folder = Folder::new();
    let key = format!("file:{}", folder.path("key"));
    let given = [("TIDELOCK_PIPELINE", hashing), ("TIDELOCK_HASH_SECRET", key.as_str())];
    refused(&given, &["TIDELOCK_HASH_SECRET: `", "cannot be read"]).await;
    std::fs::write(folder.path("key"), "\n").unwrap();
    refused(&given, &["TIDELOCK_HASH_SECRET: the key is empty"]).await;
}
