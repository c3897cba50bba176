//! A real S3.

use super::{Role, bucket_at, service, soon, unique};
use crate::S3Bucket;
use bytes::Bytes;
use tidelock_core::queue::{Bucket as _, Names};
use tidelock_http::{HttpConfig, HttpTransport, Request, Scheme, Transport as _};

/// A bucket of its own.
async fn bucket(url: &str) -> S3Bucket<Role> {
    let name = unique("letters");
    let (host, port) = url.trim_start_matches("http://").rsplit_once(':').expect("a port");
    let config = HttpConfig {
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        tls: false,
        ca_pem: None,
        scheme: Scheme::SigV4 { service: "s3", region: "us-east-1".to_owned() },
        gzip: false,
    };
    let http = HttpTransport::new(config, Role(true)).expect("a client");
    let (path, content_type) = (format!("/{name}"), "application/xml");
    let request = Request { method: "PUT", path, content_type, body: Bytes::new() };
    let answer = http.send(request, soon()).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    bucket_at(url, &name, Role(true))
}

/// Everything there is, page by page.
async fn list(bucket: &S3Bucket<Role>, prefix: &str, mut after: Option<String>) -> Vec<Names> {
    let mut pages = Vec::new();
    loop {
        let page = bucket.list(prefix, after.as_deref(), soon()).await.expect("a page");
        after = page.names.last().cloned();
        let more = page.more;
        pages.push(page);
        if !more {
            return pages;
        }
    }
}

#[tokio::test]
async fn objects_come_back_whatever_their_names() {
    let Some(url) = service() else { return };
    let bucket = bucket(&url).await;
    let mut names = [
        "plain.json",
        "with space.json",
        "plus+.json",
        "ü/\u{1F600}.json",
        "100%.json",
        "%41.json",
        "a&b=c?d#e.json",
        "a//b.json",
        "~'()*!,:;@$\"<>.json",
        "aws/lambda/5a5e/shardId-000/2024/01/02/2024-01-02T03.04.05-x.json",
    ];
    names.sort_unstable();
    for name in names {
        assert_eq!(bucket.get(name, soon()).await, Ok(None), "{name}");
        bucket.put(name, format!("{{\"name\":\"{name}\"}}").into_bytes(), soon()).await.expect(name);
    }
    for name in names {
        let body = format!("{{\"name\":\"{name}\"}}").into_bytes();
        assert_eq!(bucket.get(name, soon()).await, Ok(Some(body)), "{name}");
    }
    let all = list(&bucket, "", None).await;
    assert_eq!(all, [Names { names: names.map(str::to_owned).to_vec(), more: false }]);
    // Each is a prefix and a place to go on from.
    for (index, name) in names.iter().enumerate() {
        let page = bucket.list("", Some(name), soon()).await.expect(name);
        assert_eq!(page.names, names[index + 1..], "{name}");
        assert_eq!(bucket.list(name, None, soon()).await.expect(name).names, [*name]);
    }
    for name in names {
        // The second time it is not there any more.
        for _ in 0..2 {
            assert_eq!(bucket.delete(name, soon()).await, Ok(()), "{name}");
        }
        assert_eq!(bucket.get(name, soon()).await, Ok(None), "{name}");
    }
    assert_eq!(list(&bucket, "", None).await, [Names::default()]);
}

#[tokio::test]
async fn an_object_is_replaced_and_may_be_large() {
    let Some(url) = service() else { return };
    let bucket = bucket(&url).await;
    assert!(bucket.name().starts_with("letters-"));
    for body in [Vec::new(), vec![b'x'; 8_000_000], b"\0\xff not text".to_vec()] {
        bucket.put("a", body.clone(), soon()).await.expect("stored");
        assert_eq!(bucket.get("a", soon()).await, Ok(Some(body)));
    }
}

#[tokio::test]
async fn a_list_of_more_than_a_page() {
    let Some(url) = service() else { return };
    let bucket = bucket(&url).await;
    let names: Vec<String> = (0..1_005).map(|number| format!("packs/a b+{number:04}")).collect();
    for name in &names {
        bucket.put(name, b"{}".to_vec(), soon()).await.expect("stored");
    }
    for other in ["packs", "packs0", "a"] {
        bucket.put(other, b"{}".to_vec(), soon()).await.expect("stored");
    }
    let pages = list(&bucket, "packs/", None).await;
    assert_eq!(pages.iter().map(|page| (page.names.len(), page.more)).collect::<Vec<_>>(), [(1_000, true), (5, false)]);
    assert!(pages.iter().flat_map(|page| &page.names).eq(&names));
    let rest = list(&bucket, "packs/", Some(names[1_002].clone())).await;
    assert_eq!(rest, [Names { names: names[1_003..].to_vec(), more: false }]);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_empty_one() {
    let Some(url) = service() else { return };
    let missing = unique("missing");
    let bucket = bucket_at(&url, &missing, Role(true));
    let answers = [
        bucket.put("a", b"{}".to_vec(), soon()).await.expect_err("no bucket"),
        bucket.get("a", soon()).await.expect_err("no bucket"),
        bucket.delete("a", soon()).await.expect_err("no bucket"),
        bucket.list("", None, soon()).await.expect_err("no bucket"),
    ];
    for answer in answers {
        assert!(answer.starts_with(&format!("bucket `{missing}` at 127.0.0.1:")), "{answer}");
        assert!(answer.contains("NoSuchBucket") && answer.ends_with("; check the bucket's name"), "{answer}");
    }
}
