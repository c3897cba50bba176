//! What passes is waited for, what does not is said at once, and no trouble is ever taken for an absence.

use super::server::{Reply, Server};
use super::{LONG, Role, SHORT, bucket_at, soon};
use crate::{BucketConfig, S3Bucket};
use std::time::Instant;
use tidelock_core::queue::{Bucket as _, Names};

fn bucket(server: &Server) -> S3Bucket<Role> {
    bucket_at(&server.url, "letters", Role(true))
}

fn refusal(status: u16, code: &str) -> Reply {
    Reply::Text(status, format!("<Error><Code>{code}</Code><Message>its words</Message></Error>"))
}

fn page(names: &[&str], rest: &str) -> Reply {
    let names: String = names.iter().map(|name| format!("<Contents><Key>{name}</Key></Contents>")).collect();
    Reply::Text(200, format!("<ListBucketResult>{rest}{names}</ListBucketResult>"))
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let server = Server::start(|number, _| match number {
        0 => refusal(503, "SlowDown"),
        1 => refusal(500, "InternalError"),
        2 => refusal(400, "RequestTimeout"),
        3 => Reply::Text(429, String::new()),
        4 => Reply::Cut,
        5 => Reply::Silence,
        6 => Reply::Half("[1".to_owned()),
        _ => Reply::Text(200, "[1]".to_owned()),
    })
    .await;
    let bucket = bucket(&server).with_attempt(SHORT);
    assert_eq!(bucket.get("a", soon()).await, Ok(Some(b"[1]".to_vec())));
    assert_eq!(server.asked().len(), 8);
}

#[tokio::test]
async fn an_object_is_sent_whole_each_time() {
    let server = Server::start(|number, _| match number {
        0 => refusal(503, "SlowDown"),
        1 => Reply::Cut,
        _ => Reply::Text(200, String::new()),
    })
    .await;
    assert_eq!(bucket(&server).put("a b/ü", b"{\"a\":1}".to_vec(), soon()).await, Ok(()));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for asked in asked {
        assert_eq!((asked.line.as_str(), asked.body.as_str()), ("PUT /letters/a%20b/%C3%BC", "{\"a\":1}"));
        assert!(asked.headers.contains("content-type: application/json"), "{}", asked.headers);
        let signed = "signedheaders=content-type;host;x-amz-content-sha256;x-amz-date, ";
        assert!(asked.headers.contains("/us-east-1/s3/aws4_request") && asked.headers.contains(signed));
    }
}

#[tokio::test]
async fn what_does_not_pass_is_said_at_once() {
    let server = Server::start(|_, _| refusal(403, "AccessDenied")).await;
    let bucket = bucket(&server);
    for (answer, what, right) in [
        (bucket.put("a", Vec::new(), soon()).await.map(drop), "storing `a`", "s3:PutObject"),
        (bucket.get("a", soon()).await.map(drop), "reading `a`", "s3:GetObject"),
        (bucket.delete("a", soon()).await.map(drop), "deleting `a`", "s3:DeleteObject"),
        (bucket.list("a", None, soon()).await.map(drop), "listing `a`", "s3:ListBucket"),
    ] {
        let words = answer.expect_err(what);
        assert!(words.starts_with("bucket `letters` at 127.0.0.1:"), "{words}");
        assert!(words.contains(&format!(": {what}: AccessDenied: its words; allow {right} on ")), "{words}");
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_bucket_of_another_region() {
    let server = Server::start(|_, _| refusal(301, "PermanentRedirect")).await;
    let words = bucket(&server).get("a", soon()).await.expect_err("a redirect");
    assert!(words.contains("the bucket is in another region"), "{words}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn trouble_is_no_absence() {
    for answer in ["NoSuchBucket", "NoSuchUpload", ""] {
        let server = Server::start(move |_, _| refusal(404, answer)).await;
        let bucket = bucket(&server);
        assert!(bucket.get("a", soon()).await.is_err(), "{answer}");
        assert!(bucket.delete("a", soon()).await.is_err(), "{answer}");
    }
    let server = Server::start(|number, _| match number {
        0 | 1 => refusal(404, "NoSuchKey"),
        _ => Reply::Text(204, String::new()),
    })
    .await;
    let bucket = bucket(&server);
    assert_eq!(bucket.get("a", soon()).await, Ok(None));
    assert_eq!(bucket.delete("a", soon()).await, Ok(()));
    assert_eq!(bucket.delete("a", soon()).await, Ok(()));
    let lines: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, ["GET /letters/a", "DELETE /letters/a", "DELETE /letters/a"]);
}

#[tokio::test]
async fn a_bucket_that_stays_busy_is_reported_in_time() {
    let server = Server::start(|number, _| if number < 2 { refusal(503, "SlowDown") } else { Reply::Silence }).await;
    let began = Instant::now();
    let words = bucket(&server).get("a", began + SHORT).await.expect_err("busy");
    // The silence does not hide the reason.
    assert!(words.ends_with(": reading `a`: SlowDown: its words"), "{words}");
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_keys_or_a_name_nothing_is_sent() {
    let server = Server::start(|_, _| Reply::Text(200, String::new())).await;
    let words = bucket_at(&server.url, "letters", Role(false)).get("a", soon()).await.expect_err("no keys");
    assert!(words.ends_with(": there are no AWS credentials"), "{words}");
    let bucket = bucket(&server);
    // It would create or delete the bucket.
    assert!(bucket.put("", Vec::new(), soon()).await.is_err());
    assert!(bucket.delete("", soon()).await.is_err());
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_list_is_taken_whole_or_not() {
    let last = "<IsTruncated>false</IsTruncated>";
    let server = Server::start(move |number, _| match number {
        0 => Reply::Half(format!("<ListBucketResult>{last}</ListBucketResult>")),
        1 => Reply::Text(200, format!("<ListBucketResult>{last}<Contents><Key>a/2</Key></Conten")),
        2 => Reply::Text(200, "<html>".to_owned()),
        3 => page(&["a/2"], ""),
        _ => page(&["a/2", "a/3"], last),
    })
    .await;
    let found = bucket(&server).list("a/", Some("a/1"), soon()).await;
    assert_eq!(found, Ok(Names { names: vec!["a/2".to_owned(), "a/3".to_owned()], more: false }));
    let asked = server.asked();
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[0].line, "GET /letters/?list-type=2&encoding-type=url&prefix=a%2F&start-after=a%2F1");
    // Not behind where it was to go on from, not in order, not below the prefix.
    for names in [["a/1", "a/2"], ["a/3", "a/2"], ["a/2", "b"]] {
        let server = Server::start(move |_, _| page(&names, last)).await;
        let words = bucket_at(&server.url, "letters", Role(true)).list("a/", Some("a/1"), soon()).await;
        assert!(words.is_err_and(|words| words.contains("which was not asked for")), "{names:?}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_page_without_names_is_not_the_end() {
    let server = Server::start(|number, _| match number {
        0 => page(&[], "<IsTruncated>true</IsTruncated><NextContinuationToken>t/=</NextContinuationToken>"),
        _ => page(&["a"], "<IsTruncated>true</IsTruncated><NextContinuationToken>u</NextContinuationToken>"),
    })
    .await;
    let found = bucket(&server).list("", None, soon()).await;
    assert_eq!(found, Ok(Names { names: vec!["a".to_owned()], more: true }));
    let lines: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    let list = "GET /letters/?list-type=2&encoding-type=url";
    assert_eq!(lines, [list.to_owned(), format!("{list}&continuation-token=t%2F%3D")]);
}

#[test]
fn configurations_that_cannot_be_used() {
    let refused = |bucket: &str, region: &str, endpoint: Option<&str>, ca_pem: Option<&[u8]>| {
        let (bucket, region) = (bucket.to_owned(), region.to_owned());
        let config =
            BucketConfig { bucket, region, endpoint: endpoint.map(str::to_owned), ca_pem: ca_pem.map(<[u8]>::to_vec) };
        S3Bucket::new(config, Role(true)).err().map(|error| error.to_string())
    };
    assert_eq!(refused("letters", "eu-west-1", None, None), None);
    assert_eq!(refused("letters", "eu-west-1", None, Some(b"")).as_deref(), Some("AWS_CA_BUNDLE holds no certificate"));
    assert!(refused("Letters", "eu-west-1", None, None).is_some_and(|why| why.contains("no S3 bucket's name")));
    assert!(refused("letters", "EU", None, None).is_some_and(|why| why.contains("AWS region")));
    assert!(refused("letters", "eu-west-1", Some("s3.local"), None).is_some_and(|why| why.contains("http[s]://HOST")));
}
